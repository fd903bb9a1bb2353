//! The HTTP context: one request and its response. Callbacks go to the core's exchange, whose actions are carried out.

use std::borrow::Cow;
use std::cell::Cell;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, BufferType, MapType};
use tollgate_core::admission::{AdmissionError, Admitted, NotAdmitted};
use tollgate_core::counters::NoRoom;
use tollgate_core::counters::{HostStatus, StoreError};
use tollgate_core::exchange::series::Counter;
use tollgate_core::exchange::{self, Exchange};
use tollgate_core::http::headers::{HeaderMutation, Headers};
use tollgate_core::http::local_response::LocalResponse;
use tollgate_core::llm::request::BodyPatch;
use tollgate_core::time::Timestamp;

use crate::host;
use crate::pending_responses::Awaited;
use crate::root_context::Plugin;

/// The number of bytes of a body that are in memory at once.
const PIECE: usize = 64 * 1024;

/// The HTTP context of a stream. Without a configuration it answers 503.
pub struct HttpFilter(Option<Stream>);

/// A stream under the configuration that it began with.
struct Stream {
    id: u32,
    plugin: Rc<Plugin>,
    exchange: Exchange,
    /// The number of bytes of the held request body that were read.
    read: usize,
    /// The bytes of the request body that are counted as held.
    held: u64,
    /// True once the host has refused a change to the request.
    edit_failed: Cell<bool>,
    replied: bool,
    /// True while the decision of the admission is awaited.
    waits: bool,
}

impl HttpFilter {
    /// Returns the context of a stream that has just begun.
    pub fn new(id: u32, plugin: Option<Rc<Plugin>>) -> Self {
        HttpFilter(plugin.map(|plugin| {
            let exchange = Exchange::new(Rc::clone(&plugin.gateway));
            Stream {
                id,
                plugin,
                exchange,
                read: 0,
                held: 0,
                edit_failed: Cell::new(false),
                replied: false,
                waits: false,
            }
        }))
    }

    /// Takes the result that the stream has waited for.
    pub fn on_awaited(&mut self, awaited: Awaited) -> Action {
        let Some(stream) = &mut self.0 else { return Action::Pause };
        match awaited {
            Awaited::Managed(reply) => {
                stream.exchange.managed(reply.response.status, reply.reason.map(Cow::Owned));
                stream.reply(&reply.response);
                Action::Pause
            }
            Awaited::Admission(outcome) => {
                let next = stream.admitted(outcome);
                stream.carry_out(next, host::wall)
            }
        }
    }
}

impl Stream {
    /// Carries out actions until one ends the callback.
    fn carry_out(&mut self, mut action: exchange::Action, wall: impl Fn() -> u64) -> Action {
        loop {
            // A request that waits for its admission is still held.
            if !matches!(action, exchange::Action::Hold | exchange::Action::Admit(_)) {
                self.let_go();
            }
            action = match action {
                exchange::Action::Hold => match self.hold(&wall) {
                    Ok(()) => return Action::Pause,
                    Err(NoRoom) => self.exchange.cannot_hold(),
                },
                exchange::Action::Admit(_) if self.edit_failed.get() => return self.forward(),
                exchange::Action::Admit(request) => {
                    match self.plugin.admit(self.id, request, self.plugin.moment(wall())) {
                        Some(outcome) => self.admitted(outcome),
                        None => {
                            self.waits = true;
                            return Action::Pause;
                        }
                    }
                }
                exchange::Action::Forward(forward) => {
                    if forward.body_patch().is_some_and(|patch| self.edit_held_body(patch).is_err()) {
                        self.plugin.metrics.count(Counter::BodyEditsFailed);
                        self.edit_failed.set(true);
                    }
                    return self.forward();
                }
                exchange::Action::Answer(response) => {
                    self.reply(&response);
                    return Action::Pause;
                }
                exchange::Action::SignIn => self.exchange.signed_in(self.plugin.subject()),
                exchange::Action::Manage(request) => {
                    self.plugin.manage(self.id, *request);
                    return Action::Pause;
                }
            };
        }
    }

    /// Takes the decision of the request's admission.
    fn admitted(&mut self, outcome: Result<Admitted, NotAdmitted>) -> exchange::Action {
        self.waits = false;
        match &outcome {
            Ok(_) => self.plugin.metrics.count(Counter::Reserved),
            Err(NotAdmitted { error: AdmissionError::Store(StoreError::Contention), .. }) => {
                self.plugin.metrics.count(Counter::Contended);
            }
            Err(_) => {}
        }
        let (next, corrections) = self.exchange.admitted(outcome);
        self.plugin.queue(corrections);
        next
    }

    /// Counts the bytes that are held and were not counted before.
    fn hold(&mut self, wall: impl Fn() -> u64) -> Result<(), NoRoom> {
        let held = self.exchange.held_bytes();
        if held > self.held {
            self.plugin.hold(held - self.held, wall())?;
            self.held = held;
        }
        Ok(())
    }

    /// Counts the request's body as no longer held.
    fn let_go(&mut self) {
        if self.held > 0 {
            self.plugin.let_go(std::mem::take(&mut self.held));
        }
    }

    /// Lets the request go on, unless a change to it failed: it could still hold the key or forged identity headers.
    fn forward(&mut self) -> Action {
        if !self.edit_failed.get() {
            return Action::Continue;
        }
        self.exchange.upstream_failed();
        self.reply(&LocalResponse { status: 500, fields: Vec::new(), body: String::new() });
        Action::Pause
    }

    /// Changes the request's headers or trailers, and records a failure.
    fn edit(plugin: &Plugin, edit_failed: &Cell<bool>, map: MapType, edit: HeaderMutation<'_>) {
        if !apply(plugin, map, edit) {
            edit_failed.set(true);
        }
    }

    /// Changes the held request body. Hosts replace a held body at its ends only: where the place is far from the
    /// front, the body is rotated piece by piece, so that at most one piece is in memory.
    fn edit_held_body(&self, edit: &BodyPatch) -> Result<(), HostStatus> {
        let [start, end] = [edit.at.start, edit.at.end].map(|at| at as usize);
        if start <= PIECE {
            let mut front = front(start)?;
            front.extend_from_slice(edit.put.as_bytes());
            return host::replace_front(BufferType::HttpRequestBody, end, &front);
        }
        rotate(start)?;
        host::append(BufferType::HttpRequestBody, edit.put.as_bytes())?;
        host::replace_front(BufferType::HttpRequestBody, end - start, &[])?;
        rotate(self.read - end)
    }

    /// Sends a local response, at most one for a stream.
    fn reply(&mut self, response: &LocalResponse) {
        if self.replied {
            return;
        }
        self.replied = true;
        let fields: Vec<_> = response.fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        if host::send_local_response(response.status, &fields, &response.body).is_err() {
            self.plugin.metrics.count(Counter::RepliesFailed);
        }
    }

    /// Reads the `held` bytes of the request body that were not read before.
    fn read_body(&mut self, held: usize, end_of_stream: bool, now: Timestamp) -> exchange::Action {
        while self.read < held {
            let most = PIECE.min(held - self.read);
            let Ok(piece) = host::buffer(BufferType::HttpRequestBody, self.read, most) else {
                break;
            };
            if piece.is_empty() {
                break;
            }
            self.read += piece.len();
            let last = end_of_stream && self.read >= held;
            match self.read_piece(&piece, last, now) {
                exchange::Action::Hold => {}
                decided => return decided,
            }
        }
        if !end_of_stream {
            return exchange::Action::Hold;
        }
        self.read_piece(&[], true, now)
    }

    fn read_piece(&mut self, piece: &[u8], last: bool, now: Timestamp) -> exchange::Action {
        let Stream { plugin, edit_failed, exchange, .. } = self;
        exchange.request_body(piece, last, now, &mut |edit| {
            Stream::edit(plugin, edit_failed, MapType::HttpRequestHeaders, edit);
        })
    }

    /// Passes the new bytes of the response to the exchange, and replaces those that it changes.
    fn pass_response(&mut self, size: usize, end_of_stream: bool) -> Result<(), HostStatus> {
        let mut left = size;
        let rotates = size > PIECE && self.exchange.changes_answer();
        let mut start = 0;
        while self.exchange.reads_answer() {
            let piece = match left {
                0 => Vec::new(),
                _ => host::buffer(BufferType::HttpResponseBody, start, PIECE.min(left))?,
            };
            left = if piece.is_empty() { 0 } else { left - piece.len() };
            let passed = self.exchange.response_body(&piece, end_of_stream && left == 0);
            if rotates {
                host::replace_front(BufferType::HttpResponseBody, piece.len(), &[])?;
                host::append(BufferType::HttpResponseBody, &passed)?;
            } else {
                start += piece.len();
                if let Cow::Owned(passed) = passed {
                    host::replace_front(BufferType::HttpResponseBody, piece.len(), &passed)?;
                }
            }
            if left == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Settles the reservation, and counts the call. `complete`: the response came to its end.
    fn finish(&mut self, complete: bool) {
        if let Some((receipt, actual)) = self.exchange.finish(complete) {
            self.plugin.metrics.count(Counter::Settled);
            self.plugin.settle(receipt, actual);
        }
        if let Some(call) = self.exchange.count() {
            self.plugin.count(call);
        }
    }

    /// Writes the access log's properties and the metrics.
    fn report(&self) {
        let entry = self.exchange.log();
        for (name, value) in entry.fields() {
            let _ = host::set_property(name, &value);
        }
        self.plugin.metrics.record(entry, self.plugin.gateway.max_metric_teams);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.let_go();
        if self.waits {
            self.plugin.cancel(self.id);
        }
    }
}

/// Changes a header or trailer. Returns true if the host did so.
#[inline(never)]
fn apply(plugin: &Plugin, map: MapType, edit: HeaderMutation<'_>) -> bool {
    let done = match edit {
        HeaderMutation::Remove(name) => host::remove_header(map, name),
        HeaderMutation::Replace(name, value) => host::replace_header(map, name, value),
    };
    if done.is_err() {
        plugin.metrics.count(Counter::HeaderEditsFailed);
    }
    done.is_ok()
}

/// Returns the first bytes of the held request body.
fn front(bytes: usize) -> Result<Vec<u8>, HostStatus> {
    if bytes == 0 { Ok(Vec::new()) } else { host::buffer(BufferType::HttpRequestBody, 0, bytes) }
}

/// Moves bytes of the held request body from its front to its end.
fn rotate(bytes: usize) -> Result<(), HostStatus> {
    let mut left = bytes;
    while left > 0 {
        let piece = front(PIECE.min(left))?;
        if piece.is_empty() {
            break;
        }
        left -= piece.len();
        host::replace_front(BufferType::HttpRequestBody, piece.len(), &[])?;
        host::append(BufferType::HttpRequestBody, &piece)?;
    }
    Ok(())
}

impl Context for HttpFilter {}

impl HttpContext for HttpFilter {
    fn on_http_request_headers(&mut self, _: usize, end_of_stream: bool) -> Action {
        let Some(stream) = &mut self.0 else {
            let _ = host::send_local_response(503, &[], "");
            return Action::Pause;
        };
        let map = host::header_map(MapType::HttpRequestHeaders).unwrap_or_default();
        let fields = host::fields(&map);
        let head = Headers::new(&fields);
        stream.plugin.refresh();
        if stream.plugin.awaits_policy() {
            stream.exchange.policy_not_loaded();
        }
        let known = Cell::new(None);
        let wall = || {
            known.get().unwrap_or_else(|| {
                let wall = host::wall();
                known.set(Some(wall));
                wall
            })
        };
        let Stream { plugin, edit_failed, exchange, .. } = stream;
        let now = || Timestamp::at(wall());
        let action = exchange.request_headers(&head, end_of_stream, now, &mut |edit| {
            Stream::edit(plugin, edit_failed, MapType::HttpRequestHeaders, edit);
        });
        let action = stream.carry_out(action, wall);
        #[cfg(feature = "inject-trap")]
        if head.text("x-tollgate-inject-trap").is_some() {
            core::arch::wasm32::unreachable();
        }
        action
    }

    /// `held` is the number of bytes held so far, not that of the new ones.
    fn on_http_request_body(&mut self, held: usize, end_of_stream: bool) -> Action {
        let Some(stream) = &mut self.0 else {
            return Action::Pause;
        };
        if stream.replied {
            return Action::Pause;
        }
        if !stream.exchange.is_held() {
            return Action::Continue;
        }
        let wall = host::wall();
        let action = stream.read_body(held, end_of_stream, Timestamp::at(wall));
        stream.carry_out(action, || wall)
    }

    /// Trailers end the request's body.
    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        let Some(stream) = &mut self.0 else {
            return Action::Pause;
        };
        if stream.replied {
            return Action::Pause;
        }
        let map = host::header_map(MapType::HttpRequestTrailers);
        let Stream { plugin, edit_failed, exchange, .. } = stream;
        if map.is_err() {
            edit_failed.set(true);
        }
        let map = map.unwrap_or_default();
        exchange.trailers(&Headers::new(&host::fields(&map)), &mut |edit| {
            Stream::edit(plugin, edit_failed, MapType::HttpRequestTrailers, edit);
        });
        if !exchange.is_held() {
            return stream.forward();
        }
        let wall = host::wall();
        let action = stream.read_body(usize::MAX, true, Timestamp::at(wall));
        stream.carry_out(action, || wall)
    }

    fn on_http_response_headers(&mut self, _: usize, end_of_stream: bool) -> Action {
        if let Some(stream) = &mut self.0
            && !stream.replied
        {
            let map = host::header_map(MapType::HttpResponseHeaders).unwrap_or_default();
            let plugin = &stream.plugin;
            stream.exchange.response_headers(&Headers::new(&host::fields(&map)), &mut |edit| {
                apply(plugin, MapType::HttpResponseHeaders, edit);
            });
            if end_of_stream {
                stream.finish(true);
            }
        }
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        if let Some(stream) = &mut self.0
            && !stream.replied
        {
            if stream.pass_response(size, end_of_stream).is_err() {
                stream.plugin.metrics.count(Counter::AnswerEditsFailed);
            }
            if end_of_stream {
                stream.finish(true);
            }
        }
        Action::Continue
    }

    /// Trailers end the response's body.
    fn on_http_response_trailers(&mut self, _: usize) -> Action {
        if let Some(stream) = &mut self.0 {
            stream.finish(true);
        }
        Action::Continue
    }

    /// Settles and reports, however the stream ended. A second call has no effect.
    fn on_log(&mut self) {
        if let Some(mut stream) = self.0.take() {
            stream.finish(false);
            stream.report();
        }
    }
}
