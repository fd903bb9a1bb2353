//! Asking an OpenAI stream for its usage.

use core::ops::Range;

use super::{LlmRequest, StreamOptions};

/// Replaces a part of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyPatch {
    /// These bytes of the body go away; an empty range is a place between two bytes.
    pub at: Range<u64>,
    /// This comes in their place.
    pub put: &'static str,
}

impl BodyPatch {
    /// The length of a body of `bytes` after the change.
    #[must_use]
    pub fn length_of(&self, bytes: u64) -> u64 {
        let dropped = self.at.end.saturating_sub(self.at.start);
        bytes.saturating_add(self.put.len() as u64).saturating_sub(dropped)
    }
}

/// What makes `stream_options.include_usage` true, in a body that asks for a stream without usage. The
/// member is written where it is or is missing: never a second one of the same name.
#[must_use]
pub fn include_usage(ask: &LlmRequest) -> Option<BodyPatch> {
    if !ask.stream || ask.stream_options.includes_usage() {
        return None;
    }
    Some(match &ask.stream_options {
        // `stream` follows, so the comma is always right.
        StreamOptions::Absent => {
            let inside = ask.opens.saturating_add(1);
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
