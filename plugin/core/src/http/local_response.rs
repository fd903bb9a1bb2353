//! A response that the filter sends itself.

use alloc::string::String;
use alloc::vec::Vec;

/// A response that the filter sends itself.
#[derive(Debug, PartialEq, Eq)]
pub struct LocalResponse {
    /// The HTTP status.
    pub status: u16,
    /// The headers besides `content-type` and `content-length`.
    pub fields: Vec<(&'static str, String)>,
    /// The body, JSON.
    pub body: String,
}
