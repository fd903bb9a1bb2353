//! What a VM does about documents: it follows the journal, has management requests decided, and sees that what is
//! written is kept before it is acknowledged.
//!
//! Nothing here calls a host but through [`CounterStore`]. What is to be done comes out as [`Act`]s, in order.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::etcd_store::EtcdStore;
use super::{Commit, Journal, JournalError};
use crate::admin::audit;
use crate::admin::audit::{AuditEntry, AuditQuery};
use crate::admin::problem::Problem;
use crate::admin::{AdminDecision, AdminRequest, Decided, Durability, RequestInputs, Response, decide};
use crate::config::GatewayConfig;
use crate::counters::{CounterStore, StoreError, retry_conflicts};
use crate::etcd::{EtcdCall, RequestId};
use crate::json::out_of_line::{object, text};
use crate::policy::Policy;
use crate::text::hash::fingerprint;
use crate::time::Now;

/// The policy was held by a reader, which none does from one callback to the next.
pub(super) const HELD: JournalError = JournalError::Cells(StoreError::Contention);

/// What an adapter is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Answer this one.
    Answer(RequestId, AdminReply),
    /// Make this call to the fleet's etcd, and bring its answer to [`PolicyStore::called`].
    Call {
        /// To bring back with the answer.
        slot: u32,
        /// What to send.
        call: EtcdCall,
        /// Milliseconds.
        timeout: u32,
    },
    /// Write this attempt into the log.
    Audit(String),
    /// Write into the log that something is wrong that nobody waits for.
    Warn(String),
}

/// An answer of the management API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminReply {
    /// The answer.
    pub response: Response,
    /// The code of the refusal, where it is one.
    pub reason: Option<String>,
}

/// The documents of one configuration in one VM.
#[derive(Debug)]
pub struct PolicyStore {
    /// `None`: the host shares no data, so that nothing can change.
    pub(super) journal: Option<Journal>,
    pub(super) fleet: Option<Box<EtcdStore>>,
}

impl PolicyStore {
    /// Joins the others of the process, and says what kept it from doing so: it then serves the policy that it has, and
    /// changes nothing. `vm`: a number that no other VM has.
    pub fn open<C: CounterStore>(
        store: &mut C,
        gateway: &GatewayConfig,
        vm: u64,
    ) -> (PolicyStore, Option<JournalError>) {
        let fleet = gateway.etcd.as_ref().map(|fleet| Box::new(EtcdStore::new(fleet, &gateway.prefix, vm)));
        // With a fleet what its etcd has wins over whatever policy is inline.
        let inline = match &gateway.etcd {
            Some(fleet) => fingerprint(format!("fleet {} {}", fleet.cluster, fleet.prefix).as_bytes()),
            None => gateway.policy.read().fingerprint(),
        };
        match Journal::open(store, &gateway.prefix, inline) {
            Ok(journal) => {
                let mut policies = PolicyStore { journal: Some(journal), fleet };
                let error = policies.catch_up(store, gateway).err();
                (policies, error)
            }
            Err(error) => (PolicyStore { journal: None, fleet }, Some(error)),
        }
    }

    /// The circumstances of requests at a gateway. Where the host has no randomness, no secrets can be made.
    pub fn asked(gateway: &GatewayConfig, now: Now, random: Option<[u8; 48]>) -> RequestInputs {
        let keeps = match (&gateway.etcd, gateway.volatile_keys) {
            _ if random.is_none() => Durability::No,
            (Some(_), _) => Durability::Durable,
            (None, true) => Durability::Volatile,
            (None, false) => Durability::No,
        };
        RequestInputs { now, random: random.unwrap_or([0; 48]), keeps }
    }

    /// Makes the policy what was acknowledged last, before a request is decided on it.
    ///
    /// # Errors
    /// Where shared data fails: the policy is as it was.
    pub fn refresh<C: CounterStore>(
        &mut self,
        store: &mut C,
        gateway: &GatewayConfig,
    ) -> Result<(), JournalError> {
        match &self.journal {
            Some(journal) if journal.is_behind(store)? => match self.catch_up(store, gateway) {
                Err(JournalError::Superseded) => Ok(()),
                other => other,
            },
            _ => Ok(()),
        }
    }

    pub(super) fn catch_up<C: CounterStore>(
        &mut self,
        store: &mut C,
        gateway: &GatewayConfig,
    ) -> Result<(), JournalError> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        gateway.policy.change(|policy| journal.catch_up(store, policy)).unwrap_or(Err(HELD))
    }

    /// A management request. Where it has to wait for the fleet, its answer comes out of a later call.
    pub fn manage<C: CounterStore>(
        &mut self,
        store: &mut C,
        gateway: &GatewayConfig,
        (ticket, request): (RequestId, AdminRequest),
        asked: &RequestInputs,
    ) -> Vec<Effect> {
        let mut acts = Vec::new();
        if self.fleet.is_some() {
            self.manage_with_fleet(store, gateway, (ticket, request), asked, &mut acts);
            return acts;
        }
        let (response, entry) = self.manage_here(store, gateway, &request, asked);
        acts.extend(entry.as_ref().map(|entry| Effect::Audit(line(entry))));
        acts.push(Effect::Answer(ticket, answered(response, entry.as_ref())));
        acts
    }

    fn manage_here<C: CounterStore>(
        &mut self,
        store: &mut C,
        gateway: &GatewayConfig,
        request: &AdminRequest,
        asked: &RequestInputs,
    ) -> (Response, Option<AuditEntry>) {
        let mut overtaken = None;
        let answered = retry_conflicts::<_, StoreError>(|| {
            let (decided, state) = self.decide(store, gateway, request, asked);
            let Decided { outcome, entry } = decided;
            let write = match outcome {
                AdminDecision::Answer(response) => return Ok(Some(self.attempted(store, response, entry))),
                AdminDecision::Audit(query) => return Ok(Some((self.page(store, &query), None))),
                AdminDecision::Write(write) => write,
            };
            let Some(journal) = self.journal.as_mut().filter(|_| state.is_ok()) else {
                return Ok(Some(self.refuse(store, &problem(state.err()), entry)));
            };
            let kept = entry.as_ref().map(|entry| (entry.organization.clone(), text(&entry.to_json())));
            let commit = Commit { change: write.change, entry: kept, ..Commit::default() };
            Ok(
                match gateway
                    .policy
                    .change(|policy| journal.commit(store, policy, commit))
                    .unwrap_or(Err(HELD))
                {
                    Ok(true) => Some((write.response, entry)),
                    Ok(false) => {
                        overtaken = entry;
                        None
                    }
                    Err(error) => Some(self.refuse(store, &problem(Some(error)), entry)),
                },
            )
        });
        answered.unwrap_or_else(|_| self.refuse(store, &Problem::contended(), overtaken))
    }

    /// Decides on the newest policy; the second says whether it is that.
    pub(super) fn decide<C: CounterStore>(
        &mut self,
        store: &mut C,
        gateway: &GatewayConfig,
        request: &AdminRequest,
        asked: &RequestInputs,
    ) -> (Decided, Result<(), JournalError>) {
        let state = self.catch_up(store, gateway);
        match gateway.policy.change(|policy| decide(policy, gateway, store, request, asked)) {
            Some(decided) => (decided, state),
            None => {
                let response = problem(Some(HELD)).response();
                (Decided { outcome: AdminDecision::Answer(response), entry: None }, Err(HELD))
            }
        }
    }

    /// An attempt that changed nothing: it is kept, but nobody's answer hangs on that.
    fn attempted<C: CounterStore>(
        &self,
        store: &mut C,
        response: Response,
        entry: Option<AuditEntry>,
    ) -> (Response, Option<AuditEntry>) {
        if let (Some(journal), Some(entry)) = (&self.journal, &entry) {
            let _ = journal.keep_attempt(store, entry.organization.as_deref(), &text(&entry.to_json()));
        }
        (response, entry)
    }

    /// A write that does not come about, and is kept as an attempt.
    fn refuse<C: CounterStore>(
        &self,
        store: &mut C,
        problem: &Problem,
        entry: Option<AuditEntry>,
    ) -> (Response, Option<AuditEntry>) {
        let entry = entry.map(|entry| refused(entry, problem));
        self.attempted(store, problem.response(), entry)
    }

    fn page<C: CounterStore>(&self, store: &mut C, query: &AuditQuery) -> Response {
        let Some(journal) = &self.journal else { return problem(None).response() };
        match journal.attempts(store, query) {
            Ok((kept, next)) => {
                let entries: Vec<_> =
                    kept.iter().filter_map(|kept| Some((kept.name(), entry_of(&kept.entry)?))).collect();
                audit::page(&entries, next.as_deref())
            }
            Err(error) => problem(Some(error)).response(),
        }
    }

    /// Once every tick period: finishes what a VM left that trapped, and looks what the fleet has.
    pub fn tick<C: CounterStore>(
        &mut self,
        store: &mut C,
        gateway: &GatewayConfig,
        asked: &RequestInputs,
    ) -> Vec<Effect> {
        let mut acts = Vec::new();
        if let Some(journal) = &mut self.journal
            && !journal.is_superseded()
        {
            match gateway.policy.change(|policy| journal.recover(store, policy)).unwrap_or(Err(HELD)) {
                Ok(()) | Err(JournalError::Superseded) => {}
                Err(error) => acts.push(Effect::Warn(problem(Some(error)).detail)),
            }
        }
        if self.fleet.is_some() {
            self.poll(store, gateway, asked, &mut acts);
        }
        acts
    }
}

pub(super) fn answered(response: Response, entry: Option<&AuditEntry>) -> AdminReply {
    let reason = match entry.and_then(|entry| entry.reason.clone()) {
        Some(reason) => Some(reason),
        None if response.status >= 400 => Some("refused".to_string()),
        None => None,
    };
    AdminReply { response, reason }
}

/// The entry of a write that did not come about.
pub(super) fn refused(entry: AuditEntry, problem: &Problem) -> AuditEntry {
    AuditEntry { status: problem.status, reason: Some(problem.code.to_string()), after: None, ..entry }
}

/// An entry as it was kept.
pub(super) fn entry_of(text: &str) -> Option<AuditEntry> {
    AuditEntry::from_json(&super::record::json(text.as_bytes()).ok()?)
}

/// An attempt as the log has it.
pub(super) fn line(entry: &AuditEntry) -> String {
    text(&object!({ "audit": entry.line() }))
}

/// Why something was not written.
pub(super) fn problem(why: Option<JournalError>) -> Problem {
    let (status, code) = match why {
        Some(JournalError::Superseded) => (503, "superseded"),
        Some(JournalError::TooLarge(_)) => (400, "change_too_large"),
        Some(JournalError::Damaged) => (503, "documents_damaged"),
        Some(JournalError::Cells(_)) | None => (503, "documents_unavailable"),
    };
    let without = "This host shares no data between its workers: nothing can be changed here.";
    let problem = Problem::new(status, code, why.map_or_else(|| without.to_string(), |why| why.to_string()));
    if why == Some(JournalError::Superseded) { problem.with("retry-after", "1") } else { problem }
}

impl super::Replica for Policy {
    fn apply(&mut self, change: &crate::policy::Change) -> bool {
        Policy::apply(self, change).is_ok()
    }

    fn replace(&mut self, documents: &[(crate::policy::Document, Option<serde_json::Value>)]) -> bool {
        let difference = self.difference(documents);
        difference.is_ok_and(|change| Policy::apply(self, &change).is_ok())
    }

    fn document(&self, document: &crate::policy::Document) -> Option<serde_json::Value> {
        Policy::document(self, document)
    }

    fn touched(&self, change: &crate::policy::Change) -> Vec<crate::policy::Document> {
        Policy::touched(self, change)
    }
}
