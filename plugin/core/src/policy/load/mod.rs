//! Reading a policy document: its text in pieces, its records, and the index built from them.

mod builder;
mod document;
pub(crate) mod record;
pub(crate) mod records;
mod resolve;
#[cfg(feature = "schema")]
pub mod schema;
pub mod value;

pub use document::PolicyLoader;
pub(crate) use document::{DocumentFields, DocumentReader, PolicyFields};
