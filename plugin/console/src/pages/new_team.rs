//! The form of a new team.

use std::sync::Arc;

use reactive_graph::effect::Effect;
use reactive_graph::prelude::*;
use reactive_graph::signal::RwSignal;
use serde_json::{Map, Value, json};
use tachys::html::element as el;
use tachys::html::event as ev;
use tachys::prelude::*;

use crate::address::{Page, Tab};
use crate::api::{self, Write};
use crate::browser;
use crate::format;
use crate::input::Kind;
use crate::session::me;
use crate::types::{Listed, Member, Organization};
use crate::view::card::save_button;
use crate::view::form::{Field, Form, Style};
use crate::view::resource::Resource;
use crate::view::{
    action, button, empty, go, group, live, nothing, peek, quiet, remark, section, title, top,
};
use crate::words;

use super::team::CREATED;

/// One person of the new team: the id of the user, and the role.
type Person = (RwSignal<String>, RwSignal<String>);

pub fn draw(organization: Option<String>) -> AnyView {
    let organizations = Resource::<Listed<Organization>>::read(api::path(&["organizations"]) + "?limit=200");
    let form = organizations.show(move |record| {
        let me = me();
        let own: Vec<Organization> =
            record.value.items.iter().filter(|it| me.may_create_teams(&it.id)).cloned().collect();
        let chosen = own.iter().find(|it| Some(&it.id) == organization.as_ref()).or_else(|| own.first());
        match chosen {
            Some(chosen) => draw_form(&own, chosen),
            None => empty(words::NOT_ALLOWED, nothing()),
        }
    });
    group("page narrow-page", vec![top(title(words::NEW_TEAM), Vec::new()), form])
}

/// Returns the fields of a self-service policy below this place.
pub fn self_service_fields(in_team: bool) -> Vec<Field> {
    let (enabled, keys, ceiling, expiry, days) = if in_team {
        (
            "/self_service/enabled",
            "/self_service/max_keys_per_user",
            "/self_service/budget_ceiling",
            "/self_service/require_expiry",
            "/self_service/max_expiry_days",
        )
    } else {
        ("/enabled", "/max_keys_per_user", "/budget_ceiling", "/require_expiry", "/max_expiry_days")
    };
    vec![
        Field::new(enabled, Kind::Check, words::ALLOW_SELF_SERVICE, ""),
        Field::new(keys, Kind::Number, words::KEYS_PER_PERSON, words::KEYS_PER_PERSON_HINT),
        Field::new(ceiling, Kind::Money, words::BUDGET_CEILING, words::BUDGET_CEILING_HINT),
        Field::new(expiry, Kind::Check, words::REQUIRE_EXPIRY, ""),
        Field::new(days, Kind::Number, words::LONGEST_DAYS, words::LONGEST_DAYS_HINT),
    ]
}

/// Returns the fields of limits, with those of the organization beside them.
pub fn limit_fields(organization: Option<&Organization>) -> Vec<Field> {
    let hint = |name| match organization {
        Some(organization) => words::above(&organization.name, organization.limits.get(name)),
        None => String::new(),
    };
    let fields = words::WINDOWS.iter();
    fields.map(|window| Field::new(window.pointer, Kind::Number, window.title, &hint(window.name))).collect()
}

/// Returns the fields of a budget.
pub fn budget_fields(
    hint: &str,
    periods: &'static [(&'static str, &'static str)],
    with_soft: bool,
) -> Vec<Field> {
    let mut fields = vec![
        Field::new("/budget/max", Kind::Money, words::BUDGET_MAX, hint).carries("/budget"),
        Field::new("/budget/period", Kind::Choice(periods), words::PERIOD, ""),
    ];
    if with_soft {
        fields
            .insert(1, Field::new("/budget/soft", Kind::Money, words::BUDGET_SOFT, words::BUDGET_SOFT_HINT));
    }
    fields
}

fn draw_form(own: &[Organization], organization: &Organization) -> AnyView {
    let mut fields = vec![
        Field::new("/name", Kind::Text, words::NAME, ""),
        Field::new("/id", Kind::Text, words::ID, words::TEAM_ID_HINT),
    ];
    fields.extend(self_service_fields(true));
    fields.extend(limit_fields(Some(organization)));
    let above = words::budget_above(&organization.name, organization.budget.as_ref());
    fields.extend(budget_fields(&above, &words::PERIODS, true));
    let form = Form::new("team", fields);
    if let Some(enabled) = form.find("/self_service/enabled") {
        enabled.value.set("true".to_owned());
    }
    propose_id(&form);
    let people: RwSignal<Vec<Person>> = RwSignal::new(vec![(RwSignal::default(), role())]);

    let field = |pointer: &str| form.field(pointer);
    let identity = section(
        words::IDENTITY,
        vec![choice(own, organization), group("pair", vec![field("/name"), field("/id")])],
    );
    let tighter = el::details().class("tighter").child((
        el::summary().child(words::TIGHTER_RULES),
        group(
            "pair",
            vec![
                field("/self_service/max_keys_per_user"),
                field("/self_service/budget_ceiling"),
                field("/self_service/max_expiry_days"),
                field("/self_service/require_expiry"),
            ],
        ),
    ));
    let self_service = section(
        words::SELF_SERVICE,
        vec![field("/self_service/enabled"), summary(&form), tighter.into_any()],
    );
    let limits = words::WINDOWS.iter().map(|window| field(window.pointer)).collect();
    let budget = vec![field("/budget/max"), field("/budget/period"), field("/budget/soft")];
    let limits = section(
        words::LIMITS_AND_BUDGET,
        vec![remark(words::LIMITS_ADVICE), group("pair", limits), group("pair", budget)],
    );
    let members = Resource::<Listed<Member>>::read(
        api::path(&["organizations", &organization.id, "members"]) + "?limit=200",
    );
    let members = section(words::PEOPLE, vec![remark(words::PEOPLE_ADVICE), people_rows(people, &members)]);
    let access = section(words::ACCESS, vec![remark(words::ACCESS_LATER)]);
    let back = Page::Teams { organization: Some(organization.id.clone()), after: None };
    let buttons = group(
        "buttons",
        vec![save_button(form.busy, words::CREATE_TEAM), action(&back, words::CANCEL, false)],
    );
    let create = creator(form.clone(), people, organization.id.clone());
    let by_key = Arc::clone(&create);
    el::form()
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
        .child((form.summary(), identity, self_service, limits, members, access, buttons))
        .into_any()
}

fn role() -> RwSignal<String> {
    RwSignal::new("team_developer".to_owned())
}

/// Keeps the id like the name, until the person changes it.
fn propose_id(form: &Form) {
    let (Some(name), Some(id)) = (form.find("/name"), form.find("/id")) else { return };
    Effect::new(move |before: Option<String>| {
        let proposed = format::id_of(&name.value.get());
        let present = id.value.get_untracked();
        if present.is_empty() || Some(present) == before {
            id.value.set(proposed.clone());
        }
        proposed
    });
}

fn choice(own: &[Organization], chosen: &Organization) -> AnyView {
    if own.len() < 2 {
        return el::p()
            .child((words::ORGANIZATION, ": ", el::strong().child(chosen.name.clone())))
            .into_any();
    }
    let options: Vec<_> = own
        .iter()
        .map(|it| {
            el::option().value(it.id.clone()).prop("selected", it.id == chosen.id).child(it.name.clone())
        })
        .collect();
    let select = el::select()
        .id("team-organization")
        .on(ev::change, |event| go(Page::NewTeam { organization: Some(browser::value_of(&event)) }))
        .child(options);
    let label = el::label().r#for("team-organization").child(words::ORGANIZATION);
    el::div().class("field").child((label, select)).into_any()
}

/// The sentence about the self-service policy that is being typed.
fn summary(form: &Form) -> AnyView {
    let form = form.clone();
    let sentence = live(move || {
        let value = |pointer: &str| {
            let field = form.find(pointer)?;
            field.kind.read(&field.value.get()).ok().flatten()
        };
        let policy = crate::types::SelfService {
            enabled: value("/self_service/enabled") == Some(Value::Bool(true)),
            max_keys_per_user: value("/self_service/max_keys_per_user").and_then(|it| it.as_u64()),
            budget_ceiling: value("/self_service/budget_ceiling")
                .and_then(|it| Some(it.as_str()?.to_owned())),
            max_expiry_days: value("/self_service/max_expiry_days").and_then(|it| it.as_u64()),
            require_expiry: value("/self_service/require_expiry") == Some(Value::Bool(true)),
        };
        crate::view::text(format::self_service(&policy))
    });
    el::output().class("sentence").child(sentence).into_any()
}

/// Rows of a person and a role.
fn people_rows(people: RwSignal<Vec<Person>>, members: &Resource<Listed<Member>>) -> AnyView {
    let known = members.clone();
    let names = live(move || {
        let record = known.record();
        let options = record.iter().flat_map(|record| &record.value.items);
        let options = options.map(|it| el::option().value(it.user.clone()).child(it.name.clone()));
        el::datalist().id("people").child(options.collect::<Vec<_>>()).into_any()
    });
    let rows = live(move || {
        let rows = people.get();
        group(
            "rows",
            rows.into_iter().enumerate().map(|(index, person)| person_row(people, index, person)).collect(),
        )
    });
    let more = button(words::ADD_ANOTHER, false, move || {
        people.update(|people| people.push((RwSignal::default(), role())));
        browser::focus(format!("person-{}", peek(people).len().saturating_sub(1)));
    });
    group("people", vec![names, rows, more])
}

fn person_row(people: RwSignal<Vec<Person>>, index: usize, (user, role): Person) -> AnyView {
    let (user_id, role_id) = (format!("person-{index}"), format!("person-{index}-role"));
    let person = el::div().class("field").child((
        el::label().r#for(user_id.clone()).child(words::PERSON),
        el::input()
            .r#type("text")
            .id(user_id)
            .attr("list", "people")
            .attr("autocomplete", "off")
            .prop("value", move || user.get())
            .on(ev::input, move |event| user.set(browser::value_of(&event))),
    ));
    let roles: Vec<_> = words::TEAM_ROLES
        .iter()
        .map(|(value, words)| {
            let selected = move || role.with(|role| role == value);
            el::option().value(*value).prop("selected", selected).child(*words)
        })
        .collect();
    let role = el::div().class("field").child((
        el::label().r#for(role_id.clone()).child(words::ROLE),
        el::select()
            .id(role_id)
            .on(ev::change, move |event| role.set(browser::value_of(&event)))
            .child(roles),
    ));
    let remove = quiet(words::REMOVE, move || {
        people.update(|people| {
            if index < people.len() {
                people.remove(index);
            }
        });
    });
    el::div().class("row").child((person, role, remove)).into_any()
}

/// Returns the action that sends the form.
fn creator(form: Form, people: RwSignal<Vec<Person>>, organization: String) -> Arc<dyn Fn()> {
    Arc::new(move || {
        if peek(form.busy) {
            return;
        }
        let Some(Value::Object(mut body)) = form.body(Style::Whole) else { return };
        let members: Map<String, Value> = peek(people)
            .into_iter()
            .map(|(user, role)| (peek(user).trim().to_owned(), json!(peek(role))))
            .filter(|(user, _)| !user.is_empty())
            .collect();
        if !members.is_empty() {
            body.insert("members".to_owned(), Value::Object(members));
        }
        let self_service =
            body.get("self_service").and_then(|policy| policy.get("enabled")) == Some(&json!(true));
        let path = api::path(&["organizations", &organization, "teams"]);
        let write = Write { method: "POST", path, body: Some(Value::Object(body)), etag: String::new() };
        let form = form.clone();
        form.busy.set(true);
        browser::spawn(async move {
            let result = api::write(&write).await;
            form.busy.set(false);
            match result {
                Ok(reply) => {
                    let id = reply.value.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
                    CREATED.set(Some((id.clone(), self_service)));
                    go(Page::Team { id, tab: Tab::Overview });
                }
                Err(failure) => form.failed(&failure),
            }
        });
    })
}
