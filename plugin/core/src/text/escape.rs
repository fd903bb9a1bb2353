//! Characters that hide or reorder what a reader sees.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;

/// Returns true for control characters, and for those of Unicode's category Cf and the separators of lines: marks of direction,
/// spaces without width, tags. A terminal or a page shows text with them as another text.
pub(crate) fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{600}'..='\u{605}'
                | '\u{61c}'
                | '\u{6dd}'
                | '\u{70f}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{110bd}'
                | '\u{110cd}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// Writes each hidden character as JSON escapes it, such as `\u202e`: in a JSON text, where it can only be part of a string, the
/// value stays the same.
///
/// ```
/// use tollgate_core::text::escape::escaped;
/// assert_eq!(escaped("a\u{202e}b\n"), "a\\u202eb\\u000a");
/// assert_eq!(escaped("\u{e9}\u{1f600}"), "\u{e9}\u{1f600}");
/// ```
pub fn escaped(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_hidden(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                shown += &format!("\\u{unit:04x}");
            }
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}
