//! The usage at the end of a whole document, found without reading the rest.

use memchr::memrchr;

use super::extract::UsageExtractor;
use crate::json::lexer::Lexer;
use crate::llm::dialect::MemberName;

/// Reads the usage of a document, if the last usage member belongs to the outermost object; lexer and extractor are new.
///
/// The document is parsed from that member on, behind an extra `{`; this succeeds only if the member belongs to the
/// outermost object. A name within a string has a backslash before its quote. `None`: the usage is elsewhere or
/// missing, or the document is not JSON; then all of it has to be read, with a new lexer and a new extractor.
pub(super) fn read(document: &[u8], lexer: &mut Lexer, extractor: &mut UsageExtractor) -> Option<()> {
    let at = last_name(document, &extractor.format().member)?;
    let (before, tail) = document.split_at_checked(at)?;
    if before.trim_ascii_start().first() != Some(&b'{') || before.last() == Some(&b'\\') {
        return None;
    }
    lexer.push(b"{", extractor).ok()?;
    lexer.push(tail, extractor).ok()?;
    lexer.finish(extractor).ok()?;
    extractor.usage().map(|_| ())
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
