//! Forms that the gateway accepts and forms that it refuses, as clients and attackers write them. The tests of the scanner read
//! them, and those of real parsers.

#![allow(dead_code, reason = "not every test reads all of them")]

use super::random::Random;

/// A form with its media type.
#[derive(Clone, Debug)]
pub struct Form {
    /// The client, or the attack.
    pub name: &'static str,
    pub content_type: String,
    pub body: Vec<u8>,
}

/// Writes a form: each part is its headers without the empty line, and its content.
fn form(name: &'static str, content_type: &str, boundary: &str, parts: &[(&str, &[u8])]) -> Form {
    let mut body = Vec::new();
    for (head, content) in parts {
        body.extend(
            [b"--", boundary.as_bytes(), b"\r\n", head.as_bytes(), b"\r\n\r\n", content, b"\r\n"].concat(),
        );
    }
    body.extend([b"--", boundary.as_bytes(), b"--\r\n"].concat());
    Form { name, content_type: content_type.into(), body }
}

const SOUND: &[u8] = b"RIFF\0\0\r\n-\n--\r--\xff\xfe \r\n--x\n\r\n";

/// Forms as browsers, libraries and SDKs write them, each with `model` and `n`.
pub fn accepted() -> Vec<Form> {
    let quoted = "multipart/form-data; boundary=\"===============0123456789==\"";
    vec![
        form(
            "a browser",
            "multipart/form-data; boundary=----WebKitFormBoundaryAbC123",
            "----WebKitFormBoundaryAbC123",
            &[
                ("Content-Disposition: form-data; name=\"model\"", b"whisper-1"),
                ("Content-Disposition: form-data; name=\"n\"", b"2"),
                (
                    "Content-Disposition: form-data; name=\"file\"; filename=\"a; name=b.wav\"\r\nContent-Type: audio/wav",
                    SOUND,
                ),
            ],
        ),
        form(
            "curl",
            "multipart/form-data; boundary=------------------------d74496d66958873e",
            "------------------------d74496d66958873e",
            &[
                (
                    "Content-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: application/octet-stream",
                    SOUND,
                ),
                ("Content-Disposition: form-data; name=\"model\"", b"whisper-1"),
                ("Content-Disposition: form-data; name=\"n\"", b"3"),
            ],
        ),
        form(
            "requests and httpx",
            "multipart/form-data; boundary=0123456789abcdef0123456789abcdef",
            "0123456789abcdef0123456789abcdef",
            &[
                ("Content-Disposition: form-data; name=\"model\"", b"whisper-1"),
                ("Content-Disposition: form-data; name=\"n\"", b"1"),
                ("Content-Disposition: form-data; name=\"timestamp_granularities[]\"", b"word"),
                ("Content-Disposition: form-data; name=\"timestamp_granularities[]\"", b"segment"),
                ("Content-Disposition: form-data; name=\"chunking_strategy[type]\"", b"server_vad"),
                (
                    "Content-Disposition: form-data; name=\"file\"; filename=\"\u{e9}.wav\"\r\nContent-Type: audio/x-wav",
                    SOUND,
                ),
            ],
        ),
        form(
            "undici",
            "multipart/form-data; boundary=----formdata-undici-012345678901",
            "----formdata-undici-012345678901",
            &[
                ("Content-Disposition: form-data; name=\"model\"", b"gpt-4o-transcribe"),
                ("Content-Disposition: form-data; name=\"n\"", b"1"),
                (
                    "Content-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav",
                    b"",
                ),
            ],
        ),
        form(
            "OkHttp",
            "multipart/form-data; boundary=9d5f2c1e-3b0a-4c7d-8e6f-0123456789ab",
            "9d5f2c1e-3b0a-4c7d-8e6f-0123456789ab",
            &[
                ("Content-Disposition: form-data; name=\"model\"\r\nContent-Length: 9", b"whisper-1"),
                (
                    "Content-Disposition: form-data; name=\"n\"\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 1",
                    b"1",
                ),
            ],
        ),
        form(
            ".NET",
            "multipart/form-data; boundary=\"9d5f2c1e-3b0a-4c7d-8e6f-0123456789ab\"",
            "9d5f2c1e-3b0a-4c7d-8e6f-0123456789ab",
            &[
                (
                    "Content-Type: text/plain; charset=utf-8\r\nContent-Disposition: form-data; name=model",
                    b"whisper-1",
                ),
                ("Content-Type: text/plain; charset=utf-8\r\nContent-Disposition: form-data; name=n", b"4"),
                ("Content-Disposition: form-data; name=file; filename=a.wav; filename*=utf-8''a.wav", SOUND),
            ],
        ),
        form(
            "Apache HttpClient",
            "multipart/form-data; boundary=-_1234567890abcXYZ; charset=UTF-8",
            "-_1234567890abcXYZ",
            &[
                (
                    "Content-Disposition: form-data; name=\"model\"\r\nContent-Type: text/plain; charset=US-ASCII\r\nContent-Transfer-Encoding: 8bit",
                    b"whisper-1",
                ),
                ("Content-Disposition: form-data; name=\"n\"\r\nContent-Transfer-Encoding: 8bit", b"1"),
            ],
        ),
        form(
            "Python's email",
            quoted,
            "===============0123456789==",
            &[
                ("Content-Disposition: form-data; name=\"model\"", b"whisper-1"),
                ("Content-Disposition: form-data; name=\"n\"", b"1"),
            ],
        ),
        form(
            "Dart",
            "multipart/form-data; boundary=dart-http-boundary-+_.A0",
            "dart-http-boundary-+_.A0",
            &[
                ("content-disposition: form-data; name=\"model\"", b"whisper-1"),
                ("content-disposition: form-data; name=\"n\"", b"1"),
                ("content-disposition: form-data; name=\"empty\"", b""),
            ],
        ),
    ]
}

const TYPE: &str = "multipart/form-data; boundary=x-y";
const MODEL: (&str, &[u8]) = ("Content-Disposition: form-data; name=\"model\"", b"whisper-1");

/// A form with an allowed model and one odd part.
fn with(name: &'static str, head: &str, content: &[u8]) -> Form {
    form(name, TYPE, "x-y", &[MODEL, (head, content)])
}

fn raw(name: &'static str, content_type: &str, body: &[u8]) -> Form {
    Form { name, content_type: content_type.into(), body: body.to_vec() }
}

/// Forms that some server reads as others do not, or that no client of the API writes; each with a part of the reason.
pub fn refused() -> Vec<(Form, &'static str)> {
    const FIRST: &str = "--x-y\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n";
    const OTHER: &str = "Content-Disposition: form-data; name=\"model\"\r\n\r\ngpt-5\r\n";
    const FILE: &str = "--x-y\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n";
    let text = |name, text: String| raw(name, TYPE, text.as_bytes());
    let plain = |name, disposition: &str| {
        with(name, &format!("Content-Disposition: form-data; {disposition}"), b"gpt-5")
    };
    let typed = |name, content_type: &str| Form {
        name,
        content_type: content_type.into(),
        ..form("", TYPE, "x-y", &[MODEL])
    };
    let many: Vec<(&str, &[u8])> =
        [("Content-Disposition: form-data; name=\"x\"", b"".as_slice())].repeat(256);
    vec![
        // Delimiters.
        (text("a boundary after LF", format!("{FILE}a\n--x-y\r\n{OTHER}--x-y--\r\n")), "no part contains"),
        (text("a boundary after CR", format!("{FILE}a\r--x-y\r\n{OTHER}--x-y--\r\n")), "no part contains"),
        (
            text("a boundary after LF CR", format!("{FILE}a\n\r--x-y\r\n{OTHER}--x-y--\r\n")),
            "no part contains",
        ),
        (
            text("a boundary in the middle of a line", format!("{FILE}a--x-y\r\n{OTHER}--x-y--\r\n")),
            "no part contains",
        ),
        (
            text("a boundary in a model", format!("{FIRST}--x-y--\r\n").replace("sper", "s--x-yper")),
            "no part contains",
        ),
        (text("a longer boundary", format!("{FILE}a\r\n--x-yz\r\n{OTHER}--x-y--\r\n")), "CRLF or `--`"),
        (
            text("spaces behind the boundary", format!("{FILE}a\r\n--x-y \r\n{OTHER}--x-y--\r\n")),
            "CRLF or `--`",
        ),
        (text("LF behind the boundary", format!("{FILE}a\r\n--x-y\n{OTHER}--x-y--\r\n")), "CRLF or `--`"),
        (
            text("a boundary at the start of a part", format!("{FILE}--x-y\r\n{OTHER}--x-y--\r\n")),
            "before the boundary",
        ),
        (text("a preamble", format!("x\r\n{FIRST}--x-y--\r\n")), "the boundary of the content-type"),
        (
            text("an empty line as preamble", format!("\r\n{FIRST}--x-y--\r\n")),
            "the boundary of the content-type",
        ),
        (text("an epilogue", format!("{FIRST}--x-y--\r\n--x-y\r\n{OTHER}--x-y--\r\n")), "nothing after"),
        (text("an end with LF", format!("{FIRST}--x-y--\n--x-y\r\n{OTHER}--x-y--\r\n")), "nothing after"),
        (text("no end", FIRST.into()), "the closing delimiter"),
        (text("LF lines", format!("{FIRST}--x-y--\r\n").replace("\r\n", "\n")), "CRLF or `--`"),
        (
            text("a byte-order mark first", format!("\u{feff}{FIRST}--x-y--\r\n")),
            "the boundary of the content-type",
        ),
        // Names.
        (plain("single quotes", "name='model'"), "a part's name"),
        (plain("an index", "name=\"model[0]\""), "differs from `model`"),
        (plain("an empty index", "name=\"model[]\""), "differs from `model`"),
        (plain("a nested index", "name=\"model[a][b]\""), "differs from `model`"),
        (plain("an open bracket", "name=\"model[\""), "a part's name"),
        (plain("another case", "name=\"Model\""), "differs from `model`"),
        (plain("an encoded word", "name=\"=?utf-8?q?model?=\""), "a part's name"),
        (plain("a byte-order mark", "name=\"\u{feff}model\""), "a part's name"),
        (plain("a zero-width space", "name=\"model\u{200b}\""), "a part's name"),
        (plain("a full-width letter", "name=\"\u{ff4d}odel\""), "a part's name"),
        (plain("percent-encoding", "name=\"%6dodel\""), "a part's name"),
        (plain("spaces", "name=\" model\""), "a part's name"),
        (plain("a dot for `_`", "name=\"frame.count\""), "a part's name"),
        (plain("a NUL", "name=\"model\0x\""), "no control characters"),
        (plain("an escape", "name=\"mo\\del\""), "content-disposition"),
        (plain("an escaped quote", "name=\"x\\\"; name=\\\"model\""), "content-disposition"),
        (plain("two names", "name=\"x\"; name=\"model\""), "file name"),
        (plain("an extended name", "name=\"x\"; name*=utf-8''model"), "file name"),
        (plain("only an extended name", "name*=utf-8''model"), "content-disposition"),
        (plain("a name in pieces", "name*0=\"mo\"; name*1=\"del\""), "content-disposition"),
        (plain("a name behind a piece", "name=\"x\"; name*0=\"model\""), "file name"),
        (plain("another case of `name`", "NAME=\"model\""), "content-disposition"),
        (plain("a space before `=`", "name =\"model\""), "content-disposition"),
        (plain("a file name first", "filename=\"a\"; name=\"model\""), "content-disposition"),
        (plain("a model as a file", "name=\"model\"; filename=\"a\""), "not a file"),
        (plain("only an extended file name", "name=\"x\"; filename*=utf-8''a"), "file name"),
        (plain("an unknown parameter", "name=\"x\"; size=5"), "file name"),
        (plain("no name", "filename=\"a\""), "content-disposition"),
        (plain("the charset of other fields", "name=\"_charset_\""), "_charset_"),
        (plain("a name of 101 letters", &format!("name=\"{}\"", "a".repeat(101))), "a part's name"),
        // Headers of a part.
        (with("no disposition", "Content-Type: text/plain", b"gpt-5"), "content-disposition"),
        (
            with("an attachment", "Content-Disposition: attachment; name=\"model\"", b"gpt-5"),
            "content-disposition",
        ),
        (
            with(
                "two dispositions",
                "Content-Disposition: form-data; name=\"x\"\r\nContent-Disposition: form-data; name=\"model\"",
                b"gpt-5",
            ),
            "each header of a part once",
        ),
        (
            with("a folded header", "Content-Disposition: form-data;\r\n name=\"model\"", b"gpt-5"),
            "in each line",
        ),
        (
            with("a header before a space", "Content-Disposition : form-data; name=\"model\"", b"gpt-5"),
            "among a part's headers",
        ),
        (
            with("a bare LF in headers", "X: 1\nContent-Disposition: form-data; name=\"model\"", b"gpt-5"),
            "CRLF at a line's end",
        ),
        (
            with("a bare CR in headers", "Content-Disposition: form-data; name=\"x\"\rX: 1", b"gpt-5"),
            "LF after CR",
        ),
        (
            with(
                "an unknown header",
                "Content-Disposition: form-data; name=\"x\"\r\nContent-Location: a",
                b"gpt-5",
            ),
            "among a part's headers",
        ),
        (
            with(
                "base64",
                "Content-Disposition: form-data; name=\"x\"\r\nContent-Transfer-Encoding: base64",
                b"Z3B0LTU=",
            ),
            "content-transfer-encoding",
        ),
        (
            with(
                "a nested form",
                "Content-Disposition: form-data; name=\"x\"\r\nContent-Type: multipart/mixed; boundary=z",
                b"--z--",
            ),
            "neither `multipart`",
        ),
        (
            with(
                "a wrong length",
                "Content-Disposition: form-data; name=\"x\"\r\nContent-Length: 3",
                b"gpt-5",
            ),
            "to be its length",
        ),
        (
            with(
                "a signed length",
                "Content-Disposition: form-data; name=\"x\"\r\nContent-Length: +5",
                b"gpt-5",
            ),
            "in digits",
        ),
        (
            form(
                "a model in UTF-7",
                TYPE,
                "x-y",
                &[(
                    "Content-Disposition: form-data; name=\"model\"\r\nContent-Type: text/plain; charset=utf-7",
                    b"+AGc-pt-5",
                )],
            ),
            "text in UTF-8",
        ),
        (
            form(
                "a model in JSON",
                TYPE,
                "x-y",
                &[(
                    "Content-Disposition: form-data; name=\"model\"\r\nContent-Type: application/json",
                    b"\"gpt-5\"",
                )],
            ),
            "text in UTF-8",
        ),
        // Values.
        (with("a second model", MODEL.0, b"gpt-5"), "a second time"),
        (form("a model of two lines", TYPE, "x-y", &[(MODEL.0, b"whisper-1\r\ngpt-5")]), "should be a name"),
        (form("a model with a NUL", TYPE, "x-y", &[(MODEL.0, b"whisper-1\0gpt-5")]), "should be a name"),
        (form("an empty model", TYPE, "x-y", &[(MODEL.0, b"")]), "should be a name"),
        (
            form(
                "a signed count",
                TYPE,
                "x-y",
                &[MODEL, ("Content-Disposition: form-data; name=\"n\"", b"+1")],
            ),
            "whole number",
        ),
        (form("257 parts", TYPE, "x-y", &[&[MODEL], &many[..]].concat()), "at most 256 parts"),
        // Media types.
        (typed("no boundary", "multipart/form-data"), "boundary"),
        (typed("an empty boundary", "multipart/form-data; boundary="), "boundary"),
        (typed("two boundaries", "multipart/form-data; boundary=x-y; boundary=z"), "the content-type"),
        (
            typed("an extended boundary", "multipart/form-data; boundary=x-y; boundary*=utf-8''z"),
            "the content-type",
        ),
        (
            typed("a boundary in pieces", "multipart/form-data; boundary*0=x-; boundary*1=y"),
            "the content-type",
        ),
        (typed("a boundary with a comma", "multipart/form-data; boundary=x-y,z"), "boundary"),
        (typed("a quoted boundary with a comma", "multipart/form-data; boundary=\"x-y,z\""), "boundary"),
        (typed("a boundary with a space", "multipart/form-data; boundary=\"x y\""), "boundary"),
        (typed("a boundary with an escape", "multipart/form-data; boundary=\"x\\-y\""), "the content-type"),
        (typed("a boundary in single quotes", "multipart/form-data; boundary='x-y'"), "boundary"),
        (typed("`=` without quotes", "multipart/form-data; boundary=x-y=="), "boundary"),
        (
            typed("a boundary of 71 letters", &format!("multipart/form-data; boundary={}", "a".repeat(71))),
            "boundary",
        ),
        (typed("another parameter", "multipart/form-data; boundary=x-y; xboundary=z"), "the content-type"),
        (typed("UTF-16", "multipart/form-data; boundary=x-y; charset=utf-16"), "the content-type"),
        (typed("a list", "multipart/form-data; boundary=x-y, application/json"), "the content-type"),
        (
            typed("a list that begins with JSON", "application/json, multipart/form-data; boundary=x-y"),
            "the content-type",
        ),
        (typed("another form of multipart", "multipart/mixed; boundary=x-y"), "the content-type"),
    ]
}

/// A form that some client might write, with a few random liberties: most are refused.
pub fn generated(random: &mut Random) -> Form {
    let mut form = random.pick(&accepted()).clone();
    form.name = "generated";
    const WORDS: [&[u8]; 40] = [
        b"\r\n",
        b"\n",
        b"\r",
        b"--",
        b"\r\n--",
        b"\n--",
        b";",
        b"\"",
        b"'",
        b"\\",
        b"=",
        b" ",
        b"\t",
        b"\0",
        b",",
        b":",
        b"[",
        b"]",
        b"[0]",
        b"[]",
        b"model",
        b"n",
        b"name",
        b"name=\"model\"",
        b"; name=\"model\"",
        b"name*=utf-8''model",
        b"filename",
        b"; filename=\"a\"",
        b"filename*=utf-8''a",
        b"Content-Disposition: form-data; name=\"model\"\r\n",
        b"Content-Type: text/plain\r\n",
        b"Content-Length: 9\r\n",
        b"\xef\xbb\xbf",
        b"=?utf-8?q?model?=",
        b"%6d",
        b"gpt-5",
        b"\r\n\r\n",
        b"Model",
        b"_charset_",
        b"\xc2\x85",
    ];
    let boundary = form.content_type.split("boundary=").nth(1).unwrap_or_default();
    let boundary = boundary.split(';').next().unwrap_or_default().trim_matches('"').to_owned();
    let delimiter = format!("--{boundary}").into_bytes();
    // Some stay as they are but for the content of a part.
    for _ in 0..random.below(4) {
        let word = if random.below(4) == 0 { delimiter.clone() } else { random.pick(&WORDS).to_vec() };
        let length = form.body.len();
        match random.below(8) {
            0 => {
                let at = random.below(form.content_type.len() + 1);
                let word = String::from_utf8_lossy(&word).replace(['\r', '\n', '\0'], " ");
                if word.is_ascii() && form.content_type.is_char_boundary(at) {
                    form.content_type.insert_str(at, &word);
                }
            }
            1 => {
                let at = random.below(length);
                form.body.drain(at..(at + random.below(12)).min(length));
            }
            2 => {
                let at = random.below(length);
                form.body[at] ^= 1 << random.below(8);
            }
            3 => {
                // A whole part once more.
                let parts: Vec<usize> =
                    (0..length).filter(|at| form.body[*at..].starts_with(&delimiter)).collect();
                let [from, to] = [0, 1].map(|_| parts[random.below(parts.len())]);
                let copy = form.body[from.min(to)..from.max(to)].to_vec();
                form.body.splice(from..from, copy);
            }
            _ => {
                // At the seams, where readers differ.
                let seams: Vec<usize> = (0..=length)
                    .filter(|at| {
                        form.body[..*at].ends_with(b"\n")
                            || form.body[*at..].starts_with(b"\"")
                            || form.body[*at..].starts_with(b";")
                    })
                    .collect();
                let at = if random.below(3) == 0 { random.below(length + 1) } else { *random.pick(&seams) };
                form.body.splice(at..at, word);
            }
        }
    }
    form
}
