//! Records as a document writes them, from the index: one way for each, so that equal records are equal texts.
//!
//! Lists are sorted by name, what says nothing is left out (`"state": "active"`, an access that inherits, a cached
//! price that is the input price), amounts and moments are written in their shortest form.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::{Map, Value, json};

use crate::collections::sort::sort;
use crate::json::out_of_line::object;
use crate::money::dollars;
use crate::money::{Budget, Pico, Price};
use crate::policy::change::Section;
use crate::policy::index::Policy;
use crate::policy::model::*;
use crate::quota::{Limits, Window};
use crate::secret::api_key::format_digest;
use crate::time::rfc3339;

impl Policy {
    /// A record as a document writes it, digests included. Reading it gives the same record.
    pub fn record(&self, section: Section, id: &str) -> Option<Value> {
        let position = self.position(section, id)?;
        self.record_at(section, position)
    }

    /// The record at a position.
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
                let account = self.service_accounts.get(position)?;
                record.put("team", self.teams.name(account.team.0));
                record.put("name", &*account.name);
                record.state(account.state);
            }
            Section::Keys => self.write_key(self.keys.get(position)?, &mut record),
        }
        Some(Value::Object(record.0))
    }

    fn write_target(&self, target: &Target, record: &mut Object) {
        if !target.groups.is_empty() {
            record.put("access_groups", self.group_names(&target.groups));
        }
        record.maybe("max_input_tokens", target.max_input_tokens);
        record.maybe("max_output_tokens", target.max_output_tokens);
        record.maybe("price", target.price.as_ref().map(price));
    }

    fn write_organization(&self, organization: &Organization, record: &mut Object) {
        record.put("name", &*organization.name);
        let mut access = Object::default();
        self.write_selection(&organization.access, &mut access);
        record.put("access", access.0);
        self.write_allowance(organization.allowance.as_deref(), record);
        self.write_members(&organization.members, OrganizationRole::name, record);
        record.state(organization.state);
    }

    fn write_team(&self, team: &Team, record: &mut Object) {
        record.put("organization", self.organizations.name(team.organization.0));
        record.put("name", &*team.name);
        self.write_scope(&team.access, record);
        self.write_allowance(team.allowance.as_deref(), record);
        if let Some(allowance) = &team.member_allowance {
            record.maybe("member_limits", limits(&allowance.limits));
            record.maybe("member_budget", allowance.budget.as_ref().map(budget));
        }
        record.maybe("self_service", team.self_service.as_deref().map(self_service));
        self.write_members(&team.members, TeamRole::name, record);
        record.state(team.state);
        if team.mode != Mode::default() {
            record.put("mode", team.mode.name());
        }
    }

    fn write_user(&self, user: &User, record: &mut Object) {
        record.put("name", &*user.name);
        self.write_scope(&user.access, record);
        self.write_allowance(user.allowance.as_deref(), record);
        if !user.tokens.is_empty() {
            record.put("tokens", user.tokens.iter().map(format_digest).collect::<Vec<String>>());
        }
        if user.platform_admin {
            record.put("role", crate::policy::load::records::PlatformAdmin.name());
        }
    }

    fn write_key(&self, key: &Key, record: &mut Object) {
        record.put("team", self.teams.name(key.team.0));
        match key.owner {
            Owner::None => {}
            Owner::User(user) => record.put("owner", format!("user/{}", self.users.name(user.0))),
            Owner::ServiceAccount(account) => {
                let name = self.service_accounts.name(account.0);
                record.put("owner", format!("service_account/{name}"));
            }
        }
        record.put("digest", format_digest(&key.digest));
        if let Some(more) = &key.more {
            record.maybe("name", more.name.as_deref());
            record.maybe("hint", more.hint.as_deref());
            let previous = more.previous.as_ref();
            record.maybe(
                "previous",
                previous.map(
                    |(digest, until)| object!({ "digest": format_digest(digest), "until": rfc3339(*until) }),
                ),
            );
            self.write_scope(&more.access, record);
            self.write_allowance(more.allowance.as_deref(), record);
        }
        record.maybe("expires_at", key.expires_at.map(rfc3339));
        record.state(key.state);
    }

    /// What a key may call and spend, if that is less than its team may.
    pub(super) fn written_narrower(&self, more: &KeyDetails) -> Option<Value> {
        let mut record = Object::default();
        self.write_scope(&more.access, &mut record);
        self.write_allowance(more.allowance.as_deref(), &mut record);
        (!record.0.is_empty()).then_some(Value::Object(record.0))
    }

    fn write_scope(&self, scope: &AccessScope, record: &mut Object) {
        if let AccessScope::Restrict(selection) = scope {
            let mut access = Object::default();
            access.put("mode", crate::policy::load::records::AccessMode::Restrict.name());
            self.write_selection(selection, &mut access);
            record.put("access", access.0);
        }
    }

    fn write_selection(&self, selection: &TargetSet, access: &mut Object) {
        let mut targets: Vec<&str> =
            selection.targets.iter().map(|target| self.targets.name(target.0)).collect();
        sort(&mut targets);
        if selection.all {
            targets.insert(0, "*");
        }
        if !targets.is_empty() {
            access.put("targets", targets);
        }
        if !selection.groups.is_empty() {
            access.put("access_groups", self.group_names(&selection.groups));
        }
    }

    fn write_allowance(&self, allowance: Option<&Quota>, record: &mut Object) {
        let Some(allowance) = allowance else { return };
        record.maybe("limits", limits(&allowance.limits));
        record.maybe("budget", allowance.budget.as_ref().map(budget));
        if !allowance.target_limits.is_empty() {
            let mut by_name = Object::default();
            for (target, of_target) in &allowance.target_limits {
                by_name.put(self.targets.name(target.0), limits(of_target).unwrap_or_else(|| json!({})));
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

    // Not wherever something is put: a map's insertion is long.
    #[inline(never)]
    fn put_value(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_string(), value);
    }

    fn maybe(&mut self, name: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.put(name, value);
        }
    }

    fn state(&mut self, state: State) {
        if state != State::default() {
            self.put("state", state.name());
        }
    }
}

fn limits(limits: &Limits) -> Option<Value> {
    let mut record = Object::default();
    for window in Window::ALL {
        record.maybe(window.name(), limits.get(window).map(core::num::NonZeroU64::get));
    }
    (!record.0.is_empty()).then_some(Value::Object(record.0))
}

fn budget(budget: &Budget) -> Value {
    let mut record = Object::default();
    record.put("max", dollars(budget.max));
    record.maybe("soft", budget.soft.map(dollars));
    record.put("period", budget.period.name());
    Value::Object(record.0)
}

fn price(price: &Price) -> Value {
    let per_million = |each: Pico| dollars(Pico(each.0.saturating_mul(1_000_000)));
    let mut record = Object::default();
    record.put("input", per_million(price.input));
    record.put("output", per_million(price.output));
    let beside = |each: Pico| (each != price.input).then(|| per_million(each));
    record.maybe("cached_input", beside(price.cached_input));
    record.maybe("cache_write", beside(price.cache_write));
    record.maybe("request", (price.request != Pico::default()).then(|| dollars(price.request)));
    Value::Object(record.0)
}

fn self_service(policy: &SelfService) -> Value {
    let mut record = Object::default();
    record.put("enabled", policy.enabled);
    record.maybe("max_keys_per_user", policy.max_keys_per_user);
    record.maybe("budget_ceiling", policy.budget_ceiling.map(dollars));
    record.maybe("require_expiry", policy.require_expiry.then_some(true));
    record.maybe("max_expiry_days", policy.max_expiry_days);
    Value::Object(record.0)
}
