//! `row/<principal>`: the counters of one principal for the whole fleet, as a pure state machine.
//!
//! At every grant, `spent in the window + leased + grant <= limit`. What is leased is in the slices of gateways: it counts in
//! full until its gateway reports it as spent or gives it back. A row is changed only through [`super::Draft`], and by
//! [`Row::retire`] and [`Row::restore`].

use alloc::vec::Vec;

use super::bytes::{Reader, put, put_signed};
use super::clock::{FleetNow, FleetTime};
use super::held::{Held, HeldBlock};
use super::term::Term;
use crate::counters::{CounterId, CounterKind, SLOTS};

/// A spend that is reported: of one slot of one counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Entry {
    /// The slot that it is stamped with.
    pub slot: u64,
    /// The amount that came from the gateway's slice.
    pub charged: u128,
    /// The correction of amounts that were reported before, and what was spent without a slice.
    pub delta: i128,
    /// The change of the part that is estimated.
    pub estimated: i128,
}

/// The amount spent in one slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Spent {
    /// The slot.
    pub slot: u64,
    /// The amount, reservations of unfinished calls included. Negative while the correction of a spend was reported before
    /// the spend, which is then still leased.
    pub amount: i128,
    /// The part of it that is estimated.
    pub estimated: i128,
}

/// A signed amount; amounts are far below its maximum.
pub(super) fn signed(amount: u128) -> i128 {
    i128::try_from(amount).unwrap_or(i128::MAX)
}

/// The sum of signed amounts, at least 0.
fn sum(amounts: impl Iterator<Item = i128>) -> u128 {
    amounts.fold(0, i128::saturating_add).max(0).unsigned_abs()
}

/// One counter of a row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RowBlock {
    /// The counter.
    pub id: CounterId,
    /// The time that it counts over.
    pub term: Term,
    /// The spends by slot, oldest first. A calendar counter keeps the present period and the one before it.
    pub spent: Vec<Spent>,
    /// The amount in the slices of all gateways.
    pub leased: u128,
    /// The part of the spends that unfinished calls reserve.
    pub in_flight: u128,
    /// The amount that counts as spent because its gateway disappeared, and the slot that it counts in.
    pub stranded: (u64, u128),
    /// The highest policy revision that was granted on. A gateway with a lower one may not grant.
    pub policy: u64,
}

/// The counters of one principal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Row {
    /// The counters.
    pub blocks: Vec<RowBlock>,
}

const FORMAT: u8 = 1;

impl RowBlock {
    pub(super) fn new(id: CounterId, term: Term) -> Self {
        RowBlock { id, term, spent: Vec::new(), leased: 0, in_flight: 0, stranded: (0, 0), policy: 0 }
    }

    /// The newest slot of a calendar counter, which never goes back; `None` for sliding windows.
    fn period(&self) -> Option<u64> {
        match self.term {
            Term::Sliding(_) => None,
            Term::Calendar(_) => self.spent.last().map(|spent| spent.slot),
        }
    }

    /// The oldest slot that counts.
    fn oldest(&self, now: FleetNow) -> u64 {
        self.term.oldest(now).max(self.period().unwrap_or(0))
    }

    /// The slot that a spend of this moment counts in.
    pub(super) fn stamp(&self, now: FleetNow) -> u64 {
        self.term.stamp(now).max(self.period().unwrap_or(0))
    }

    /// The amount spent in the window or period.
    pub fn used(&self, now: FleetNow) -> u128 {
        let oldest = self.oldest(now);
        sum(self.spent.iter().filter(|spent| spent.slot >= oldest).map(|spent| spent.amount))
    }

    /// The moment at which nothing counts any more if nothing else happens; `None`: nothing counts now, or it counts for ever.
    pub fn empty_at(&self, now: FleetNow) -> Option<FleetTime> {
        let oldest = self.oldest(now);
        let newest = self.spent.iter().rev().find(|spent| spent.slot >= oldest && spent.amount > 0)?;
        self.term.leaves(newest.slot)
    }

    /// The part of [`RowBlock::used`] that is estimated.
    pub fn estimated(&self, now: FleetNow) -> u128 {
        let oldest = self.oldest(now);
        sum(self.spent.iter().filter(|spent| spent.slot >= oldest).map(|spent| spent.estimated))
    }

    /// The amount that counts as spent because its gateway disappeared.
    pub fn stranded(&self, now: FleetNow) -> u128 {
        let (slot, amount) = self.stranded;
        if slot >= self.oldest(now) { amount } else { 0 }
    }

    /// The amount that may be granted.
    pub fn left(&self, limit: u128, now: FleetNow) -> u128 {
        limit.saturating_sub(self.used(now).saturating_add(self.leased))
    }

    /// The moment at which `amount` fits under `limit` if nothing else happens and all that is leased is given back;
    /// `None`: never.
    pub fn fits_at(&self, amount: u128, limit: u128, now: FleetNow) -> Option<FleetTime> {
        let oldest = self.oldest(now);
        let mut used = signed(self.used(now));
        let fits = |used: i128| used.max(0).unsigned_abs().saturating_add(amount) <= limit;
        if fits(used) {
            return Some(now.earliest);
        }
        for spent in self.spent.iter().filter(|spent| spent.slot >= oldest) {
            used = used.saturating_sub(spent.amount);
            if fits(used) {
                return self.term.leaves(spent.slot);
            }
        }
        None
    }

    /// Adopts the term of the policy. Money of a budget whose period was changed is kept, in the present period.
    pub(super) fn set_term(&mut self, term: Term, now: FleetNow) {
        if self.term != term {
            let [amount, estimated] = [signed(self.used(now)), signed(self.estimated(now))];
            let stranded = self.stranded(now);
            self.term = term;
            let slot = term.stamp(now);
            self.spent = Vec::from([Spent { slot, amount, estimated }]);
            self.stranded = (slot, stranded);
        }
    }

    /// Drops the slots that do not count any more, and begins the present period.
    pub(super) fn advance(&mut self, now: FleetNow) {
        match self.term {
            Term::Sliding(_) => {
                let oldest = self.oldest(now);
                self.spent.retain(|spent| spent.slot >= oldest && spent.amount != 0);
            }
            Term::Calendar(_) => {
                self.place(self.stamp(now));
            }
        }
    }

    /// The spends of a slot, created if missing; `None` for a period that has been closed for longer than one.
    pub(super) fn place(&mut self, slot: u64) -> Option<&mut Spent> {
        let at = self.spent.partition_point(|spent| spent.slot < slot);
        if self.spent.get(at).is_none_or(|spent| spent.slot != slot) {
            match self.term {
                Term::Sliding(_) => {}
                // A period that is not the newest, and was not begun when it was.
                Term::Calendar(_) if at < self.spent.len() => return None,
                Term::Calendar(_) => {}
            }
            self.spent.insert(at, Spent { slot, amount: 0, estimated: 0 });
        }
        let keep = match self.term {
            Term::Sliding(_) => 0,
            Term::Calendar(_) => self.spent.len().saturating_sub(2),
        };
        self.spent.drain(..keep.min(at));
        self.spent.get_mut(at.saturating_sub(keep))
    }

    /// Adds a report of a gateway that counts over `term`. A gateway's latest time can be ahead of that of others, so that a
    /// slot after the present one is kept. One that is further ahead is of another term, and is the present one.
    pub(super) fn report(&mut self, entry: &Entry, term: Term, now: FleetNow) {
        self.leased = self.leased.saturating_sub(entry.charged);
        let present = self.stamp(now);
        let ahead = match self.term {
            Term::Sliding(_) => SLOTS as u64,
            Term::Calendar(_) => 1,
        };
        let is_known = term == self.term && entry.slot <= present.saturating_add(ahead);
        let slot = if is_known { entry.slot } else { present };
        if let Some(spent) = self.place(slot) {
            spent.amount = spent.amount.saturating_add(signed(entry.charged)).saturating_add(entry.delta);
            spent.estimated = spent.estimated.saturating_add(entry.estimated);
        }
    }

    /// Moves what a dead gateway holds into the spends of this moment.
    fn retire(&mut self, held: HeldBlock, now: FleetNow) {
        self.advance(now);
        let slot = self.stamp(now);
        let shown = self.stranded(now);
        self.leased = self.leased.saturating_sub(held.amount);
        self.in_flight = self.in_flight.saturating_sub(held.in_flight);
        if let Some(spent) = self.place(slot) {
            spent.amount = spent.amount.saturating_add(signed(held.amount));
            spent.estimated = spent.estimated.saturating_add(signed(held.amount));
        }
        // Calls in flight of the dead gateway are never settled: at most that much of the spends was not spent either.
        let more = held.amount.saturating_add(held.in_flight);
        self.stranded = (slot, shown.saturating_add(more));
    }
}

impl Row {
    /// The counter, if the row has it.
    pub fn block(&self, id: CounterId) -> Option<&RowBlock> {
        self.blocks.iter().find(|block| block.id == id)
    }

    /// The counter, created if missing.
    pub(super) fn block_mut(&mut self, id: CounterId, term: Term) -> Option<&mut RowBlock> {
        let at = self.blocks.iter().position(|block| block.id == id).unwrap_or(self.blocks.len());
        if at == self.blocks.len() {
            self.blocks.push(RowBlock::new(id, term));
        }
        self.blocks.get_mut(at)
    }

    /// Moves what a dead gateway holds into the spends of this moment, and marks its record as retired. The transaction
    /// compares that the gateway's member key is missing.
    pub fn retire(&mut self, held: &mut Held, now: FleetNow) {
        for held in held.blocks.drain(..) {
            if let Some(block) = self.blocks.iter_mut().find(|block| block.id == held.id) {
                block.retire(held, now);
            }
        }
        held.retired = true;
    }

    /// Raises a row that was restored from a backup to what a gateway knows: the larger of both, by counter and slot. What
    /// was leased at the time of the backup is retired with the ids of that time.
    pub fn restore(&mut self, known: &Row, now: FleetNow) {
        for known in &known.blocks {
            let Some(block) = self.block_mut(known.id, known.term) else { continue };
            block.policy = block.policy.max(known.policy);
            block.set_term(known.term, now);
            for spent in &known.spent {
                if let Some(place) = block.place(spent.slot) {
                    place.amount = place.amount.max(spent.amount);
                    place.estimated = place.estimated.max(spent.estimated);
                }
            }
        }
    }

    /// Returns the bytes to store.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::from([FORMAT]);
        put(&mut bytes, self.blocks.len() as u128);
        for RowBlock { id, term, spent, leased, in_flight, stranded: (slot, stranded), policy } in
            &self.blocks
        {
            put_id(&mut bytes, *id);
            put(&mut bytes, u128::from(term.code()));
            put(&mut bytes, spent.len() as u128);
            let mut last = 0;
            for Spent { slot, amount, estimated } in spent {
                put(&mut bytes, u128::from(slot.wrapping_sub(last)));
                put_signed(&mut bytes, *amount);
                put_signed(&mut bytes, *estimated);
                last = *slot;
            }
            for number in [*leased, *in_flight, u128::from(*slot), *stranded, u128::from(*policy)] {
                put(&mut bytes, number);
            }
        }
        bytes
    }

    /// Reads the bytes; empty bytes are an empty row. `None` for another format.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let Some((format, rest)) = bytes.split_first() else { return Some(Row::default()) };
        let mut reader = Reader::new(rest);
        let blocks = reader.list(|reader| {
            let id = read_id(reader)?;
            let term = Term::from_code(reader.long()?)?;
            let mut last = 0_u64;
            let spent = reader.list(|reader| {
                last = last.wrapping_add(reader.long()?);
                Some(Spent { slot: last, amount: reader.signed()?, estimated: reader.signed()? })
            })?;
            Some(RowBlock {
                id,
                term,
                spent,
                leased: reader.number()?,
                in_flight: reader.number()?,
                stranded: (reader.long()?, reader.number()?),
                policy: reader.long()?,
            })
        })?;
        reader.end()?;
        (*format == FORMAT).then_some(Row { blocks })
    }
}

/// Appends the identity of a counter.
pub(super) fn put_id(bytes: &mut Vec<u8>, id: CounterId) {
    bytes.push(id.kind.code());
    put(bytes, u128::from(id.target));
}

/// Reads the identity of a counter.
pub(super) fn read_id(reader: &mut Reader<'_>) -> Option<CounterId> {
    let kind = CounterKind::from_code(u8::try_from(reader.long()?).ok()?)?;
    Some(CounterId { kind, target: reader.long()? })
}
