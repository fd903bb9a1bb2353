//! One VM: its life from start to trap, its root contexts, ticks, queues and callouts.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::{Store, StoreLimitsBuilder};

use super::module::Exports;
use super::process::Shared;
use super::schedule::Turn;
use super::state::{HttpCall, HttpCallResponse, Phase, Root, RootEnd, VmState};
use super::{Direction, Flow, HostCall, StartError, StreamId, VmError};

/// A stream that continued (or was answered, or reset) outside its own events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resumed {
    /// The stream.
    pub stream: StreamId,
    /// The direction that continues.
    pub direction: Direction,
    /// The action to carry out.
    pub flow: Flow,
}

/// A running instance of the module. `Send`, not `Sync`: it belongs to one thread at a time, as in every real
/// host.
pub struct Vm {
    pub(crate) store: Store<VmState>,
    pub(crate) exports: Exports,
    pub(crate) resumed: Vec<Resumed>,
    /// The callback in which the module trapped.
    pub(crate) dead: Option<&'static str>,
    next_context: u32,
}

impl Vm {
    /// Creates an instance and starts it with a configuration.
    pub(crate) fn start(
        shared: Arc<Shared>,
        index: Option<u32>,
        configuration: Arc<[u8]>,
    ) -> Result<Vm, StartError> {
        let limits = StoreLimitsBuilder::new().memory_size(shared.options.memory_limit).build();
        let random =
            shared.options.random_seed.map(|seed| seed ^ u64::from(index.map_or(0, |index| index + 1)));
        let engine = shared.module.compiled().engine().clone();
        let instance_pre = shared.instance.clone();
        let mut store = Store::new(&engine, VmState::new(shared, index, limits, random));
        store.limiter(|state| &mut state.limits);
        let instance = instance_pre
            .instantiate(&mut store)
            .map_err(|error| StartError::Instance(format!("{error:#}")))?;
        let exports = Exports::find(&instance, &mut store)?;
        store.data_mut().memory = instance.get_memory(&mut store, "memory");
        store.data_mut().allocate = Some(exports.allocate.clone());
        let mut vm = Vm { store, exports, resumed: Vec::new(), dead: None, next_context: 1 };
        if let Some(initialize) = vm.exports.initialize.clone() {
            vm.enter(0, "_initialize", |store| initialize.call(store, ()))?;
        }
        vm.add_root(configuration, true)?;
        Ok(vm)
    }

    /// Replaces this instance by a new one, as Envoy does after a trap under `FAIL_RELOAD`: streams and all
    /// other state of the instance are gone, shared data stays.
    ///
    /// # Errors
    /// As at the start. The VM then stays dead.
    pub fn reload(&mut self) -> Result<(), StartError> {
        let shared = Arc::clone(&self.store.data().shared);
        let configuration = shared.configuration();
        let turn = self.store.data().turn.clone();
        let mut fresh = Vm::start(shared, self.store.data().index, configuration)?;
        fresh.set_turn(turn);
        *self = fresh;
        Ok(())
    }

    /// Switches to the current configuration of the process: a new root context in the same VM. Open streams
    /// keep the old one, which is deleted after the last of them.
    ///
    /// # Errors
    /// If the module rejects it; the previous root context then stays in use.
    pub fn reconfigure(&mut self) -> Result<(), StartError> {
        self.alive()?;
        let configuration = self.store.data().shared.configuration();
        self.store.data_mut().phase = Phase::Starting;
        self.add_root(configuration, false)?;
        self.retire_roots()?;
        Ok(())
    }

    /// Returns true if the module has trapped: answer 503 until [`Vm::reload`].
    pub fn is_dead(&self) -> bool {
        self.dead.is_some()
    }

    /// Calls `on_tick` of every root context that has a tick period.
    ///
    /// # Errors
    /// If the module traps.
    pub fn tick(&mut self) -> Result<(), VmError> {
        self.alive()?;
        let Some(tick) = self.exports.tick.clone() else {
            return Ok(());
        };
        let ticking = self.store.data().roots.iter().filter(|root| !root.tick_period.is_zero());
        for root in ticking.map(|root| root.id).collect::<Vec<_>>() {
            self.enter(root, "proxy_on_tick", |store| tick.call(store, root))?;
        }
        self.retire_roots()
    }

    /// Returns the period of [`Vm::tick`]: the shortest one of all root contexts.
    pub fn tick_period(&self) -> Option<Duration> {
        let periods = self.store.data().roots.iter().map(|root| root.tick_period);
        periods.filter(|period| !period.is_zero()).min()
    }

    /// Calls `on_queue_ready` for each shared queue of this VM that has items.
    ///
    /// # Errors
    /// If the module traps.
    pub fn deliver_queues(&mut self) -> Result<(), VmError> {
        self.alive()?;
        let Some(ready) = self.exports.queue_ready.clone() else {
            return Ok(());
        };
        for (root, queue) in self.store.data().queues.clone() {
            if self.store.data().shared.data.queue_length(queue) > 0 {
                self.enter(root, "proxy_on_queue_ready", |store| ready.call(store, (root, queue)))?;
            }
        }
        Ok(())
    }

    /// Returns the HTTP calls that the module dispatched since the last call. Call it after every event.
    pub fn take_callouts(&mut self) -> Vec<HttpCall> {
        std::mem::take(&mut self.store.data_mut().calls)
    }

    /// Returns the streams that changed outside their own events since the last call. Call it after ticks,
    /// callout responses and queue deliveries.
    pub fn take_resumed(&mut self) -> Vec<Resumed> {
        std::mem::take(&mut self.resumed)
    }

    /// Delivers the response to a callout.
    ///
    /// # Errors
    /// If the module traps, or the token is unknown.
    pub fn callout_response(&mut self, token: u32, response: HttpCallResponse) -> Result<(), VmError> {
        let sizes = (response.headers.len(), response.body.len(), response.trailers.len());
        self.store.data_mut().callout = Some(response);
        let result = self.finish_callout(token, sizes);
        self.store.data_mut().callout = None;
        result
    }

    /// Reports that a callout failed or timed out: calls `on_http_call_response` with nothing in it, as Envoy
    /// does.
    ///
    /// # Errors
    /// If the module traps, or the token is unknown.
    pub fn callout_failed(&mut self, token: u32) -> Result<(), VmError> {
        self.finish_callout(token, (0, 0, 0))
    }

    fn finish_callout(&mut self, token: u32, sizes: (usize, usize, usize)) -> Result<(), VmError> {
        self.alive()?;
        let root = self.store.data_mut().open_calls.remove(&token).ok_or(VmError::UnknownCallout(token))?;
        let Some(callback) = self.exports.http_call_response.clone() else {
            return Ok(());
        };
        let (headers, body, trailers) = (sizes.0 as u32, sizes.1 as u32, sizes.2 as u32);
        self.enter(root, "proxy_on_http_call_response", |store| {
            callback.call(store, (root, token, headers, body, trailers))
        })
    }

    /// Returns the number of host calls of one kind.
    pub fn count(&self, call: HostCall) -> u64 {
        self.store.data().counts[call as usize]
    }

    /// Returns the number of all host calls.
    pub fn total_calls(&self) -> u64 {
        self.store.data().counts.iter().sum()
    }

    /// Returns the size of the module's memory, in bytes; it never shrinks.
    pub fn memory_size(&self) -> usize {
        self.store.data().memory.map_or(0, |memory| memory.data_size(&self.store))
    }

    /// Returns the number of open streams.
    pub fn open_streams(&self) -> usize {
        self.store.data().streams.len()
    }

    pub(crate) fn set_turn(&mut self, turn: Option<Turn>) {
        self.store.data_mut().turn = turn;
    }

    pub(crate) fn alive(&self) -> Result<(), VmError> {
        match self.dead {
            Some(callback) => Err(VmError::Dead { callback }),
            None => Ok(()),
        }
    }

    pub(crate) fn next_context(&mut self) -> u32 {
        let id = self.next_context;
        self.next_context += 1;
        id
    }

    /// Returns the root context for new streams.
    pub(crate) fn newest_root(&self) -> u32 {
        self.store.data().roots.last().map_or(0, |root| root.id)
    }

    /// Runs a callback of the module. A trap ends the VM and all of its streams, without a last callback.
    pub(crate) fn enter<R>(
        &mut self,
        context: u32,
        callback: &'static str,
        call: impl FnOnce(&mut Store<VmState>) -> wasmtime::Result<R>,
    ) -> Result<R, VmError> {
        let state = self.store.data_mut();
        state.current = context;
        state.effective = None;
        match call(&mut self.store) {
            Ok(result) => {
                if !self.store.data().touched.is_empty() {
                    self.carry_out_touched(context)?;
                }
                Ok(result)
            }
            Err(error) => {
                self.dead = Some(callback);
                let state = self.store.data_mut();
                state.streams.clear();
                state.calls.clear();
                state.open_calls.clear();
                state.touched.clear();
                for root in &mut state.roots {
                    root.tick_period = Duration::ZERO;
                }
                let reason = match error.downcast_ref::<wasmtime::Trap>() {
                    Some(trap) => trap.to_string(),
                    None => error.root_cause().to_string(),
                };
                Err(VmError::Trapped { callback, reason })
            }
        }
    }

    /// Creates a root context with a configuration; the first one also starts the VM.
    fn add_root(&mut self, configuration: Arc<[u8]>, first: bool) -> Result<(), StartError> {
        let id = self.next_context();
        let size = configuration.len() as u32;
        let vm_size = self.store.data().shared.options.vm_configuration.len() as u32;
        let root = Root { id, configuration, tick_period: Duration::ZERO, streams: 0, end: RootEnd::No };
        self.store.data_mut().roots.push(root);
        let accepted = self.bring_up(id, first.then_some(vm_size), size);
        self.store.data_mut().phase = Phase::Serving;
        if accepted.is_err() {
            self.store.data_mut().roots.retain(|root| root.id != id);
        }
        accepted
    }

    fn bring_up(&mut self, id: u32, vm_size: Option<u32>, size: u32) -> Result<(), StartError> {
        if let Some(create) = self.exports.context_create.clone() {
            self.enter(id, "proxy_on_context_create", |store| create.call(store, (id, 0)))?;
        }
        if let (Some(vm_size), Some(vm_start)) = (vm_size, self.exports.vm_start.clone()) {
            let started = self.enter(id, "proxy_on_vm_start", |store| vm_start.call(store, (id, vm_size)))?;
            if started == 0 {
                return Err(StartError::StartRefused);
            }
        }
        if let Some(configure) = self.exports.configure.clone() {
            let configured =
                self.enter(id, "proxy_on_configure", |store| configure.call(store, (id, size)))?;
            if configured == 0 {
                return Err(StartError::ConfigurationRefused);
            }
        }
        Ok(())
    }

    /// Ends the root contexts that were replaced by a newer one and have no open streams.
    pub(crate) fn retire_roots(&mut self) -> Result<(), VmError> {
        let newest = self.newest_root();
        let idle = self.store.data().roots.iter().filter(|root| root.id != newest && root.streams == 0);
        for id in idle.map(|root| root.id).collect::<Vec<_>>() {
            self.ask_to_end(id)?;
            if self.store.data_mut().root_mut(id).is_none_or(|root| root.end != RootEnd::Done) {
                continue;
            }
            if let Some(delete) = self.exports.delete.clone() {
                self.enter(id, "proxy_on_delete", |store| delete.call(store, id))?;
            }
            self.store.data_mut().roots.retain(|root| root.id != id);
            self.store.data_mut().queues.retain(|(root, _)| *root != id);
        }
        Ok(())
    }

    /// Calls `on_done` once. A context that is not done yet calls `proxy_done` later.
    fn ask_to_end(&mut self, id: u32) -> Result<(), VmError> {
        match self.store.data_mut().root_mut(id) {
            Some(root) if root.end == RootEnd::No => root.end = RootEnd::Asked,
            _ => return Ok(()),
        }
        let done = match self.exports.done.clone() {
            Some(on_done) => self.enter(id, "proxy_on_done", |store| on_done.call(store, id))? != 0,
            None => true,
        };
        if let Some(root) = self.store.data_mut().root_mut(id).filter(|_| done) {
            root.end = RootEnd::Done;
        }
        Ok(())
    }
}
