//! The membership of this gateway in its fleet, as the VM that renews it sees it.
//!
//! ```text
//! Away -> grant a lease -> survey the members -> put member/<gateway> -> Member: renew the lease, put member/<gateway>, ...
//! ```

use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::keys::{FleetKeys, gateway_of, lease_of};
use crate::etcd::{
    Compare, GrantLease, KeepAlive, Part, PartReply, Read, Snapshot, StoreState, Stored, Transaction,
    TransactionReply, Write,
};
use crate::fleet::{
    Clock, ClockReading, FleetTime, GatewayId, LEASE_SECONDS, MemberValue, MembersRead, Membership, RENEWAL,
};
use crate::time::{Now, SECOND};

/// The most members of a fleet.
const MAX_MEMBERS: u64 = 2_000;
/// The most principals that are wanted at once.
const MAX_WANTS: u64 = 100;
/// The interval of surveys (ns).
const SURVEY: u64 = SECOND;
/// The interval while the bounds of the fleet's time are far apart (ns).
const SURVEY_SOON: u64 = SECOND / 4;
/// The pause after a failed attempt (ns).
const PAUSE: u64 = SECOND / 2;

/// The next call for the membership.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Grants the lease of the gateway.
    Grant(GrantLease),
    /// Renews it.
    Renew(KeepAlive),
    /// Reads the members and the clock.
    Survey(Snapshot),
    /// Puts the key of the gateway.
    Publish(Transaction),
}

/// The result of a survey, for the care of rows.
#[derive(Clone, Debug, Default)]
pub(super) struct Survey {
    /// The number of members, this one included.
    pub(super) members: usize,
    /// True if this gateway is the first of them.
    pub(super) is_first: bool,
    /// Gateways that are not members, and may hold something.
    pub(super) dead: Vec<GatewayId>,
    /// Gateways that hold nothing any more, with the fleet's time of that.
    pub(super) retired: Vec<(GatewayId, u64)>,
    /// Principals that another gateway wants.
    pub(super) wanted: Vec<String>,
}

/// A change of the membership, for the record in shared data.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// The membership is as this.
    Is(Membership),
    /// The gateway with this id is no longer a member.
    Lost(GatewayId),
    /// The gateway with this id is no longer a member: etcd has less than it had.
    Restored(GatewayId),
}

#[derive(Clone, Debug, Default)]
enum Stage {
    #[default]
    Away,
    /// The lease is being granted.
    Granting(GatewayId, Now),
    /// The lease is granted, and the members are to be read.
    Granted(GatewayId, Now),
    /// The key is being put.
    Joining(GatewayId, Now, Clock),
    Member(Membership, Clock, Renewing),
}

#[derive(Clone, Copy, Debug)]
enum Renewing {
    No,
    /// The lease, since this moment.
    Lease(Now),
    /// The key.
    Key(Now),
}

/// The membership, and the calls for it.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    stage: Stage,
    /// The clock of the last membership, for a fleet that has no other member.
    last: Option<ClockReading>,
    /// The revision of the last response.
    seen: u64,
    /// The monotonic time before which nothing is tried.
    not_before: u64,
    /// The moment of sending the survey that is under way.
    surveying: Option<Now>,
    surveyed: u64,
    /// The state of the store at the last survey.
    last_state: Option<StoreState>,
    /// Value and revision of `clock`.
    clock: (FleetTime, u64),
}

impl Standing {
    /// Follows the record in shared data, which another VM may have written. Returns the calls that are due.
    pub(super) fn tick(
        &mut self,
        keys: &FleetKeys,
        shared: Option<&Membership>,
        random: Option<u128>,
        now: Now,
    ) -> Vec<Step> {
        let trusted = shared.filter(|shared| shared.now(now).is_some());
        match (&self.stage, trusted) {
            (Stage::Member(own, ..), Some(shared)) if own.id == shared.id => {}
            (_, Some(shared)) => {
                self.stage = Stage::Member(*shared, Clock::resume(shared.clock()), Renewing::No);
                self.not_before = now.monotonic;
                self.surveying = None;
            }
            (Stage::Member(..), None) => {
                self.last = shared.map(Membership::clock);
                self.stage = Stage::Away;
            }
            (Stage::Away | Stage::Granting(..) | Stage::Granted(..) | Stage::Joining(..), None) => {}
        }
        let mut steps = Vec::new();
        let due = now.monotonic >= self.not_before;
        match &mut self.stage {
            Stage::Away if due => {
                if let Some(id) = random.filter(|random| *random != 0).map(GatewayId) {
                    self.stage = Stage::Granting(id, now);
                    steps.push(Step::Grant(GrantLease { seconds: LEASE_SECONDS, id: lease_of(id) }));
                }
            }
            Stage::Member(own, _, renewing @ Renewing::No) if due => {
                *renewing = Renewing::Lease(now);
                steps.push(Step::Renew(KeepAlive(lease_of(own.id))));
            }
            Stage::Away
            | Stage::Granting(..)
            | Stage::Granted(..)
            | Stage::Joining(..)
            | Stage::Member(..) => {}
        }
        if matches!(self.stage, Stage::Member(..))
            && self.surveying.is_none()
            && now.monotonic.saturating_sub(self.surveyed) >= self.survey_interval(now)
        {
            steps.push(self.survey(keys, now));
        }
        steps
    }

    /// The bounds of the fleet's time close with each renewal of another gateway that is seen early.
    fn survey_interval(&self, now: Now) -> u64 {
        match &self.stage {
            Stage::Member(_, clock, _) => {
                let fleet = clock.reading().now(now);
                if fleet.latest.0.saturating_sub(fleet.earliest.0) > SECOND { SURVEY_SOON } else { SURVEY }
            }
            Stage::Away | Stage::Granting(..) | Stage::Granted(..) | Stage::Joining(..) => SURVEY,
        }
    }

    fn survey(&mut self, keys: &FleetKeys, now: Now) -> Step {
        self.surveying = Some(now);
        self.surveyed = now.monotonic;
        Step::Survey(Snapshot::new(vec![
            Read::Key(keys.clock()),
            Read::Key(keys.era()),
            Read::Prefix(keys.members(), MAX_MEMBERS),
            Read::Prefix(keys.gateways(), MAX_MEMBERS),
            Read::Prefix(keys.wants(), MAX_WANTS),
        ]))
    }

    /// Takes the response to [`Step::Grant`].
    pub(super) fn granted(&mut self, keys: &FleetKeys, state: StoreState, now: Now) -> Vec<Step> {
        self.seen = self.seen.max(state.revision);
        let Stage::Granting(id, sent) = self.stage else { return Vec::new() };
        self.stage = Stage::Granted(id, sent);
        vec![self.survey(keys, now)]
    }

    /// Takes the response to [`Step::Renew`].
    pub(super) fn renewed(
        &mut self,
        keys: &FleetKeys,
        (state, alive): (StoreState, bool),
        now: Now,
    ) -> (Vec<Step>, Option<Change>) {
        self.seen = self.seen.max(state.revision);
        let Stage::Member(Membership { id, .. }, clock, renewing) = &mut self.stage else {
            return (Vec::new(), None);
        };
        let Renewing::Lease(sent) = *renewing else { return (Vec::new(), None) };
        if !alive {
            let lost = *id;
            self.last = Some(clock.reading());
            return (Vec::new(), Some(self.lost(lost, now)));
        }
        let value = clock.value(self.seen, now);
        let part = Part { writes: vec![member_key(keys, *id, value)], ..Part::default() };
        let compares = vec![Compare::Exists(keys.member(*id))];
        let mut parts = vec![part];
        let (stored, revision) = self.clock;
        if value.time > stored {
            parts.push(Part {
                compares: vec![Compare::Revision(keys.clock(), revision)],
                writes: vec![clock_key(keys, value.time)],
                reads: Vec::new(),
            });
        }
        *renewing = Renewing::Key(sent);
        (vec![Step::Publish(Transaction::new(compares, parts))], None)
    }

    /// Takes the response to [`Step::Publish`].
    pub(super) fn published(&mut self, reply: &TransactionReply, now: Now) -> Option<Change> {
        self.seen = self.seen.max(reply.state.revision);
        let own = reply.parts.as_ref().and_then(|parts| parts.first());
        let stored = own == Some(&PartReply::Stored);
        match core::mem::take(&mut self.stage) {
            Stage::Joining(id, sent, clock) if stored => {
                let membership = Membership::renewed(id, sent, clock.reading());
                self.stage = Stage::Member(membership, clock, Renewing::No);
                self.not_before = now.monotonic.saturating_add(RENEWAL);
                Some(Change::Is(membership))
            }
            // Another gateway has begun a fleet or this lease has ended: from the start.
            Stage::Joining(..) => {
                self.not_before = now.monotonic.saturating_add(PAUSE);
                None
            }
            Stage::Member(Membership { id, .. }, clock, Renewing::Key(sent)) if stored => {
                let membership = Membership::renewed(id, sent, clock.reading());
                self.stage = Stage::Member(membership, clock, Renewing::No);
                self.not_before = sent.monotonic.saturating_add(RENEWAL);
                Some(Change::Is(membership))
            }
            Stage::Member(Membership { id, .. }, clock, Renewing::Key(_)) => {
                self.last = Some(clock.reading());
                Some(self.lost(id, now))
            }
            other @ (Stage::Away | Stage::Granting(..) | Stage::Granted(..) | Stage::Member(..)) => {
                self.stage = other;
                None
            }
        }
    }

    /// Takes the response to [`Step::Survey`].
    pub(super) fn surveyed(
        &mut self,
        keys: &FleetKeys,
        (state, reads): (StoreState, Vec<Vec<Stored>>),
        now: Now,
    ) -> (Vec<Step>, Option<Change>, Option<Survey>) {
        let Some(sent) = self.surveying.take() else { return (Vec::new(), None, None) };
        let last = self.last_state.replace(state);
        if last.is_some_and(|last| last.cluster != state.cluster || last.revision > state.revision) {
            // Slices and rows no longer belong together, and revisions that were seen are not those of this store.
            self.seen = state.revision;
            let change = match self.stage {
                Stage::Member(Membership { id, .. }, ..) => Some(Change::Restored(id)),
                Stage::Away | Stage::Granting(..) | Stage::Granted(..) | Stage::Joining(..) => None,
            };
            self.stage = Stage::Away;
            self.not_before = now.monotonic;
            return (Vec::new(), change, None);
        }
        self.seen = self.seen.max(state.revision);
        let mut reads = reads.into_iter();
        let mut next = || reads.next().unwrap_or_default();
        let [clock, era, members, gateways, wants] = [next(), next(), next(), next(), next()];
        self.clock =
            clock.first().map_or((FleetTime(0), 0), |stored| (clock_of(&stored.value), stored.revision));
        let era = era.first().map_or(0, |era| era.revision);
        let own = match &self.stage {
            Stage::Away => None,
            Stage::Granting(id, _) | Stage::Granted(id, _) | Stage::Joining(id, ..) => Some(*id),
            Stage::Member(own, ..) => Some(own.id),
        };
        let prefix = keys.members();
        let members: Vec<(GatewayId, MemberValue)> = members
            .iter()
            .filter_map(|stored| {
                Some((gateway_of(&prefix, &stored.key)?, MemberValue::from_bytes(&stored.value)?))
            })
            .collect();
        let others: Vec<_> = members.iter().filter(|(id, _)| Some(*id) != own).copied().collect();
        let (stored_clock, _) = self.clock;
        let read = MembersRead {
            revision: state.revision,
            sent,
            received: now,
            clock: stored_clock,
            members: &others,
        };
        match &mut self.stage {
            Stage::Granted(id, first) => {
                let (id, first) = (*id, *first);
                let (clock, begins) = match Clock::join(&read) {
                    Some(clock) => (clock, false),
                    None => (Clock::first(&read, self.last), true),
                };
                let value = clock.value(self.seen, now);
                let mut writes = vec![
                    member_key(keys, id, value),
                    Write::Put { key: keys.gateway(id), value: Vec::new(), lease: None },
                ];
                if begins {
                    writes.push(Write::Put { key: keys.era(), value: Vec::new(), lease: None });
                    writes.push(clock_key(keys, value.time));
                }
                let part =
                    Part { compares: vec![Compare::Missing(keys.member(id))], writes, reads: Vec::new() };
                self.stage = Stage::Joining(id, first, clock);
                let compares = vec![Compare::Revision(keys.era(), era)];
                (vec![Step::Publish(Transaction::new(compares, vec![part]))], None, None)
            }
            Stage::Member(own, clock, _) => {
                clock.sample(&read);
                *own = own.with_clock(clock.reading());
                let (id, change) = (own.id, Change::Is(*own));
                let prefix = keys.gateways();
                let (mut dead, mut retired) = (Vec::new(), Vec::new());
                for stored in &gateways {
                    let Some(gateway) = gateway_of(&prefix, &stored.key) else { continue };
                    match clock_of(&stored.value) {
                        _ if members.iter().any(|(member, _)| *member == gateway) || gateway == id => {}
                        FleetTime(0) => dead.push(gateway),
                        FleetTime(at) => retired.push((gateway, at)),
                    }
                }
                let is_first = !others.iter().any(|(other, _)| *other < id);
                let own = keys.wants_of(id);
                let wanted = wants.iter().filter(|want| !want.key.starts_with(&own));
                let wanted =
                    wanted.filter_map(|want| keys.wanted(&want.key).map(ToString::to_string)).collect();
                (
                    Vec::new(),
                    Some(change),
                    Some(Survey { members: members.len(), is_first, dead, retired, wanted }),
                )
            }
            Stage::Away | Stage::Granting(..) | Stage::Joining(..) => (Vec::new(), None, None),
        }
    }

    /// Takes the failure of a call: it is tried again after a pause.
    pub(super) fn failed(&mut self, step: &FailedStep, now: Now) {
        if *step == FailedStep::Survey {
            self.surveying = None;
            if let Stage::Member(..) = self.stage {
                return;
            }
        }
        self.not_before = now.monotonic.saturating_add(PAUSE);
        match &mut self.stage {
            // The lease that may have been granted ends by itself.
            Stage::Granting(..) | Stage::Granted(..) | Stage::Joining(..) => self.stage = Stage::Away,
            Stage::Member(_, _, renewing) => *renewing = Renewing::No,
            Stage::Away => {}
        }
    }

    fn lost(&mut self, id: GatewayId, now: Now) -> Change {
        self.stage = Stage::Away;
        self.not_before = now.monotonic;
        Change::Lost(id)
    }
}

/// The kind of a call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailedStep {
    Survey,
    Other,
}

fn member_key(keys: &FleetKeys, id: GatewayId, value: MemberValue) -> Write {
    Write::Put { key: keys.member(id), value: value.to_bytes(), lease: Some(lease_of(id)) }
}

fn clock_key(keys: &FleetKeys, time: FleetTime) -> Write {
    Write::Put { key: keys.clock(), value: time.0.to_string().into_bytes(), lease: None }
}

/// The time in `clock`: its digits.
fn clock_of(value: &[u8]) -> FleetTime {
    let digits = core::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
    FleetTime(digits.unwrap_or(0))
}
