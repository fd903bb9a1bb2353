//! What a worker and an organization's object tell one another, and what the object stores.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tollgate_core::admission::status::RateLimitStatus;
use tollgate_core::admission::{Receipt, Reservation};
use tollgate_core::quota::QuotaExceeded;

/// The first byte of every message. A change of any type in a message needs another: during a deployment
/// both builds run, and a reservation of the old one may be settled by the new. The tests pin its bytes.
pub const FORMAT: u8 = 1;

/// The end of an admission.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// Everything is charged.
    Admitted(RateLimitStatus),
    /// Nothing is.
    Denied(QuotaExceeded, RateLimitStatus),
}

/// What an object keeps of an admission until it is settled.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Reserved {
    /// Where it was charged.
    pub receipt: Receipt,
    /// What was charged, for a request of which nothing is heard again.
    pub amount: Reservation,
}

/// Why bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// They are of a build with another format.
    Format(Option<u8>),
    /// They do not read as what they should be.
    Malformed,
}

impl core::fmt::Display for WireError {
    fn fmt(&self, to: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            WireError::Format(Some(other)) => {
                write!(to, "a message of format {other}, and this build reads {FORMAT}")
            }
            WireError::Format(None) => write!(to, "an empty message"),
            WireError::Malformed => write!(to, "a message of format {FORMAT} that cannot be read"),
        }
    }
}

impl core::error::Error for WireError {}

/// A message as bytes.
///
/// # Errors
/// None of the types above has a value that cannot be written.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, WireError> {
    postcard::to_extend(message, vec![FORMAT]).map_err(|_| WireError::Malformed)
}

/// Reads what [`encode`] wrote.
///
/// # Errors
/// Where the bytes are another build's, or damaged.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, WireError> {
    match bytes.split_first() {
        Some((&FORMAT, message)) => match postcard::take_from_bytes(message) {
            Ok((message, [])) => Ok(message),
            _ => Err(WireError::Malformed),
        },
        other => Err(WireError::Format(other.map(|(format, _)| *format))),
    }
}

#[cfg(test)]
mod tests;
