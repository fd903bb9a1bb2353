//! Whole events that are judged without a parser: nearly all events of a stream.

use core::ops::Range;

use super::USAGE;

/// Finds the quoted name of a usage member.
pub(super) fn find_usage(text: &[u8]) -> Option<usize> {
    memchr::memmem::find(text, USAGE.quoted.as_bytes())
}

/// The length of the first event up to and including its blank line; `None` if the line is not there, or if lines end
/// with a CR alone.
pub(super) fn event_length(bytes: &[u8]) -> Option<usize> {
    let mut read = 0;
    loop {
        let rest = bytes.get(read..)?;
        read += memchr::memchr(b'\n', rest)? + 1;
        match bytes.get(read..)? {
            [b'\n', ..] => return Some(read + 1),
            [b'\r', b'\n', ..] => return Some(read + 2),
            _ => {}
        }
    }
}

/// Finds the null that nearly all events have, with the comma before it, without a parser: the event is one line of
/// compact JSON, and the usage member at `at` is the only one. Only the document is closed after it, so that it is a
/// member of the document. (Invalid JSON stays invalid without it.)
pub(super) fn plain_null(event: &[u8], at: usize) -> Option<Range<usize>> {
    let (before, rest) = event.split_at_checked(at)?;
    let rest = rest.strip_prefix(USAGE.quoted.as_bytes())?.strip_prefix(b"\":null")?;
    let line = memchr::memchr2(b'\r', b'\n', rest)?;
    let (members, line_ends) = rest.split_at_checked(line)?;
    let others = members.strip_suffix(b"}")?;
    let value = before.strip_prefix(b"data:")?;
    let plain = matches!(value, [.., last, b','] if !last.is_ascii_whitespace())
        && memchr::memchr2(b'\r', b'\n', value).is_none()
        && line_ends.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
        && !others.iter().any(|byte| matches!(byte, b'{' | b'}' | b'[' | b']'))
        && find_usage(others).is_none();
    plain.then(|| at - 1..event.len() - rest.len())
}

/// Returns the bytes before this range, and those after it.
pub(super) fn without<'a>(event: &'a [u8], range: &Range<usize>) -> [&'a [u8]; 2] {
    [event.get(..range.start).unwrap_or_default(), event.get(range.end..).unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use alloc::borrow::ToOwned;

    use super::*;

    #[test]
    fn chunks_as_openai_writes_them_need_no_parser() {
        for event in [
            "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":null}\n\n",
            "data: {\"choices\":[{\"delta\":{}}],\"usage\":null,\"obfuscation\":\"x7Gq\"}\r\n\r\n",
        ] {
            let at = find_usage(event.as_bytes());
            assert!(at.and_then(|at| plain_null(event.as_bytes(), at)).is_some(), "{event}");
            assert_eq!(event_length((event.to_owned() + event).as_bytes()), Some(event.len()));
        }
    }

    #[test]
    fn an_event_ends_at_its_empty_line() {
        for (bytes, length) in [
            ("a\n\nb", Some(3)),
            ("a\r\n\r\nb", Some(5)),
            ("a\n\r\nb", Some(4)),
            ("a\nb\n\n\n", Some(5)),
            ("a\r\rb\n", None),
            ("a\n", None),
            ("a\n\r", None),
            ("", None),
        ] {
            assert_eq!(event_length(bytes.as_bytes()), length, "{bytes:?}");
        }
    }
}
