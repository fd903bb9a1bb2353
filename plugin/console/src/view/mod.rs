//! The pieces that pages are made of.

pub mod card;
pub mod dialog;
pub mod form;
pub mod resource;

use reactive_graph::prelude::*;
use reactive_graph::signal::RwSignal;
use tachys::html::element as el;
use tachys::html::event as ev;
use tachys::prelude::*;
use tachys::svg;

use crate::address::Page;
use crate::api::Failure;
use crate::format::{Level, Meter};
use crate::session::session;
use crate::words;

/// The id of the heading of a page, which gets the focus when the page changes.
pub const TITLE: &str = "title";

/// Draws a part of the page again whenever what it reads changes.
pub fn live(draw: impl Fn() -> AnyView + Send + 'static) -> AnyView {
    (move || draw()).into_any()
}

/// Returns the value of a signal, or the default if the part of the page that it belongs to is gone. Code that runs after a
/// request reads signals this way.
pub fn peek<T: Clone + Default + Send + Sync + 'static>(signal: RwSignal<T>) -> T {
    signal.try_get_untracked().unwrap_or_default()
}

pub fn nothing() -> AnyView {
    ().into_any()
}

pub fn text(text: impl Into<String>) -> AnyView {
    text.into().into_any()
}

/// A heading for the page, which also names the tab.
pub fn title(name: &str) -> AnyView {
    crate::browser::set_title(&words::tab_title(name));
    el::h1().id(TITLE).tabindex("-1").child(name.to_owned()).into_any()
}

/// The row at the top of a page: its heading, and what can be done.
pub fn top(heading: AnyView, actions: Vec<AnyView>) -> AnyView {
    el::div().class("top").child((heading, el::div().class("actions").child(actions))).into_any()
}

pub fn link(page: &Page, words: impl Into<String>) -> AnyView {
    el::a().href(page.address()).child(words.into()).into_any()
}

/// A link that looks like a button.
pub fn action(page: &Page, words: &'static str, main: bool) -> AnyView {
    el::a().href(page.address()).class(style(main)).child(words).into_any()
}

fn style(main: bool) -> &'static str {
    if main { "button main" } else { "button" }
}

pub fn button(words: impl Into<String>, main: bool, click: impl Fn() + 'static) -> AnyView {
    el::button()
        .r#type("button")
        .class(style(main))
        .on(ev::click, move |_| click())
        .child(words.into())
        .into_any()
}

/// A button for what cannot be undone.
pub fn danger(words: impl Into<String>, click: impl Fn() + 'static) -> AnyView {
    let class = "button danger";
    el::button().r#type("button").class(class).on(ev::click, move |_| click()).child(words.into()).into_any()
}

/// A button inside of text.
pub fn quiet(words: impl Into<String>, click: impl Fn() + 'static) -> AnyView {
    el::button()
        .r#type("button")
        .class("quiet")
        .on(ev::click, move |_| click())
        .child(words.into())
        .into_any()
}

pub fn paragraph(words: impl Into<String>) -> AnyView {
    el::p().child(words.into()).into_any()
}

/// A remark in smaller, calmer letters.
pub fn remark(words: impl Into<String>) -> AnyView {
    el::p().class("remark").child(words.into()).into_any()
}

pub fn group(class: &'static str, children: Vec<AnyView>) -> AnyView {
    el::div().class(class).child(children).into_any()
}

/// A message that is read out when it appears.
pub fn status(children: Vec<AnyView>) -> AnyView {
    el::div().role("status").class("notice").child(children).into_any()
}

/// An error that is read out at once.
pub fn alert(children: Vec<AnyView>) -> AnyView {
    el::div().role("alert").class("notice bad").child(children).into_any()
}

/// A part of a page with a heading.
pub fn section(heading: &str, children: Vec<AnyView>) -> AnyView {
    let heading = el::h2().child(heading.to_owned());
    el::section().class("card").child((heading, children)).into_any()
}

/// The place of something that is being read: nothing at first, then grey lines.
pub fn waiting() -> AnyView {
    let lines: Vec<_> = (0..3).map(|_| el::span().class("line")).collect();
    let label = el::span().class("hidden").child(words::LOADING);
    el::div().class("waiting").attr("aria-busy", "true").child((label, lines)).into_any()
}

/// Explains why something cannot be shown, and offers another try.
/// `whole`: it stands in the place of a page, and its heading is that of the page.
pub fn failure(failure: &Failure, whole: bool, again: impl Fn() + 'static) -> AnyView {
    let (heading, advice) = match failure.status() {
        401 => (words::SESSION_OVER, words::SIGN_IN_AGAIN_THEN),
        403 => (words::NOT_ALLOWED, words::ASK_AN_ADMIN),
        404 => (words::NOT_THERE, words::NOT_THERE_OR_HIDDEN),
        0 | 502..=504 => (words::UNREACHABLE, words::KEPT_TRYING),
        _ => (words::FAILED, ""),
    };
    let retry = match failure.status() {
        403 | 404 => nothing(),
        _ => button(words::TRY_AGAIN, false, again),
    };
    let detail = match failure {
        Failure::Problem(_) => failure.words(),
        Failure::Network => String::new(),
    };
    let lines =
        [detail.as_str(), advice].into_iter().filter(|line| !line.is_empty()).map(paragraph).collect();
    if whole {
        return group("page", vec![title(heading), alert(vec![group("lines", lines), retry])]);
    }
    alert(vec![el::h2().child(heading).into_any(), group("lines", lines), retry])
}

/// Says why a list is empty, and what to do.
pub fn empty(words: &str, next: AnyView) -> AnyView {
    el::div().class("empty").child((el::p().child(words.to_owned()), next)).into_any()
}

/// A table with a name for screen readers, in a region of its own that can scroll.
pub fn table(name: &str, heads: &[&'static str], rows: Vec<Vec<AnyView>>) -> AnyView {
    let heads: Vec<_> = heads.iter().map(|head| el::th().scope("col").child(*head)).collect();
    let rows: Vec<_> = rows
        .into_iter()
        .map(|cells| {
            let mut cells = cells.into_iter();
            let first = cells.next().map(|cell| el::th().scope("row").child(cell));
            el::tr().child((first, cells.map(|cell| el::td().child(cell)).collect::<Vec<_>>()))
        })
        .collect();
    let table = el::table().child((
        el::caption().class("hidden").child(name.to_owned()),
        el::thead().child(el::tr().child(heads)),
        el::tbody().child(rows),
    ));
    el::div()
        .class("scroll")
        .role("region")
        .tabindex("0")
        .attr("aria-label", name.to_owned())
        .child(table)
        .into_any()
}

/// Pairs of a name and a value.
pub fn facts(pairs: Vec<(&'static str, AnyView)>) -> AnyView {
    let pairs: Vec<_> = pairs
        .into_iter()
        .map(|(name, value)| el::div().child((el::dt().child(name), el::dd().child(value))))
        .collect();
    el::dl().class("facts").child(pairs).into_any()
}

/// A limit with its use, as a bar and as words.
pub fn meter(meter: Meter) -> AnyView {
    let Meter { name, percent, words } = meter;
    let (class, mark) = match Level::of(percent) {
        Level::Under => ("meter", ""),
        Level::Near => ("meter near", words::NEAR),
        Level::Full => ("meter full", words::FULL),
    };
    let bar = svg::svg()
        .attr("viewBox", "0 0 100 4")
        .attr("preserveAspectRatio", "none")
        .attr("aria-hidden", "true")
        .child((
            svg::rect().attr("class", "track").attr("width", "100").attr("height", "4"),
            svg::rect().attr("class", "used").attr("width", percent.to_string()).attr("height", "4"),
        ));
    let gauge = el::div()
        .class("gauge")
        .role("meter")
        .attr("aria-label", name.clone())
        .attr("aria-valuemin", "0")
        .attr("aria-valuemax", "100")
        .attr("aria-valuenow", percent.to_string())
        .attr("aria-valuetext", words.clone())
        .child(bar);
    let mark = (!mark.is_empty()).then(|| el::span().class("mark").child(mark));
    el::div()
        .class(class)
        .child((el::div().class("name").child((name, mark)), gauge, el::div().class("words").child(words)))
        .into_any()
}

/// A word with a colour and an icon for a state.
pub fn badge(words: &'static str, class: &'static str) -> AnyView {
    el::span().class(class).child(words).into_any()
}

/// The word for a state that rejects or only records; nothing for the usual one.
pub fn state_badges(state: Option<&str>, mode: Option<&str>) -> AnyView {
    let mut badges = Vec::new();
    badges.push(match state {
        Some("blocked") => badge(words::BLOCKED, "badge bad"),
        _ => badge(words::ACTIVE, "badge good"),
    });
    if mode == Some("shadow") {
        badges.push(badge(words::SHADOW, "badge"));
    }
    group("badges", badges)
}

/// A text in fixed-width letters.
pub fn code(text: impl Into<String>) -> AnyView {
    el::code().child(text.into()).into_any()
}

/// The line of a page that the person may only read.
pub fn read_only(words: &'static str) -> AnyView {
    el::p().class("remark readonly").child(words).into_any()
}

/// A button that copies a text, and says whether it worked.
pub fn copy_button(words: &'static str, copied: impl Fn() -> String + 'static) -> AnyView {
    let outcome = RwSignal::new("");
    let click = move || {
        let text = copied();
        crate::browser::spawn(async move {
            let worked = crate::browser::copy(&text).await;
            outcome.set(if worked { words::COPIED } else { words::NOT_COPIED });
        });
    };
    let outcome = el::span().role("status").class("outcome").child(move || outcome.get());
    group("copy", vec![button(words, false, click), outcome.into_any()])
}

/// Opens a page.
pub fn go(page: Page) {
    session().go(page);
}
