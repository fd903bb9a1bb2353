//! The page of a key: its facts and use, rotation, blocking and revocation.

use std::sync::Arc;

use reactive_graph::prelude::*;
use reactive_graph::signal::RwSignal;
use serde_json::json;
use tachys::html::element as el;
use tachys::html::event as ev;
use tachys::prelude::*;

use crate::address::{Page, Tab};
use crate::api::{self, Failure, Write};
use crate::browser;
use crate::format::Meter;
use crate::role::Permission;
use crate::session::me;
use crate::types::{Key, NewSecret, Team, Usage};
use crate::view::dialog::{confirm, dialog};
use crate::view::resource::{Record, Resource};
use crate::view::{
    alert, button, code, danger, empty, facts, group, link, live, meter, nothing, paragraph, peek, remark,
    section, text, title, top,
};
use crate::words;

use super::keys;
use super::secret::{self, Shown};

pub fn draw(id: &str) -> AnyView {
    let key = Resource::<Key>::read(api::path(&["keys", id]));
    let revoked = RwSignal::new(false);
    let shown = RwSignal::new(None);
    let again = key.clone();
    let page = {
        let key = key.clone();
        live(move || {
            if revoked.get() {
                return group("page", vec![title(words::REVOKED_KEY), empty(words::REVOKED, nothing())]);
            }
            let whole = key.clone();
            key.show_page(move |record| draw_key(&whole, record, revoked, shown))
        })
    };
    group("page", vec![page, secret::draw(shown, move |_| again.again())])
}

fn draw_key(
    key: &Resource<Key>,
    record: &Arc<Record<Key>>,
    revoked: RwSignal<bool>,
    shown: RwSignal<Option<Shown>>,
) -> AnyView {
    let value = &record.value;
    let team = Page::Team { id: value.team.clone(), tab: Tab::Keys };
    let path = el::nav().class("crumbs").attr("aria-label", words::TEAM).child((
        link(&team, value.team.clone()),
        el::span().attr("aria-hidden", "true").child("›"),
        code(value.id.clone()),
    ));
    let heading = top(title(&keys::title_of(value)), vec![keys::state(value)]);
    let mut owner = keys::owner(value);
    if value.self_service {
        owner += &format!(", {}", words::MADE_BY_SELF_SERVICE);
    }
    let mut pairs = vec![
        (words::OWNER, text(owner)),
        (words::LAST_FOUR, value.hint.clone().map_or_else(|| text("–"), code)),
        (words::EXPIRES, keys::expiry(value)),
    ];
    if let Some(previous) = &value.previous {
        let words = words::old_works_until(&browser::local_time(&previous.until));
        pairs.push((words::ROTATION, text(words)));
    }
    let usage = Resource::<Usage>::read(api::path(&["keys", &value.id, "usage"]));
    let usage = usage.show(|record| {
        let Usage { limits, target_limits, budget } = &record.value;
        let budget = budget.iter().map(Meter::of_budget);
        let all: Vec<_> =
            budget.chain(limits.iter().chain(target_limits).map(Meter::of_limit)).map(meter).collect();
        if all.is_empty() { remark(words::NO_KEY_LIMITS) } else { group("meters", all) }
    });
    let cards = vec![
        section(words::DETAILS, vec![facts(pairs)]),
        section(words::LIMITS_AND_USE, vec![usage]),
        actions(key, record, revoked, shown),
    ];
    group("key", vec![path.into_any(), heading, group("cards", cards)])
}

/// The actions on the key that the person may take, once its organization is known.
fn actions(
    key: &Resource<Key>,
    record: &Arc<Record<Key>>,
    revoked: RwSignal<bool>,
    shown: RwSignal<Option<Shown>>,
) -> AnyView {
    let team = Resource::<Team>::read(api::path(&["teams", &record.value.team]));
    let (key, record) = (key.clone(), Arc::clone(record));
    team.show(move |team| {
        let me = me();
        let Team { id, organization, .. } = &team.value;
        let manages = me.may(Permission::ManageTeam, organization, id);
        let is_own = record.value.owner == Some(format!("user/{}", me.id))
            && me.may(Permission::OwnKeys, organization, id);
        if !manages && !is_own {
            return nothing();
        }
        let rotating = RwSignal::new(false);
        let revoking = RwSignal::new(false);
        let failed = RwSignal::new(String::new());
        let mut buttons = vec![button(words::ROTATE, false, move || rotating.set(true))];
        if manages {
            buttons.push(block(&key, &record, failed));
        }
        buttons.push(danger(words::REVOKE, move || revoking.set(true)));
        let mut parts = vec![remark(words::ROTATE_ADVICE)];
        if manages {
            parts.push(remark(words::BLOCK_KEY_ADVICE));
        }
        parts.push(live(move || match failed.get() {
            words if words.is_empty() => nothing(),
            words => alert(vec![paragraph(words)]),
        }));
        parts.push(group("buttons", buttons));
        parts.push(rotation(&key, rotating, shown));
        parts.push(revocation(&key, &record, revoking, revoked));
        section(words::CHANGE, parts)
    })
}

fn block(key: &Resource<Key>, record: &Record<Key>, failed: RwSignal<String>) -> AnyView {
    let blocked = record.value.state.as_deref() == Some("blocked");
    let (words, state) = if blocked { (words::UNBLOCK, "active") } else { (words::BLOCK, "blocked") };
    let (key, etag) = (key.clone(), record.etag.clone());
    button(words, false, move || {
        let body = Some(json!({ "state": state }));
        let write = Write { method: "PATCH", path: key.path().to_owned(), body, etag: etag.clone() };
        let key = key.clone();
        browser::spawn(async move {
            match api::write(&write).await {
                Ok(reply) => key.put(Ok(reply)),
                Err(failure) => failed.set(failure.words()),
            }
        });
    })
}

/// The dialog of a rotation: until when the old secret works.
fn rotation(key: &Resource<Key>, open: RwSignal<bool>, shown: RwSignal<Option<Shown>>) -> AnyView {
    let key = key.clone();
    live(move || {
        if !open.get() {
            return nothing();
        }
        let grace = RwSignal::new("86400".to_owned());
        let end_previous = RwSignal::new(false);
        let failed = RwSignal::new(None::<Failure>);
        let error = live(move || match failed.get() {
            None => nothing(),
            Some(Failure::Problem(problem)) if problem.code == "previous_in_use" => {
                let check = el::input()
                    .r#type("checkbox")
                    .id("end-previous")
                    .prop("checked", move || end_previous.get())
                    .on(ev::change, move |event| end_previous.set(browser::is_checked(&event)));
                let label = el::label().r#for("end-previous").child(words::END_PREVIOUS);
                let field = el::div().class("field check").child((check, label)).into_any();
                alert(vec![paragraph(words::END_PREVIOUS_ADVICE), field])
            }
            Some(failure) => alert(vec![paragraph(failure.words())]),
        });
        let options: Vec<_> = words::GRACES
            .iter()
            .map(|(value, words)| {
                let selected = move || grace.with(|grace| grace == value);
                el::option().value(*value).prop("selected", selected).child(*words)
            })
            .collect();
        let field = el::div().class("field").child((
            el::label().r#for("grace").child(words::GRACE),
            el::select()
                .id("grace")
                .on(ev::change, move |event| grace.set(browser::value_of(&event)))
                .child(options),
        ));
        let path = format!("{}/rotate", key.path());
        let rotate = move || {
            let seconds: u64 = peek(grace).parse().unwrap_or_default();
            let mut body = json!({ "grace_seconds": seconds });
            if let (Some(fields), true) = (body.as_object_mut(), peek(end_previous)) {
                fields.insert("end_previous".to_owned(), json!(true));
            }
            let write = Write { method: "POST", path: path.clone(), body: Some(body), etag: String::new() };
            browser::spawn(async move {
                match api::write(&write).await.and_then(|reply| Ok((reply.read::<NewSecret>()?, reply))) {
                    Ok((key, reply)) => {
                        let until = reply.value.pointer("/previous/until").and_then(|until| until.as_str());
                        let line = until.map(|until| words::old_works_until(&browser::local_time(until)));
                        open.set(false);
                        shown.set(Some(Shown { key, line }));
                    }
                    Err(failure) => failed.set(Some(failure)),
                }
            });
        };
        let buttons = group(
            "buttons",
            vec![button(words::CANCEL, false, move || open.set(false)), button(words::ROTATE, true, rotate)],
        );
        let children = vec![paragraph(words::ROTATE_ADVICE), error, field.into_any(), buttons];
        dialog(words::ROTATE_TITLE.to_owned(), Some(Box::new(move || open.set(false))), children)
    })
}

fn revocation(
    key: &Resource<Key>,
    record: &Record<Key>,
    open: RwSignal<bool>,
    revoked: RwSignal<bool>,
) -> AnyView {
    let (path, heading) = (key.path().to_owned(), words::revoke(&keys::title_of(&record.value)));
    live(move || {
        if !open.get() {
            return nothing();
        }
        let failed = RwSignal::new(String::new());
        let path = path.clone();
        let act = move || {
            let write = Write { method: "DELETE", path: path.clone(), ..Write::default() };
            browser::spawn(async move {
                match api::write(&write).await {
                    Ok(_) => revoked.set(true),
                    Err(failure) => failed.set(failure.words()),
                }
            });
        };
        let lines = vec![words::REVOKE_LINE.to_owned()];
        confirm(heading.clone(), lines, Vec::new(), words::REVOKE, failed, move || open.set(false), act)
    })
}
