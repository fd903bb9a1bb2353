//! One line of JSON per request: what the module found, and how it ended.

use std::fmt;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value};

use crate::host::ClosedStream;

/// Where the lines go.
#[derive(Clone)]
pub struct Lines(Arc<dyn Fn(&str) + Send + Sync>);

impl Lines {
    /// To standard output.
    pub fn stdout() -> Lines {
        Lines(Arc::new(|line| {
            // Whoever read them may be gone; requests go on.
            let _ = writeln!(std::io::stdout(), "{line}");
        }))
    }

    /// Nowhere.
    pub fn discard() -> Lines {
        Lines(Arc::new(|_| {}))
    }

    /// Into memory, for tests.
    pub fn capture() -> (Lines, Captured) {
        let captured = Captured::default();
        let kept = captured.clone();
        (Lines(Arc::new(move |line| kept.push(line))), captured)
    }

    pub(super) fn write(&self, line: &Value) {
        (self.0)(&line.to_string());
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lines")
    }
}

/// The lines so far.
#[derive(Clone, Debug, Default)]
pub struct Captured(Arc<Mutex<Vec<Value>>>);

impl Captured {
    /// All of them, oldest first.
    pub fn all(&self) -> Vec<Value> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn push(&self, line: &str) {
        let line = serde_json::from_str(line).unwrap_or(Value::Null);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}

/// How a property's text is shown.
enum Kind {
    Text,
    Number,
    Flag,
}

/// The properties that the module sets, in the order of the line; also the fields of Envoy's access log.
const FIELDS: [(&str, Kind); 13] = [
    ("time", Kind::Text),
    ("decision", Kind::Text),
    ("reason", Kind::Text),
    ("organization", Kind::Text),
    ("team", Kind::Text),
    ("user", Kind::Text),
    ("key", Kind::Text),
    ("target", Kind::Text),
    ("input_tokens", Kind::Number),
    ("output_tokens", Kind::Number),
    ("cached_tokens", Kind::Number),
    ("cost", Kind::Text),
    ("estimated", Kind::Flag),
];

/// What the server itself knows of a request.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    /// Without its query, which may hold a key.
    pub(super) path: String,
}

/// The line of a request that has ended.
pub(super) fn line(request: &Request, closed: &ClosedStream, took: Duration) -> Value {
    let mut line = Map::new();
    for (name, kind) in FIELDS {
        let text = closed.properties.get(&format!("tollgate.{name}"));
        let text = text.map(|value| String::from_utf8_lossy(value).into_owned());
        let value = match (text, kind) {
            (None, _) => Value::Null,
            (Some(text), Kind::Number) => text.parse::<u64>().map_or(Value::String(text), Value::from),
            (Some(text), Kind::Flag) => text.parse::<bool>().map_or(Value::String(text), Value::from),
            (Some(text), Kind::Text) => Value::String(text),
        };
        line.insert(name.to_owned(), value);
    }
    line.insert("method".to_owned(), request.method.clone().into());
    line.insert("path".to_owned(), request.path.clone().into());
    line.insert("status".to_owned(), closed.status.into());
    line.insert("details".to_owned(), closed.details.clone().into());
    line.insert("duration_ms".to_owned(), u64::try_from(took.as_millis()).unwrap_or(u64::MAX).into());
    Value::Object(line)
}
