//! A part of a record on a card of its own: shown, edited and saved by itself.

use std::sync::Arc;

use reactive_graph::prelude::*;
use reactive_graph::signal::RwSignal;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tachys::html::element as el;
use tachys::html::event as ev;
use tachys::prelude::*;

use crate::api::{self, Write};
use crate::browser;
use crate::words;

use super::form::{Form, Style};
use super::resource::{Record, Resource};
use super::{alert, button, group, live, nothing, paragraph, peek, quiet, status, top};

/// Draws a part of a record.
pub type Shown<T> = dyn Fn(&Record<T>) -> AnyView + Send + Sync;

/// A card that shows a part of a record and, for those who may change it, edits that part.
pub struct Card<T: Send + Sync + 'static> {
    pub id: &'static str,
    pub heading: &'static str,
    pub resource: Resource<T>,
    pub style: Style,
    pub form: Form,
    pub may_edit: bool,
    /// Draws the part.
    pub shown: Arc<Shown<T>>,
    /// The remark above the fields.
    pub advice: &'static str,
}

/// The state of a card.
#[derive(Clone, Default, PartialEq)]
enum Mode {
    #[default]
    Shown,
    /// Shown after a save, which this body reverses.
    Saved(Option<Value>),
    Undone,
    Edited,
    /// Edited, after a merge with what was saved meanwhile.
    Merged,
}

impl<T: DeserializeOwned + Send + Sync + 'static> Card<T> {
    pub fn draw(self) -> AnyView {
        let card = Arc::new(self);
        let mode = RwSignal::new(Mode::Shown);
        let etag = RwSignal::new(String::new());
        let editor = Editor { card: Arc::clone(&card), mode, etag };
        let heading_id = format!("{}-heading", card.id);
        let heading = el::h2().id(heading_id.clone()).child(card.heading).into_any();
        let edit = editor.clone().edit_button();
        let body = live(move || match mode.get() {
            Mode::Shown | Mode::Saved(_) | Mode::Undone => editor.shown(),
            Mode::Edited | Mode::Merged => editor.edited(),
        });
        el::section()
            .id(card.id)
            .class("card")
            .attr("aria-labelledby", heading_id)
            .child((top(heading, vec![edit]), body))
            .into_any()
    }
}

struct Editor<T: Send + Sync + 'static> {
    card: Arc<Card<T>>,
    mode: RwSignal<Mode>,
    /// The entity tag of the record that is edited.
    etag: RwSignal<String>,
}

impl<T: Send + Sync> Clone for Editor<T> {
    fn clone(&self) -> Editor<T> {
        Editor { card: Arc::clone(&self.card), mode: self.mode, etag: self.etag }
    }
}

impl<T: DeserializeOwned + Send + Sync + 'static> Editor<T> {
    fn shown(&self) -> AnyView {
        let this = self.clone();
        self.card.resource.show(move |record| {
            let mut parts = vec![(this.card.shown)(record)];
            match peek(this.mode) {
                Mode::Saved(reverse) => {
                    let editor = this.clone();
                    let undo = reverse
                        .map_or_else(nothing, |body| quiet(words::UNDO, move || editor.undo(body.clone())));
                    parts.push(status(vec![paragraph(words::SAVED), undo]));
                }
                Mode::Undone => parts.push(status(vec![paragraph(words::UNDONE)])),
                Mode::Shown | Mode::Edited | Mode::Merged => {}
            }
            group("shown", parts)
        })
    }

    /// The button that opens the form, while it is closed and there is a record.
    fn edit_button(self) -> AnyView {
        live(move || {
            let is_open = matches!(self.mode.get(), Mode::Edited | Mode::Merged);
            if !self.card.may_edit || is_open || self.card.resource.record().is_none() {
                return nothing();
            }
            let editor = self.clone();
            el::button()
                .r#type("button")
                .class("quiet")
                .id(format!("{}-edit", self.card.id))
                .attr("aria-label", words::edit(self.card.heading))
                .on(ev::click, move |_| editor.begin())
                .child(words::EDIT)
                .into_any()
        })
    }

    fn begin(&self) {
        if let Some(record) = self.card.resource.now() {
            self.card.form.load(&record.raw);
            self.etag.set(record.etag.clone());
            self.mode.set(Mode::Edited);
            if let Some(field) = self.card.form.fields.first() {
                browser::focus(format!("{}{}", self.card.form.id, field.pointer.replace('/', "-")));
            }
        }
    }

    fn end(&self, mode: Mode) {
        self.mode.set(mode);
        browser::focus(format!("{}-edit", self.card.id));
    }

    fn edited(&self) -> AnyView {
        let form = &self.card.form;
        let (saving, leaving, by_key) = (self.clone(), self.clone(), self.clone());
        let merged = match peek(self.mode) {
            Mode::Merged => alert(vec![paragraph(words::CHANGED_MEANWHILE)]),
            _ => nothing(),
        };
        let buttons = group(
            "buttons",
            vec![
                save_button(form.busy, words::SAVE),
                button(words::CANCEL, false, move || leaving.end(Mode::Shown)),
            ],
        );
        let advice = if self.card.advice.is_empty() { nothing() } else { super::remark(self.card.advice) };
        el::form()
            .attr("novalidate", "")
            .on(ev::submit, move |event| {
                event.prevent_default();
                saving.save(true);
            })
            .on(ev::keydown, move |event| match event.key().as_str() {
                "Enter" if event.ctrl_key() => by_key.save(true),
                "Escape" if !by_key.card.form.is_changed() => by_key.end(Mode::Shown),
                _ => {}
            })
            .child((merged, form.summary(), advice, form.all(), buttons))
            .into_any()
    }

    /// Saves the form. `first`: a conflict with changes elsewhere in the record is tried once more.
    fn save(&self, first: bool) {
        let Card { form, style, resource, .. } = &*self.card;
        if peek(form.busy) {
            return;
        }
        let Some(body) = form.body(*style) else { return };
        if !form.is_changed() {
            return self.end(Mode::Shown);
        }
        let reverse = form.reverse(*style);
        let write = self.write(body, peek(self.etag));
        form.busy.set(true);
        let (this, resource, form) = (self.clone(), resource.clone(), form.clone());
        browser::spawn(async move {
            let result = api::write(&write).await;
            form.busy.set(false);
            match result {
                Ok(reply) => {
                    resource.put(Ok(reply));
                    this.end(Mode::Saved(reverse));
                }
                Err(failure) if failure.status() == 412 => match api::read(resource.path()).await {
                    Ok(reply) => {
                        let apart = form.merge(&reply.value);
                        this.etag.set(reply.etag.clone());
                        resource.put(Ok(reply));
                        if apart && first {
                            this.save(false);
                        } else {
                            this.mode.set(Mode::Merged);
                        }
                    }
                    Err(failure) => form.failed(&failure),
                },
                Err(failure) => form.failed(&failure),
            }
        });
    }

    fn undo(&self, body: Value) {
        let etag = self.card.resource.now().map(|record| record.etag.clone()).unwrap_or_default();
        let write = self.write(body, etag);
        let this = self.clone();
        browser::spawn(async move {
            match api::write(&write).await {
                Ok(reply) => {
                    this.card.resource.put(Ok(reply));
                    this.end(Mode::Undone);
                }
                Err(failure) => {
                    // What is saved now, with the reason on the form.
                    this.begin();
                    this.card.form.failed(&failure);
                }
            }
        });
    }

    fn write(&self, body: Value, etag: String) -> Write {
        let method = match self.card.style {
            Style::Patch => "PATCH",
            Style::Whole => "PUT",
        };
        Write { method, path: self.card.resource.path().to_owned(), body: Some(body), etag }
    }
}

/// The button that sends a form; it waits while a request runs.
pub fn save_button(busy: RwSignal<bool>, words: &'static str) -> AnyView {
    el::button()
        .r#type("submit")
        .class("button main")
        .attr("aria-disabled", move || busy.get().then_some("true"))
        .child(words)
        .into_any()
}
