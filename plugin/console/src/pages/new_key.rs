//! The form of a new key.
//!
//! The API does not tell developers the rules of their team yet (`key-rules`). Until it does, a refusal names the rule at its field.

use std::sync::Arc;

use reactive_graph::prelude::*;
use reactive_graph::signal::RwSignal;
use serde_json::{Value, json};
use tachys::html::element as el;
use tachys::html::event as ev;
use tachys::prelude::*;

use crate::address::{Page, Tab};
use crate::api::{self, Write};
use crate::browser;
use crate::input::Kind;
use crate::role::Permission;
use crate::session::me;
use crate::types::{Account, Listed, Member, NewSecret, Team};
use crate::view::card::save_button;
use crate::view::form::{Field, Form, Style};
use crate::view::resource::Resource;
use crate::view::{action, code, empty, go, group, link, nothing, peek, remark, section, title, top};
use crate::words;

use super::new_team::{budget_fields, limit_fields};
use super::secret::{self, Shown};

const DAY: f64 = 86_400_000.0;
/// The place of the expiry. The form has days in it, the body a time.
const EXPIRY: &str = "/expires_at";

pub fn draw(team: &str) -> AnyView {
    let resource = Resource::<Team>::read(api::path(&["teams", team]));
    let form = resource.show(|record| draw_form(&record.value));
    let page = Page::Team { id: team.to_owned(), tab: Tab::Keys };
    let path = el::nav().class("crumbs").attr("aria-label", words::TEAM).child(link(&page, team));
    group("page narrow-page", vec![path.into_any(), top(title(words::NEW_KEY), Vec::new()), form])
}

fn draw_form(team: &Team) -> AnyView {
    let me = me();
    let manages = me.may(Permission::ManageTeam, &team.organization, &team.id);
    if !me.may_create_keys(&team.organization, &team.id) {
        return empty(words::NOT_CREATED_HERE, nothing());
    }
    let periods: &[_] = if manages { &words::PERIODS } else { &words::KEY_PERIODS };
    let mut fields = vec![Field::new("/name", Kind::Text, words::NAME, words::KEY_NAME_HINT)];
    if manages {
        fields.push(Field::new("/owner", Kind::Text, words::OWNER, words::OWNER_HINT));
    }
    fields.extend(budget_fields("", periods, false));
    fields.push(Field::new(EXPIRY, Kind::Number, words::EXPIRES_IN, words::EXPIRES_IN_HINT));
    fields.extend(limit_fields(None));
    let form = Form::new("key", fields);
    if let Some(owner) = form.find("/owner") {
        offer_owners(owner, &team.id);
    }

    let limits = words::WINDOWS.iter().map(|window| form.field(window.pointer)).collect();
    let limits = el::details().child((el::summary().child(words::MORE_LIMITS), group("pair", limits)));
    let fields = vec![
        group("pair", vec![form.field("/name"), form.field("/owner")]),
        group("pair", vec![form.field("/budget/max"), form.field("/budget/period")]),
        group("pair", vec![form.field(EXPIRY)]),
        limits.into_any(),
    ];
    let rules = if manages { nothing() } else { remark(words::KEY_RULES) };
    let back = Page::Team { id: team.id.clone(), tab: Tab::Keys };
    let buttons = group(
        "buttons",
        vec![save_button(form.busy, words::CREATE_KEY), action(&back, words::CANCEL, false)],
    );
    let shown = RwSignal::new(None);
    let create = creator(form.clone(), &team.id, shown);
    let by_key = Arc::clone(&create);
    let about = el::p().child((
        words::BY_TEAM,
        " ",
        el::strong().child(team.name.clone()),
        " ",
        code(team.id.clone()),
    ));
    let form = el::form()
        .attr("novalidate", "")
        .on(ev::submit, move |event| {
            event.prevent_default();
            create();
        })
        .on(ev::keydown, move |event| {
            if event.key() == "Enter" && event.ctrl_key() {
                by_key();
            }
        })
        .child((
            form.summary(),
            section(words::KEY, vec![about.into_any(), rules, group("fields", fields)]),
            buttons,
        ));
    group("form", vec![form.into_any(), secret::draw(shown, |id| go(Page::Key { id }))])
}

/// Offers the members and the service accounts of the team as owners.
fn offer_owners(owner: Field, team: &str) {
    let members = api::path(&["teams", team, "members"]) + "?limit=200";
    let accounts = api::path(&["teams", team, "service-accounts"]) + "?limit=200";
    browser::spawn(async move {
        let mut choices = Vec::new();
        if let Ok(members) = api::get::<Listed<Member>>(&members).await {
            choices.extend(members.items.into_iter().map(|it| (format!("user/{}", it.user), it.name)));
        }
        if let Ok(accounts) = api::get::<Listed<Account>>(&accounts).await {
            choices
                .extend(accounts.items.into_iter().map(|it| (format!("service_account/{}", it.id), it.name)));
        }
        owner.choices.set(choices);
    });
}

fn creator(form: Form, team: &str, shown: RwSignal<Option<Shown>>) -> Arc<dyn Fn()> {
    let path = api::path(&["teams", team, "keys"]);
    Arc::new(move || {
        if peek(form.busy) {
            return;
        }
        let Some(Value::Object(mut body)) = form.body(Style::Whole) else { return };
        if let Some(days) = body.get("expires_at").and_then(Value::as_f64) {
            body.insert("expires_at".to_owned(), json!(browser::timestamp(browser::now() + days * DAY)));
        }
        let write = Write {
            method: "POST",
            path: path.clone(),
            body: Some(Value::Object(body)),
            etag: String::new(),
        };
        let form = form.clone();
        form.busy.set(true);
        browser::spawn(async move {
            let result = api::write(&write).await.and_then(|reply| reply.read::<NewSecret>());
            form.busy.set(false);
            match result {
                Ok(key) => shown.set(Some(Shown { key, line: None })),
                Err(failure) => form.failed(&failure),
            }
        });
    })
}
