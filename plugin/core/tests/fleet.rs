//! Leased counters: slices, calls and rows of a few gateways, step by step.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use tollgate_core::counters::{CounterId, CounterKind};
use tollgate_core::fleet::{
    Ask, CallId, Draft, Due, Finished, Fleet, FleetNow, FleetTime, GatewayId, Held, Local, Outcome,
    RefusedBy, Row, Slice, Term,
};
use tollgate_core::money::Period;
use tollgate_core::quota::Window;
use tollgate_core::time::{DAY, Now, SECOND};

const ALONE: Fleet = Fleet { live: 1, wanted: false };
const DAYS: u64 = 20_000;

fn tokens(limit: u128, amount: u128) -> Ask {
    let kind = CounterKind::Window(Window::Tpm);
    Ask { id: CounterId { kind, target: 0 }, term: Term::of(kind, Period::Day), limit, policy: 1, amount }
}

fn money(limit: u128, amount: u128) -> Ask {
    let kind = CounterKind::Budget;
    Ask { id: CounterId { kind, target: 0 }, term: Term::of(kind, Period::Day), limit, policy: 1, amount }
}

fn at(seconds: u64) -> FleetNow {
    let time = FleetTime(DAYS * DAY + seconds * SECOND);
    FleetNow { earliest: time, latest: time }
}

fn host(seconds: u64) -> Now {
    Now { wall: seconds * SECOND, monotonic: seconds * SECOND }
}

/// One gateway's slice of a row that it alone uses here.
struct Gateway {
    slice: Slice,
    held: Held,
    number: u64,
}

impl Gateway {
    fn new(id: u128) -> Self {
        Gateway { slice: Slice::new(GatewayId(id)), held: Held::default(), number: 0 }
    }

    fn draft(&mut self, row: &Row, seconds: u64) -> Draft {
        self.number += 1;
        let call = CallId { lane: 1, number: self.number, base: 0, sent: host(seconds), now: at(seconds) };
        Draft::new(self.slice.clone(), row.clone(), self.held.clone(), call, FleetTime(0))
    }

    /// Sends a call that is applied and answered after this many seconds.
    fn send(&mut self, draft: Draft, row: &mut Row, seconds: u64) -> Finished {
        (self.slice, *row, self.held) = draft.finish();
        let finished = self.slice.finish(1, self.number, Outcome::Applied, host(seconds));
        self.check(row);
        finished
    }

    /// The sums that always agree.
    fn check(&self, row: &Row) {
        for block in &self.slice.blocks {
            assert_eq!(self.slice.held(block.id), self.held.block(block.id).amount);
            assert!(row.block(block.id).unwrap().leased >= self.held.block(block.id).amount);
        }
        let bytes = self.slice.to_bytes(7);
        assert_eq!(Slice::open(&bytes, 7, GatewayId(0)).unwrap(), self.slice);
        assert_eq!(Held::from_bytes(&self.held.to_bytes()).unwrap(), self.held);
        assert_eq!(Row::from_bytes(&row.to_bytes()).unwrap(), *row);
    }

    fn request(&mut self, row: &mut Row, ask: Ask, seconds: u64) -> Result<u64, RefusedBy> {
        let mut draft = self.draft(row, seconds);
        draft.fits(&[ask], ALONE).map_err(|refused| refused.by)?;
        let slot = draft.charge(&[ask])[0].1;
        draft.refill(&[ask], ALONE);
        assert_eq!(self.send(draft, row, seconds), Finished::Admitted);
        Ok(slot)
    }
}

fn used(row: &Row, ask: Ask, seconds: u64) -> (u128, u128) {
    let block = row.block(ask.id).unwrap();
    (block.used(at(seconds)), block.leased)
}

#[test]
fn a_slice_is_granted_spent_and_reported() {
    let (mut row, mut one) = (Row::default(), Gateway::new(1));
    let ask = tokens(1_000, 10);
    assert_eq!(one.slice.charge(&ask, at(0)), Local::Missing);
    let slot = one.request(&mut row, ask, 0).unwrap();
    let leased = row.block(ask.id).unwrap().leased;
    assert!(leased >= 20, "a slice for half a minute: {leased}");
    assert_eq!(used(&row, ask, 0), (10, leased));
    let Local::Covered { slot: local } = one.slice.charge(&ask, at(1)) else { panic!() };
    one.check(&row);
    // Both end: one cost less than was reserved, the other more.
    one.slice.settle(ask.id, slot, 10, 4, false, GatewayId(1));
    one.slice.settle(ask.id, local, 10, 12, false, GatewayId(1));
    assert_eq!(one.slice.block(ask.id).unwrap().in_flight, 0);
    let draft = one.draft(&row, 2);
    one.send(draft, &mut row, 2);
    assert_eq!(used(&row, ask, 2), (16, leased - 10));
    assert_eq!(used(&row, ask, 60).0, 16);
    assert_eq!(used(&row, ask, 61).0, 12);
    assert_eq!(used(&row, ask, 62).0, 0);
}

#[test]
fn what_a_request_did_not_use_is_free_again_if_it_was_not_reported() {
    let (mut row, mut one) = (Row::default(), Gateway::new(1));
    let ask = tokens(1_000, 10);
    one.request(&mut row, ask, 0).unwrap();
    let before = one.slice.block(ask.id).unwrap().free;
    let Local::Covered { slot } = one.slice.charge(&ask, at(1)) else { panic!() };
    one.slice.settle(ask.id, slot, 10, 0, false, GatewayId(1));
    assert_eq!(one.slice.block(ask.id).unwrap().free, before);
    one.check(&row);
}

#[test]
fn two_gateways_share_one_limit() {
    let mut row = Row::default();
    let (mut one, mut two) = (Gateway::new(1), Gateway::new(2));
    let ask = tokens(100, 30);
    one.request(&mut row, ask, 0).unwrap();
    two.request(&mut row, ask, 0).unwrap();
    let (spent, leased) = used(&row, ask, 0);
    assert!(spent == 60 && spent + leased <= 100);
    // What one of them holds is missing for the other, which is no more than what is spent.
    let large = tokens(100, 40);
    let by_leases = two.request(&mut row, large, 0);
    assert_eq!(by_leases, if leased > 0 { Err(RefusedBy::Leases) } else { Ok(0) });
    let mut draft = one.draft(&row, 0);
    draft.give_back_all();
    one.send(draft, &mut row, 0);
    two.request(&mut row, large, 0).unwrap();
    assert_eq!(used(&row, ask, 0), (100, 0));
    assert_eq!(one.request(&mut row, tokens(100, 1), 60), Err(RefusedBy::InFlight));
    assert_eq!(one.request(&mut row, tokens(100, 1), 62), Ok(DAYS * 86_400 + 62));
}

#[test]
fn an_answer_that_comes_too_late_admits_nothing_and_gives_the_amount_back() {
    let (mut row, mut one) = (Row::default(), Gateway::new(1));
    let ask = money(1_000, 100);
    let mut draft = one.draft(&row, 0);
    draft.charge(&[ask]);
    assert_eq!(one.send(draft, &mut row, 1), Finished::NotAdmitted);
    assert_eq!(used(&row, ask, 1), (100, 0));
    let draft = one.draft(&row, 2);
    one.send(draft, &mut row, 2);
    assert_eq!(used(&row, ask, 2), (0, 0));
    let block = row.block(ask.id).unwrap();
    assert_eq!((block.estimated(at(2)), block.in_flight), (0, 0));
}

#[test]
fn a_call_that_was_not_applied_leaves_no_trace() {
    let (mut row, mut one) = (Row::default(), Gateway::new(1));
    let ask = tokens(1_000, 10);
    one.request(&mut row, ask, 0).unwrap();
    one.slice.charge(&ask, at(1));
    let before = (one.slice.held(ask.id), one.slice.block(ask.id).unwrap().clone());
    let mut draft = one.draft(&row, 1);
    draft.charge(&[ask]);
    draft.give_back_all();
    let (slice, ..) = draft.finish();
    one.slice = slice;
    assert_eq!(one.slice.held(ask.id), before.0, "a pending call does not change what is held");
    assert_eq!(one.slice.charge(&ask, at(1)), Local::Missing);
    let lost = one.slice.finish(1, one.number, Outcome::NotApplied, host(1));
    assert_eq!(lost, Finished::NotAdmitted);
    let after = one.slice.block(ask.id).unwrap();
    assert_eq!((after.free, &after.entries), (before.1.free, &before.1.entries));
    assert_eq!(after.in_flight, before.1.in_flight);
    assert_eq!(one.slice.finish(1, one.number, Outcome::Applied, host(1)), Finished::Unknown);
}

#[test]
fn a_dead_gateways_slice_counts_as_spent_and_is_shown() {
    let (mut row, mut one) = (Row::default(), Gateway::new(1));
    let ask = tokens(1_000, 10);
    one.request(&mut row, ask, 0).unwrap();
    let (_, leased) = used(&row, ask, 0);
    one.slice.charge(&ask, at(5));
    row.retire(&mut one.held, at(12));
    assert!(one.held.retired && one.held.is_empty() && one.held.is_applied(1, one.number));
    assert_eq!(used(&row, ask, 12), (10 + leased, 0));
    let block = row.block(ask.id).unwrap();
    assert_eq!(block.stranded(at(12)), leased + 10, "its call in flight is never settled");
    assert_eq!((block.used(at(72)), block.stranded(at(72))), (leased, leased + 10));
    assert_eq!((block.used(at(73)), block.stranded(at(73))), (0, 0));
    // It comes back: the charges were counted, and of calls under way only an increase is reported.
    one.slice.settle(ask.id, DAYS * 86_400, 10, 3, false, GatewayId(1));
    one.slice.renew(GatewayId(2));
    one.held = Held::default();
    one.slice.settle(ask.id, DAYS * 86_400 + 5, 10, 2, false, GatewayId(1));
    one.slice.settle(ask.id, DAYS * 86_400 + 5, 10, 17, false, GatewayId(1));
    let draft = one.draft(&row, 13);
    one.send(draft, &mut row, 13);
    assert_eq!(used(&row, ask, 13), (10 + leased + 7, 0));
}

#[test]
fn a_slice_of_an_old_limit_is_given_back_before_the_next_spend() {
    let (mut row, mut one) = (Row::default(), Gateway::new(1));
    one.request(&mut row, tokens(1_000, 10), 0).unwrap();
    let lowered = Ask { policy: 2, ..tokens(30, 10) };
    assert_eq!(one.slice.charge(&lowered, at(1)), Local::Missing);
    assert_eq!(one.slice.due(&lowered, ALONE, at(1)), Due::Now);
    one.request(&mut row, lowered, 1).unwrap();
    let (spent, leased) = used(&row, lowered, 1);
    assert!(spent == 20 && spent + leased <= 30);
    let mut two = Gateway::new(2);
    assert_eq!(two.request(&mut row, tokens(1_000, 10), 1), Err(RefusedBy::OldPolicy));
}

#[test]
fn a_budget_starts_over_and_keeps_the_closed_period() {
    let (mut row, mut one) = (Row::default(), Gateway::new(1));
    let ask = money(1_000, 100);
    let slot = one.request(&mut row, ask, 10).unwrap();
    let next = 86_400;
    assert_eq!(one.request(&mut row, ask, next).unwrap(), slot + 1);
    one.slice.settle(ask.id, slot, 100, 40, false, GatewayId(1));
    let draft = one.draft(&row, next + 1);
    one.send(draft, &mut row, next + 1);
    let block = row.block(ask.id).unwrap();
    assert_eq!(block.spent.iter().map(|spent| spent.amount).collect::<Vec<_>>(), [40, 100]);
    assert_eq!(block.used(at(next)), 100);
    // A gateway whose clock is before midnight counts in the later period.
    let mut two = Gateway::new(2);
    assert_eq!(two.request(&mut row, ask, next - 1).unwrap(), slot + 1);
}

#[test]
fn a_restored_row_is_raised_to_what_a_gateway_knows() {
    let (mut row, mut one) = (Row::default(), Gateway::new(1));
    let ask = tokens(1_000, 10);
    one.request(&mut row, ask, 0).unwrap();
    let backup = row.clone();
    one.slice.charge(&ask, at(3));
    let draft = one.draft(&row, 3);
    one.send(draft, &mut row, 3);
    one.slice.charge(&ask, at(4));
    let mut restored = backup;
    restored.restore(&row, at(5));
    one.slice.restore(GatewayId(2));
    one.held = Held::default();
    let draft = one.draft(&restored, 5);
    assert_eq!(one.send(draft, &mut restored, 5), Finished::Admitted);
    assert_eq!(used(&restored, ask, 5).0, 30);
    let call = CallId { lane: 1, number: 9, base: 0, sent: host(5), now: at(5) };
    let quiet = |ask| {
        let new = Draft::new(one.slice.clone(), restored.clone(), Held::default(), call, at(5).earliest);
        new.fits(&[ask], ALONE).map_err(|refused| (refused.by, refused.until)).unwrap_err()
    };
    assert_eq!(
        quiet(ask),
        (RefusedBy::Restored, at(5 + 61 + 7).earliest),
        "a window and the time to write what is known"
    );
    assert_eq!(quiet(money(1_000, 1)), (RefusedBy::Restored, at(5 + 10 + 7).earliest));
}

#[test]
fn nothing_left_is_remembered_for_the_amount_and_the_limit() {
    let mut one = Gateway::new(1);
    let ask = tokens(100, 30);
    one.slice.set_nothing(&ask, at(9).earliest);
    assert_eq!(one.slice.charge(&ask, at(8)), Local::NothingUntil(at(9).earliest));
    assert_eq!(one.slice.charge(&ask, at(9)), Local::Missing);
    assert_eq!(one.slice.charge(&tokens(100, 29), at(8)), Local::Missing);
    assert_eq!(one.slice.charge(&tokens(200, 30), at(8)), Local::Missing);
}
