//! The state of one request and its response.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::{Direction, HeaderMap};

/// The id of a stream within its VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub(crate) u32);

/// The properties of a stream before its first header.
#[derive(Debug, Clone, Default)]
pub struct StreamInfo {
    /// The client's address.
    pub source: Option<SocketAddr>,
    /// The local address of the client's connection.
    pub destination: Option<SocketAddr>,
    /// `HTTP/1.1`, `HTTP/2`, …
    pub protocol: String,
    /// The number of the client's connection.
    pub connection_id: u64,
    /// Further properties, by the parts of their path: `["metadata", "filter_metadata", "jwt", "sub"]`. The
    /// module gets the values unchanged.
    pub properties: BTreeMap<Vec<String>, Vec<u8>>,
}

/// The action of the host after an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flow {
    /// Forward this part now, as the module changed it. May be empty.
    Forward(Forward),
    /// Forward nothing; the host holds the message.
    Hold,
    /// Send this response to the client, and no more of the request to the upstream.
    Reply(LocalReply),
    /// Reset the exchange: after a local reply that came after the response's headers were sent, or a closed
    /// stream.
    Reset,
}

impl Flow {
    /// Returns the part to forward, if there is one.
    pub fn forward(self) -> Option<Forward> {
        match self {
            Flow::Forward(forward) => Some(forward),
            Flow::Hold | Flow::Reply(_) | Flow::Reset => None,
        }
    }

    /// Returns the local reply, if it is one.
    pub fn reply(self) -> Option<LocalReply> {
        match self {
            Flow::Reply(reply) => Some(reply),
            Flow::Forward(_) | Flow::Hold | Flow::Reset => None,
        }
    }
}

/// A part of a message to forward.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forward {
    /// The headers, if they were not forwarded before. With `:method`, `:path`, `:authority`, `:scheme` or
    /// `:status`.
    pub headers: Option<HeaderMap>,
    /// Bytes of the body; may be empty.
    pub body: Vec<u8>,
    /// The trailers, which end the message.
    pub trailers: Option<HeaderMap>,
    /// True if the message ends with this part.
    pub end_of_stream: bool,
}

/// A response that does not come from the upstream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalReply {
    /// The status, also `:status` in the headers.
    pub status: u16,
    /// All headers, after `on_response_headers`.
    pub headers: HeaderMap,
    /// The body, after `on_response_body`.
    pub body: Vec<u8>,
    /// The reason, for access logs.
    pub details: String,
}

/// The ending of a stream: `response.flags` and `response.code_details` in `on_log`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Ending {
    /// The response, or a local reply, was complete.
    #[default]
    Complete,
    /// The client disconnected.
    ClientGone,
    /// The upstream disconnected, or was never reached.
    UpstreamReset,
    /// The host stops and cuts open streams.
    Drain,
    /// No part of the response was received or sent for too long.
    Idle,
}

impl Ending {
    /// Envoy's bits (`stream_info.h`): upstream connection termination is 6, downstream termination 14, stream
    /// idle timeout 16.
    pub(crate) fn flags(&self) -> u64 {
        match self {
            Ending::Complete => 0,
            Ending::ClientGone => 1 << 14,
            Ending::UpstreamReset => 1 << 6,
            Ending::Drain => 1 << 14,
            Ending::Idle => 1 << 16,
        }
    }

    pub(crate) fn details(&self) -> &'static str {
        match self {
            Ending::Complete => "via_upstream",
            Ending::ClientGone => "downstream_remote_disconnect",
            Ending::UpstreamReset => "upstream_reset_after_response_started{connection_termination}",
            Ending::Drain => "downstream_local_disconnect(drain)",
            Ending::Idle => "stream_idle_timeout",
        }
    }
}

/// The data of a closed stream for the host's own access log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClosedStream {
    /// The properties that the module wrote with `set_property`, by path with `.` between the parts (Envoy
    /// adds the prefix `wasm.`).
    pub properties: BTreeMap<String, Vec<u8>>,
    /// The status of the response or local reply; 0 if there was none.
    pub status: u16,
    /// `response.code_details`.
    pub details: String,
}

/// One direction of a stream.
#[derive(Debug, Default)]
pub(crate) struct Side {
    pub(crate) headers: Option<HeaderMap>,
    /// True if the module may read and change the headers: their callback runs, or has paused.
    pub(crate) headers_open: bool,
    pub(crate) headers_sent: bool,
    /// The bytes for the next body callback: the current chunk after the held ones.
    pub(crate) body: Vec<u8>,
    /// True if the last body callback paused.
    pub(crate) body_held: bool,
    pub(crate) trailers: Option<HeaderMap>,
    pub(crate) trailers_open: bool,
    /// True after the last event of the message.
    pub(crate) ended: bool,
    /// True if nothing more of this direction is forwarded.
    pub(crate) finished: bool,
    /// Body and trailers behind a paused headers callback that holds all others back.
    pub(crate) backlog: Option<Backlog>,
    /// True if `continue_stream` was called.
    pub(crate) resume: bool,
    /// The number of body bytes so far, for `request.size` and `response.size`.
    pub(crate) size: u64,
}

/// The events behind a paused headers callback, for hosts that stop all iteration.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
    pub(crate) ended: bool,
}

impl Side {
    /// Returns everything that is held, to be forwarded.
    pub(crate) fn release(&mut self) -> Forward {
        let headers = if self.headers_sent { None } else { self.headers.clone() };
        self.headers_sent = true;
        self.headers_open = false;
        self.trailers_open = false;
        self.body_held = false;
        self.resume = false;
        let forward = Forward {
            headers,
            body: std::mem::take(&mut self.body),
            trailers: self.trailers.clone(),
            end_of_stream: self.ended,
        };
        self.finished |= forward.end_of_stream;
        forward
    }

    /// Drops everything that is held or comes later.
    pub(crate) fn abandon(&mut self) {
        self.finished = true;
        self.headers_open = false;
        self.trailers_open = false;
        self.body = Vec::new();
        self.backlog = None;
        self.resume = false;
    }
}

/// A reply that the module requested; it is sent after its callback returns.
#[derive(Debug)]
pub(crate) struct PendingReply {
    pub(crate) status: u32,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) details: String,
}

#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) root: u32,
    pub(crate) info: StreamInfo,
    /// Wall time of the first header.
    pub(crate) started: u64,
    pub(crate) request: Side,
    pub(crate) response: Side,
    pub(crate) reply: Option<PendingReply>,
    /// True after a local reply: a second one has no effect.
    pub(crate) replied: bool,
    /// The details of the local reply, kept while its response callbacks hold it.
    pub(crate) reply_details: Option<String>,
    pub(crate) closed: bool,
    /// True in `on_log`: headers of both directions can be read again.
    pub(crate) logging: bool,
    pub(crate) flags: u64,
    /// `response.code_details`: a local reply's own, possibly empty, or the ending's.
    pub(crate) details: Option<String>,
    /// The properties that the module wrote with `set_property`, by the path as written.
    pub(crate) written: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Stream {
    pub(crate) fn new(root: u32, info: StreamInfo, started: u64) -> Stream {
        Stream {
            root,
            info,
            started,
            request: Side::default(),
            response: Side::default(),
            reply: None,
            replied: false,
            reply_details: None,
            closed: false,
            logging: false,
            flags: 0,
            details: None,
            written: BTreeMap::new(),
        }
    }

    pub(crate) fn side(&self, direction: Direction) -> &Side {
        match direction {
            Direction::Request => &self.request,
            Direction::Response => &self.response,
        }
    }

    pub(crate) fn side_mut(&mut self, direction: Direction) -> &mut Side {
        match direction {
            Direction::Request => &mut self.request,
            Direction::Response => &mut self.response,
        }
    }

    /// Returns the status of the response, 0 if there is none yet.
    pub(crate) fn status(&self) -> u16 {
        let headers = self.response.headers.as_ref();
        headers.and_then(|headers| headers.text(":status")?.parse().ok()).unwrap_or(0)
    }

    /// Returns the written properties with readable names.
    pub(crate) fn properties(&self) -> BTreeMap<String, Vec<u8>> {
        let name = |path: &[u8]| String::from_utf8_lossy(path).replace('\0', ".");
        self.written.iter().map(|(path, value)| (name(path), value.clone())).collect()
    }
}
