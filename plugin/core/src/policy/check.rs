//! What must hold between records: limits within the level above, members, what a team selected.

use alloc::format;
use alloc::string::{String, ToString};

use super::assemble::{Choice, Selected};
use super::finding::{Problem, Report, pointer};
use super::index::Policy;
use super::model::*;
use crate::limits::Window;
use crate::refusal::dollars;

/// Checks all that spans records.
pub(super) fn across(
    policy: &Policy,
    selected: &[Selected],
    groups: &[(GroupIx, String)],
    base: &str,
    report: &mut Report,
) {
    for (_, id, team) in policy.teams.iter() {
        let Some(organization) = policy.organizations.get(team.organization.0) else { continue };
        let place = pointer(base, &["teams", id]);
        let above = [Above::organization(organization)];
        within(team.allowance.as_deref(), &above, &place, ["limits", "budget"], report);
        let above = [Above::team(team), Above::organization(organization)];
        within(team.member_allowance.as_deref(), &above, &place, ["member_limits", "member_budget"], report);
        target_limits_within(policy, team, organization, &place, report);
        for (user, _) in &team.members {
            // A user that does not exist was reported as such.
            if policy.users.get(user.0).is_some() && !is_member(&organization.members, *user) {
                let user = policy.users.name(user.0).to_string();
                let at = pointer(&place, &["members", &user]);
                let of = format!("organization `{}`", organization.id);
                report.error_at(at, Problem::NotMember { user, of });
            }
        }
    }
    for (_, _, organization) in policy.organizations.iter() {
        for (user, _) in &organization.members {
            let Some(record) = policy.users.get(user.0) else { continue };
            let above = [Above::organization(organization)];
            let at = pointer(base, &["users", &record.id]);
            within(record.allowance.as_deref(), &above, &at, ["limits", "budget"], report);
        }
    }
    for (_, id, key) in policy.keys.iter() {
        check_key(policy, key, &pointer(base, &["keys", id]), report);
    }
    for Selected { team, what, pointer } in selected {
        let Some(team) = policy.teams.get(team.0) else { continue };
        let Some(organization) = policy.organizations.get(team.organization.0) else { continue };
        if !is_available(policy, organization, *what) {
            let organization = organization.id.to_string();
            report.warning_at(pointer.clone(), Problem::Inert { organization });
        }
    }
    for (group, pointer) in groups {
        if !policy.targets.iter().any(|(_, _, target)| target.groups.contains(group)) {
            report.warning_at(pointer.clone(), Problem::EmptyGroup);
        }
    }
}

/// Whether an organization offers what a team selected: a target in its set; a group that is granted, or
/// of which at least one member is.
fn is_available(policy: &Policy, organization: &Organization, what: Choice) -> bool {
    match what {
        Choice::Target(ix) => {
            policy.targets.get(ix.0).is_none_or(|target| organization.access.has(ix, target).is_some())
        }
        Choice::Group(group) => {
            organization.access.groups.contains(&group)
                || policy.targets.iter().any(|(position, _, target)| {
                    target.groups.contains(&group)
                        && organization.access.has(TargetIx(position), target).is_some()
                })
        }
    }
}

fn check_key(policy: &Policy, key: &Key, place: &str, report: &mut Report) {
    let Some(team) = policy.teams.get(key.team.0) else { return };
    let Some(organization) = policy.organizations.get(team.organization.0) else { return };
    let member = Above {
        whose: format!("member limits of team `{}`", team.id),
        allowance: team.member_allowance.as_deref(),
    };
    let (team_above, ceiling) = (Above::team(team), Above::organization(organization));
    let owner = match key.owner {
        Owner::User(user) => policy.users.get(user.0),
        _ => None,
    };
    match owner {
        Some(owner) => {
            let above = [member, Above::user(owner), team_above, ceiling];
            within(key.allowance(), &above, place, ["limits", "budget"], report);
        }
        None => within(key.allowance(), &[team_above, ceiling], place, ["limits", "budget"], report),
    }
    match key.owner {
        Owner::User(user) if policy.users.get(user.0).is_some() && !is_member(&team.members, user) => {
            let user = policy.users.name(user.0).to_string();
            let of = format!("team `{}`", team.id);
            report.error_at(pointer(place, &["owner"]), Problem::NotMember { user, of });
        }
        Owner::ServiceAccount(account) => {
            if let Some(account) = policy.service_accounts.get(account.0)
                && account.team != key.team
            {
                report.error_at(pointer(place, &["owner"]), Problem::OtherTeam(account.id.to_string()));
            }
        }
        _ => {}
    }
}

fn is_member<R>(members: &[(UserIx, R)], user: UserIx) -> bool {
    members.binary_search_by_key(&user, |(member, _)| *member).is_ok()
}

/// A level that what lies below must fit into.
struct Above<'p> {
    whose: String,
    allowance: Option<&'p Allowance>,
}

impl<'p> Above<'p> {
    fn organization(organization: &'p Organization) -> Self {
        Above {
            whose: format!("organization `{}`", organization.id),
            allowance: organization.allowance.as_deref(),
        }
    }

    fn user(user: &'p User) -> Self {
        Above { whose: format!("user `{}`", user.id), allowance: user.allowance.as_deref() }
    }

    fn team(team: &'p Team) -> Self {
        Above { whose: format!("team `{}`", team.id), allowance: team.allowance.as_deref() }
    }
}

/// Each limit lies within the nearest level above that sets the same one; each budget within the nearest
/// over the same period.
fn within(
    allowance: Option<&Allowance>,
    above: &[Above<'_>],
    place: &str,
    [limits_field, budget_field]: [&str; 2],
    report: &mut Report,
) {
    let Some(allowance) = allowance else { return };
    for window in Window::ALL {
        let Some(found) = allowance.limits.get(window) else { continue };
        let nearest =
            above.iter().find_map(|above| Some((above.allowance?.limits.get(window)?, &above.whose)));
        if let Some((most, whose)) = nearest
            && found > most
        {
            report.error_at(
                pointer(place, &[limits_field, window.name()]),
                Problem::Above {
                    what: window.name(),
                    found: found.to_string(),
                    most: most.to_string(),
                    whose: whose.clone(),
                },
            );
        }
    }
    let Some(found) = allowance.budget else { return };
    let nearest = above.iter().find_map(|above| {
        let budget = above.allowance?.budget.filter(|budget| budget.period == found.period)?;
        Some((budget, &above.whose))
    });
    if let Some((most, whose)) = nearest
        && found.max > most.max
    {
        report.error_at(
            pointer(place, &[budget_field, "max"]),
            Problem::Above {
                what: "budget",
                found: format!("${}", dollars(found.max)),
                most: format!("${}", dollars(most.max)),
                whose: whose.clone(),
            },
        );
    }
}

fn target_limits_within(
    policy: &Policy,
    team: &Team,
    organization: &Organization,
    place: &str,
    report: &mut Report,
) {
    let (Some(own), Some(above)) = (team.allowance.as_deref(), organization.allowance.as_deref()) else {
        return;
    };
    for (target, limits) in &own.target_limits {
        let Ok(at) = above.target_limits.binary_search_by_key(target, |(target, _)| *target) else {
            continue;
        };
        let Some((_, most)) = above.target_limits.get(at) else { continue };
        let name = policy.targets.name(target.0);
        let as_whole = |limits| Allowance { limits, target_limits: [].into(), budget: None };
        let above = as_whole(*most);
        let above = [Above { whose: format!("organization `{}`", organization.id), allowance: Some(&above) }];
        let at = pointer(place, &["target_limits"]);
        within(Some(&as_whole(*limits)), &above, &at, [name, "budget"], report);
    }
}
