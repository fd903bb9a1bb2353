//! An Envoy process.

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

/// The time limit for a start, a stop or a reload. A start takes about one second.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(10);
const DISCOVERY: &str = "extension_config_discovery.http_filter.tollgate";

/// A process with its own folder. Both end with this value.
#[derive(Debug)]
pub struct Envoy {
    process: Child,
    folder: Folder,
    gateway: SocketAddr,
    admin: SocketAddr,
}

/// The outcome of a new configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// All workers use it.
    Taken,
    /// It was rejected, and the old one stays.
    Refused,
}

impl Envoy {
    /// Starts the shipped configuration for this site with this number of workers, and waits until it serves.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn start(program: &Path, site: &Site, workers: u32) -> Self {
        let folder = Folder::new();
        shipped::lay_out(&folder.0, site);
        Self::run(program, folder, workers)
    }

    /// Starts the configuration in this folder and waits until it serves.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn run(program: &Path, folder: Folder, workers: u32) -> Self {
        Self::run_with(program, folder, workers, &[])
    }

    /// Starts the configuration in this folder with these environment variables, and waits until it serves.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn run_with(program: &Path, folder: Folder, workers: u32, variables: &[(&str, &str)]) -> Self {
        let process = command(program, &folder.0)
            .envs(variables.iter().copied())
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

    /// Kills the process, as a crash does.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Returns the address for clients.
    pub fn address(&self) -> SocketAddr {
        self.gateway
    }

    /// Returns the folder of the process.
    pub fn folder(&self) -> &Path {
        &self.folder.0
    }

    /// Replaces the gateway configuration by a rename, as an operator does, and waits for the outcome.
    ///
    /// # Panics
    ///
    /// If Envoy does not react.
    pub fn reload(&mut self, configuration: &str) -> Reload {
        self.put(&shipped::extension(Some(configuration)))
    }

    /// Installs another build of the filter, as in an upgrade: under a new name, since Envoy does not read
    /// the same file again.
    ///
    /// # Panics
    ///
    /// If Envoy does not react.
    pub fn upgrade(&mut self, module: &Path, configuration: &str) -> Reload {
        let name = format!("tollgate-{}.wasm", self.stat(&format!("{DISCOVERY}.config_reload")));
        fs::copy(module, self.folder.0.join(&name))
            .unwrap_or_else(|error| panic!("{}: {error}", module.display()));
        let mut extension = shipped::extension(Some(configuration));
        let code = extension.pointer_mut("/resources/0/typed_config/config/vm_config/code/local/filename");
        *code.unwrap_or_else(|| panic!("tollgate.yaml has no module")) = format!("./{name}").into();
        self.put(&extension)
    }

    /// Replaces the gateway configuration in another file than `tollgate.yaml`, which another listener uses.
    ///
    /// # Panics
    ///
    /// If Envoy does not react.
    pub fn reload_file(&mut self, file: &str, configuration: &str) -> Reload {
        self.put_file(file, &shipped::extension(Some(configuration)))
    }

    fn put(&mut self, extension: &Value) -> Reload {
        self.put_file("tollgate.yaml", extension)
    }

    fn put_file(&mut self, file: &str, extension: &Value) -> Reload {
        let counter = |envoy: &Self, name: &str| envoy.stat(&format!("{DISCOVERY}.{name}"));
        let before = (counter(self, "update_rejected"), counter(self, "config_reload"));
        let fresh = self.folder.0.join(format!("{file}.new"));
        fs::write(&fresh, extension.to_string())
            .and_then(|()| fs::rename(&fresh, self.folder.0.join(file)))
            .unwrap_or_else(|error| panic!("{}: {error}", fresh.display()));
        self.wait_for("the new configuration", |envoy| {
            if counter(envoy, "update_rejected") > before.0 {
                return Some(Reload::Refused);
            }
            (counter(envoy, "config_reload") > before.1).then_some(Reload::Taken)
        })
    }

    /// Returns the address of the admin interface.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// Returns all counters and gauges.
    pub fn stats(&self) -> BTreeMap<String, u64> {
        self.admin("GET", "/stats")
            .lines()
            .filter_map(|line| line.split_once(": "))
            .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
            .collect()
    }

    /// Returns one counter or gauge; 0 if there is none of this name.
    pub fn stat(&self, name: &str) -> u64 {
        self.stats().get(name).copied().unwrap_or_default()
    }

    /// Asserts that no VM has trapped since the start.
    ///
    /// # Panics
    ///
    /// If one has.
    pub fn assert_no_trap(&self) {
        let log = self.log();
        for sign in ["panicked", "Function: proxy_", "Uncaught", "failed to load"] {
            assert!(!log.contains(sign), "{sign} in Envoy's log:\n{log}");
        }
        let reloads =
            self.stats().into_iter().filter(|(name, value)| name.contains("vm_reload") && *value > 0);
        assert_eq!(reloads.collect::<Vec<_>>(), []);
    }

    /// Returns a page of the admin interface.
    pub fn admin(&self, method: &str, path: &str) -> String {
        request(self.admin, &Request::new(method, path).header("content-length", "0")).text().to_owned()
    }

    /// Returns the lines of the access log, after waiting for `count` of them.
    ///
    /// # Panics
    ///
    /// If there are fewer in the end, or one is not JSON.
    pub fn access_log(&mut self, count: usize) -> Vec<Value> {
        let text = self.wait_for(&format!("{count} lines in the access log"), |envoy| {
            // The last line may be incomplete.
            let text = envoy.file("access.log").ok()?;
            let whole = &text[..text.rfind('\n')? + 1];
            (whole.lines().count() >= count).then(|| whole.to_owned())
        });
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect()
    }

    /// Returns Envoy's own log.
    pub fn log(&self) -> String {
        self.file("envoy.log").unwrap_or_default()
    }

    fn file(&self, name: &str) -> std::io::Result<String> {
        fs::read(self.folder.0.join(name)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    fn bound(&self) -> Option<SocketAddr> {
        self.listener(Some("gateway"))
    }

    /// Returns the address of a listener; `None`: of any.
    pub fn listener(&self, name: Option<&str>) -> Option<SocketAddr> {
        let listeners: Value = serde_json::from_str(&self.admin("GET", "/listeners?format=json")).ok()?;
        let mut listeners = listeners.get("listener_statuses")?.as_array()?.iter();
        let listener = listeners.find(|listener| name.is_none_or(|name| listener["name"] == name))?;
        let port = listener.pointer("/local_address/socket_address/port_value")?.as_u64()?;
        Some(SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).ok()?)))
    }

    /// Returns the largest resident memory of the process since its start, or since
    /// [`Envoy::forget_peak_memory`], in bytes.
    ///
    /// # Panics
    ///
    /// If the system does not report it.
    pub fn peak_memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.process.id());
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kilobytes.unwrap_or_else(|| panic!("no VmHWM in {path}")) * 1024
    }

    /// Sets the peak of [`Envoy::peak_memory`] to the present resident memory.
    ///
    /// # Panics
    ///
    /// If the system does not allow it.
    pub fn forget_peak_memory(&self) {
        let path = format!("/proc/{}/clear_refs", self.process.id());
        fs::write(&path, "5").unwrap_or_else(|error| panic!("{path}: {error}"));
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

/// Runs `envoy --mode validate` for this configuration in a folder for this site. Returns the success and the
/// output.
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

/// A temporary folder, removed at the end.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Creates an empty folder.
    ///
    /// # Panics
    ///
    /// If it cannot be created.
    #[expect(clippy::new_without_default, reason = "each is another folder on the disk")]
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("tollgate-envoy-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self(path)
    }

    /// Returns the path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // If this fails, the files stay in the system's temporary folder.
        let _ = fs::remove_dir_all(&self.0);
    }
}
