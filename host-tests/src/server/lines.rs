//! The access log: one line of JSON per request with the module's properties and the outcome.

use std::fmt;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::http::request::Parts;
use serde_json::Value;
use tollgate_core::secret::redact;

use crate::proxy_wasm::ClosedStream;

/// The destination of the lines.
#[derive(Clone)]
pub struct Lines(Arc<dyn Fn(&str) + Send + Sync>);

impl Lines {
    /// Writes to standard output.
    pub fn stdout() -> Lines {
        Lines(Arc::new(|line| {
            // A closed standard output does not stop requests.
            let _ = writeln!(std::io::stdout(), "{line}");
        }))
    }

    /// Discards the lines.
    pub fn discard() -> Lines {
        Lines(Arc::new(|_| {}))
    }

    /// Stores the lines in memory, for tests.
    pub fn capture() -> (Lines, Captured) {
        let captured = Captured::default();
        let kept = captured.clone();
        (Lines(Arc::new(move |line| kept.push(line))), captured)
    }

    pub(super) fn write(&self, line: &str) {
        (self.0)(line);
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lines")
    }
}

/// The captured lines.
#[derive(Clone, Debug, Default)]
pub struct Captured(Arc<Mutex<Vec<Value>>>);

impl Captured {
    /// Returns all lines, oldest first.
    pub fn all(&self) -> Vec<Value> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn push(&self, line: &str) {
        let line = serde_json::from_str(line).unwrap_or(Value::Null);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}

/// The representation of a property in JSON.
enum Kind {
    Text,
    Number,
    Flag,
}

/// The properties that the module sets, in the order of the line; also the fields of Envoy's access log.
const FIELDS: [(&str, Kind); 16] = [
    ("time", Kind::Number),
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
    ("over_soft_budget", Kind::Text),
    ("over_max_input_tokens", Kind::Number),
    ("path", Kind::Text),
];

/// Returns the names of the fields that the module sets.
pub fn facts() -> impl Iterator<Item = &'static str> {
    FIELDS.iter().map(|(name, _)| *name)
}

/// The server's own data about a request.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    /// The path without its query, which may hold a key, and without the secret of a key in the path. The module also knows keys
    /// of other formats, and sets the path of every request that it decides.
    pub(super) path: String,
}

impl Request {
    pub(super) fn of(parts: &Parts) -> Request {
        // A method can be any word, a key too; no usual one is longer.
        let method = parts.method.as_str().chars().take(9).collect();
        Request { method, path: redact::path(parts.uri.path(), |_| false) }
    }
}

/// Formats the line of a request that has ended.
pub(super) fn line(request: &Request, closed: &ClosedStream, took: Duration) -> String {
    let found = FIELDS.into_iter().map(|(name, kind)| {
        let property = closed.properties.get(&format!("tollgate.{name}"));
        let known = property.map(|value| show(&String::from_utf8_lossy(value), &kind));
        // A request that ended before its decision has a time and a path too: the time is that of its start.
        let known = known.unwrap_or_else(|| match name {
            "time" => seconds(SystemTime::now() - took),
            "path" => request.path.as_str().into(),
            _ => Value::Null,
        });
        (name, known)
    });
    let known = [
        ("method", request.method.as_str().into()),
        ("status", closed.status.into()),
        ("details", closed.details.as_str().into()),
        ("duration_ms", u64::try_from(took.as_millis()).unwrap_or(u64::MAX).into()),
    ];
    // Written by hand, since a map would lose the order.
    let fields: Vec<String> = found.chain(known).map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", fields.join(","))
}

/// Returns the seconds since 1970 with three decimals, as the module writes them.
fn seconds(time: SystemTime) -> Value {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Value::from(since.as_millis() as f64 / 1_000.0)
}

fn show(text: &str, kind: &Kind) -> Value {
    let shown = match kind {
        Kind::Text => None,
        Kind::Number => {
            text.parse::<u64>().map(Value::from).or_else(|_| text.parse::<f64>().map(Value::from)).ok()
        }
        Kind::Flag => text.parse::<bool>().map(Value::from).ok(),
    };
    shown.unwrap_or_else(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_the_path_or_in_the_query_is_not_logged() {
        let key = tollgate_core::secret::api_key::mint("demo", &[7; 32]);
        let request =
            hyper::Request::get(format!("/tollgate/v1/keys/{key}/rotate?key={key}")).body(()).unwrap();
        let (parts, ()) = request.into_parts();
        assert_eq!(Request::of(&parts).path, "/tollgate/v1/keys/sk-tg-demo-…/rotate");
    }
}
