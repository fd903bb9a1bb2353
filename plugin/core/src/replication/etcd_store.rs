//! Policy changes with etcd: a write is acknowledged once etcd has stored it and this process serves it.

use alloc::borrow::Cow;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::publish::{Content, contents};
use super::store::{
    Effect, POLICY_IN_USE, PolicyStore, admin_reply, log_line, parse_entry, rejected_entry, write_problem,
};
use crate::admin::audit;
use crate::admin::audit::AuditEntry;
use crate::admin::problem::Problem;
use crate::admin::{AdminDecision, AdminRequest, RequestInputs, Write};
use crate::config::{EtcdConfig, GatewayConfig};
use crate::counters::{Cas, CounterStore, RecordKey, StoreError, Update};
use crate::etcd::{
    EtcdClient, EtcdEffect, EtcdError, Freshness, RequestId, STALE_AFTER, WRITE_TIMEOUT, entry_name,
    take_lease,
};
use crate::exchange::health::health_response;
use crate::http::local_response::LocalResponse;
use crate::json::out_of_line::text;
use crate::time::{Now, SECOND};

/// The etcd client of one VM, with the requests that wait for it.
#[derive(Debug)]
pub(super) struct EtcdStore {
    client: EtcdClient,
    vm: u64,
    /// Number of entry names created so far.
    entry_names: u64,
    lease: RecordKey,
    freshness: RecordKey,
    /// Waiting requests; few at a time.
    waiting: Vec<(RequestId, Waiting)>,
}

/// A write that waits for etcd.
#[derive(Debug)]
struct Waiting {
    request: AdminRequest,
    commit: Option<PendingCommit>,
}

/// A decided write whose commit is in flight.
#[derive(Debug)]
struct PendingCommit {
    documents: Vec<Content>,
    write: Write,
    entry: Option<AuditEntry>,
}

impl EtcdStore {
    pub(super) fn new(config: &EtcdConfig, prefix: &str, vm: u64) -> EtcdStore {
        let key = |part: &str| RecordKey::new(prefix, &["fleet", part]);
        EtcdStore {
            client: EtcdClient::new(config),
            vm,
            entry_names: 0,
            lease: key("leader"),
            freshness: key("seen"),
            waiting: Vec::new(),
        }
    }

    fn take(&mut self, id: RequestId) -> Option<Waiting> {
        let at = self.waiting.iter().position(|(waiting, _)| *waiting == id)?;
        Some(self.waiting.swap_remove(at).1)
    }

    fn name(&mut self, entry: &AuditEntry) -> String {
        self.entry_names = self.entry_names.wrapping_add(1);
        entry_name(entry.time, self.vm.wrapping_add(self.entry_names), &entry.actor)
    }

    /// Returns the last read from etcd by any VM of this process.
    fn freshness<C: CounterStore>(&self, store: &mut C) -> Option<Freshness> {
        let (record, _) = store.read(&self.freshness).ok()?;
        Freshness::from_bytes(&record)
    }

    pub(super) fn set_freshness<C: CounterStore>(&self, store: &mut C, freshness: Freshness) {
        // If this fails, the policy seems older than it is: the safe side.
        let _ = store.update_bytes::<_, StoreError>(&self.freshness, |_, record| {
            *record = freshness.later(Freshness::from_bytes(record)).to_bytes();
            Ok(Update::Write(()))
        });
    }
}

impl PolicyStore {
    /// Returns true if etcd is configured and was never read in this process: an unknown key may be in etcd.
    pub fn awaits_etcd<C: CounterStore>(&self, store: &mut C) -> bool {
        self.etcd.as_ref().is_some_and(|etcd| etcd.freshness(store).is_none())
    }

    /// Returns the response of the readiness endpoint: ready once etcd was read, or with a policy of the configuration.
    pub(super) fn readiness<C: CounterStore>(&self, store: &mut C, method: &str, now: Now) -> LocalResponse {
        let freshness = self.etcd.as_ref().map(|etcd| etcd.freshness(store));
        let (status, text) = match freshness {
            None => (200, "ready: the policy is loaded".to_string()),
            Some(None) => (503, "not ready: etcd was never read".to_string()),
            Some(Some(freshness)) => {
                let age = freshness.age(now);
                let state = if age > STALE_AFTER { "behind the fleet" } else { "up to date" };
                let (seconds, tenths) = (age / SECOND, (age % SECOND) / (SECOND / 10));
                (200, format!("ready: {state}, etcd was read {seconds}.{tenths} s ago"))
            }
        };
        health_response(status, method, text)
    }

    pub(super) fn manage_in_etcd<C: CounterStore>(
        &mut self,
        store: &mut C,
        config: &GatewayConfig,
        (id, request): (RequestId, AdminRequest),
        inputs: &RequestInputs,
        effects: &mut Vec<Effect>,
    ) {
        let (decided, _) = self.decide(store, config, &request, inputs);
        let Some(etcd) = &mut self.etcd else { return };
        let etcd_effects = match decided.outcome {
            AdminDecision::Answer(response) => {
                let freshness = etcd.freshness(store);
                if freshness.is_none() && matches!(response.status, 401 | 403 | 404) {
                    // The caller or the resource may be in etcd.
                    let response = Problem::never_read().response();
                    effects.push(Effect::Answer(id, admin_reply(response, None)));
                    return;
                }
                let response = with_age(response, &request, freshness, inputs.now);
                self.append_entry(decided.entry.as_ref(), inputs.now, store, config, inputs, effects);
                effects.push(Effect::Answer(id, admin_reply(response, decided.entry.as_ref())));
                return;
            }
            AdminDecision::Preview(write) => {
                effects.push(Effect::Answer(id, admin_reply(write.response, None)));
                return;
            }
            AdminDecision::Audit(query) => etcd.client.page(id, &query, inputs.now),
            AdminDecision::Gateway { details } => {
                let freshness = etcd.freshness(store);
                let response = self.overview(config, inputs, details);
                let response = with_age(response, &request, freshness, inputs.now);
                effects.push(Effect::Answer(id, admin_reply(response, None)));
                return;
            }
            AdminDecision::Write(_) => {
                etcd.waiting.push((id, Waiting { request, commit: None }));
                etcd.client.submit(id, inputs.now)
            }
        };
        self.carry_out(store, config, etcd_effects, inputs, effects);
    }

    /// Accepts the response to an [`Effect::Call`]. Status 0 means that there was none or that the call failed.
    pub fn complete_call<C: CounterStore>(
        &mut self,
        store: &mut C,
        config: &GatewayConfig,
        (slot, status, body): (u32, u16, &[u8]),
        inputs: &RequestInputs,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        if let Some(etcd) = &mut self.etcd {
            let etcd_effects = etcd.client.answer(slot, status, body, inputs.now);
            self.carry_out(store, config, etcd_effects, inputs, &mut effects);
        }
        effects
    }

    /// Polls etcd if this VM holds the lease.
    pub(super) fn poll<C: CounterStore>(
        &mut self,
        store: &mut C,
        config: &GatewayConfig,
        inputs: &RequestInputs,
        effects: &mut Vec<Effect>,
    ) {
        let (Some(etcd), Some(journal)) = (&mut self.etcd, &self.journal) else { return };
        if journal.is_superseded() {
            return;
        }
        let Ok((record, version)) = store.read(&etcd.lease) else { return };
        let Some(lease) = take_lease(&record, etcd.vm, inputs.now) else { return };
        if store.compare_and_swap(&etcd.lease, version, &lease) != Ok(Cas::Stored) {
            return;
        }
        let etcd_effects = etcd.client.poll(journal.revision(), inputs.now);
        self.carry_out(store, config, etcd_effects, inputs, effects);
    }

    fn carry_out<C: CounterStore>(
        &mut self,
        store: &mut C,
        config: &GatewayConfig,
        etcd_effects: Vec<EtcdEffect>,
        inputs: &RequestInputs,
        effects: &mut Vec<Effect>,
    ) {
        let mut etcd_effects: VecDeque<EtcdEffect> = etcd_effects.into();
        while let Some(effect) = etcd_effects.pop_front() {
            match effect {
                EtcdEffect::Call { slot, call, timeout } => {
                    effects.push(Effect::Call { slot, call, timeout })
                }
                EtcdEffect::Loaded { changes, at } => self.load(store, config, changes, at, effects),
                EtcdEffect::Decide(id) => {
                    etcd_effects.extend(self.decide_write(store, config, id, inputs, effects))
                }
                EtcdEffect::Committed { id, revision } => {
                    self.committed(store, config, (id, revision), inputs.now, effects);
                }
                EtcdEffect::Page { id, entries, more } => {
                    let next = entries.last().filter(|_| more).map(|(name, _)| name.clone());
                    let entries: Vec<_> = entries
                        .into_iter()
                        .filter_map(|(name, text)| Some((name, parse_entry(&text)?)))
                        .collect();
                    let response = audit::page(&entries, next.as_deref());
                    effects.push(Effect::Answer(id, admin_reply(response, None)));
                }
                EtcdEffect::Failed { id, error } => self.failed(id, &error, effects),
                EtcdEffect::BackgroundError(error) => effects.push(Effect::Warn(error.to_string())),
            }
        }
    }

    /// Decides the write at the front of the queue against the current policy.
    #[allow(clippy::wildcard_enum_match_arm, reason = "every other error is treated alike")]
    fn decide_write<C: CounterStore>(
        &mut self,
        store: &mut C,
        config: &GatewayConfig,
        id: RequestId,
        inputs: &RequestInputs,
        effects: &mut Vec<Effect>,
    ) -> Vec<EtcdEffect> {
        let request = self.etcd.as_mut().and_then(|etcd| etcd.take(id));
        let Some(Waiting { request, .. }) = request else {
            return self.etcd.as_mut().map_or_else(Vec::new, |etcd| etcd.client.finish(id, inputs.now));
        };
        let (decided, state) = self.decide(store, config, &request, inputs);
        let revision = self.journal.as_ref().map(super::Journal::revision);
        let Some(etcd) = &mut self.etcd else { return Vec::new() };
        let mut entry = decided.entry;
        let documents = match &decided.outcome {
            AdminDecision::Write(write) => config.policy.change(|policy| contents(policy, &write.change)),
            _ => None,
        };
        let response = match (decided.outcome, state, revision.zip(documents)) {
            (AdminDecision::Write(write), Ok(()), Some((revision, documents))) => {
                let text = entry.as_ref().map_or_else(String::new, |entry| text(&entry.to_json()));
                let name = entry.as_ref().map_or_else(String::new, |entry| etcd.name(entry));
                let log = entry.as_ref().and_then(|entry| entry.log_name()).map(Cow::into_owned);
                let named = (log.as_deref(), name.as_str(), text.as_str());
                let etcd_effects = etcd.client.commit(id, revision, &documents, named, inputs.now);
                let commit = Some(PendingCommit { documents, write, entry });
                etcd.waiting.push((id, Waiting { request, commit }));
                return etcd_effects;
            }
            // The policy could not be updated before the decision.
            (AdminDecision::Write(_), state, _) => {
                let problem = write_problem(Some(state.err().unwrap_or(POLICY_IN_USE)));
                entry = entry.map(|entry| rejected_entry(entry, &problem));
                problem.response()
            }
            (AdminDecision::Answer(response), _, _) => response,
            // Impossible: the same request was decided as a write before.
            (AdminDecision::Preview(_) | AdminDecision::Audit(_) | AdminDecision::Gateway { .. }, _, _) => {
                Problem::contended().response()
            }
        };
        let etcd_effects = etcd.client.finish(id, inputs.now);
        self.append_entry(entry.as_ref(), inputs.now, store, config, inputs, effects);
        effects.push(Effect::Answer(id, admin_reply(response, entry.as_ref())));
        etcd_effects
    }

    /// Sends the audit entry of an attempt that changed nothing to the log and, in the background, to etcd.
    fn append_entry<C: CounterStore>(
        &mut self,
        entry: Option<&AuditEntry>,
        now: Now,
        store: &mut C,
        config: &GatewayConfig,
        inputs: &RequestInputs,
        effects: &mut Vec<Effect>,
    ) {
        let (Some(etcd), Some(entry)) = (&mut self.etcd, entry) else { return };
        effects.push(Effect::Audit(log_line(entry)));
        let (name, text) = (etcd.name(entry), text(&entry.to_json()));
        let etcd_effects = etcd.client.append((entry.log_name().as_deref(), &name, &text), &entry.actor, now);
        self.carry_out(store, config, etcd_effects, inputs, effects);
    }

    /// Publishes a stored write in this process, then sends its response.
    fn committed<C: CounterStore>(
        &mut self,
        store: &mut C,
        config: &GatewayConfig,
        (id, revision): (RequestId, u64),
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let waiting = self.etcd.as_mut().and_then(|etcd| etcd.take(id));
        let Some(PendingCommit { documents, write, entry }) = waiting.and_then(|waiting| waiting.commit)
        else {
            return;
        };
        write.count(store, &config.prefix);
        // If publishing fails, the write is stored nevertheless, and the next poll publishes it.
        match (self.publish(store, config, &documents, revision), &self.etcd) {
            // The transaction compared revisions, so it counts as a read at the time it was sent.
            (Ok(()), Some(etcd)) => {
                etcd.set_freshness(
                    store,
                    Freshness { at: now.monotonic.saturating_sub(WRITE_TIMEOUT), revision },
                );
            }
            (Err(error), _) => effects.push(Effect::Warn(error.to_string())),
            (Ok(()), None) => {}
        }
        effects.extend(entry.as_ref().map(|entry| Effect::Audit(log_line(entry))));
        effects.push(Effect::Answer(id, admin_reply(write.response, entry.as_ref())));
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "every other error is treated alike")]
    fn failed(&mut self, id: RequestId, error: &EtcdError, effects: &mut Vec<Effect>) {
        let waiting = self.etcd.as_mut().and_then(|etcd| etcd.take(id));
        let problem = match error {
            EtcdError::DocumentTooLarge { .. }
            | EtcdError::TooManyDocuments(_)
            | EtcdError::TooManyBytes(_) => Problem::new(400, "change_too_large", error.to_string()),
            EtcdError::Unavailable { .. } | EtcdError::TimedOut => {
                let detail = "The fleet's etcd does not respond. The change was most likely not stored: read the \
                              resource before you try again.";
                Problem::new(503, "fleet_unavailable", detail).with("retry-after", "1")
            }
            EtcdError::Conflict { .. } => {
                Problem::new(503, "contended", error.to_string()).with("retry-after", "1")
            }
            _ => Problem::new(503, "fleet_unavailable", error.to_string()).with("retry-after", "1"),
        };
        let entry = waiting.and_then(|waiting| waiting.commit).and_then(|pending| pending.entry);
        let entry = entry.map(|entry| rejected_entry(entry, &problem));
        effects.extend(entry.as_ref().map(|entry| Effect::Audit(log_line(entry))));
        effects.push(Effect::Answer(id, admin_reply(problem.response(), entry.as_ref())));
    }
}

/// Adds the age of the policy to the response of a read (RFC 9111, 5.1).
fn with_age(
    mut response: LocalResponse,
    request: &AdminRequest,
    freshness: Option<Freshness>,
    now: Now,
) -> LocalResponse {
    if request.method != "GET" {
        return response;
    }
    match freshness.map(|freshness| freshness.age(now)) {
        Some(age) => {
            response.fields.push(("age", (age / SECOND).to_string()));
            if age > STALE_AFTER {
                response.fields.push(("x-tollgate-warning", "behind_fleet".to_string()));
            }
        }
        None => response.fields.push(("x-tollgate-warning", "fleet_never_read".to_string())),
    }
    response
}
