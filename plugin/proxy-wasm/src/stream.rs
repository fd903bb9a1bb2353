//! One stream: the host's callbacks go to the exchange, and what it answers is carried out.

use std::borrow::Cow;
use std::cell::Cell;
use std::rc::Rc;

use tollgate_core::admission::{AdmissionError, NotAdmitted, acquire, settle};
use tollgate_core::counters::{HostStatus, StoreError};
use tollgate_core::exchange::{self, Exchange};
use tollgate_core::http::headers::{HeaderMutation, Headers};
use tollgate_core::http::local_response::LocalResponse;
use tollgate_core::llm::request::BodyPatch;
use tollgate_core::replication::AdminReply;
use tollgate_core::time::Timestamp;

use crate::dispatch::Action;
use crate::host::{self, Buffer, Map};
use crate::root::Plugin;

/// Bytes of a body that are in memory at once.
const PIECE: usize = 64 * 1024;

/// A stream under the configuration it began with.
pub struct Stream(Option<Carrier>);

struct Carrier {
    id: u32,
    plugin: Rc<Plugin>,
    exchange: Exchange,
    /// Bytes of the held request body that were read.
    read: usize,
    /// The host did not make some change to the request.
    unchanged: Cell<bool>,
    replied: bool,
}

impl Stream {
    /// A stream that has just begun; without a configuration it answers 503.
    pub fn new(id: u32, plugin: Option<Rc<Plugin>>) -> Self {
        Stream(plugin.map(|plugin| {
            let exchange = Exchange::new(Rc::clone(&plugin.gateway));
            Carrier { id, plugin, exchange, read: 0, unchanged: Cell::new(false), replied: false }
        }))
    }
}

impl Carrier {
    fn carry_out(&mut self, mut step: exchange::Action, wall: impl Fn() -> u64) -> Action {
        loop {
            step = match step {
                exchange::Action::Hold => return Action::Pause,
                exchange::Action::Admit(_) if self.unchanged.get() => return self.go_on(),
                exchange::Action::Admit(charges) => {
                    let mut cells = self.plugin.cells();
                    let outcome = acquire(&mut cells, charges, self.plugin.moment(wall()));
                    self.plugin.metrics.add("retries", cells.conflicts().into());
                    match &outcome {
                        Ok(_) => self.plugin.metrics.reserved(),
                        Err(NotAdmitted { error: AdmissionError::Cells(StoreError::Contention), .. }) => {
                            self.plugin.metrics.count("contended");
                        }
                        Err(_) => {}
                    }
                    let (next, unsettled) = self.exchange.admitted(outcome);
                    self.plugin.keep(unsettled);
                    next
                }
                exchange::Action::Forward(edit) => {
                    if edit.is_some_and(|edit| self.edit_held_body(&edit).is_err()) {
                        self.plugin.metrics.count("body_edits_failed");
                        self.unchanged.set(true);
                    }
                    return self.go_on();
                }
                exchange::Action::Answer(answer) => {
                    self.reply(&answer);
                    return Action::Pause;
                }
                exchange::Action::Manage(request) => {
                    self.plugin.manage(self.id, *request);
                    return Action::Pause;
                }
                exchange::Action::Respond(response) => {
                    self.respond(&response);
                    return Action::Pause;
                }
            };
        }
    }

    /// Half a change must not go upstream: the key may be in it still, or a client's word about who it is.
    fn go_on(&mut self) -> Action {
        if !self.unchanged.get() {
            return Action::Continue;
        }
        self.exchange.upstream_failed();
        self.reply(&LocalResponse { status: 500, fields: Vec::new(), body: String::new() });
        Action::Pause
    }

    /// Makes a change to the request's head, or notes that it was not made.
    fn edit(plugin: &Plugin, unchanged: &Cell<bool>, map: Map, edit: HeaderMutation<'_>) {
        if !apply(plugin, map, edit) {
            unchanged.set(true);
        }
    }

    /// Hosts change a held body at its ends only. Where the place is far from the front, the body is turned
    /// round piece by piece, so that never more than one piece is in memory.
    fn edit_held_body(&self, edit: &BodyPatch) -> Result<(), HostStatus> {
        let [start, end] = [edit.at.start, edit.at.end].map(|at| at as usize);
        if start <= PIECE {
            let mut front = first(start)?;
            front.extend_from_slice(edit.put.as_bytes());
            return host::replace_front(Buffer::RequestBody, end, &front);
        }
        turn(start)?;
        host::append(Buffer::RequestBody, edit.put.as_bytes())?;
        host::replace_front(Buffer::RequestBody, end - start, &[])?;
        turn(self.read - end)
    }

    fn reply(&mut self, answer: &LocalResponse) {
        let mut fields = vec![("content-type", "application/json")];
        fields.extend(answer.fields.iter().map(|(name, value)| (*name, value.as_str())));
        self.send(answer.status, &fields, &answer.body);
    }

    fn respond(&mut self, response: &LocalResponse) {
        let fields: Vec<_> = response.fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.send(response.status, &fields, &response.body);
    }

    fn send(&mut self, status: u16, fields: &[(&str, &str)], body: &str) {
        if self.replied {
            return;
        }
        self.replied = true;
        if host::reply(status, fields, body).is_err() {
            self.plugin.metrics.count("replies_failed");
        }
    }

    fn read_body(&mut self, held: usize, end_of_stream: bool, now: Timestamp) -> exchange::Action {
        while self.read < held {
            let most = PIECE.min(held - self.read);
            let Ok(piece) = host::buffer(Buffer::RequestBody, self.read, most) else {
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
        let Carrier { plugin, unchanged, exchange, .. } = self;
        exchange
            .request_body(piece, last, now, &mut |edit| Carrier::edit(plugin, unchanged, Map::Request, edit))
    }

    /// Lets the exchange see the answer's new bytes, and the client what it makes of them.
    fn pass_answer(&mut self, size: usize, end_of_stream: bool) -> Result<(), HostStatus> {
        let mut left = size;
        let turned = size > PIECE && self.exchange.changes_answer();
        let mut start = 0;
        while self.exchange.reads_answer() {
            let piece = match left {
                0 => Vec::new(),
                _ => host::buffer(Buffer::ResponseBody, start, PIECE.min(left))?,
            };
            left = if piece.is_empty() { 0 } else { left - piece.len() };
            let passed = self.exchange.response_body(&piece, end_of_stream && left == 0);
            if turned {
                host::replace_front(Buffer::ResponseBody, piece.len(), &[])?;
                host::append(Buffer::ResponseBody, &passed)?;
            } else {
                start += piece.len();
                if let Cow::Owned(passed) = passed {
                    host::replace_front(Buffer::ResponseBody, piece.len(), &passed)?;
                }
            }
            if left == 0 {
                break;
            }
        }
        Ok(())
    }

    fn end(&mut self, complete: bool) {
        if let Some((receipt, actual)) = self.exchange.finish(complete) {
            self.plugin.metrics.settled();
            let mut cells = self.plugin.cells();
            let unsettled = settle(&mut cells, receipt, actual);
            self.plugin.metrics.add("retries", cells.conflicts().into());
            self.plugin.keep(unsettled);
        }
    }

    fn report(&self) {
        let facts = self.exchange.log();
        for (name, value) in facts.fields() {
            let _ = host::set_property(name, &value);
        }
        let decision = facts.decision.name();
        self.plugin.metrics.count(decision);
        if let Some(reason) = &facts.reason {
            self.plugin.metrics.count(&format!("{decision}_{reason}"));
        }
        if let Some(usage) = facts.usage {
            self.plugin.metrics.add("tokens_input", usage.input.into());
            self.plugin.metrics.add("tokens_output", usage.output.into());
            self.plugin.metrics.add("tokens_cached", usage.cached_input.into());
            self.plugin.metrics.add("tokens_reasoning", usage.reasoning.into());
        }
        self.plugin.metrics.add("cost_picodollars", facts.cost.0);
        if facts.estimated {
            self.plugin.metrics.count("estimated");
        }
        if facts.over_soft_budget.is_some() {
            self.plugin.metrics.count("over_soft_budget");
        }
        if facts.uncounted {
            self.plugin.metrics.count("uncounted");
        }
    }
}

/// Whether the host made the change.
#[inline(never)]
fn apply(plugin: &Plugin, map: Map, edit: HeaderMutation<'_>) -> bool {
    let done = match edit {
        HeaderMutation::Remove(name) => host::remove_header(map, name),
        HeaderMutation::Replace(name, value) => host::replace_header(map, name, value),
    };
    if done.is_err() {
        plugin.metrics.count("header_edits_failed");
    }
    done.is_ok()
}

/// The first bytes of the held request body.
fn first(bytes: usize) -> Result<Vec<u8>, HostStatus> {
    if bytes == 0 { Ok(Vec::new()) } else { host::buffer(Buffer::RequestBody, 0, bytes) }
}

/// Moves so many bytes of the held request body from its front to its end.
fn turn(bytes: usize) -> Result<(), HostStatus> {
    let mut left = bytes;
    while left > 0 {
        let piece = first(PIECE.min(left))?;
        if piece.is_empty() {
            break;
        }
        left -= piece.len();
        host::replace_front(Buffer::RequestBody, piece.len(), &[])?;
        host::append(Buffer::RequestBody, &piece)?;
    }
    Ok(())
}

impl Stream {
    /// The request's head.
    pub fn on_http_request_headers(&mut self, end_of_stream: bool) -> Action {
        let Some(carrier) = &mut self.0 else {
            let _ = host::reply(503, &[], "");
            return Action::Pause;
        };
        let map = host::head(Map::Request).unwrap_or_default();
        let fields = host::fields(&map);
        let head = Headers::new(&fields);
        carrier.plugin.refresh();
        if carrier.plugin.awaits_fleet() {
            carrier.exchange.policy_not_loaded();
        }
        let asked = Cell::new(None);
        let wall = || {
            asked.get().unwrap_or_else(|| {
                let wall = host::wall();
                asked.set(Some(wall));
                wall
            })
        };
        let Carrier { plugin, unchanged, exchange, .. } = carrier;
        let now = || Timestamp::at(wall());
        let step = exchange.request_headers(&head, end_of_stream, now, &mut |edit| {
            Carrier::edit(plugin, unchanged, Map::Request, edit);
        });
        let action = carrier.carry_out(step, wall);
        #[cfg(feature = "inject-trap")]
        if head.text("x-tollgate-inject-trap").is_some() {
            core::arch::wasm32::unreachable();
        }
        action
    }

    /// More of the request's body: `held` bytes so far.
    pub fn on_http_request_body(&mut self, held: usize, end_of_stream: bool) -> Action {
        let Some(carrier) = &mut self.0 else {
            return Action::Pause;
        };
        if carrier.replied {
            return Action::Pause;
        }
        if !carrier.exchange.is_held() {
            return Action::Continue;
        }
        let wall = host::wall();
        let step = carrier.read_body(held, end_of_stream, Timestamp::at(wall));
        carrier.carry_out(step, || wall)
    }

    /// The request's trailers: its body is whole.
    pub fn on_http_request_trailers(&mut self) -> Action {
        let Some(carrier) = &mut self.0 else {
            return Action::Pause;
        };
        if carrier.replied {
            return Action::Pause;
        }
        let map = host::head(Map::RequestTrailers);
        let Carrier { plugin, unchanged, exchange, .. } = carrier;
        if map.is_err() {
            unchanged.set(true);
        }
        let map = map.unwrap_or_default();
        exchange.trailers(&Headers::new(&host::fields(&map)), &mut |edit| {
            Carrier::edit(plugin, unchanged, Map::RequestTrailers, edit);
        });
        if !exchange.is_held() {
            return carrier.go_on();
        }
        let wall = host::wall();
        let step = carrier.read_body(usize::MAX, true, Timestamp::at(wall));
        carrier.carry_out(step, || wall)
    }

    /// The answer's head.
    pub fn on_http_response_headers(&mut self, end_of_stream: bool) -> Action {
        if let Some(carrier) = &mut self.0
            && !carrier.replied
        {
            let map = host::head(Map::Response).unwrap_or_default();
            let plugin = &carrier.plugin;
            carrier.exchange.response_headers(&Headers::new(&host::fields(&map)), &mut |edit| {
                apply(plugin, Map::Response, edit);
            });
            if end_of_stream {
                carrier.end(true);
            }
        }
        Action::Continue
    }

    /// A piece of the answer's body.
    pub fn on_http_response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        if let Some(carrier) = &mut self.0
            && !carrier.replied
        {
            if carrier.pass_answer(size, end_of_stream).is_err() {
                carrier.plugin.metrics.count("answer_edits_failed");
            }
            if end_of_stream {
                carrier.end(true);
            }
        }
        Action::Continue
    }

    /// The answer's trailers: it is whole.
    pub fn on_http_response_trailers(&mut self) -> Action {
        if let Some(carrier) = &mut self.0 {
            carrier.end(true);
        }
        Action::Continue
    }

    /// The answer that a management request has waited for.
    pub fn on_answered(&mut self, answered: AdminReply) {
        if let Some(carrier) = &mut self.0 {
            carrier.exchange.managed(answered.response.status, answered.reason.map(Cow::Owned));
            carrier.respond(&answered.response);
        }
    }

    /// The last callback of the stream, however it ended.
    pub fn on_log(&mut self) {
        if let Some(carrier) = &mut self.0 {
            carrier.end(false);
            carrier.report();
        }
    }
}
