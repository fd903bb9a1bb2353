//! Asking an OpenAI stream for its usage.

use alloc::vec::Vec;

use super::{Ask, StreamOptions};

/// Replaces the first bytes of a body: the one edit that every host can make to a body it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplacePrefix {
    /// This many bytes go away.
    pub drop: usize,
    /// These come in their place.
    pub put: Vec<u8>,
}

/// How many of a body's first bytes [`include_usage`] needs to see; `None` if there is nothing to change.
#[must_use]
pub fn prefix_to_hold(ask: &Ask) -> Option<u64> {
    if !ask.stream || ask.stream_options.includes_usage() {
        return None;
    }
    Some(match &ask.stream_options {
        // White space may come before the brace, but nothing else.
        StreamOptions::Absent => ask.bytes,
        StreamOptions::Null { at } => at.end,
        StreamOptions::Object { include_usage: Some(switch), .. } => switch.at.end,
        StreamOptions::Object { at, .. } => at.start + 1,
    })
}

/// What makes `stream_options.include_usage` true, in a body that asks for a stream without usage.
///
/// `held_prefix` is the body's start: up to the opening brace where there are no `stream_options`,
/// otherwise [`prefix_to_hold`] bytes. `None` if there is nothing to change, or too little was held.
#[must_use]
pub fn include_usage(ask: &Ask, held_prefix: &[u8]) -> Option<ReplacePrefix> {
    let needed = prefix_to_hold(ask)?;
    let (keep, drop, insert): (usize, usize, &[u8]) = match &ask.stream_options {
        StreamOptions::Absent => {
            let brace = held_prefix.iter().position(|byte| *byte == b'{')?;
            // `stream` follows, so the comma is always right.
            (brace, brace + 1, br#"{"stream_options":{"include_usage":true},"#)
        }
        StreamOptions::Null { at } => {
            (usize::try_from(at.start).ok()?, usize::try_from(needed).ok()?, br#"{"include_usage":true}"#)
        }
        StreamOptions::Object { include_usage: Some(switch), .. } => {
            (usize::try_from(switch.at.start).ok()?, usize::try_from(needed).ok()?, b"true")
        }
        StreamOptions::Object { empty, .. } => {
            let inside = usize::try_from(needed).ok()?;
            let insert: &[u8] = if *empty { br#""include_usage":true"# } else { br#""include_usage":true,"# };
            (inside, inside, insert)
        }
    };
    if held_prefix.len() < drop {
        return None;
    }
    let mut put = held_prefix.get(..keep)?.to_vec();
    put.extend_from_slice(insert);
    Some(ReplacePrefix { drop, put })
}
