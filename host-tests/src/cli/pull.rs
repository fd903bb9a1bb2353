//! The command `tollgate pull`: copies the policy of a fleet's etcd or of a data folder to a file.

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
    /// The policy file. Records that the place does not hold are kept, unless it holds a whole policy: the same
    /// rule as for a gateway with this configuration.
    file: PathBuf,
    #[command(flatten)]
    place: Place,
    /// Write the changes that are shown. Without it nothing is written.
    #[arg(long)]
    yes: bool,
}

/// Shows the changes to the file and applies them. The exit code is 1 if there is a difference and it was
/// only shown.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let path = &arguments.file;
    let policy = present(path)?;
    let etcd = &mut arguments.place.etcd()?;
    let change = over(&policy.read(), read(etcd)?)?;
    if change.is_empty() && change.unpriced.is_none() && path.exists() {
        eprintln!("{} is already equal to {}", path.display(), arguments.place);
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
        eprintln!("nothing is written without `--yes`");
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

/// Checks that the written text can be read again.
fn check(text: &Value) -> Result<(), Error> {
    let mut loader = PolicyLoader::default();
    loader.push(text.to_string().as_bytes());
    loader.finish().map(|_| ()).map_err(Error::NotWhole)
}

/// Replaces the file atomically, since a gateway may be watching it.
pub(super) fn write(path: &Path, text: &Value) -> std::io::Result<()> {
    replace(path, &format!("{text:#}\n"))
}

/// Replaces a file by one with this text.
pub(super) fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let new = path.with_added_extension("new");
    std::fs::write(&new, text)?;
    std::fs::rename(&new, path)
}
