//! A response by the gateway itself.

use alloc::string::String;
use alloc::vec::Vec;

/// The content-type of a body in JSON.
pub const JSON: (&str, &str) = ("content-type", "application/json");

/// A response without an upstream: a rejection, the model list, or a reply of the management API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalResponse {
    /// HTTP status.
    pub status: u16,
    /// Header fields, with content-type if there is a body, and without content-length.
    pub fields: Vec<(&'static str, String)>,
    /// JSON, or empty.
    pub body: String,
}
