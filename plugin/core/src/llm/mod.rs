//! The APIs of LLM providers: what a request asks for, and what an answer used.

pub mod request;
pub mod usage;
