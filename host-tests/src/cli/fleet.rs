//! Options and functions that `push` and `pull` share: the connection to etcd or a data folder, and the difference
//! between a file and it.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value, json};
use tollgate_core::etcd::{Changes, EtcdError, Poll, overlay};
use tollgate_core::policy::{Change, Diagnostic, Document, Edit, Policy, PolicyLoader};
use tollgate_host::etcd::{Etcd, EtcdSetupError};

use super::document::LoadError;

/// The prefix of a fleet's keys by default.
pub const PREFIX: &str = "tollgate/1/";

/// Connection options of the etcd cluster or the data folder.
#[derive(Debug, Args)]
pub struct Place {
    /// URL of etcd: http://HOST:PORT or https://…
    #[arg(long = "fleet", value_name = "URL", required_unless_present = "data")]
    url: Option<String>,
    /// Data folder of `serve --data`, which may be running, instead of an etcd.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["url", "login"])]
    data: Option<PathBuf>,
    /// Prefix of its keys, as in `fleet` of the gateway configuration.
    #[arg(long, value_name = "PREFIX", default_value = PREFIX)]
    prefix: String,
    /// File with one line `user:password`, if etcd's authentication is on.
    #[arg(long, value_name = "FILE")]
    login: Option<PathBuf>,
}

/// An error while a policy is copied between a file and etcd.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Etcd(#[from] EtcdSetupError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("{0}")]
    Trouble(EtcdError),
    #[error("the stored policy is invalid: {}", .0.first().map(ToString::to_string).unwrap_or_default())]
    Foreign(Vec<Diagnostic>),
    #[error("conflict with another write{}: run the command again to see the new differences", partly(*.0))]
    Overtaken(usize),
    #[error("the system provides no random numbers: {0}")]
    Random(getrandom::Error),
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: std::io::Error },
    #[error("{}: a gateway configuration; `pull` writes policies", .0.display())]
    Configuration(PathBuf),
    #[error(
        "the stored records do not form a valid policy on their own ({} errors, the first: {}): pull into the policy file of the gateways, or `push` one first",
        .0.len(), .0.first().map(ToString::to_string).unwrap_or_default()
    )]
    NotWhole(Vec<Diagnostic>),
}

fn partly(written: usize) -> String {
    if written == 0 { String::new() } else { format!(", after {written} documents were written") }
}

impl From<EtcdError> for Error {
    fn from(trouble: EtcdError) -> Self {
        Error::Trouble(trouble)
    }
}

impl Place {
    pub fn etcd(&self) -> Result<Etcd, EtcdSetupError> {
        match &self.data {
            Some(folder) => Etcd::in_folder(folder, &self.prefix),
            // The options require one of both.
            None => Etcd::new(self.url.as_deref().unwrap_or_default(), &self.prefix, self.login.as_deref()),
        }
    }
}

/// The place in messages.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.data {
            Some(folder) => write!(f, "{}", folder.display()),
            None => f.write_str("etcd"),
        }
    }
}

/// Reads all documents of the cluster.
pub fn read(etcd: &mut Etcd) -> Result<Changes, EtcdError> {
    let poll = Poll::new(etcd.keys(), 0);
    etcd.run(poll)
}

/// Returns an empty policy.
pub fn nothing() -> Policy {
    let mut loader = PolicyLoader::default();
    loader.push(br#"{"version": 1}"#);
    let (policy, _) = loader.finish().unwrap_or_else(|findings| panic!("an empty policy: {findings:?}"));
    policy
}

/// Returns the change that etcd's documents make to a policy, as a gateway applies them.
pub fn over(policy: &Policy, loaded: Changes) -> Result<Change, Error> {
    policy.difference(&overlay(&policy.documents(), loaded)).map_err(Error::Foreign)
}

/// Returns the change from one policy to another.
pub fn between(from: &Policy, to: &Policy) -> Result<Change, Error> {
    let documents: BTreeSet<Document> = from.documents().into_iter().chain(to.documents()).collect();
    let documents: Vec<_> = documents
        .into_iter()
        .map(|document| {
            let content = to.document(&document);
            (document, content)
        })
        .collect();
    from.difference(&documents).map_err(Error::Foreign)
}

/// Serializes the policy as one document, in the format that `check` and `serve` read.
pub fn text(policy: &Policy) -> Value {
    let mut whole = Map::new();
    whole.insert("version".to_owned(), json!(1));
    for document in policy.documents() {
        let Some(Value::Object(sections)) = policy.document(&document) else { continue };
        for (name, content) in sections {
            match (whole.entry(name).or_insert_with(|| json!({})), content) {
                (Value::Object(records), Value::Object(more)) => records.extend(more),
                (place, value) => *place = value,
            }
        }
    }
    Value::Object(whole)
}

/// A change in readable form, one record per line: `+` added, `-` removed, `~` changed fields. Digests are
/// not shown.
pub struct Shown<'c> {
    pub before: &'c Policy,
    pub change: &'c Change,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(unpriced) = self.change.unpriced {
            writeln!(f, "~ unpriced: {}", unpriced.name())?;
        }
        for Edit { section, id, record, basis: _ } in &self.change.edits {
            let name = format!("{}/{id}", section.name());
            match (self.before.record(*section, id), record) {
                (None, Some(_)) => writeln!(f, "+ {name}")?,
                (Some(before), Some(after)) => writeln!(f, "~ {name}: {}", fields(&before, after))?,
                (_, None) => writeln!(f, "- {name}")?,
            }
        }
        Ok(())
    }
}

/// Lists the fields in which two records differ, without their values, since some are digests.
fn fields(before: &Value, after: &Value) -> String {
    let empty = Map::new();
    let (before, after) = (before.as_object().unwrap_or(&empty), after.as_object().unwrap_or(&empty));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differing: Vec<&str> =
        names.into_iter().filter(|name| before.get(*name) != after.get(*name)).map(String::as_str).collect();
    differing.join(", ")
}
