//! Chromium: the one of the system, installed from its packages where it is missing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process_group};

use super::bounded::file;
use super::install::alone;
use super::{Reason, Unavailable, system};

const HELP: &str = "install Chromium and its driver (Debian: chromium, chromium-driver)";

/// A browser on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chromium {
    /// The browser.
    pub browser: PathBuf,
    /// Its WebDriver server, for tests that click.
    pub driver: PathBuf,
}

pub fn chromium() -> Result<Chromium, Unavailable> {
    if let Some(found) = on_path() {
        return Ok(found);
    }
    let installed = alone("chromium", |folder| match on_path() {
        Some(_) => Ok(()),
        None => system::install(folder, &["chromium", "chromium-driver"], HELP),
    });
    installed
        .and_then(|()| on_path().ok_or_else(|| Reason::NotInside("chromium".into())))
        .map_err(unavailable)
}

fn unavailable(reason: Reason) -> Unavailable {
    Unavailable { tool: "chromium".into(), reason }
}

fn on_path() -> Option<Chromium> {
    let browser = system::find(&["chromium", "chromium-browser"])?;
    Some(Chromium { browser, driver: system::find(&["chromedriver"])? })
}

impl Chromium {
    /// Opens a page without a window. The process ends with the returned value.
    pub fn open(&self, url: &str) -> Result<Page, Unavailable> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("tollgate-chromium-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let profile = std::env::temp_dir().join(name);
        fs::create_dir_all(&profile).map_err(|error| unavailable(file(&profile, &error)))?;
        let mut command = Command::new(&self.browser);
        command.args(ARGUMENTS).arg(format!("--user-data-dir={}", profile.display())).arg(url);
        start(command, &profile).map(|process| Page { process, profile }).map_err(unavailable)
    }
}

/// Arguments for a browser that runs as root and connects to nothing but the tested servers.
pub const ARGUMENTS: [&str; 8] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

fn start(mut command: Command, profile: &Path) -> Result<Child, Reason> {
    use std::os::unix::process::CommandExt as _;
    let log = profile.join("log");
    let output = fs::File::create(&log).map_err(|error| file(&log, &error))?;
    let errors = output.try_clone().map_err(|error| file(&log, &error))?;
    // A process group of its own, so that the browser's children end with it.
    command.process_group(0).stdin(Stdio::null()).stdout(output).stderr(errors);
    command.spawn().map_err(|error| Reason::NoProgram {
        program: command.get_program().to_string_lossy().into_owned(),
        error: error.to_string(),
        help: HELP,
    })
}

/// A browser with an open page, and its profile. Both end with this value.
#[derive(Debug)]
pub struct Page {
    process: Child,
    profile: PathBuf,
}

impl Page {
    /// Returns the browser's output.
    pub fn log(&self) -> String {
        fs::read_to_string(self.profile.join("log")).unwrap_or_default()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        if let Some(group) = Pid::from_raw(self.process.id().cast_signed()) {
            // The group may have ended by itself.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.profile);
    }
}
