//! `tollgate explain`: the decision about a key and a target, with the steps that lead to it.
//!
//! The decision is the core's ([`evaluate`]); this file prints its steps.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use tollgate_core::admission::{AdmissionError, NotAdmitted, Principal, acquire};
use tollgate_core::auth::identity::Identity;
use tollgate_core::config::PREFIX;
use tollgate_core::counters::{Cas, CounterStore, RecordKey, RecordKeys, StoreError};
use tollgate_core::exchange::authorize::{Call, ShadowMode, Step, Trace, evaluate};
use tollgate_core::http::rejection::Rejection;
use tollgate_core::money::{Budget, Period, Pico, Rate, dollars};
use tollgate_core::policy::access::{AccessDecision, GrantedBy, Restriction};
use tollgate_core::policy::{
    AccessScope, CostSource, Key, Mode, Owner, Policy, State, Target, TargetId, TargetSet,
};
use tollgate_core::quota::{Limits, PrincipalKind};
use tollgate_core::secret::api_key::KeyFormat;
use tollgate_core::time::{Now, rfc3339};

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

/// Runs the command. Exit code 0: the call passes, as far as limits and budgets have something left; 1: it is
/// rejected.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let (document, _) = Document::load(&arguments.policy)?;
    let key = match arguments.key.as_str() {
        "-" => {
            std::io::read_to_string(std::io::stdin()).map_err(super::key::Error::Input)?.trim_end().to_owned()
        }
        key => key.to_owned(),
    };
    let policy = &*document.policy();
    let mode = match &document {
        Document::Gateway(config) => config.mode,
        Document::Policy(_) => Mode::Enforce,
    };
    let mut printer = Printer { policy, shadow: None };
    let outcome = explain(policy, mode, &key, &arguments.target, now(), &mut printer);
    let rejected = outcome.err().map(|rejection| {
        let code = rejection.label();
        format!("refused: {} {}: {}", code.status, code.code, rejection.message())
    });
    let shadow = printer.shadow.map(|shadow| match shadow {
        ShadowMode::Gateway => "the gateway",
        ShadowMode::Team => "the team",
    });
    let (decision, code) = match (rejected, shadow) {
        (None, None) => ("allowed".to_owned(), ExitCode::SUCCESS),
        (None, Some(shadow)) => {
            (format!("allowed ({shadow} is in shadow mode: nothing is refused)"), ExitCode::SUCCESS)
        }
        (Some(rejected), None) => (rejected, ExitCode::FAILURE),
        (Some(rejected), Some(shadow)) => {
            (format!("passes, because {shadow} is in shadow mode; else {rejected}"), ExitCode::SUCCESS)
        }
    };
    print("decision", &decision);
    Ok(code)
}

/// Decides about a call that uses as little as a call can, against empty counters.
fn explain(
    policy: &Policy,
    mode: Mode,
    key: &str,
    target: &str,
    now: Now,
    trace: &mut impl Trace,
) -> Result<(), Rejection> {
    let record_keys = RecordKeys::new(PREFIX);
    let grant = evaluate(policy, &record_keys, mode, key, target, &Call::BARE, now.timestamp(), trace)?;
    match acquire(&mut EmptyStore, grant.admission, now) {
        Ok(_) => Ok(()),
        Err(NotAdmitted { error: AdmissionError::Denied(exceeded), .. }) => Err(Rejection::Denied(exceeded)),
        Err(NotAdmitted { error: AdmissionError::Store(_), .. }) => Err(Rejection::LimitsUnavailable),
    }
}

/// A store in which every counter is empty.
struct EmptyStore;

impl CounterStore for EmptyStore {
    type Version = ();

    fn read(&mut self, _: &RecordKey) -> Result<(Vec<u8>, ()), StoreError> {
        Ok((Vec::new(), ()))
    }

    fn compare_and_swap(&mut self, _: &RecordKey, (): (), _: &[u8]) -> Result<Cas, StoreError> {
        Ok(Cas::Stored)
    }
}

/// Prints the steps of a decision as they are taken.
struct Printer<'p> {
    policy: &'p Policy,
    shadow: Option<ShadowMode>,
}

impl Trace for Printer<'_> {
    fn step<'s>(&mut self, step: impl FnOnce() -> Step<'s>) {
        match step() {
            Step::KeyFormat(format) => print("key", key_format(format)),
            Step::Key(None) => print("", "no key of this policy has its digest"),
            Step::Key(Some(key)) => self.key(key),
            Step::Identity(identity) => self.identity(&identity),
            Step::Shadow(shadow) => self.shadow = Some(shadow),
            Step::Target { found: None, .. } => print("target", "not in the catalogue"),
            Step::Target { name, found: Some((_, target)) } => {
                let groups =
                    target.groups.iter().map(|group| format!("`{}`", self.policy.groups.name(group.0)));
                print("target", &format!("`{name}`, in {}", list(groups.collect(), "no access group")));
            }
            Step::Access { identity, id, target, decision } => self.access(&identity, id, target, decision),
            Step::Quotas { identity, principals } => quotas(&identity, principals),
            Step::Price { target, budgeted } => price(target, budgeted),
        }
    }
}

impl Printer<'_> {
    fn key(&self, key: &Key) {
        let team = self.policy.teams.get(key.team.0).map_or("?", |team| &team.id);
        let state = match key.state {
            State::Active => "active",
            State::Blocked => "blocked",
        };
        let expiry = match key.expires_at {
            Some(end) => format!("expires at {}", rfc3339(end)),
            None => "does not expire".to_owned(),
        };
        print("", &format!("`{}` of team `{team}`, {state}, {expiry}", key.id));
    }

    fn identity(&self, identity: &Identity<'_>) {
        let Identity { key, team, organization, user } = *identity;
        let owner = match key.owner {
            Owner::User(_) => format!("user `{}`", user.map_or("?", |user| &user.id)),
            Owner::ServiceAccount(account) => {
                let account = self.policy.service_accounts.get(account.0);
                format!("service account `{}`", account.map_or("?", |account| &account.id))
            }
            Owner::None => "no owner".to_owned(),
        };
        let above = format!("team `{}`, organization `{}`", team.id, organization.id);
        print("identity", &format!("{owner}, {above}: none is blocked"));
    }

    /// Prints each level down to the one that decides.
    fn access(&self, identity: &Identity<'_>, id: TargetId, target: &Target, decision: AccessDecision) {
        let Identity { key, team, organization, user } = *identity;
        let binding = |set: &TargetSet| set.has(id, target).map_or(String::new(), |by| self.binding(by));
        let granted = match decision {
            AccessDecision::NotGranted => "does not grant it".to_owned(),
            AccessDecision::Granted(by) => format!("grants it {}", self.binding(by)),
            AccessDecision::RefusedBy(_) => format!("grants it {}", binding(&organization.access)),
        };
        print("access", &format!("organization `{}` {granted}", organization.id));
        if decision == AccessDecision::NotGranted {
            return;
        }
        let levels = [
            (
                Restriction::Ceiling,
                format!("the ceiling of team `{}`", team.id),
                team.ceiling.as_ref().map(|ceiling| &ceiling.access),
            ),
            (Restriction::Team, format!("team `{}`", team.id), Some(&team.access)),
            (Restriction::Key, format!("key `{}`", key.id), Some(key.access())),
            (
                Restriction::User,
                format!("user `{}`", user.map_or("", |user| &user.id)),
                user.map(|user| &user.access),
            ),
        ];
        for (level, name, scope) in levels {
            match scope {
                None => {}
                Some(AccessScope::Inherit) => print("", &format!("{name} inherits")),
                Some(AccessScope::Restrict(_)) if decision == AccessDecision::RefusedBy(level) => {
                    return print("", &format!("{name} restricts, and does not select it"));
                }
                Some(AccessScope::Restrict(set)) => {
                    print("", &format!("{name} restricts, and selects it {}", binding(set)));
                }
            }
        }
    }

    fn binding(&self, by: GrantedBy) -> String {
        match by {
            GrantedBy::Everything => "by `*`".to_owned(),
            GrantedBy::Name => "by name".to_owned(),
            GrantedBy::Group(group) => format!("by access group `{}`", self.policy.groups.name(group.0)),
        }
    }
}

fn key_format(format: KeyFormat) -> &'static str {
    match format {
        KeyFormat::Native => "a key of Tollgate's format, with a correct checksum",
        KeyFormat::BadChecksum => "a key of Tollgate's format, with a wrong checksum",
        KeyFormat::Foreign => "a key of another format, found by its digest only",
    }
}

/// Prints the limits and the budget of each principal, narrow to wide.
fn quotas(identity: &Identity<'_>, principals: &[Principal]) {
    let user = identity.user.map_or("", |user| &user.id);
    let mut title = "limits";
    for Principal { scope, limits, target_limits, budget, .. } in principals {
        let name = match scope.principal {
            PrincipalKind::Key => format!("key `{}`", identity.key.id),
            PrincipalKind::Member => format!("member `{user}` of the team"),
            PrincipalKind::User => format!("user `{user}`"),
            PrincipalKind::Team => format!("team `{}`", identity.team.id),
            PrincipalKind::Organization => format!("organization `{}`", identity.organization.id),
        };
        let mut parts = windows(limits);
        let own = target_limits.iter().flat_map(|of_target| windows(&of_target.1));
        parts.extend(own.map(|limit| format!("{limit} for this target")));
        parts.extend(budget.as_ref().map(budget_text));
        print(std::mem::take(&mut title), &format!("{name}: {}", parts.join(", ")));
    }
    if principals.is_empty() {
        print(title, "none");
    }
}

fn windows(limits: &Limits) -> Vec<String> {
    limits.iter().map(|(window, limit)| format!("{} {limit}", window.name())).collect()
}

fn budget_text(budget: &Budget) -> String {
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

fn price(target: &Target, budgeted: bool) {
    let Some(price) = &target.price else {
        return print("price", if budgeted { "none, and a budget applies" } else { "none" });
    };
    let amount = |rate: Rate, Pico(each): Pico| {
        let unit = if rate.is_per_token() { 1_000_000 } else { 1 };
        format!("{} ${}", rate.name().replace('_', " "), dollars(Pico(each.saturating_mul(unit))))
    };
    let rates = price.rates(None, 0);
    let list_of = |per_token: bool| {
        let all = Rate::ALL.iter().filter(|rate| rate.is_per_token() == per_token);
        let own = all.filter(|rate| {
            let general = rate.more_general().map_or(Pico(0), |general| rates.get(general));
            rates.get(**rate) != general || matches!(rate, Rate::Input | Rate::Output)
        });
        own.map(|rate| amount(*rate, rates.get(*rate))).collect::<Vec<String>>()
    };
    let mut text = format!("a million tokens: {}", list_of(true).join(", "));
    let units = list_of(false);
    if !units.is_empty() {
        text.push_str(&format!("; each: {}", units.join(", ")));
    }
    if let Some(details) = &price.details {
        let thresholds: Vec<String> =
            details.level.above.iter().map(|above| above.input_tokens.to_string()).collect();
        if !thresholds.is_empty() {
            text.push_str(&format!("; others above {} input tokens", thresholds.join(" and ")));
        }
        let tiers: Vec<String> = details.tiers.iter().map(|tier| format!("`{}`", tier.name)).collect();
        if !tiers.is_empty() {
            text.push_str(&format!("; others in the tiers {}", tiers.join(", ")));
        }
    }
    if target.cost == CostSource::Reported {
        text.push_str("; charged: the cost that the provider reports");
    }
    print("price", &text);
}

fn list(parts: Vec<String>, none: &str) -> String {
    if parts.is_empty() { none.to_owned() } else { parts.join(", ") }
}

fn print(title: &str, text: &str) {
    say!("{title:<9} {text}");
}

fn now() -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let wall = u64::try_from(wall).unwrap_or(u64::MAX);
    Now { wall, monotonic: wall }
}
