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
use crate::admin::{AdminDecision, AdminRequest, CountersRead, RequestInputs, Write, no_content};
use crate::config::{CounterSharing, DRAIN, EtcdConfig, GatewayConfig, MEMBERSHIP, SLICES};
use crate::counters::{Cas, CounterStore, RecordKey, StoreError, Update};
use crate::etcd::{
    Drain, EtcdClient, EtcdEffect, EtcdError, Freshness, KeySpace, Read, RequestId, STALE_AFTER, Stored,
    WRITE_TIMEOUT, entry_name, take_lease,
};
use crate::exchange::health::health_response;
use crate::fleet::{FleetNow, FleetTime, Membership, Row};
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
    shares_counters: bool,
    drain: RecordKey,
    /// The membership in the fleet, with its clock.
    membership: RecordKey,
    /// The prefix of the names of slices.
    slices: String,
    keys: KeySpace,
    /// Waiting requests; few at a time.
    waiting: Vec<(RequestId, Waiting)>,
}

/// The most rows of one read: etcd accepts 128 operations.
const MAX_ROWS: usize = 100;

/// A write that waits for etcd.
#[derive(Debug)]
struct Waiting {
    request: AdminRequest,
    commit: Option<PendingCommit>,
    /// The slices of the rows that it reads.
    rows: Vec<RecordKey>,
    /// The rows that were read.
    values: Vec<Vec<Stored>>,
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
            shares_counters: config.counters == CounterSharing::Shared,
            drain: RecordKey::new(prefix, &[DRAIN]),
            membership: RecordKey::new(prefix, &[MEMBERSHIP]),
            slices: format!("{prefix}{SLICES}"),
            keys: KeySpace::new(&config.prefix),
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

    /// Reads the next rows that a request waits for.
    fn read_rows(&mut self, id: RequestId, waiting: Waiting, now: Now) -> Vec<EtcdEffect> {
        let principal = |name: &RecordKey| {
            Read::Key(self.keys.row(name.as_str().strip_prefix(&*self.slices).unwrap_or_default()))
        };
        let rest = waiting.rows.iter().skip(waiting.values.len());
        let reads = rest.take(MAX_ROWS).map(principal).collect();
        self.waiting.push((id, waiting));
        self.client.read(id, reads, now)
    }

    /// Begins to give slices back.
    fn drain<C: CounterStore>(&self, store: &mut C, now: Now) -> Result<(), StoreError> {
        store.update_bytes::<_, StoreError>(&self.drain, |_, record| {
            *record = Drain::begin(now).to_bytes();
            Ok(Update::Write(()))
        })
    }

    /// Returns the drain that has begun.
    fn drain_of<C: CounterStore>(&self, store: &mut C, now: Now) -> Option<Drain> {
        let (record, _) = store.read(&self.drain).ok()?;
        Drain::from_bytes(&record).filter(|drain| drain.lasts(now))
    }

    /// Returns the standing in the fleet; `None` if the counters are not shared.
    fn sharing<C: CounterStore>(&self, store: &mut C, now: Now) -> Option<Sharing> {
        if !self.shares_counters {
            return None;
        }
        let record = store.read(&self.membership).ok().map(|(record, _)| record);
        let membership = record.and_then(|record| Membership::from_bytes(&record));
        Some(match membership {
            None => Sharing::NoMember,
            Some(membership) if membership.now(now).is_none() => Sharing::Away,
            Some(_) => Sharing::Member,
        })
    }

    pub(super) fn set_freshness<C: CounterStore>(&self, store: &mut C, freshness: Freshness) {
        // If this fails, the policy seems older than it is: the safe side.
        let _ = store.update_bytes::<_, StoreError>(&self.freshness, |_, record| {
            *record = freshness.later(Freshness::from_bytes(record)).to_bytes();
            Ok(Update::Write(()))
        });
    }
}

/// The standing of a gateway whose counters a fleet shares.
#[derive(Clone, Copy)]
enum Sharing {
    /// It has not joined, or its lease has ended.
    NoMember,
    /// Its last renewal is too old to spend by.
    Away,
    Member,
}

impl PolicyStore {
    /// Returns true if etcd is configured and was never read in this process: an unknown key may be in etcd.
    pub fn awaits_etcd<C: CounterStore>(&self, store: &mut C) -> bool {
        self.etcd.as_ref().is_some_and(|etcd| etcd.freshness(store).is_none())
    }

    /// Returns the response of the readiness endpoint: ready once etcd was read, or with a policy of the configuration.
    pub(super) fn readiness<C: CounterStore>(&self, store: &mut C, method: &str, now: Now) -> LocalResponse {
        let freshness = self.etcd.as_ref().map(|etcd| etcd.freshness(store));
        let sharing = self.etcd.as_ref().and_then(|etcd| etcd.sharing(store, now));
        let drain = self.etcd.as_ref().and_then(|etcd| etcd.drain_of(store, now));
        if let Some(drain) = drain {
            let text = match drain.left {
                Some(0) => "not ready: drained, this gateway can be stopped".to_string(),
                Some(left) => format!("not ready: draining, {left} slices are not back yet"),
                None => "not ready: draining".to_string(),
            };
            return health_response(503, method, text);
        }
        let (status, text) = match (freshness, sharing) {
            (None, _) => (200, "ready: the policy is loaded".to_string()),
            (Some(None), _) => (503, "not ready: etcd was never read".to_string()),
            (Some(Some(_)), Some(Sharing::NoMember)) => {
                (503, "not ready: this gateway has not joined its fleet, and has no counters".to_string())
            }
            (Some(Some(freshness)), sharing) => {
                let age = freshness.age(now);
                let state = if age > STALE_AFTER { "behind the fleet" } else { "up to date" };
                let (seconds, tenths) = (age / SECOND, (age % SECOND) / (SECOND / 10));
                let counters = match sharing {
                    None => "",
                    Some(Sharing::Away) => "; the fleet's counters are away, `on_unavailable` applies",
                    Some(Sharing::Member | Sharing::NoMember) => "; its counters are the fleet's",
                };
                (200, format!("ready: {state}, etcd was read {seconds}.{tenths} s ago{counters}"))
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
            AdminDecision::Drain => {
                let stored = etcd.drain(store, inputs.now);
                let problem = stored.err().map(|error| Problem::new(503, "contended", error.to_string()));
                let response = problem.map_or_else(no_content, |problem| problem.response());
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
            AdminDecision::Rows(rows) => {
                etcd.read_rows(id, Waiting { request, commit: None, rows, values: Vec::new() }, inputs.now)
            }
            AdminDecision::Write(_) => {
                etcd.waiting
                    .push((id, Waiting { request, commit: None, rows: Vec::new(), values: Vec::new() }));
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
                EtcdEffect::Read { id, values } => {
                    etcd_effects.extend(self.usage(store, config, (id, values), inputs, effects));
                }
                EtcdEffect::Failed { id, error } => self.failed(id, &error, effects),
                EtcdEffect::BackgroundError(error) => effects.push(Effect::Warn(error.to_string())),
            }
        }
    }

    /// Decides a request for usage with the rows that were read for it.
    fn usage<C: CounterStore>(
        &mut self,
        store: &mut C,
        config: &GatewayConfig,
        (id, read): (RequestId, Vec<Vec<Stored>>),
        inputs: &RequestInputs,
        effects: &mut Vec<Effect>,
    ) -> Vec<EtcdEffect> {
        let Some(etcd) = &mut self.etcd else { return Vec::new() };
        let Some(mut waiting) = etcd.take(id) else { return Vec::new() };
        waiting.values.extend(read);
        if waiting.values.len() < waiting.rows.len() {
            return etcd.read_rows(id, waiting, inputs.now);
        }
        let Waiting { request, rows, values, .. } = waiting;
        let (membership, freshness) = (etcd.membership.clone(), etcd.freshness(store));
        let read = |(name, found): (RecordKey, &Vec<Stored>)| {
            let bytes = found.first().map(|stored| stored.value.as_slice()).unwrap_or_default();
            Some((name, Row::from_bytes(bytes)?))
        };
        let rows = rows.into_iter().zip(&values).map(read).collect::<Option<Vec<_>>>();
        let member = store.read(&membership).ok().and_then(|(record, _)| Membership::from_bytes(&record));
        // Without a clock of the fleet that of this host is the best there is.
        let own = FleetNow { earliest: FleetTime(inputs.now.wall), latest: FleetTime(inputs.now.wall) };
        let fleet = member.and_then(|member| member.now(inputs.now)).unwrap_or(own);
        let response = match rows {
            None => {
                let detail = "The counters in etcd have a newer format than this gateway can read.";
                Problem::new(503, "usage_unavailable", detail).response()
            }
            Some(rows) => {
                let inputs = RequestInputs { counters: CountersRead::Rows(rows, fleet), ..inputs.clone() };
                match self.decide(store, config, &request, &inputs).0.outcome {
                    AdminDecision::Answer(response) => response,
                    // The policy has changed, and other rows are needed.
                    AdminDecision::Rows(_)
                    | AdminDecision::Preview(_)
                    | AdminDecision::Write(_)
                    | AdminDecision::Audit(_)
                    | AdminDecision::Drain
                    | AdminDecision::Gateway { .. } => Problem::contended().response(),
                }
            }
        };
        let response = with_age(response, &request, freshness, inputs.now);
        effects.push(Effect::Answer(id, admin_reply(response, None)));
        Vec::new()
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
                etcd.waiting.push((id, Waiting { request, commit, rows: Vec::new(), values: Vec::new() }));
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
            (
                AdminDecision::Preview(_)
                | AdminDecision::Audit(_)
                | AdminDecision::Rows(_)
                | AdminDecision::Drain
                | AdminDecision::Gateway { .. },
                _,
                _,
            ) => Problem::contended().response(),
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
