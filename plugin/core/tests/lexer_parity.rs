//! The lexer takes and refuses what `serde_json` does, in whatever pieces.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use core::convert::Infallible;

use proptest::prelude::*;
use tollgate_core::json::lexer::{Container, Error, Lexer, Scalar, Text, Visitor};

/// Deep enough for every document here; `serde_json` follows 127.
const DEPTH: usize = 127;

/// Everything the lexer told, in order.
#[derive(Debug, Default, PartialEq)]
struct Log(Vec<String>);

impl Visitor for Log {
    type Stop = Infallible;

    fn reached(&mut self, offset: u64) {
        self.0.push(format!("@{offset}"));
    }
    fn begin(&mut self, depth: usize, kind: Container) -> Result<(), Infallible> {
        self.0.push(format!("{depth} begin {kind:?}"));
        Ok(())
    }
    fn end(&mut self, depth: usize, kind: Container) -> Result<(), Infallible> {
        self.0.push(format!("{depth} end {kind:?}"));
        Ok(())
    }
    fn name_bytes(&self, _: usize) -> usize {
        1000
    }
    fn name(&mut self, depth: usize, name: Text<'_>) -> Result<(), Infallible> {
        self.0.push(format!("{depth} name {name:?}"));
        Ok(())
    }
    fn scalar_bytes(&self, _: usize) -> usize {
        1000
    }
    fn scalar(&mut self, depth: usize, value: Scalar<'_>) -> Result<(), Infallible> {
        self.0.push(format!("{depth} scalar {value:?}"));
        Ok(())
    }
}

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Log, Result<(), Error<Infallible>>) {
    let (mut lexer, mut log) = (Lexer::new(DEPTH), Log::default());
    let read = || {
        for piece in pieces {
            lexer.push(piece, &mut log)?;
        }
        lexer.finish(&mut log)
    };
    let result = read();
    (log, result)
}

/// `serde_json` keeps numbers as floats and refuses those that are too large; the grammar does not.
fn serde_takes(bytes: &[u8]) -> Option<bool> {
    match serde_json::from_slice::<serde_json::Value>(bytes) {
        Ok(_) => Some(true),
        Err(error) if error.to_string().starts_with("number out of range") => None,
        Err(_) => Some(false),
    }
}

fn agrees(bytes: &[u8]) {
    let shown = String::from_utf8_lossy(bytes);
    let (log, result) = read([bytes]);
    if let Some(taken) = serde_takes(bytes) {
        assert_eq!(result.is_ok(), taken, "{shown}: {result:?}");
    }
    assert_eq!(read(bytes.chunks(1)), (Log(log.0.clone()), result), "{shown} byte by byte");
    for cut in 0..bytes.len() {
        let (head, tail) = bytes.split_at(cut);
        let cut_read = read([head, &[], tail]);
        assert_eq!((&cut_read.0, cut_read.1), (&log, result), "{shown} cut at {cut}");
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
fn the_grammars_corners_are_read_as_serde_json_reads_them() {
    DOCUMENTS.iter().for_each(|document| agrees(document));
}

#[test]
fn depth_is_bounded_where_it_was_told() {
    for depth in [DEPTH, DEPTH + 1, 100_000] {
        let document = "[".repeat(depth) + &"]".repeat(depth);
        let (_, result) = read([document.as_bytes()]);
        let expected = if depth <= DEPTH { Ok(()) } else { Err(Error::TooDeep { offset: DEPTH as u64 }) };
        assert_eq!(result, expected);
        assert_eq!(serde_takes(document.as_bytes()), Some(depth <= DEPTH));
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
    fn documents_are_taken_at_every_cut(value in values()) {
        agrees(value.to_string().as_bytes());
    }

    #[test]
    fn damaged_documents_are_judged_alike(
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
