//! Redaction of texts that are shown or logged: no secrets of keys, a bounded length, and no control characters.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;

use crate::secret::api_key::MARK;

/// Replaces the secret of each of Tollgate's own keys in a text by `…`.
///
/// ```
/// use tollgate_core::secret::{api_key::mint, redact::without_secrets};
/// let key = mint("demo", &[7; 32]);
/// let shown = without_secrets(&format!("/keys/{key}/rotate")).into_owned();
/// assert_eq!(shown, "/keys/sk-tg-demo-…/rotate");
/// assert_eq!(without_secrets(&shown), shown);
/// ```
pub fn without_secrets(text: &str) -> Cow<'_, str> {
    let Some((mut before, mut after)) = text.split_once(MARK) else { return Cow::Borrowed(text) };
    let mut shown = String::new();
    loop {
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let end = after.find(|c| !is_part(c)).unwrap_or(after.len());
        let (word, rest) = after.split_at_checked(end).unwrap_or((after, ""));
        shown = shown + before + MARK;
        // Without a second part the word is too short to contain a secret.
        shown = match word.split_once('-') {
            Some((id, _)) if rest.starts_with('…') => shown + id + "-",
            Some((id, _)) => shown + id + "-…",
            None => shown + word,
        };
        match rest.split_once(MARK) {
            Some(next) => (before, after) = next,
            None => return Cow::Owned(shown + rest),
        }
    }
}

/// Redacts a caller's text for a message or a log: at most `most` characters, no secrets, no control characters.
pub(crate) fn redact(text: &str, most: usize) -> String {
    let text = without_secrets(text);
    text.chars().take(most).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Quotes a text for a message: at most 40 characters, no secrets, control characters escaped.
pub fn redact_quoted(text: &str) -> String {
    let text = &*without_secrets(text);
    let shown: String = text.chars().take(40).collect();
    if shown.len() < text.len() { format!("{shown:?}…") } else { format!("{shown:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::api_key::mint;

    #[test]
    fn only_the_id_of_a_key_is_shown() {
        let (one, two) = (mint("first", &[0xf7; 32]), mint("second", &[1; 32]));
        for (text, shown) in [
            (format!("`{one}` and {two}/x"), "`sk-tg-first-…` and sk-tg-second-…/x"),
            (format!("{one}{two}"), "sk-tg-first-…"),
            (format!("sk-tg-{one}"), "sk-tg-sk-…"),
            ("sk-tg-".into(), "sk-tg-"),
            ("sk-tg-demo é".into(), "sk-tg-demo é"),
            ("gpt-5-mini".into(), "gpt-5-mini"),
        ] {
            assert_eq!(without_secrets(&text), shown);
        }
    }
}
