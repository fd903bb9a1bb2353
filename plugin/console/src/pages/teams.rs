//! The teams of an organization.

use tachys::html::element as el;
use tachys::html::event as ev;
use tachys::prelude::*;

use crate::address::{Page, Tab};
use crate::api;
use crate::browser;
use crate::format;
use crate::input::grouped;
use crate::session::me;
use crate::types::{Listed, Organization, Team};
use crate::view::resource::Resource;
use crate::view::{action, code, empty, go, group, link, nothing, state_badges, table, text, title, top};
use crate::words;

/// The teams on one page of the list.
const PAGE: &str = "50";

pub fn draw(organization: Option<String>, after: Option<String>) -> AnyView {
    let organizations = Resource::<Listed<Organization>>::read(api::path(&["organizations"]) + "?limit=200");
    let list = organizations.show_page(move |record| {
        let all = &record.value.items;
        let chosen = all.iter().find(|it| Some(&it.id) == organization.as_ref()).or_else(|| all.first());
        let Some(chosen) = chosen else { return empty(words::NO_ORGANIZATIONS, nothing()) };
        let create = if me().may_create_teams(&chosen.id) {
            action(&Page::NewTeam { organization: Some(chosen.id.clone()) }, words::CREATE_TEAM, true)
        } else {
            nothing()
        };
        let heading = top(title(words::TEAMS), vec![create]);
        group("list", vec![heading, choice(all, &chosen.id), teams(&chosen.id, after.as_deref())])
    });
    group("page", vec![list])
}

/// The choice of the organization, if there is one to make.
fn choice(all: &[Organization], chosen: &str) -> AnyView {
    if all.len() < 2 {
        let name = all.first().map(|it| it.name.clone()).unwrap_or_default();
        return el::p().class("remark").child((words::ORGANIZATION, " ", name)).into_any();
    }
    let options: Vec<_> = all
        .iter()
        .map(|it| el::option().value(it.id.clone()).prop("selected", it.id == chosen).child(it.name.clone()))
        .collect();
    let select = el::select()
        .id("organization")
        .on(ev::change, |event| {
            go(Page::Teams { organization: Some(browser::value_of(&event)), after: None });
        })
        .child(options);
    let label = el::label().r#for("organization").child(words::ORGANIZATION);
    el::div().class("filters").child((label, select)).into_any()
}

fn teams(organization: &str, after: Option<&str>) -> AnyView {
    let mut path = api::path(&["organizations", organization, "teams"]) + "?limit=" + PAGE;
    if let Some(after) = after {
        path += &format!("&after={}", crate::address::encode(after));
    }
    let teams = Resource::<Listed<Team>>::read(path);
    let (organization, is_first) = (organization.to_owned(), after.is_none());
    teams.show(move |record| {
        let Listed { items, next } = &record.value;
        if items.is_empty() && is_first {
            let page = Page::NewTeam { organization: Some(organization.clone()) };
            let may_create = me().may_create_teams(&organization);
            return empty(
                words::NO_TEAMS,
                if may_create { action(&page, words::CREATE_TEAM, false) } else { nothing() },
            );
        }
        let heads = [words::TEAM, words::STATE, words::ACCESS, words::LIMITS, words::BUDGET, words::PEOPLE];
        let table = table(words::TEAMS, &heads, items.iter().map(row).collect());
        let page = |after| Page::Teams { organization: Some(organization.clone()), after };
        let first = if is_first { nothing() } else { action(&page(None), words::FIRST_PAGE, false) };
        let next = match next {
            Some(next) => action(&page(Some(next.clone())), words::NEXT_PAGE, false),
            None => nothing(),
        };
        group("list", vec![table, group("buttons", vec![first, next])])
    })
}

fn row(team: &Team) -> Vec<AnyView> {
    let page = Page::Team { id: team.id.clone(), tab: Tab::Overview };
    let limits = format::limits(&team.limits);
    let limits = if limits.is_empty() { words::NOT_LIMITED.to_owned() } else { limits.join(", ") };
    let budget = team.budget.as_ref().map_or_else(|| words::NOT_LIMITED.to_owned(), format::budget);
    vec![
        group("named", vec![link(&page, team.name.clone()), code(team.id.clone())]),
        state_badges(team.state.as_deref(), team.mode.as_deref()),
        text(words::access(&team.access)),
        el::span().class("long").child(limits).into_any(),
        text(budget),
        text(grouped(team.members.len() as u64)),
    ]
}
