//! Where documents are kept in a fleet's etcd: a write is acknowledged once etcd has it and this process shows it.

use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::Value;

use super::store::{Effect, HELD, PolicyStore, answered, entry_of, line, problem, refused};
use super::{Commit, JournalError};
use crate::admin::audit;
use crate::admin::audit::AuditEntry;
use crate::admin::problem::Problem;
use crate::admin::{AdminDecision, AdminRequest, RequestInputs, Response};
use crate::config::{EtcdConfig, GatewayConfig};
use crate::counters::{Cas, CounterStore, RecordKey, StoreError, Update, retry_conflicts};
use crate::etcd;
use crate::etcd::{
    BEHIND, Changes, EtcdClient, EtcdEffect, EtcdError, Freshness, PATIENCE, RequestId, entry_name,
    take_lease,
};
use crate::json::out_of_line::text;
use crate::policy::{Change, Document, Policy};
use crate::time::{Now, SECOND};

/// Bytes of documents that are published in one step, if one alone is not larger.
const STEP: usize = 512 * 1024;

/// A document and its content; `None`: it is removed.
type Content = (Document, Option<Value>);

/// One VM's part in the traffic with etcd.
#[derive(Debug)]
pub(super) struct EtcdStore {
    client: EtcdClient,
    vm: u64,
    /// Entries named so far.
    named: u64,
    lease: RecordKey,
    seen: RecordKey,
    /// Few at a time.
    waiting: Vec<(RequestId, Waiting)>,
}

/// A request whose answer has to come from etcd.
#[derive(Debug)]
struct Waiting {
    request: AdminRequest,
    decided: Option<PendingCommit>,
}

/// A write on its way.
#[derive(Debug)]
struct PendingCommit {
    documents: Vec<Content>,
    response: Response,
    entry: Option<AuditEntry>,
}

impl EtcdStore {
    pub(super) fn new(fleet: &EtcdConfig, prefix: &str, vm: u64) -> EtcdStore {
        let name = |part: &str| RecordKey::new(prefix, &["fleet", part]);
        EtcdStore {
            client: EtcdClient::new(fleet),
            vm,
            named: 0,
            lease: name("leader"),
            seen: name("seen"),
            waiting: Vec::new(),
        }
    }

    fn take(&mut self, ticket: RequestId) -> Option<Waiting> {
        let at = self.waiting.iter().position(|(waits, _)| *waits == ticket)?;
        Some(self.waiting.swap_remove(at).1)
    }

    fn name(&mut self, entry: &AuditEntry) -> String {
        self.named = self.named.wrapping_add(1);
        entry_name(entry.time, self.vm.wrapping_add(self.named))
    }

    /// When etcd was last read by anybody in this process.
    fn seen<C: CounterStore>(&self, store: &mut C) -> Option<Freshness> {
        let (record, _) = store.read(&self.seen).ok()?;
        Freshness::from_bytes(&record)
    }

    fn note<C: CounterStore>(&self, store: &mut C, seen: Freshness) {
        // If this fails, the policy seems older than it is: the safe side.
        let _ = store.update_bytes::<_, StoreError>(&self.seen, |_, record| {
            *record = seen.later(Freshness::from_bytes(record)).to_bytes();
            Ok(Update::Write(()))
        });
    }
}

impl PolicyStore {
    /// Whether etcd has the say and was never read in this process: a key that is not known may be one of its.
    pub fn awaits_fleet<C: CounterStore>(&self, store: &mut C) -> bool {
        self.fleet.as_ref().is_some_and(|fleet| fleet.seen(store).is_none())
    }

    pub(super) fn manage_with_fleet<C: CounterStore>(
        &mut self,
        store: &mut C,
        gateway: &GatewayConfig,
        (ticket, request): (RequestId, AdminRequest),
        asked: &RequestInputs,
        acts: &mut Vec<Effect>,
    ) {
        let (decided, _) = self.decide(store, gateway, &request, asked);
        let Some(fleet) = &mut self.fleet else { return };
        let effects = match decided.outcome {
            AdminDecision::Answer(response) => {
                let seen = fleet.seen(store);
                if seen.is_none() && matches!(response.status, 401 | 403 | 404) {
                    // Who asks, or what for, may be in etcd.
                    let response = never_read().response();
                    acts.push(Effect::Answer(ticket, answered(response, None)));
                    return;
                }
                let response = aged(response, &request, seen, asked.now);
                self.attempt(decided.entry.as_ref(), asked.now, store, gateway, asked, acts);
                acts.push(Effect::Answer(ticket, answered(response, decided.entry.as_ref())));
                return;
            }
            AdminDecision::Audit(query) => fleet.client.page(ticket, &query, asked.now),
            AdminDecision::Write(_) => {
                fleet.waiting.push((ticket, Waiting { request, decided: None }));
                fleet.client.submit(ticket, asked.now)
            }
        };
        self.carry_out(store, gateway, effects, asked, acts);
    }

    /// The answer to an [`Act::Call`]; status 0: there was none, or the call could not be made.
    pub fn called<C: CounterStore>(
        &mut self,
        store: &mut C,
        gateway: &GatewayConfig,
        (slot, status, body): (u32, u16, &[u8]),
        asked: &RequestInputs,
    ) -> Vec<Effect> {
        let mut acts = Vec::new();
        if let Some(fleet) = &mut self.fleet {
            let effects = fleet.client.answer(slot, status, body, asked.now);
            self.carry_out(store, gateway, effects, asked, &mut acts);
        }
        acts
    }

    /// Polls, if it is this VM's turn.
    pub(super) fn poll<C: CounterStore>(
        &mut self,
        store: &mut C,
        gateway: &GatewayConfig,
        asked: &RequestInputs,
        acts: &mut Vec<Effect>,
    ) {
        let (Some(fleet), Some(journal)) = (&mut self.fleet, &self.journal) else { return };
        if journal.is_superseded() {
            return;
        }
        let Ok((record, version)) = store.read(&fleet.lease) else { return };
        let Some(lease) = take_lease(&record, fleet.vm, asked.now) else { return };
        if store.compare_and_swap(&fleet.lease, version, &lease) != Ok(Cas::Stored) {
            return;
        }
        let effects = fleet.client.poll(journal.revision(), asked.now);
        self.carry_out(store, gateway, effects, asked, acts);
    }

    fn carry_out<C: CounterStore>(
        &mut self,
        store: &mut C,
        gateway: &GatewayConfig,
        effects: Vec<EtcdEffect>,
        asked: &RequestInputs,
        acts: &mut Vec<Effect>,
    ) {
        let mut effects: VecDeque<EtcdEffect> = effects.into();
        while let Some(effect) = effects.pop_front() {
            match effect {
                EtcdEffect::Call { slot, call, timeout } => acts.push(Effect::Call { slot, call, timeout }),
                EtcdEffect::Loaded { loaded, at } => self.load(store, gateway, loaded, at, acts),
                EtcdEffect::Decide(ticket) => {
                    effects.extend(self.take_turn(store, gateway, ticket, asked, acts))
                }
                EtcdEffect::Committed { ticket, revision } => {
                    self.committed(store, gateway, (ticket, revision), asked.now, acts);
                }
                EtcdEffect::Page { ticket, entries, more } => {
                    let next = entries.last().filter(|_| more).map(|(name, _)| name.clone());
                    let entries: Vec<_> = entries
                        .into_iter()
                        .filter_map(|(name, text)| Some((name, entry_of(&text)?)))
                        .collect();
                    let response = audit::page(&entries, next.as_deref());
                    acts.push(Effect::Answer(ticket, answered(response, None)));
                }
                EtcdEffect::Failed { ticket, trouble } => self.failed(ticket, &trouble, acts),
                EtcdEffect::Trouble(trouble) => acts.push(Effect::Warn(trouble.to_string())),
            }
        }
    }

    /// Decides a write whose turn it is, on the policy as it is now.
    fn take_turn<C: CounterStore>(
        &mut self,
        store: &mut C,
        gateway: &GatewayConfig,
        ticket: RequestId,
        asked: &RequestInputs,
        acts: &mut Vec<Effect>,
    ) -> Vec<EtcdEffect> {
        let request = self.fleet.as_mut().and_then(|fleet| fleet.take(ticket));
        let Some(Waiting { request, .. }) = request else {
            return self.fleet.as_mut().map_or_else(Vec::new, |fleet| fleet.client.finish(ticket, asked.now));
        };
        let (decided, state) = self.decide(store, gateway, &request, asked);
        let revision = self.journal.as_ref().map(super::Journal::revision);
        let Some(fleet) = &mut self.fleet else { return Vec::new() };
        let mut entry = decided.entry;
        let documents = match &decided.outcome {
            AdminDecision::Write(write) => gateway.policy.change(|policy| contents(policy, &write.change)),
            _ => None,
        };
        let response = match (decided.outcome, state, revision.zip(documents)) {
            (AdminDecision::Write(write), Ok(()), Some((revision, documents))) => {
                let text = entry.as_ref().map_or_else(String::new, |entry| text(&entry.to_json()));
                let name = entry.as_ref().map_or_else(String::new, |entry| fleet.name(entry));
                let organization = entry.as_ref().and_then(|entry| entry.organization.as_deref());
                let named = (organization, name.as_str(), text.as_str());
                let effects = fleet.client.commit(ticket, revision, &documents, named, asked.now);
                let decided = Some(PendingCommit { documents, response: write.response, entry });
                fleet.waiting.push((ticket, Waiting { request, decided }));
                return effects;
            }
            // It was decided on what is not the newest policy.
            (AdminDecision::Write(_), state, _) => {
                let problem = problem(Some(state.err().unwrap_or(HELD)));
                entry = entry.map(|entry| refused(entry, &problem));
                problem.response()
            }
            (AdminDecision::Answer(response), _, _) => response,
            // A write that has become a question: there is none.
            (AdminDecision::Audit(_), _, _) => Problem::contended().response(),
        };
        let effects = fleet.client.finish(ticket, asked.now);
        self.attempt(entry.as_ref(), asked.now, store, gateway, asked, acts);
        acts.push(Effect::Answer(ticket, answered(response, entry.as_ref())));
        effects
    }

    /// An attempt that changed nothing goes to the log, and to etcd without anybody waiting for it.
    fn attempt<C: CounterStore>(
        &mut self,
        entry: Option<&AuditEntry>,
        now: Now,
        store: &mut C,
        gateway: &GatewayConfig,
        asked: &RequestInputs,
        acts: &mut Vec<Effect>,
    ) {
        let (Some(fleet), Some(entry)) = (&mut self.fleet, entry) else { return };
        acts.push(Effect::Audit(line(entry)));
        let (name, text) = (fleet.name(entry), text(&entry.to_json()));
        let effects = fleet.client.append((entry.organization.as_deref(), &name, &text), now);
        self.carry_out(store, gateway, effects, asked, acts);
    }

    /// etcd has it: now this process, then the answer.
    fn committed<C: CounterStore>(
        &mut self,
        store: &mut C,
        gateway: &GatewayConfig,
        (ticket, revision): (RequestId, u64),
        now: Now,
        acts: &mut Vec<Effect>,
    ) {
        let waiting = self.fleet.as_mut().and_then(|fleet| fleet.take(ticket));
        let Some(PendingCommit { documents, response, entry }) = waiting.and_then(|waiting| waiting.decided)
        else {
            return;
        };
        // Where that fails it is kept all the same, and the next poll shows it.
        match (self.publish(store, gateway, &documents, revision), &self.fleet) {
            // It compared what etcd had with what is known here: as good as a reading, when it was sent.
            (Ok(()), Some(fleet)) => {
                fleet.note(store, Freshness { at: now.monotonic.saturating_sub(PATIENCE), revision });
            }
            (Err(error), _) => acts.push(Effect::Warn(error.to_string())),
            (Ok(()), None) => {}
        }
        acts.extend(entry.as_ref().map(|entry| Effect::Audit(line(entry))));
        acts.push(Effect::Answer(ticket, answered(response, entry.as_ref())));
    }

    fn failed(&mut self, ticket: RequestId, trouble: &EtcdError, acts: &mut Vec<Effect>) {
        let waiting = self.fleet.as_mut().and_then(|fleet| fleet.take(ticket));
        let problem = match trouble {
            EtcdError::DocumentTooLarge { .. }
            | EtcdError::TooManyDocuments(_)
            | EtcdError::TooManyBytes(_) => Problem::new(400, "change_too_large", trouble.to_string()),
            EtcdError::Away { .. } | EtcdError::Late => {
                let detail = "The fleet's store does not answer, so that nothing can be kept now. What you asked for was \
                              most likely not made: look before you try again.";
                Problem::new(503, "fleet_unavailable", detail).with("retry-after", "1")
            }
            EtcdError::Contended { .. } => {
                Problem::new(503, "contended", trouble.to_string()).with("retry-after", "1")
            }
            _ => Problem::new(503, "fleet_unavailable", trouble.to_string()).with("retry-after", "1"),
        };
        let entry = waiting.and_then(|waiting| waiting.decided).and_then(|pending| pending.entry);
        let entry = entry.map(|entry| refused(entry, &problem));
        acts.extend(entry.as_ref().map(|entry| Effect::Audit(line(entry))));
        acts.push(Effect::Answer(ticket, answered(problem.response(), entry.as_ref())));
    }

    /// What etcd had, at the moment `at`.
    fn load<C: CounterStore>(
        &mut self,
        store: &mut C,
        gateway: &GatewayConfig,
        loaded: Changes,
        at: u64,
        acts: &mut Vec<Effect>,
    ) {
        let revision = loaded.revision;
        if !loaded.documents.is_empty() {
            let present = gateway.policy.read().documents();
            let documents = etcd::overlay(&present, loaded);
            if let Err(error) = self.publish(store, gateway, &documents, revision) {
                acts.push(Effect::Warn(error.to_string()));
                return;
            }
        }
        if let Some(fleet) = &self.fleet {
            fleet.note(store, Freshness { at, revision });
        }
    }

    /// Lets this process show documents as of a revision of etcd, unless it shows a later one.
    fn publish<C: CounterStore>(
        &mut self,
        store: &mut C,
        gateway: &GatewayConfig,
        documents: &[Content],
        revision: u64,
    ) -> Result<(), Unpublished> {
        retry_conflicts(|| {
            self.catch_up(store, gateway)?;
            let Some(journal) = &mut self.journal else { return Ok(Some(())) };
            if journal.revision() >= revision {
                return Ok(Some(()));
            }
            let mut steps = steps(documents).peekable();
            while let Some(step) = steps.next() {
                let revision = steps.peek().is_none().then_some(revision);
                let done = gateway.policy.change(|policy| {
                    let change = policy.difference(step).map_err(|diagnostics| {
                        let first = diagnostics.first().map(ToString::to_string);
                        Unpublished::Unreadable(first.unwrap_or_default())
                    })?;
                    let documents = step.iter().map(|(document, _)| document.clone()).collect();
                    let commit = Commit { change, documents, revision, entry: None };
                    Ok(journal.commit(store, policy, commit)?)
                });
                if !done.unwrap_or(Err(Unpublished::Journal(HELD)))? {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
    }
}

/// Why what etcd has is not shown.
enum Unpublished {
    Journal(JournalError),
    /// The first finding.
    Unreadable(String),
}

impl From<JournalError> for Unpublished {
    fn from(error: JournalError) -> Self {
        Unpublished::Journal(error)
    }
}

impl From<StoreError> for Unpublished {
    fn from(error: StoreError) -> Self {
        Unpublished::Journal(error.into())
    }
}

impl core::fmt::Display for Unpublished {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Unpublished::Journal(error) => write!(f, "what etcd has cannot be shown: {error}"),
            Unpublished::Unreadable(diagnostic) => write!(f, "what etcd has is not taken: {diagnostic}"),
        }
    }
}

/// Documents in portions of about [`STEP`] bytes; at least one portion.
fn steps(documents: &[Content]) -> impl Iterator<Item = &[Content]> {
    let mut rest = Some(documents);
    core::iter::from_fn(move || {
        let documents = rest.take()?;
        let mut bytes = 0_usize;
        let fitting = documents.iter().take_while(|(_, content)| {
            let before = bytes;
            bytes = bytes.saturating_add(content.as_ref().map_or(0, |content| text(content).len()));
            before == 0 || bytes <= STEP
        });
        let (step, left) = documents.split_at(fitting.count().max(1).min(documents.len()));
        rest = (!left.is_empty()).then_some(left);
        Some(step)
    })
}

/// The documents that a change touches, as they are once it is made. The policy is as before afterwards.
fn contents(policy: &mut Policy, change: &Change) -> Vec<Content> {
    let mut back = Change { unpriced: change.unpriced.map(|_| policy.unpriced), ..Change::default() };
    for edit in &change.edits {
        match policy.record(edit.section, &edit.id) {
            Some(record) => back.put(edit.section, &edit.id, record),
            None => back.remove(edit.section, &edit.id),
        }
    }
    let touched = policy.touched(change);
    // It was tried, and what is put back was there: neither can fail.
    let _ = Policy::apply(policy, change);
    let contents = touched
        .into_iter()
        .map(|document| {
            let content = Policy::document(policy, &document);
            (document, content)
        })
        .collect();
    let _ = Policy::apply(policy, &back);
    contents
}

fn never_read() -> Problem {
    let detail = "This gateway has not read its fleet's policy yet. Try again shortly.";
    Problem::new(503, "fleet_unavailable", detail).with("retry-after", "1")
}

/// Says in what is read how old it is (RFC 9111, 5.1).
fn aged(mut response: Response, request: &AdminRequest, seen: Option<Freshness>, now: Now) -> Response {
    if request.method != "GET" {
        return response;
    }
    match seen.map(|seen| seen.age(now)) {
        Some(age) => {
            response.fields.push(("age", (age / SECOND).to_string()));
            if age > BEHIND {
                response.fields.push(("x-tollgate-warning", "behind_fleet".to_string()));
            }
        }
        None => response.fields.push(("x-tollgate-warning", "fleet_never_read".to_string())),
    }
    response
}
