//! `tollgate pull`: a fleet's policy from etcd to a file.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;
use tollgate_core::policy::{PolicyHandle, PolicyLoader};

use super::document::{Document, LoadError};
use super::fleet::{Error, Place, Shown, nothing, over, read, text};
use super::write_out;

#[derive(Debug, Args)]
#[group(skip)]
pub struct Arguments {
    /// The policy file. What it holds and etcd does not stays, unless etcd holds a whole policy: as in a gateway
    /// whose configuration it is.
    file: PathBuf,
    #[command(flatten)]
    place: Place,
    /// Write what is shown. Without it nothing is written.
    #[arg(long)]
    yes: bool,
}

/// Shows what would change in the file, and changes it. Exit code 1: there is a difference, and it was only shown.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let path = &arguments.file;
    let policy = present(path)?;
    let etcd = &mut arguments.place.etcd()?;
    let change = over(&policy.read(), read(etcd)?)?;
    if change.is_empty() && change.unpriced.is_none() && path.exists() {
        eprintln!("{} holds just what etcd has", path.display());
        return Ok(ExitCode::SUCCESS);
    }
    write_out(format_args!("{}", Shown { before: &policy.read(), change: &change }));
    policy
        .change(|policy| policy.apply(&change))
        .unwrap_or_else(|| Err(Vec::new()))
        .map_err(Error::Foreign)?;
    let text = text(&policy.read());
    check(&text)?;
    if !arguments.yes {
        eprintln!("nothing is written; `--yes` writes it");
        return Ok(ExitCode::FAILURE);
    }
    write(path, &text).map_err(|error| Error::File { path: path.clone(), error })?;
    eprintln!("{}: written", path.display());
    Ok(ExitCode::SUCCESS)
}

fn present(path: &Path) -> Result<PolicyHandle, Error> {
    match Document::load(path) {
        Ok((Document::Policy(policy), _)) => Ok(policy),
        Ok((Document::Gateway(_), _)) => Err(Error::Configuration(path.to_owned())),
        Err(LoadError::Unreadable { error, .. }) if error.kind() == ErrorKind::NotFound => {
            Ok(PolicyHandle::new(nothing()))
        }
        Err(error) => Err(error.into()),
    }
}

/// That what is written can be read again.
fn check(text: &Value) -> Result<(), Error> {
    let mut loader = PolicyLoader::default();
    loader.push(text.to_string().as_bytes());
    loader.finish().map(|_| ()).map_err(Error::NotWhole)
}

/// Whole or not at all: a gateway may be watching the file.
pub(super) fn write(path: &Path, text: &Value) -> std::io::Result<()> {
    let new = path.with_added_extension("new");
    std::fs::write(&new, format!("{text:#}\n"))?;
    std::fs::rename(&new, path)
}
