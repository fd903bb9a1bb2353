//! The APIs of LLM providers: the fields of a request, and the usage in a response.

pub(crate) mod dialect;
pub mod request;
pub mod usage;
