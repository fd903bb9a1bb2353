//! Reading a policy document: its text in pieces, its records, and the index built from them.

mod builder;
mod document;
mod prices;
pub(crate) mod record;
pub(crate) mod records;
pub(in crate::policy) mod resolve;
#[cfg(feature = "schema")]
pub mod schema;
pub(crate) mod value;

pub use document::PolicyLoader;
pub use value::{FromNode, is_target_name};

pub(crate) use builder::PolicyBuilder;
pub(crate) use document::{DocumentFields, DocumentReader, PolicyFields};
