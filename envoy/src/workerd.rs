//! The worker in real workerd, with a simulated provider that records its requests.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tollgate_host::build::worker;
use tollgate_host::simulator::Upstream;
use tollgate_host::tools::{self, Workers};

use crate::envoy::Folder;

const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(10);

/// A workerd process with the shipped folder. It ends with this value.
#[derive(Debug)]
pub struct Workerd {
    /// The upstream of its requests.
    pub upstream: Upstream,
    program: PathBuf,
    folder: Folder,
    setting: Setting,
    process: Option<Child>,
    address: SocketAddr,
}

/// The differences of a test from the shipped folder.
#[derive(Clone, Debug, Default)]
pub struct Setting {
    /// The time that reservations wait for their settlement.
    pub reservation_seconds: Option<u32>,
    /// The address for requests in place of [`Workerd::upstream`].
    pub upstream: Option<SocketAddr>,
    /// Run the worker as wrangler would upload it.
    pub bundled: bool,
    /// A module whose `Organization` replaces the shipped one, which it can import from `./sound.js`.
    pub object: Option<&'static str>,
}

impl Workerd {
    /// Starts workerd with this gateway configuration. Returns `None` after a message if workerd cannot be
    /// installed.
    ///
    /// # Panics
    ///
    /// If the worker cannot be built, or workerd does not start.
    pub fn start(configuration: &Value) -> Option<Self> {
        Self::with(configuration, Setting::default())
    }

    /// Starts workerd with these settings.
    ///
    /// # Panics
    ///
    /// As [`Workerd::start`].
    pub fn with(configuration: &Value, setting: Setting) -> Option<Self> {
        let Workers { workerd: program, wrangler } = tools::require(tools::workers())?;
        let shipped = worker::build().unwrap_or_else(|error| panic!("{error}"));
        let folder = Folder::new();
        copy(&shipped, folder.path());
        for inside in ["storage", "policy"] {
            fs::create_dir(folder.path().join(inside)).unwrap_or_else(|error| panic!("{error}"));
        }
        if setting.bundled {
            bundle(&wrangler, folder.path());
        }
        if let Some(object) = setting.object {
            replace_object(folder.path(), object);
        }
        let upstream = Upstream::start_recording().unwrap_or_else(|error| panic!("upstream: {error}"));
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut workerd = Self { upstream, program, folder, setting, process: None, address };
        workerd.configure(configuration);
        workerd.run();
        Some(workerd)
    }

    /// Returns the address for clients.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the configuration, as a user changes it in KV.
    ///
    /// # Panics
    ///
    /// If it cannot be written.
    pub fn configure(&self, configuration: &Value) {
        let path = self.folder.path().join("policy/configuration.json");
        let fresh = path.with_added_extension("new");
        fs::write(&fresh, configuration.to_string())
            .and_then(|()| fs::rename(&fresh, &path))
            .unwrap_or_else(|error| panic!("{error}"));
    }

    /// Stops the process and starts another one with the same folder.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn restart(&mut self) {
        self.halt();
        self.run();
    }

    /// Restarts with requests to this address in place of [`Workerd::upstream`].
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn restart_before(&mut self, upstream: Option<SocketAddr>) {
        self.setting.upstream = upstream;
        self.restart();
    }

    /// Kills the process at any point and starts another one with the same folder.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn crash(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().and_then(|()| process.wait()).unwrap_or_else(|error| panic!("{error}"));
        }
        self.run();
    }

    /// Returns the folder of the process, with `storage` and `policy`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the worker's log: JSON lines of requests, and text.
    ///
    /// # Panics
    ///
    /// If it cannot be read.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Waits until the log contains the text.
    ///
    /// # Panics
    ///
    /// If it does not.
    pub fn wait_for_log(&self, words: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.log().contains(words) {
            assert!(Instant::now() < end, "no {words} in\n{}", self.log());
            std::thread::sleep(POLL);
        }
    }

    fn run(&mut self) {
        let path = self.folder.path().join("log");
        let log = File::create(&path).unwrap_or_else(|error| panic!("{error}"));
        let errors = log.try_clone().unwrap_or_else(|error| panic!("{error}"));
        let mut command = Command::new(&self.program);
        command
            .args(["serve", "config.capnp", "--socket-addr=http=127.0.0.1:0", "--control-fd=1"])
            .current_dir(self.folder.path())
            .env("UPSTREAM", format!("http://{}", self.setting.upstream.unwrap_or(self.upstream.addr())))
            .env("UPSTREAM_HEADERS", "x-upstream-key: of-the-upstream")
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors);
        if let Some(seconds) = self.setting.reservation_seconds {
            command.env("RESERVATION_SECONDS", seconds.to_string());
        }
        self.process = Some(command.spawn().unwrap_or_else(|error| panic!("workerd: {error}")));
        let end = Instant::now() + PATIENCE;
        self.address = loop {
            if let Some(port) = port(&path) {
                break SocketAddr::from(([127, 0, 0, 1], port));
            }
            assert!(Instant::now() < end, "workerd does not listen:\n{}", self.log());
            std::thread::sleep(POLL);
        };
    }

    /// Stops the process; [`Workerd::restart`] starts another one.
    pub fn halt(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        if let Some(id) = Pid::from_raw(process.id().cast_signed()) {
            // It may have ended by itself.
            let _ = kill_process(id, Signal::TERM);
        }
        let end = Instant::now() + Duration::from_secs(5);
        while matches!(process.try_wait(), Ok(None)) {
            if Instant::now() >= end {
                let _ = process.kill();
            }
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Workerd {
    fn drop(&mut self) {
        self.halt();
        if std::thread::panicking() {
            eprintln!("--- workerd's log\n{}", self.log());
        }
    }
}

/// Reads the port from the event with which workerd announces its socket.
fn port(log: &Path) -> Option<u16> {
    let lines = BufReader::new(File::open(log).ok()?).lines();
    let mut events = lines.map_while(Result::ok).filter_map(|line| serde_json::from_str::<Value>(&line).ok());
    let listens = events.find(|event| event["event"] == "listen" && event["socket"] == "http")?;
    u16::try_from(listens["port"].as_u64()?).ok()
}

/// Runs wrangler without the upload, and replaces the shipped modules by those that it would upload.
fn bundle(wrangler: &Path, folder: &Path) {
    let output = Command::new(wrangler)
        .args(["deploy", "--dry-run", "--outdir", "bundle"])
        .current_dir(folder)
        // No prompts, no telemetry, no files left behind.
        .env("CI", "1")
        .env("WRANGLER_SEND_METRICS", "false")
        .env("HOME", folder)
        .env("XDG_CONFIG_HOME", folder)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("wrangler: {error}"));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    for binding in ["env.ORGANIZATIONS (Organization)", "env.CONFIGURATION", "env.UPSTREAM"] {
        assert!(said.contains(binding), "no {binding} in\n{said}");
    }
    let entries = fs::read_dir(folder.join("bundle")).unwrap_or_else(|error| panic!("{error}"));
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let wasm = names.into_iter().find(|name| name.ends_with(".wasm")).unwrap_or_else(|| panic!("no module"));
    let config = folder.join("config.capnp");
    let text = fs::read_to_string(&config).unwrap_or_else(|error| panic!("{error}"));
    let (before, rest) = text.split_once("modules = [").unwrap_or_else(|| panic!("{text}"));
    let (_, after) = rest.split_once("],").unwrap_or_else(|| panic!("{text}"));
    let modules = format!(
        r#"(name = "worker.js", esModule = embed "bundle/worker.js"), (name = "{wasm}", wasm = embed "bundle/{wasm}")"#
    );
    fs::write(&config, [before, "modules = [", &modules, "],", after].concat())
        .unwrap_or_else(|error| panic!("{error}"));
}

/// Replaces the module of the shipped object.
fn replace_object(folder: &Path, object: &str) {
    const SHIPPED: &str = r#"(name = "durable_object.js", esModule = embed "durable_object.js"),"#;
    const BOTH: &str = r#"(name = "sound.js", esModule = embed "durable_object.js"),
    (name = "durable_object.js", esModule = embed "other.js"),"#;
    let config = folder.join("config.capnp");
    let text = fs::read_to_string(&config).unwrap_or_else(|error| panic!("{error}"));
    assert!(text.contains(SHIPPED), "{text}");
    fs::write(&config, text.replace(SHIPPED, BOTH))
        .and_then(|()| fs::write(folder.join("other.js"), object))
        .unwrap_or_else(|error| panic!("{error}"));
}

/// Copies the files of a folder, without its folders.
fn copy(from: &Path, to: &Path) {
    let entries = fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()) {
        let name = path.file_name().unwrap_or_default();
        fs::copy(&path, to.join(name)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}
