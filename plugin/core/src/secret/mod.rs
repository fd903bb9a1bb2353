//! API keys, and their redaction in texts.

pub mod api_key;
pub mod redact;
