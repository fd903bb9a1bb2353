//! The access of a team: the selection, and what it makes callable, with reasons.
//!
//! The table shows what is saved, as the gateway computes it. After a save it marks what changed, and the save can be undone. With
//! the API's `dry_run` it can show the same before.

use std::collections::BTreeSet;
use std::sync::Arc;

use reactive_graph::prelude::*;
use reactive_graph::signal::RwSignal;
use serde_json::{Value, json};
use tachys::html::element as el;
use tachys::html::event as ev;
use tachys::prelude::*;

use crate::api::{self, Failure, Write};
use crate::browser;
use crate::role::Permission;
use crate::session::me;
use crate::types::{AccessPreview, Organization, Reach, Team};
use crate::view::card::save_button;
use crate::view::resource::{Record, Resource};
use crate::view::{
    alert, badge, button, code, empty, facts, group, live, nothing, paragraph, peek, quiet, read_only,
    remark, section, status, table, text,
};
use crate::words;

/// A selection that is edited.
#[derive(Clone, Copy)]
struct Draft {
    restrict: RwSignal<bool>,
    targets: RwSignal<BTreeSet<String>>,
    groups: RwSignal<BTreeSet<String>>,
}

impl Draft {
    fn body(self) -> Value {
        if peek(self.restrict) {
            json!({ "mode": "restrict", "targets": peek(self.targets), "access_groups": peek(self.groups) })
        } else {
            json!({ "mode": "inherit" })
        }
    }

    fn load(self, preview: &AccessPreview) {
        self.restrict.set(preview.access.mode == "restrict");
        self.targets.set(preview.access.targets.iter().cloned().collect());
        self.groups.set(preview.access.access_groups.iter().cloned().collect());
    }
}

/// The editor's state.
#[derive(Clone)]
struct Editor {
    team: Arc<str>,
    organization: Arc<str>,
    access: Resource<AccessPreview>,
    draft: Draft,
    editing: RwSignal<bool>,
    busy: RwSignal<bool>,
    failed: RwSignal<Option<Failure>>,
    etag: RwSignal<String>,
    /// The callable targets before the last save, and the body that restores them.
    before: RwSignal<Option<(BTreeSet<String>, Value)>>,
}

pub fn draw(team: &Team) -> AnyView {
    let may_edit = me().may(Permission::ManageTeam, &team.organization, &team.id);
    let editor = Editor {
        team: team.id.as_str().into(),
        organization: team.organization.as_str().into(),
        access: Resource::read(api::path(&["teams", &team.id, "access"])),
        draft: Draft {
            restrict: RwSignal::new(false),
            targets: RwSignal::default(),
            groups: RwSignal::default(),
        },
        editing: RwSignal::new(false),
        busy: RwSignal::new(false),
        failed: RwSignal::new(None),
        etag: RwSignal::default(),
        before: RwSignal::new(None),
    };
    let line = if may_edit { nothing() } else { read_only(words::READ_ONLY) };
    let selection = {
        let editor = editor.clone();
        live(move || if editor.editing.get() { editor.edited() } else { editor.shown(may_edit) })
    };
    let preview = {
        let (access, before) = (editor.access.clone(), editor.before);
        access.show(move |record| preview(&record.value, before.get().map(|(before, _)| before).as_ref()))
    };
    let columns = group(
        "columns",
        vec![section(words::ACCESS, vec![selection]), section(words::PREVIEW, vec![preview])],
    );
    group("access", vec![line, columns])
}

fn callable(preview: &AccessPreview) -> BTreeSet<String> {
    preview.preview.iter().filter(|reach| reach.effective).map(|reach| reach.target.clone()).collect()
}

impl Editor {
    fn shown(&self, may_edit: bool) -> AnyView {
        let this = self.clone();
        self.access.show(move |record| {
            let access = &record.value.access;
            let mut parts = Vec::new();
            if access.mode == "restrict" {
                let list = |names: &[String]| {
                    text(if names.is_empty() { words::NONE.to_owned() } else { names.join(", ") })
                };
                parts.push(paragraph(words::ACCESS_RESTRICT_HINT));
                parts.push(facts(vec![
                    (words::GROUPS, list(&access.access_groups)),
                    (words::TARGETS, list(&access.targets)),
                ]));
            } else {
                parts.push(paragraph(words::ACCESS_INHERIT_HINT));
            }
            let inert = &record.value.inert;
            let names = inert.access_groups.iter().chain(&inert.targets);
            parts.extend(names.map(|name| alert(vec![paragraph(words::inert(name, &this.organization))])));
            if let Some((before, reverse)) = this.before.get() {
                let now = callable(&record.value);
                let words =
                    words::access_change(now.difference(&before).count(), before.difference(&now).count());
                let editor = this.clone();
                let undo = quiet(words::UNDO, move || editor.send(reverse.clone(), String::new()));
                parts.push(status(vec![paragraph(words), undo]));
            }
            if may_edit {
                let editor = this.clone();
                parts.push(group("buttons", vec![button(words::EDIT_ACCESS, false, move || editor.begin())]));
            }
            group("shown", parts)
        })
    }

    fn begin(&self) {
        if let Some(record) = self.access.now() {
            self.draft.load(&record.value);
            self.etag.set(record.etag.clone());
            self.before.set(None);
            self.failed.set(None);
            self.editing.set(true);
            browser::focus("access-inherit".to_owned());
        }
    }

    fn edited(&self) -> AnyView {
        let Some(record) = self.access.now() else { return nothing() };
        let above = Resource::<Organization>::read(api::path(&["organizations", &self.organization]));
        let (failed, draft) = (self.failed, self.draft);
        let error = live(move || match failed.get() {
            Some(failure) => alert(vec![paragraph(failure.words())]),
            None => nothing(),
        });
        let radio = |id: &'static str, label: &'static str, hint: &'static str, restrict: bool| {
            let input = el::input()
                .r#type("radio")
                .name("access-mode")
                .id(id)
                .attr("aria-describedby", format!("{id}-hint"))
                .prop("checked", move || draft.restrict.get() == restrict)
                .on(ev::change, move |_| draft.restrict.set(restrict));
            let hint = el::div().class("hint").id(format!("{id}-hint")).child(hint);
            el::div().class("field check").child((input, el::label().r#for(id).child(label), hint))
        };
        let mode = el::fieldset().child((
            el::legend().class("hidden").child(words::ACCESS),
            radio("access-inherit", words::ACCESS_INHERIT, words::ACCESS_INHERIT_HINT, false),
            radio("access-restrict", words::ACCESS_RESTRICT, words::ACCESS_RESTRICT_HINT, true),
        ));
        let lists = live(move || {
            if !draft.restrict.get() {
                return nothing();
            }
            let record = Arc::clone(&record);
            above.show(move |above| selection(draft, &record, &above.value))
        });
        let (saving, leaving) = (self.clone(), self.clone());
        let buttons = group(
            "buttons",
            vec![
                save_button(self.busy, words::SAVE),
                button(words::CANCEL, false, move || leaving.editing.set(false)),
            ],
        );
        el::form()
            .attr("novalidate", "")
            .on(ev::submit, move |event| {
                event.prevent_default();
                saving.send(saving.draft.body(), peek(saving.etag));
            })
            .child((error, mode, lists, buttons))
            .into_any()
    }

    fn send(&self, body: Value, etag: String) {
        if peek(self.busy) {
            return;
        }
        let Some(record) = self.access.now() else { return };
        let before = callable(&record.value);
        let mut reverse = json!({ "mode": record.value.access.mode });
        if let (Some(fields), "restrict") = (reverse.as_object_mut(), record.value.access.mode.as_str()) {
            fields.insert("targets".to_owned(), json!(record.value.access.targets));
            fields.insert("access_groups".to_owned(), json!(record.value.access.access_groups));
        }
        let path = api::path(&["teams", &self.team, "access"]);
        let write = Write { method: "PUT", path, body: Some(body), etag };
        let this = self.clone();
        self.busy.set(true);
        browser::spawn(async move {
            let result = api::write(&write).await;
            this.busy.set(false);
            match result {
                Ok(_) => {
                    // The answer has the preview, and no entity tag of it.
                    this.before.set(Some((before, reverse)));
                    this.access.put(api::read(this.access.path()).await);
                    this.editing.set(false);
                }
                Err(failure) => {
                    if failure.status() == 412 {
                        let now = api::read(this.access.path()).await;
                        if let Ok(now) = &now {
                            this.etag.set(now.etag.clone());
                        }
                        this.access.put(now);
                    }
                    this.failed.set(Some(failure));
                }
            }
        });
    }
}

/// The lists of groups and targets to select from.
fn selection(draft: Draft, record: &Record<AccessPreview>, above: &Organization) -> AnyView {
    let AccessPreview { access, inert, preview } = &record.value;
    let through = preview.iter().filter_map(|reach| reach.available.as_deref()?.strip_prefix("group:"));
    let offered: BTreeSet<String> =
        above.access.access_groups.iter().cloned().chain(through.map(str::to_owned)).collect();
    let groups: BTreeSet<String> = offered.into_iter().chain(access.access_groups.iter().cloned()).collect();
    let available =
        preview.iter().filter(|reach| reach.available.is_some()).map(|reach| reach.target.clone());
    let targets: BTreeSet<String> = available.chain(access.targets.iter().cloned()).collect();
    group(
        "selection",
        vec![
            checks(
                "group",
                words::GROUPS,
                words::GROUP_ADVICE,
                draft.groups,
                groups,
                &inert.access_groups,
                above,
            ),
            checks("target", words::TARGETS, "", draft.targets, targets, &inert.targets, above),
        ],
    )
}

fn checks(
    kind: &'static str,
    legend: &'static str,
    advice: &'static str,
    chosen: RwSignal<BTreeSet<String>>,
    names: BTreeSet<String>,
    inert: &[String],
    above: &Organization,
) -> AnyView {
    let none = names.is_empty().then(|| remark(words::NOTHING_OFFERED));
    let boxes: Vec<AnyView> = names
        .into_iter()
        .map(|name| {
            let id = format!("access-{kind}-{name}");
            let note = inert
                .contains(&name)
                .then(|| el::div().class("hint").child(words::inert(&name, &above.name)));
            let (own, label) = (name.clone(), code(name.clone()));
            let input = el::input()
                .r#type("checkbox")
                .id(id.clone())
                .prop("checked", move || chosen.with(|chosen| chosen.contains(&own)))
                .on(ev::change, move |event| {
                    let checked = browser::is_checked(&event);
                    chosen.update(|chosen| {
                        if checked {
                            chosen.insert(name.clone());
                        } else {
                            chosen.remove(&name);
                        }
                    });
                });
            el::div().class("field check").child((input, el::label().r#for(id).child(label), note)).into_any()
        })
        .collect();
    let advice = (!advice.is_empty()).then(|| remark(advice));
    el::fieldset().child((el::legend().child(legend), advice, none, boxes)).into_any()
}

/// The table of targets. `before`: the ones that could be called before the last save.
fn preview(preview: &AccessPreview, before: Option<&BTreeSet<String>>) -> AnyView {
    let reached = callable(preview);
    if preview.preview.is_empty() {
        return empty(words::NO_TARGETS, nothing());
    }
    let rows = preview.preview.iter().map(|reach| {
        let Reach { target, effective, reason, .. } = reach;
        let result = match (effective, before.map(|before| before.contains(target))) {
            (true, Some(false)) => badge(words::GAINED, "badge good"),
            (false, Some(true)) => badge(words::LOST, "badge bad"),
            (true, _) => badge(words::CALLABLE, "badge good"),
            (false, _) => badge(words::NOT_CALLABLE, "badge"),
        };
        vec![code(target.clone()), result, text(reason.replace('`', ""))]
    });
    let table = table(words::PREVIEW, &[words::TARGET, words::RESULT, words::REASON], rows.collect());
    let none = if reached.is_empty() {
        alert(vec![paragraph(words::NOTHING_CALLABLE), paragraph(words::NOTHING_CALLABLE_ADVICE)])
    } else {
        paragraph(words::callable(reached.len(), preview.preview.len()))
    };
    group("preview", vec![none, table, remark(words::PREVIEW_ADVICE)])
}
