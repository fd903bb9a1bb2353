//! The `tollgate` command as a process.

#![allow(dead_code)] // Each test uses its own part.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// The first build of the filter takes longest.
const PATIENCE: Duration = Duration::from_secs(300);

pub fn tollgate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// A running `tollgate serve` on a port that the system chose; it ends with this value.
pub struct Serve {
    process: Child,
    errors: Receiver<String>,
    lines: Receiver<String>,
    /// The output until it served, including the requests to try.
    pub said: String,
    /// `127.0.0.1:PORT`
    pub address: String,
}

impl Serve {
    pub fn start(arguments: &[&str]) -> Serve {
        let mut command = tollgate(&["serve"]);
        if !arguments.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        if !arguments.contains(&"--console") {
            command.args(["--console", "off"]);
        }
        let mut process =
            command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let errors = lines_of(process.stderr.take().unwrap());
        let lines = lines_of(process.stdout.take().unwrap());
        let mut serve = Serve { process, errors, lines, said: String::new(), address: String::new() };
        while serve.address.is_empty() {
            let line = serve.errors.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("it does not serve:\n{}", serve.said));
            let begins = ["tollgate: http://", "tollgate: https://"];
            if let Some(rest) = begins.iter().find_map(|begins| line.strip_prefix(begins)) {
                serve.address = rest.split(' ').next().unwrap_or_default().to_owned();
            }
            serve.said += &(line + "\n");
        }
        serve
    }

    /// Returns the next `count` requests that it prints.
    pub fn requests(&mut self, count: usize) -> Vec<String> {
        let mut requests = Vec::new();
        while requests.len() < count {
            let line = self.errors.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("fewer than {count} requests:\n{}", self.said));
            self.said += &(line.clone() + "\n");
            if let Some(request) = line.strip_prefix("  curl") {
                requests.push(format!("curl{request}"));
            }
        }
        requests
    }

    /// Waits for a line on standard error with this text.
    pub fn says(&mut self, text: &str) -> String {
        loop {
            let line = self.errors.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("no line with {text:?}:\n{}", self.said));
            self.said += &(line.clone() + "\n");
            if line.contains(text) {
                return line;
            }
        }
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let id = i32::try_from(self.process.id()).unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    /// Waits for the end of the process.
    pub fn ended(&mut self) -> std::process::ExitStatus {
        self.process.wait().unwrap()
    }

    /// Returns the next line about a request.
    pub fn line(&self) -> serde_json::Value {
        let line = self.lines.recv_timeout(PATIENCE).expect("each request has a line");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn lines_of(stream: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Runs a shell script.
pub fn sh(text: &str) -> Output {
    Command::new("sh").args(["-euc", text]).stdin(Stdio::null()).output().unwrap()
}
