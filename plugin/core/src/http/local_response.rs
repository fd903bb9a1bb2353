//! A response by the gateway itself.

use alloc::string::String;
use alloc::vec::Vec;

/// A response by the gateway itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalResponse {
    /// HTTP status.
    pub status: u16,
    /// Header fields, without `content-length`. A body without `content-type` is `application/json`.
    pub fields: Vec<(&'static str, String)>,
    /// JSON, or empty.
    pub body: String,
}
