//! Documents on disk: policies and gateway configurations.

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde_json::Value;
use tollgate_core::config;
use tollgate_core::config::GatewayConfig;
use tollgate_core::policy::{self, Diagnostic, Policy, PolicyHandle, Severity};

use super::check::{count, number};

/// A file's content by its detected type.
pub enum Document {
    /// A policy.
    Policy(PolicyHandle),
    /// A gateway's configuration, with its policy.
    Gateway(Box<GatewayConfig>),
}

/// An error that prevents loading a document.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("{}: {error}", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    /// The document has errors.
    #[error(
        "{}: {}; `tollgate check` lists them", path.display(), number(count(findings, Severity::Error), "error")
    )]
    Wrong { path: PathBuf, findings: Vec<Diagnostic> },
}

impl Document {
    /// Reads a file and detects its type from its fields.
    pub fn load(path: &Path) -> Result<(Document, Vec<Diagnostic>), LoadError> {
        let text =
            std::fs::read(path).map_err(|error| LoadError::Unreadable { path: path.to_owned(), error })?;
        Document::parse(&text, path)
    }

    /// Reads the text of a file, as [`Document::load`] does.
    pub fn parse(text: &[u8], path: &Path) -> Result<(Document, Vec<Diagnostic>), LoadError> {
        // Only a gateway configuration has a field `policy`.
        let loaded = match serde_json::from_slice::<Value>(text) {
            Ok(whole) if whole.get("policy").is_some() => as_gateway(text),
            Ok(_) => as_policy(text),
            // For truncated or invalid JSON, report the shorter list of errors.
            Err(_) => match (as_policy(text), as_gateway(text)) {
                (Err(policy), Err(gateway)) => {
                    Err(if gateway.len() < policy.len() { gateway } else { policy })
                }
                (loaded @ Ok(_), _) | (_, loaded) => loaded,
            },
        };
        loaded.map_err(|findings| LoadError::Wrong { path: path.to_owned(), findings })
    }

    /// Returns the policy of the document.
    pub fn policy(&self) -> Rc<Policy> {
        match self {
            Document::Policy(policy) => policy.read(),
            Document::Gateway(gateway) => gateway.policy.read(),
        }
    }

    /// Returns the document type as text for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Document::Policy(_) => "policy",
            Document::Gateway(_) => "gateway configuration",
        }
    }
}

/// The document with its warnings, or all of its errors.
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
