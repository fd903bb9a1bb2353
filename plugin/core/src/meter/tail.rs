//! A document that is there as a whole, of which nothing is read but its end.

use memchr::memmem;

use super::MAX_DEPTH;
use super::answer::Answer;
use crate::json::lexer::Lexer;

/// What the documents of all families call their usage, or begin to.
const NAME: &[u8] = b"\"usage";

/// What `answer` becomes with the whole of a document, if its usage is a member of its outermost object.
///
/// The document from that member on, behind a `{` of our own, is parsed; only what closes one object there is the
/// end of a member of the outermost one. A name within a text has a backslash before its quote. `None`: another
/// place, none at all, or no JSON: then all of it has to be read.
pub(super) fn read(document: &[u8], answer: &Answer) -> Option<Answer> {
    let at = memmem::find(document, NAME)?;
    let (before, tail) = document.split_at_checked(at)?;
    if before.trim_ascii_start().first() != Some(&b'{') || before.last() == Some(&b'\\') {
        return None;
    }
    let (mut lexer, mut answer) = (Lexer::new(MAX_DEPTH), answer.clone());
    lexer.push(b"{", &mut answer).ok()?;
    lexer.push(tail, &mut answer).ok()?;
    lexer.finish(&mut answer).ok()?;
    answer.usage().is_some().then_some(answer)
}
