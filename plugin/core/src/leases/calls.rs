//! The calls under way: each operation with the use of its result.

use alloc::vec::Vec;

use super::client::{LeaseClient, LeaseEffect};
use super::rows::{Group, Item};
use super::standing::{FailedStep, Step};
use crate::counters::{CounterStore, RecordKey};
use crate::etcd::{
    EtcdReply, GrantLease, KeepAlive, Progress, RemoveAll, Session, Snapshot, StoreState, Stored,
    Transaction, TransactionReply,
};
use crate::fleet::GatewayId;
use crate::time::{Now, SECOND};

/// A call of an operation under way.
#[derive(Debug)]
pub(super) enum Task {
    Grant(Session<GrantLease>),
    Renew(Session<KeepAlive>),
    Survey(Session<Snapshot>),
    Publish(Session<Transaction>),
    /// Rows that are not known.
    Read(Session<Snapshot>, GatewayId, Vec<RecordKey>),
    /// Changes of rows.
    Rows(Session<Transaction>, GatewayId, Vec<Group>),
    /// The rows of calls whose outcome is not known.
    Resolve(Session<Snapshot>, Vec<Item>),
    /// Writes that make the rest of these calls impossible.
    Bump(Session<Transaction>, Vec<Item>),
    /// The records that a dead gateway holds.
    Held(Session<Snapshot>, GatewayId),
    /// The rows of these records.
    HeldRows(Session<Snapshot>, GatewayId, Vec<Stored>),
    /// The retirement of a gateway, which may go on.
    Retire(Session<Transaction>, Option<GatewayId>),
    /// The removal of a gateway's records.
    Forget(Session<RemoveAll>, GatewayId),
    /// A write whose result does not matter.
    Other(Session<Transaction>),
}

/// Timeout of a call for the membership (ns).
const STANDING_TIMEOUT: u64 = 2 * SECOND;

impl LeaseClient {
    /// Sends the calls for the membership.
    pub(super) fn start(&mut self, steps: Vec<Step>, now: Now, effects: &mut Vec<LeaseEffect>) {
        let deadline = now.monotonic.saturating_add(STANDING_TIMEOUT);
        for step in steps {
            let credentials = &self.credentials;
            let task = match step {
                Step::Grant(grant) => Task::Grant(Session::new(grant, credentials)),
                Step::Renew(renewal) => Task::Renew(Session::new(renewal, credentials)),
                Step::Survey(survey) => Task::Survey(Session::new(survey, credentials)),
                Step::Publish(key) => Task::Publish(Session::new(key, credentials)),
            };
            self.send(task, deadline, now, effects);
        }
    }

    /// Sends the next call of a task.
    pub(super) fn send(&mut self, task: Task, deadline: u64, now: Now, effects: &mut Vec<LeaseEffect>) {
        let credentials = &self.credentials;
        let call = match &task {
            Task::Grant(session) => session.call(credentials),
            Task::Renew(session) => session.call(credentials),
            Task::Survey(session)
            | Task::Read(session, ..)
            | Task::Resolve(session, _)
            | Task::Held(session, _)
            | Task::HeldRows(session, ..) => session.call(credentials),
            Task::Publish(session)
            | Task::Rows(session, ..)
            | Task::Bump(session, _)
            | Task::Retire(session, _)
            | Task::Other(session) => session.call(credentials),
            Task::Forget(session, _) => session.call(credentials),
        };
        // A host takes 0 for no timeout.
        let left = (deadline.saturating_sub(now.monotonic) / 1_000_000).max(1);
        self.last_slot = self.last_slot.wrapping_add(1);
        self.in_flight.push((self.last_slot, task, deadline));
        let timeout = u32::try_from(left).unwrap_or(u32::MAX);
        effects.push(LeaseEffect::Call { slot: self.last_slot, call, timeout });
    }

    /// Accepts the response to a call. Status 0 means that there was none or that the call failed.
    pub fn answer<C: CounterStore>(
        &mut self,
        store: &mut C,
        (slot, status, body): (u32, u16, &[u8]),
        now: Now,
    ) -> Vec<LeaseEffect> {
        let mut effects = Vec::new();
        let Some(at) = self.in_flight.iter().position(|(sent, ..)| *sent == slot) else { return effects };
        let (_, mut task, deadline) = self.in_flight.swap_remove(at);
        let reply = EtcdReply::new(body);
        let credentials = &mut self.credentials;
        let read = match &mut task {
            Task::Grant(session) => {
                session.answer(credentials, status, &reply).map(|it| progress(it, Reply::State))
            }
            Task::Renew(session) => {
                session.answer(credentials, status, &reply).map(|it| progress(it, Reply::Renewed))
            }
            Task::Survey(session)
            | Task::Read(session, ..)
            | Task::Resolve(session, _)
            | Task::Held(session, _)
            | Task::HeldRows(session, ..) => {
                session.answer(credentials, status, &reply).map(|it| progress(it, Reply::Read))
            }
            Task::Publish(session)
            | Task::Rows(session, ..)
            | Task::Bump(session, _)
            | Task::Retire(session, _)
            | Task::Other(session) => {
                session.answer(credentials, status, &reply).map(|it| progress(it, Reply::Changed))
            }
            Task::Forget(session, _) => {
                session.answer(credentials, status, &reply).map(|it| progress(it, |()| Reply::Removed))
            }
        };
        match read {
            Ok(None) => self.send(task, deadline, now, &mut effects),
            Ok(Some(reply)) => {
                self.told = None;
                self.done(store, task, reply, now, &mut effects);
            }
            Err(error) => {
                self.failed(store, task, now, &mut effects);
                self.warn(&error, &mut effects);
            }
        }
        effects
    }

    fn done<C: CounterStore>(
        &mut self,
        store: &mut C,
        task: Task,
        reply: Reply,
        now: Now,
        effects: &mut Vec<LeaseEffect>,
    ) {
        match (task, reply) {
            (Task::Grant(_), Reply::State(state)) => {
                let steps = self.standing.granted(&self.keys, state, now);
                self.start(steps, now, effects);
            }
            (Task::Renew(_), Reply::Renewed(renewed)) => {
                let (steps, change) = self.standing.renewed(&self.keys, renewed, now);
                self.start(steps, now, effects);
                self.store(store, change, now, effects);
            }
            (Task::Survey(_), Reply::Read(read)) => {
                let (steps, change, survey) = self.standing.surveyed(&self.keys, read, now);
                self.start(steps, now, effects);
                self.store(store, change, now, effects);
                if let Some(survey) = survey {
                    self.survey = survey;
                    if let Some((_, fleet)) = self.membership(store, now) {
                        self.forget_gateways(fleet, now, effects);
                    }
                }
            }
            (Task::Publish(_), Reply::Changed(reply)) => {
                let change = self.standing.published(&reply, now);
                self.store(store, change, now, effects);
                self.start_calls(store, now, effects);
            }
            (Task::Read(_, gateway, records), Reply::Read((_, reads))) => {
                self.rows_read(store, (gateway, &records), &reads, now, effects);
            }
            (Task::Rows(_, gateway, groups), Reply::Changed(reply)) => {
                self.rows_changed(store, gateway, groups, reply, now, effects);
            }
            (Task::Resolve(_, items), Reply::Read((_, reads))) => {
                let values: Vec<Option<Stored>> =
                    reads.into_iter().map(|read| read.into_iter().next()).collect();
                self.resolved(store, items, &values, now, effects);
            }
            (Task::Bump(_, items), Reply::Changed(reply)) => self.bumped(store, items, reply, now, effects),
            (Task::Held(_, dead), Reply::Read((_, reads))) => {
                let held = reads.into_iter().next().unwrap_or_default();
                self.held_read(store, dead, held, now, effects);
            }
            (Task::HeldRows(_, dead, open), Reply::Read((_, reads))) => {
                self.held_rows_read(store, (dead, open), &reads, now, effects);
            }
            (Task::Retire(_, dead), Reply::Changed(_)) => self.retired(dead),
            (Task::Forget(_, gateway), Reply::Removed) => self.forgotten(gateway, now, effects),
            // The rest is impossible: a reply is made for its task.
            (
                Task::Grant(_)
                | Task::Renew(_)
                | Task::Survey(_)
                | Task::Publish(_)
                | Task::Read(..)
                | Task::Rows(..)
                | Task::Resolve(..)
                | Task::Bump(..)
                | Task::Held(..)
                | Task::HeldRows(..)
                | Task::Retire(..)
                | Task::Forget(..)
                | Task::Other(_),
                _,
            ) => {}
        }
    }

    /// Takes the failure of a call: that of a change has an unknown outcome.
    fn failed<C: CounterStore>(
        &mut self,
        store: &mut C,
        task: Task,
        now: Now,
        effects: &mut Vec<LeaseEffect>,
    ) {
        match task {
            Task::Survey(_) => self.standing.failed(&FailedStep::Survey, now),
            Task::Grant(_) | Task::Renew(_) | Task::Publish(_) => {
                self.standing.failed(&FailedStep::Other, now);
            }
            Task::Read(_, _, records) => self.read_failed(&records),
            Task::Rows(_, _, groups) => self.rows_unknown(store, groups, now, effects),
            Task::Resolve(_, items) | Task::Bump(_, items) => self.unresolved.extend(items),
            // The next survey finds it again.
            Task::Held(..) | Task::HeldRows(..) | Task::Retire(..) | Task::Forget(..) | Task::Other(_) => {}
        }
    }
}

/// The output of an operation.
enum Reply {
    State(StoreState),
    Renewed((StoreState, bool)),
    Read((StoreState, Vec<Vec<Stored>>)),
    Changed(TransactionReply),
    Removed,
}

fn progress<T>(progress: Progress<T>, reply: impl FnOnce(T) -> Reply) -> Option<Reply> {
    match progress {
        Progress::More => None,
        Progress::Done(output) => Some(reply(output)),
    }
}
