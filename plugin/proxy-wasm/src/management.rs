//! Management of the policy: carries out the effects that the core's policy store returns, and hands its responses to the
//! streams that wait for them.

use std::cell::{Cell, RefCell};

use proxy_wasm::types::{BufferType, LogLevel, MapType, Status};
use tollgate_core::admin::{AdminRequest, RequestInputs};
use tollgate_core::config::GatewayConfig;
use tollgate_core::counters::{HostStatus, SharedDataStore};
use tollgate_core::etcd::EtcdCall;
use tollgate_core::exchange::series::Counter;
use tollgate_core::http::headers::Headers;
use tollgate_core::ledger;
use tollgate_core::replication::{Effect, PolicyStore};

use crate::host::{self, Shared};
use crate::pending_responses::Awaited;
use crate::root_context::Plugin;

/// The property under which Envoy's `jwt_authn` filter stores the payloads of verified tokens.
const JWT: [&str; 3] = ["metadata", "filter_metadata", "envoy.filters.http.jwt_authn"];

/// The status of a host call that the host does not implement. The SDK's `Status` has no value for it.
const UNIMPLEMENTED: HostStatus = HostStatus(12);

/// The status of a callout to an unknown cluster.
const BAD_ARGUMENT: HostStatus = HostStatus(Status::BadArgument as u32);

/// Changes of one configuration's policy.
pub struct Management {
    store: RefCell<PolicyStore>,
    /// The root context, which makes the callouts: those of a stream would end with it.
    root: u32,
    /// Callouts under way: the host's token, and the number of the policy store.
    calls: RefCell<Vec<(u32, u32)>>,
    /// True once etcd was read in this process, or if there is none.
    read: Cell<bool>,
    /// True once a warning about missing callouts was logged.
    without_calls: Cell<bool>,
}

impl Management {
    /// Reads the password of etcd from the environment, if the configuration names a variable. Errors are logged.
    pub fn restrict(gateway: &mut GatewayConfig) -> Result<(), ()> {
        let Some(etcd) = &mut gateway.etcd else { return Ok(()) };
        etcd.read_password(host::environment).map_err(|error| host::log(LogLevel::Error, &error))
    }

    /// Opens the policy store that the VMs of the process share. A configuration without management API has it too:
    /// changes made through that of another one hold here.
    pub fn open(
        gateway: &GatewayConfig,
        counters: &mut SharedDataStore<Shared>,
        root: u32,
    ) -> Option<Management> {
        // The id of this VM among those that share a lease. A host without random numbers has no etcd either.
        let vm = host::random().map_or(0, u64::from_le_bytes);
        let (store, error) = PolicyStore::open(counters, gateway, vm);
        // A host without shared data keeps no usage; it is logged as a missing capability.
        let _ = ledger::begin(counters, &gateway.ledger, host::wall());
        if let Some(error) = error
            && (gateway.admin.is_some() || gateway.etcd.is_some())
        {
            host::log(LogLevel::Warn, &format!("the policy cannot be changed here ({error:?}): {error}"));
        }
        for line in [store.dropped(), store.unapplied(gateway)].into_iter().flatten() {
            host::log(LogLevel::Warn, &line);
        }
        Some(Management {
            store: RefCell::new(store),
            root,
            calls: RefCell::default(),
            read: Cell::new(gateway.etcd.is_none()),
            without_calls: Cell::default(),
        })
    }
}

impl Management {
    /// Removes a callout that has ended, and returns the number of the policy store.
    fn remove_call(&self, token: u32) -> Option<u32> {
        let mut calls = self.calls.borrow_mut();
        let at = calls.iter().position(|(known, _)| *known == token)?;
        Some(calls.swap_remove(at).1)
    }
}

impl Plugin {
    /// Applies committed changes, before a request is decided.
    pub fn refresh(&self) {
        let Some(management) = &self.management else { return };
        if management.store.borrow_mut().refresh(&mut self.counters(), &self.gateway).is_err() {
            self.metrics.count(Counter::DocumentsUnavailable);
        }
    }

    /// Returns true if the policy is in etcd and was never read in this process.
    pub fn awaits_policy(&self) -> bool {
        let Some(management) = &self.management else { return false };
        if !management.read.get() {
            management.read.set(!management.store.borrow().awaits_etcd(&mut self.counters()));
        }
        !management.read.get()
    }

    /// Processes a management request. Its response is added to [`Plugin::responses`], now or after it is stored.
    pub fn manage(&self, context: u32, request: AdminRequest) {
        let Some(management) = &self.management else { return };
        let effects = management.store.borrow_mut().manage(
            &mut self.counters(),
            &self.gateway,
            (context, request),
            &self.inputs(),
        );
        self.carry_out(management, context, effects);
    }

    /// Polls etcd, retries and completes writes, and posts usage.
    pub fn tick(&self) {
        let Some(management) = &self.management else { return };
        let effects = management.store.borrow_mut().tick(&mut self.counters(), &self.gateway, &self.inputs());
        self.carry_out(management, management.root, effects);
    }

    /// Reads the response to a callout.
    pub fn on_callout_response(&self, token: u32, body_size: usize) {
        let response = || {
            let map = host::header_map(MapType::HttpCallResponseHeaders).unwrap_or_default();
            let fields = host::fields(&map);
            let status = Headers::new(&fields).text(":status").and_then(|status| status.parse().ok());
            let body = host::buffer(BufferType::HttpCallResponseBody, 0, body_size).unwrap_or_default();
            (status.unwrap_or(0), body)
        };
        if let Some(shared) = &self.shared
            && shared.on_callout_response(self, token, response)
        {
            return;
        }
        let Some(management) = &self.management else { return };
        let Some(slot) = management.remove_call(token) else { return };
        let (status, body) = response();
        self.call_ended(management, management.root, (slot, status, &body));
    }

    fn call_ended(&self, management: &Management, context: u32, call: (u32, u16, &[u8])) {
        let effects = management.store.borrow_mut().complete_call(
            &mut self.counters(),
            &self.gateway,
            call,
            &self.inputs(),
        );
        self.carry_out(management, context, effects);
    }

    /// Carries out effects in a callback of `context`.
    fn carry_out(&self, management: &Management, context: u32, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Answer(waiting, reply) => self.responses.push(waiting, Awaited::Managed(reply)),
                Effect::Audit(line) => host::log(LogLevel::Info, &line),
                Effect::Warn(line) => {
                    self.metrics.count(Counter::DocumentsTrouble);
                    host::log(LogLevel::Warn, &line);
                }
                Effect::Call { slot, call, timeout } => {
                    let _ = host::set_effective_context(management.root);
                    let token = self.post(&call, timeout);
                    let _ = host::set_effective_context(context);
                    match token {
                        Some(token) => management.calls.borrow_mut().push((token, slot)),
                        None => self.call_ended(management, context, (slot, 0, &[])),
                    }
                }
            }
        }
    }

    /// The revision of the policy that requests are decided on.
    pub fn policy_revision(&self) -> u64 {
        self.management.as_ref().map_or(0, |management| management.store.borrow().revision())
    }

    /// Sends a call to etcd. Returns the token of its response.
    pub fn post(&self, call: &EtcdCall, timeout: u32) -> Option<u32> {
        let cluster = &self.gateway.etcd.as_ref()?.cluster;
        let mut fields = vec![("content-type", "application/json")];
        fields.extend(call.token.as_deref().map(|token| ("authorization", token)));
        let posted = host::post(cluster, call.path, &fields, call.body.as_bytes(), timeout);
        if let (Some(management), Err(status)) = (&self.management, posted)
            && matches!(status, UNIMPLEMENTED | BAD_ARGUMENT)
            && !management.without_calls.replace(true)
        {
            let why = if status == UNIMPLEMENTED {
                "no callouts".into()
            } else {
                format!("no cluster `{cluster}` (`/fleet/cluster`)")
            };
            let effect = "etcd cannot be reached, its policy is not loaded and every change is rejected";
            host::log(LogLevel::Warn, &format!("{why}: {effect}"));
        }
        posted.ok()
    }

    fn inputs(&self) -> RequestInputs {
        PolicyStore::request_inputs(&self.gateway, self.moment(host::wall()), host::random())
    }

    /// The caller's claim from a JWT that the host has verified.
    pub fn subject(&self) -> Option<String> {
        let jwt = self.gateway.admin.as_ref()?.jwt.as_ref()?;
        let [first, second, third] = JWT;
        let claim = host::property(&[first, second, third, &jwt.metadata, &jwt.claim]).ok()?;
        String::from_utf8(claim).ok().filter(|claim| !claim.is_empty())
    }
}
