//! The lexer accepts and rejects the same documents as `serde_json`, in any division into pieces.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use core::convert::Infallible;

use proptest::prelude::*;
use tollgate_core::json::lexer::{Container, JsonError, JsonText, Lexer, Scalar, Visitor};

/// The limit of `serde_json`, enough for every document here.
const DEPTH: usize = 127;
/// More bytes than any text here.
const ALL: usize = 1000;

/// An event: its description, and its text with the flags `whole` and `escaped`.
type Event = (String, Option<(String, bool, bool)>);

/// All events of a lexer, in order.
#[derive(Debug, PartialEq)]
struct Log {
    events: Vec<Event>,
    /// The number of bytes it requests of each text.
    bound: usize,
}

impl Log {
    fn note(&mut self, what: String) -> Result<(), Infallible> {
        self.events.push((what, None));
        Ok(())
    }

    fn text(&mut self, what: String, text: JsonText<'_>) -> Result<(), Infallible> {
        self.events.push((what, Some((text.text.into(), text.whole, text.escaped))));
        Ok(())
    }

    /// The same events for a smaller bound.
    fn cut(&self, bound: usize) -> Log {
        let cut = |(what, text): &Event| {
            let text = text.as_ref().map(|(text, whole, escaped)| {
                let end = text.floor_char_boundary(bound);
                (text[..end].to_owned(), *whole && end == text.len(), *escaped && bound > 0)
            });
            (what.clone(), text)
        };
        Log { events: self.events.iter().map(cut).collect(), bound }
    }
}

impl Visitor for Log {
    type Stop = Infallible;

    fn reached(&mut self, offset: u64) {
        self.events.push((format!("@{offset}"), None));
    }
    fn begin(&mut self, depth: usize, kind: Container) -> Result<(), Infallible> {
        self.note(format!("{depth} begin {kind:?}"))
    }
    fn end(&mut self, depth: usize, kind: Container) -> Result<(), Infallible> {
        self.note(format!("{depth} end {kind:?}"))
    }
    fn name_bytes(&self, _: usize) -> usize {
        self.bound
    }
    fn name(&mut self, depth: usize, name: JsonText<'_>) -> Result<(), Infallible> {
        self.text(format!("{depth} name"), name)
    }
    fn scalar_bytes(&self, _: usize) -> usize {
        self.bound
    }
    fn scalar(&mut self, depth: usize, value: Scalar<'_>) -> Result<(), Infallible> {
        match value {
            Scalar::String(text) => self.text(format!("{depth} string"), text),
            Scalar::Number(text) => self.text(format!("{depth} number"), text),
            _ => self.note(format!("{depth} {value:?}")),
        }
    }
}

fn read<'a>(
    bound: usize,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Log, Result<(), JsonError<Infallible>>) {
    let (mut lexer, mut log) = (Lexer::new(DEPTH), Log { events: Vec::new(), bound });
    let read = || {
        for piece in pieces {
            lexer.push(piece, &mut log)?;
        }
        lexer.finish(&mut log)
    };
    let result = read();
    (log, result)
}

/// `serde_json` reads numbers as floats and rejects those that are too large, which the grammar allows.
fn serde_accepts(bytes: &[u8]) -> Option<bool> {
    match serde_json::from_slice::<serde_json::Value>(bytes) {
        Ok(_) => Some(true),
        Err(error) if error.to_string().starts_with("number out of range") => None,
        Err(_) => Some(false),
    }
}

fn agrees(bytes: &[u8]) {
    let shown = String::from_utf8_lossy(bytes);
    let (full, result) = read(ALL, [bytes]);
    if let Some(taken) = serde_accepts(bytes) {
        assert_eq!(result.is_ok(), taken, "{shown}: {result:?}");
    }
    for bound in [ALL, 3, 0] {
        let expected = (full.cut(bound), result);
        assert_eq!(read(bound, [bytes]), expected, "{shown}, {bound} bytes of each text");
        assert_eq!(read(bound, bytes.chunks(1)), expected, "{shown} byte by byte, {bound} of each text");
        for cut in 0..bytes.len() {
            let (head, tail) = bytes.split_at(cut);
            assert_eq!(
                read(bound, [head, &[], tail]),
                expected,
                "{shown} cut at {cut}, {bound} of each text"
            );
        }
    }
}

const DOCUMENTS: &[&[u8]] = &[
    b"{}",
    b" [ ] ",
    b"null",
    b"-0",
    b"0",
    b"1.5e+7",
    b"1E-2",
    b"[1,2.0,-3e5,true,false,null]",
    br#"{"a":{"b":[{"c":"d"},[[]],{}]},"":""}"#,
    br#""\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00\u0000""#,
    br#"["a long text, \"quoted\", \ud83d\ude00\u00e9\\ and some more of it","\ud83d\ude00"]"#,
    b"[\"a long text that goes on for more than sixty-four bytes, \xc3\xa9, and then for some more of them\"]",
    b"[\"a long text that goes on for more than sixty-four bytes, \xff, and then for some more of them\"]",
    b"[\"a long text that goes on for more than sixty-four bytes, \x01, and then for some more of them\"]",
    "[\"Gr\u{fc}\u{df}e, \u{20ac}, \u{1f642}, and more than sixteen bytes of it\"]".as_bytes(),
    b"",
    b" ",
    b"01",
    b"-",
    b"1.",
    b".5",
    b"1e",
    b"+1",
    b"tru",
    b"truex",
    b"True",
    b"NaN",
    b"[1,]",
    b"[,1]",
    b"[1 2]",
    br#"{"a"}"#,
    br#"{"a":}"#,
    br#"{"a":1,}"#,
    b"{a:1}",
    br#"{"a":1]"#,
    b"[1}",
    b"]",
    b"\"a",
    b"\"\n\"",
    b"\"\x7f\"",
    br#""\x""#,
    br#""\u12g4""#,
    br#""\ud800""#,
    br#""\udc00""#,
    br#""\ud800\ud800""#,
    br#""\ud800x""#,
    br#""\ud800\n""#,
    br#""\ud800\u0041""#,
    br#""\ud800\udc0""#,
    br#""\u00e""#,
    b"\"\xff\"",
    b"\"\xc0\x80\"",
    b"\"\xed\xa0\x80\"",
    b"\"\xf4\x90\x80\x80\"",
    b"\"\xe2\x82\"",
    b"\xef\xbb\xbf{}",
    b"{}\0",
    b"{}{}",
    b"1 1",
    b"{\x0b}",
];

#[test]
fn corner_cases_agree_with_serde_json() {
    DOCUMENTS.iter().for_each(|document| agrees(document));
}

#[test]
fn depth_is_bounded() {
    for depth in [DEPTH, DEPTH + 1, 100_000] {
        let document = "[".repeat(depth) + &"]".repeat(depth);
        let (_, result) = read(ALL, [document.as_bytes()]);
        let expected = if depth <= DEPTH { Ok(()) } else { Err(JsonError::TooDeep { offset: DEPTH as u64 }) };
        assert_eq!(result, expected);
        assert_eq!(serde_accepts(document.as_bytes()), Some(depth <= DEPTH));
    }
}

fn values() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        ".{0,20}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            proptest::collection::btree_map(".{0,8}", inner, 0..5)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn documents_are_accepted_at_every_cut(value in values()) {
        agrees(value.to_string().as_bytes());
    }

    #[test]
    fn damaged_documents_agree_with_serde_json(
        pick in 0..DOCUMENTS.len(),
        edits in proptest::collection::vec((any::<usize>(), any::<u8>(), 0..3_u8), 1..4),
    ) {
        let mut bytes = DOCUMENTS[pick].to_vec();
        for (at, byte, kind) in edits {
            let at = at % (bytes.len() + 1);
            match kind {
                0 => bytes.insert(at, byte),
                1 if at < bytes.len() => bytes[at] = byte,
                _ if at < bytes.len() => { bytes.remove(at); }
                _ => {}
            }
        }
        agrees(&bytes);
    }
}
