//! Documents on disk: policies and gateway configurations.

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use tollgate_core::gateway::{self, Gateway};
use tollgate_core::policy::{self, Finding, Live, Policy};

/// What a file turned out to be.
pub enum Document {
    /// A policy.
    Policy(Live),
    /// A gateway's configuration, with its policy.
    Gateway(Box<Gateway>),
}

/// Why a document is not there.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The system does not give it.
    #[error("{}: {error}", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    /// It has errors.
    #[error("{}: {} errors; `tollgate check` lists them", path.display(), findings.len())]
    Wrong { path: PathBuf, findings: Vec<Finding> },
}

impl Document {
    /// Reads a file, and tells by its fields what it is.
    pub fn load(path: &Path) -> Result<(Document, Vec<Finding>), LoadError> {
        let text =
            std::fs::read(path).map_err(|error| LoadError::Unreadable { path: path.to_owned(), error })?;
        let loaded = if is_gateway(&text) {
            let mut loader = gateway::Loader::default();
            loader.push(&text);
            loader.finish().map(|(gateway, warnings)| (Document::Gateway(Box::new(gateway)), warnings))
        } else {
            let mut loader = policy::Loader::default();
            loader.push(&text);
            loader.finish().map(|(policy, warnings)| (Document::Policy(Live::new(policy)), warnings))
        };
        loaded.map_err(|findings| LoadError::Wrong { path: path.to_owned(), findings })
    }

    /// The policy in it.
    pub fn policy(&self) -> Rc<Policy> {
        match self {
            Document::Policy(policy) => policy.read(),
            Document::Gateway(gateway) => gateway.policy.read(),
        }
    }

    /// For people.
    pub fn kind(&self) -> &'static str {
        match self {
            Document::Policy(_) => "policy",
            Document::Gateway(_) => "gateway configuration",
        }
    }
}

/// Only a gateway's configuration has a `policy`. What is no JSON at all is left to the loader to describe.
fn is_gateway(text: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(text).is_ok_and(|value| value.get("policy").is_some())
}
