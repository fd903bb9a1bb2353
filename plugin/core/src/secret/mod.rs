//! API keys, and the redaction of everything that looks like one.

#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]

pub mod api_key;
pub mod redact;
