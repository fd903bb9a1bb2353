//! Destinations for the lines that a module logs.

use std::fmt;
use std::sync::{Arc, Mutex};

use super::LogLevel;

/// One line that a module logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// The severity. Standard output is `Info` and standard error is `Error`, as in Envoy.
    pub level: LogLevel,
    /// The number of the VM within the process, from 0; `None` for the canary.
    pub vm: Option<u32>,
    /// The text; bytes that are not UTF-8 are replaced.
    pub text: String,
}

/// A sink for log lines, shared by the VMs of a process.
#[derive(Clone)]
pub struct Log {
    sink: Arc<dyn Fn(LogLine) + Send + Sync>,
}

impl Log {
    /// Creates a log that passes every line to `sink`.
    pub fn new(sink: impl Fn(LogLine) + Send + Sync + 'static) -> Log {
        Log { sink: Arc::new(sink) }
    }

    /// Creates a log that drops every line.
    pub fn discard() -> Log {
        Log::new(|_| {})
    }

    /// Creates a log that writes to standard error.
    pub fn stderr() -> Log {
        Log::new(|line| match line.vm {
            Some(vm) => eprintln!("[wasm {}] [vm {vm}] {}", line.level, line.text),
            None => eprintln!("[wasm {}] [canary] {}", line.level, line.text),
        })
    }

    /// Creates a log that keeps the lines for tests.
    pub fn capture() -> (Log, CapturedLog) {
        let lines = CapturedLog::default();
        let kept = lines.clone();
        let log = Log::new(move |line| kept.lock().push(line));
        (log, lines)
    }

    pub(crate) fn write(&self, line: LogLine) {
        (self.sink)(line);
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Log")
    }
}

/// The captured lines.
#[derive(Debug, Clone, Default)]
pub struct CapturedLog(Arc<Mutex<Vec<LogLine>>>);

impl CapturedLog {
    /// Returns all lines, oldest first.
    pub fn lines(&self) -> Vec<LogLine> {
        self.lock().clone()
    }

    /// Returns true if any line contains the text.
    pub fn contains(&self, text: &str) -> bool {
        self.lock().iter().any(|line| line.text.contains(text))
    }

    /// Removes all lines.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<LogLine>> {
        // A test that panicked while it held the lock has left whole lines behind.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
