//! Reading a policy document: its text in pieces, its records, and the index they become.

mod read;
mod reading;
pub mod record;
pub(crate) mod records;
mod resolve;
#[cfg(feature = "schema")]
pub mod schema;
pub mod value;

pub use reading::{DocumentFields, DocumentReader, PolicyFields, PolicyLoader};
