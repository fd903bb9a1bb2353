//! The events of a stream, in the order of Envoy 1.40.

use super::stream::{Backlog, PendingReply, Stream};
use super::vm::Resumed;
use super::{
    ClosedStream, Direction, Ending, Flow, Forward, HeaderMap, LocalReply, StreamId, StreamInfo, Vm, VmError,
};

/// The return value of a callback: 0 continues, anything else pauses.
type Action = u32;
const CONTINUE: Action = 0;

impl Vm {
    /// Opens a stream: calls `on_context_create` under the newest root context.
    ///
    /// # Errors
    /// If the module traps, or has trapped before: then answer 503.
    pub fn open(&mut self, info: StreamInfo) -> Result<StreamId, VmError> {
        self.alive()?;
        let (id, root) = (self.next_context(), self.newest_root());
        let state = self.store.data_mut();
        let started = state.shared.clock.wall();
        state.streams.insert(id, Stream::new(root, info, started));
        if let Some(root) = state.root_mut(root) {
            root.streams += 1;
        }
        if let Some(create) = self.exports.context_create.clone() {
            self.enter(id, "proxy_on_context_create", |store| create.call(store, (id, root)))?;
        }
        Ok(StreamId(id))
    }

    /// Delivers the request's head. `headers` contains `:method`, `:path`, `:authority` and `:scheme`.
    ///
    /// # Errors
    /// If the module traps, or the stream is not open.
    pub fn request_headers(
        &mut self,
        id: StreamId,
        headers: HeaderMap,
        end_of_stream: bool,
    ) -> Result<Flow, VmError> {
        self.headers(id, Direction::Request, headers, end_of_stream)
    }

    /// Delivers a part of the request's body. The last one of an HTTP/1.1 body is usually empty, with
    /// `end_of_stream`; before trailers no part has it.
    ///
    /// # Errors
    /// As for [`Vm::request_headers`].
    pub fn request_body(&mut self, id: StreamId, chunk: &[u8], end_of_stream: bool) -> Result<Flow, VmError> {
        self.body(id, Direction::Request, chunk, end_of_stream)
    }

    /// Delivers the request's trailers, which end it.
    ///
    /// # Errors
    /// As for [`Vm::request_headers`].
    pub fn request_trailers(&mut self, id: StreamId, trailers: HeaderMap) -> Result<Flow, VmError> {
        self.trailers(id, Direction::Request, trailers)
    }

    /// Delivers the response's head. `headers` contains `:status`.
    ///
    /// # Errors
    /// As for [`Vm::request_headers`].
    pub fn response_headers(
        &mut self,
        id: StreamId,
        headers: HeaderMap,
        end_of_stream: bool,
    ) -> Result<Flow, VmError> {
        self.headers(id, Direction::Response, headers, end_of_stream)
    }

    /// Delivers a part of the response's body.
    ///
    /// # Errors
    /// As for [`Vm::request_headers`].
    pub fn response_body(
        &mut self,
        id: StreamId,
        chunk: &[u8],
        end_of_stream: bool,
    ) -> Result<Flow, VmError> {
        self.body(id, Direction::Response, chunk, end_of_stream)
    }

    /// Delivers the response's trailers, which end it.
    ///
    /// # Errors
    /// As for [`Vm::request_headers`].
    pub fn response_trailers(&mut self, id: StreamId, trailers: HeaderMap) -> Result<Flow, VmError> {
        self.trailers(id, Direction::Response, trailers)
    }

    /// Sends a response of the embedder's own, such as 503 if the upstream cannot be reached. As in Envoy it
    /// passes through the response callbacks.
    ///
    /// # Errors
    /// As for [`Vm::request_headers`].
    pub fn reply(&mut self, id: StreamId, status: u16, body: &str, details: &str) -> Result<Flow, VmError> {
        self.open_stream(id)?;
        self.answer(id, host_reply(status, body, details))
    }

    /// Closes a stream: calls `on_log`, `on_done` and `on_delete`, in this order, for any ending.
    ///
    /// # Errors
    /// If the module traps; the callbacks after the trap are skipped.
    pub fn close(&mut self, id: StreamId, ending: &Ending) -> Result<ClosedStream, VmError> {
        let stream = self.open_stream(id)?;
        stream.logging = true;
        stream.flags |= ending.flags();
        let details = stream.details.get_or_insert_with(|| ending.details().to_owned()).clone();
        let id = id.0;
        if let Some(log) = self.exports.log.clone() {
            self.enter(id, "proxy_on_log", |store| log.call(store, id))?;
        }
        if let Some(stream) = self.store.data_mut().streams.get_mut(&id) {
            stream.logging = false;
        }
        if let Some(done) = self.exports.done.clone() {
            self.enter(id, "proxy_on_done", |store| done.call(store, id))?;
        }
        if let Some(delete) = self.exports.delete.clone() {
            self.enter(id, "proxy_on_delete", |store| delete.call(store, id))?;
        }
        let state = self.store.data_mut();
        let stream = state.streams.remove(&id).ok_or(VmError::UnknownStream(StreamId(id)))?;
        if let Some(root) = state.root_mut(stream.root) {
            root.streams -= 1;
        }
        if stream.root != self.newest_root() {
            self.retire_roots()?;
        }
        Ok(ClosedStream { properties: stream.properties(), status: stream.status(), details })
    }

    /// Returns a property that the module wrote with `set_property`, while the stream is open.
    pub fn property(&self, id: StreamId, path: &[&str]) -> Option<&[u8]> {
        let stream = self.store.data().streams.get(&id.0)?;
        stream.written.get(path.join("\0").as_bytes()).map(Vec::as_slice)
    }

    fn headers(
        &mut self,
        id: StreamId,
        direction: Direction,
        headers: HeaderMap,
        end: bool,
    ) -> Result<Flow, VmError> {
        let stream = self.open_stream(id)?;
        let side = stream.side_mut(direction);
        if side.finished {
            return Ok(Flow::Hold);
        }
        let count = headers.len() as u32;
        side.headers = Some(headers);
        side.headers_open = true;
        side.ended = end;
        let (callback, name) = match direction {
            Direction::Request => (self.exports.request.headers.clone(), "proxy_on_request_headers"),
            Direction::Response => (self.exports.response.headers.clone(), "proxy_on_response_headers"),
        };
        let options = &self.store.data().shared.options;
        let stop_all = options.stop_all_on_paused_headers;
        let mut action = CONTINUE;
        if let Some(callback) = callback {
            action = self.enter(id.0, name, |store| callback.call(store, (id.0, count, u32::from(end))))?;
        }
        if stop_all && action != CONTINUE {
            self.open_stream(id)?.side_mut(direction).backlog = Some(Backlog::default());
        }
        self.settle(id, direction, action)
    }

    pub(crate) fn body(
        &mut self,
        id: StreamId,
        direction: Direction,
        chunk: &[u8],
        end: bool,
    ) -> Result<Flow, VmError> {
        let limit = self.store.data().shared.options.buffer_limit;
        let side = self.open_stream(id)?.side_mut(direction);
        if side.finished {
            return Ok(Flow::Hold);
        }
        side.size += chunk.len() as u64;
        if let Some(backlog) = &mut side.backlog {
            backlog.body.extend_from_slice(chunk);
            backlog.ended = end;
            if backlog.body.len() > limit {
                return self.too_large(id, direction);
            }
            return Ok(Flow::Hold);
        }
        side.body.extend_from_slice(chunk);
        side.ended = end;
        // As in Envoy: the limit applies to buffered bytes before the callback, and to a first chunk after
        // it.
        if side.body_held && side.body.len() > limit {
            return self.too_large(id, direction);
        }
        let size = side.body.len() as u32;
        let (callback, name) = match direction {
            Direction::Request => (self.exports.request.body.clone(), "proxy_on_request_body"),
            Direction::Response => (self.exports.response.body.clone(), "proxy_on_response_body"),
        };
        let Some(callback) = callback else {
            return self.settle(id, direction, CONTINUE);
        };
        let action = self.enter(id.0, name, |store| callback.call(store, (id.0, size, u32::from(end))))?;
        if action != CONTINUE {
            let stream = self.open_stream(id)?;
            let decided = stream.reply.is_some() || stream.closed;
            let side = stream.side_mut(direction);
            side.body_held = true;
            if side.body.len() > limit && !side.resume && !decided {
                return self.too_large(id, direction);
            }
        }
        self.settle(id, direction, action)
    }

    fn trailers(&mut self, id: StreamId, direction: Direction, trailers: HeaderMap) -> Result<Flow, VmError> {
        let side = self.open_stream(id)?.side_mut(direction);
        if side.finished {
            return Ok(Flow::Hold);
        }
        if let Some(backlog) = &mut side.backlog {
            backlog.trailers = Some(trailers);
            return Ok(Flow::Hold);
        }
        let count = trailers.len() as u32;
        side.trailers = Some(trailers);
        side.trailers_open = true;
        side.ended = true;
        let (callback, name) = match direction {
            Direction::Request => (self.exports.request.trailers.clone(), "proxy_on_request_trailers"),
            Direction::Response => (self.exports.response.trailers.clone(), "proxy_on_response_trailers"),
        };
        let mut action = CONTINUE;
        if let Some(callback) = callback {
            action = self.enter(id.0, name, |store| callback.call(store, (id.0, count)))?;
        }
        self.settle(id, direction, action)
    }

    /// Carries out the result of a callback: a local reply, a reset, continuing or holding.
    fn settle(&mut self, id: StreamId, direction: Direction, action: Action) -> Result<Flow, VmError> {
        let stream = self.open_stream(id)?;
        if stream.closed {
            stream.request.abandon();
            stream.response.abandon();
            return Ok(Flow::Reset);
        }
        if let Some(reply) = stream.reply.take() {
            return self.answer(id, reply);
        }
        let side = stream.side_mut(direction);
        if action == CONTINUE || side.resume {
            return self.go_on(id, direction);
        }
        Ok(Flow::Hold)
    }

    /// Forwards the current message, then the backlog of a paused headers callback.
    fn go_on(&mut self, id: StreamId, direction: Direction) -> Result<Flow, VmError> {
        let side = self.open_stream(id)?.side_mut(direction);
        let backlog = side.backlog.take();
        let first = side.release();
        let Some(backlog) = backlog else {
            return Ok(Flow::Forward(first));
        };
        let mut flow = Flow::Forward(first);
        if !backlog.body.is_empty() || backlog.ended {
            // Its bytes were counted on arrival.
            self.open_stream(id)?.side_mut(direction).size -= backlog.body.len() as u64;
            flow = join(flow, self.body(id, direction, &backlog.body, backlog.ended)?);
        }
        if let Some(trailers) = backlog.trailers {
            flow = join(flow, self.trailers(id, direction, trailers)?);
        }
        Ok(flow)
    }

    /// Sends a local reply. Before the response has begun it passes through the response callbacks; while the
    /// response's headers are held it replaces them without callbacks; after they have been sent the exchange
    /// is reset.
    fn answer(&mut self, id: StreamId, reply: PendingReply) -> Result<Flow, VmError> {
        let stream = self.open_stream(id)?;
        stream.replied = true;
        stream.request.abandon();
        stream.details = Some(reply.details.clone());
        let status = reply.status as u16;
        let headers = reply_headers(&reply);
        if stream.response.headers_sent {
            stream.response.abandon();
            return Ok(Flow::Reset);
        }
        if stream.response.headers.is_some() {
            stream.response.abandon();
            stream.response.headers = Some(headers.clone());
            stream.response.headers_sent = true;
            return Ok(Flow::Reply(LocalReply { status, headers, body: reply.body, details: reply.details }));
        }
        stream.reply_details = Some(reply.details);
        let mut flow = self.headers(id, Direction::Response, headers, reply.body.is_empty())?;
        if !reply.body.is_empty() && !matches!(flow, Flow::Reset | Flow::Reply(_)) {
            flow = join(flow, self.body(id, Direction::Response, &reply.body, true)?);
        }
        Ok(self.as_reply(id, flow))
    }

    /// Turns the result of the response callbacks into a local reply.
    fn as_reply(&mut self, id: StreamId, flow: Flow) -> Flow {
        let details =
            self.store.data_mut().streams.get_mut(&id.0).and_then(|stream| stream.reply_details.take());
        match (flow, details) {
            (Flow::Forward(Forward { headers: Some(headers), body, .. }), Some(details)) => {
                let status = headers.text(":status").and_then(|status| status.parse().ok()).unwrap_or(500);
                Flow::Reply(LocalReply { status, headers, body, details })
            }
            (flow, details) => {
                if let Some(stream) = self.store.data_mut().streams.get_mut(&id.0) {
                    stream.reply_details = details;
                }
                flow
            }
        }
    }

    fn too_large(&mut self, id: StreamId, direction: Direction) -> Result<Flow, VmError> {
        let reply = match direction {
            Direction::Request => host_reply(413, "Payload Too Large", "request_payload_too_large"),
            Direction::Response => host_reply(500, "Internal Server Error", "response_payload_too_large"),
        };
        self.answer(id, reply)
    }

    /// Carries out the changes to streams other than the one whose callback ran.
    pub(crate) fn carry_out_touched(&mut self, current: u32) -> Result<(), VmError> {
        for (id, direction) in std::mem::take(&mut self.store.data_mut().touched) {
            // The stream's own event carries it out after its callback.
            let Some(stream) = self.store.data_mut().streams.get_mut(&id).filter(|_| id != current) else {
                continue;
            };
            let side = stream.side(direction);
            if !stream.closed && stream.reply.is_none() && (side.finished || !side.resume) {
                continue;
            }
            let flow = self.settle(StreamId(id), direction, 1)?;
            let flow = self.as_reply(StreamId(id), flow);
            self.resumed.push(Resumed { stream: StreamId(id), direction, flow });
        }
        Ok(())
    }

    fn open_stream(&mut self, id: StreamId) -> Result<&mut Stream, VmError> {
        self.alive()?;
        self.store.data_mut().streams.get_mut(&id.0).ok_or(VmError::UnknownStream(id))
    }
}

/// Joins two consecutive flows of one direction.
fn join(first: Flow, second: Flow) -> Flow {
    match (first, second) {
        (Flow::Forward(mut first), Flow::Forward(second)) => {
            first.headers = first.headers.or(second.headers);
            first.body.extend_from_slice(&second.body);
            first.trailers = second.trailers;
            first.end_of_stream = second.end_of_stream;
            Flow::Forward(first)
        }
        (first, Flow::Hold) => first,
        (_, second) => second,
    }
}

fn host_reply(status: u16, body: &str, details: &str) -> PendingReply {
    PendingReply {
        status: u32::from(status),
        headers: HeaderMap::new(),
        body: body.as_bytes().to_vec(),
        details: details.to_owned(),
    }
}

/// `:status` first, then what Envoy adds to a reply with a body.
fn reply_headers(reply: &PendingReply) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.add(":status", reply.status.to_string());
    for (name, value) in reply.headers.iter() {
        headers.add(name, value);
    }
    if !reply.body.is_empty() {
        headers.set("content-length", reply.body.len().to_string());
        if headers.get("content-type").is_none() {
            headers.add("content-type", "text/plain");
        }
    }
    headers
}
