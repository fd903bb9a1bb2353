//! The background work of the VM whose turn it is: reports, refills and returns of slices, calls of stopped VMs, gateways
//! that disappeared, and the wants of this gateway.

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::account::{bytes_of, open};
use super::calls::Task;
use super::client::{LeaseClient, LeaseEffect};
use super::keys::lease_of;
use super::rows::{Item, Principal};
use crate::counters::{Cas, CounterStore, RecordKey, StoreError, Update};
use crate::etcd::{
    Compare, Drain, MAX_PARTS, Part, Read, RemoveAll, Session, Snapshot, Stored, Transaction, Write,
};
use crate::fleet::{
    Ask, CALL_TIMEOUT, Due, FORGET_AFTER, Fleet, FleetNow, GatewayId, Held, MIXED, REPORT_WITHIN, Row, Slice,
    SliceBlock,
};
use crate::time::{Now, SECOND};

/// The most calls for slices at once.
const MAX_CALLS: usize = 4;
/// The time within which a spend far below its limit is reported, in nanoseconds of the fleet's clock.
const REPORT_RELAXED: u64 = 5 * SECOND;
/// The time without a call after which an empty slice is forgotten, in nanoseconds of the fleet's clock.
const FORGET: u64 = 900 * SECOND;
/// The time for which a want lasts (ns).
const WANT: u64 = 2 * SECOND;
/// The most records that a gateway holds and another one retires at once.
const MAX_HELD: u64 = 4_000;

/// The work that slices need.
#[derive(Default)]
struct Work {
    /// The number of slices that hold something, or of which a call is open.
    held: u64,
    due: Vec<Principal>,
    stale: Vec<Item>,
}

impl LeaseClient {
    /// Looks at all slices of this gateway.
    pub(super) fn care<C: CounterStore>(&mut self, store: &mut C, now: Now, effects: &mut Vec<LeaseEffect>) {
        self.expire_wants(now, effects);
        let Some((gateway, fleet)) = self.membership(store, now) else { return };
        let mut work = Work::default();
        for shard in 0..self.records.index.shards() {
            let mut found = Work::default();
            let result = self.records.index.retain(store, shard, |store, name| {
                let record = RecordKey::new(name, &[]);
                self.look_at(store, record, (gateway, fleet), now, &mut found)
            });
            match result {
                Ok(()) => {
                    work.held = work.held.saturating_add(found.held);
                    work.due.append(&mut found.due);
                    work.stale.append(&mut found.stale);
                }
                Err(error) => effects.push(LeaseEffect::Warn(error.to_string())),
            }
        }
        if self.leaving {
            self.count_left(store, work.held);
        }
        for item in work.stale {
            if self.busy.insert(item.record.as_str().to_string()) {
                self.unresolved.push(item);
            }
        }
        // A shard that another VM wrote meanwhile was looked at again.
        let mut seen = BTreeSet::new();
        let mut due = work.due;
        due.retain(|principal| {
            let name = principal.record.as_str();
            !self.busy.contains(name) && seen.insert(name.to_string())
        });
        for principals in due.chunks(MAX_PARTS).take(MAX_CALLS.saturating_sub(self.row_calls())) {
            let plans = principals.iter().map(|principal| (vec![principal.clone()], Vec::new()));
            self.call(store, (gateway, fleet), plans.collect(), now, effects);
        }
        self.retire_one(now, effects);
    }

    /// Records the number of slices that are not back.
    fn count_left<C: CounterStore>(&self, store: &mut C, left: u64) {
        // If this fails, the next look does it.
        let _ = store.update_bytes::<_, StoreError>(&self.records.drain, |_, record| {
            let Some(drain) = Drain::from_bytes(record) else { return Ok(Update::Keep(())) };
            *record = drain.counted(left).to_bytes();
            Ok(Update::Write(()))
        });
    }

    /// Looks at one slice. Returns false if it was empty and is removed.
    fn look_at<C: CounterStore>(
        &self,
        store: &mut C,
        record: RecordKey,
        (gateway, fleet): (GatewayId, FleetNow),
        now: Now,
        work: &mut Work,
    ) -> bool {
        let Ok((bytes, version)) = store.read(&record) else { return true };
        if bytes.is_empty() {
            return false;
        }
        let Ok(stored) = Slice::open(&bytes, record.fingerprint(), gateway) else { return true };
        for pending in stored.stale(now) {
            work.stale.push(Item::stale(record.clone(), pending));
        }
        let Ok(slice) = open(&bytes, &record, gateway) else { return true };
        if slice.gateway != stored.gateway {
            // If another VM is faster, it has done the same.
            let _ = store.compare_and_swap(&record, version, &bytes_of(&slice, record.fingerprint()));
            return true;
        }
        let idle = slice.blocks.iter().all(|block| {
            block.free == 0
                && block.entries.is_empty()
                && block.in_flight == 0
                && fleet.earliest.0.saturating_sub(block.known.at.0) > FORGET
        });
        if idle && slice.pending.is_empty() {
            return !matches!(store.compare_and_swap(&record, version, &[]), Ok(Cas::Stored));
        }
        let principal = self.records.principal(record.as_str());
        let wanted = self.survey.wanted.iter().any(|wanted| wanted == principal);
        let around = Fleet { live: self.survey.members.max(1) as u64, wanted };
        let asks: Vec<_> = slice.blocks.iter().map(|block| refill_ask(block, self.policy)).collect();
        let within = |block: &SliceBlock| {
            let used = block.used().saturating_add(block.known.leased);
            if used < block.limit / 2 { REPORT_RELAXED } else { REPORT_WITHIN }
        };
        let is_due = |(ask, block): (&Ask, &SliceBlock)| match slice.due(ask, around, fleet) {
            Due::Nothing => false,
            Due::Report => fleet.earliest.0.saturating_sub(block.known.at.0) >= within(block),
            Due::Now => true,
        };
        let holds = slice.blocks.iter().any(|block| block.free > 0 || !block.entries.is_empty());
        work.held = work.held.saturating_add(u64::from(holds || !slice.pending.is_empty()));
        if asks.iter().zip(&slice.blocks).any(is_due) || self.leaving && holds {
            work.due.push(Principal { record, asks });
        }
        true
    }

    /// Puts a want: other gateways return their slices of this principal.
    pub(super) fn want(&mut self, principal: &str, now: Now) {
        match self.wants.iter_mut().find(|(name, ..)| name == principal) {
            Some((_, since, is_put)) => {
                // Wanted for longer than a want lasts: it is put again.
                if now.monotonic.saturating_sub(*since) >= WANT {
                    (*since, *is_put) = (now.monotonic, false);
                }
            }
            None => self.wants.push((principal.to_string(), now.monotonic, false)),
        }
    }

    /// Puts new wants and removes old ones.
    pub(super) fn expire_wants(&mut self, now: Now, effects: &mut Vec<LeaseEffect>) {
        let Some(gateway) = self.gateway else { return };
        let mut parts = Vec::new();
        let own = self.keys.wants_of(gateway);
        let key = |principal: &String| alloc::format!("{own}{principal}");
        self.wants.retain_mut(|(principal, since, is_put)| {
            if parts.len() >= MAX_PARTS {
                return true;
            }
            if now.monotonic.saturating_sub(*since) >= WANT {
                if *is_put {
                    parts.push(Part { writes: vec![Write::Delete(key(principal))], ..Part::default() });
                }
                return false;
            }
            if !*is_put {
                *is_put = true;
                let lease = Some(lease_of(gateway));
                let write = Write::Put { key: key(principal), value: Vec::new(), lease };
                parts.push(Part { writes: vec![write], ..Part::default() });
            }
            true
        });
        if !parts.is_empty() {
            let compares = vec![Compare::Exists(self.keys.member(gateway))];
            let session = Session::new(Transaction::new(compares, parts), &self.credentials);
            let deadline = now.monotonic.saturating_add(CALL_TIMEOUT);
            self.send(Task::Other(session), deadline, now, effects);
        }
    }

    /// Begins to retire a gateway that disappeared, if this one is the first of all members.
    fn retire_one(&mut self, now: Now, effects: &mut Vec<LeaseEffect>) {
        if !self.survey.is_first || self.is_retiring() {
            return;
        }
        let Some(dead) = self.survey.dead.pop() else { return };
        let reads = vec![Read::Prefix(self.keys.all_held(dead), MAX_HELD)];
        let session = Session::new(Snapshot::new(reads), &self.credentials);
        let deadline = now.monotonic.saturating_add(2 * SECOND);
        self.send(Task::Held(session, dead), deadline, now, effects);
    }

    /// Takes what a dead gateway holds.
    pub(super) fn held_read<C: CounterStore>(
        &mut self,
        store: &mut C,
        dead: GatewayId,
        held: Vec<Stored>,
        now: Now,
        effects: &mut Vec<LeaseEffect>,
    ) {
        let Some((_, fleet)) = self.membership(store, now) else { return };
        let deadline = now.monotonic.saturating_add(2 * SECOND);
        let is_open = |stored: &Stored| Held::from_bytes(&stored.value).is_some_and(|held| !held.retired);
        let open: Vec<Stored> = held.into_iter().filter(is_open).take(MAX_PARTS).collect();
        let task = if open.is_empty() {
            // All is counted. The records stay until no call of the gateway can be open.
            let value = fleet.earliest.0.to_string().into_bytes();
            let part = Part {
                writes: vec![Write::Put { key: self.keys.gateway(dead), value, lease: None }],
                ..Part::default()
            };
            let compares = vec![Compare::Missing(self.keys.member(dead))];
            Task::Retire(Session::new(Transaction::new(compares, vec![part]), &self.credentials), None)
        } else {
            let prefix = self.keys.all_held(dead);
            let principals = open.iter().filter_map(|stored| stored.key.strip_prefix(prefix.as_str()));
            let reads = principals.map(|principal| Read::Key(self.keys.row(principal))).collect();
            Task::HeldRows(Session::new(Snapshot::new(reads), &self.credentials), dead, open)
        };
        self.send(task, deadline, now, effects);
    }

    /// Takes the rows of what a dead gateway holds: what it held counts as spent from now on.
    pub(super) fn held_rows_read<C: CounterStore>(
        &mut self,
        store: &mut C,
        (dead, open): (GatewayId, Vec<Stored>),
        rows: &[Vec<Stored>],
        now: Now,
        effects: &mut Vec<LeaseEffect>,
    ) {
        let Some((_, fleet)) = self.membership(store, now) else { return };
        let mut parts = Vec::new();
        let prefix = self.keys.all_held(dead);
        for (stored, row) in open.iter().zip(rows) {
            let row = row.first();
            let value = row.map(|row| row.value.as_slice()).unwrap_or_default();
            let (Some(mut new), Some(mut held)) = (Row::from_bytes(value), Held::from_bytes(&stored.value))
            else {
                continue;
            };
            let Some(principal) = stored.key.strip_prefix(prefix.as_str()) else { continue };
            new.retire(&mut held, fleet);
            let key = self.keys.row(principal);
            parts.push(Part {
                compares: vec![
                    Compare::Revision(key.clone(), row.map_or(0, |row| row.revision)),
                    Compare::Revision(stored.key.clone(), stored.revision),
                ],
                writes: vec![
                    Write::Put { key, value: new.to_bytes(), lease: None },
                    Write::Put { key: stored.key.clone(), value: held.to_bytes(), lease: None },
                ],
                reads: Vec::new(),
            });
        }
        let compares = vec![Compare::Missing(self.keys.member(dead))];
        let session = Session::new(Transaction::new(compares, parts), &self.credentials);
        let deadline = now.monotonic.saturating_add(2 * SECOND);
        self.send(Task::Retire(session, Some(dead)), deadline, now, effects);
    }

    /// Goes on with the retirement of a gateway, of which more may be held.
    pub(super) fn retired(&mut self, dead: Option<GatewayId>) {
        self.survey.dead.extend(dead);
    }

    /// Removes the keys of a gateway that was retired long ago.
    pub(super) fn forget_gateways(&mut self, fleet: FleetNow, now: Now, effects: &mut Vec<LeaseEffect>) {
        let old = |at: u64| fleet.earliest.0.saturating_sub(at) > FORGET_AFTER;
        let Some((gateway, _)) = self.survey.retired.iter().find(|(_, at)| old(*at)).copied() else { return };
        if !self.survey.is_first {
            return;
        }
        self.survey.retired.retain(|(other, _)| *other != gateway);
        let deadline = now.monotonic.saturating_add(2 * SECOND);
        let session = Session::new(RemoveAll::new(self.keys.all_held(gateway)), &self.credentials);
        self.send(Task::Forget(session, gateway), deadline, now, effects);
    }

    /// Removes the key of a gateway whose records are removed.
    pub(super) fn forgotten(&mut self, gateway: GatewayId, now: Now, effects: &mut Vec<LeaseEffect>) {
        let part = Part { writes: vec![Write::Delete(self.keys.gateway(gateway))], ..Part::default() };
        let session = Session::new(Transaction::new(Vec::new(), vec![part]), &self.credentials);
        self.send(Task::Other(session), now.monotonic.saturating_add(2 * SECOND), now, effects);
    }
}

/// The asks of a counter for a refill.
fn refill_ask(block: &SliceBlock, policy: u64) -> Ask {
    // Under a limit of 0 all is given back.
    let limit = if block.limit == MIXED { 0 } else { block.limit };
    Ask { id: block.id, term: block.term, limit, policy, amount: 0 }
}
