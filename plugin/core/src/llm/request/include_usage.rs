//! The request for usage in an OpenAI stream.

use core::ops::Range;

use super::{LlmRequest, StreamOptions};

/// A replacement of a part of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyPatch {
    /// The bytes of the body that are replaced; an empty range is a position between two bytes.
    pub at: Range<u64>,
    /// The bytes in their place.
    pub put: &'static str,
}

impl BodyPatch {
    /// Returns the length of a body of `bytes` after the change.
    #[must_use]
    pub fn length_of(&self, bytes: u64) -> u64 {
        let dropped = self.at.end.saturating_sub(self.at.start);
        bytes.saturating_add(self.put.len() as u64).saturating_sub(dropped)
    }
}

/// Returns the patch that sets `stream_options.include_usage` to true, for a body that requests a stream without usage. An
/// existing member is changed, never written a second time.
#[must_use]
pub fn include_usage(request: &LlmRequest) -> Option<BodyPatch> {
    if !request.stream || request.stream_options.includes_usage() {
        return None;
    }
    Some(match &request.stream_options {
        // `stream` follows, so that the comma is always valid.
        StreamOptions::Absent => {
            let inside = request.opens.saturating_add(1);
            BodyPatch { at: inside..inside, put: r#""stream_options":{"include_usage":true},"# }
        }
        StreamOptions::Null { at } => BodyPatch { at: at.clone(), put: r#"{"include_usage":true}"# },
        StreamOptions::Object { include_usage: Some(switch), .. } => {
            BodyPatch { at: switch.at.clone(), put: "true" }
        }
        StreamOptions::Object { at, empty, .. } => {
            let inside = at.start.saturating_add(1);
            let put = if *empty { r#""include_usage":true"# } else { r#""include_usage":true,"# };
            BodyPatch { at: inside..inside, put }
        }
    })
}
