//! The dialog that shows the secret of a key, once.
//!
//! The secret is in memory and in this dialog only, until the person says that it is stored.

use reactive_graph::prelude::*;
use reactive_graph::signal::RwSignal;
use tachys::html::element as el;
use tachys::prelude::*;

use crate::api;
use crate::browser;
use crate::types::NewSecret;
use crate::view::dialog::dialog;
use crate::view::{button, copy_button, group, live, nothing, paragraph};
use crate::words;

/// A secret that is shown until it is stored.
#[derive(Clone)]
pub struct Shown {
    /// The secret with the id of its key.
    pub key: NewSecret,
    /// A further line, about the secret before.
    pub line: Option<String>,
}

/// Draws the dialog while there is a secret. `stored` is called when the person ends it.
pub fn draw(shown: RwSignal<Option<Shown>>, stored: impl Fn(String) + Clone + Send + 'static) -> AnyView {
    live(move || {
        let Some(Shown { key: NewSecret { id, secret }, line }) = shown.get() else { return nothing() };
        let stored = stored.clone();
        let outcome = RwSignal::new(String::new());
        let copied = secret.clone();
        let tested = secret.clone();
        let test = move || {
            let secret = tested.clone();
            browser::spawn(async move {
                outcome.set(match api::callable_models(&secret).await {
                    Ok(models) => words::test_passed(models),
                    Err(failure) => words::test_failed(&failure.words()),
                });
            });
        };
        let value = el::output()
            .class("secret")
            .attr("aria-label", words::SECRET)
            .attr("tabindex", "0")
            .child(secret.clone())
            .into_any();
        let end = move || {
            shown.set(None);
            stored(id.clone());
        };
        let tried = el::span().role("status").class("outcome").child(move || outcome.get()).into_any();
        let children = vec![
            paragraph(words::SECRET_ADVICE),
            line.map_or_else(nothing, paragraph),
            value,
            group("buttons", vec![copy_button(words::COPY_SECRET, move || copied.clone())]),
            snippets(&secret),
            group("buttons", vec![button(words::TEST_NOW, false, test), tried]),
            group("buttons end", vec![button(words::STORED, true, end)]),
        ];
        dialog(words::SECRET_TITLE.to_owned(), None, children)
    })
}

/// Lines that use the key, ready to paste.
fn snippets(secret: &str) -> AnyView {
    let origin = browser::origin();
    let shell = format!("export OPENAI_BASE_URL={origin}/v1\nexport OPENAI_API_KEY={secret}");
    let openai = format!("client = OpenAI(base_url=\"{origin}/v1\", api_key=\"{secret}\")");
    let anthropic = format!("client = Anthropic(base_url=\"{origin}\", api_key=\"{secret}\")");
    let parts: Vec<_> =
        [(words::USE_SHELL, shell), (words::USE_OPENAI, openai), (words::USE_ANTHROPIC, anthropic)]
            .into_iter()
            .map(|(name, lines)| {
                let copied = lines.clone();
                let code = el::pre().attr("tabindex", "0").attr("aria-label", name).child(lines);
                let copy = copy_button(words::COPY, move || copied.clone());
                el::div().class("snippet").child((el::h3().child(name), code, copy)).into_any()
            })
            .collect();
    let summary = el::summary().child(words::HOW_TO_USE);
    el::details().child((summary, parts)).into_any()
}
