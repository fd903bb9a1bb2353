//! The streams that wait for a call, and the calls that decide about them.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::account::{Moment, SliceAccount, acquire, admitted, charge_again, needs, not_admitted};
use super::calls::Task;
use super::client::{LeaseClient, LeaseEffect, PATIENCE, Waiter};
use super::rows::{Built, Item, Principal, Request, Sender};
use crate::admission::status::RateLimitStatus;
use crate::admission::{
    AdmissionError, AdmissionRequest, Admitted, NotAdmitted, Receipt, check_capacity, release_account,
};
use crate::counters::{CounterStore, RecordKey, StoreError, UnavailableError};
use crate::etcd::{Compare, MAX_PARTS, Read, RequestId, Session, Snapshot, Transaction};
use crate::fleet::{CALL_TIMEOUT, FleetNow, GatewayId};
use crate::time::Now;

pub(super) const UNREACHABLE: AdmissionError =
    AdmissionError::Store(StoreError::Unavailable(UnavailableError::Unreachable));

impl LeaseClient {
    /// Decides about a request. `None`: it waits for a call, and the decision is an effect of a later callback. `policy` is
    /// the revision of the policy that it was authorized by.
    #[allow(clippy::result_large_err, reason = "both ends of one decision, taken once a request")]
    pub fn admit<C: CounterStore>(
        &mut self,
        store: &mut C,
        (id, request): (RequestId, AdmissionRequest),
        policy: u64,
        now: Now,
        effects: &mut Vec<LeaseEffect>,
    ) -> Option<Result<Admitted, NotAdmitted>> {
        let status = RateLimitStatus::default();
        if let Some(exceeded) = check_capacity(&request) {
            return Some(Err(not_admitted(AdmissionError::Denied(Box::new(exceeded)), status, Vec::new())));
        }
        self.policy = self.policy.max(policy);
        let deadline = now.monotonic.saturating_add(PATIENCE);
        let waiter = match self.membership(store, now) {
            Some((gateway, fleet)) => {
                let acquired = match acquire(store, &request, Moment { gateway, fleet, policy }) {
                    Ok(acquired) => acquired,
                    Err(refused) => return Some(Err(refused)),
                };
                let (receipt, status, missing) = (acquired.receipt, acquired.status, acquired.missing);
                if missing.is_empty() {
                    return Some(admitted(receipt, status));
                }
                Waiter::new(id, request, (receipt, status), missing, deadline, true)
            }
            // A gateway that is joining for the first time is about to be a member: each tick looks after the streams.
            None if self.ticked && !self.was_member && store.read(&self.records.membership).is_ok() => {
                let missing = (0..request.principals.len()).collect();
                let receipt = Receipt::default();
                Waiter::new(id, request, (receipt, status), missing, deadline, false)
            }
            None => {
                let missing = (0..request.principals.len()).collect();
                let receipt = Receipt::default();
                let mut waiter = Waiter::new(id, request, (receipt, status), missing, deadline, true);
                let decision = self.without_fleet(store, &mut waiter, now);
                return Some(match decision {
                    Ok(()) => admitted(waiter.receipt, status),
                    Err(error) => Err(not_admitted(error, status, Vec::new())),
                });
            }
        };
        self.waiters.push(waiter);
        self.start_calls(store, now, effects);
        None
    }

    /// Forgets a stream that has ended. What its slices covered is given back, and what a call grants to it will be.
    pub fn cancel<C: CounterStore>(&mut self, store: &mut C, id: RequestId, effects: &mut Vec<LeaseEffect>) {
        let Some(at) = self.waiters.iter().position(|waiter| waiter.id == id) else { return };
        let in_call = self.waiters.get(at).is_some_and(|waiter| waiter.in_call);
        if in_call {
            if let Some(waiter) = self.waiters.get_mut(at) {
                waiter.gone = true;
            }
            return;
        }
        let waiter = self.waiters.remove(at);
        give_back(store, waiter.receipt, effects);
    }

    /// True if streams wait or calls are to be resolved, so that [`LeaseClient::look`] has work.
    pub fn has_waiters(&self) -> bool {
        !self.waiters.is_empty() || !self.unresolved.is_empty()
    }

    /// Decides about streams that have waited for too long, and starts the calls that are due.
    pub fn look<C: CounterStore>(&mut self, store: &mut C, now: Now, effects: &mut Vec<LeaseEffect>) {
        self.resolve(now, effects);
        self.start_calls(store, now, effects);
        let late = |waiter: &Waiter| !waiter.in_call && waiter.deadline <= now.monotonic;
        while let Some(at) = self.waiters.iter().position(late) {
            let mut waiter = self.waiters.remove(at);
            let decision = self.without_fleet(store, &mut waiter, now);
            decide(store, waiter, decision, effects);
        }
    }

    /// Charges waiting streams to slices that were refilled meanwhile.
    fn retry_locally<C: CounterStore>(
        &mut self,
        store: &mut C,
        (gateway, fleet): (GatewayId, FleetNow),
        effects: &mut Vec<LeaseEffect>,
    ) {
        let moment = Moment { gateway, fleet, policy: self.policy };
        let mut at = 0;
        while let Some(waiter) = self.waiters.get_mut(at) {
            if waiter.in_call || waiter.tried {
                waiter.tried = false;
                at = at.saturating_add(1);
                continue;
            }
            if waiter.receipt.is_empty() {
                waiter.receipt = Receipt::under(gateway.0);
            }
            // Charges under an id that has ended count as spent.
            let mut failed = (waiter.receipt.gateway() != gateway.0).then_some(UNREACHABLE);
            let positions = core::mem::take(&mut waiter.missing);
            for position in positions {
                let Some(principal) = waiter.request.principals.get(position) else { continue };
                let needs = needs(principal, &waiter.request.reservation, moment.policy);
                match charge_again(store, &principal.record, &needs, moment) {
                    Ok(Some(entries)) => waiter.receipt.push(principal.record.clone(), entries),
                    Ok(None) => waiter.missing.push(position),
                    Err(error) => failed = Some(error),
                }
            }
            if failed.is_none() && !waiter.missing.is_empty() {
                at = at.saturating_add(1);
                continue;
            }
            let waiter = self.waiters.remove(at);
            decide(store, waiter, failed.map_or(Ok(()), Err), effects);
        }
    }

    /// Sends the calls for waiting streams whose principals no call of this VM is changing.
    pub(super) fn start_calls<C: CounterStore>(
        &mut self,
        store: &mut C,
        now: Now,
        effects: &mut Vec<LeaseEffect>,
    ) {
        if self.waiters.iter().all(|waiter| waiter.in_call) {
            return;
        }
        let Some((gateway, fleet)) = self.membership(store, now) else { return };
        self.retry_locally(store, (gateway, fleet), effects);
        let mut plans: Vec<Plan> = Vec::new();
        let mut names = BTreeSet::new();
        for waiter in self.waiters.iter().filter(|waiter| !waiter.in_call && !waiter.gone) {
            let records = waiter.records();
            let blocked = records.iter().any(|record| self.busy.contains(record.as_str()));
            if blocked {
                continue;
            }
            names.extend(records.iter().map(|record| record.as_str().to_string()));
            if names.len() > MAX_PARTS {
                break;
            }
            Plan::add(&mut plans, waiter.id, records);
        }
        let plans: Vec<_> = plans.iter().map(|plan| self.plan(plan)).collect();
        self.call(store, (gateway, fleet), plans, now, effects);
    }

    /// The principals and requests of a plan.
    fn plan(&self, plan: &Plan) -> (Vec<Principal>, Vec<Request>) {
        let mut principals: Vec<Principal> = Vec::new();
        let mut requests = Vec::new();
        for waiter in self.waiters.iter().filter(|waiter| plan.waiters.contains(&waiter.id)) {
            let mut request = Request { id: waiter.id, needs: Vec::new() };
            for principal in waiter.principals() {
                let needs = needs(principal, &waiter.request.reservation, self.policy);
                let known = principals.iter().position(|known| known.record == principal.record);
                let at = known.unwrap_or(principals.len());
                let asks = needs.iter().map(|need| need.ask);
                match principals.get_mut(at) {
                    Some(known) => {
                        for ask in asks {
                            if !known.asks.iter().any(|other| other.id == ask.id) {
                                known.asks.push(ask);
                            }
                        }
                    }
                    None => {
                        let record = principal.record.clone();
                        principals.push(Principal { record, asks: asks.collect() });
                    }
                }
                request.needs.push((at, needs));
            }
            requests.push(request);
        }
        (principals, requests)
    }

    /// Builds and sends the calls of these groups.
    pub(super) fn call<C: CounterStore>(
        &mut self,
        store: &mut C,
        (gateway, fleet): (GatewayId, FleetNow),
        plans: Vec<(Vec<Principal>, Vec<Request>)>,
        now: Now,
        effects: &mut Vec<LeaseEffect>,
    ) {
        self.known.follow(gateway);
        self.number = self.number.saturating_add(1);
        let (mut groups, mut parts, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
        for (principals, requests) in plans {
            let sender = Sender {
                keys: &self.keys,
                index: &self.records.index,
                slices: &self.records.slices,
                lane: self.vm,
                moment: Moment { gateway, fleet, policy: self.policy },
                now,
                number: self.number,
                live: self.survey.members.max(1) as u64,
                wanted: &self.survey.wanted,
                leaving: self.leaving,
            };
            match sender.build(store, &mut self.known, &principals, &requests) {
                Built::Ready(group, part) => {
                    for request in &requests {
                        if let Some(waiter) = self.waiters.iter_mut().find(|waiter| waiter.id == request.id) {
                            waiter.in_call = true;
                        }
                    }
                    self.busy.extend(group.items.iter().map(|item| item.record.as_str().to_string()));
                    groups.push(group);
                    parts.push(part);
                }
                Built::Unknown(records) => unknown.extend(records),
                Built::Failed(error) => {
                    for request in &requests {
                        if let Some(at) = self.waiters.iter().position(|waiter| waiter.id == request.id) {
                            let waiter = self.waiters.remove(at);
                            decide(store, waiter, Err(AdmissionError::Store(error)), effects);
                        }
                    }
                }
            }
        }
        let deadline = now.monotonic.saturating_add(CALL_TIMEOUT);
        if !parts.is_empty() {
            let transaction = Transaction::new(vec![Compare::Exists(self.keys.member(gateway))], parts);
            let session = Session::new(transaction, &self.credentials);
            self.send(Task::Rows(session, gateway, groups), deadline, now, effects);
        }
        if !unknown.is_empty() {
            self.busy.extend(unknown.iter().map(|record| record.as_str().to_string()));
            let principals = unknown.iter().map(|record| self.records.principal(record.as_str()));
            let reads = principals.flat_map(|principal| {
                [Read::Key(self.keys.row(principal)), Read::Key(self.keys.held(gateway, principal))]
            });
            let session = Session::new(Snapshot::new(reads.collect()), &self.credentials);
            self.send(Task::Read(session, gateway, unknown), deadline, now, effects);
        }
    }
}

/// Streams whose principals are connected.
struct Plan {
    records: BTreeSet<String>,
    waiters: Vec<RequestId>,
}

impl Plan {
    /// Adds a stream, and joins the plans that its principals connect.
    fn add(plans: &mut Vec<Plan>, id: RequestId, records: Vec<RecordKey>) {
        let records: BTreeSet<String> = records.iter().map(|record| record.as_str().to_string()).collect();
        let mut joined = Plan { records, waiters: Vec::new() };
        let mut at = 0;
        while let Some(plan) = plans.get(at) {
            if plan.records.is_disjoint(&joined.records) {
                at += 1;
            } else {
                let plan = plans.remove(at);
                joined.records.extend(plan.records);
                joined.waiters.extend(plan.waiters);
            }
        }
        joined.waiters.push(id);
        plans.push(joined);
    }
}

impl Waiter {
    fn principals(&self) -> impl Iterator<Item = &crate::admission::Principal> {
        self.missing.iter().filter_map(|position| self.request.principals.get(*position))
    }

    fn records(&self) -> Vec<RecordKey> {
        self.principals().map(|principal| principal.record.clone()).collect()
    }

    /// Records the state of the counters that a call has changed.
    pub(super) fn record(&mut self, items: &[Item], policy: u64, fleet: FleetNow) {
        let mut status = self.status;
        for principal in self.principals() {
            let Some(item) = items.iter().find(|item| item.record == principal.record) else { continue };
            for need in needs(principal, &self.request.reservation, policy) {
                need.record_row(item.row(), fleet, &mut status);
            }
        }
        self.status = status;
    }
}

/// Ends the wait of a stream.
pub(super) fn decide<C: CounterStore>(
    store: &mut C,
    waiter: Waiter,
    decision: Result<(), AdmissionError>,
    effects: &mut Vec<LeaseEffect>,
) {
    let Waiter { id, receipt, status, gone, .. } = waiter;
    let decision = match decision {
        Ok(()) if !gone => admitted(receipt, status),
        Ok(()) => return give_back(store, receipt, effects),
        Err(error) => {
            let unsettled = release_account::<SliceAccount, C>(store, receipt);
            if gone {
                effects.push(LeaseEffect::Queue(unsettled));
                return;
            }
            Err(not_admitted(error, status, unsettled))
        }
    };
    effects.push(LeaseEffect::Decided(id, decision));
}

pub(super) fn give_back<C: CounterStore>(store: &mut C, receipt: Receipt, effects: &mut Vec<LeaseEffect>) {
    let unsettled = release_account::<SliceAccount, C>(store, receipt);
    if !unsettled.is_empty() {
        effects.push(LeaseEffect::Queue(unsettled));
    }
}
