//! The root context: a configuration, read in pieces and shared by the streams that begin under it.

use std::cell::OnceCell;
use std::rc::Rc;

use proxy_wasm::traits::{Context, RootContext};
use proxy_wasm::types::{BufferType, LogLevel};
use tollgate_core::admission::{
    ActualUsage, AdmissionRequest, Admitted, Correction, NotAdmitted, Receipt, acquire, settle,
};
use tollgate_core::config::{ConfigLoader, GatewayConfig};
use tollgate_core::counters::NoRoom;
use tollgate_core::counters::{SharedDataKind, SharedDataStore};
use tollgate_core::exchange::series::Counter;
use tollgate_core::ledger::EndedCall;
use tollgate_core::time::Now;

use crate::capabilities::{self, SHORT_TICKS};
use crate::held_bodies::{Bound, HeldBodies};
use crate::host::{self, Shared};
use crate::http_context::HttpFilter;
use crate::management::Management;
use crate::metrics::Metrics;
use crate::pending_responses::PendingResponses;
use crate::settlement_queue::SettlementQueue;
use crate::shared_counters::SharedCounters;

/// The number of bytes of the configuration that are in memory at once.
const PIECE: usize = 64 * 1024;

/// The error for a host whose shared data is [`SharedDataKind::InsertIfAbsent`].
const UNSUPPORTED: &str = "the configuration is refused: version 0 does not overwrite in this host's shared data, as in \
                           nginx with WasmX (ngx_wasm_module), which is not supported: a request held for its body hangs \
                           for ever, and removed headers are still sent upstream";

/// A configuration in force, shared by its streams.
pub struct Plugin {
    /// The configuration.
    pub gateway: Rc<GatewayConfig>,
    /// The kind of the host's shared data, which is never [`SharedDataKind::InsertIfAbsent`].
    pub shared_data: SharedDataKind,
    /// Counters.
    pub metrics: Rc<Metrics>,
    /// Changes of the policy. `None`: it does not change.
    #[cfg_attr(feature = "bare", allow(dead_code, reason = "always `None`"))]
    pub management: Option<Management>,
    /// Counters that a fleet shares. `None`: they are those of this process.
    pub shared: Option<SharedCounters>,
    settlements: Rc<SettlementQueue>,
    held: Rc<HeldBodies>,
    /// Responses for streams that wait.
    #[cfg_attr(feature = "bare", allow(dead_code, reason = "no stream waits"))]
    pub responses: Rc<PendingResponses>,
}

impl Plugin {
    /// The counters in the host's shared data.
    pub fn counters(&self) -> SharedDataStore<Shared> {
        SharedDataStore::new(Shared, self.shared_data)
    }

    /// The present moment, of which the wall clock was read before. Windows follow the wall clock on a host whose VMs
    /// share no monotonic one.
    pub fn moment(&self, wall: u64) -> Now {
        Now { wall, monotonic: host::monotonic(self.shared_data).unwrap_or(wall) }
    }

    /// Adds bytes of a body that a stream holds from now on; an error if there is no room for them.
    pub fn hold(&self, bytes: u64, wall: u64) -> Result<(), NoRoom> {
        self.held.add(self.bound(), bytes, wall)
    }

    /// Removes bytes of a body that a stream no longer holds.
    pub fn let_go(&self, bytes: u64) {
        self.held.remove(self.bound(), bytes);
    }

    fn bound(&self) -> Bound<'_> {
        let GatewayConfig { held_bodies, max_held, .. } = &*self.gateway;
        Bound { kind: self.shared_data, name: held_bodies, max: *max_held }
    }

    /// Decides the admission of a stream's request. `None`: the stream waits for the decision.
    pub fn admit(
        &self,
        context: u32,
        request: AdmissionRequest,
        now: Now,
    ) -> Option<Result<Admitted, NotAdmitted>> {
        if let Some(shared) = &self.shared {
            return shared.admit(self, context, request, now);
        }
        let mut counters = self.counters();
        let outcome = acquire(&mut counters, request, now);
        self.metrics.add(Counter::Retries, counters.conflicts().into());
        Some(outcome)
    }

    /// Forgets the admission that a stream waited for, which has ended.
    pub fn cancel(&self, context: u32) {
        if let Some(shared) = &self.shared {
            shared.cancel(self, context);
        }
    }

    /// Settles an admission.
    pub fn settle(&self, receipt: Receipt, actual: ActualUsage) {
        let mut counters = self.counters();
        let corrections = match &self.shared {
            Some(shared) => shared.settle(&mut counters, receipt, actual),
            None => settle(&mut counters, receipt, actual),
        };
        self.metrics.add(Counter::Retries, counters.conflicts().into());
        self.queue(corrections);
    }

    /// Counts a call that has ended, for the usage that the management API shows.
    pub fn count(&self, call: EndedCall) {
        let counted = self.settlements.usage.count(self.shared_data, &self.gateway.ledger, call);
        if counted.is_err() {
            self.metrics.count(Counter::UsageUncounted);
        }
        let (Ok(conflicts) | Err(conflicts)) = counted;
        self.metrics.add(Counter::Retries, conflicts.into());
    }

    /// Queues corrections for the next tick.
    pub fn queue(&self, corrections: Vec<Correction>) {
        if !corrections.is_empty() {
            self.metrics.count(Counter::CorrectionsKept);
            self.settlements.extend((self.shared_data, self.shared.is_some()), corrections);
        }
    }
}

/// The root context of a configuration.
pub struct RootFilter {
    id: u32,
    plugin: Option<Rc<Plugin>>,
    settlements: Rc<SettlementQueue>,
    held: Rc<HeldBodies>,
    responses: Rc<PendingResponses>,
    metrics: Rc<OnceCell<Rc<Metrics>>>,
    ticks: u32,
}

impl RootFilter {
    /// Returns a root context without a configuration.
    pub fn new(
        id: u32,
        settlements: Rc<SettlementQueue>,
        held: Rc<HeldBodies>,
        responses: Rc<PendingResponses>,
        metrics: Rc<OnceCell<Rc<Metrics>>>,
    ) -> Self {
        RootFilter { id, plugin: None, settlements, held, responses, metrics, ticks: 0 }
    }

    /// Returns the context of a stream that begins under this configuration.
    pub fn http_filter(&self, id: u32) -> HttpFilter {
        HttpFilter::new(id, self.plugin.clone())
    }

    /// Reads the configuration. Errors are logged.
    fn load() -> Result<GatewayConfig, ()> {
        let mut loader = ConfigLoader::default();
        let mut start = 0;
        loop {
            let piece = host::buffer(BufferType::PluginConfiguration, start, PIECE).unwrap_or_default();
            loader.push(&piece);
            start += piece.len();
            if piece.len() < PIECE {
                break;
            }
        }
        let (gateway, warnings) = loader.finish().map_err(|errors| {
            for error in &errors {
                host::log(LogLevel::Error, &error.to_string());
            }
        })?;
        for warning in &warnings {
            host::log(LogLevel::Warn, &warning.to_string());
        }
        Ok(gateway)
    }
}

impl Context for RootFilter {
    fn on_http_call_response(&mut self, token: u32, _: usize, body_size: usize, _: usize) {
        if let Some(plugin) = &self.plugin {
            plugin.on_callout_response(token, body_size);
        }
    }
}

impl RootContext for RootFilter {
    /// Loads the configuration. Returns false if it has an error or the host is not supported; the one in force
    /// then stays.
    fn on_configure(&mut self, _: usize) -> bool {
        let loaded =
            Self::load().and_then(|mut gateway| Management::restrict(&mut gateway).map(|()| gateway));
        let Ok(gateway) = loaded else {
            host::log(LogLevel::Error, "the configuration is not loaded: see the errors above");
            return false;
        };
        let kind = SharedDataStore::<Shared>::probe(&mut Shared, &gateway.prefix);
        if kind == SharedDataKind::InsertIfAbsent {
            host::log(LogLevel::Error, UNSUPPORTED);
            return false;
        }
        // Not earlier: some hosts have no metrics before.
        let metrics = Rc::clone(self.metrics.get_or_init(|| Rc::new(Metrics::new())));
        metrics.follow(kind);
        capabilities::announce(kind, &gateway, &metrics);
        let management = Management::open(&gateway, &mut SharedDataStore::new(Shared, kind), self.id);
        let shared = SharedCounters::open(&gateway, self.id);
        self.plugin = Some(Rc::new(Plugin {
            gateway: Rc::new(gateway),
            shared_data: kind,
            metrics,
            management,
            shared,
            settlements: Rc::clone(&self.settlements),
            held: Rc::clone(&self.held),
            responses: Rc::clone(&self.responses),
        }));
        true
    }

    /// Runs once every tick period, in every VM.
    fn on_tick(&mut self) {
        if let Some(plugin) = &self.plugin {
            if let Some(shared) = &plugin.shared {
                shared.look(plugin);
                self.ticks = self.ticks.wrapping_add(1);
                if !self.ticks.is_multiple_of(SHORT_TICKS) {
                    return;
                }
            }
            plugin.metrics.follow(plugin.shared_data);
            plugin.metrics.add(Counter::Retries, self.settlements.retry().into());
            plugin.held.tick(plugin.bound());
            plugin.tick();
            if let Some(shared) = &plugin.shared {
                shared.tick(plugin);
            }
        }
    }
}
