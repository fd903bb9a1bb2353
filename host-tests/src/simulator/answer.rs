//! A provider's response before it is sent.

use bytes::Bytes;
use serde_json::Value;

/// A response of a provider API.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status: 200, or the simulated one.
    pub status: u16,
    /// Its media type.
    pub content_type: &'static str,
    /// The body: one chunk for a document, one per event for a stream.
    pub chunks: Vec<Bytes>,
}

impl Answer {
    /// Creates a JSON document.
    pub fn json(document: &Value) -> Answer {
        Answer { status: 200, content_type: "application/json", chunks: vec![document.to_string().into()] }
    }

    /// Creates a stream of server-sent events from their wire format.
    pub fn events(chunks: Vec<Bytes>) -> Answer {
        Answer { status: 200, content_type: "text/event-stream; charset=utf-8", chunks }
    }

    /// Sets another status.
    pub fn status(self, status: u16) -> Answer {
        Answer { status, ..self }
    }

    /// Returns true for a stream of events, which never announces its length.
    pub fn is_stream(&self) -> bool {
        self.chunks.len() > 1 || self.content_type.starts_with("text/event-stream")
    }
}

/// Formats `data: {...}`.
pub fn data(document: &Value) -> Bytes {
    format!("data: {document}\n\n").into()
}

/// Formats `event: name` and `data: {...}`, with the document's `type` as the name.
pub fn event(document: &Value) -> Bytes {
    let name = document["type"].as_str().unwrap_or("message");
    format!("event: {name}\ndata: {document}\n\n").into()
}

/// The format of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `{"error": {"message", "type", "param", "code"}}`
    OpenAi,
    /// `{"type": "error", "error": {"type", "message"}}`
    Anthropic,
    /// `{"error": {"code", "message", "status"}}`
    Gemini,
}

/// Creates an error in the provider's format.
pub fn error(dialect: Dialect, status: u16, message: &str) -> Answer {
    use serde_json::json;
    let kind = match status {
        400 => "invalid_request_error",
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        _ => "api_error",
    };
    let document = match dialect {
        Dialect::OpenAi => {
            json!({"error": {"message": message, "type": kind, "param": null, "code": null}})
        }
        Dialect::Anthropic => {
            json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": null})
        }
        Dialect::Gemini => {
            let name = match status {
                400 => "INVALID_ARGUMENT",
                401 => "UNAUTHENTICATED",
                403 => "PERMISSION_DENIED",
                404 => "NOT_FOUND",
                429 => "RESOURCE_EXHAUSTED",
                503 => "UNAVAILABLE",
                _ => "INTERNAL",
            };
            json!({"error": {"code": status, "message": message, "status": name}})
        }
    };
    Answer::json(&document).status(status)
}
