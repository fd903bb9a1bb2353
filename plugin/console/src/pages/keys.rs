//! The keys of a team.

use tachys::html::element as el;
use tachys::prelude::*;

use crate::address::Page;
use crate::api;
use crate::browser;
use crate::format;
use crate::role::Permission;
use crate::session::me;
use crate::types::{Key, Listed, Team};
use crate::view::resource::{Record, Resource};
use crate::view::{action, badge, code, empty, group, link, nothing, remark, text};
use crate::{view, words};

/// The list of keys on a team's page.
pub fn draw(team: &Record<Team>) -> AnyView {
    let me = me();
    let Team { id, organization, .. } = &team.value;
    let all = me.may(Permission::ReadKeys, organization, id);
    if !all && !me.may(Permission::OwnKeys, organization, id) {
        return remark(words::KEYS_HIDDEN);
    }
    let create = if me.may_create_keys(organization, id) {
        action(&Page::NewKey { team: id.clone() }, words::CREATE_KEY, true)
    } else {
        nothing()
    };
    let keys = Resource::<Listed<Key>>::read(api::path(&["teams", id, "keys"]) + "?limit=200");
    let list = keys.show(move |record| {
        let items: Vec<&Key> = record.value.items.iter().collect();
        if items.is_empty() {
            return empty(if all { words::NO_KEYS } else { words::NO_OWN_KEYS }, nothing());
        }
        table(words::KEYS, &items, all)
    });
    let about = if all { nothing() } else { remark(words::KEYS_OWN_ONLY) };
    group("list", vec![view::top(about, vec![create]), list])
}

/// A table of keys.
pub fn table(name: &str, keys: &[&Key], with_owner: bool) -> AnyView {
    let mut heads = vec![words::KEY, words::LAST_FOUR, words::STATE, words::EXPIRES, words::BUDGET];
    if with_owner {
        heads.insert(2, words::OWNER);
    }
    let rows = keys.iter().map(|key| {
        let mut row = vec![
            link(&Page::Key { id: key.id.clone() }, title_of(key)),
            key.hint.clone().map_or_else(|| text("–"), code),
            state(key),
            expiry(key),
            text(key.budget.as_ref().map_or_else(|| words::NOT_LIMITED.to_owned(), format::budget)),
        ];
        if with_owner {
            row.insert(2, text(owner(key)));
        }
        row
    });
    view::table(name, &heads, rows.collect())
}

/// Returns the name of a key, or its id.
pub fn title_of(key: &Key) -> String {
    key.name.clone().unwrap_or_else(|| key.id.clone())
}

/// Returns the owner of a key as words.
pub fn owner(key: &Key) -> String {
    let Some(owner) = &key.owner else { return words::THE_TEAM.to_owned() };
    owner.strip_prefix("user/").or_else(|| owner.strip_prefix("service_account/")).unwrap_or(owner).to_owned()
}

/// Returns true if the key's time is over.
fn is_expired(key: &Key) -> bool {
    key.expires_at.as_deref().and_then(browser::milliseconds).is_some_and(|end| end <= browser::now())
}

pub fn state(key: &Key) -> AnyView {
    match key.state.as_deref() {
        _ if is_expired(key) => badge(words::EXPIRED, "badge bad"),
        Some("blocked") => badge(words::BLOCKED, "badge bad"),
        _ => badge(words::ACTIVE, "badge good"),
    }
}

/// The time from which a key is rejected.
pub fn expiry(key: &Key) -> AnyView {
    let Some(time) = key.expires_at.clone() else { return text(words::NEVER) };
    let relative = browser::milliseconds(&time).map(|end| words::relative(end - browser::now()));
    el::time()
        .attr("datetime", time.clone())
        .title(browser::local_time(&time))
        .child(relative.unwrap_or(time))
        .into_any()
}
