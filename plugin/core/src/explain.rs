//! Why a key may or may not call a target: each step that leads to the decision.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::gateway::Gateway;
use crate::identity::identify;
use crate::limits::Window;
use crate::policy::Selection;
use crate::policy::access::{Narrower, Reach, Through};
use crate::time::Now;

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What was looked at.
    pub subject: &'static str,
    /// What was found.
    pub outcome: String,
    /// Whether the request passes here.
    pub passes: bool,
}

/// The steps in the order of refusals; the last one decides.
pub fn explain(gateway: &Gateway, key: &str, target: &str, now: Now) -> Vec<Step> {
    let policy = &*gateway.policy.read();
    let mut steps = Vec::new();
    let mut step = |subject, outcome: String, passes| steps.push(Step { subject, outcome, passes });
    let identity = match identify(policy, key, now) {
        Ok(identity) => identity,
        Err(refusal) => {
            step("key", format!("{}: {}", refusal.label().code, refusal.message()), false);
            return steps;
        }
    };
    step("key", format!("`{}`", identity.key.id), true);
    step("team", format!("`{}`", identity.team.id), true);
    step("organization", format!("`{}`", identity.organization.id), true);
    if let Some(user) = identity.user {
        step("user", format!("`{}`", user.id), true);
    }
    let Some((ix, record)) = policy.target(target) else {
        step("target", "unknown: callers see the same refusal as for a forbidden one".to_string(), false);
        return steps;
    };
    let how = |through| match through {
        Through::Everything => "as a part of the whole catalogue".to_string(),
        Through::Name => "by its name".to_string(),
        Through::Group(group) => format!("through group `{}`", policy.groups.name(group.0)),
    };
    let by = |selection: &Selection| selection.has(ix, record).map(how);
    match identity.levels().reach(ix, record) {
        Reach::NotGranted => {
            step("access", format!("organization `{}` does not grant it", identity.organization.id), false);
            return steps;
        }
        Reach::RefusedBy(level) => {
            let whose = match level {
                Narrower::Team => format!("team `{}`", identity.team.id),
                Narrower::Key => format!("key `{}`", identity.key.id),
                Narrower::User => format!("user `{}`", identity.user.map_or("", |user| &user.id)),
            };
            step("access", format!("{whose} restricts its access and has not selected it"), false);
            return steps;
        }
        Reach::Granted(_) => {
            let through = by(&identity.organization.access).unwrap_or_default();
            step("access", format!("granted by organization `{}` {through}", identity.organization.id), true);
        }
    }
    for principal in identity.principals(&gateway.prefix, Some((ix, record))) {
        let limits = Window::ALL.iter().filter_map(|window| {
            principal.limits.get(*window).map(|limit| format!("{} {limit}", window.name()))
        });
        let of_target = principal.target_limits.into_iter().flat_map(|(_, limits)| {
            Window::ALL.into_iter().filter_map(move |window| {
                limits.get(window).map(|limit| format!("{} {limit} for this target", window.name()))
            })
        });
        let budget =
            principal.budget.map(|budget| format!("budget ${}", crate::refusal::dollars(budget.max)));
        let all: Vec<String> = limits.chain(of_target).chain(budget).collect();
        step("allowance", format!("{}: {}", principal.scope.name(), all.join(", ")), true);
    }
    steps
}
