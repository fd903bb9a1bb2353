//! The policy: who is who, who may call what, and how much.
//!
//! A document is read in pieces ([`Loader`]) into an index ([`Policy`]): `load` walks the text, `record`
//! and `records` say what each record looks like, `read` turns names into positions, `assemble` puts the whole
//! together, `check` and `within` hold records against one another. [`access`] decides what can be called.
//!
//! It changes in place: `edit` applies a [`Change`], and tries one on what it can reach (`reach`); `write` turns the
//! index into records again, `documents` cuts it into the parts that are stored, `fingerprint` is one number for it. A gateway has it in [`Live`].

pub mod access;
pub mod arena;
pub mod change;
pub mod diagnostic;
mod diff;
mod edit;
mod entity;
mod fingerprint;
mod handle;
mod index;
pub mod load;
pub mod model;
mod serialize;
mod validate;

pub use change::{Change, Document, Section};
pub use diagnostic::{Diagnostic, DiagnosticKind, Severity};
pub use handle::PolicyHandle;
pub use index::Policy;
pub use load::PolicyLoader;
pub use model::*;
