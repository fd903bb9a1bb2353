//! The identity behind a key, and the principals whose limits govern its requests.

use crate::counters::RecordKeys;
use crate::secret::api_key::Digest;
use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::admission::Principal;
use crate::counters::RecordKey;
use crate::http::rejection::Rejection;
use crate::money::Period;
use crate::policy::access::AccessChain;
use crate::policy::*;
use crate::quota::{PrincipalKind, QuotaScope};
use crate::secret::api_key;
use crate::secret::api_key::KeyFormat;
use crate::text::hash::fingerprint;
use crate::time::Clock;

/// A key, its owner, its team and its organization.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'p> {
    /// The key.
    pub key: &'p Key,
    /// The key's team.
    pub team: &'p Team,
    /// The team's organization.
    pub organization: &'p Organization,
    /// The key's owner, if that is a user.
    pub user: Option<&'p User>,
}

/// Finds the identity behind a key, and returns it with the key's digest.
///
/// # Errors
/// A rejection for a key that is unknown, mistyped, expired or blocked, or whose team, organization or
/// service account is blocked.
pub fn authenticate<'p>(
    policy: &'p Policy,
    text: &str,
    now: impl Clock,
) -> Result<(Digest, Identity<'p>), Rejection> {
    if api_key::key_format(text) == KeyFormat::BadChecksum {
        return Err(Rejection::MistypedKey);
    }
    let digest = api_key::digest(text.as_bytes());
    Ok((digest, authenticate_digest(policy, &digest, now)?))
}

/// A function, so that the error is built on the failure path only.
fn unknown_key() -> Rejection {
    Rejection::InvalidKey
}

/// Finds the identity behind the key with this digest.
///
/// # Errors
/// Those of [`authenticate`].
pub fn authenticate_digest<'p>(
    policy: &'p Policy,
    digest: &Digest,
    now: impl Clock,
) -> Result<Identity<'p>, Rejection> {
    let (_, key) = policy.key_by_digest(digest, now).ok_or_else(unknown_key)?;
    check_key(policy, key, now)
}

/// Checks a key of the policy, and returns the identity behind it.
///
/// # Errors
/// Those of [`authenticate`].
pub fn check_key<'p>(policy: &'p Policy, key: &'p Key, now: impl Clock) -> Result<Identity<'p>, Rejection> {
    if key.state == State::Blocked {
        return Err(Rejection::InvalidKey);
    }
    if key.expires_at.is_some_and(|end| now.timestamp() >= end) {
        return Err(Rejection::ExpiredKey);
    }
    // A loaded policy has every name resolved; a key whose team was deleted is unknown.
    let team = policy.teams.get(key.team.0).ok_or_else(unknown_key)?;
    let organization = policy.organizations.get(team.organization.0).ok_or_else(unknown_key)?;
    let user = match key.owner {
        Owner::User(user) => Some(policy.users.get(user.0).ok_or_else(unknown_key)?),
        Owner::ServiceAccount(account) => {
            let account = policy.service_accounts.get(account.0).ok_or_else(unknown_key)?;
            if account.state == State::Blocked {
                return Err(Rejection::Blocked("service_account_blocked"));
            }
            None
        }
        Owner::None => None,
    };
    if organization.state == State::Blocked {
        return Err(Rejection::Blocked("organization_blocked"));
    }
    if team.state == State::Blocked {
        return Err(Rejection::Blocked("team_blocked"));
    }
    Ok(Identity { key, team, organization, user })
}

impl<'p> Identity<'p> {
    /// Returns the levels whose access rules apply together.
    pub fn levels(&self) -> AccessChain<'p> {
        AccessChain::new(self.organization, self.team, self.key, self.user)
    }

    /// Returns the principals that are charged for a call of this target, narrow to wide.
    pub fn principals(&self, names: &RecordKeys, target: Option<(TargetId, &Target)>) -> Vec<Principal> {
        let mut principals = Vec::with_capacity(6);
        let mut add = |level, allowance: Option<&Quota>, record: &dyn Fn(&CachedRecordKey) -> RecordKey| {
            if let Some(allowance) = allowance {
                let of_target = target.and_then(|(ix, target)| {
                    let at = allowance.target_limits.binary_search_by_key(&ix, |(ix, _)| *ix).ok()?;
                    let (_, limits) = allowance.target_limits.get(at)?;
                    (!limits.is_empty()).then(|| Box::new((fingerprint(target.name.as_bytes()), *limits)))
                });
                // The quota may limit other targets only.
                let governs =
                    of_target.is_some() || allowance.budget.is_some() || !allowance.limits.is_empty();
                if governs {
                    principals.push(Principal {
                        scope: QuotaScope::whole(level),
                        record: record(&allowance.record),
                        limits: allowance.limits,
                        target_limits: of_target,
                        budget: allowance.budget,
                    });
                }
            }
        };
        let Identity { key, team, organization, user } = *self;
        add(PrincipalKind::Key, key.allowance(), &|known| known.name(&names.keys, &key.id, key.created()));
        if let Some(user) = user {
            let of_keys = key.self_service_budget(team);
            add(PrincipalKind::Member, of_keys.as_ref(), &|_| self_service_record(names, key, team, user));
            let member = match key.owner {
                Owner::User(id) => team.member_quota(id),
                Owner::ServiceAccount(_) | Owner::None => None,
            };
            // Members and users have one record per team or organization: it is not cached with them.
            add(PrincipalKind::Member, member, &|_| member_record(names, team, user));
            add(PrincipalKind::User, user.allowance.as_deref(), &|_| {
                names.user(&organization.instance(), &user.instance())
            });
        }
        add(PrincipalKind::Team, team.allowance.as_deref(), &|known| {
            known.name(&names.teams, &team.id, team.created)
        });
        let ceiling = organization.allowance.as_deref();
        add(PrincipalKind::Organization, ceiling, &|known| {
            known.name(&names.organizations, &organization.id, organization.created)
        });
        principals
    }
}

/// Returns the name of the counter record of a user within a team.
pub(crate) fn member_record(names: &RecordKeys, team: &Team, user: &User) -> RecordKey {
    names.member(&team.instance(), &user.instance())
}

/// Returns the name of the counter record of the self-service keys of a user within a team, of those with the period of
/// this key.
pub(crate) fn self_service_record(names: &RecordKeys, key: &Key, team: &Team, user: &User) -> RecordKey {
    let budget = key.allowance().and_then(|quota| quota.budget);
    let period = budget.map_or(Period::default(), |budget| budget.period);
    names.self_service(&team.instance(), &user.instance(), period.name())
}
