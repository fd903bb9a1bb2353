//! The policy: who is who, who may call what, and how much.
//!
//! A document is read in pieces ([`Loader`]) into an index ([`Policy`]): `load` walks the text, `record`
//! and `records` say what each record looks like, `assemble` turns names into positions, `check` holds
//! records against one another. [`access`] decides what can be called.

pub mod access;
mod assemble;
pub mod change;
mod check;
pub mod finding;
mod index;
pub mod load;
pub mod model;
pub mod record;
mod records;
#[cfg(feature = "schema")]
pub mod schema;
pub mod table;
pub mod value;

pub use change::{Change, Document, Section};
pub use finding::{Finding, Problem, Severity};
pub use index::Policy;
pub use load::Loader;
pub use model::*;
