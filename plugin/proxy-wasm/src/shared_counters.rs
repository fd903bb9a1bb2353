//! Counters that a fleet shares: carries out the effects that the core's lease client returns, and hands its decisions to the
//! streams that wait for them.

use std::cell::RefCell;

use proxy_wasm::types::LogLevel;
use tollgate_core::admission::{ActualUsage, AdmissionRequest, Admitted, Correction, NotAdmitted, Receipt};
use tollgate_core::config::GatewayConfig;
use tollgate_core::counters::SharedDataStore;
use tollgate_core::exchange::series::Counter;
use tollgate_core::leases::{LeaseClient, LeaseEffect};
use tollgate_core::time::Now;

use crate::host::{self, Shared};
use crate::pending_responses::Awaited;
use crate::root_context::Plugin;

/// The shared counters of one configuration.
pub struct SharedCounters {
    client: RefCell<LeaseClient>,
    /// The root context, which makes the callouts: those of a stream would end with it.
    root: u32,
    /// Callouts under way: the host's token, and the number of the client.
    calls: RefCell<Vec<(u32, u32)>>,
}

impl SharedCounters {
    /// Opens the shared counters; `None`: the counters are those of this process.
    pub fn open(gateway: &GatewayConfig, root: u32) -> Option<SharedCounters> {
        // A host without random numbers has no etcd either.
        let vm = host::random().map_or(0, u64::from_le_bytes);
        let client = RefCell::new(LeaseClient::new(gateway, vm)?);
        Some(SharedCounters { client, root, calls: RefCell::default() })
    }

    /// Retries a correction of a slice. Returns it if it failed again.
    pub fn retry(store: &mut SharedDataStore<Shared>, correction: Correction) -> Option<Correction> {
        LeaseClient::retry(store, correction)
    }

    /// Settles an admission.
    pub fn settle(
        &self,
        store: &mut SharedDataStore<Shared>,
        receipt: Receipt,
        actual: ActualUsage,
    ) -> Vec<Correction> {
        LeaseClient::settle(store, receipt, actual)
    }

    /// Decides the admission of a stream's request. `None`: the stream waits for the decision.
    pub fn admit(
        &self,
        plugin: &Plugin,
        context: u32,
        request: AdmissionRequest,
        now: Now,
    ) -> Option<Result<Admitted, NotAdmitted>> {
        let mut effects = Vec::new();
        let mut counters = plugin.counters();
        let policy = plugin.policy_revision();
        let decided =
            self.client.borrow_mut().admit(&mut counters, (context, request), policy, now, &mut effects);
        plugin.metrics.add(Counter::Retries, counters.conflicts().into());
        if decided.is_none() {
            plugin.metrics.count(Counter::SharedWaits);
        }
        self.carry_out(plugin, context, effects);
        decided
    }

    /// Forgets a stream that waited and has ended.
    pub fn cancel(&self, plugin: &Plugin, context: u32) {
        let mut effects = Vec::new();
        self.client.borrow_mut().cancel(&mut plugin.counters(), context, &mut effects);
        self.carry_out(plugin, context, effects);
    }

    /// Decides about streams that have waited for too long.
    pub fn look(&self, plugin: &Plugin) {
        if !self.client.borrow().has_waiters() {
            return;
        }
        let mut effects = Vec::new();
        let now = plugin.moment(host::wall());
        self.client.borrow_mut().look(&mut plugin.counters(), now, &mut effects);
        self.carry_out(plugin, self.root, effects);
    }

    /// Renews the membership, and takes care of slices and of streams that wait.
    pub fn tick(&self, plugin: &Plugin) {
        let random = host::random().map(u128::from_le_bytes);
        let now = plugin.moment(host::wall());
        let inputs = (random, plugin.policy_revision());
        let effects = self.client.borrow_mut().tick(&mut plugin.counters(), inputs, now);
        self.carry_out(plugin, self.root, effects);
    }

    /// Reads the response to a callout. Returns false if it is not one of these.
    pub fn on_callout_response(
        &self,
        plugin: &Plugin,
        token: u32,
        response: impl FnOnce() -> (u16, Vec<u8>),
    ) -> bool {
        let slot = {
            let mut calls = self.calls.borrow_mut();
            let Some(at) = calls.iter().position(|(known, _)| *known == token) else { return false };
            calls.swap_remove(at).1
        };
        let (status, body) = response();
        self.call_ended(plugin, self.root, (slot, status, &body));
        true
    }

    fn call_ended(&self, plugin: &Plugin, context: u32, call: (u32, u16, &[u8])) {
        let (_, status, _) = call;
        if status != 200 {
            plugin.metrics.count(Counter::SharedCallsFailed);
        }
        let now = plugin.moment(host::wall());
        let effects = self.client.borrow_mut().answer(&mut plugin.counters(), call, now);
        self.carry_out(plugin, context, effects);
    }

    /// Carries out effects in a callback of `context`.
    fn carry_out(&self, plugin: &Plugin, context: u32, effects: Vec<LeaseEffect>) {
        for effect in effects {
            match effect {
                LeaseEffect::Decided(waiting, outcome) => {
                    plugin.responses.push(waiting, Awaited::Admission(outcome));
                }
                LeaseEffect::Queue(corrections) => plugin.queue(corrections),
                LeaseEffect::Note(line) => host::log(LogLevel::Info, &line),
                LeaseEffect::Warn(line) => host::log(LogLevel::Warn, &line),
                LeaseEffect::Call { slot, call, timeout } => {
                    plugin.metrics.count(Counter::SharedCalls);
                    let _ = host::set_effective_context(self.root);
                    let token = plugin.post(&call, timeout);
                    let _ = host::set_effective_context(context);
                    match token {
                        Some(token) => self.calls.borrow_mut().push((token, slot)),
                        None => self.call_ended(plugin, context, (slot, 0, &[])),
                    }
                }
            }
        }
    }
}
