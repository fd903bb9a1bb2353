//! The calls to etcd of one VM for shared counters, without I/O: the membership, the rows of principals, and the streams
//! that wait for them.

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::account::{Moment, SliceAccount, charge_debt, needs};
use super::calls::Task;
use super::keys::{FleetKeys, FleetRecords};
use super::requests::UNREACHABLE;
use super::rows::{Item, KnownRows};
use super::standing::{Change, Standing, Survey};
use crate::admission::status::RateLimitStatus;
use crate::admission::{
    ActualUsage, AdmissionError, AdmissionRequest, Admitted, Correction, NotAdmitted, Receipt, retry_account,
    settle_account,
};
use crate::config::{EtcdConfig, FailureMode, GatewayConfig};
use crate::counters::{Cas, CounterStore, StoreError, Update};
use crate::etcd::{Credentials, Drain, EtcdCall, EtcdError, RequestId, take_lease};
use crate::fleet::{CALL_TIMEOUT, FleetNow, FleetTime, GatewayId, Membership};
use crate::time::{Now, SECOND};

/// The interval of looks at the slices (ns).
const CARE: u64 = SECOND / 4;
/// The time for which a stream waits for a call, before one is sent for it (ns).
pub(super) const PATIENCE: u64 = CALL_TIMEOUT;

/// An effect of the client. Effects are carried out in order.
#[derive(Debug, PartialEq)]
pub enum LeaseEffect {
    /// Send this call, and pass its response to [`LeaseClient::answer`].
    Call {
        /// Identifies the call in [`LeaseClient::answer`].
        slot: u32,
        /// The call.
        call: EtcdCall,
        /// Timeout in milliseconds.
        timeout: u32,
    },
    /// The decision about a request that has waited.
    Decided(RequestId, Result<Admitted, NotAdmitted>),
    /// Retry these corrections later, with [`crate::admission::retry`].
    Queue(Vec<Correction>),
    /// Log this event.
    Note(String),
    /// Log this error.
    Warn(String),
}

/// A stream that waits.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) id: RequestId,
    pub(super) request: AdmissionRequest,
    /// The charges that its slices covered.
    pub(super) receipt: Receipt,
    pub(super) status: RateLimitStatus,
    /// The positions of the principals that need a call.
    pub(super) missing: Vec<usize>,
    /// The monotonic time until which it waits.
    pub(super) deadline: u64,
    /// True while a call for it is under way.
    pub(super) in_call: bool,
    /// True if its slices were just tried.
    pub(super) tried: bool,
    /// True once its stream has ended.
    pub(super) gone: bool,
}

impl Waiter {
    /// Returns a stream that waits and is in no call. `tried`: its slices were just tried.
    pub(super) fn new(
        id: RequestId,
        request: AdmissionRequest,
        (receipt, status): (Receipt, RateLimitStatus),
        missing: Vec<usize>,
        deadline: u64,
        tried: bool,
    ) -> Self {
        Waiter { id, request, receipt, status, missing, deadline, in_call: false, tried, gone: false }
    }
}

/// The calls of one VM, and the streams that wait for them.
#[derive(Debug)]
pub struct LeaseClient {
    pub(super) keys: FleetKeys,
    pub(super) records: FleetRecords,
    pub(super) credentials: Credentials,
    /// The random id of this VM.
    pub(super) vm: u64,
    pub(super) standing: Standing,
    pub(super) survey: Survey,
    pub(super) in_flight: Vec<(u32, Task, u64)>,
    pub(super) last_slot: u32,
    pub(super) waiters: Vec<Waiter>,
    pub(super) known: KnownRows,
    /// The slices of which a row is being read or changed.
    pub(super) busy: BTreeSet<String>,
    /// Calls whose outcome is not known, and that are not being resolved.
    pub(super) unresolved: Vec<Item>,
    /// The number of the last call that changes rows.
    pub(super) number: u64,
    /// The revision of the policy.
    pub(super) policy: u64,
    /// The gateway's id, as this VM last read it.
    pub(super) gateway: Option<GatewayId>,
    /// True once this process was a member of its fleet.
    pub(super) was_member: bool,
    /// True once this VM had a tick: on a host without ticks no stream may wait.
    pub(super) ticked: bool,
    /// True once the gateway gives its slices back.
    pub(super) leaving: bool,
    /// The monotonic time before which no outcome is looked for.
    pub(super) resolve_at: u64,
    /// Principals that other gateways' slices keep from requests: since when, and true if etcd has it.
    pub(super) wants: Vec<(String, u64, bool)>,
    /// The monotonic time of the last look at the slices.
    cared: u64,
    /// Requests that cannot be decided are admitted, and reported later.
    allows: bool,
    /// The last error that was logged: it is not repeated.
    pub(super) told: Option<String>,
}

impl LeaseClient {
    /// Creates a client without calls. `None`: the gateway's counters are its own. `vm` is a unique number of the VM.
    pub fn new(config: &GatewayConfig, vm: u64) -> Option<Self> {
        let etcd: &EtcdConfig = config.shared_counters()?;
        Some(LeaseClient {
            keys: FleetKeys::new(etcd),
            records: FleetRecords::new(etcd, &config.prefix),
            credentials: Credentials::new(etcd.user()),
            vm,
            standing: Standing::default(),
            survey: Survey::default(),
            in_flight: Vec::new(),
            last_slot: 0,
            waiters: Vec::new(),
            known: KnownRows::default(),
            busy: BTreeSet::new(),
            unresolved: Vec::new(),
            number: 0,
            policy: 0,
            gateway: None,
            was_member: false,
            ticked: false,
            leaving: false,
            resolve_at: 0,
            wants: Vec::new(),
            cared: 0,
            allows: config.on_unavailable == FailureMode::Allow,
            told: None,
        })
    }

    /// The membership of this process, if its record is not too old.
    pub(super) fn membership<C: CounterStore>(
        &mut self,
        store: &mut C,
        now: Now,
    ) -> Option<(GatewayId, FleetNow)> {
        let membership = self.stored_membership(store)?;
        let fleet = membership.now(now)?;
        self.gateway = Some(membership.id);
        self.was_member = true;
        Some((membership.id, fleet))
    }

    fn stored_membership<C: CounterStore>(&self, store: &mut C) -> Option<Membership> {
        let (record, _) = store.read(&self.records.membership).ok()?;
        Membership::from_bytes(&record)
    }

    /// Decides about a request while the fleet cannot be reached: with `on_unavailable: allow` it is admitted as a debt.
    pub(super) fn without_fleet<C: CounterStore>(
        &self,
        store: &mut C,
        waiter: &mut Waiter,
        now: Now,
    ) -> Result<(), AdmissionError> {
        if !self.allows {
            return Err(UNREACHABLE);
        }
        // Without a membership the debt is that of the next one, and without a clock the host's is the best there is.
        let known = self.stored_membership(store);
        let own = FleetNow { earliest: FleetTime(now.wall), latest: FleetTime(now.wall) };
        let moment = Moment {
            gateway: known.map_or(GatewayId(0), |known| known.id),
            fleet: known.map_or(own, |known| known.clock().now(now)),
            policy: self.policy,
        };
        if waiter.receipt.is_empty() {
            waiter.receipt = Receipt::under(moment.gateway.0);
        }
        for position in core::mem::take(&mut waiter.missing) {
            let Some(principal) = waiter.request.principals.get(position) else { continue };
            let needs = needs(principal, &waiter.request.reservation, moment.policy);
            let entries = charge_debt(store, &self.records.index, &principal.record, &needs, moment)?;
            waiter.receipt.push(principal.record.clone(), entries);
        }
        Ok(())
    }

    /// Runs on every tick: decides about streams that have waited for too long and, if it is the turn of this VM, renews the
    /// membership and takes care of slices.
    pub fn tick<C: CounterStore>(
        &mut self,
        store: &mut C,
        (random, policy): (Option<u128>, u64),
        now: Now,
    ) -> Vec<LeaseEffect> {
        let mut effects = Vec::new();
        self.policy = self.policy.max(policy);
        self.ticked = true;
        let drain = store.read(&self.records.drain).ok().and_then(|(record, _)| Drain::from_bytes(&record));
        self.leaving = drain.is_some_and(|drain| drain.lasts(now));
        if self.leads(store, now) {
            let shared = self.stored_membership(store);
            let steps = self.standing.tick(&self.keys, shared.as_ref(), random, now);
            self.start(steps, now, &mut effects);
            if now.monotonic.saturating_sub(self.cared) >= CARE {
                self.cared = now.monotonic;
                self.care(store, now, &mut effects);
            }
        } else {
            self.expire_wants(now, &mut effects);
        }
        self.look(store, now, &mut effects);
        effects
    }

    /// The number of calls under way that change rows.
    pub(super) fn row_calls(&self) -> usize {
        self.in_flight.iter().filter(|(_, task, _)| matches!(task, Task::Rows(..) | Task::Read(..))).count()
    }

    pub(super) fn is_resolving(&self) -> bool {
        self.in_flight.iter().any(|(_, task, _)| matches!(task, Task::Resolve(..) | Task::Bump(..)))
    }

    pub(super) fn is_retiring(&self) -> bool {
        let is = |task: &Task| matches!(task, Task::Held(..) | Task::HeldRows(..) | Task::Retire(..));
        self.in_flight.iter().any(|(_, task, _)| is(task))
    }

    /// Settles an admission. Returns the corrections that failed, for [`LeaseClient::retry`].
    pub fn settle<C: CounterStore>(store: &mut C, receipt: Receipt, actual: ActualUsage) -> Vec<Correction> {
        settle_account::<SliceAccount, C>(store, receipt, actual)
    }

    /// Retries a correction. Returns it if it failed again.
    pub fn retry<C: CounterStore>(store: &mut C, correction: Correction) -> Option<Correction> {
        retry_account::<SliceAccount, C>(store, correction)
    }

    /// True if this VM renews the membership and takes care of rows.
    fn leads<C: CounterStore>(&self, store: &mut C, now: Now) -> bool {
        let Ok((record, version)) = store.read(&self.records.leader) else { return false };
        let Some(turn) = take_lease(&record, self.vm, now) else { return false };
        store.compare_and_swap(&self.records.leader, version, &turn) == Ok(Cas::Stored)
    }

    /// Logs an error, once while it repeats.
    pub(super) fn warn(&mut self, error: &EtcdError, effects: &mut Vec<LeaseEffect>) {
        let text = error.to_string();
        if self.told.as_ref() != Some(&text) {
            effects.push(LeaseEffect::Warn(alloc::format!("shared counters: {text}")));
            self.told = Some(text);
        }
    }

    /// Stores a change of the membership for all VMs.
    pub(super) fn store<C: CounterStore>(
        &self,
        store: &mut C,
        change: Option<Change>,
        now: Now,
        effects: &mut Vec<LeaseEffect>,
    ) {
        let note = match change {
            None => return,
            Some(Change::Is(new)) => {
                store.update_bytes::<_, StoreError>(&self.records.membership, |_, record| {
                    let known = Membership::from_bytes(record);
                    let other = known.filter(|known| known.id != new.id && known.now(now).is_some());
                    if other.is_some() {
                        // Another VM was first; this one follows it at its next tick.
                        return Ok(Update::Keep(None));
                    }
                    let joined = known.is_none_or(|known| known.id != new.id);
                    *record = new.to_bytes();
                    Ok(Update::Write(
                        joined.then(|| alloc::format!("this gateway is {} of its fleet", new.id.text())),
                    ))
                })
            }
            Some(Change::Restored(id)) => {
                let text = "etcd was restored from a backup or replaced: what was spent since then may be spent again";
                effects.push(LeaseEffect::Warn(text.to_string()));
                return self.store(store, Some(Change::Lost(id)), now, effects);
            }
            Some(Change::Lost(id)) => {
                store.update_bytes::<_, StoreError>(&self.records.membership, |_, record| {
                    if Membership::from_bytes(record).is_none_or(|known| known.id != id) {
                        return Ok(Update::Keep(None));
                    }
                    record.clear();
                    Ok(Update::Write(Some(alloc::format!(
                        "the lease of gateway {} has ended in etcd",
                        id.text()
                    ))))
                })
            }
        };
        match note {
            Ok(note) => effects.extend(note.map(LeaseEffect::Note)),
            Err(error) => effects.push(LeaseEffect::Warn(error.to_string())),
        }
    }
}
