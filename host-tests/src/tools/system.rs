//! Programs of the system, installed from its packages where they are missing and the process may do so.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::Reason;
use super::bounded::run;

const UPDATE: Duration = Duration::from_secs(120);
const INSTALL: Duration = Duration::from_secs(300);

/// Finds the first of these programs on the `PATH`.
pub fn find(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .flat_map(|folder| names.iter().map(move |name| folder.join(name)).collect::<Vec<_>>())
        .find(|program| program.is_file())
}

/// Installs packages of Debian; `folder` gets the installer's output.
pub fn install(folder: &Path, packages: &[&str], help: &'static str) -> Result<(), Reason> {
    let mut update = Command::new("apt-get");
    update.args(["--quiet", "update"]);
    run(update, UPDATE, &folder.join("update.log"), help)?;
    let mut install = Command::new("apt-get");
    install
        .args(["--quiet", "--yes", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120", "install"])
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive");
    run(install, INSTALL, &folder.join("install.log"), help)
}
