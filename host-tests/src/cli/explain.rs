//! `tollgate explain`: the decision about a key and a target, with each step that leads there.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use tollgate_core::admission::{AdmissionError, AdmissionRequest, NotAdmitted, Reservation, acquire};
use tollgate_core::auth::identity::{Identity, authenticate};
use tollgate_core::config::PREFIX;
use tollgate_core::counters::RecordKeys;
use tollgate_core::counters::{Cas, CounterStore, RecordKey, StoreError};
use tollgate_core::http::rejection::Rejection;
use tollgate_core::money::dollars;
use tollgate_core::money::{Budget, Period};
use tollgate_core::policy::access::{AccessDecision, GrantedBy, Restriction};
use tollgate_core::policy::{
    AccessScope, Mode, Owner, Policy, Quota, State, Target, TargetId, TargetSet, Unpriced,
};
use tollgate_core::quota::{Limits, Window};
use tollgate_core::secret::api_key;
use tollgate_core::secret::api_key::KeyFormat;
use tollgate_core::time::{Now, Timestamp};

use super::document::Document;
use super::{Failure, say};

#[derive(Debug, Args)]
#[group(skip)]
pub struct Arguments {
    /// The policy, or a gateway configuration with one in it.
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// The key, as a client sends it; `-`: from standard input.
    #[arg(long)]
    key: String,
    /// The target it asks for.
    #[arg(long, value_name = "NAME")]
    target: String,
}

/// Exit code 0: it passes, as far as limits and budgets have something left; 1: refused.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let (document, _) = Document::load(&arguments.policy)?;
    let key = match arguments.key.as_str() {
        "-" => {
            std::io::read_to_string(std::io::stdin()).map_err(super::key::Error::Input)?.trim_end().to_owned()
        }
        key => key.to_owned(),
    };
    let verdict = explain(&document, &key, &arguments.target, now());
    let (refused, shadow) = match verdict {
        Ok(Verdict { refused, shadow }) => (refused, shadow),
        // Whose key it is decides which mode there is.
        Err(refusal) => (Some(refusal), None),
    };
    let why = refused.map(|refusal| {
        let label = refusal.label();
        format!("refused: {} {}: {}", label.status, label.code, refusal.message())
    });
    let (decision, code) = match (why, shadow) {
        (None, None) => ("allowed".to_owned(), ExitCode::SUCCESS),
        (None, Some(whose)) => {
            (format!("allowed ({whose} is in shadow mode: nothing is refused)"), ExitCode::SUCCESS)
        }
        (Some(why), None) => (why, ExitCode::FAILURE),
        (Some(why), Some(whose)) => {
            (format!("passes, because {whose} is in shadow mode; else {why}"), ExitCode::SUCCESS)
        }
    };
    step("decision", &decision);
    Ok(code)
}

/// What comes of a request whose key is known.
struct Verdict {
    refused: Option<Rejection>,
    /// Who is in shadow mode, so that the refusal is recorded only.
    shadow: Option<&'static str>,
}

/// Prints each step.
fn explain(document: &Document, key: &str, target: &str, now: Now) -> Result<Verdict, Rejection> {
    let policy = &*document.policy();
    step(
        "key",
        match api_key::key_format(key) {
            KeyFormat::Native => "one of Tollgate's own, its checksum fits",
            KeyFormat::BadChecksum => "begins like one of Tollgate's own, its checksum does not fit",
            KeyFormat::Foreign => "of another spelling: its digest is looked up",
        },
    );
    let (_, identity) =
        authenticate(policy, key, now.timestamp()).inspect_err(|_| whose(policy, key, now.timestamp()))?;
    let shadow = match document {
        Document::Gateway(gateway) if gateway.mode == Mode::Shadow => Some("the gateway"),
        _ => (identity.team.mode == Mode::Shadow).then_some("the team"),
    };
    Ok(Verdict { refused: decide(policy, &identity, target, now).err(), shadow })
}

/// What a known key may call, and what it has to call it with.
fn decide(policy: &Policy, identity: &Identity<'_>, target: &str, now: Now) -> Result<(), Rejection> {
    let Identity { key, team, organization, user } = *identity;
    let owner = match key.owner {
        Owner::User(_) => user.map_or("nobody".to_owned(), |user| format!("user `{}`", user.id)),
        Owner::ServiceAccount(account) => format!(
            "service account `{}`",
            policy.service_accounts.get(account.0).map_or("?", |account| &account.id)
        ),
        Owner::None => "the team".to_owned(),
    };
    step(
        "identity",
        &format!(
            "key `{}` of team `{}` in organization `{}`, owned by {owner}",
            key.id, team.id, organization.id
        ),
    );

    let refused = || Rejection::TargetNotAllowed { target: target.into() };
    let Some((ix, found)) = policy.target(target) else {
        step("target", "not in the catalogue");
        return Err(refused());
    };
    let carried = found.groups.iter().map(|group| format!("`{}`", policy.groups.name(group.0)));
    step("target", &format!("carries {}", list(carried.collect(), "no group")));
    let has = |selection: &TargetSet| match selection.has(ix, found) {
        Some(through) => how(policy, through),
        None => "does not have it".to_owned(),
    };
    step("access", &format!("organization `{}` {}", organization.id, has(&organization.access)));
    let scopes = [
        (format!("team `{}`", team.id), Some(&team.access)),
        (format!("key `{}`", key.id), Some(key.access())),
        (user.map_or(String::new(), |user| format!("user `{}`", user.id)), user.map(|user| &user.access)),
    ];
    for (name, scope) in scopes.iter().filter_map(|(name, scope)| Some((name, (*scope)?))) {
        match scope {
            AccessScope::Inherit => step("", &format!("{name} inherits")),
            AccessScope::Restrict(selection) => {
                step("", &format!("{name} restricts, and {}", has(selection)))
            }
        }
    }
    match identity.levels().reach(ix, found) {
        AccessDecision::Granted(_) => {}
        AccessDecision::NotGranted => {
            step("", "the organization does not grant it");
            return Err(refused());
        }
        AccessDecision::RefusedBy(level) => {
            let level = match level {
                Restriction::Team => "team",
                Restriction::Key => "key",
                Restriction::User => "user",
            };
            step("", &format!("the {level} takes it away"));
            return Err(refused());
        }
    }
    let budgeted = allowances(identity, ix);
    if budgeted && found.price.is_none() && policy.unpriced == Unpriced::Deny {
        step("price", "none, and a budget applies");
        return Err(Rejection::UnpricedTarget { target: target.into() });
    }
    price(found);
    allowance(identity, ix, found, now)
}

/// Whether the least that a call can take fits while nothing is used: what never does is no question of the hour.
fn allowance(identity: &Identity<'_>, ix: TargetId, target: &Target, now: Now) -> Result<(), Rejection> {
    let cost = target.price.map_or_else(Default::default, |price| price.request);
    let charges = AdmissionRequest {
        principals: identity.principals(&RecordKeys::new(PREFIX), Some((ix, target))),
        reservation: Reservation { cost, ..Reservation::default() },
    };
    match acquire(&mut Unused, charges, now) {
        Err(NotAdmitted { error: AdmissionError::Denied(denial), .. }) => Err(Rejection::Denied(denial)),
        Err(NotAdmitted { error: AdmissionError::Cells(_), .. }) => Err(Rejection::LimitsUnavailable),
        Ok(_) => Ok(()),
    }
}

/// Counters of which nothing is used.
struct Unused;

impl CounterStore for Unused {
    type Version = ();

    fn read(&mut self, _: &RecordKey) -> Result<(Vec<u8>, ()), StoreError> {
        Ok((Vec::new(), ()))
    }

    fn compare_and_swap(&mut self, _: &RecordKey, (): (), _: &[u8]) -> Result<Cas, StoreError> {
        Ok(Cas::Stored)
    }
}

/// Tells the operator what the caller is not told.
fn whose(policy: &Policy, key: &str, now: Timestamp) {
    let Some((_, key)) = policy.key_by_digest(&api_key::digest(key.as_bytes()), now) else {
        return step("identity", "no key of this policy has its digest");
    };
    let team = policy.teams.get(key.team.0);
    let organization = team.and_then(|team| policy.organizations.get(team.organization.0));
    let mut state = Vec::new();
    if key.state == State::Blocked {
        state.push("the key is blocked");
    }
    if key.expires_at.is_some_and(|end| now >= end) {
        state.push("the key has expired");
    }
    if team.is_some_and(|team| team.state == State::Blocked) {
        state.push("its team is blocked");
    }
    if organization.is_some_and(|organization| organization.state == State::Blocked) {
        state.push("its organization is blocked");
    }
    let team = team.map_or("?", |team| &team.id);
    step("identity", &format!("key `{}` of team `{team}`: {}", key.id, list(state, "its owner is blocked")));
}

/// Prints every limit and budget that binds, narrow to wide; answers whether a budget does.
fn allowances(identity: &Identity<'_>, target: TargetId) -> bool {
    let Identity { key, team, organization, user } = identity;
    let user_id = user.map_or("", |user| &user.id);
    let levels: [(String, Option<&Quota>); 5] = [
        (format!("key `{}`", key.id), key.allowance()),
        (format!("member `{user_id}` of the team"), user.and(team.member_allowance.as_deref())),
        (format!("user `{user_id}`"), user.and_then(|user| user.allowance.as_deref())),
        (format!("team `{}`", team.id), team.allowance.as_deref()),
        (format!("organization `{}`", organization.id), organization.allowance.as_deref()),
    ];
    let mut budgeted = false;
    let mut title = "limits";
    for (name, allowance) in levels.iter().filter_map(|(name, allowance)| Some((name, (*allowance)?))) {
        let mut parts = windows(&allowance.limits);
        let own = allowance.target_limits.iter().find(|(ix, _)| *ix == target);
        parts.extend(
            own.iter()
                .flat_map(|(_, limits)| windows(limits))
                .map(|limit| format!("{limit} for this target")),
        );
        parts.extend(allowance.budget.as_ref().map(budget));
        budgeted |= allowance.budget.is_some();
        if !parts.is_empty() {
            step(std::mem::take(&mut title), &format!("{name}: {}", parts.join(", ")));
        }
    }
    if !title.is_empty() {
        step("limits", "none");
    }
    budgeted
}

fn windows(limits: &Limits) -> Vec<String> {
    Window::ALL
        .into_iter()
        .filter_map(|window| Some(format!("{} {}", window.name(), limits.get(window)?)))
        .collect()
}

fn budget(budget: &Budget) -> String {
    let period = match budget.period {
        Period::Hour => "an hour",
        Period::Day => "a day",
        Period::Week => "a week",
        Period::Month => "a month",
        Period::Lifetime => "in all",
    };
    let soft = budget.soft.map(|soft| format!(" (a warning from ${})", dollars(soft))).unwrap_or_default();
    format!("${} {period}{soft}", dollars(budget.max))
}

fn price(target: &Target) {
    let Some(price) = &target.price else {
        return step("price", "none");
    };
    let million = |each: tollgate_core::money::Pico| {
        dollars(tollgate_core::money::Pico(each.0.saturating_mul(1_000_000)))
    };
    step(
        "price",
        &format!(
            "a million tokens: input ${} (cached ${}), output ${}; each call ${}",
            million(price.input),
            million(price.cached_input),
            million(price.output),
            dollars(price.request)
        ),
    );
}

fn how(policy: &Policy, through: GrantedBy) -> String {
    match through {
        GrantedBy::Everything => "has everything (`*`)".to_owned(),
        GrantedBy::Name => "has it by name".to_owned(),
        GrantedBy::Group(group) => format!("has it through group `{}`", policy.groups.name(group.0)),
    }
}

fn list<T: AsRef<str>>(parts: Vec<T>, none: &str) -> String {
    if parts.is_empty() {
        return none.to_owned();
    }
    parts.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ")
}

fn step(title: &str, text: &str) {
    say!("{title:<9} {text}");
}

fn now() -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let wall = u64::try_from(wall).unwrap_or(u64::MAX);
    Now { wall, monotonic: wall }
}
