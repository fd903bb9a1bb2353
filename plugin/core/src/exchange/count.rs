//! The ended call, as the ledger counts it.

use super::access_log::Decision;
use super::{Exchange, ExchangeState};
use crate::auth::identity::Identity;
use crate::ledger::{Amounts, EndedCall};
use crate::money::Pico;
use crate::policy::{Created, instance};

/// The numbers that tell the caller's records from earlier ones of the same ids.
#[derive(Clone, Copy, Debug)]
pub(super) struct Instances {
    team: Created,
    key: Created,
    user: Created,
}

impl Instances {
    pub(super) fn of(identity: &Identity<'_>) -> Self {
        Instances {
            team: identity.team.created,
            key: identity.key.created(),
            user: identity.user.and_then(|user| user.created),
        }
    }
}

impl Exchange {
    /// Takes the call for [`crate::ledger::Recorder::count`], once it has ended and [`Exchange::finish`] was called.
    /// `None` if it is under way, was taken already, or is not counted:
    ///
    /// | request | counted as |
    /// |---|---|
    /// | forwarded with a key, also if shadow mode would have refused it | a request, with its tokens and cost |
    /// | refused, with a key that is known and active | a refused request |
    /// | without such a key, answered by the gateway, or given up before its decision | nothing |
    pub fn count(&mut self) -> Option<EndedCall> {
        match self.state {
            ExchangeState::Forwarded(_) | ExchangeState::Over => {}
            ExchangeState::Fresh
            | ExchangeState::Body(_)
            | ExchangeState::SigningIn(_)
            | ExchangeState::BufferingBody(_)
            | ExchangeState::Managing
            | ExchangeState::Admitting(_)
            | ExchangeState::Running(..) => return None,
        }
        let amounts = match self.log.decision {
            Decision::Allowed | Decision::Shadowed => {
                let usage = self.log.usage.unwrap_or_default();
                Amounts {
                    requests: 1,
                    input: usage.input,
                    cached_input: usage.cached_input,
                    output: usage.output,
                    cost: self.log.cost,
                    estimated: if self.log.estimated { self.log.cost } else { Pico(0) },
                    refused: 0,
                }
            }
            Decision::Denied => Amounts { refused: 1, ..Amounts::default() },
            Decision::Undecided | Decision::Public | Decision::Answered => return None,
        };
        let Instances { team, key, user } = self.instances.take()?;
        Some(EndedCall {
            team: instance(self.log.team.as_deref()?, team).into(),
            key: instance(self.log.key.as_deref()?, key).into(),
            user: self.log.user.as_deref().map_or_else(Default::default, |id| instance(id, user).into()),
            target: self.log.target.clone(),
            wall: self.log.time?.0.saturating_mul(1_000_000),
            amounts,
        })
    }
}
