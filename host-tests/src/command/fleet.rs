//! What `push` and `pull` share: where the fleet's etcd is, and what differs between it and a file.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value, json};
use tollgate_core::etcd::{Changes, EtcdError, Poll, overlay};
use tollgate_core::policy::{Change, Diagnostic, Document, Edit, Policy, PolicyLoader};
use tollgate_host::etcd::{Etcd, EtcdSetupError};

use super::document::LoadError;

/// Which etcd.
#[derive(Debug, Args)]
pub struct Place {
    /// Its URL: http://HOST:PORT or https://…
    #[arg(long = "fleet", value_name = "URL")]
    url: String,
    /// What its keys begin with, as in the gateways' `fleet`.
    #[arg(long, value_name = "PREFIX", default_value = "tollgate/1/")]
    prefix: String,
    /// A file with one line `user:password`, where etcd's authentication is on.
    #[arg(long, value_name = "FILE")]
    login: Option<PathBuf>,
}

/// Why a policy does not get from one place to the other.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Etcd(#[from] EtcdSetupError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("{0}")]
    Trouble(EtcdError),
    #[error("etcd holds what is no policy: {}", .0.first().map(ToString::to_string).unwrap_or_default())]
    Foreign(Vec<Diagnostic>),
    #[error("somebody else wrote meanwhile{}: look at the difference again", partly(*.0))]
    Overtaken(usize),
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: std::io::Error },
    #[error("{}: a gateway configuration; `pull` writes policies", .0.display())]
    Configuration(PathBuf),
    #[error(
        "what etcd holds is not whole without a policy that goes with it ({} errors, the first: {}): pull over the policy file of the gateways, or `push` one first",
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
        Etcd::new(&self.url, &self.prefix, self.login.as_deref())
    }
}

/// All that etcd has.
pub fn read(etcd: &mut Etcd) -> Result<Changes, EtcdError> {
    let poll = Poll::new(etcd.keys(), 0);
    etcd.run(poll)
}

/// A policy without anything.
pub fn nothing() -> Policy {
    let mut loader = PolicyLoader::default();
    loader.push(br#"{"version": 1}"#);
    let (policy, _) = loader.finish().unwrap_or_else(|findings| panic!("an empty policy: {findings:?}"));
    policy
}

/// What etcd's documents change in a policy, as a gateway would take them over it.
pub fn over(policy: &Policy, loaded: Changes) -> Result<Change, Error> {
    policy.difference(&overlay(&policy.documents(), loaded)).map_err(Error::Foreign)
}

/// What turns one policy into another.
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

/// The policy as one document, as `check` and `serve` read it.
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

/// A change for people, one record a line: `+` new, `-` gone, `~` other fields. Never a digest.
pub struct Shown<'c> {
    pub before: &'c Policy,
    pub change: &'c Change,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(unpriced) = self.change.unpriced {
            writeln!(f, "~ unpriced: {}", unpriced.name())?;
        }
        for Edit { section, id, record } in &self.change.edits {
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

/// The fields in which two records differ, without their values: some are digests.
fn fields(before: &Value, after: &Value) -> String {
    let empty = Map::new();
    let (before, after) = (before.as_object().unwrap_or(&empty), after.as_object().unwrap_or(&empty));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differing: Vec<&str> =
        names.into_iter().filter(|name| before.get(*name) != after.get(*name)).map(String::as_str).collect();
    differing.join(", ")
}
