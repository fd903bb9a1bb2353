//! A response by the gateway itself.

use alloc::string::String;
use alloc::vec::Vec;

/// An answer by the gateway itself.
#[derive(Debug, PartialEq, Eq)]
pub struct LocalResponse {
    /// HTTP status.
    pub status: u16,
    /// Fields besides content-type and content-length.
    pub fields: Vec<(&'static str, String)>,
    /// JSON.
    pub body: String,
}
