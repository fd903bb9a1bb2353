//! The construction of one call: a slice, its row and its held record change together, or not at all.
//!
//! A draft of each principal begins with the last known row. All unreported spends go in. Then the requests that wait are
//! charged one after another, each to all of its principals or to none, and at the end the slices are refilled. The
//! caller stores the slice record first, then sends one transaction, and passes its outcome to [`Slice::finish`].

use alloc::vec::Vec;

use super::clock::{FleetNow, FleetTime};
use super::held::{Held, Lane};
use super::member::{LEASE_SECONDS, MARGIN};
use super::row::{Row, RowBlock, Spent, signed};
use super::sizing::{self, Supply};
use super::slice::{Ask, CALL_TIMEOUT, Direct, Grade, Known, Nothing, Pending, PendingBlock, Slice};
use super::term::Term;
use crate::counters::{CounterId, CounterKind, SLOTS};
use crate::time::{Now, SECOND};

/// The longest time for which "nothing left" is remembered while calls in flight or slices may return something.
const RETRY: u64 = SECOND;
/// The same if a request is refused only because of slices, which their gateways are asked to return.
const RETRY_LEASED: u64 = SECOND / 4;

/// The identity of a call, and its moment.
#[derive(Clone, Copy, Debug)]
pub struct CallId {
    /// The worker that sends it.
    pub lane: Lane,
    /// Its number, larger than that of any earlier call of the worker.
    pub number: u64,
    /// The revision of the row that was read and that the transaction compares; 0 if the row is missing.
    pub base: u64,
    /// The moment of sending.
    pub sent: Now,
    /// The same moment on the fleet's clock.
    pub now: FleetNow,
}

/// The fleet around a gateway that refills a slice.
#[derive(Clone, Copy, Debug)]
pub struct Fleet {
    /// The number of gateways that are alive, this one included.
    pub live: u64,
    /// True if another gateway wants what slices of this principal hold.
    pub wanted: bool,
}

/// The reason why the fleet refuses a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedBy {
    /// The amount does not fit beside what was spent.
    Spent,
    /// It would fit if unfinished calls returned what they reserve.
    InFlight,
    /// It would fit if other gateways returned their slices.
    Leases,
    /// The row was granted on by a gateway with a newer policy.
    OldPolicy,
    /// The store was restored from a backup, and a window has not passed since.
    Restored,
}

/// A request that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The counter.
    pub ask: Ask,
    /// The reason.
    pub by: RefusedBy,
    /// The amount spent in the fleet.
    pub used: u128,
    /// The moment until which the refusal holds for every request of this amount or a larger one.
    pub until: FleetTime,
    /// The moment at which the request fits if no other comes; `None`: never.
    pub fits_at: Option<FleetTime>,
}

/// One principal's slice, row and held record with the changes of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The slice record to store before the call is sent.
    pub slice: Slice,
    /// The row to put.
    pub row: Row,
    /// The held record to put.
    pub held: Held,
    pending: Pending,
    now: FleetNow,
    /// The moment at which a restore from a backup was found; 0: never.
    restored: FleetTime,
}

impl Draft {
    /// Begins a call with the report of all unreported spends. `restored` is the moment at which a restore of the store from a
    /// backup was found, in the fleet; 0: never.
    pub fn new(slice: Slice, row: Row, held: Held, call: CallId, restored: FleetTime) -> Draft {
        let CallId { lane, number, base, sent, now } = call;
        let pending = Pending {
            gateway: slice.gateway,
            lane,
            number,
            base,
            wall: sent.wall,
            monotonic: sent.monotonic,
            blocks: Vec::new(),
        };
        let mut draft = Draft { slice, row, held, pending, now, restored };
        let is_pending = |lane: Lane| draft.slice.pending.iter().any(|pending| pending.lane == lane);
        draft.held.lanes.retain(|(id, _)| *id != lane && is_pending(*id));
        draft.held.lanes.push((lane, number));
        draft.report();
        draft
    }

    fn report(&mut self) {
        for block in &mut self.slice.blocks {
            let Some(row) = self.row.block_mut(block.id, block.term) else { continue };
            row.advance(self.now);
            let mut held = self.held.block(block.id);
            let entries = core::mem::take(&mut block.entries);
            for entry in &entries {
                row.report(entry, block.term, self.now);
                held.amount = held.amount.saturating_sub(entry.charged);
            }
            row.in_flight = row.in_flight.saturating_sub(held.in_flight).saturating_add(block.in_flight);
            held.in_flight = block.in_flight;
            self.held.put(held);
            if !entries.is_empty() {
                self.pending.blocks.push(PendingBlock {
                    id: block.id,
                    term: block.term,
                    entries,
                    returned: 0,
                    direct: Vec::new(),
                    granted: 0,
                    grades: [Grade::new(block.limit, block.term); 2],
                });
            }
        }
    }

    /// Succeeds if a request fits into all of these counters. The moments of refusals are a little later at each gateway of a
    /// large fleet, so that not all call at once.
    ///
    /// # Errors
    /// [`Refused`] by the counter with the longest wait.
    pub fn fits(&self, asks: &[Ask], fleet: Fleet) -> Result<(), Refused> {
        let refused = asks.iter().filter_map(|ask| self.refusal(ask));
        let longest = refused.max_by_key(|refused| refused.fits_at.map_or(u64::MAX, |at| at.0));
        match longest {
            None => Ok(()),
            Some(refused) => {
                let until = sizing::turn(refused.until, self.slice.gateway, fleet.live);
                Err(Refused { until, ..refused })
            }
        }
    }

    fn refusal(&self, ask: &Ask) -> Option<Refused> {
        let now = self.now;
        let mut new = None;
        let mut block = match self.row.block(ask.id) {
            Some(block) => block,
            None => new.insert(RowBlock::new(ask.id, ask.term)),
        };
        let mut changed = None;
        if ask.policy >= block.policy && block.term != ask.term {
            let block_of_term = changed.insert(block.clone());
            block_of_term.set_term(ask.term, now);
            block = block_of_term;
        }
        let refused = |by, until| {
            let fits_at = block.fits_at(ask.amount, ask.limit, now);
            Some(Refused { ask: *ask, by, used: block.used(now), until, fits_at })
        };
        let soon = now.earliest.plus(RETRY);
        if ask.policy < block.policy {
            return refused(RefusedBy::OldPolicy, soon);
        }
        if self.is_quiet(ask) {
            return refused(RefusedBy::Restored, self.quiet_until(ask));
        }
        let free = self.slice.block(ask.id).map_or(0, |block| block.free);
        let spent = block.used(now).saturating_add(ask.amount);
        if spent.saturating_add(block.leased.saturating_sub(free)) <= ask.limit {
            return None;
        }
        if spent <= ask.limit {
            return refused(RefusedBy::Leases, now.earliest.plus(RETRY_LEASED));
        }
        let fits_at = block.fits_at(ask.amount, ask.limit, now).unwrap_or(FleetTime(u64::MAX));
        // A gateway that comes back may return a part of what is stranded: a request that it did not admit.
        let returnable = block.in_flight.saturating_add(block.stranded(now));
        let until = if spent.saturating_sub(returnable) <= ask.limit { fits_at.min(soon) } else { fits_at };
        let is_held = spent.saturating_sub(block.in_flight) <= ask.limit;
        refused(if is_held { RefusedBy::InFlight } else { RefusedBy::Spent }, until)
    }

    /// The moment before which nothing is granted because the store was restored from a backup: one window after it, since
    /// what was spent in it may be missing. For calendar counters it is the time in which all gateways write what they know.
    fn quiet_until(&self, ask: &Ask) -> FleetTime {
        if self.restored == FleetTime(0) {
            return self.restored;
        }
        match ask.term {
            Term::Sliding(span) => self.restored.plus(span.slot().saturating_mul(SLOTS as u64)).plus(MARGIN),
            Term::Calendar(_) => self.restored.plus(LEASE_SECONDS.saturating_mul(SECOND)).plus(MARGIN),
        }
    }

    fn is_quiet(&self, ask: &Ask) -> bool {
        self.now.earliest < self.quiet_until(ask)
    }

    /// Charges a request that [`Draft::fits`] accepted, for all of its principals. Returns the slots, for the receipt. The
    /// request is stamped with the latest moment at which the answer admits it.
    pub fn charge(&mut self, asks: &[Ask]) -> Vec<(CounterId, u64)> {
        asks.iter().filter_map(|ask| Some((ask.id, self.charge_one(ask)?))).collect()
    }

    fn charge_one(&mut self, ask: &Ask) -> Option<u64> {
        self.adopt(ask)?;
        let lacks = ask.amount.saturating_sub(self.row.block(ask.id)?.left(ask.limit, self.now));
        self.give_back(ask.id, lacks);
        let FleetNow { earliest, latest } = self.now;
        let row = self.row.block_mut(ask.id, ask.term)?;
        let slot = row.stamp(FleetNow { earliest, latest: latest.plus(CALL_TIMEOUT) });
        row.spend(slot, ask.amount, ask.id.kind == CounterKind::Budget);
        let block = self.slice.block_of(ask)?;
        let before = block.in_flight;
        block.begin(ask.amount, self.now);
        let mut held = self.held.block(ask.id);
        let more = block.in_flight.saturating_sub(before);
        held.in_flight = held.in_flight.saturating_add(more);
        row.in_flight = row.in_flight.saturating_add(more);
        self.held.put(held);
        self.pending_block(ask.id)?.direct.push(Direct { slot, amount: ask.amount });
        Some(slot)
    }

    /// Makes row and slice follow the policy of a request: a slice of another limit or term is given back.
    fn adopt(&mut self, ask: &Ask) -> Option<()> {
        let row = self.row.block_mut(ask.id, ask.term)?;
        row.policy = row.policy.max(ask.policy);
        row.set_term(ask.term, self.now);
        row.advance(self.now);
        let block = self.slice.block_of(ask)?;
        if block.limit != ask.limit || block.term != ask.term {
            // Before the change: it remembers the limit and the term of what is returned.
            self.pending_block(ask.id)?;
            let block = self.slice.block_of(ask)?;
            (block.limit, block.term) = (ask.limit, ask.term);
            self.give_back(ask.id, u128::MAX);
        }
        Some(())
    }

    /// Gives back at most this amount of a slice.
    pub fn give_back(&mut self, id: CounterId, amount: u128) {
        let Some(block) = self.slice.block_mut(id) else { return };
        let returned = block.free.min(amount);
        if returned == 0 {
            return;
        }
        block.free = block.free.saturating_sub(returned);
        if let Some(row) = self.row.block_mut(id, block.term) {
            row.leased = row.leased.saturating_sub(returned);
        }
        let mut held = self.held.block(id);
        held.amount = held.amount.saturating_sub(returned);
        self.held.put(held);
        if let Some(pending) = self.pending_block(id) {
            pending.returned = pending.returned.saturating_add(returned);
        }
    }

    /// Gives back all slices of the principal, before the gateway stops.
    pub fn give_back_all(&mut self) {
        let ids: Vec<CounterId> = self.slice.blocks.iter().map(|block| block.id).collect();
        ids.into_iter().for_each(|id| self.give_back(id, u128::MAX));
    }

    /// Sizes the slices of these counters: refills those that are low, and gives back what is idle or wanted elsewhere.
    pub fn refill(&mut self, asks: &[Ask], fleet: Fleet) {
        for ask in asks {
            self.refill_one(ask, fleet);
        }
    }

    fn refill_one(&mut self, ask: &Ask, fleet: Fleet) -> Option<()> {
        if self.row.block(ask.id).is_some_and(|block| ask.policy < block.policy) {
            // Another gateway has a newer policy: the slice was granted under an old limit.
            self.give_back(ask.id, u128::MAX);
            return None;
        }
        self.adopt(ask)?;
        let now = self.now;
        let supply = |row: &RowBlock| Supply {
            limit: ask.limit,
            used: row.used(now),
            leased: row.leased,
            is_money: ask.id.kind == CounterKind::Budget,
            live: fleet.live.max(1),
            wanted: fleet.wanted,
        };
        let block = self.slice.block(ask.id)?;
        let (demand, free) = (block.demand, block.free);
        let excess = supply(self.row.block(ask.id)?).excess(&demand, free, now.earliest);
        self.give_back(ask.id, excess);
        if excess > 0 || self.is_quiet(ask) {
            return None;
        }
        let row = self.row.block_mut(ask.id, ask.term)?;
        let granted = supply(row).grant(&demand, free, now.earliest).min(row.left(ask.limit, now));
        if let Some(pause) = supply(row).pause(&demand) {
            let until = now.earliest.plus(pause);
            self.slice.block_mut(ask.id)?.nothing = Nothing { amount: 0, limit: ask.limit, until };
        }
        if granted > 0 {
            row.leased = row.leased.saturating_add(granted);
            let mut held = self.held.block(ask.id);
            held.amount = held.amount.saturating_add(granted);
            self.held.put(held);
            let pending = self.pending_block(ask.id)?;
            pending.granted = pending.granted.saturating_add(granted);
        }
        Some(())
    }

    fn pending_block(&mut self, id: CounterId) -> Option<&mut PendingBlock> {
        let at = self.pending.blocks.iter().position(|block| block.id == id);
        let at = at.unwrap_or(self.pending.blocks.len());
        if at == self.pending.blocks.len() {
            let block = self.slice.block(id)?;
            let (term, grade) = (block.term, Grade::new(block.limit, block.term));
            self.pending.blocks.push(PendingBlock {
                id,
                term,
                entries: Vec::new(),
                returned: 0,
                direct: Vec::new(),
                granted: 0,
                grades: [grade; 2],
            });
        }
        self.pending.blocks.get_mut(at)
    }

    /// Ends the draft: the slice record to store, then the row and the held record to put.
    pub fn finish(mut self) -> (Slice, Row, Held) {
        for block in &mut self.slice.blocks {
            if let Some(row) = self.row.block(block.id) {
                block.known = Known { used: row.used(self.now), leased: row.leased, at: self.now.earliest };
            }
            if let Some(pending) = self.pending.blocks.iter_mut().find(|pending| pending.id == block.id) {
                let [_, after] = &mut pending.grades;
                *after = Grade::new(block.limit, block.term);
            }
        }
        self.slice.pending.push(self.pending);
        (self.slice, self.row, self.held)
    }
}

impl RowBlock {
    /// Adds a direct charge.
    fn spend(&mut self, slot: u64, amount: u128, is_estimated: bool) {
        if let Some(Spent { amount: spent, estimated, .. }) = self.place(slot) {
            *spent = spent.saturating_add(signed(amount));
            if is_estimated {
                *estimated = estimated.saturating_add(signed(amount));
            }
        }
    }
}

/// Background work that a slice needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// A report, by the next tick that calls anyway or within [`super::REPORT_WITHIN`].
    Report,
    /// A refill, before requests wait for it, or a return.
    Now,
}

impl Slice {
    /// The work that is due for a counter.
    pub fn due(&self, ask: &Ask, fleet: Fleet, now: FleetNow) -> Due {
        let Some(block) = self.block(ask.id) else { return Due::Nothing };
        let supply = Supply {
            limit: ask.limit,
            used: block.used(),
            leased: block.known.leased,
            is_money: ask.id.kind == CounterKind::Budget,
            live: fleet.live.max(1),
            wanted: fleet.wanted,
        };
        let (demand, time) = (block.demand, now.earliest);
        let is_changed = block.limit != ask.limit || block.term != ask.term;
        let can_grow = || time >= block.nothing.until && supply.grant(&demand, block.free, time) > 0;
        if block.free > 0 && (is_changed || supply.excess(&demand, block.free, time) > 0)
            || supply.is_low(&demand, block.free, time) && can_grow()
        {
            return Due::Now;
        }
        if block.entries.is_empty() { Due::Nothing } else { Due::Report }
    }
}
