//! Records in the form of a policy document, in one canonical text: equal records are equal texts.
//!
//! Lists are sorted by name, defaults are left out (`"state": "active"`, access that inherits, a cached price equal
//! to the input price), and amounts have no more decimals than they need, but at least two. Every function destructures what it
//! writes without `..`, so that a new field fails to compile until it is written.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::num::NonZeroU64;

use serde_json::{Map, Value, json};

use crate::collections::sort::sort;
use crate::json::out_of_line::object;
use crate::money::dollars;
use crate::money::{Above, Budget, GivenRates, Pico, Price, PriceDetails, PriceLevel, Rate, Tier};
use crate::policy::change::Section;
use crate::policy::index::Policy;
use crate::policy::load::records::{AccessMode, PlatformAdmin};
use crate::policy::model::*;
use crate::quota::{Limits, Window};
use crate::secret::api_key::{Digest, format_digest};
use crate::time::{Timestamp, rfc3339};

impl Policy {
    /// Returns a record in the form of a document, digests included. Reading it back gives the same record.
    pub fn record(&self, section: Section, id: &str) -> Option<Value> {
        let position = self.position(section, id)?;
        self.record_at(section, position)
    }

    /// Returns the record at a position.
    pub(super) fn record_at(&self, section: Section, position: u32) -> Option<Value> {
        let mut record = Object::default();
        match section {
            Section::Targets => self.write_target(self.targets.get(position)?, &mut record),
            Section::Organizations => {
                self.write_organization(self.organizations.get(position)?, &mut record);
            }
            Section::Teams => self.write_team(self.teams.get(position)?, &mut record),
            Section::Users => self.write_user(self.users.get(position)?, &mut record),
            Section::ServiceAccounts => {
                self.write_service_account(self.service_accounts.get(position)?, &mut record);
            }
            Section::Keys => self.write_key(self.keys.get(position)?, &mut record),
        }
        Some(Value::Object(record.0))
    }

    fn write_target(&self, target: &Target, record: &mut Object) {
        let Target {
            name: _,
            groups,
            max_input_tokens,
            max_output_tokens,
            price,
            cost,
            usage_chunk,
            abandoned,
            reasoning,
        } = target;
        if !groups.is_empty() {
            record.put("access_groups", self.group_names(groups));
        }
        record.put_some("max_input_tokens", *max_input_tokens);
        record.put_some("max_output_tokens", *max_output_tokens);
        record.put_some("price", price.as_ref().map(write_price));
        if *cost != CostSource::default() {
            record.put("cost", cost.name());
        }
        if *usage_chunk != UsageChunk::default() {
            record.put("usage_chunk", usage_chunk.name());
        }
        if *abandoned != Abandoned::default() {
            record.put("abandoned", abandoned.name());
        }
        if *reasoning {
            record.put("reasoning", true);
        }
    }

    fn write_organization(&self, organization: &Organization, record: &mut Object) {
        let Organization { id: _, name, access, allowance, members, state, created } = organization;
        record.put("name", &**name);
        let mut grant = Object::default();
        self.write_target_set(access, &mut grant);
        record.put("access", grant.0);
        self.write_quota(allowance.as_deref(), record);
        self.write_members(members, OrganizationRole::name, record);
        record.put_state(*state);
        record.put_created(*created);
    }

    fn write_team(&self, team: &Team, record: &mut Object) {
        let Team {
            id: _,
            organization,
            name,
            access,
            allowance: _,
            ceiling,
            member_allowance,
            self_service,
            members,
            member_overrides,
            state,
            mode,
            created,
        } = team;
        record.put("organization", self.organizations.name(organization.0));
        record.put("name", &**name);
        self.write_scope(access, record);
        self.write_quota(team.own_allowance(), record);
        if let Some(ceiling) = ceiling {
            let TeamCeiling { limits, budget, access, own: _ } = &**ceiling;
            let mut written = Object::default();
            written.put_some("limits", write_limits(limits));
            written.put_some("budget", budget.as_ref().map(write_budget));
            self.write_scope(access, &mut written);
            record.put("ceiling", written.0);
        }
        if let Some(member) = member_allowance {
            // No record of a team has target limits for each member.
            let Quota { limits, target_limits: _, budget, record: _ } = &**member;
            record.put_some("member_limits", write_limits(limits));
            record.put_some("member_budget", budget.as_ref().map(write_budget));
        }
        record.put_some("self_service", self_service.as_deref().map(write_self_service));
        self.write_members(members, TeamRole::name, record);
        if let Some(Value::Object(by_name)) = record.0.get_mut("members") {
            for (user, own) in member_overrides {
                if let Some(member) = by_name.get_mut(self.users.name(user.0)) {
                    let mut fields = self.member_quota(own);
                    fields.insert("role".into(), member.take());
                    *member = Value::Object(fields);
                }
            }
        }
        record.put_state(*state);
        if *mode != Mode::default() {
            record.put("mode", mode.name());
        }
        record.put_created(*created);
    }

    fn write_user(&self, user: &User, record: &mut Object) {
        let User { id: _, name, access, allowance, tokens, platform_admin, created } = user;
        record.put("name", &**name);
        self.write_scope(access, record);
        self.write_quota(allowance.as_deref(), record);
        if !tokens.is_empty() {
            record.put("tokens", tokens.iter().map(format_digest).collect::<Vec<String>>());
        }
        if *platform_admin {
            record.put("role", PlatformAdmin.name());
        }
        record.put_created(*created);
    }

    fn write_service_account(&self, account: &ServiceAccount, record: &mut Object) {
        let ServiceAccount { id: _, team, name, state, created } = account;
        record.put("team", self.teams.name(team.0));
        record.put("name", &**name);
        record.put_state(*state);
        record.put_created(*created);
    }

    fn write_key(&self, key: &Key, record: &mut Object) {
        let Key { id: _, team, owner, digest, more, expires_at, state } = key;
        record.put("team", self.teams.name(team.0));
        match owner {
            Owner::None => {}
            Owner::User(user) => record.put("owner", format!("user/{}", self.users.name(user.0))),
            Owner::ServiceAccount(account) => {
                let name = self.service_accounts.name(account.0);
                record.put("owner", format!("service_account/{name}"));
            }
        }
        record.put("digest", format_digest(digest));
        if let Some(more) = more {
            let KeyDetails { name, hint, previous, access, allowance, self_service, created } = &**more;
            record.put_some("name", name.as_deref());
            record.put_some("hint", hint.as_deref());
            let write_previous = |(digest, until): &(Digest, Timestamp)| object!({ "digest": format_digest(digest), "until": rfc3339(*until) });
            record.put_some("previous", previous.as_ref().map(write_previous));
            self.write_scope(access, record);
            self.write_quota(allowance.as_deref(), record);
            record.put_some("self_service", self_service.then_some(true));
            record.put_created(*created);
        }
        record.put_some("expires_at", expires_at.map(rfc3339));
        record.put_state(*state);
    }

    /// Returns the fields of a member's own limits and budget.
    pub(crate) fn member_quota(&self, own: &MemberOverride) -> Map<String, Value> {
        let mut fields = Object::default();
        self.write_quota(Some(&own.own), &mut fields);
        fields.0
    }

    /// Returns the access and quota of a key, if it has any of its own.
    pub(super) fn key_restrictions(&self, access: &AccessScope, quota: Option<&Quota>) -> Option<Value> {
        let mut record = Object::default();
        self.write_scope(access, &mut record);
        self.write_quota(quota, &mut record);
        (!record.0.is_empty()).then_some(Value::Object(record.0))
    }

    fn write_scope(&self, scope: &AccessScope, record: &mut Object) {
        match scope {
            AccessScope::Inherit => {}
            AccessScope::Restrict(selection) => {
                let mut access = Object::default();
                access.put("mode", AccessMode::Restrict.name());
                self.write_target_set(selection, &mut access);
                record.put("access", access.0);
            }
        }
    }

    fn write_target_set(&self, selection: &TargetSet, access: &mut Object) {
        let TargetSet { all, targets, groups } = selection;
        let mut names: Vec<&str> = targets.iter().map(|target| self.targets.name(target.0)).collect();
        sort(&mut names);
        if *all {
            names.insert(0, "*");
        }
        if !names.is_empty() {
            access.put("targets", names);
        }
        if !groups.is_empty() {
            access.put("access_groups", self.group_names(groups));
        }
    }

    fn write_quota(&self, quota: Option<&Quota>, record: &mut Object) {
        let Some(Quota { limits, target_limits, budget, record: _ }) = quota else { return };
        record.put_some("limits", write_limits(limits));
        record.put_some("budget", budget.as_ref().map(write_budget));
        if !target_limits.is_empty() {
            let mut by_name = Object::default();
            for (target, limits) in target_limits {
                by_name.put(self.targets.name(target.0), write_limits(limits).unwrap_or_else(|| json!({})));
            }
            record.put("target_limits", by_name.0);
        }
    }

    fn write_members<R>(&self, members: &[(UserId, R)], name: fn(&R) -> &'static str, record: &mut Object) {
        if !members.is_empty() {
            let mut by_name = Object::default();
            for (user, role) in members {
                by_name.put(self.users.name(user.0), name(role));
            }
            record.put("members", by_name.0);
        }
    }

    fn group_names(&self, groups: &[GroupId]) -> Vec<&str> {
        let mut names: Vec<&str> = groups.iter().map(|group| self.groups.name(group.0)).collect();
        sort(&mut names);
        names
    }
}

/// A record being written.
#[derive(Default)]
struct Object(Map<String, Value>);

impl Object {
    fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.put_value(name, value.into());
    }

    // Not inlined at each call: a map's insertion is long.
    #[inline(never)]
    fn put_value(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_string(), value);
    }

    fn put_some(&mut self, name: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.put(name, value);
        }
    }

    fn put_created(&mut self, created: Created) {
        self.put_some("created", created.map(NonZeroU64::get));
    }

    fn put_state(&mut self, state: State) {
        if state != State::default() {
            self.put("state", state.name());
        }
    }
}

fn write_limits(limits: &Limits) -> Option<Value> {
    let mut record = Object::default();
    for window in Window::ALL {
        record.put_some(window.name(), limits.get(window).map(NonZeroU64::get));
    }
    (!record.0.is_empty()).then_some(Value::Object(record.0))
}

fn write_budget(budget: &Budget) -> Value {
    let Budget { max, soft, period } = budget;
    let mut record = Object::default();
    record.put("max", dollars(*max));
    record.put_some("soft", soft.map(dollars));
    record.put("period", period.name());
    Value::Object(record.0)
}

fn write_price(price: &Price) -> Value {
    let Price { input, output, cached_input, cache_write, request, details } = price;
    let mut record = Object::default();
    if let Some(details) = details {
        let PriceDetails { level, tiers } = &**details;
        write_level(level, &mut record);
        if !tiers.is_empty() {
            let tier = |Tier { name, level }: &Tier| {
                let mut record = Object::default();
                write_level(level, &mut record);
                (name.to_string(), Value::Object(record.0))
            };
            record.put("tiers", Value::Object(tiers.iter().map(tier).collect()));
        }
        return Value::Object(record.0);
    }
    let mut rates = GivenRates::default();
    rates.set(Rate::Input, Some(*input));
    rates.set(Rate::Output, Some(*output));
    rates.set(Rate::CachedInput, Some(*cached_input).filter(|amount| amount != input));
    rates.set(Rate::CacheWrite, Some(*cache_write).filter(|amount| amount != input));
    rates.set(Rate::Request, Some(*request).filter(|amount| *amount != Pico(0)));
    write_rates(&rates, &mut record);
    Value::Object(record.0)
}

fn write_level(level: &PriceLevel, record: &mut Object) {
    let PriceLevel { rates, above } = level;
    write_rates(rates, record);
    let threshold = |Above { input_tokens, rates }: &Above| {
        let mut record = Object::default();
        record.put("input_tokens", *input_tokens);
        write_rates(rates, &mut record);
        Value::Object(record.0)
    };
    match &**above {
        [] => {}
        [one] => record.put("above", threshold(one)),
        many => record.put("above", many.iter().map(threshold).collect::<Vec<Value>>()),
    }
}

fn write_rates(rates: &GivenRates, record: &mut Object) {
    for rate in Rate::ALL {
        let unit = if rate.is_per_token() { 1_000_000 } else { 1 };
        record.put_some(
            rate.name(),
            rates.get(*rate).map(|Pico(amount)| dollars(Pico(amount.saturating_mul(unit)))),
        );
    }
}

fn write_self_service(policy: &SelfService) -> Value {
    let SelfService { enabled, max_keys_per_user, budget_ceiling, require_expiry, max_expiry_days } = policy;
    let mut record = Object::default();
    record.put("enabled", *enabled);
    record.put_some("max_keys_per_user", *max_keys_per_user);
    record.put_some("budget_ceiling", budget_ceiling.map(dollars));
    record.put_some("require_expiry", require_expiry.then_some(true));
    record.put_some("max_expiry_days", *max_expiry_days);
    Value::Object(record.0)
}
