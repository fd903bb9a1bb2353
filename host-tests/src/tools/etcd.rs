//! A running etcd with one member.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

/// The time limit for a start.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(10);
/// The time limit for one health check.
const HEALTH: Duration = Duration::from_secs(2);

/// An etcd process with its data folder. Both end with this value.
#[derive(Debug)]
pub struct Etcd {
    program: PathBuf,
    folder: PathBuf,
    address: SocketAddr,
    process: Child,
}

impl Etcd {
    /// Starts etcd on a port that the system chooses. Returns `None` after a message if it cannot be
    /// installed.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn start() -> Option<Etcd> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let program = super::require(super::etcd())?;
        loop {
            let name =
                format!("tollgate-etcd-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let folder = std::env::temp_dir().join(name);
            fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
            // Restarts need the same port, so it is chosen first. Another process may take it before etcd does.
            let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                .and_then(|listener| listener.local_addr())
                .unwrap_or_else(|error| panic!("a port: {error}"));
            let process = run(&program, &folder, address).unwrap_or_else(|error| panic!("etcd: {error}"));
            let mut etcd = Etcd { program: program.clone(), folder, address, process };
            if etcd.wait() {
                return Some(etcd);
            }
        }
    }

    /// Returns the address for clients.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the URL for clients.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Kills the process, as a crash does.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Starts it again on the same port and with the same data.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn restart(&mut self) {
        self.kill();
        self.process =
            run(&self.program, &self.folder, self.address).unwrap_or_else(|error| panic!("{error}"));
        assert!(self.wait(), "etcd does not start:\n{}", self.log());
    }

    /// Stops the process without closing a connection, like a machine that hangs.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
        // Its threads stop one by one: until the last has, it may still answer.
        if let Some(process) = Pid::from_raw(self.process.id().cast_signed()) {
            let _ = waitid(
                WaitId::Pid(process),
                WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
            );
        }
    }

    /// Ends a [`Etcd::freeze`].
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Returns all bytes that it has written: its log and its data.
    pub fn bytes(&self) -> Vec<u8> {
        let mut all = Vec::new();
        let mut folders = vec![self.folder.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                if entry.path().is_dir() {
                    folders.push(entry.path());
                } else {
                    // A file may be renamed meanwhile.
                    all.extend(fs::read(entry.path()).unwrap_or_default());
                }
            }
        }
        all
    }

    fn signal(&self, signal: Signal) {
        if let Some(process) = Pid::from_raw(self.process.id().cast_signed()) {
            // It may have ended by itself.
            let _ = kill_process(process, signal);
        }
    }

    /// Waits until it is healthy. Returns false if another process has its port.
    fn wait(&mut self) -> bool {
        let end = Instant::now() + PATIENCE;
        while !self.is_healthy() {
            let ended = matches!(self.process.try_wait(), Ok(Some(_)));
            if ended && self.log().contains("address already in use") {
                return false;
            }
            assert!(!ended && Instant::now() < end, "etcd does not start:\n{}", self.log());
            thread::sleep(POLL);
        }
        true
    }

    /// Returns true if it has a leader and answers. It listens long before that: a new member that is killed
    /// then has not yet stored its membership, and never finds a leader again.
    fn is_healthy(&self) -> bool {
        let asked = || -> io::Result<Vec<u8>> {
            let mut connection = TcpStream::connect(self.address)?;
            connection.set_read_timeout(Some(HEALTH))?;
            connection.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
            let mut answer = Vec::new();
            connection.read_to_end(&mut answer)?;
            Ok(answer)
        };
        asked().is_ok_and(|answer| answer.starts_with(b"HTTP/1.0 200"))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn run(program: &std::path::Path, folder: &std::path::Path, address: SocketAddr) -> io::Result<Child> {
    let log = File::options().create(true).append(true).open(folder.join("log"))?;
    Command::new(program)
        .current_dir(folder)
        .args(["--data-dir", "data", "--log-level", "warn"])
        .args([
            format!("--listen-client-urls=http://{address}"),
            format!("--advertise-client-urls=http://{address}"),
        ])
        // No other member joins.
        .arg("--listen-peer-urls=http://127.0.0.1:0")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
}
