//! The pages.

mod access;
mod home;
mod key;
mod keys;
mod members;
mod new_key;
mod new_team;
mod secret;
mod team;
mod teams;

use tachys::prelude::*;

use crate::address::Page;
use crate::session::me;
use crate::view::{group, paragraph, title};
use crate::words;

/// Draws a page.
pub fn draw(page: &Page) -> AnyView {
    match page {
        // Those who manage teams and are in none begin with the list.
        Page::Home if me().teams.is_empty() && !me().organizations.is_empty() => teams::draw(None, None),
        Page::Home if me().teams.is_empty() && me().platform_admin => teams::draw(None, None),
        Page::Home => home::draw(),
        Page::Teams { organization, after } => teams::draw(organization.clone(), after.clone()),
        Page::NewTeam { organization } => new_team::draw(organization.clone()),
        Page::Team { id, tab } => team::draw(id, *tab),
        Page::NewKey { team } => new_key::draw(team),
        Page::Key { id } => key::draw(id),
        Page::Unknown => {
            group("page", vec![title(words::UNKNOWN_PAGE), paragraph(words::UNKNOWN_PAGE_ADVICE)])
        }
    }
}
