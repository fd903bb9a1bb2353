//! The check of a body against its `content-length`.

use crate::proxy_wasm::{Forward, HeaderMap};

use super::Cut;

/// Counts a body against its `content-length`. A module that changes a body must set the length anew: bytes
/// beyond it would be read as the next message on that connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Length {
    announced: Option<u64>,
    seen: u64,
    ended: bool,
}

impl Length {
    /// Creates a counter for a message with this head. `bodiless`: the length describes a body that does not
    /// follow, as in responses to HEAD.
    pub(super) fn new(head: &HeaderMap, bodiless: bool) -> Length {
        let announced = head.text("content-length").and_then(|text| text.parse().ok());
        Length { announced: announced.filter(|_| !bodiless), seen: 0, ended: false }
    }

    pub(super) fn count(&mut self, forward: &Forward) -> Result<(), Cut> {
        self.seen += forward.body.len() as u64;
        self.ended |= forward.end_of_stream;
        match self.announced {
            Some(announced) if self.seen > announced || self.ended && self.seen < announced => {
                Err(Cut::Length { announced, seen: self.seen })
            }
            _ => Ok(()),
        }
    }

    /// Returns true if the end of the message was counted.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(body: &[u8], end_of_stream: bool) -> Forward {
        Forward { body: body.to_vec(), end_of_stream, ..Forward::default() }
    }

    #[test]
    fn one_byte_more_or_less_cuts_the_exchange() {
        let head = HeaderMap::from([("content-length", "3")]);
        let mut exact = Length::new(&head, false);
        assert!(exact.count(&part(b"ab", false)).is_ok());
        assert!(exact.count(&part(b"c", true)).is_ok());
        assert!(Length::new(&head, false).count(&part(b"abcd", false)).is_err());
        assert!(Length::new(&head, false).count(&part(b"ab", true)).is_err());
        assert!(Length::new(&head, true).count(&part(b"", true)).is_ok());
        assert!(Length::new(&HeaderMap::new(), false).count(&part(b"abcd", true)).is_ok());
    }
}
