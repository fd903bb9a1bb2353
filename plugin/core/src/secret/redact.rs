//! Redaction of texts that are shown or logged: no secrets of keys, a bounded length, and no control characters.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;

use crate::secret::api_key::MARK;
use crate::text::escape::escaped;
use crate::text::percent;

/// Replaces the secret of each of Tollgate's own keys in a text by `…`, in whatever case its letters are.
///
/// ```
/// use tollgate_core::secret::{api_key::mint, redact::without_secrets};
/// let key = mint("demo", &[7; 32]);
/// let shown = without_secrets(&format!("/keys/{key}/rotate")).into_owned();
/// assert_eq!(shown, "/keys/sk-tg-demo-…/rotate");
/// assert_eq!(without_secrets(&shown), shown);
/// ```
pub fn without_secrets(text: &str) -> Cow<'_, str> {
    let Some((mut before, mut mark, mut after)) = split_at_mark(text) else { return Cow::Borrowed(text) };
    let mut shown = String::new();
    loop {
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let end = after.find(|c| !is_part(c)).unwrap_or(after.len());
        let (word, rest) = after.split_at_checked(end).unwrap_or((after, ""));
        shown = shown + before + mark;
        // Without a second part the word is too short to contain a secret.
        shown = match word.split_once('-') {
            Some((id, _)) if rest.starts_with('…') => shown + id + "-",
            Some((id, _)) => shown + id + "-…",
            None => shown + word,
        };
        match split_at_mark(rest) {
            Some(next) => (before, mark, after) = next,
            None => return Cow::Owned(shown + rest),
        }
    }
}

/// Splits a text around the first mark of Tollgate's own keys.
fn split_at_mark(text: &str) -> Option<(&str, &str, &str)> {
    let is_mark = |window: &[u8]| window.eq_ignore_ascii_case(MARK.as_bytes());
    let at = text.as_bytes().windows(MARK.len()).position(is_mark)?;
    let (before, rest) = text.split_at_checked(at)?;
    let (mark, after) = rest.split_at_checked(MARK.len())?;
    Some((before, mark, after))
}

/// Returns true if a value holds one of Tollgate's own keys, or a part of one.
pub(crate) fn has_mark(value: &[u8]) -> bool {
    value.windows(MARK.len()).any(|window| window.eq_ignore_ascii_case(MARK.as_bytes()))
}

/// Redacts a caller's or another server's text for a message or a log: no secrets of Tollgate's own keys, hidden characters escaped,
/// and at most `most` characters. A long word that is cut is left out: it may be the start of another secret.
pub(crate) fn redact(text: &str, most: usize) -> String {
    let text = without_secrets(text);
    let shown = match beginning(&text, most) {
        Some(shown) => Cow::Owned(String::from(shown) + "…"),
        None => text,
    };
    escaped(&shown).chars().take(most).collect()
}

/// Returns the beginning of a longer text, without a long word that would be cut; `None` for a text of at most `most` characters.
fn beginning(text: &str, most: usize) -> Option<&str> {
    let (end, _) = text.char_indices().nth(most)?;
    let (start, rest) = text.split_at_checked(end)?;
    let word = start.trim_end_matches(is_word).len();
    let cut = rest.starts_with(is_word) && start.len() - word >= MIN_SECRET;
    start.get(..if cut { word } else { end })
}

/// Returns true for the characters of keys and tokens.
fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~' | '+' | '=')
}

/// The most words of a text that are compared with known secrets.
const MAX_WORDS: usize = 256;

/// Replaces the words of a text that are known secrets.
pub(crate) fn without_known(text: &str, is_secret: impl Fn(&[u8]) -> bool) -> Cow<'_, str> {
    // These characters may be part of a secret, or stand before or behind one.
    const SEAMS: [char; 4] = ['.', '=', '~', '+'];
    let words = text.split(|c| !is_word(c)).flat_map(|word| {
        let stem = word.rsplit_once('.').map(|(stem, _)| stem);
        let pieces = word.contains(SEAMS).then(|| word.split(SEAMS)).into_iter().flatten();
        core::iter::once(word).chain(stem).chain(pieces)
    });
    let words = words.filter(|word| word.len() >= MIN_SECRET).take(MAX_WORDS);
    let secrets = words.filter(|word| is_secret(word.as_bytes()));
    secrets.fold(Cow::Borrowed(text), |text, secret| Cow::Owned(text.replace(secret, "…")))
}

/// Quotes a text for a message: at most 40 characters, no secrets, control characters escaped.
pub fn redact_quoted(text: &str) -> String {
    let text = &*without_secrets(text);
    match beginning(text, 40) {
        Some(shown) => format!("{shown:?}…"),
        None => format!("{text:?}"),
    }
}

/// The most characters of a line in a log.
const MAX_LINE: usize = 16_384;

/// Redacts a line for a log: no secrets, hidden characters escaped, and a bounded length.
pub fn log_line(text: &str) -> Cow<'_, str> {
    let shown = match without_secrets(text) {
        Cow::Borrowed(text) => escaped(text),
        Cow::Owned(text) => Cow::Owned(escaped(&text).into_owned()),
    };
    match shown.char_indices().nth(MAX_LINE) {
        Some((end, _)) => Cow::Owned(String::from(shown.get(..end).unwrap_or_default()) + "…"),
        None => shown,
    }
}

/// The most segments and characters of a path in a log.
const MAX_SEGMENTS: usize = 32;
const MAX_PATH: usize = 512;

/// The shortest word that is compared with known secrets: a shorter one can be guessed.
const MIN_SECRET: usize = 16;

/// Redacts a path, without its query, for a log. `is_secret` compares a word with known secrets. A path with an encoded key is shown
/// decoded.
pub fn path(path: &str, is_secret: impl Fn(&[u8]) -> bool) -> String {
    let mut shown = String::new();
    for (position, written) in path.split('/').enumerate() {
        if position > 0 {
            shown.push('/');
        }
        if position >= MAX_SEGMENTS {
            shown.push('…');
            break;
        }
        let decoded = percent::thoroughly(written);
        let plain = match without_secrets(&decoded) {
            Cow::Borrowed(text) => without_known(text, &is_secret),
            Cow::Owned(text) => Cow::Owned(without_known(&text, &is_secret).into_owned()),
        };
        match plain {
            Cow::Owned(plain) => shown += &plain,
            Cow::Borrowed(_) => shown += written,
        }
    }
    redact(&shown, MAX_PATH)
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
            (one.to_uppercase(), "SK-TG-FIRST-…"),
            (format!("sk-tg-{one}"), "sk-tg-sk-…"),
            ("sk-tg-".into(), "sk-tg-"),
            ("sk-tg-demo é".into(), "sk-tg-demo é"),
            ("gpt-5-mini".into(), "gpt-5-mini"),
        ] {
            assert_eq!(without_secrets(&text), shown);
        }
    }

    #[test]
    fn a_key_in_a_path_is_redacted_in_every_spelling() {
        let key = mint("demo", &[7; 32]);
        let encoded = |rounds: usize| {
            (0..rounds).fold(key.clone(), |text, _| text.replace('%', "%25").replace('-', "%2D"))
        };
        for spelled in [key.clone(), key.to_uppercase(), encoded(1), encoded(2), encoded(3)] {
            let shown = path(&format!("/keys/{spelled}/rotate"), |_| false);
            assert_eq!(shown.to_lowercase(), "/keys/sk-tg-demo-…/rotate", "{spelled}");
            assert!(!path(&format!("/a%2Fb/{spelled}"), |_| false).contains("BwcHBwc"));
        }
        let foreign = "a-key-of-another-gateway";
        let is_known = |text: &[u8]| text == foreign.as_bytes();
        assert_eq!(path(&format!("/a/{foreign}"), is_known), "/a/…");
        assert_eq!(path("/a/a%2Dkey%2dof-another-gateway/b", is_known), "/a/…/b");
        assert_eq!(path(&format!("/models/{foreign}:generate"), is_known), "/models/…:generate");
        assert_eq!(path("/v1/models/ft%3Amini/x", is_known), "/v1/models/ft%3Amini/x");
        assert_eq!(path("/a\u{202e}b\n", is_known), "/a\\u202eb\\u000a");
        assert!(path(&"/x".repeat(9_000), is_known).chars().count() <= MAX_PATH);
    }

    #[test]
    fn lines_and_messages_are_bounded_and_show_hidden_characters() {
        let key = mint("demo", &[7; 32]);
        assert_eq!(
            log_line(&format!("etcd: {key}\n\u{1b}[31m\u{2066}x")),
            "etcd: sk-tg-demo-…\\u000a\\u001b[31m\\u2066x"
        );
        assert!(log_line(&"x".repeat(100_000)).len() < 17_000);
        assert_eq!(redact("a\u{202e}\u{e9}", 64), "a\\u202e\u{e9}");
        assert_eq!(redact(&"\u{202e}".repeat(64), 64).len(), 64);
        assert_eq!(redact(&format!("no {}", "x".repeat(70)), 64), "no …");
        assert_eq!(redact(&"a b ".repeat(70), 64), "a b ".repeat(16));
        assert_eq!(redact_quoted(&format!("no {}", "x".repeat(70))), "\"no \"…");
        let known = |word: &[u8]| word == b"a-key-of-another-gateway";
        assert_eq!(without_known("`a-key-of-another-gateway` and x", known), "`…` and x");
    }
}
