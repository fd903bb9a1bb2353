//! Documents on disk: policies and gateway configurations.

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde_json::Value;
use tollgate_core::config;
use tollgate_core::config::GatewayConfig;
use tollgate_core::policy::{self, Diagnostic, Policy, PolicyHandle, Severity};

use super::check::{count, number};

/// What a file turned out to be.
pub enum Document {
    /// A policy.
    Policy(PolicyHandle),
    /// A gateway's configuration, with its policy.
    Gateway(Box<GatewayConfig>),
}

/// Why a document is not there.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The system does not give it.
    #[error("{}: {error}", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    /// It has errors.
    #[error(
        "{}: {}; `tollgate check` lists them", path.display(), number(count(findings, Severity::Error), "error")
    )]
    Wrong { path: PathBuf, findings: Vec<Diagnostic> },
}

impl Document {
    /// Reads a file, and tells by its fields what it is.
    pub fn load(path: &Path) -> Result<(Document, Vec<Diagnostic>), LoadError> {
        let text =
            std::fs::read(path).map_err(|error| LoadError::Unreadable { path: path.to_owned(), error })?;
        // Only a gateway's configuration has a `policy`.
        let loaded = match serde_json::from_slice::<Value>(&text) {
            Ok(whole) if whole.get("policy").is_some() => as_gateway(&text),
            Ok(_) => as_policy(&text),
            // What breaks off or is no JSON is what there is less against.
            Err(_) => match (as_policy(&text), as_gateway(&text)) {
                (Err(policy), Err(gateway)) => {
                    Err(if gateway.len() < policy.len() { gateway } else { policy })
                }
                (loaded @ Ok(_), _) | (_, loaded) => loaded,
            },
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

/// The document and its warnings, or all that is wrong with it.
type Loaded = Result<(Document, Vec<Diagnostic>), Vec<Diagnostic>>;

fn as_gateway(text: &[u8]) -> Loaded {
    let mut loader = config::ConfigLoader::default();
    loader.push(text);
    loader.finish().map(|(gateway, warnings)| (Document::Gateway(Box::new(gateway)), warnings))
}

fn as_policy(text: &[u8]) -> Loaded {
    let mut loader = policy::PolicyLoader::default();
    loader.push(text);
    loader.finish().map(|(policy, warnings)| (Document::Policy(PolicyHandle::new(policy)), warnings))
}
