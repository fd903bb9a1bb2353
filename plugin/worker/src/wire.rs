//! The messages between a worker and an organization's object, and the records that the object stores.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tollgate_core::admission::status::RateLimitStatus;
use tollgate_core::admission::{Receipt, Reservation};
use tollgate_core::quota::QuotaExceeded;

/// The first byte of every message. A change of any type in a message needs another one: during a deployment
/// both builds run, and the new one may settle a reservation of the old one. The tests pin its bytes.
pub const FORMAT: u8 = 1;

/// The result of an admission.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// Everything is charged.
    Admitted(RateLimitStatus),
    /// Nothing is charged.
    Denied(QuotaExceeded, RateLimitStatus),
}

/// An admission in the object's storage until it is settled.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Reserved {
    /// The records that were charged.
    pub receipt: Receipt,
    /// The charged amount, for a request that is never reported.
    pub amount: Reservation,
}

/// An error of decoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// The message has another build's format.
    Format(Option<u8>),
    /// The bytes are not a valid message.
    Malformed,
}

impl core::fmt::Display for WireError {
    fn fmt(&self, to: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            WireError::Format(Some(other)) => {
                write!(to, "a message of format {other}, but this build reads {FORMAT}")
            }
            WireError::Format(None) => write!(to, "an empty message"),
            WireError::Malformed => write!(to, "a message of format {FORMAT} that cannot be read"),
        }
    }
}

impl core::error::Error for WireError {}

/// Encodes a message.
///
/// # Errors
/// Never for the types above.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, WireError> {
    postcard::to_extend(message, vec![FORMAT]).map_err(|_| WireError::Malformed)
}

/// Decodes a message of [`encode`].
///
/// # Errors
/// If the bytes are another build's, or damaged.
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
