//! The command `tollgate backup`: copies a data folder, also while `tollgate serve` uses it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tollgate_host::etcd::Etcd;

use super::fleet::{Error, PREFIX};

#[derive(Debug, Args)]
#[group(skip)]
pub struct Arguments {
    /// The new file, which gets mode 0600. To restore it, start `serve` with a folder in which it is
    /// `tollgate.redb`.
    file: PathBuf,
    /// The data folder.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

/// Writes the copy.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let Arguments { file, data } = arguments;
    Etcd::in_folder(data, PREFIX)?.backup(data, file)?;
    eprintln!("{}: written", file.display());
    Ok(ExitCode::SUCCESS)
}
