//! API keys, and the redaction of everything that looks like one.

pub mod api_key;
pub mod redact;
