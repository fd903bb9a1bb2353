//! One running Envoy.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::client::{Request, request};
use crate::shipped::{self, Site};

/// Longest time for a start, a stop or a reload. A start takes about one second.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(10);
const DISCOVERY: &str = "extension_config_discovery.http_filter.tollgate";

/// A process with a folder of its own. Both end with this value.
#[derive(Debug)]
pub struct Envoy {
    process: Child,
    folder: Folder,
    gateway: SocketAddr,
    admin: SocketAddr,
}

/// What became of a new configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// All workers have it.
    Taken,
    /// The old one holds.
    Refused,
}

impl Envoy {
    /// Starts the shipped configuration for this site with that many workers, and waits until it serves.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn start(program: &Path, site: &Site, workers: u32) -> Self {
        let folder = Folder::new();
        shipped::lay_out(&folder.0, site);
        Self::run(program, folder, workers)
    }

    /// Starts what lies in this folder, and waits until it serves.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn run(program: &Path, folder: Folder, workers: u32) -> Self {
        let process = command(program, &folder.0)
            .args(["--concurrency", &workers.to_string(), "--admin-address-path", "admin"])
            // Tests read the access log while Envoy runs.
            .args(["--file-flush-interval-msec", "20"])
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut envoy = Self { process, folder, gateway: nowhere, admin: nowhere };
        envoy.admin = envoy.wait_for("its admin address", |envoy| envoy.file("admin").ok()?.parse().ok());
        envoy
            .wait_for("it to be live", |envoy| (envoy.admin("GET", "/ready").trim() == "LIVE").then_some(()));
        envoy.gateway = envoy.wait_for("its listener", Self::bound);
        envoy
    }

    /// Ends it at once, as a crash does.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.gateway
    }

    /// Where it runs.
    pub fn folder(&self) -> &Path {
        &self.folder.0
    }

    /// Puts a new gateway configuration in place as an operator does, by a rename, and waits for what Envoy
    /// makes of it.
    ///
    /// # Panics
    ///
    /// If Envoy does nothing.
    pub fn reload(&mut self, configuration: &str) -> Reload {
        self.put(&shipped::extension(Some(configuration)))
    }

    /// Puts another build of the filter in place, as an operator upgrades it: under a name of its own, since a
    /// file that Envoy has read is not read again.
    ///
    /// # Panics
    ///
    /// If Envoy does nothing.
    pub fn upgrade(&mut self, module: &Path, configuration: &str) -> Reload {
        let name = format!("tollgate-{}.wasm", self.stat(&format!("{DISCOVERY}.config_reload")));
        fs::copy(module, self.folder.0.join(&name))
            .unwrap_or_else(|error| panic!("{}: {error}", module.display()));
        let mut extension = shipped::extension(Some(configuration));
        let code = extension.pointer_mut("/resources/0/typed_config/config/vm_config/code/local/filename");
        *code.unwrap_or_else(|| panic!("tollgate.yaml has no module")) = format!("./{name}").into();
        self.put(&extension)
    }

    fn put(&mut self, extension: &Value) -> Reload {
        let counter = |envoy: &Self, name: &str| envoy.stat(&format!("{DISCOVERY}.{name}"));
        let before = (counter(self, "update_rejected"), counter(self, "config_reload"));
        let fresh = self.folder.0.join("tollgate.yaml.new");
        fs::write(&fresh, extension.to_string())
            .and_then(|()| fs::rename(&fresh, self.folder.0.join("tollgate.yaml")))
            .unwrap_or_else(|error| panic!("{}: {error}", fresh.display()));
        self.wait_for("the new configuration", |envoy| {
            if counter(envoy, "update_rejected") > before.0 {
                return Some(Reload::Refused);
            }
            (counter(envoy, "config_reload") > before.1).then_some(Reload::Taken)
        })
    }

    /// Where the admin interface listens.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// All counters and gauges.
    pub fn stats(&self) -> BTreeMap<String, u64> {
        self.admin("GET", "/stats")
            .lines()
            .filter_map(|line| line.split_once(": "))
            .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
            .collect()
    }

    /// One counter or gauge; 0 while there is none of the name.
    pub fn stat(&self, name: &str) -> u64 {
        self.stats().get(name).copied().unwrap_or_default()
    }

    /// A page of the admin interface.
    pub fn admin(&self, method: &str, path: &str) -> String {
        request(self.admin, &Request::new(method, path).header("content-length", "0")).text().to_owned()
    }

    /// The access log's lines, once there are `count` of them.
    ///
    /// # Panics
    ///
    /// If there are fewer in the end, or one is not JSON.
    pub fn access_log(&mut self, count: usize) -> Vec<Value> {
        let text = self.wait_for(&format!("{count} lines in the access log"), |envoy| {
            // The last line may be half written.
            let text = envoy.file("access.log").ok()?;
            let whole = &text[..text.rfind('\n')? + 1];
            (whole.lines().count() >= count).then(|| whole.to_owned())
        });
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect()
    }

    /// What Envoy wrote to its own log.
    pub fn log(&self) -> String {
        self.file("envoy.log").unwrap_or_default()
    }

    fn file(&self, name: &str) -> std::io::Result<String> {
        fs::read(self.folder.0.join(name)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    fn bound(&self) -> Option<SocketAddr> {
        let listeners: Value = serde_json::from_str(&self.admin("GET", "/listeners?format=json")).ok()?;
        let port =
            listeners.pointer("/listener_statuses/0/local_address/socket_address/port_value")?.as_u64()?;
        Some(SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).ok()?)))
    }

    fn wait_for<T>(&mut self, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Ok(Some(status)) = self.process.try_wait() {
                panic!("Envoy ended ({status}) before {what}:\n{}", self.log());
            }
            if let Some(found) = look(self) {
                return found;
            }
            assert!(Instant::now() < end, "waited too long for {what}:\n{}", self.log());
            thread::sleep(POLL);
        }
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        if let Some(process) = Pid::from_raw(self.process.id().cast_signed()) {
            // It may have ended by itself.
            let _ = kill_process(process, Signal::TERM);
        }
        let end = Instant::now() + Duration::from_secs(5);
        while matches!(self.process.try_wait(), Ok(None)) {
            if Instant::now() >= end {
                let _ = self.process.kill();
            }
            thread::sleep(POLL);
        }
        if thread::panicking() {
            eprintln!("--- the end of Envoy's log\n{}", last_lines(&self.log(), 40));
        }
    }
}

/// `envoy --mode validate` of this configuration in a folder laid out for this site: whether it is accepted,
/// and what was said.
///
/// # Panics
///
/// If Envoy cannot be started.
pub fn validate(program: &Path, site: &Site, configuration: &Value) -> (bool, String) {
    let folder = Folder::new();
    shipped::lay_out(&folder.0, site);
    let path = folder.0.join("envoy.yaml");
    fs::write(&path, configuration.to_string()).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let Output { status, .. } = command(program, &folder.0)
        .args(["--mode", "validate"])
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    (status.success(), fs::read_to_string(folder.0.join("envoy.log")).unwrap_or_default())
}

fn command(program: &Path, folder: &Path) -> Command {
    let path = folder.join("envoy.log");
    let log = File::create(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut command = Command::new(program);
    command
        .current_dir(folder)
        .args([
            "-c",
            "envoy.yaml",
            "--use-dynamic-base-id",
            "--log-level",
            "warning",
            "--component-log-level",
            "wasm:info",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    command
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// A folder under the system's temporary one, removed at the end.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// An empty one.
    ///
    /// # Panics
    ///
    /// If it cannot be made.
    #[expect(clippy::new_without_default, reason = "each is another folder on the disk")]
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("tollgate-envoy-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left behind is in the system's temporary folder.
        let _ = fs::remove_dir_all(&self.0);
    }
}
