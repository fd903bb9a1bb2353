//! Asking an OpenAI stream for its usage.

use core::ops::Range;

use super::{Ask, StreamOptions};

/// Replaces a part of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyEdit {
    /// These bytes of the body go away; an empty range is a place between two bytes.
    pub at: Range<u64>,
    /// This comes in their place.
    pub put: &'static str,
}

impl BodyEdit {
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
pub fn include_usage(ask: &Ask) -> Option<BodyEdit> {
    if !ask.stream || ask.stream_options.includes_usage() {
        return None;
    }
    Some(match &ask.stream_options {
        // `stream` follows, so the comma is always right.
        StreamOptions::Absent => {
            let inside = ask.opens.saturating_add(1);
            BodyEdit { at: inside..inside, put: r#""stream_options":{"include_usage":true},"# }
        }
        StreamOptions::Null { at } => BodyEdit { at: at.clone(), put: r#"{"include_usage":true}"# },
        StreamOptions::Object { include_usage: Some(switch), .. } => {
            BodyEdit { at: switch.at.clone(), put: "true" }
        }
        StreamOptions::Object { at, empty, .. } => {
            let inside = at.start.saturating_add(1);
            let put = if *empty { r#""include_usage":true"# } else { r#""include_usage":true,"# };
            BodyEdit { at: inside..inside, put }
        }
    })
}
