//! All principals and all windows, or none; and the correction when the true cost is known.
//!
//! Every cell is read and decided first; a refusal there has written nothing. Then each is swapped,
//! narrow to wide, deciding again where a swap was lost. A late refusal takes back, in reverse, exactly
//! what was charged. A trap in between leaves a charge: the safe side.

pub mod headers;
pub mod status;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::num::NonZeroU64;

use crate::admission::status::Standing;
use crate::counters::{BlockId, Cell, CellName, Cells, CellsError, Kind, Swap, Update};
use crate::money::{Budget, Pico};
use crate::quota::{Denial, Denials, Reason, Scope};
use crate::quota::{Limits, Window};
use crate::time::Now;

/// One principal that governs the request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub struct Principal {
    /// Which level it is.
    pub scope: Scope,
    /// Where it counts.
    pub cell: CellName,
    /// Its limits as a whole.
    pub limits: Limits,
    /// The target's limits within it, by the target's fingerprint. Boxed: few have any.
    pub target_limits: Option<Box<(u64, Limits)>>,
    /// Its budget.
    pub budget: Option<Budget>,
}

impl Principal {
    /// Its limits, as a whole and of the target: whose they are, and which blocks count them.
    fn all_limits(&self) -> impl Iterator<Item = (Scope, u64, &Limits)> {
        let of_target = self.target_limits.as_deref();
        let of_target = of_target.map(|(target, limits)| (self.scope.of_target(), *target, limits));
        core::iter::once((self.scope, 0, &self.limits)).chain(of_target)
    }

    /// Whether one of its limits counts tokens.
    pub fn counts_tokens(&self) -> bool {
        self.limits.counts_tokens()
            || self.target_limits.as_ref().is_some_and(|of_target| of_target.1.counts_tokens())
    }
}

/// What a request is charged before it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub struct Reservation {
    /// Tokens of the input alone, as estimated for limits.
    pub input_tokens: u64,
    /// Tokens of input and output, as estimated for limits. Cut to a limit that is smaller.
    pub tokens: u64,
    /// The most the call can cost. Never cut.
    pub cost: Pico,
}

/// What a request turned out to have used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub struct Actual {
    /// Input and output tokens.
    pub tokens: u64,
    /// Their price.
    pub cost: Pico,
    /// Whether the two rest on an estimate.
    pub estimated: bool,
}

/// The principals of one request, narrow to wide, and what it is to be charged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub struct Charges {
    /// Narrow to wide: key, member, user, team, organization.
    pub principals: Vec<Principal>,
    /// Before it runs.
    pub reservation: Reservation,
}

/// What was charged to one cell, and exactly where.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub struct Held {
    cell: CellName,
    marks: Vec<Mark>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
// Aligned as `Pico` is.
#[repr(Rust, packed(8))]
struct Mark {
    block: BlockId,
    /// Slot, day or period.
    slot: u64,
    amount: u128,
}

/// Proof of an admission; settling consumes it, so that it cannot happen twice.
#[derive(Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub struct Receipt {
    held: Vec<Held>,
}

impl Receipt {
    /// Whether nothing was charged.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

/// A correction of one cell that is still to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correction {
    held: Held,
    change: Change,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// The request never ran: everything is taken back.
    TakeBack,
    /// It ran, and used this.
    Settle(Actual),
}

/// An admitted request.
#[derive(Debug, PartialEq, Eq)]
pub struct Admitted {
    /// To be settled once.
    pub receipt: Receipt,
    /// For the answer's headers.
    pub standing: Standing,
}

/// A request that was not admitted. Nothing is charged for it, but for what `unsettled` takes back.
#[derive(Debug, PartialEq, Eq)]
pub struct NotAdmitted {
    /// Why.
    pub why: Why,
    /// For the answer's headers.
    pub standing: Standing,
    /// Roll-backs that lost too many swaps: to be tried again later.
    pub unsettled: Vec<Correction>,
}

/// Why a request was not admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// A limit or a budget refuses.
    Denied(Box<Denial>),
    /// The cells could not be asked, or were contended for too long.
    Cells(CellsError),
}

/// A cell as it was read, charged and not yet stored.
struct Planned<V> {
    cell: Cell,
    version: V,
    marks: Vec<Mark>,
}

/// Charges a request to all of its principals, or to none.
///
/// # Errors
/// [`NotAdmitted`] with the refusal that has the longest wait; limits before budgets.
#[allow(clippy::result_large_err, reason = "both ends of one decision, taken once a request")]
pub fn admit<C: Cells>(cells: &mut C, charges: Charges, now: Now) -> Result<Admitted, NotAdmitted> {
    let mut standing = Standing::default();
    if let Some(denial) = can_never_pass(&charges) {
        let why = Why::Denied(Box::new(denial));
        return Err(NotAdmitted { why, standing, unsettled: Vec::new() });
    }

    let mut denials = Denials::default();
    let mut planned = Vec::with_capacity(charges.principals.len());
    for principal in &charges.principals {
        let read = cells
            .read(&principal.cell)
            .and_then(|(bytes, version)| Ok((Cell::open(bytes, principal.cell.fingerprint())?, version)));
        let (mut cell, version) = match read {
            Ok(read) => read,
            Err(error) => {
                return Err(NotAdmitted { why: Why::Cells(error), standing, unsettled: Vec::new() });
            }
        };
        let marks = charge(principal, &charges.reservation, &mut cell, now, &mut standing, &mut denials);
        planned.push(Planned { cell, version, marks });
    }
    if let Some(denial) = denials.into_one() {
        let standing = without_charges(&charges.principals, planned, now);
        let why = Why::Denied(Box::new(denial));
        return Err(NotAdmitted { why, standing, unsettled: Vec::new() });
    }

    let mut held = Vec::with_capacity(planned.len());
    for (principal, planned) in charges.principals.iter().zip(&mut planned) {
        let swapped = cells.swap(&principal.cell, planned.version, planned.cell.as_bytes());
        let charged = match swapped {
            Ok(Swap::Done) => Ok(core::mem::take(&mut planned.marks)),
            Ok(Swap::Lost) => charge_again(cells, principal, &charges.reservation, now, &mut standing),
            Err(error) => Err(Why::Cells(error)),
        };
        match charged {
            Ok(marks) => held.push(Held { cell: principal.cell.clone(), marks }),
            Err(why) => {
                let unsettled = apply(cells, held.into_iter().rev(), Change::TakeBack);
                return Err(NotAdmitted { why, standing, unsettled });
            }
        }
    }
    Ok(Admitted { receipt: Receipt { held }, standing })
}

/// Corrects the reservation to what was used. What is returned lost too many swaps, and is to be tried
/// again with [`retry`].
pub fn settle<C: Cells>(cells: &mut C, receipt: Receipt, actual: Actual) -> Vec<Correction> {
    let held = receipt.held.into_iter().filter(Held::awaits_settlement);
    apply(cells, held, Change::Settle(actual))
}

/// Takes an admission back whose request was not sent on.
pub fn take_back<C: Cells>(cells: &mut C, receipt: Receipt) -> Vec<Correction> {
    apply(cells, receipt.held.into_iter().rev(), Change::TakeBack)
}

/// Tries a correction again.
pub fn retry<C: Cells>(cells: &mut C, correction: Correction) -> Option<Correction> {
    let Correction { held, change } = correction;
    apply(cells, core::iter::once(held), change).pop()
}

fn apply<C: Cells>(cells: &mut C, held: impl Iterator<Item = Held>, change: Change) -> Vec<Correction> {
    held.filter_map(|held| {
        let done = cells.update(&held.cell, |cell| {
            for mark in &held.marks {
                correct(cell, mark, change);
            }
            Update::Write(())
        });
        done.err().map(|_| Correction { held, change })
    })
    .collect()
}

impl Held {
    fn awaits_settlement(&self) -> bool {
        self.marks.iter().any(|mark| match mark.block.kind {
            Kind::Window(window) => window.counts_tokens(),
            Kind::Budget => true,
        })
    }
}

/// Limits and budgets that are smaller than the request itself, whatever is counted already.
fn can_never_pass(charges: &Charges) -> Option<Denial> {
    let input = charges.reservation.input_tokens;
    let cost = charges.reservation.cost;
    let mut denials = Denials::default();
    for principal in &charges.principals {
        for (scope, _, limits) in principal.all_limits() {
            for (window, limit) in [(Window::Tpm, limits.tpm), (Window::Tpd, limits.tpd)] {
                if let Some(limit) = limit.map(NonZeroU64::get).filter(|limit| input > *limit) {
                    let reason = Reason::InputAboveLimit { window, limit, input };
                    denials.add(Denial { scope, reason, wait: None });
                }
            }
        }
        if let Some(budget) = principal.budget.filter(|budget| cost > budget.max && budget.max.0 > 0) {
            denials.add(Denial {
                scope: principal.scope,
                reason: Reason::CostAboveBudget { max: budget.max, cost },
                wait: None,
            });
        }
    }
    denials.into_one()
}

fn charge_again<C: Cells>(
    cells: &mut C,
    principal: &Principal,
    reservation: &Reservation,
    now: Now,
    standing: &mut Standing,
) -> Result<Vec<Mark>, Why> {
    cells
        .update(&principal.cell, |cell| {
            let mut denials = Denials::default();
            let marks = charge(principal, reservation, cell, now, standing, &mut denials);
            match denials.into_one() {
                None => Update::Write(Ok(marks)),
                Some(denial) => Update::Keep(Err(Why::Denied(Box::new(denial)))),
            }
        })
        .map_err(Why::Cells)?
}

/// Takes note of a window as it is stored. A function of its own: it would be written out for each.
#[inline(never)]
fn note(
    cell: &mut Cell,
    scope: Scope,
    target: u64,
    window: Window,
    limit: u64,
    now: Now,
    standing: &mut Standing,
) {
    if let Some(counter) = cell.stored_counter(window, target) {
        standing.note_window(scope, window, limit, counter.used(), || counter.until_empty(now));
    }
}

/// How a request stands that was refused: nothing of it is counted.
fn without_charges<V>(whose: &[Principal], planned: Vec<Planned<V>>, now: Now) -> Standing {
    let mut standing = Standing::default();
    for (principal, Planned { mut cell, marks, .. }) in whose.iter().zip(planned) {
        for mark in &marks {
            correct(&mut cell, mark, Change::TakeBack);
        }
        for (scope, target, limits) in principal.all_limits() {
            for (window, limit) in limits.iter() {
                note(&mut cell, scope, target, window, limit, now, &mut standing);
            }
        }
        if let Some(budget) = principal.budget {
            let mut purse = cell.purse();
            purse.advance(budget.period, now.wall);
            standing.note_budget(principal.scope, &budget, purse.spent());
        }
    }
    standing
}

/// Decides for one cell and charges it, as long as nothing refuses. Where something does at the end, only a part of it is
/// charged, and not to be stored.
fn charge(
    principal: &Principal,
    reservation: &Reservation,
    cell: &mut Cell,
    now: Now,
    standing: &mut Standing,
    denials: &mut Denials,
) -> Vec<Mark> {
    let mut charging = Charging { cell, now, standing, denials, marks: Vec::with_capacity(4) };
    for (scope, target, limits) in principal.all_limits() {
        charging.limits(scope, target, limits, reservation.tokens);
    }
    if let Some(budget) = &principal.budget {
        charging.budget(principal.scope, budget, reservation.cost);
    }
    charging.marks
}

/// A cell that is being charged, and what is found out on the way.
struct Charging<'a> {
    cell: &'a mut Cell,
    now: Now,
    standing: &'a mut Standing,
    denials: &'a mut Denials,
    marks: Vec<Mark>,
}

impl Charging<'_> {
    // A function of its own, as is the next: they would be written out for each window of each kind of limits.
    #[inline(never)]
    fn limits(&mut self, scope: Scope, target: u64, limits: &Limits, tokens: u64) {
        for (window, limit) in limits.iter() {
            let amount = if window.counts_tokens() { tokens.min(limit) } else { 1 };
            self.window(scope, target, window, limit, amount);
        }
    }

    #[inline(never)]
    fn window(&mut self, scope: Scope, target: u64, window: Window, limit: u64, amount: u64) {
        let now = self.now;
        let Some(mut counter) = self.cell.counter(window, target, now) else {
            // What cannot be counted is not admitted.
            let reason = Reason::LimitReached { window, limit, used: limit, asked: amount };
            return self.denials.add(Denial { scope, reason, wait: None });
        };
        let mut used = counter.used();
        if used.saturating_add(amount) > limit {
            let reason = Reason::LimitReached { window, limit, used, asked: amount };
            let wait = counter.wait(now, amount, limit);
            self.denials.add(Denial { scope, reason, wait });
        } else if self.denials.is_empty() {
            counter.charge(amount);
            used = used.saturating_add(amount);
            let block = BlockId { kind: Kind::Window(window), target };
            self.marks.push(Mark { block, slot: counter.slot(), amount: u128::from(amount) });
        }
        self.standing.note_window(scope, window, limit, used, || counter.until_empty(now));
    }

    fn budget(&mut self, scope: Scope, budget: &Budget, cost: Pico) {
        let Some((mut purse, stored)) = self.cell.purse_mut() else {
            // What cannot be counted is not admitted.
            let reason = Reason::BudgetSpent { max: budget.max, left: Pico(0), cost, period: budget.period };
            return self.denials.add(Denial { scope, reason, wait: None });
        };
        purse.advance(budget.period, self.now.wall);
        let left = Pico(budget.max.0.saturating_sub(purse.spent().0));
        if cost > left || left.0 == 0 {
            let reason = Reason::BudgetSpent { max: budget.max, left, cost, period: budget.period };
            // A budget of nothing is one in the next period too.
            let wait = purse.until_over(self.now.wall).filter(|_| budget.max.0 > 0);
            self.denials.add(Denial { scope, reason, wait });
        } else if self.denials.is_empty() {
            purse.charge(cost);
            let block = BlockId { kind: Kind::Budget, target: 0 };
            self.marks.push(Mark { block, slot: purse.number(), amount: cost.0 });
            purse.store(stored);
        }
        self.standing.note_budget(scope, budget, purse.spent());
    }
}

fn correct(cell: &mut Cell, mark: &Mark, change: Change) {
    let actual = match change {
        Change::TakeBack => Actual::default(),
        Change::Settle(actual) => actual,
    };
    match mark.block.kind {
        Kind::Window(window) => {
            let used = match change {
                Change::Settle(_) if !window.counts_tokens() => return,
                _ => actual.tokens,
            };
            if let Some(mut counter) = cell.stored_counter(window, mark.block.target) {
                counter.correct(mark.slot, u64::try_from(mark.amount).unwrap_or(u64::MAX), used);
            }
        }
        Kind::Budget => {
            cell.correct_purse(|purse| {
                purse.correct(mark.slot, Pico(mark.amount), actual.cost, actual.estimated);
            });
        }
    }
}
