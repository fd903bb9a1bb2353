//! Documents: what the keeper wants done is carried out, and what it answers goes to the streams that wait.

use std::cell::{Cell, RefCell};

use tollgate_core::admin::{AdminRequest, RequestInputs};
use tollgate_core::config::GatewayConfig;
use tollgate_core::counters::{HostStatus, SharedDataStore};
use tollgate_core::etcd::EtcdCall;
use tollgate_core::http::headers::Headers;
use tollgate_core::replication::{Effect, PolicyStore};

use crate::host::{self, Level, Map, Shared};
use crate::root::Plugin;

/// Where Envoy's jwt_authn filter leaves the payloads of the tokens that it has verified.
const JWT: [&str; 3] = ["metadata", "filter_metadata", "envoy.filters.http.jwt_authn"];

/// The status of a call that the host does not have.
const UNIMPLEMENTED: HostStatus = HostStatus(12);

/// The status of a call to a cluster that the host does not know.
const BAD_ARGUMENT: HostStatus = HostStatus(2);

/// The documents of one configuration, if they can change.
pub struct Documents {
    keeper: RefCell<PolicyStore>,
    /// The root context, which makes the calls: a call of a stream's own would end with it.
    root: u32,
    /// Calls on their way: the host's token, and the keeper's number.
    calls: RefCell<Vec<(u32, u32)>>,
    /// Whether the fleet's etcd was read in this process, or there is none.
    read: Cell<bool>,
    /// The host makes no such calls, and that has been said.
    without_calls: Cell<bool>,
}

impl Documents {
    /// Takes out of a configuration what this build does not do, which is nothing.
    #[allow(clippy::unnecessary_wraps, reason = "the build without management refuses some")]
    pub fn fit(_: &mut GatewayConfig) -> Result<(), ()> {
        Ok(())
    }

    /// Joins the other VMs of the process. `None` where nothing can change: neither a management API nor a fleet.
    pub fn open(
        gateway: &GatewayConfig,
        cells: &mut SharedDataStore<Shared>,
        root: u32,
    ) -> Option<Documents> {
        if gateway.admin.is_none() && gateway.etcd.is_none() {
            return None;
        }
        // Names this VM among those that it shares a lease with; a host without randomness has no fleet.
        let vm = host::random().map_or(0, u64::from_le_bytes);
        let (keeper, trouble) = PolicyStore::open(cells, gateway, vm);
        if let Some(trouble) = trouble {
            host::log(Level::Warning, &format!("the policy cannot be changed here ({trouble:?}): {trouble}"));
        }
        Some(Documents {
            keeper: RefCell::new(keeper),
            root,
            calls: RefCell::default(),
            read: Cell::new(gateway.etcd.is_none()),
            without_calls: Cell::default(),
        })
    }
}

impl Documents {
    /// The keeper's number of a call that has ended.
    fn took(&self, token: u32) -> Option<u32> {
        let mut calls = self.calls.borrow_mut();
        let at = calls.iter().position(|(known, _)| *known == token)?;
        Some(calls.swap_remove(at).1)
    }
}

impl Plugin {
    /// Makes the policy what was acknowledged last.
    pub fn refresh(&self) {
        let Some(documents) = &self.documents else { return };
        if documents.keeper.borrow_mut().refresh(&mut self.cells(), &self.gateway).is_err() {
            self.metrics.count("documents_unavailable");
        }
    }

    /// Whether etcd has the say and was never read in this process.
    pub fn awaits_fleet(&self) -> bool {
        let Some(documents) = &self.documents else { return false };
        if !documents.read.get() {
            documents.read.set(!documents.keeper.borrow().awaits_etcd(&mut self.cells()));
        }
        !documents.read.get()
    }

    /// Has a management request decided. The answer is among [`Plugin::answers`]: now, or once it is kept.
    pub fn manage(&self, context: u32, mut request: AdminRequest) {
        let Some(documents) = &self.documents else { return };
        request.subject = self.subject();
        let acts = documents.keeper.borrow_mut().manage(
            &mut self.cells(),
            &self.gateway,
            (context, request),
            &self.asked(),
        );
        self.carry_out(documents, context, acts);
    }

    /// Once every tick period.
    pub fn tick(&self) {
        let Some(documents) = &self.documents else { return };
        let acts = documents.keeper.borrow_mut().tick(&mut self.cells(), &self.gateway, &self.asked());
        self.carry_out(documents, documents.root, acts);
    }

    /// The answer to a call is there to be read.
    pub fn called(&self, token: u32, body_size: usize) {
        let Some(documents) = &self.documents else { return };
        let Some(slot) = documents.took(token) else { return };
        let map = host::head(Map::Callout).unwrap_or_default();
        let fields = host::fields(&map);
        let status =
            Headers::new(&fields).text(":status").and_then(|status| status.parse().ok()).unwrap_or(0);
        let body = host::buffer(host::Buffer::CalloutBody, 0, body_size).unwrap_or_default();
        self.answered(documents, documents.root, (slot, status, &body));
    }

    fn answered(&self, documents: &Documents, context: u32, call: (u32, u16, &[u8])) {
        let acts = documents.keeper.borrow_mut().complete_call(
            &mut self.cells(),
            &self.gateway,
            call,
            &self.asked(),
        );
        self.carry_out(documents, context, acts);
    }

    /// Carries out what the keeper wants, in the callback of `context`.
    fn carry_out(&self, documents: &Documents, context: u32, acts: Vec<Effect>) {
        for act in acts {
            match act {
                Effect::Answer(waiting, answered) => self.answers.keep(waiting, answered),
                Effect::Audit(line) => host::log(Level::Info, &line),
                Effect::Warn(line) => {
                    self.metrics.count("documents_trouble");
                    host::log(Level::Warning, &line);
                }
                Effect::Call { slot, call, timeout } => {
                    let _ = host::set_effective_context(documents.root);
                    let token = self.post(&call, timeout);
                    let _ = host::set_effective_context(context);
                    match token {
                        Some(token) => documents.calls.borrow_mut().push((token, slot)),
                        None => self.answered(documents, context, (slot, 0, &[])),
                    }
                }
            }
        }
    }

    fn post(&self, call: &EtcdCall, timeout: u32) -> Option<u32> {
        let cluster = &self.gateway.etcd.as_ref()?.cluster;
        let mut fields = vec![("content-type", "application/json")];
        fields.extend(call.token.as_deref().map(|token| ("authorization", token)));
        let posted = host::post(cluster, call.path, &fields, call.body.as_bytes(), timeout);
        if let (Some(documents), Err(status)) = (&self.documents, posted)
            && matches!(status, UNIMPLEMENTED | BAD_ARGUMENT)
            && !documents.without_calls.replace(true)
        {
            let why = if status == UNIMPLEMENTED {
                "no callouts".into()
            } else {
                format!("no cluster `{cluster}` (`/fleet/cluster`)")
            };
            let words = "the fleet's etcd cannot be asked, its policy does not come and no change is taken";
            host::log(Level::Warning, &format!("{why}: {words}"));
        }
        posted.ok()
    }

    fn asked(&self) -> RequestInputs {
        PolicyStore::request_inputs(&self.gateway, self.moment(host::wall()), host::random())
    }

    /// Who asks, by a JWT that the host has verified.
    fn subject(&self) -> Option<String> {
        let jwt = self.gateway.admin.as_ref()?.jwt.as_ref()?;
        let [first, second, third] = JWT;
        let claim = host::property(&[first, second, third, &jwt.metadata, &jwt.claim]).ok()?;
        String::from_utf8(claim).ok().filter(|claim| !claim.is_empty())
    }
}
