//! The slice record: what a gateway holds of one principal's row, in its shared data.
//!
//! For each counter and always, `held (in etcd) = free + charges not yet reported`, with what pending calls have taken out of
//! both. A credit for a spend that was reported goes to the row as a negative correction, never to `free`: the slot of
//! that spend may leave the row's window first.

use alloc::vec::Vec;

use super::clock::{FleetNow, FleetTime, elapsed};
use super::held::Lane;
use super::member::GatewayId;
use super::row::{Entry, signed};
use super::sizing::Demand;
use super::term::Term;
use crate::counters::{CounterId, CounterKind};
use crate::time::{Now, SECOND};

/// The time in nanoseconds within which the answer to a request's call admits the request.
pub const CALL_TIMEOUT: u64 = SECOND / 4;
/// The age in nanoseconds from which a pending call is resolved by any worker: its own was stopped.
pub const STALE_CALL: u64 = 2 * SECOND;

/// An amount that a request needs of one counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The counter.
    pub id: CounterId,
    /// The time that it counts over.
    pub term: Term,
    /// The limit or budget.
    pub limit: u128,
    /// The revision of the policy that the limit is from.
    pub policy: u64,
    /// The amount; 0 if nothing but a refill is asked for.
    pub amount: u128,
}

/// The answer of a slice to an [`Ask`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Local {
    /// The amount was charged to the slice.
    Covered {
        /// The slot, for the receipt.
        slot: u64,
    },
    /// A call is needed.
    Missing,
    /// The fleet has nothing left for this amount before that moment.
    NothingUntil(FleetTime),
}

/// The outcome of a call. There is no third one: a call without an answer stays pending until it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The transaction was applied.
    Applied,
    /// It was not, and never will be.
    NotApplied,
}

/// The effect of [`Slice::finish`] on the requests that waited for the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// The requests are admitted; their charges have these slots.
    Admitted,
    /// They are not: the call was not applied, or its answer came too late and the amounts are given back.
    NotAdmitted,
    /// Another worker resolved the call: they are not admitted.
    Unknown,
}

/// A charge of a request that went into the row directly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Direct {
    /// The slot.
    pub slot: u64,
    /// The amount.
    pub amount: u128,
}

/// The part of a pending call that concerns one counter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PendingBlock {
    /// The counter.
    pub id: CounterId,
    /// The term of the entries.
    pub term: Term,
    /// The reported spends.
    pub entries: Vec<Entry>,
    /// The amount given back.
    pub returned: u128,
    /// The direct charges of requests.
    pub direct: Vec<Direct>,
    /// The amount granted to the slice.
    pub granted: u128,
    /// The limits and terms that `returned` and `granted` belong to: those of the slice before and after the draft.
    pub grades: [Grade; 2],
}

/// The limit and the term that an amount of a slice was granted under, as one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Grade(pub(super) u128);

/// The limit of a slice with amounts of several grades, which no policy has: all of it is given back before the next spend.
pub const MIXED: u128 = u128::MAX >> 8;

impl Grade {
    /// The grade of a limit and a term.
    pub fn new(limit: u128, term: Term) -> Self {
        Grade(limit.min(MIXED) << 8 | u128::from(term.code()))
    }
}

/// A call whose outcome is not known. It is stored before the call is sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pending {
    /// The id under which it was sent.
    pub gateway: GatewayId,
    /// The worker.
    pub lane: Lane,
    /// The number of the call, counted by the worker.
    pub number: u64,
    /// The revision of the row that the transaction compares; 0 if the row was missing.
    pub base: u64,
    /// Moment of sending on the wall clock (ns).
    pub(super) wall: u64,
    /// The same moment on the monotonic clock (ns).
    pub(super) monotonic: u64,
    /// The changes by counter.
    pub blocks: Vec<PendingBlock>,
}

impl Pending {
    /// The moment of sending.
    pub fn sent(&self) -> Now {
        Now { wall: self.wall, monotonic: self.monotonic }
    }

    /// True if the call is so old that its worker must have been stopped.
    pub fn is_stale(&self, now: Now) -> bool {
        elapsed(self.sent(), now) > STALE_CALL
    }

    /// True if the answer admits the requests that waited for it.
    fn is_in_time(&self, now: Now) -> bool {
        elapsed(self.sent(), now) <= CALL_TIMEOUT
    }
}

/// The figures of a counter in the fleet, as the last call saw them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Known {
    /// The amount spent in the window or period.
    pub used: u128,
    /// The amount in all slices, this gateway's included.
    pub leased: u128,
    /// The fleet's time of the call.
    pub at: FleetTime,
}

/// Negative knowledge: that an amount, or a larger one, does not fit before a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Nothing {
    pub amount: u128,
    pub limit: u128,
    pub until: FleetTime,
}

/// The slice of one counter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SliceBlock {
    /// The counter.
    pub id: CounterId,
    /// The time that it counts over.
    pub term: Term,
    /// The limit under which the slice was granted.
    pub limit: u128,
    /// The amount that can be spent.
    pub free: u128,
    /// The spends that were not reported.
    pub entries: Vec<Entry>,
    /// The amount that unfinished calls reserve.
    pub in_flight: u128,
    /// The figures of the fleet.
    pub known: Known,
    pub(super) nothing: Nothing,
    pub(super) demand: Demand,
}

/// The slices of one principal at one gateway.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Slice {
    /// The gateway's id under which the amounts were granted.
    pub gateway: GatewayId,
    /// The counters.
    pub blocks: Vec<SliceBlock>,
    /// The calls whose outcome is not known.
    pub pending: Vec<Pending>,
}

/// True if a call in flight reserves an amount of this counter.
fn reserves(kind: CounterKind) -> bool {
    match kind {
        CounterKind::Window(window) => window.counts_tokens(),
        CounterKind::Budget => true,
    }
}

impl SliceBlock {
    pub(super) fn new(ask: &Ask) -> Self {
        SliceBlock {
            id: ask.id,
            term: ask.term,
            limit: ask.limit,
            free: 0,
            entries: Vec::new(),
            in_flight: 0,
            known: Known::default(),
            nothing: Nothing::default(),
            demand: Demand::default(),
        }
    }

    pub(super) fn entry(&mut self, slot: u64) -> Option<&mut Entry> {
        let at = self.entries.iter().rposition(|entry| entry.slot == slot).unwrap_or(self.entries.len());
        if at == self.entries.len() {
            self.entries.push(Entry { slot, ..Entry::default() });
        }
        self.entries.get_mut(at)
    }

    /// Adds a charge of a request that has begun.
    pub(super) fn begin(&mut self, amount: u128, now: FleetNow) {
        self.demand.add(amount, now.earliest);
        if reserves(self.id.kind) {
            self.in_flight = self.in_flight.saturating_add(amount);
        }
    }

    fn add(&mut self, slot: u64, delta: i128, estimated: i128) {
        let estimated = if self.id.kind == CounterKind::Budget { estimated } else { 0 };
        if let Some(entry) = self.entry(slot) {
            entry.delta = entry.delta.saturating_add(delta);
            entry.estimated = entry.estimated.saturating_add(estimated);
        }
    }

    /// The amount of the fleet's window or period, as far as this gateway knows: its own spends since the last call included.
    pub fn used(&self) -> u128 {
        self.used_beside(self.known.used)
    }

    /// The same, where the row says `reported`.
    pub fn used_beside(&self, reported: u128) -> u128 {
        let own = self
            .entries
            .iter()
            .fold(0_i128, |sum, entry| sum.saturating_add(signed(entry.charged)).saturating_add(entry.delta));
        signed(reported).saturating_add(own).max(0).unsigned_abs()
    }

    /// The amount that was spent from the slice since the last call.
    pub fn charged(&self) -> u128 {
        self.entries.iter().fold(0, |sum: u128, entry| sum.saturating_add(entry.charged))
    }
}

impl Slice {
    /// An empty slice record of a gateway.
    pub fn new(gateway: GatewayId) -> Self {
        Slice { gateway, blocks: Vec::new(), pending: Vec::new() }
    }

    /// The slice of a counter.
    pub fn block(&self, id: CounterId) -> Option<&SliceBlock> {
        self.blocks.iter().find(|block| block.id == id)
    }

    pub(super) fn block_mut(&mut self, id: CounterId) -> Option<&mut SliceBlock> {
        self.blocks.iter_mut().find(|block| block.id == id)
    }

    /// The slice of a counter, created if missing.
    pub(super) fn block_of(&mut self, ask: &Ask) -> Option<&mut SliceBlock> {
        let at = self.blocks.iter().position(|block| block.id == ask.id).unwrap_or(self.blocks.len());
        if at == self.blocks.len() {
            self.blocks.push(SliceBlock::new(ask));
        }
        self.blocks.get_mut(at)
    }

    /// The amount that `held/<gateway>/<principal>` says if no pending call is applied.
    pub fn held(&self, id: CounterId) -> u128 {
        let charged = |entries: &[Entry]| entries.iter().map(|entry| entry.charged).sum::<u128>();
        let block = self.block(id).map_or(0, |block| block.free.saturating_add(charged(&block.entries)));
        let own = self.pending.iter().filter(|pending| pending.gateway == self.gateway);
        let moved = own.flat_map(|pending| &pending.blocks).filter(|moved| moved.id == id);
        moved.fold(block, |sum, moved| {
            sum.saturating_add(moved.returned).saturating_add(charged(&moved.entries))
        })
    }

    /// Charges a request to the slice, if it covers the amount and was granted under the policy's present limit.
    pub fn charge(&mut self, ask: &Ask, now: FleetNow) -> Local {
        let Some(block) = self.block_mut(ask.id) else { return Local::Missing };
        if block.limit == ask.limit && block.term == ask.term && block.free >= ask.amount {
            let slot = ask.term.stamp(now);
            let Some(entry) = block.entry(slot) else { return Local::Missing };
            entry.charged = entry.charged.saturating_add(ask.amount);
            block.add(slot, 0, signed(ask.amount));
            block.free = block.free.saturating_sub(ask.amount);
            block.begin(ask.amount, now);
            return Local::Covered { slot };
        }
        let Nothing { amount, limit, until } = block.nothing;
        if limit == ask.limit && ask.amount >= amount && now.earliest < until {
            return Local::NothingUntil(until);
        }
        Local::Missing
    }

    /// Charges a request without a slice, whatever is left: what `on_unavailable: allow` and shadow mode let pass. It is
    /// reported as debt. Returns the slot.
    pub fn charge_debt(&mut self, ask: &Ask, now: FleetNow) -> u64 {
        let slot = ask.term.stamp(now);
        if let Some(block) = self.block_of(ask) {
            block.add(slot, signed(ask.amount), signed(ask.amount));
            block.begin(ask.amount, now);
        }
        slot
    }

    /// Corrects a charge of `charged` to `actual`, 0 for a request that was not forwarded. `under` is the gateway's id at
    /// admission. If its lease has ended since, the charge was counted in full, and only an increase is reported.
    pub fn settle(
        &mut self,
        id: CounterId,
        slot: u64,
        charged: u128,
        actual: u128,
        estimated: bool,
        under: GatewayId,
    ) {
        let is_present = under == self.gateway;
        let Some(block) = self.block_mut(id) else { return };
        let more = signed(actual.saturating_sub(charged));
        if !is_present {
            if more > 0 {
                block.add(slot, more, if estimated { more } else { 0 });
            }
            return;
        }
        if reserves(id.kind) {
            block.in_flight = block.in_flight.saturating_sub(charged);
        }
        let mut less = charged.saturating_sub(actual);
        if let Some(entry) = block.entries.iter_mut().rev().find(|entry| entry.slot == slot) {
            let unreported = entry.charged.min(less);
            entry.charged = entry.charged.saturating_sub(unreported);
            block.free = block.free.saturating_add(unreported);
            less = less.saturating_sub(unreported);
        }
        let still_estimated = if estimated { signed(actual) } else { 0 };
        block.add(slot, more.saturating_sub(signed(less)), still_estimated.saturating_sub(signed(charged)));
        block.entries.retain(|entry| *entry != Entry { slot: entry.slot, ..Entry::default() });
    }

    /// Remembers that the fleet has nothing left for this request before a moment.
    pub fn set_nothing(&mut self, ask: &Ask, until: FleetTime) {
        if let Some(block) = self.block_of(ask) {
            block.nothing = Nothing { amount: ask.amount, limit: ask.limit, until };
        }
    }

    /// Ends a pending call. Call it before the waiting requests go on.
    pub fn finish(&mut self, lane: Lane, number: u64, outcome: Outcome, now: Now) -> Finished {
        let is_it = |pending: &Pending| pending.lane == lane && pending.number == number;
        let Some(at) = self.pending.iter().position(is_it) else { return Finished::Unknown };
        let pending = self.pending.swap_remove(at);
        let is_in_time = pending.is_in_time(now);
        let is_present = pending.gateway == self.gateway;
        for moved in pending.blocks {
            let Some(block) = self.block_mut(moved.id) else { continue };
            match outcome {
                Outcome::Applied => {
                    if is_present {
                        let [_, grade] = moved.grades;
                        block.regain(moved.granted, grade);
                    }
                    // Nothing was forwarded for these charges, so that they can be given back at any time.
                    for Direct { slot, amount } in moved.direct.iter().filter(|_| !is_in_time || !is_present)
                    {
                        block.add(*slot, -signed(*amount), -signed(*amount));
                        if is_present && reserves(moved.id.kind) {
                            block.in_flight = block.in_flight.saturating_sub(*amount);
                        }
                    }
                }
                Outcome::NotApplied => {
                    for entry in moved.entries {
                        block.merge(entry, moved.term, is_present);
                    }
                    if is_present {
                        let [grade, _] = moved.grades;
                        block.regain(moved.returned, grade);
                    }
                    let direct = moved.direct.iter().fold(0, |sum: u128, one| sum.saturating_add(one.amount));
                    block.demand.remove(direct);
                    if is_present && reserves(moved.id.kind) {
                        block.in_flight = block.in_flight.saturating_sub(direct);
                    }
                }
            }
        }
        match outcome {
            Outcome::Applied if is_in_time && is_present => Finished::Admitted,
            Outcome::Applied | Outcome::NotApplied => Finished::NotAdmitted,
        }
    }

    /// The calls that are so old that their workers must have been stopped. Any worker resolves such a call, in one
    /// transaction that compares that the row's revision is still the call's base. If it is, the call was not applied; the
    /// row is put unchanged, so that it never will be. If it is not, the held record of the call's gateway is read, and
    /// [`Held::is_applied`](super::Held::is_applied) tells. A worker resolves its own call without an answer in the same way, before it sends
    /// the next one for this row.
    pub fn stale(&self, now: Now) -> impl Iterator<Item = &Pending> {
        self.pending.iter().filter(move |pending| pending.is_stale(now))
    }

    /// Takes a new id after the store was restored from a backup: slices are dropped, and all that was not reported, or is
    /// in a pending call, is reported as spent.
    pub fn restore(&mut self, gateway: GatewayId) {
        for pending in core::mem::take(&mut self.pending) {
            for moved in pending.blocks {
                let Some(block) = self.block_mut(moved.id) else { continue };
                moved.entries.into_iter().for_each(|entry| block.merge(entry, moved.term, true));
            }
        }
        for block in self.blocks.iter_mut() {
            for entry in &mut block.entries {
                entry.delta = entry.delta.saturating_add(signed(entry.charged)).max(0);
                entry.charged = 0;
            }
            block.free = 0;
            block.in_flight = 0;
        }
        self.gateway = gateway;
    }

    /// Takes a new id after the lease of the old one has ended. What it held counts as spent, so that its slices and the
    /// reports of their spends are dropped. What was spent beyond them is still reported.
    pub fn renew(&mut self, gateway: GatewayId) {
        if gateway == self.gateway {
            return;
        }
        self.gateway = gateway;
        for block in &mut self.blocks {
            block.free = 0;
            block.in_flight = 0;
            for entry in core::mem::take(&mut block.entries) {
                block.merge(entry, block.term, false);
            }
        }
    }
}

impl SliceBlock {
    /// Adds an amount that was granted under this limit and term. Another call may have changed those of the slice meanwhile:
    /// an amount is spent only under its own.
    fn regain(&mut self, amount: u128, grade: Grade) {
        if amount == 0 {
            return;
        }
        if Grade::new(self.limit, self.term) != grade {
            let of_grade = Grade(grade.0 >> 8 << 8 | u128::from(self.term.code()));
            self.limit = if self.free == 0 && of_grade == grade { grade.0 >> 8 } else { MIXED };
        }
        self.free = self.free.saturating_add(amount);
    }

    /// Takes back a report. The charges of an id that has ended are dropped with its credits.
    fn merge(&mut self, mut moved: Entry, term: Term, is_present: bool) {
        if !is_present {
            moved.estimated = moved.estimated.saturating_sub(signed(moved.charged));
            moved.charged = 0;
            if moved.delta <= 0 {
                return;
            }
        }
        // The row counts a slot of another term in the present one.
        let slot = if term == self.term { moved.slot } else { u64::MAX };
        if let Some(entry) = self.entry(slot) {
            entry.charged = entry.charged.saturating_add(moved.charged);
            entry.delta = entry.delta.saturating_add(moved.delta);
            entry.estimated = entry.estimated.saturating_add(moved.estimated);
        }
    }
}
