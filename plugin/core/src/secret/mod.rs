//! API keys, and their redaction in texts.

#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]

pub mod api_key;
pub mod redact;
