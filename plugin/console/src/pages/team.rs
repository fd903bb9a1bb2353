//! The page of a team: its head, its tabs, and the cards of the overview.

use std::cell::Cell;
use std::sync::Arc;

use reactive_graph::computed::Memo;
use reactive_graph::effect::Effect;
use reactive_graph::prelude::*;
use reactive_graph::signal::RwSignal;
use serde_json::json;
use tachys::html::element as el;
use tachys::prelude::*;

use crate::address::{Page, Tab};
use crate::api::{self, Write};
use crate::browser;
use crate::format::{self, Meter};
use crate::role::Permission;
use crate::session::me;
use crate::types::{Organization, SelfService, Team, Usage};
use crate::view::card::Card;
use crate::view::dialog::confirm;
use crate::view::form::{Form, Style};
use crate::view::resource::{Record, Resource};
use crate::view::{
    action, alert, button, code, danger, facts, go, group, link, live, meter, nothing, paragraph, read_only,
    remark, section, state_badges, status, text, title, top,
};
use crate::words;

use super::new_team::{budget_fields, limit_fields, self_service_fields};
use super::{access, keys, members};

thread_local! {
    /// The team that was just created, and if its self-service is on. Its page says so once.
    pub static CREATED: Cell<Option<(String, bool)>> = const { Cell::new(None) };
}

pub fn draw(id: &str, tab: Tab) -> AnyView {
    let team = Resource::<Team>::read(api::path(&["teams", id]));
    let created = CREATED.take().filter(|(team, _)| team == id).map(|(_, self_service)| {
        let words = if self_service { words::CREATED_SELF_SERVICE } else { words::CREATED };
        status(vec![paragraph(words)])
    });
    let head = team.show_page(head);
    // Saving a card changes the record and must not draw the other cards again.
    let known = team.clone();
    let is_known = Memo::new(move |_| known.record().is_some());
    let body = {
        let id = id.to_owned();
        live(move || {
            let record = if is_known.get() { team.now() } else { None };
            record.map_or_else(nothing, |record| {
                group("page", vec![tabs(&id, tab), body(&id, tab, &team, &record)])
            })
        })
    };
    group("page", vec![created.unwrap_or_else(nothing), head, body])
}

fn head(team: &Arc<Record<Team>>) -> AnyView {
    let Team { id, name, organization, state, mode, .. } = &team.value;
    let all = Page::Teams { organization: Some(organization.clone()), after: None };
    let path = el::nav().class("crumbs").attr("aria-label", words::ORGANIZATION).child((
        link(&all, organization.clone()),
        el::span().attr("aria-hidden", "true").child("›"),
        code(id.clone()),
    ));
    let blocked = match state.as_deref() {
        Some("blocked") => alert(vec![paragraph(words::TEAM_BLOCKED_LINE)]),
        _ => nothing(),
    };
    let heading = top(title(name), vec![state_badges(state.as_deref(), mode.as_deref())]);
    group("head", vec![path.into_any(), heading, blocked])
}

fn tabs(id: &str, current: Tab) -> AnyView {
    let entries: Vec<_> = Tab::ALL
        .into_iter()
        .map(|tab| {
            let words = match tab {
                Tab::Overview => words::OVERVIEW,
                Tab::Access => words::ACCESS,
                Tab::Members => words::MEMBERS,
                Tab::Keys => words::KEYS,
            };
            let page = Page::Team { id: id.to_owned(), tab };
            let current = (tab == current).then_some("page");
            el::li().child(el::a().href(page.address()).attr("aria-current", current).child(words))
        })
        .collect();
    el::nav().class("tabs").attr("aria-label", words::PARTS).child(el::ul().child(entries)).into_any()
}

fn body(id: &str, tab: Tab, team: &Resource<Team>, record: &Arc<Record<Team>>) -> AnyView {
    match tab {
        Tab::Overview => overview(id, team, record),
        Tab::Access => access::draw(&record.value),
        Tab::Members => members::draw(&record.value),
        Tab::Keys => keys::draw(record),
    }
}

fn overview(id: &str, team: &Resource<Team>, record: &Arc<Record<Team>>) -> AnyView {
    let me = me();
    let Team { organization, name, .. } = &record.value;
    let may = |permission| me.may(permission, organization, id);
    let may_edit = may(Permission::ManageTeam);
    let usage =
        may(Permission::ReadUsage).then(|| Resource::<Usage>::read(api::path(&["teams", id, "usage"])));
    let above = may_edit.then(|| Resource::<Organization>::read(api::path(&["organizations", organization])));
    let left = vec![limits(team, above.clone(), usage.clone(), may_edit), people_card(id, team)];
    let mut right = vec![budget(team, above, usage, may_edit)];
    if may(Permission::ReadSelfService) {
        right.push(self_service(id, may_edit));
    }
    right.push(access_card(id, team));
    if may(Permission::ManageOrganization) {
        right.push(danger_card(team, name));
    }
    let line = if may_edit { nothing() } else { read_only(words::READ_ONLY) };
    let columns = group("halves", vec![group("column", left), group("column", right)]);
    group("overview", vec![line, columns])
}

/// Writes what the organization has beside the fields, once it has been read.
fn hints(
    form: &Form,
    organization: Option<Resource<Organization>>,
    hint: fn(&str, &Organization) -> Option<String>,
) {
    let (Some(organization), fields) = (organization, Arc::clone(&form.fields)) else { return };
    Effect::new(move |_| {
        let Some(record) = organization.record() else { return };
        for field in &*fields {
            if let Some(hint) = hint(field.pointer, &record.value) {
                field.hint.set(hint);
            }
        }
    });
}

fn limits(
    team: &Resource<Team>,
    above: Option<Resource<Organization>>,
    usage: Option<Resource<Usage>>,
    may_edit: bool,
) -> AnyView {
    let form = Form::new("limits", limit_fields(None));
    hints(&form, above, |pointer, organization| {
        let window = words::WINDOWS.iter().find(|window| window.pointer == pointer)?;
        Some(words::above(&organization.name, organization.limits.get(window.name)))
    });
    let shown = move |record: &Record<Team>| {
        let set = format::limits(&record.value.limits);
        if set.is_empty() {
            return paragraph(words::NO_LIMITS);
        }
        let Some(usage) = usage.clone() else {
            let set = set.into_iter().map(|limit| el::li().child(limit)).collect::<Vec<_>>();
            return group("plain", vec![el::ul().child(set).into_any(), remark(words::USE_HIDDEN)]);
        };
        // The counters follow the limits that were just saved.
        usage.again();
        usage.show(|record| {
            let Usage { limits, target_limits, .. } = &record.value;
            group("meters", limits.iter().chain(target_limits).map(Meter::of_limit).map(meter).collect())
        })
    };
    Card {
        id: "limits",
        heading: words::LIMITS_AND_USE,
        resource: team.clone(),
        style: Style::Patch,
        form,
        may_edit,
        shown: Arc::new(shown),
        advice: words::LIMITS_ADVICE,
    }
    .draw()
}

fn budget(
    team: &Resource<Team>,
    above: Option<Resource<Organization>>,
    usage: Option<Resource<Usage>>,
    may_edit: bool,
) -> AnyView {
    let form = Form::new("budget", budget_fields("", &words::PERIODS, true));
    hints(&form, above, |pointer, organization| {
        (pointer == "/budget/max")
            .then(|| words::budget_above(&organization.name, organization.budget.as_ref()))
    });
    let shown = move |record: &Record<Team>| {
        let Some(set) = &record.value.budget else { return paragraph(words::NO_BUDGET) };
        let Some(usage) = usage.clone() else {
            return group("plain", vec![paragraph(format::budget(set)), remark(words::USE_HIDDEN)]);
        };
        usage.again();
        usage.show(|record| {
            let budget = record.value.budget.as_ref();
            budget.map_or_else(nothing, |budget| group("meters", vec![meter(Meter::of_budget(budget))]))
        })
    };
    Card {
        id: "budget",
        heading: words::BUDGET,
        resource: team.clone(),
        style: Style::Patch,
        form,
        may_edit,
        shown: Arc::new(shown),
        advice: "",
    }
    .draw()
}

fn self_service(id: &str, may_edit: bool) -> AnyView {
    Card {
        id: "self-service",
        heading: words::SELF_SERVICE,
        resource: Resource::<SelfService>::read(api::path(&["teams", id, "self-service"])),
        style: Style::Whole,
        form: Form::new("self-service", self_service_fields(false)),
        may_edit,
        shown: Arc::new(|record: &Record<SelfService>| paragraph(format::self_service(&record.value))),
        advice: words::SELF_SERVICE_ADVICE,
    }
    .draw()
}

fn access_card(id: &str, team: &Resource<Team>) -> AnyView {
    let page = Page::Team { id: id.to_owned(), tab: Tab::Access };
    let shown = team.show(|record| {
        let access = &record.value.access;
        if access.mode != "restrict" {
            return paragraph(words::ACCESS_INHERITS_LONG);
        }
        let list = |names: &[String]| {
            if names.is_empty() { text(words::NONE) } else { text(names.join(", ")) }
        };
        let selection = facts(vec![
            (words::GROUPS, list(&access.access_groups)),
            (words::TARGETS, list(&access.targets)),
        ]);
        group("plain", vec![paragraph(words::ACCESS_RESTRICTS_LONG), selection])
    });
    let show = group("buttons", vec![action(&page, words::SHOW_ACCESS, false)]);
    section(words::ACCESS, vec![shown, show])
}

fn people_card(id: &str, team: &Resource<Team>) -> AnyView {
    let page = Page::Team { id: id.to_owned(), tab: Tab::Members };
    let shown = team.show(|record| paragraph(format::people(record.value.members.values().copied())));
    let show = group("buttons", vec![action(&page, words::SHOW_MEMBERS, false)]);
    section(words::PEOPLE, vec![shown, show])
}

/// Blocking and deleting, for those who may manage the organization.
fn danger_card(team: &Resource<Team>, name: &str) -> AnyView {
    let failed = RwSignal::new(String::new());
    let asked = RwSignal::new(false);
    let toggled = team.clone();
    let toggle = team.show(move |record| {
        let blocked = record.value.state.as_deref() == Some("blocked");
        let (words, state) = if blocked { (words::UNBLOCK, "active") } else { (words::BLOCK, "blocked") };
        let (team, etag) = (toggled.clone(), record.etag.clone());
        button(words, false, move || {
            let body = Some(json!({ "state": state }));
            let write = Write { method: "PATCH", path: team.path().to_owned(), body, etag: etag.clone() };
            let team = team.clone();
            failed.set(String::new());
            browser::spawn(async move {
                match api::write(&write).await {
                    Ok(reply) => team.put(Ok(reply)),
                    Err(failure) => {
                        failed.set(failure.words());
                        team.again();
                    }
                }
            });
        })
    });
    let error = live(move || match failed.get() {
        words if words.is_empty() || asked.get() => nothing(),
        words => alert(vec![paragraph(words)]),
    });
    let path = team.path().to_owned();
    let heading = words::delete_team(name);
    let question = live(move || {
        if !asked.get() {
            return nothing();
        }
        let path = path.clone();
        let delete = move || {
            let write = Write { method: "DELETE", path: path.clone(), ..Write::default() };
            browser::spawn(async move {
                match api::write(&write).await {
                    Ok(_) => go(Page::Teams { organization: None, after: None }),
                    Err(failure) => failed.set(failure.words()),
                }
            });
        };
        let cancel = move || {
            asked.set(false);
            failed.set(String::new());
        };
        let lines = vec![words::DELETE_LINE.to_owned()];
        confirm(heading.clone(), lines, Vec::new(), words::DELETE, failed, cancel, delete)
    });
    let delete = danger(words::DELETE, move || {
        failed.set(String::new());
        asked.set(true);
    });
    let advice = vec![remark(words::BLOCK_ADVICE), remark(words::DELETE_ADVICE)];
    section(
        words::DANGER,
        vec![group("lines", advice), error, group("buttons", vec![toggle, delete]), question],
    )
}
