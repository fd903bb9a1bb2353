//! A worker's VM and its streams. All events are delivered here, and traps are handled here.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;

use crate::proxy_wasm::{
    ClosedStream, Direction, Ending, Flow, HeaderMap, HttpCallResponse, LocalReply, StartError, StreamId,
    StreamInfo, Vm, VmError,
};

use super::callout::Outbox;
use super::lines::{self, Lines};
use super::load::Load;
use super::worker::Shared;

/// The pause between restarts, as with Envoy's FAIL_RELOAD: bounds the restarts of a VM that traps
/// repeatedly.
const RELOAD_PAUSE: Duration = Duration::from_secs(1);

/// A worker's VM.
pub(super) struct Gate {
    vm: RefCell<Vm>,
    /// The number of replacements of the VM; stream ids start again with each.
    generation: Cell<u64>,
    reloaded: Cell<Option<Instant>>,
    waiting: RefCell<HashMap<StreamId, Mailboxes>>,
    /// Notified when the module may have changed its tick period.
    ticks: Notify,
    tick_period: Cell<Option<Duration>>,
    draining: Cell<bool>,
    outbox: Outbox,
    lines: Lines,
    load: Arc<Load>,
    /// The number of open streams.
    open: Cell<usize>,
}

/// The channels for events outside a stream's own callbacks.
struct Mailboxes {
    request: UnboundedSender<Flow>,
    response: UnboundedSender<Flow>,
}

/// The receivers of a stream's two directions.
pub(super) struct Mail {
    pub(super) request: UnboundedReceiver<Flow>,
    pub(super) response: UnboundedReceiver<Flow>,
    /// Used by the request's side when it ends the whole exchange.
    pub(super) to_response: UnboundedSender<Flow>,
}

impl Gate {
    pub(super) fn new(vm: Vm, outbox: Outbox, shared: Shared) -> Gate {
        let tick_period = Cell::new(vm.tick_period());
        Gate {
            vm: RefCell::new(vm),
            generation: Cell::new(0),
            reloaded: Cell::new(None),
            waiting: RefCell::default(),
            ticks: Notify::new(),
            tick_period,
            draining: Cell::new(false),
            outbox,
            lines: shared.lines,
            load: shared.load,
            open: Cell::new(0),
        }
    }

    pub(super) fn load(&self) -> &Arc<Load> {
        &self.load
    }

    /// Returns the number of open streams.
    pub(super) fn open_streams(&self) -> usize {
        self.open.get()
    }

    /// Writes the line of a request that did not reach the module.
    pub(super) fn unfiltered(&self, request: &lines::Request, status: u16, details: &str) {
        let closed = ClosedStream { status, details: details.to_owned(), ..ClosedStream::default() };
        self.lines.write(&lines::line(request, &closed, Duration::ZERO));
    }

    /// Opens a stream. This always succeeds: while the VM is dead, each event fails.
    pub(super) fn open(self: &Rc<Gate>, info: StreamInfo, request: lines::Request) -> (Guard, Mail) {
        self.revive();
        let opened = self.vm.borrow_mut().open(info);
        let (to_request, request_mail) = unbounded_channel();
        let (to_response, response_mail) = unbounded_channel();
        let id = match opened {
            Ok(id) => {
                let mailboxes = Mailboxes { request: to_request, response: to_response.clone() };
                self.waiting.borrow_mut().insert(id, mailboxes);
                Some(id)
            }
            Err(error) => {
                self.trapped(&error);
                None
            }
        };
        self.open.set(self.open.get() + 1);
        let stream = Stream {
            gate: Rc::clone(self),
            id,
            generation: self.generation.get(),
            began: Instant::now(),
            request,
            answered: Cell::new(false),
            closed: Cell::new(false),
            pump: RefCell::default(),
        };
        let mail = Mail { request: request_mail, response: response_mail, to_response };
        (Guard::new(stream), mail)
    }

    /// Switches to the process's current configuration.
    pub(super) fn reconfigure(&self) -> Result<(), StartError> {
        // A VM that trapped gets the new configuration when it is created again.
        let dead = self.vm.borrow().is_dead();
        let result = if dead { Ok(()) } else { self.vm.borrow_mut().reconfigure() };
        self.after();
        result
    }

    /// Runs the VM's ticks for as long as it is polled.
    pub(super) async fn tick(&self) {
        loop {
            let Some(period) = self.tick_period.get() else {
                self.ticks.notified().await;
                continue;
            };
            tokio::select! {
                () = tokio::time::sleep(period) => {
                    let ticked = self.vm.borrow_mut().tick();
                    if let Err(error) = ticked {
                        self.trapped(&error);
                    }
                    self.after();
                }
                () = self.ticks.notified() => {}
            }
        }
    }

    /// Delivers the response to a call that the VM made; `None` if it failed.
    pub(super) fn called(&self, token: u32, generation: u64, response: Option<HttpCallResponse>) {
        if generation != self.generation.get() || self.vm.borrow().is_dead() {
            return;
        }
        let delivered = match response {
            Some(response) => self.vm.borrow_mut().callout_response(token, response),
            None => self.vm.borrow_mut().callout_failed(token),
        };
        if let Err(error) = delivered {
            self.trapped(&error);
        }
        self.after();
    }

    /// Marks the server as draining: streams that are closed from now on end because of it.
    pub(super) fn drain(&self) {
        self.draining.set(true);
    }

    /// Delivers the effects of a callback on other streams.
    fn after(&self) {
        let (calls, resumed, period) = {
            let mut vm = self.vm.borrow_mut();
            (vm.take_callouts(), vm.take_resumed(), vm.tick_period())
        };
        self.outbox.leave(calls, self.generation.get());
        for resumed in resumed {
            if let Some(mailboxes) = self.waiting.borrow().get(&resumed.stream) {
                let mailbox = match resumed.direction {
                    Direction::Request => &mailboxes.request,
                    Direction::Response => &mailboxes.response,
                };
                // A receiver that is gone belongs to a stream that is about to close.
                let _ = mailbox.send(resumed.flow);
            }
        }
        if self.tick_period.replace(period) != period {
            self.ticks.notify_one();
        }
    }

    fn trapped(&self, error: &VmError) {
        if matches!(error, VmError::Trapped { .. }) {
            eprintln!("tollgate: {error}; this worker's streams are reset, shared data is kept");
            self.waiting.borrow_mut().clear();
        }
    }

    /// Creates the VM again if it is dead and the last restart was not just now.
    fn revive(&self) {
        if !self.vm.borrow().is_dead() || self.reloaded.get().is_some_and(|at| at.elapsed() < RELOAD_PAUSE) {
            return;
        }
        self.reloaded.set(Some(Instant::now()));
        let reloaded = self.vm.borrow_mut().reload();
        match reloaded {
            Ok(()) => {
                self.generation.set(self.generation.get() + 1);
                self.after();
            }
            Err(error) => eprintln!("tollgate: the filter cannot be restarted: {error}"),
        }
    }
}

/// One request in the VM.
pub(super) struct Stream {
    gate: Rc<Gate>,
    /// `None` if the VM was dead.
    id: Option<StreamId>,
    generation: u64,
    began: Instant,
    request: lines::Request,
    /// True after the response head is sent: from then on an error can only reset the connection.
    answered: Cell<bool>,
    closed: Cell<bool>,
    pump: RefCell<Option<AbortHandle>>,
}

impl Stream {
    pub(super) fn request_headers(&self, headers: HeaderMap, end: bool) -> Flow {
        self.event(|vm, id| vm.request_headers(id, headers, end))
    }

    pub(super) fn request_body(&self, chunk: &[u8], end: bool) -> Flow {
        self.event(|vm, id| vm.request_body(id, chunk, end))
    }

    pub(super) fn request_trailers(&self, trailers: HeaderMap) -> Flow {
        self.event(|vm, id| vm.request_trailers(id, trailers))
    }

    pub(super) fn response_headers(&self, headers: HeaderMap, end: bool) -> Flow {
        self.event(|vm, id| vm.response_headers(id, headers, end))
    }

    pub(super) fn response_body(&self, chunk: &[u8], end: bool) -> Flow {
        self.event(|vm, id| vm.response_body(id, chunk, end))
    }

    pub(super) fn response_trailers(&self, trailers: HeaderMap) -> Flow {
        self.event(|vm, id| vm.response_trailers(id, trailers))
    }

    /// Sends a response of the server's own, which the module sees like any other.
    pub(super) fn reply(&self, status: u16, text: &str, details: &str) -> Flow {
        self.event(|vm, id| vm.reply(id, status, text, details))
    }

    /// Sends a 503 of the server's own, with `Retry-After`.
    pub(super) fn reply_busy(&self, text: &str, details: &str) -> Flow {
        let mut flow = self.reply(503, text, details);
        if let Flow::Reply(reply) = &mut flow {
            reply.headers.set("retry-after", "1");
        }
        flow
    }

    pub(super) fn load(&self) -> &Arc<Load> {
        self.gate.load()
    }

    /// Records that the client has received a status.
    pub(super) fn answered(&self) {
        self.answered.set(true);
    }

    /// Returns true once the client has received a status.
    pub(super) fn is_answered(&self) -> bool {
        self.answered.get()
    }

    /// Aborts the task that sends the rest of the request when the stream ends.
    pub(super) fn pumped_by(&self, pump: AbortHandle) {
        *self.pump.borrow_mut() = Some(pump);
    }

    fn event(&self, call: impl FnOnce(&mut Vm, StreamId) -> Result<Flow, VmError>) -> Flow {
        let Some(id) = self.id.filter(|_| self.generation == self.gate.generation.get()) else {
            return self.broken();
        };
        let outcome = call(&mut self.gate.vm.borrow_mut(), id);
        self.gate.after();
        outcome.unwrap_or_else(|error| {
            self.gate.trapped(&error);
            self.broken()
        })
    }

    /// Returns the action for a stream whose VM is gone.
    fn broken(&self) -> Flow {
        if self.answered.get() {
            return Flow::Reset;
        }
        let body = b"the filter failed and is being restarted\n".to_vec();
        let headers = HeaderMap::from([
            (":status", "503"),
            ("content-type", "text/plain"),
            ("content-length", &body.len().to_string()),
        ]);
        Flow::Reply(LocalReply { status: 503, headers, body, details: "filter_trapped".to_owned() })
    }

    fn close(&self, ending: &Ending) {
        if self.closed.replace(true) {
            return;
        }
        if let Some(pump) = self.pump.take() {
            pump.abort();
        }
        let gone =
            ClosedStream { status: 503, details: "filter_trapped".to_owned(), ..ClosedStream::default() };
        let closed = match self.id.filter(|_| self.generation == self.gate.generation.get()) {
            None => gone,
            Some(id) => {
                self.gate.waiting.borrow_mut().remove(&id);
                let closed = self.gate.vm.borrow_mut().close(id, ending);
                self.gate.after();
                closed.unwrap_or_else(|error| {
                    self.gate.trapped(&error);
                    gone
                })
            }
        };
        self.gate.open.set(self.gate.open.get().saturating_sub(1));
        self.gate.lines.write(&lines::line(&self.request, &closed, self.began.elapsed()));
    }
}

/// Owner of a stream, which is closed exactly once: explicitly or on drop.
pub(super) struct Guard {
    stream: Rc<Stream>,
    complete: Cell<bool>,
}

impl Guard {
    fn new(stream: Stream) -> Guard {
        Guard { stream: Rc::new(stream), complete: Cell::new(false) }
    }

    pub(super) fn stream(&self) -> &Rc<Stream> {
        &self.stream
    }

    /// Marks the exchange as complete, so that a later drop is not an error.
    pub(super) fn complete(&self) {
        self.complete.set(true);
    }

    pub(super) fn close(&self, ending: &Ending) {
        self.stream.close(ending);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let ending = if self.complete.get() {
            Ending::Complete
        } else if self.stream.gate.draining.get() {
            Ending::Drain
        } else {
            Ending::ClientGone
        };
        self.stream.close(&ending);
    }
}
