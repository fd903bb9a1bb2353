//! Builds the filter module that `serve`, the tests and Envoy load.
//!
//! A build script does not work: cargo sets `CARGO_ENCODED_RUSTFLAGS=""` for build scripts, so that the
//! nested build silently loses its target features, and clippy sets a `RUSTC_WORKSPACE_WRAPPER` that checks
//! instead of compiling.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};

use wasmparser::{Parser, Payload};

use crate::proxy_wasm::{Module, ModuleError};

/// The target the filter is compiled for.
pub const TARGET: &str = "wasm32-wasip1";

const PACKAGE: &str = "tollgate-proxy-wasm";
/// V8, wasmtime and workerd all support it. It makes scanning bodies two to six times faster.
pub(crate) const SIMD: &str = "-Ctarget-feature=+simd128";

/// The filter's own code uses the instructions of the first engines and these. Bulk memory is left out: each
/// of its copies calls into the engine, and the few bytes of a struct are copied faster with loads and
/// stores.
const FILTER: &str =
    "-Ctarget-cpu=mvp\x1f-Ctarget-feature=+simd128,+sign-ext,+nontrapping-fptoint,+mutable-globals";

/// Variables of an outer cargo that would change this build.
const FOREIGN: [&str; 16] = [
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
    "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS",
    "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER",
];

/// An error that prevents building a module.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The workspace that this command was compiled in does not exist.
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
        /// The error of the system.
        error: io::Error,
    },
    /// The toolchain has no standard library for the target, and it could not be added.
    #[error("this toolchain has no {target}, and `rustup target add {target}` failed ({reason})")]
    NoTarget {
        /// The target.
        target: &'static str,
        /// The message of the failed command.
        reason: String,
    },
    /// The compiler failed; its messages are on standard error.
    #[error("`{command}` failed ({status})")]
    Cargo {
        /// The command line.
        command: String,
        /// The exit status.
        status: ExitStatus,
    },
    /// The module has no SIMD instructions: some setting has replaced the flags.
    #[error("{} has no SIMD instruction: a cargo configuration replaces `{SIMD}`", .0.display())]
    NoSimd(PathBuf),
    /// The module cannot be read.
    #[error("{} is not a readable module: {error}", path.display())]
    Unreadable {
        /// The module.
        path: PathBuf,
        /// The parser's error.
        error: wasmparser::BinaryReaderError,
    },
    /// The built module cannot be loaded into the host.
    #[error("{}: {error}", path.display())]
    Load {
        /// The module.
        path: PathBuf,
        /// The reason.
        error: ModuleError,
    },
    /// wasm-bindgen failed on the module of the worker or of the console.
    #[error("wasm-bindgen refuses {}: {reason}", path.display())]
    Bindgen {
        /// The module.
        path: PathBuf,
        /// The message of wasm-bindgen.
        reason: String,
    },
    /// A file could not be written or read.
    #[error("{}: {error}", path.display())]
    File {
        /// The path of the file.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
}

/// Builds the filter with only these cargo features and returns its path: `target/tollgate/tollgate.wasm`, or
/// `target/tollgate/tollgate-FEATURES.wasm` (features are for tests).
///
/// Safe to call from many processes at once: they take turns, and a reader sees the old file or the new one.
pub fn build(features: &[&str]) -> Result<PathBuf, BuildError> {
    build_package(PACKAGE, "tollgate", features)
}

/// Builds the filter as [`build`] does, and loads it into the host.
///
/// The machine code is stored beside the module, in `target/tollgate/NAME.cwasm`, so that wasmtime compiles each build of
/// the filter once and not in each process. In the dev profile this takes 12 s of CPU time.
///
/// # Errors
/// As [`build`], and if the host cannot run the module.
pub fn load(features: &[&str]) -> Result<Module, BuildError> {
    load_built(&build(features)?)
}

/// Loads a module that [`build`] or [`build_package`] returned, as [`load`] does. Machine code is stored for modules in the
/// build's own folder only.
///
/// # Errors
/// If the file cannot be read, or the host cannot run the module.
pub fn load_built(path: &Path) -> Result<Module, BuildError> {
    let bytes = fs::read(path).map_err(|error| file(path, error))?;
    let refused = |error| BuildError::Load { path: path.to_owned(), error };
    if path.parent() != Some(output()?.as_path()) {
        return Module::from_bytes(&bytes).map_err(refused);
    }
    let kept = path.with_extension("cwasm");
    // Concurrent callers wait here instead of compiling the same module.
    let lock_path = path.with_added_extension("lock");
    let lock = File::create(&lock_path).map_err(|error| file(&lock_path, error))?;
    lock.lock().map_err(|error| file(&lock_path, error))?;
    if let Ok(code) = fs::read(&kept) {
        // SAFETY: only the code below writes this file, in the folder where cargo builds programs, this one included.
        let module = unsafe { Module::from_machine_code(&bytes, &code) };
        if let Some(module) = module.map_err(refused)? {
            return Ok(module);
        }
    }
    let module = Module::from_bytes(&bytes).map_err(refused)?;
    replace(&kept, &module.machine_code(&bytes).map_err(refused)?)?;
    Ok(module)
}

/// The same for another package of the workspace that is a proxy-wasm module: the benches have one.
/// `name` is what the file in `target/tollgate/` is called.
///
/// # Errors
/// As [`build`].
pub fn build_package(package: &'static str, name: &str, features: &[&str]) -> Result<PathBuf, BuildError> {
    let name = [name].iter().chain(features).copied().collect::<Vec<_>>().join("-");
    let module = output()?.join(name).with_extension("wasm");
    once(&module, || {
        let (target, profile, flags) = (TARGET, "wasm", FILTER);
        let compiled = compile(&Recipe { package, target, profile, flags, features, quiet: false })?;
        replace(&module, &compiled.bytes()?)
    })?;
    Ok(module)
}

/// Runs `build` unless this process has built the same output before. It is taken to be up to date then, without another
/// run of cargo.
pub(crate) fn once(output: &Path, build: impl FnOnce() -> Result<(), BuildError>) -> Result<(), BuildError> {
    static BUILT: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if !built.contains(output) {
        build()?;
        built.insert(output.to_owned());
    }
    Ok(())
}

/// Returns the folder of all built files: `target/tollgate`.
pub(crate) fn output() -> Result<PathBuf, BuildError> {
    Ok(workspace()?.join("target/tollgate"))
}

/// A module as the compiler wrote it. This value holds the build lock.
pub(crate) struct Compiled {
    pub(crate) path: PathBuf,
    _lock: File,
}

impl Compiled {
    /// Returns the module's bytes.
    pub(crate) fn bytes(&self) -> Result<Vec<u8>, BuildError> {
        fs::read(&self.path).map_err(|error| file(&self.path, error))
    }
}

/// The package of a module, and the settings to compile it with.
pub(crate) struct Recipe<'a> {
    pub(crate) package: &'static str,
    pub(crate) target: &'static str,
    pub(crate) profile: &'static str,
    /// The compiler's flags, as in `CARGO_ENCODED_RUSTFLAGS`.
    pub(crate) flags: &'static str,
    pub(crate) features: &'a [&'a str],
    /// Print errors only.
    pub(crate) quiet: bool,
}

/// Compiles a package of this workspace to a module. If the flags allow SIMD instructions, it must have some.
pub(crate) fn compile(recipe: &Recipe<'_>) -> Result<Compiled, BuildError> {
    let root = workspace()?;
    let folder = output()?;
    let build = folder.join("build");
    fs::create_dir_all(&build).map_err(|error| file(&build, error))?;
    let lock_path = folder.join("build.lock");
    let lock = File::create(&lock_path).map_err(|error| file(&lock_path, error))?;
    lock.lock().map_err(|error| file(&lock_path, error))?;

    let Recipe { package, target, profile, flags, features: _, quiet: _ } = *recipe;
    ensure_target(&root, target)?;
    cargo_build(&root, &build, recipe)?;
    let path = build.join(target).join(profile).join(package.replace('-', "_")).with_extension("wasm");
    let compiled = Compiled { path, _lock: lock };
    if !flags.contains("+simd128") {
        return Ok(compiled);
    }
    match has_simd(&compiled.bytes()?) {
        Ok(true) => Ok(compiled),
        Ok(false) => Err(BuildError::NoSimd(compiled.path)),
        Err(error) => Err(BuildError::Unreadable { path: compiled.path, error }),
    }
}

/// Replaces a file atomically: a reader sees the old one or the new one.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), BuildError> {
    let fresh = path.with_added_extension("new");
    fs::write(&fresh, bytes).map_err(|error| file(&fresh, error))?;
    fs::rename(&fresh, path).map_err(|error| file(path, error))
}

/// Returns the folder of the workspace that this command was compiled in.
pub fn workspace() -> Result<PathBuf, BuildError> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.parent().unwrap_or(here).to_path_buf();
    if root.join("plugin/proxy-wasm/Cargo.toml").is_file() {
        Ok(root)
    } else {
        Err(BuildError::NoSources(root))
    }
}

/// Returns true if any function of the module contains an instruction of the vector proposal (prefix `0xFD`).
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

/// Adds the target if it is missing: `targets` in rust-toolchain.toml does not make cargo install it.
fn ensure_target(root: &Path, target: &'static str) -> Result<(), BuildError> {
    let mut rustc = program("rustc".into(), root);
    rustc.args(["--print", "target-libdir", "--target", target]);
    let printed = rustc.output().map_err(|error| start("rustc", error))?;
    let libraries = PathBuf::from(String::from_utf8_lossy(&printed.stdout).trim());
    if libraries.is_dir() {
        return Ok(());
    }
    let mut rustup = program("rustup".into(), root);
    rustup.args(["target", "add", target]).stdout(Stdio::null());
    match rustup.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(BuildError::NoTarget { target, reason: status.to_string() }),
        Err(error) => Err(BuildError::NoTarget { target, reason: error.to_string() }),
    }
}

fn cargo_build(root: &Path, target_dir: &Path, recipe: &Recipe<'_>) -> Result<(), BuildError> {
    let Recipe { package, target, profile, flags, features, quiet } = *recipe;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = program(cargo.clone(), root);
    command
        .args(["build", "--package", package, "--target", target, "--profile", profile])
        .arg("--target-dir")
        .arg(target_dir)
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        .stdout(Stdio::null());
    if target != TARGET {
        // wasm-bindgen reads sections that stripping removes, and strips them itself.
        command.arg("--config").arg(format!("profile.{profile}.strip=false"));
    }
    if quiet {
        command.arg("--quiet");
    }
    if !features.is_empty() {
        command.args(["--features", &features.join(",")]);
    }
    let status = command.status().map_err(|error| start(&cargo.to_string_lossy(), error))?;
    if status.success() {
        Ok(())
    } else {
        Err(BuildError::Cargo {
            command: format!("cargo build --package {package} --target {target} --profile {profile}"),
            status,
        })
    }
}

/// Creates a command in the workspace's folder, so that rust-toolchain.toml applies, with a clean
/// environment.
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

pub(crate) fn file(path: &Path, error: io::Error) -> BuildError {
    BuildError::File { path: path.to_owned(), error }
}
