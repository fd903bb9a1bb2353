//! The installation of one pinned tool: found by its stamp, or made under a lock.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::bounded::{file, remove_folder};
use super::{Reason, Unavailable};

/// Returns `target/tools` of this workspace.
fn tools() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).join("target/tools")
}

/// Returns the folder of a tool, after `fill` has installed it unless an earlier call did so with the same
/// `recipe`.
///
/// The stamp is written last: a folder without it, or with another recipe's, is installed again.
pub fn installed(
    name: &str,
    version: &str,
    recipe: &str,
    fill: impl FnOnce(&Path) -> Result<(), Reason>,
) -> Result<PathBuf, Unavailable> {
    installed_in(&tools(), name, version, recipe, fill)
}

/// Calls `install` while no other process does so for this tool, with a folder for its output.
pub fn alone(name: &str, install: impl FnOnce(&Path) -> Result<(), Reason>) -> Result<(), Reason> {
    let folder = tools().join(name);
    fs::create_dir_all(&folder).map_err(|error| file(&folder, &error))?;
    let lock_path = folder.with_added_extension("lock");
    let lock = File::create(&lock_path).map_err(|error| file(&lock_path, &error))?;
    lock.lock().map_err(|error| file(&lock_path, &error))?;
    install(&folder)
}

pub(super) fn installed_in(
    tools: &Path,
    name: &str,
    version: &str,
    recipe: &str,
    fill: impl FnOnce(&Path) -> Result<(), Reason>,
) -> Result<PathBuf, Unavailable> {
    let folder = tools.join(format!("{name}-{version}"));
    let made = || -> Result<(), Reason> {
        fs::create_dir_all(tools).map_err(|error| file(tools, &error))?;
        let lock_path = folder.with_added_extension("lock");
        let lock = File::create(&lock_path).map_err(|error| file(&lock_path, &error))?;
        // The holder ends within the time limits of its installer.
        lock.lock().map_err(|error| file(&lock_path, &error))?;

        let stamp = folder.join("installed");
        if fs::read_to_string(&stamp).is_ok_and(|found| found == recipe) {
            return Ok(());
        }
        remove_folder(&folder)?;
        fs::create_dir_all(&folder).map_err(|error| file(&folder, &error))?;
        fill(&folder)?;
        fs::write(&stamp, recipe).map_err(|error| file(&stamp, &error))
    };
    match made() {
        Ok(()) => Ok(folder),
        Err(reason) => Err(Unavailable { tool: format!("{name} {version}"), reason }),
    }
}
