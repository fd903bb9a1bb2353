//! Installers with a time limit.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::Reason;

/// The number of lines of an installer's output that an error contains.
const OUTPUT_LINES: usize = 12;
const POLL: Duration = Duration::from_millis(20);

/// Runs the command, and kills it with all its children after `limit`. Its output goes to `log`.
pub fn run(mut command: Command, limit: Duration, log: &Path, help: &'static str) -> Result<(), Reason> {
    let shown = shown(&command);
    let output = File::create(log).map_err(|error| file(log, &error))?;
    let errors = output.try_clone().map_err(|error| file(log, &error))?;
    // A process group of its own, so that the installer's children end with it.
    command.process_group(0).stdin(Stdio::null()).stdout(output).stderr(errors);
    let mut child = command.spawn().map_err(|error| Reason::NoProgram {
        program: command.get_program().to_string_lossy().into_owned(),
        error: error.to_string(),
        help,
    })?;
    match wait(&mut child, limit).map_err(|error| file(log, &error))? {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(Reason::Failed { command: shown, status: status.to_string(), output: tail(log) }),
        None => Err(Reason::TooSlow { command: shown, seconds: limit.as_secs(), output: tail(log) }),
    }
}

fn wait(child: &mut Child, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            if let Some(group) = Pid::from_raw(child.id().cast_signed()) {
                // The group may have ended just now.
                let _ = kill_process_group(group, Signal::KILL);
            }
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(POLL);
    }
}

fn shown(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|part| part.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

fn tail(log: &Path) -> String {
    let mut bytes = Vec::new();
    // An error message without the output is better than an error about the output.
    let _ = File::open(log).and_then(|mut file| file.read_to_end(&mut bytes));
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(OUTPUT_LINES)..].join("\n")
}

/// Converts an error of the file system, with its path.
pub fn file(path: &Path, error: &std::io::Error) -> Reason {
    Reason::File { path: path.to_owned(), error: error.to_string() }
}

/// Removes a folder, if it exists.
pub fn remove_folder(path: &Path) -> Result<(), Reason> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(file(path, &error)),
        _ => Ok(()),
    }
}
