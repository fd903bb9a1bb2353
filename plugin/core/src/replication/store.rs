//! The policy of one VM: follows the journal, decides management requests, and stores changes before they are
//! acknowledged.
//!
//! The host is used through [`CounterStore`] only. Everything else is returned as [`Effect`]s, in order.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::etcd_store::EtcdStore;
use super::overlay::{Overlay, PolicyReplica};
use super::{Journal, JournalCommit, JournalError, LogEntry};
use crate::admin::audit;
use crate::admin::audit::{AuditEntry, AuditQuery, EntryKind};
use crate::admin::problem::Problem;
use crate::admin::warnings;
use crate::admin::{
    AdminDecision, AdminRequest, CountersRead, Decided, Durability, RequestInputs, decide, no_content,
};
use crate::config::GatewayConfig;
use crate::counters::{CounterStore, StoreError, Update, retry_conflicts};
use crate::etcd::{EtcdCall, RequestId, take_lease};
use crate::http::local_response::LocalResponse;
use crate::json::out_of_line::{object, text};
use crate::ledger::Poster;
use crate::policy::Policy;
use crate::time::Now;

/// The error of a policy that a reader still holds. No reader holds it across callbacks.
pub(super) const POLICY_IN_USE: JournalError = JournalError::Store(StoreError::Contention);

/// The format of the changes and documents in the journal.
const FORMAT: u64 = 2;

/// An effect for the adapter to carry out.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Send the response of this request.
    Answer(RequestId, AdminReply),
    /// Send this call to etcd, and pass its response to [`PolicyStore::complete_call`].
    Call {
        /// Identifies the call in [`PolicyStore::complete_call`].
        slot: u32,
        /// The call.
        call: EtcdCall,
        /// Timeout in milliseconds.
        timeout: u32,
    },
    /// Log this audit entry.
    Audit(String),
    /// Log this warning.
    Warn(String),
}

/// The reply to a management request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminReply {
    /// The response.
    pub response: LocalResponse,
    /// Error code, if the request was rejected.
    pub reason: Option<String>,
}

/// The policy documents of one configuration in one VM.
#[derive(Debug)]
pub struct PolicyStore {
    /// `None` if the host has no shared data; the policy cannot change then.
    pub(super) journal: Option<Journal>,
    /// `None` without a configured etcd.
    pub(super) etcd: Option<Box<EtcdStore>>,
    /// `None` with a configured etcd, whose documents take precedence over any inline policy.
    pub(super) overlay: Option<Overlay>,
    /// The usage that this VM posts.
    poster: Poster,
    /// A unique number of the VM.
    vm: u64,
}

impl PolicyStore {
    /// Opens the journal of the process. After an error, the VM serves its inline policy and cannot change it. `vm` is a
    /// unique number of the VM.
    pub fn open<C: CounterStore>(
        store: &mut C,
        config: &GatewayConfig,
        vm: u64,
    ) -> (PolicyStore, Option<JournalError>) {
        // Each etcd has a journal of its own, and one is for all policies without etcd.
        let prefix = match &config.etcd {
            Some(etcd) => etcd.record_prefix(&config.prefix),
            None => format!("{}edits/", config.prefix),
        };
        let etcd = config.etcd.as_ref().map(|etcd| Box::new(EtcdStore::new(etcd, &prefix, vm)));
        let overlay = etcd.is_none().then(Overlay::default);
        let mut policies = PolicyStore { journal: None, etcd, overlay, poster: Poster::default(), vm };
        match Journal::open(store, &prefix, FORMAT) {
            Ok(journal) => {
                policies.journal = Some(journal);
                let error = policies.catch_up(store, config).err();
                (policies, error)
            }
            Err(error) => (policies, Some(error)),
        }
    }

    /// Posts usage, in one VM of the process at a time; two at once would only repeat each other's work.
    fn post_usage<C: CounterStore>(&mut self, store: &mut C, config: &GatewayConfig, now: Now) {
        let vm = self.vm;
        let elected = store.update_bytes::<_, StoreError>(&config.ledger.lease, |_, record| {
            Ok(match take_lease(record, vm, now) {
                Some(lease) => {
                    *record = lease;
                    Update::Write(true)
                }
                None => Update::Keep(false),
            })
        });
        if elected == Ok(true) {
            // An error leaves the usage in its inbox, where it is read too.
            let _ = self.poster.tick(store, &config.ledger, now.wall);
        }
    }

    /// Returns the revision of etcd that the policy is from; 0 if it is the configuration's.
    pub fn revision(&self) -> u64 {
        self.journal.as_ref().map_or(0, Journal::revision)
    }

    /// Returns the inputs of a decision. Without `random`, no keys can be created.
    pub fn request_inputs(config: &GatewayConfig, now: Now, random: Option<[u8; 48]>) -> RequestInputs {
        let durability = match (&config.etcd, config.volatile_keys) {
            _ if random.is_none() => Durability::No,
            (Some(_), _) => Durability::Durable,
            (None, true) => Durability::Volatile,
            (None, false) => Durability::No,
        };
        let counters = match config.shared_counters() {
            Some(_) => CountersRead::Shared,
            None => CountersRead::Own,
        };
        RequestInputs { now, random: random.unwrap_or([0; 48]), durability, counters }
    }

    /// Applies committed changes before a request is decided.
    ///
    /// # Errors
    /// Errors of shared data. The policy is unchanged then.
    pub fn refresh<C: CounterStore>(
        &mut self,
        store: &mut C,
        config: &GatewayConfig,
    ) -> Result<(), JournalError> {
        match &self.journal {
            Some(journal) if journal.is_behind(store)? => match self.catch_up(store, config) {
                Err(JournalError::Superseded) => Ok(()),
                other => other,
            },
            _ => Ok(()),
        }
    }

    pub(super) fn catch_up<C: CounterStore>(
        &mut self,
        store: &mut C,
        config: &GatewayConfig,
    ) -> Result<(), JournalError> {
        let PolicyStore { journal: Some(journal), overlay, .. } = self else { return Ok(()) };
        let catch_up = |policy: &mut Policy| {
            journal.catch_up(store, &mut PolicyReplica { policy, overlay: overlay.as_mut() })
        };
        config.policy.change(catch_up).unwrap_or(Err(POLICY_IN_USE))
    }

    /// Handles a management request. If it waits for etcd, its reply is among the effects of a later call.
    pub fn manage<C: CounterStore>(
        &mut self,
        store: &mut C,
        config: &GatewayConfig,
        (id, request): (RequestId, AdminRequest),
        inputs: &RequestInputs,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        if request.readiness {
            let response = self.readiness(store, &request.method, inputs.now);
            effects.push(Effect::Answer(id, admin_reply(response, None)));
            return effects;
        }
        if self.etcd.is_some() {
            self.manage_in_etcd(store, config, (id, request), inputs, &mut effects);
            return effects;
        }
        let (response, entry) = self.manage_locally(store, config, &request, inputs);
        effects.extend(entry.as_ref().map(|entry| Effect::Audit(log_line(entry))));
        effects.push(Effect::Answer(id, admin_reply(response, entry.as_ref())));
        effects
    }

    fn manage_locally<C: CounterStore>(
        &mut self,
        store: &mut C,
        config: &GatewayConfig,
        request: &AdminRequest,
        inputs: &RequestInputs,
    ) -> (LocalResponse, Option<AuditEntry>) {
        let mut lost_entry = None;
        let result = retry_conflicts::<_, StoreError>(|| {
            let (decided, state) = self.decide(store, config, request, inputs);
            let Decided { outcome, entry } = decided;
            let (mut write, is_preview) = match outcome {
                AdminDecision::Answer(response) => {
                    return Ok(Some(self.append_audit(store, response, entry)));
                }
                AdminDecision::Audit(query) => return Ok(Some((self.page(store, &query), None))),
                // Impossible: without etcd no counters are shared.
                AdminDecision::Rows(_) => return Ok(Some((Problem::contended().response(), None))),
                // The counters are those of this process: there is nothing to give back.
                AdminDecision::Drain => return Ok(Some(self.append_audit(store, no_content(), entry))),
                AdminDecision::Gateway { details } => {
                    return Ok(Some((self.overview(config, inputs, details), None)));
                }
                AdminDecision::Write(write) => (write, false),
                AdminDecision::Preview(write) => (write, true),
            };
            let PolicyStore { journal: Some(journal), overlay: Some(overlay), .. } = self else {
                return Ok(Some(self.reject(store, &write_problem(state.err()), entry)));
            };
            if let Err(error) = state {
                return Ok(Some(self.reject(store, &write_problem(Some(error)), entry)));
            }
            if let Some((section, id)) = overlay.moved(&write.change) {
                let kind = section.singular();
                let detail = format!(
                    "The policy of the configuration has a {kind} `{id}` elsewhere, whose keys would follow it. Choose another \
                     id."
                );
                return Ok(Some(self.reject(store, &Problem::new(409, "already_exists", detail), entry)));
            }
            if is_preview {
                let warn = |policy: &mut Policy| {
                    let change = overlay.bind(policy, write.change.clone());
                    warnings::ends_with_process(&mut write.response, &overlay.withdrawn(policy, &change));
                };
                let _ = config.policy.change(warn);
                return Ok(Some((write.response, None)));
            }
            let mut entry = entry;
            let commit = |policy: &mut Policy| {
                let change = overlay.bind(policy, write.change.clone());
                warnings::ends_with_process(&mut write.response, &overlay.withdrawn(policy, &change));
                if let Some(entry) = &mut entry {
                    entry.status = write.response.status;
                }
                let entry = entry.as_ref().map(|entry| LogEntry {
                    organization: entry.log_name().map(Cow::into_owned),
                    actor: entry.actor.clone(),
                    text: text(&entry.to_json()),
                });
                let commit = JournalCommit { change, entry, ..JournalCommit::default() };
                journal.commit(store, &mut PolicyReplica { policy, overlay: Some(overlay) }, commit)
            };
            Ok(match config.policy.change(commit).unwrap_or(Err(POLICY_IN_USE)) {
                Ok(true) => {
                    write.count(store, &config.prefix);
                    Some((write.response, entry))
                }
                Ok(false) => {
                    lost_entry = entry;
                    None
                }
                Err(error) => Some(self.reject(store, &write_problem(Some(error)), entry)),
            })
        });
        result.unwrap_or_else(|_| self.reject(store, &Problem::contended(), lost_entry))
    }

    /// Decides a request. The second value is the error if the policy could not be updated before.
    pub(super) fn decide<C: CounterStore>(
        &mut self,
        store: &mut C,
        config: &GatewayConfig,
        request: &AdminRequest,
        inputs: &RequestInputs,
    ) -> (Decided, Result<(), JournalError>) {
        let state = self.catch_up(store, config);
        match config.policy.change(|policy| decide(policy, config, store, request, inputs)) {
            Some(decided) => (decided, state),
            None => {
                let response = write_problem(Some(POLICY_IN_USE)).response();
                (Decided { outcome: AdminDecision::Answer(response), entry: None }, Err(POLICY_IN_USE))
            }
        }
    }

    /// Stores the audit entry of an attempt that changed nothing. The response does not depend on the result.
    fn append_audit<C: CounterStore>(
        &self,
        store: &mut C,
        response: LocalResponse,
        entry: Option<AuditEntry>,
    ) -> (LocalResponse, Option<AuditEntry>) {
        if let (Some(journal), Some(entry)) = (&self.journal, &entry) {
            let _ = journal.append_audit(
                store,
                entry.log_name().as_deref(),
                &entry.actor,
                &text(&entry.to_json()),
            );
        }
        (response, entry)
    }

    /// Rejects a write and stores its audit entry.
    fn reject<C: CounterStore>(
        &self,
        store: &mut C,
        problem: &Problem,
        entry: Option<AuditEntry>,
    ) -> (LocalResponse, Option<AuditEntry>) {
        let entry = entry.map(|entry| rejected_entry(entry, problem));
        self.append_audit(store, problem.response(), entry)
    }

    fn page<C: CounterStore>(&self, store: &mut C, query: &AuditQuery) -> LocalResponse {
        let Some(journal) = &self.journal else { return write_problem(None).response() };
        match journal.audit_page(store, query) {
            Ok((stored, next)) => {
                let entries: Vec<_> = stored
                    .iter()
                    .filter_map(|stored| Some((stored.name.clone(), parse_entry(&stored.entry)?)))
                    .collect();
                audit::page(&entries, next.as_deref())
            }
            Err(error) => write_problem(Some(error)).response(),
        }
    }

    /// Runs on every tick: completes the commit of a VM that trapped, posts usage, and polls etcd.
    pub fn tick<C: CounterStore>(
        &mut self,
        store: &mut C,
        config: &GatewayConfig,
        inputs: &RequestInputs,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        if let PolicyStore { journal: Some(journal), overlay, .. } = self
            && !journal.is_superseded()
        {
            let recover = |policy: &mut Policy| {
                journal.recover(store, &mut PolicyReplica { policy, overlay: overlay.as_mut() })
            };
            match config.policy.change(recover).unwrap_or(Err(POLICY_IN_USE)) {
                Ok(()) | Err(JournalError::Superseded) => {}
                Err(error) => effects.push(Effect::Warn(write_problem(Some(error)).detail)),
            }
        }
        self.post_usage(store, config, inputs.now);
        if self.etcd.is_some() {
            self.poll(store, config, inputs, &mut effects);
        }
        effects
    }
}

pub(super) fn admin_reply(response: LocalResponse, entry: Option<&AuditEntry>) -> AdminReply {
    let reason = match entry.and_then(|entry| entry.reason.clone()) {
        Some(reason) => Some(reason),
        None if response.status >= 400 => Some("refused".to_string()),
        None => None,
    };
    AdminReply { response, reason }
}

/// Returns the audit entry of a rejected write.
pub(super) fn rejected_entry(entry: AuditEntry, problem: &Problem) -> AuditEntry {
    AuditEntry {
        kind: EntryKind::Attempt,
        status: problem.status,
        reason: Some(problem.code.to_string()),
        before: None,
        after: None,
        ..entry
    }
}

/// Parses a stored audit entry.
pub(super) fn parse_entry(text: &str) -> Option<AuditEntry> {
    AuditEntry::from_json(&super::record::json(text.as_bytes()).ok()?)
}

/// Formats an audit entry for the log.
pub(super) fn log_line(entry: &AuditEntry) -> String {
    text(&object!({ "audit": entry.log_fields() }))
}

/// Returns the problem of a failed write; `None` stands for a host without shared data.
pub(super) fn write_problem(error: Option<JournalError>) -> Problem {
    let (status, code) = match error {
        Some(JournalError::Superseded) => (503, "superseded"),
        Some(JournalError::TooLarge(_)) => (400, "change_too_large"),
        Some(JournalError::Damaged) => (503, "documents_damaged"),
        Some(JournalError::Store(_)) | None => (503, "documents_unavailable"),
    };
    let without = "This host has no data shared between its workers, so the policy cannot be changed.";
    let problem =
        Problem::new(status, code, error.map_or_else(|| without.to_string(), |error| error.to_string()));
    if error == Some(JournalError::Superseded) { problem.with("retry-after", "1") } else { problem }
}
