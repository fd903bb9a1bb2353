//! A document that is there as a whole, of which nothing is read but its end.

use memchr::memrchr;

use super::extract::UsageExtractor;
use crate::json::lexer::Lexer;
use crate::llm::dialect::MemberName;

/// Reads the whole of a document, if the last usage in it is a member of its outermost object; lexer and answer are new.
///
/// The document from that member on, behind a `{` of our own, is parsed; only what closes one object there is the
/// end of a member of the outermost one. A name within a text has a backslash before its quote. `None`: another
/// place, none at all, or no JSON: then all of it has to be read, with a new lexer into a new answer.
pub(super) fn read(document: &[u8], lexer: &mut Lexer, answer: &mut UsageExtractor) -> Option<()> {
    let at = last_name(document, &answer.format().member)?;
    let (before, tail) = document.split_at_checked(at)?;
    if before.trim_ascii_start().first() != Some(&b'{') || before.last() == Some(&b'\\') {
        return None;
    }
    lexer.push(b"{", answer).ok()?;
    lexer.push(tail, answer).ok()?;
    lexer.finish(answer).ok()?;
    answer.usage().map(|_| ())
}

fn last_name(document: &[u8], name: &MemberName) -> Option<usize> {
    let mut before = document;
    loop {
        let found = memrchr(name.rare, before)?;
        let at = found.checked_sub(name.rare_at)?;
        if document.get(at..).is_some_and(|rest| rest.starts_with(name.quoted.as_bytes())) {
            return Some(at);
        }
        before = before.get(..found)?;
    }
}
