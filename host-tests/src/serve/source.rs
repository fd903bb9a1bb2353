//! Where a gateway's configuration comes from, and whether it has changed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A file, and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    path: PathBuf,
    kind: Kind,
    seen: Option<Stamp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// With the cluster of a fleet's etcd.
    Policy(Option<String>),
    Configuration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
}

impl Source {
    /// A file with a policy; the rest of the configuration is the default. What is changed through the API is kept in the
    /// etcd of this name, or in this process only, keys too.
    pub fn policy(path: impl Into<PathBuf>, fleet: Option<String>) -> Source {
        Source { path: path.into(), kind: Kind::Policy(fleet), seen: None }
    }

    /// A file with a whole gateway configuration.
    pub fn configuration(path: impl Into<PathBuf>) -> Source {
        Source { path: path.into(), kind: Kind::Configuration, seen: None }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads it, as the configuration that the module is given.
    pub fn read(&mut self) -> io::Result<Vec<u8>> {
        // The stamp first: a change while it is read is seen the next time.
        self.seen = Some(stamp(&self.path)?);
        let text = fs::read(&self.path)?;
        let kept = match &self.kind {
            Kind::Configuration => return Ok(text),
            Kind::Policy(Some(cluster)) => serde_json::json!({ "fleet": { "cluster": cluster } }),
            Kind::Policy(None) => serde_json::json!({ "volatile_keys": true }),
        };
        // The text stays as it is, so that the module finds in it what `check` would.
        let mut configuration = kept.to_string().into_bytes();
        configuration.pop();
        configuration.extend_from_slice(br#","policy":"#);
        configuration.extend_from_slice(&text);
        configuration.push(b'}');
        Ok(configuration)
    }

    /// Whether the file is another one than when it was last read. A file that is not there at the moment, as
    /// while an editor replaces it, has not changed yet.
    pub fn changed(&self) -> bool {
        stamp(&self.path).is_ok_and(|stamp| self.seen != Some(stamp))
    }
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    let metadata = fs::metadata(path)?;
    Ok(Stamp { modified: metadata.modified().ok(), length: metadata.len() })
}
