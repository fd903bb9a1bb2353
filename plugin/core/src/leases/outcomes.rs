//! The results of calls that read and change rows, and calls whose result is not known.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::calls::Task;
use super::client::{LeaseClient, LeaseEffect, Waiter};
use super::requests::{UNREACHABLE, decide, give_back};
use super::rows::{Group, Item, item_finish};
use super::standing::Change;
use crate::admission::{AdmissionError, Receipt};
use crate::counters::{CounterStore, RecordKey};
use crate::etcd::{
    MAX_PARTS, PartReply, Read, RequestId, Session, Snapshot, StoreState, Stored, Transaction,
    TransactionReply,
};
use crate::fleet::{CALL_TIMEOUT, Finished, GatewayId, Outcome};
use crate::time::Now;

impl LeaseClient {
    /// Takes rows that were not known.
    pub(super) fn rows_read<C: CounterStore>(
        &mut self,
        store: &mut C,
        (gateway, records): (GatewayId, &[RecordKey]),
        reads: &[Vec<Stored>],
        now: Now,
        effects: &mut Vec<LeaseEffect>,
    ) {
        self.known.follow(gateway);
        for (record, read) in records.iter().zip(reads.chunks(2)) {
            self.busy.remove(record.as_str());
            let principal = self.records.principal(record.as_str());
            let [row, held] =
                [read.first(), read.get(1)].map(|stored| stored.and_then(|stored| stored.first()));
            if !self.known.read(principal, row, held, now) {
                effects.push(LeaseEffect::Warn(newer_format(principal)));
            }
        }
        self.start_calls(store, now, effects);
    }

    /// Takes the end of a read that failed.
    pub(super) fn read_failed(&mut self, records: &[RecordKey]) {
        for record in records {
            self.busy.remove(record.as_str());
        }
    }

    /// Takes the result of a call that changes rows.
    pub(super) fn rows_changed<C: CounterStore>(
        &mut self,
        store: &mut C,
        gateway: GatewayId,
        groups: Vec<Group>,
        reply: TransactionReply,
        now: Now,
        effects: &mut Vec<LeaseEffect>,
    ) {
        let TransactionReply { state, parts } = reply;
        match parts {
            None => {
                for group in &groups {
                    self.not_applied(store, group, None, now, effects);
                }
                self.store(store, Some(Change::Lost(gateway)), now, effects);
            }
            Some(parts) => {
                for (group, part) in groups.into_iter().zip(parts) {
                    match part {
                        PartReply::Stored => self.applied(store, group, state, now, effects),
                        PartReply::Stale(values) => {
                            self.not_applied(store, &group, Some(&values), now, effects);
                        }
                    }
                }
            }
        }
        self.start_calls(store, now, effects);
    }

    fn applied<C: CounterStore>(
        &mut self,
        store: &mut C,
        group: Group,
        state: StoreState,
        now: Now,
        effects: &mut Vec<LeaseEffect>,
    ) {
        let fleet = self.membership(store, now).map(|(_, fleet)| fleet);
        let mut admits = Vec::with_capacity(group.items.len());
        for item in &group.items {
            self.busy.remove(item.record.as_str());
            let principal = self.records.principal(item.record.as_str());
            self.known.put(principal, item.known(state.revision, now));
            // If the slice cannot be written, the call stays in it until a VM resolves it.
            let finished = item_finish(store, item, Outcome::Applied, now);
            admits.push((&item.record, finished == Ok(Finished::Admitted)));
        }
        let all = admits.iter().all(|(_, admits)| *admits);
        for (id, charges) in group.charged {
            let mut receipt = Receipt::default();
            let waiter = self.take(id);
            let (mut rest, own) = match waiter {
                Some(waiter) => {
                    let Waiter { receipt: own, .. } = &waiter;
                    receipt = Receipt::under(own.gateway());
                    (Some(waiter), true)
                }
                None => (None, false),
            };
            if let Some(waiter) = rest.as_mut().filter(|waiter| all && !waiter.gone) {
                for (record, entries) in charges {
                    waiter.receipt.push(record, entries);
                }
                if let Some(fleet) = fleet {
                    waiter.record(&group.items, self.policy, fleet);
                }
                if let Some(waiter) = rest {
                    decide(store, waiter, Ok(()), effects);
                }
                continue;
            }
            // Charges of a call that did not admit its requests were given back in the slice.
            for (record, entries) in charges {
                if admits.iter().any(|(of, admits)| **of == record && *admits) {
                    receipt.push(record, entries);
                }
            }
            if own {
                give_back(store, receipt, effects);
            }
            if let Some(waiter) = rest {
                decide(store, waiter, Err(UNREACHABLE), effects);
            }
        }
        for (id, exceeded) in group.refused {
            if let Some(waiter) = self.take(id) {
                decide(store, waiter, Err(AdmissionError::Denied(Box::new(exceeded))), effects);
            }
        }
        for principal in group.wanted {
            self.want(&principal, now);
        }
    }

    /// Takes a call that was not applied and never will be. Its streams wait for the next.
    fn not_applied<C: CounterStore>(
        &mut self,
        store: &mut C,
        group: &Group,
        values: Option<&[Option<Stored>]>,
        now: Now,
        effects: &mut Vec<LeaseEffect>,
    ) {
        for (position, item) in group.items.iter().enumerate() {
            self.busy.remove(item.record.as_str());
            let principal = self.records.principal(item.record.as_str());
            match values.and_then(|values| values.chunks(2).nth(position)) {
                Some([row, held]) => {
                    if !self.known.read(principal, row.as_ref(), held.as_ref(), now) {
                        effects.push(LeaseEffect::Warn(newer_format(principal)));
                    }
                }
                _ => self.known.forget(principal),
            }
            if let Err(error) = item_finish(store, item, Outcome::NotApplied, now) {
                effects.push(LeaseEffect::Warn(error.to_string()));
            }
        }
        let ids = group.charged.iter().map(|(id, _)| *id).chain(group.refused.iter().map(|(id, _)| *id));
        let ids: Vec<RequestId> = ids.collect();
        let mut at = 0;
        while let Some(waiter) = self.waiters.get_mut(at) {
            if !ids.contains(&waiter.id) {
                at += 1;
            } else if waiter.gone {
                let waiter = self.waiters.remove(at);
                give_back(store, waiter.receipt, effects);
            } else {
                waiter.in_call = false;
                at += 1;
            }
        }
    }

    /// Takes a call whose outcome is not known.
    pub(super) fn rows_unknown<C: CounterStore>(
        &mut self,
        store: &mut C,
        groups: Vec<Group>,
        now: Now,
        effects: &mut Vec<LeaseEffect>,
    ) {
        for Group { items, charged, refused, .. } in groups {
            for item in &items {
                self.known.forget(self.records.principal(item.record.as_str()));
            }
            self.unresolved.extend(items);
            let ids = charged.into_iter().map(|(id, _)| id).chain(refused.into_iter().map(|(id, _)| id));
            for id in ids {
                if let Some(mut waiter) = self.take(id) {
                    let decision = self.without_fleet(store, &mut waiter, now);
                    decide(store, waiter, decision, effects);
                }
            }
        }
    }

    fn take(&mut self, id: RequestId) -> Option<Waiter> {
        let at = self.waiters.iter().position(|waiter| waiter.id == id)?;
        Some(self.waiters.remove(at))
    }

    /// Reads the rows of calls whose outcome is not known.
    pub(super) fn resolve(&mut self, now: Now, effects: &mut Vec<LeaseEffect>) {
        if self.unresolved.is_empty() || self.is_resolving() || now.monotonic < self.resolve_at {
            return;
        }
        self.resolve_at = now.monotonic.saturating_add(CALL_TIMEOUT);
        let rest = self.unresolved.split_off(self.unresolved.len().min(MAX_PARTS));
        let items = core::mem::replace(&mut self.unresolved, rest);
        let reads = items.iter().flat_map(|item| item.keys(&self.keys, &self.records.slices)).map(Read::Key);
        let session = Session::new(Snapshot::new(reads.collect()), &self.credentials);
        let deadline = now.monotonic.saturating_add(CALL_TIMEOUT);
        self.send(Task::Resolve(session, items), deadline, now, effects);
    }

    /// Takes the rows of calls whose outcome is not known.
    pub(super) fn resolved<C: CounterStore>(
        &mut self,
        store: &mut C,
        items: Vec<Item>,
        values: &[Option<Stored>],
        now: Now,
        effects: &mut Vec<LeaseEffect>,
    ) {
        let mut open = Vec::new();
        let mut parts = Vec::new();
        for (item, values) in items.into_iter().zip(values.chunks(2)) {
            let [row, held] = [values.first(), values.get(1)].map(|value| value.and_then(Option::as_ref));
            match item.outcome(row, held) {
                Some(outcome) => self.resolve_one(store, &item, outcome, now, effects),
                None => {
                    let [row_key, held_key] = item.keys(&self.keys, &self.records.slices);
                    parts.push(item.bump(row, [row_key, held_key]));
                    open.push(item);
                }
            }
        }
        if !open.is_empty() {
            let session = Session::new(Transaction::new(Vec::new(), parts), &self.credentials);
            let deadline = now.monotonic.saturating_add(CALL_TIMEOUT);
            self.send(Task::Bump(session, open), deadline, now, effects);
        }
        self.start_calls(store, now, effects);
    }

    /// Takes the result of the writes that make calls impossible.
    pub(super) fn bumped<C: CounterStore>(
        &mut self,
        store: &mut C,
        items: Vec<Item>,
        reply: TransactionReply,
        now: Now,
        effects: &mut Vec<LeaseEffect>,
    ) {
        for (item, part) in items.into_iter().zip(reply.parts.unwrap_or_default()) {
            let outcome = match &part {
                PartReply::Stored => Some(Outcome::NotApplied),
                PartReply::Stale(values) => {
                    let [row, held] =
                        [values.first(), values.get(1)].map(|value| value.and_then(Option::as_ref));
                    item.outcome(row, held)
                }
            };
            match outcome {
                Some(outcome) => self.resolve_one(store, &item, outcome, now, effects),
                None => self.unresolved.push(item),
            }
        }
        self.start_calls(store, now, effects);
    }

    fn resolve_one<C: CounterStore>(
        &mut self,
        store: &mut C,
        item: &Item,
        outcome: Outcome,
        now: Now,
        effects: &mut Vec<LeaseEffect>,
    ) {
        self.busy.remove(item.record.as_str());
        self.known.forget(self.records.principal(item.record.as_str()));
        if let Err(error) = item_finish(store, item, outcome, now) {
            effects.push(LeaseEffect::Warn(error.to_string()));
        }
    }
}

fn newer_format(principal: &str) -> String {
    alloc::format!(
        "the counters of `{principal}` in etcd have a newer format: this gateway is too old for its fleet"
    )
}
