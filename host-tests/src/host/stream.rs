//! What the host knows of one request and its response.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::{Direction, HeaderMap};

/// Names a stream within its VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub(crate) u32);

/// What is known of a stream before its first header.
#[derive(Debug, Clone, Default)]
pub struct StreamInfo {
    /// The client.
    pub source: Option<SocketAddr>,
    /// Where the client connected to.
    pub destination: Option<SocketAddr>,
    /// `HTTP/1.1`, `HTTP/2`, …
    pub protocol: String,
    /// A number for the client's connection.
    pub connection_id: u64,
    /// Further properties, by the parts of their path: `["metadata", "filter_metadata", "jwt", "sub"]`.
    /// Their values are handed to the module as they are.
    pub properties: BTreeMap<Vec<String>, Vec<u8>>,
}

/// What the host does after an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flow {
    /// This goes on now, as the module edited it. May be empty.
    Forward(Forward),
    /// Nothing goes on; the host holds what came.
    Hold,
    /// The client gets this answer, and the upstream no more of the request.
    Reply(LocalReply),
    /// The exchange is cut: a reply that came after the response's headers had gone, or a closed stream.
    Reset,
}

impl Flow {
    /// What goes on, if anything does.
    pub fn forward(self) -> Option<Forward> {
        match self {
            Flow::Forward(forward) => Some(forward),
            Flow::Hold | Flow::Reply(_) | Flow::Reset => None,
        }
    }

    /// The local reply, if it is one.
    pub fn reply(self) -> Option<LocalReply> {
        match self {
            Flow::Reply(reply) => Some(reply),
            Flow::Forward(_) | Flow::Hold | Flow::Reset => None,
        }
    }
}

/// A part of a message that goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forward {
    /// The headers, where they have not gone before. With `:method`, `:path`, `:authority`, `:scheme` or `:status` in them.
    pub headers: Option<HeaderMap>,
    /// Bytes of the body; empty where there are none now.
    pub body: Vec<u8>,
    /// The trailers, which end the message.
    pub trailers: Option<HeaderMap>,
    /// Whether the message ends with this.
    pub end_of_stream: bool,
}

/// An answer that does not come from the upstream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalReply {
    /// The status, also `:status` in the headers.
    pub status: u16,
    /// All headers, after `on_response_headers` saw them.
    pub headers: HeaderMap,
    /// The body, after `on_response_body` saw it.
    pub body: Vec<u8>,
    /// Why, for access logs.
    pub details: String,
}

/// How a stream ended, as `response.flags` and `response.code_details` tell it in `on_log`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Ending {
    /// The response went to its end, a local reply's too.
    #[default]
    Complete,
    /// The client went away.
    ClientGone,
    /// The upstream broke off, or was never reached.
    UpstreamReset,
    /// The host stops and cuts what is left.
    Drain,
}

impl Ending {
    /// Envoy's bits (`stream_info.h`): upstream connection termination is 6, downstream termination 14.
    pub(crate) fn flags(&self) -> u64 {
        match self {
            Ending::Complete => 0,
            Ending::ClientGone => 1 << 14,
            Ending::UpstreamReset => 1 << 6,
            Ending::Drain => 1 << 14,
        }
    }

    pub(crate) fn details(&self) -> &'static str {
        match self {
            Ending::Complete => "via_upstream",
            Ending::ClientGone => "downstream_remote_disconnect",
            Ending::UpstreamReset => "upstream_reset_after_response_started{connection_termination}",
            Ending::Drain => "downstream_local_disconnect(drain)",
        }
    }
}

/// What is left of a stream for the host's own access log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClosedStream {
    /// What the module wrote with `set_property`, by path with `.` between the parts (Envoy shows `wasm.` before it).
    pub properties: BTreeMap<String, Vec<u8>>,
    /// The status of the response, a local reply's too; 0 where there was none.
    pub status: u16,
    /// `response.code_details`.
    pub details: String,
}

/// One direction of a stream.
#[derive(Debug, Default)]
pub(crate) struct Side {
    pub(crate) headers: Option<HeaderMap>,
    /// The module may read and change the headers: their callback runs, or has paused.
    pub(crate) headers_open: bool,
    pub(crate) headers_sent: bool,
    /// What body callbacks see: the chunk that came, after what is held.
    pub(crate) body: Vec<u8>,
    /// The last body callback paused.
    pub(crate) body_held: bool,
    pub(crate) trailers: Option<HeaderMap>,
    pub(crate) trailers_open: bool,
    /// The last event of the message has come.
    pub(crate) ended: bool,
    /// Nothing of this direction goes on any more.
    pub(crate) finished: bool,
    /// Body and trailers that came while a paused headers callback keeps all others away.
    pub(crate) backlog: Option<Backlog>,
    /// `continue_stream` was called.
    pub(crate) resume: bool,
    /// Bytes of body that came, for `request.size` and `response.size`.
    pub(crate) size: u64,
}

/// What waits behind a paused headers callback where Envoy stops all iteration.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
    pub(crate) ended: bool,
}

impl Side {
    /// Everything that is here goes on.
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

    /// Nothing of this direction goes on, now or later.
    pub(crate) fn abandon(&mut self) {
        self.finished = true;
        self.headers_open = false;
        self.trailers_open = false;
        self.body = Vec::new();
        self.backlog = None;
        self.resume = false;
    }
}

/// A reply that the module asked for; it is carried out when its callback has returned.
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
    /// A local reply is on its way or has gone: a second one changes nothing.
    pub(crate) replied: bool,
    /// The details of the local reply, kept while its response callbacks hold it.
    pub(crate) reply_details: Option<String>,
    pub(crate) closed: bool,
    /// `on_log` runs: headers of both directions can be read again.
    pub(crate) logging: bool,
    pub(crate) flags: u64,
    /// `response.code_details`: a local reply's own, possibly empty, or the ending's.
    pub(crate) details: Option<String>,
    /// What the module wrote with `set_property`, by the path as it wrote it.
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

    /// The status of the response, 0 where there is none yet.
    pub(crate) fn status(&self) -> u16 {
        let headers = self.response.headers.as_ref();
        headers.and_then(|headers| headers.text(":status")?.parse().ok()).unwrap_or(0)
    }

    /// The written properties with readable names.
    pub(crate) fn properties(&self) -> BTreeMap<String, Vec<u8>> {
        let name = |path: &[u8]| String::from_utf8_lossy(path).replace('\0', ".");
        self.written.iter().map(|(path, value)| (name(path), value.clone())).collect()
    }
}
