//! The policy: principals, access, limits and budgets.
//!
//! [`load`] reads a document in pieces: `load::document` streams it, `load::records` defines the fields of each record,
//! `load::resolve` turns names into positions, and `load::builder` assembles the [`Policy`], the index that requests
//! are decided on. `validate` checks records against each other. [`access`] decides which targets can be called.
//!
//! A policy changes in place: `edit` validates and applies a [`Change`]. `serialize` turns the index into records
//! again, `diff` splits it into the documents that are stored, and `fingerprint` is a hash of its content. A gateway
//! holds its policy in a [`PolicyHandle`].

pub mod access;
mod arena;
mod basis;
pub(crate) mod change;
pub(crate) mod diagnostic;
mod diff;
mod edit;
mod entity;
mod fingerprint;
mod handle;
mod index;
pub mod load;
mod model;
mod serialize;
mod validate;

pub use arena::Arena;
pub use basis::{Basis, SecretFate, Withdrawals};
pub use change::{Change, Document, Edit, Section};
pub use diagnostic::{Diagnostic, DiagnosticKind, Diagnostics, Severity};
pub use handle::PolicyHandle;
pub use index::Policy;
pub(crate) use index::hash as secret_hash;
pub use load::PolicyLoader;
pub use model::*;
