//! The frame around the pages: sign-in, header, navigation.

use any_spawner::Executor;
use reactive_graph::owner::Owner;
use reactive_graph::prelude::*;
use reactive_graph::signal::RwSignal;
use tachys::html::element as el;
use tachys::html::event as ev;
use tachys::prelude::*;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::address::{Page, ROOT};
use crate::api::Failure;
use crate::browser;
use crate::pages;
use crate::session::{Session, SignIn, session};
use crate::view::dialog::dialog;
use crate::view::{alert, button, group, live, nothing, paragraph, remark, title, waiting};
use crate::words;

/// Draws the page and begins.
#[wasm_bindgen(start)]
pub fn start() {
    // An error means that there is one already.
    let _ = Executor::init_wasm_bindgen();
    let Some(body) = browser::document().and_then(|document| document.body()) else { return };
    let owner = Owner::new();
    let view = owner.with(|| {
        let session = session();
        browser::listen("click", follow_links);
        browser::listen("popstate", move |_| session.follow());
        browser::listen("hashchange", move |_| session.follow());
        session.begin();
        let mut view = frame(session).build();
        view.mount(&body, None);
        view
    });
    // The page lives as long as the document.
    std::mem::forget((owner, view));
}

/// Opens links to the console's own pages without loading a document.
fn follow_links(event: web_sys::Event) {
    let Some(link) = browser::followed_link(&event) else { return };
    let is_own = link.strip_prefix(ROOT).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
    if is_own && session().state.get_untracked() == SignIn::In {
        event.prevent_default();
        session().go(Page::parse(&link));
    }
}

fn frame(session: Session) -> AnyView {
    live(move || match session.state.get() {
        SignIn::Checking => el::main().class("narrow").child(waiting()).into_any(),
        SignIn::Out(reason) => sign_in(session, reason.as_ref()),
        SignIn::Asking => asking(session),
        SignIn::In => signed_in(session),
    })
}

fn sign_in(session: Session, reason: Option<&Failure>) -> AnyView {
    let form = token_form(session, reason);
    let brand = el::p().class("brand").child(words::PRODUCT);
    el::main().class("narrow").child((brand, title(words::SIGN_IN), form)).into_any()
}

fn token_form(session: Session, reason: Option<&Failure>) -> AnyView {
    let token = RwSignal::new(String::new());
    let failed = reason.map(|reason| alert(vec![paragraph(reason.words())]));
    let submit = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        let typed = token.get_untracked();
        if typed.trim().is_empty() {
            browser::focus("token".to_owned());
        } else {
            session.sign_in(typed);
        }
    };
    let field = el::div().class("field").child((
        el::label().r#for("token").child(words::TOKEN),
        el::input()
            .r#type("password")
            .id("token")
            .attr("autocomplete", "off")
            .attr("aria-describedby", "token-hint")
            .on(ev::input, move |event| token.set(browser::value_of(&event))),
        el::div().class("hint").id("token-hint").child(words::TOKEN_HINT),
    ));
    let send = el::button().r#type("submit").class("button main").child(words::SIGN_IN);
    let buttons = el::div().class("buttons").child(send);
    el::form()
        .class("card")
        .attr("novalidate", "")
        .on(ev::submit, submit)
        .child((remark(words::SIGN_IN_ADVICE), failed, field, buttons))
        .into_any()
}

fn asking(session: Session) -> AnyView {
    let name = session.me.with_untracked(|me| me.name.clone());
    let buttons = vec![
        button(words::stay(&name), true, move || session.decide(false)),
        button(words::USE_LINK, false, move || session.decide(true)),
    ];
    let card = group("card", vec![paragraph(words::replace_person(&name)), group("buttons", buttons)]);
    el::main().class("narrow").child((title(words::ANOTHER_PERSON), card)).into_any()
}

fn signed_in(session: Session) -> AnyView {
    let skip = el::a().href("#main").class("skip").child(words::SKIP).on(ev::click, move |event| {
        event.prevent_default();
        browser::focus("main".to_owned());
    });
    let page = live(move || pages::draw(&session.page.get()));
    let main = el::main().id("main").tabindex("-1").child(page);
    let expired = live(move || if session.expired.get() { sign_in_again(session) } else { nothing() });
    group("frame", vec![skip.into_any(), header(session), main.into_any(), expired])
}

fn header(session: Session) -> AnyView {
    let entry = |page: Page, words: &'static str, is_current: fn(&Page) -> bool| {
        let current = move || session.page.with(is_current).then_some("page");
        el::li().child(el::a().href(page.address()).attr("aria-current", current).child(words))
    };
    let entries = (
        entry(Page::Home, words::HOME, |page| *page == Page::Home),
        entry(Page::Teams { organization: None, after: None }, words::TEAMS, |page| {
            matches!(
                page,
                Page::Teams { .. } | Page::NewTeam { .. } | Page::Team { .. } | Page::NewKey { .. }
            )
        }),
    );
    let nav = el::nav().attr("aria-label", words::PAGES).child(el::ul().child(entries));
    let name = session.me.with_untracked(|me| me.name.clone());
    let theme = live(move || {
        let words = match session.theme.get().as_str() {
            "light" => words::THEME_LIGHT,
            "dark" => words::THEME_DARK,
            _ => words::THEME_SYSTEM,
        };
        button(words, false, move || session.next_theme())
    });
    let person = el::span().class("person").attr("title", words::signed_in_as(&name)).child(name);
    let out = button(words::SIGN_OUT, false, move || session.sign_out());
    let brand = el::a().class("brand").href(ROOT).child(words::PRODUCT);
    let right = el::div().class("right").child((person, theme, out));
    el::header().child(el::div().class("bar").child((brand, nav, right))).into_any()
}

fn sign_in_again(session: Session) -> AnyView {
    let form = live(move || token_form(session, session.refused.get().as_ref()));
    dialog(words::SESSION_OVER.to_owned(), None, vec![paragraph(words::SESSION_OVER_ADVICE), form])
}
