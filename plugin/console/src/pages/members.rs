//! The people of a team.

use reactive_graph::prelude::*;
use reactive_graph::signal::RwSignal;
use serde_json::json;
use tachys::html::element as el;
use tachys::html::event as ev;
use tachys::prelude::*;

use crate::api::{self, Write};
use crate::browser;
use crate::role::Permission;
use crate::session::me;
use crate::types::{Key, Listed, Member, Role, Team};
use crate::view::card::save_button;
use crate::view::dialog::confirm;
use crate::view::resource::Resource;
use crate::view::{
    alert, code, empty, group, live, nothing, paragraph, peek, quiet, read_only, section, status, table, text,
};
use crate::words;

/// The sentence about the last change, with the person and the role to go back to.
type Said = (String, Option<(String, String)>);

/// The list with its messages.
#[derive(Clone)]
struct People {
    team: String,
    name: String,
    members: Resource<Listed<Member>>,
    said: RwSignal<Option<Said>>,
    failed: RwSignal<String>,
    /// The person who is about to be removed.
    leaving: RwSignal<Option<Member>>,
    may_edit: bool,
}

pub fn draw(team: &Team) -> AnyView {
    let me = me();
    let may_edit = me.may(Permission::ManageTeam, &team.organization, &team.id);
    let people = People {
        team: team.id.clone(),
        name: team.name.clone(),
        members: Resource::read(api::path(&["teams", &team.id, "members"]) + "?limit=200"),
        said: RwSignal::new(None),
        failed: RwSignal::default(),
        leaving: RwSignal::new(None),
        may_edit,
    };
    let line = if may_edit { nothing() } else { read_only(words::READ_ONLY) };
    let add = if may_edit {
        let all = Resource::<Listed<Member>>::read(
            api::path(&["organizations", &team.organization, "members"]) + "?limit=200",
        );
        let invites = me.may(Permission::ManageOrganization, &team.organization, &team.id);
        people.adding(&all, invites)
    } else {
        nothing()
    };
    let is_last_admin = {
        let admins = team.members.values().filter(|role| **role == Role::TeamAdmin).count();
        admins == 1
    };
    let question = people.clone().question(is_last_admin);
    group("members", vec![line, people.messages(), people.list(), add, question])
}

impl People {
    fn messages(&self) -> AnyView {
        let (this, failed) = (self.clone(), self.failed);
        let said = live(move || match this.said.get() {
            None => nothing(),
            Some((words, back)) => {
                let people = this.clone();
                let undo = back.map_or_else(nothing, |(user, role)| {
                    quiet(words::UNDO, move || people.set_role(user.clone(), role.clone(), None))
                });
                status(vec![paragraph(words), undo])
            }
        });
        let failed = live(move || match failed.get() {
            words if words.is_empty() => nothing(),
            words => alert(vec![paragraph(words)]),
        });
        group("messages", vec![said, failed])
    }

    fn list(&self) -> AnyView {
        let this = self.clone();
        self.members.show(move |record| {
            let members = &record.value.items;
            if members.is_empty() {
                return empty(words::NO_MEMBERS, nothing());
            }
            let mut heads = vec![words::PERSON, words::ID, words::ROLE];
            if this.may_edit {
                heads.push(words::REMOVE);
            }
            table(words::MEMBERS, &heads, members.iter().map(|member| this.row(member)).collect())
        })
    }

    fn row(&self, member: &Member) -> Vec<AnyView> {
        let Member { user, name, role } = member;
        let mut row = vec![text(name.clone()), code(user.clone())];
        if !self.may_edit {
            let words =
                words::TEAM_ROLES.iter().find(|(name, _)| name == role).map_or("", |(_, words)| *words);
            row.push(text(words));
            return row;
        }
        let options: Vec<_> = words::TEAM_ROLES
            .iter()
            .map(|(value, words)| el::option().value(*value).prop("selected", value == role).child(*words))
            .collect();
        let (this, user, before) = (self.clone(), user.clone(), role.clone());
        let select = el::select()
            .attr("aria-label", words::role_of(name))
            .on(ev::change, move |event| {
                this.set_role(user.clone(), browser::value_of(&event), Some(before.clone()));
            })
            .child(options);
        row.push(select.into_any());
        let (leaving, person) = (self.leaving, member.clone());
        let remove = el::button()
            .r#type("button")
            .class("quiet")
            .attr("aria-label", words::remove(name))
            .on(ev::click, move |_| leaving.set(Some(person.clone())))
            .child(words::REMOVE);
        row.push(remove.into_any());
        row
    }

    /// Saves a role. `before`: the role to which it can go back.
    fn set_role(&self, user: String, role: String, before: Option<String>) {
        let path = api::path(&["teams", &self.team, "members", &user]);
        let write = Write { method: "PUT", path, body: Some(json!({ "role": role })), etag: String::new() };
        let this = self.clone();
        browser::spawn(async move {
            match api::write(&write).await {
                Ok(_) => {
                    this.failed.set(String::new());
                    let words = words::role_changed(&user, &role);
                    this.said.set(Some((words, before.map(|before| (user, before)))));
                }
                Err(failure) => {
                    this.said.set(None);
                    this.failed.set(failure.words());
                }
            }
            this.members.again();
        });
    }

    /// The form that adds a person.
    fn adding(&self, all: &Resource<Listed<Member>>, invites: bool) -> AnyView {
        let user = RwSignal::new(String::new());
        let role = RwSignal::new("team_developer".to_owned());
        let busy = RwSignal::new(false);
        let known = all.clone();
        let names = live(move || {
            let record = known.record();
            let options = record.iter().flat_map(|record| &record.value.items);
            let options = options.map(|it| el::option().value(it.user.clone()).child(it.name.clone()));
            el::datalist().id("people").child(options.collect::<Vec<_>>()).into_any()
        });
        let hint = if invites { words::ADD_HINT_ADMIN } else { words::ADD_HINT };
        let person = el::div().class("field").child((
            el::label().r#for("add-person").child(words::PERSON),
            el::input()
                .r#type("text")
                .id("add-person")
                .attr("list", "people")
                .attr("autocomplete", "off")
                .attr("aria-describedby", "add-person-hint")
                .prop("value", move || user.get())
                .on(ev::input, move |event| user.set(browser::value_of(&event))),
            el::div().class("hint").id("add-person-hint").child(hint),
        ));
        let roles: Vec<_> =
            words::TEAM_ROLES.iter().map(|(value, words)| el::option().value(*value).child(*words)).collect();
        let select = el::div().class("field").child((
            el::label().r#for("add-role").child(words::ROLE),
            el::select()
                .id("add-role")
                .on(ev::change, move |event| role.set(browser::value_of(&event)))
                .child(roles),
        ));
        let this = self.clone();
        let send = move |event: web_sys::SubmitEvent| {
            event.prevent_default();
            let typed = peek(user).trim().to_owned();
            if typed.is_empty() || peek(busy) {
                browser::focus("add-person".to_owned());
                return;
            }
            let path = api::path(&["teams", &this.team, "members", &typed]);
            let body = Some(json!({ "role": peek(role) }));
            let write = Write { method: "PUT", path, body, etag: String::new() };
            let this = this.clone();
            busy.set(true);
            browser::spawn(async move {
                match api::write(&write).await {
                    Ok(_) => {
                        user.set(String::new());
                        this.failed.set(String::new());
                        this.said.set(Some((words::added(&typed), None)));
                        this.members.again();
                    }
                    Err(failure) => {
                        this.said.set(None);
                        this.failed.set(failure.words());
                    }
                }
                busy.set(false);
            });
        };
        let row = el::div().class("row").child((person, select, save_button(busy, words::ADD)));
        let form = el::form().attr("novalidate", "").on(ev::submit, send).child((names, row));
        section(words::ADD_MEMBER, vec![form.into_any()])
    }

    /// The dialog before a person is removed, with the keys that end.
    fn question(self, is_last_admin: bool) -> AnyView {
        let me = me();
        live(move || {
            let Some(Member { user, name, role }) = self.leaving.get() else { return nothing() };
            let keys =
                Resource::<Listed<Key>>::read(api::path(&["teams", &self.team, "keys"]) + "?limit=200");
            let failed = RwSignal::new(String::new());
            let mut lines = Vec::new();
            if user == me.id {
                lines.push(words::YOURSELF.to_owned());
            }
            if is_last_admin && role == "team_admin" {
                lines.push(words::LAST_ADMIN.to_owned());
            }
            let owner = format!("user/{user}");
            let ends = keys.show(move |record| {
                let own = record.value.items.iter().filter(|key| key.owner.as_ref() == Some(&owner));
                paragraph(words::keys_that_end(&own.map(super::keys::title_of).collect::<Vec<_>>()))
            });
            let (this, leaving) = (self.clone(), self.leaving);
            let act = move || {
                let path = api::path(&["teams", &this.team, "members", &user]);
                let write = Write { method: "DELETE", path, ..Write::default() };
                let this = this.clone();
                browser::spawn(async move {
                    match api::write(&write).await {
                        Ok(_) => {
                            this.leaving.set(None);
                            this.said.set(None);
                            this.members.again();
                        }
                        Err(failure) => failed.set(failure.words()),
                    }
                });
            };
            let heading = words::remove_from_team(&name, &self.name);
            confirm(heading, lines, vec![ends], words::REMOVE, failed, move || leaving.set(None), act)
        })
    }
}
