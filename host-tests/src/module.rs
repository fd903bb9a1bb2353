//! Builds the filter: the one module that `serve`, the tests and Envoy load.
//!
//! A build script would be the usual place, and the wrong one: cargo sets `CARGO_ENCODED_RUSTFLAGS=""`
//! for build scripts, so that the nested build silently loses its target features, and under clippy
//! it hands them a `RUSTC_WORKSPACE_WRAPPER` that checks instead of compiling.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use wasmparser::{Parser, Payload};

/// The target the filter is compiled for.
pub const TARGET: &str = "wasm32-wasip1";

const PACKAGE: &str = "tollgate-proxy-wasm";
/// V8, wasmtime and workerd all run it, and scanning bodies is two to six times faster with it.
const RUSTFLAGS: &str = "-Ctarget-feature=+simd128";

/// What a cargo further up may have left in the environment, and what would bend this build.
const FOREIGN: [&str; 14] = [
    "CARGO_ENCODED_RUSTFLAGS",
    "RUSTFLAGS",
    "RUSTC",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "CARGO_BUILD_RUSTC",
    "CARGO_BUILD_RUSTC_WRAPPER",
    "CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_TARGET_DIR",
    "CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS",
    "CARGO_TARGET_WASM32_WASIP1_LINKER",
];

/// Why there is no module.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The command runs where the workspace it was compiled in is not.
    #[error(
        "the filter's sources are not at {}: build inside the workspace, or give `serve` a built one with --module",
        .0.display()
    )]
    NoSources(PathBuf),
    /// A program that the build needs could not be started.
    #[error("cannot run `{program}`: {error}")]
    Program {
        /// The program.
        program: String,
        /// What the system said.
        error: io::Error,
    },
    /// The toolchain has no standard library for the target, and it could not be added.
    #[error("this toolchain has no {TARGET}, and `rustup target add {TARGET}` failed ({0})")]
    NoTarget(String),
    /// The compiler refused; its messages are on standard error.
    #[error("`{command}` failed ({status})")]
    Cargo {
        /// What was run.
        command: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// The module came out without SIMD: some setting has replaced the flags.
    #[error("{} has no SIMD instruction: a cargo configuration replaces `{RUSTFLAGS}`", .0.display())]
    NoSimd(PathBuf),
    /// The module cannot be read.
    #[error("{} is not a readable module: {error}", path.display())]
    Unreadable {
        /// The module.
        path: PathBuf,
        /// Where it breaks.
        error: wasmparser::BinaryReaderError,
    },
    /// A file could not be written or read.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// Builds the filter with these cargo features on top of none, and answers where it is:
/// `target/tollgate/tollgate.wasm`, or `target/tollgate/tollgate-FEATURES.wasm` (features are for tests).
///
/// Safe to call from many processes at once: they wait for one another, and a reader sees the old file or
/// the new one.
pub fn build(features: &[&str]) -> Result<PathBuf, BuildError> {
    build_package(PACKAGE, "tollgate", features)
}

/// The same for another package of the workspace that is a proxy-wasm module: the benches have one.
/// `name` is what the file in `target/tollgate/` is called.
///
/// # Errors
/// As [`build`].
pub fn build_package(package: &str, name: &str, features: &[&str]) -> Result<PathBuf, BuildError> {
    let root = workspace()?;
    let folder = root.join("target/tollgate");
    let build = folder.join("build");
    fs::create_dir_all(&build).map_err(|error| file(&build, error))?;
    let lock_path = folder.join("build.lock");
    let lock = File::create(&lock_path).map_err(|error| file(&lock_path, error))?;
    lock.lock().map_err(|error| file(&lock_path, error))?;

    ensure_target(&root)?;
    cargo_build(&root, &build, package, features)?;
    let built = build.join(TARGET).join("wasm").join(package.replace('-', "_")).with_extension("wasm");
    let bytes = fs::read(&built).map_err(|error| file(&built, error))?;
    match has_simd(&bytes) {
        Ok(true) => {}
        Ok(false) => return Err(BuildError::NoSimd(built)),
        Err(error) => return Err(BuildError::Unreadable { path: built, error }),
    }

    let name = [name].iter().chain(features).copied().collect::<Vec<_>>().join("-");
    let module = folder.join(name).with_extension("wasm");
    let fresh = module.with_extension("wasm.new");
    fs::write(&fresh, &bytes).map_err(|error| file(&fresh, error))?;
    fs::rename(&fresh, &module).map_err(|error| file(&module, error))?;
    Ok(module)
}

/// The folder of the workspace that this command was compiled in.
pub fn workspace() -> Result<PathBuf, BuildError> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.parent().unwrap_or(here).to_path_buf();
    if root.join("plugin/proxy-wasm/Cargo.toml").is_file() {
        Ok(root)
    } else {
        Err(BuildError::NoSources(root))
    }
}

/// Whether any function of the module contains an instruction of the vector proposal (prefix `0xFD`).
pub fn has_simd(module: &[u8]) -> Result<bool, wasmparser::BinaryReaderError> {
    const PREFIX: u8 = 0xFD;
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::CodeSectionEntry(body) = payload? {
            let mut operators = body.get_operators_reader()?;
            while !operators.eof() {
                if module.get(operators.original_position()) == Some(&PREFIX) {
                    return Ok(true);
                }
                operators.read()?;
            }
        }
    }
    Ok(false)
}

/// `targets` in rust-toolchain.toml does not make cargo fetch one that is missing, so look and add it.
fn ensure_target(root: &Path) -> Result<(), BuildError> {
    let mut rustc = program("rustc".into(), root);
    rustc.args(["--print", "target-libdir", "--target", TARGET]);
    let printed = rustc.output().map_err(|error| start("rustc", error))?;
    let libraries = PathBuf::from(String::from_utf8_lossy(&printed.stdout).trim());
    if libraries.is_dir() {
        return Ok(());
    }
    let mut rustup = program("rustup".into(), root);
    rustup.args(["target", "add", TARGET]).stdout(Stdio::null());
    match rustup.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(BuildError::NoTarget(status.to_string())),
        Err(error) => Err(BuildError::NoTarget(error.to_string())),
    }
}

fn cargo_build(root: &Path, target_dir: &Path, package: &str, features: &[&str]) -> Result<(), BuildError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = program(cargo.clone(), root);
    command
        .args(["build", "--package", package, "--target", TARGET, "--profile", "wasm"])
        .arg("--target-dir")
        .arg(target_dir)
        .env("CARGO_ENCODED_RUSTFLAGS", RUSTFLAGS)
        .stdout(Stdio::null());
    if !features.is_empty() {
        command.args(["--features", &features.join(",")]);
    }
    let status = command.status().map_err(|error| start(&cargo.to_string_lossy(), error))?;
    if status.success() {
        Ok(())
    } else {
        Err(BuildError::Cargo {
            command: format!("cargo build --package {package} --target {TARGET} --profile wasm"),
            status,
        })
    }
}

/// A program started in the workspace, so that rust-toolchain.toml holds, with a clean environment.
fn program(name: OsString, root: &Path) -> Command {
    let mut command = Command::new(name);
    command.current_dir(root).stdin(Stdio::null());
    for variable in FOREIGN {
        command.env_remove(variable);
    }
    command
}

fn start(program: &str, error: io::Error) -> BuildError {
    BuildError::Program { program: program.to_owned(), error }
}

fn file(path: &Path, error: io::Error) -> BuildError {
    BuildError::File { path: path.to_owned(), error }
}
