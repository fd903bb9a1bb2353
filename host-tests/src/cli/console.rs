//! The console of `tollgate serve`: the files of a folder, or a build that runs beside the server.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tollgate_host::build::{console, module};
use tollgate_host::server::console::{Console as Files, PATH};

use super::demo;

/// The lower priority of the build: requests come first.
const NICE: i32 = 10;

/// The value of `--console`.
#[derive(Clone, Debug)]
pub enum Console {
    Off,
    Folder(PathBuf),
}

impl Console {
    #[allow(clippy::unnecessary_wraps, reason = "the form of a parser")]
    pub fn parse(text: &str) -> Result<Console, String> {
        Ok(if text == "off" { Console::Off } else { Console::Folder(text.into()) })
    }
}

/// A console that is served.
pub enum Opened {
    /// Its files are loaded.
    Ready(Arc<Files>),
    /// It is to be built.
    Pending(Arc<Files>),
}

/// Returns the console that the option names. Without the option and the sources there is none.
pub fn open(option: Option<&Console>) -> Result<Option<Opened>, (PathBuf, io::Error)> {
    let files = Files::building();
    match option {
        Some(Console::Off) => Ok(None),
        Some(Console::Folder(path)) => match files.load(path) {
            Ok(()) => Ok(Some(Opened::Ready(files))),
            Err(error) => Err((path.clone(), error)),
        },
        None => Ok(module::workspace().is_ok().then_some(Opened::Pending(files))),
    }
}

impl Opened {
    pub fn files(&self) -> &Arc<Files> {
        match self {
            Opened::Ready(files) | Opened::Pending(files) => files,
        }
    }

    /// Prints the console's address, and starts its build.
    pub fn announce(self, base: &str, is_demo: bool) {
        let address = format!("{base}{PATH}");
        if is_demo {
            eprint!("{}", demo::console_links(&address));
        }
        match self {
            Opened::Ready(_) => eprintln!("tollgate: {address} is the console"),
            Opened::Pending(files) => {
                eprintln!("tollgate: {address} will be the console: it is being built");
                std::thread::spawn(move || {
                    // The priority of this thread and of the programs that it starts.
                    let _ = rustix::process::nice(NICE);
                    let built = console::build(true).map_err(|error| error.to_string());
                    let loaded =
                        built.and_then(|folder| files.load(&folder).map_err(|error| error.to_string()));
                    match loaded {
                        Ok(()) => eprintln!("tollgate: {address} is the console"),
                        Err(error) => {
                            files.failed();
                            eprintln!("tollgate: the console could not be built: {error}");
                        }
                    }
                });
            }
        }
    }
}
