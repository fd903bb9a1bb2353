//! Edits of a JSON text that keep the rest of it as it is written.

use std::ops::Range;

use serde_json::Value;

/// A value in a text, and what it contains.
#[derive(Clone, Debug)]
pub struct Place {
    /// The value's bytes.
    pub range: Range<usize>,
    /// The members of an object, in their order, each with the start of its name.
    pub members: Vec<(String, usize, Place)>,
    is_object: bool,
}

impl Place {
    /// Reads a text that is a JSON document. `None` if it is none.
    pub fn of(text: &str) -> Option<Place> {
        serde_json::from_str::<Value>(text).ok()?;
        let bytes = text.as_bytes();
        value(text, skip(bytes, 0))
    }

    /// The member with this name.
    pub fn member(&self, name: &str) -> Option<&Place> {
        self.members.iter().find(|(known, ..)| known == name).map(|(.., place)| place)
    }

    /// The value itself.
    pub fn value(&self, text: &str) -> Option<Value> {
        serde_json::from_str(text.get(self.range.clone())?).ok()
    }
}

fn skip(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(u8::is_ascii_whitespace) {
        at += 1;
    }
    at
}

/// The end of a string that starts here.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    at
}

fn value(text: &str, start: usize) -> Option<Place> {
    let bytes = text.as_bytes();
    let mut members = Vec::new();
    let open = *bytes.get(start)?;
    let end = match open {
        b'"' => string_end(bytes, start),
        b'{' | b'[' => {
            let mut at = skip(bytes, start + 1);
            while !matches!(bytes.get(at)?, b'}' | b']') {
                let name_at = at;
                let mut name = String::new();
                if open == b'{' {
                    let end = string_end(bytes, at);
                    name = serde_json::from_str(text.get(at..end)?).ok()?;
                    at = skip(bytes, skip(bytes, end) + 1);
                }
                let inner = value(text, at)?;
                at = skip(bytes, inner.range.end);
                if open == b'{' {
                    members.push((name, name_at, inner));
                }
                if bytes.get(at) == Some(&b',') {
                    at = skip(bytes, at + 1);
                }
            }
            at + 1
        }
        _ => {
            let rest = bytes.get(start..)?;
            let length = rest.iter().position(|byte| byte.is_ascii_whitespace() || b",]}".contains(byte));
            start + length.unwrap_or(rest.len())
        }
    };
    Some(Place { range: start..end, members, is_object: open == b'{' })
}

/// Replacements of parts of a text.
#[derive(Debug, Default)]
pub struct Edits(Vec<(Range<usize>, String)>);

impl Edits {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Replaces a value.
    pub fn replace(&mut self, place: &Place, by: String) {
        self.0.push((place.range.clone(), by));
    }

    /// Adds members at the end of an object, each with the text of its value.
    pub fn append(&mut self, text: &str, object: &Place, members: &[(String, String)]) {
        if members.is_empty() || !object.is_object {
            return;
        }
        let written = |(name, value): &(String, String)| format!("{}: {value}", Value::from(name.as_str()));
        let first = object.members.first();
        let before = |at: usize| text.get(..at).unwrap_or_default();
        // The white space before a name, if the name begins its line.
        let indent_at = |at: usize| {
            let line = before(at).rsplit('\n').next().unwrap_or_default();
            (before(at).contains('\n') && line.trim().is_empty()).then(|| line.to_owned())
        };
        let (at, separator, start, close) = match (first, object.members.last()) {
            (Some((_, name_at, _)), Some((.., last))) => {
                let separator = match indent_at(*name_at) {
                    Some(indent) => format!(",\n{indent}"),
                    None => ", ".to_owned(),
                };
                (last.range.end, separator.clone(), separator, String::new())
            }
            _ => {
                let line = before(object.range.start).rsplit('\n').next().unwrap_or_default();
                let own: String = line.chars().take_while(|c| c.is_whitespace()).collect();
                (object.range.start + 1, format!(",\n{own}  "), format!("\n{own}  "), format!("\n{own}"))
            }
        };
        let joined = members.iter().map(written).collect::<Vec<String>>().join(&separator);
        let end = if close.is_empty() { at } else { object.range.end - 1 };
        self.0.push((at..end, format!("{start}{joined}{close}")));
    }

    /// The text with all replacements.
    pub fn apply(mut self, text: &str) -> String {
        self.0.sort_by_key(|(range, _)| (range.start, range.end));
        let (mut edited, mut at) = (String::new(), 0);
        for (range, by) in self.0 {
            edited.push_str(text.get(at..range.start).unwrap_or_default());
            edited.push_str(&by);
            at = range.end;
        }
        edited + text.get(at..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(text: &str, edit: impl Fn(&Place, &mut Edits)) -> String {
        let place = Place::of(text).unwrap();
        let mut edits = Edits::default();
        edit(&place, &mut edits);
        edits.apply(text)
    }

    #[test]
    fn everything_but_the_edited_value_stays_as_it_is_written() {
        let text =
            "{\n  \"b\" : { \"x\":1.50,\"y\\u0061\": [1, {\"x\": \"}\"}] },\n\t\"a\": \"\\\"x\\\"\"\n}\n";
        let new = edited(text, |place, edits| {
            edits.replace(place.member("b").unwrap().member("x").unwrap(), "2".into());
            edits.replace(place.member("b").unwrap().member("ya").unwrap(), "[]".into());
            edits.replace(place.member("a").unwrap(), "null".into());
        });
        assert_eq!(new, "{\n  \"b\" : { \"x\":2,\"y\\u0061\": [] },\n\t\"a\": null\n}\n");
    }

    #[test]
    fn new_members_follow_the_form_of_the_object() {
        for (text, expected) in [
            ("{\"a\": 1}", "{\"a\": 1, \"n\": 0, \"m\": 1}"),
            ("{\n    \"a\": 1\n}", "{\n    \"a\": 1,\n    \"n\": 0,\n    \"m\": 1\n}"),
            ("{}", "{\n  \"n\": 0,\n  \"m\": 1\n}"),
            ("{ }", "{\n  \"n\": 0,\n  \"m\": 1\n}"),
        ] {
            let members = [("n".to_owned(), "0".to_owned()), ("m".to_owned(), "1".to_owned())];
            assert_eq!(edited(text, |place, edits| edits.append(text, place, &members)), expected);
        }
    }
}
