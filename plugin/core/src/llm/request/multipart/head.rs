//! The headers of one part of a form.
//!
//! Servers differ in nearly every liberty that the RFCs allow here: repeated and folded headers, escapes, continuations
//! (RFC 2231), encoded words (RFC 2047), single quotes, and names in brackets. Only one form is read, in which all of
//! them see the same name: that of browsers and of the providers' SDKs.

use crate::text::media_type::MediaType;

/// The longest name of a part. Some servers cut names after 100 bytes.
const MAX_NAME: usize = 100;

/// The headers that decide about a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PartHead<'h> {
    /// The name of the part: letters, digits, `_` and `-`, and perhaps indices in brackets.
    pub(super) name: &'h str,
    /// It has the name of a file.
    pub(super) is_file: bool,
    /// The content is text in UTF-8 for every server.
    pub(super) is_text: bool,
    /// The length that the part announces.
    pub(super) length: Option<u64>,
}

/// The syntax that is valid in place of what was found.
type Expected = &'static str;

const DISPOSITION: Expected = "one `Content-Disposition: form-data; name=\"NAME\"` in each part, for a file followed by `; filename=\"FILE\"`";
const NAME: Expected = "a part's name of at most 100 letters, digits, `_` and `-`, with any index in brackets: other characters are read differently";
const FILENAME: Expected =
    "a file name between double quotes, without control characters, backslashes and double quotes";
const TYPE: Expected = "a part's content-type that is one media type, and neither `multipart` nor `message`";
const ONCE: Expected = "each header of a part once";

/// Reads the headers of a part, with the empty line behind them.
pub(super) fn read(head: &str) -> Result<PartHead<'_>, Expected> {
    let (mut disposition, mut kind, mut encoding, mut length) = (None, None, None, None);
    for line in head.split("\r\n").filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or("a header's `:` in each line of a part's headers")?;
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        let place = if is("content-disposition") {
            &mut disposition
        } else if is("content-type") {
            &mut kind
        } else if is("content-transfer-encoding") {
            &mut encoding
        } else if is("content-length") {
            &mut length
        } else {
            return Err(
                "only content-disposition, content-type, content-length and content-transfer-encoding among a part's headers, each on one line",
            );
        };
        if value.contains(char::is_control) {
            return Err("no control characters in a part's headers");
        }
        if place.replace(value.trim_matches(' ')).is_some() {
            return Err(ONCE);
        }
    }
    let identity = |encoding: &str| ["7bit", "8bit", "binary"].contains(&encoding);
    if encoding.is_some_and(|encoding| !identity(encoding)) {
        return Err("no content-transfer-encoding other than 7bit, 8bit and binary");
    }
    let length = match length {
        Some(text) => Some(super::whole_number(text).ok_or("a part's content-length in digits")?),
        None => None,
    };
    let (name, is_file) = names(disposition.ok_or(DISPOSITION)?)?;
    Ok(PartHead { name, is_file, is_text: kind.map_or(Ok(true), is_text)?, length })
}

/// Returns the name of a part, and true if it is a file's.
fn names(disposition: &str) -> Result<(&str, bool), Expected> {
    let start = disposition.split_at_checked("form-data".len());
    let (_, rest) = start.filter(|(kind, _)| kind.eq_ignore_ascii_case("form-data")).ok_or(DISPOSITION)?;
    let (name, rest) = parameter(rest, "name").ok_or(DISPOSITION)?;
    let is_name = match name {
        Value::Quoted(name) => is_name(name),
        // .NET writes names without quotes; every server reads a token alike.
        Value::Token(name) => is_name(name) && !name.contains('['),
    };
    let (Value::Quoted(name) | Value::Token(name)) = name;
    if !is_name || name.len() > MAX_NAME {
        return Err(NAME);
    }
    // The field whose value some servers take for the encoding of all others (RFC 7578, 4.6).
    if name.eq_ignore_ascii_case("_charset_") {
        return Err("no part `_charset_`: send text in UTF-8");
    }
    if rest.is_empty() {
        return Ok((name, false));
    }
    let (_, rest) = parameter(rest, "filename").ok_or(FILENAME)?;
    if rest.is_empty() {
        return Ok((name, true));
    }
    // The same in another encoding (RFC 6266, 4.3).
    match parameter(rest, "filename*").ok_or(FILENAME)? {
        (Value::Token(_), "") => Ok((name, true)),
        (Value::Token(_) | Value::Quoted(_), _) => Err(FILENAME),
    }
}

/// The value of a parameter, without its quotes.
#[derive(Clone, Copy)]
enum Value<'v> {
    Quoted(&'v str),
    Token(&'v str),
}

/// Reads the parameter of this name at the start of a text, and returns its value and the text behind it.
fn parameter<'t>(text: &'t str, name: &str) -> Option<(Value<'t>, &'t str)> {
    let value = text.strip_prefix(';')?.trim_start_matches(' ').strip_prefix(name)?.strip_prefix('=')?;
    let Some(quoted) = value.strip_prefix('"') else {
        let end = value.find(';').unwrap_or(value.len());
        let (token, rest) = value.split_at_checked(end)?;
        return (!token.is_empty() && token.bytes().all(is_token)).then_some((Value::Token(token), rest));
    };
    let (inner, rest) = quoted.split_once('"')?;
    // Servers resolve escapes differently; forms have `%22` for a quote (RFC 7578, 2).
    (!inner.contains('\\')).then_some((Value::Quoted(inner), rest))
}

/// Returns true for the characters of a name, and indices behind them. Some servers take other characters for these: PHP
/// a dot for `_`, others encoded words, a byte-order mark or single quotes for nothing.
fn is_name(text: &str) -> bool {
    let word = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    let (base, indices) = text.split_at_checked(text.find('[').unwrap_or(text.len())).unwrap_or((text, ""));
    let mut indices = indices.split('[').skip(1);
    !base.is_empty() && word(base) && indices.all(|index| index.strip_suffix(']').is_some_and(word))
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Returns true for text in UTF-8.
fn is_text(kind: &str) -> Result<bool, Expected> {
    let kind = MediaType::of(kind);
    let essence = kind.essence.to_ascii_lowercase();
    let nests = essence.starts_with("multipart/") || essence.starts_with("message/");
    if nests || kind.essence.contains(',') || kind.essence.matches('/').count() != 1 {
        return Err(TYPE);
    }
    let charset = kind.parameters.trim_matches(' ').to_ascii_lowercase();
    Ok(essence == "text/plain"
        && ["", "charset=utf-8", "charset=us-ascii", "charset=\"utf-8\""].contains(&&*charset))
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    fn of(disposition: &str) -> Result<(&str, bool), Expected> {
        names(disposition)
    }

    #[test]
    fn names_of_clients_are_read() {
        for (disposition, name, is_file) in [
            ("form-data; name=\"model\"", "model", false),
            ("form-data;name=\"model\"", "model", false),
            ("Form-Data; name=model", "model", false),
            ("form-data; name=\"include[]\"", "include[]", false),
            ("form-data; name=\"chunking_strategy[server][0]\"", "chunking_strategy[server][0]", false),
            ("form-data; name=\"file\"; filename=\"a; name=b.wav\"", "file", true),
            ("form-data; name=file; filename=a.wav; filename*=utf-8''a.wav", "file", true),
            ("form-data; name=\"file\"; filename=\"\u{e9}.wav\"", "file", true),
            ("form-data; name=\"file\"; filename=\"\"", "file", true),
        ] {
            assert_eq!(of(disposition), Ok((name, is_file)), "{disposition}");
        }
    }

    #[test]
    fn other_spellings_are_errors() {
        for disposition in [
            "attachment; name=\"a\"",
            "form-data",
            "form-data; filename=\"a\"; name=\"b\"",
            "form-data; Name=\"a\"",
            "form-data; name =\"a\"",
            "form-data; name= \"a\"",
            "form-data; name=\"a\" ",
            "form-data; name=\"a\";",
            "form-data; name=\"a\"; name=\"b\"",
            "form-data; name=\"a\"; x=\"b\"",
            "form-data; name='a'",
            "form-data; name=a[]",
            "form-data; name=\"\"",
            "form-data; name=\"a b\"",
            "form-data; name=\"a.b\"",
            "form-data; name=\"%61\"",
            "form-data; name=\"=?utf-8?q?a?=\"",
            "form-data; name=\"\u{feff}a\"",
            "form-data; name=\"a[\"",
            "form-data; name=\"a]\"",
            "form-data; name=\"[a]\"",
            "form-data; name=\"a[b]c\"",
            "form-data; name=\"a\\b\"",
            "form-data; name*=utf-8''a",
            "form-data; name=\"a\"; filename*=utf-8''a",
            "form-data; name=\"a\"; filename*0=\"b\"",
            "form-data; name=\"a\"; filename=\"b\\\"",
            "form-data; name=\"_charset_\"",
        ] {
            assert!(of(disposition).is_err(), "{disposition}");
        }
        let long = |length| format!("form-data; name=\"{}\"", "a".repeat(length));
        assert!(of(&long(100)).is_ok() && of(&long(101)).is_err());
    }
}
