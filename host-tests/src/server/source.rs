//! The source of a gateway's configuration, with detection of changes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A configuration file and its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    path: PathBuf,
    kind: Kind,
    /// The user of the fleet's etcd, whose password is in [`PASSWORD_VARIABLE`].
    user: Option<String>,
    seen: Option<Stamp>,
}

/// The environment variable in which the filter gets the password of etcd.
pub const PASSWORD_VARIABLE: &str = "TOLLGATE_ETCD_PASSWORD";

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// A policy file, with the etcd cluster of its fleet, if any.
    Policy(Option<String>),
    Configuration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
}

impl Source {
    /// Creates a source for a file with a policy; the rest of the configuration is the default. Changes made
    /// through the API, including keys, are stored in the etcd of this name, or in this process only.
    pub fn policy(path: impl Into<PathBuf>, fleet: Option<String>) -> Source {
        Source { path: path.into(), kind: Kind::Policy(fleet), user: None, seen: None }
    }

    /// Creates a source for a file with a whole gateway configuration.
    pub fn configuration(path: impl Into<PathBuf>) -> Source {
        Source { path: path.into(), kind: Kind::Configuration, user: None, seen: None }
    }

    /// Sets the user of the fleet's etcd, for a source with a policy.
    pub fn with_user(mut self, user: Option<String>) -> Source {
        self.user = user;
        self
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file as the module's configuration.
    pub fn read(&mut self) -> io::Result<Vec<u8>> {
        // The stamp first: a change during the read is found the next time.
        self.seen = Some(stamp(&self.path)?);
        let text = fs::read(&self.path)?;
        let kept = match &self.kind {
            Kind::Configuration => return Ok(text),
            Kind::Policy(Some(cluster)) => match &self.user {
                None => serde_json::json!({ "fleet": { "cluster": cluster } }),
                Some(user) => serde_json::json!({
                    "fleet": { "cluster": cluster, "user": user, "password_env": PASSWORD_VARIABLE },
                }),
            },
            Kind::Policy(None) => serde_json::json!({ "volatile_keys": true }),
        };
        // The text is copied unchanged, so that the module reports the same findings as `check`.
        let mut configuration = kept.to_string().into_bytes();
        configuration.pop();
        configuration.extend_from_slice(br#","policy":"#);
        configuration.extend_from_slice(&text);
        configuration.push(b'}');
        Ok(configuration)
    }

    /// Returns true if the file has changed since it was last read. A file that is missing for the moment, as
    /// while an editor replaces it, has not changed yet.
    pub fn changed(&self) -> bool {
        stamp(&self.path).is_ok_and(|stamp| self.seen != Some(stamp))
    }
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    let metadata = fs::metadata(path)?;
    Ok(Stamp { modified: metadata.modified().ok(), length: metadata.len() })
}
