//! The start page: the person's own teams and keys.

use tachys::prelude::*;

use crate::address::{Page, Tab};
use crate::api;
use crate::role::{Me, Membership, Permission};
use crate::session::me;
use crate::types::{Key, Listed};
use crate::view::resource::Resource;
use crate::view::{action, empty, group, link, nothing, remark, section, title, top};
use crate::words;

use super::keys;

/// The number of teams whose keys are read at once. The others have a link.
const TEAMS: usize = 5;

pub fn draw() -> AnyView {
    let me = me();
    let mut parts = vec![top(title(words::HOME), Vec::new())];
    if me.teams.is_empty() {
        parts.push(empty(words::NO_TEAMS_OF_YOURS, nothing()));
    }
    parts.extend(me.teams.iter().enumerate().map(|(index, team)| draw_team(&me, team, index < TEAMS)));
    group("page", parts)
}

/// A team with the person's own keys in it.
fn draw_team(me: &Me, team: &Membership, with_keys: bool) -> AnyView {
    let role = words::TEAM_ROLES.iter().find(|(name, _)| *name == team.role).map_or("", |(_, words)| *words);
    let page = Page::Team { id: team.id.clone(), tab: Tab::Overview };
    let about = group("about", vec![link(&page, team.name.clone()), remark(role)]);
    let may_create = me.may_create_keys(&team.organization, &team.id);
    let create = if may_create {
        action(&Page::NewKey { team: team.id.clone() }, words::CREATE_KEY, true)
    } else {
        nothing()
    };
    let owner = format!("user/{}", me.id);
    let reads = me.may(Permission::ReadKeys, &team.organization, &team.id)
        || me.may(Permission::OwnKeys, &team.organization, &team.id);
    let own = if with_keys && reads {
        let keys = Resource::<Listed<Key>>::read(api::path(&["teams", &team.id, "keys"]) + "?limit=200");
        keys.show(move |record| {
            let own: Vec<&Key> =
                record.value.items.iter().filter(|key| key.owner.as_ref() == Some(&owner)).collect();
            if own.is_empty() {
                remark(words::NO_OWN_KEYS)
            } else {
                keys::table(words::YOUR_KEYS, &own, false)
            }
        })
    } else {
        nothing()
    };
    section(&team.name, vec![top(about, vec![create]), own])
}
