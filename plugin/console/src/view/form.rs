//! Forms: fields with labels, hints and errors, the body that they make, and the merge with what was saved meanwhile.

use std::sync::Arc;

use reactive_graph::prelude::*;
use reactive_graph::signal::RwSignal;
use serde_json::{Map, Value};
use tachys::html::element as el;
use tachys::html::event as ev;
use tachys::prelude::*;

use crate::api::Failure;
use crate::browser;
use crate::input::Kind;
use crate::merge::{Merged, merge};
use crate::types::Fault;
use crate::words;

use super::{alert, group, live, nothing, peek, quiet};

/// A field of a form.
#[derive(Clone, Copy)]
pub struct Field {
    /// The place of the value in the body, and of errors about it.
    pub pointer: &'static str,
    /// The kind of the value.
    pub kind: Kind,
    /// The text that is edited.
    pub value: RwSignal<String>,
    /// The text as it was read.
    saved: RwSignal<String>,
    /// The outcome of a merge.
    merged: RwSignal<Option<(Merged, String)>>,
    /// The words beside it.
    pub label: &'static str,
    /// The remark below it.
    pub hint: RwSignal<String>,
    /// The record that is without a value when this field is empty, such as `/budget` for `/budget/max`.
    whole: &'static str,
    /// Names that may be typed.
    pub choices: RwSignal<Vec<(String, String)>>,
}

impl Field {
    pub fn new(pointer: &'static str, kind: Kind, label: &'static str, hint: &str) -> Field {
        Field {
            pointer,
            kind,
            value: RwSignal::new(first(kind)),
            saved: RwSignal::new(first(kind)),
            merged: RwSignal::new(None),
            label,
            hint: RwSignal::new(hint.to_owned()),
            whole: "",
            choices: RwSignal::default(),
        }
    }

    /// The record `whole` is without a value when this field is empty.
    pub fn carries(mut self, whole: &'static str) -> Field {
        self.whole = whole;
        self
    }

    /// Returns the text as a value.
    fn read(self, text: &str) -> Result<Option<Value>, &'static str> {
        self.kind.read(text)
    }
}

/// The text of a field without a value.
fn first(kind: Kind) -> String {
    match kind {
        Kind::Choice(choices) => choices.first().map_or_else(String::new, |(value, _)| (*value).to_owned()),
        Kind::Check => "false".to_owned(),
        Kind::Text | Kind::Number | Kind::Money => String::new(),
    }
}

/// The form of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A whole record: empty fields are left out.
    Whole,
    /// A merge patch: only what changed; empty is null.
    Patch,
}

/// A form.
#[derive(Clone)]
pub struct Form {
    /// The start of its elements' ids.
    pub id: &'static str,
    /// Its fields.
    pub fields: Arc<[Field]>,
    faults: RwSignal<Vec<Fault>>,
    /// True while a request runs.
    pub busy: RwSignal<bool>,
}

impl Form {
    pub fn new(id: &'static str, fields: Vec<Field>) -> Form {
        Form { id, fields: fields.into(), faults: RwSignal::default(), busy: RwSignal::new(false) }
    }

    /// Fills in a record that was read.
    pub fn load(&self, record: &Value) {
        for field in &*self.fields {
            let text = shown(*field, record);
            field.saved.set(text.clone());
            field.value.set(text);
            field.merged.set(None);
        }
        self.faults.set(Vec::new());
    }

    /// Takes in a record that was saved meanwhile. Returns true if nothing of this form is concerned.
    pub fn merge(&self, record: &Value) -> bool {
        let mut apart = true;
        for field in &*self.fields {
            let theirs = shown(*field, record);
            let read = peek(field.saved);
            match merge(&read, &peek(field.value), &theirs) {
                Merged::Mine => {}
                Merged::Theirs => {
                    field.value.set(theirs.clone());
                    field.merged.set(Some((Merged::Theirs, read)));
                    apart = false;
                }
                Merged::Both => {
                    field.merged.set(Some((Merged::Both, theirs.clone())));
                    apart = false;
                }
            }
            field.saved.set(theirs);
        }
        apart
    }

    /// Returns true if a field differs from what was read.
    pub fn is_changed(&self) -> bool {
        self.fields.iter().any(|field| {
            let same = field
                .saved
                .try_with_untracked(|saved| field.value.try_with_untracked(|value| value == saved));
            same.flatten() == Some(false)
        })
    }

    /// Returns the body. `None` if a field cannot be read: its error is shown.
    pub fn body(&self, style: Style) -> Option<Value> {
        let texts = self.fields.iter().map(|field| (*field, peek(field.value), peek(field.saved)));
        match body(style, texts.collect()) {
            Ok(body) => {
                self.faults.set(Vec::new());
                Some(body)
            }
            Err(faults) => {
                self.refuse(faults);
                None
            }
        }
    }

    /// Returns the body that restores what was read.
    pub fn reverse(&self, style: Style) -> Option<Value> {
        let texts = self.fields.iter().map(|field| (*field, peek(field.saved), peek(field.value)));
        body(style, texts.collect()).ok()
    }

    /// Shows a failed attempt, each fault at its field.
    pub fn failed(&self, failure: &Failure) {
        let faults = match failure {
            Failure::Problem(problem) if !problem.errors.is_empty() => problem.errors.clone(),
            Failure::Problem(_) | Failure::Network => {
                vec![Fault { detail: failure.words(), ..Fault::default() }]
            }
        };
        self.refuse(faults);
    }

    fn refuse(&self, faults: Vec<Fault>) {
        self.faults.set(faults);
        browser::focus(format!("{}-faults", self.id));
    }

    /// Returns the field that a fault is about.
    fn field_of(&self, fault: &Fault) -> Option<Field> {
        let pointer = fault.pointer.as_deref().filter(|pointer| !pointer.is_empty())?;
        let within =
            |inner: &str, outer: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'));
        let exact = self.fields.iter().find(|field| field.pointer == pointer);
        let near = || {
            self.fields.iter().find(|field| within(pointer, field.pointer) || within(field.pointer, pointer))
        };
        exact.or_else(near).copied()
    }

    fn element(&self, field: Field) -> String {
        format!("{}{}", self.id, field.pointer.replace('/', "-"))
    }

    /// The list of errors above the form, with links to the fields.
    pub fn summary(&self) -> AnyView {
        let form = self.clone();
        live(move || {
            let faults = form.faults.get();
            if faults.is_empty() {
                return nothing();
            }
            let lines = faults.iter().map(|fault| {
                let line = match form.field_of(fault) {
                    Some(field) => {
                        let id = form.element(field);
                        let words = format!("{}: {}", field.label, fault.detail);
                        quiet(words, move || browser::focus(id.clone()))
                    }
                    None => super::text(fault.detail.clone()),
                };
                el::li().child(line).into_any()
            });
            let list = el::ul().child(lines.collect::<Vec<_>>()).into_any();
            let id = format!("{}-faults", form.id);
            let inner = el::div().id(id).tabindex("-1").child((el::p().child(words::NOT_SAVED), list));
            alert(vec![inner.into_any()])
        })
    }

    /// Draws the field with this pointer.
    pub fn field(&self, pointer: &str) -> AnyView {
        match self.fields.iter().find(|field| field.pointer == pointer) {
            Some(field) => self.draw(*field),
            None => nothing(),
        }
    }

    /// Returns the field with this pointer.
    pub fn find(&self, pointer: &str) -> Option<Field> {
        self.fields.iter().find(|field| field.pointer == pointer).copied()
    }

    /// Draws all fields.
    pub fn all(&self) -> AnyView {
        group("fields", self.fields.iter().map(|field| self.draw(*field)).collect())
    }

    fn draw(&self, field: Field) -> AnyView {
        let id = self.element(field);
        let form = self.clone();
        let error = move || {
            form.faults.with(|faults| {
                let own = faults
                    .iter()
                    .filter(|fault| form.field_of(fault).is_some_and(|it| it.pointer == field.pointer));
                own.map(|fault| fault.detail.clone()).collect::<Vec<_>>().join(" ")
            })
        };
        let is_wrong = error.clone();
        let invalid = move || (!is_wrong().is_empty()).then_some("true");
        let (hint_id, error_id) = (format!("{id}-hint"), format!("{id}-error"));
        let described = format!("{hint_id} {error_id}");
        let hint = el::div().class("hint").id(hint_id).child(move || field.hint.get());
        let below = el::div().class("error").id(error_id).child(error);
        let label = el::label().r#for(id.clone()).child(field.label);
        let mark = merged_mark(field);
        match field.kind {
            Kind::Check => {
                let check = el::input()
                    .r#type("checkbox")
                    .id(id)
                    .attr("aria-describedby", described)
                    .prop("checked", move || field.value.with(|value| value == "true"))
                    .on(ev::change, move |event| field.value.set(browser::is_checked(&event).to_string()));
                el::div().class("field check").child((check, label, hint, below, mark)).into_any()
            }
            Kind::Choice(choices) => {
                let options: Vec<_> =
                    choices.iter().map(|(value, words)| option(field, value, words)).collect();
                let select = el::select()
                    .id(id)
                    .attr("aria-describedby", described)
                    .attr("aria-invalid", invalid)
                    .on(ev::change, move |event| field.value.set(browser::value_of(&event)))
                    .child(options);
                el::div().class("field").child((label, select, hint, below, mark)).into_any()
            }
            Kind::Text | Kind::Number | Kind::Money => {
                let list = format!("{id}-list");
                let names = list.clone();
                let mode = match field.kind {
                    Kind::Number => "numeric",
                    Kind::Money => "decimal",
                    Kind::Text | Kind::Check | Kind::Choice(_) => "text",
                };
                let listed =
                    move || field.choices.with(|choices| (!choices.is_empty()).then(|| list.clone()));
                let input = el::input()
                    .r#type("text")
                    .id(id)
                    .attr("inputmode", mode)
                    .attr("autocomplete", "off")
                    .attr("spellcheck", "false")
                    .attr("list", listed)
                    .attr("aria-describedby", described)
                    .attr("aria-invalid", invalid)
                    .prop("value", move || field.value.get())
                    .on(ev::input, move |event| field.value.set(browser::value_of(&event)));
                let names = live(move || {
                    let choices = field.choices.get();
                    let options = choices.into_iter().map(|(id, name)| el::option().value(id).child(name));
                    el::datalist().id(names.clone()).child(options.collect::<Vec<_>>()).into_any()
                });
                el::div().class("field").child((label, input, names, hint, below, mark)).into_any()
            }
        }
    }
}

fn option(field: Field, value: &'static str, words: &'static str) -> AnyView {
    let selected = move || field.value.with(|chosen| chosen == value);
    el::option().value(value).prop("selected", selected).child(words).into_any()
}

/// Says what a merge did to a field, and offers the other value.
fn merged_mark(field: Field) -> AnyView {
    live(move || match field.merged.get() {
        None | Some((Merged::Mine, _)) => nothing(),
        Some((Merged::Theirs, read)) => {
            group("merged", vec![super::text(words::taken_over(&shown_or_none(&read)))])
        }
        Some((Merged::Both, theirs)) => {
            let other = theirs.clone();
            let take = quiet(words::take_theirs(&shown_or_none(&theirs)), move || {
                field.value.set(other.clone());
                field.merged.set(None);
            });
            let keep = quiet(words::KEEP_MINE, move || field.merged.set(None));
            group("merged", vec![super::text(words::both_changed(&shown_or_none(&theirs))), take, keep])
        }
    })
}

fn shown_or_none(text: &str) -> String {
    if text.is_empty() { words::NO_VALUE.to_owned() } else { text.to_owned() }
}

fn shown(field: Field, record: &Value) -> String {
    let text = field.kind.show(record.pointer(field.pointer));
    if text.is_empty() { first(field.kind) } else { text }
}

/// Makes the body from each field with its new text and its old one.
fn body(style: Style, texts: Vec<(Field, String, String)>) -> Result<Value, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut body = Map::new();
    for (field, text, old) in &texts {
        let value = match field.read(text) {
            Ok(value) => value,
            Err(detail) => {
                let pointer = Some(field.pointer.to_owned());
                faults.push(Fault { pointer, detail: detail.to_owned(), policy_pointer: None });
                continue;
            }
        };
        // The field without which the record that this one belongs to is absent.
        let carrier = texts.iter().find(|(carrier, ..)| {
            !carrier.whole.is_empty()
                && field.pointer.starts_with(carrier.whole)
                && carrier.pointer != field.pointer
        });
        if carrier.is_some_and(|(_, text, _)| text.trim().is_empty()) {
            continue;
        }
        let whole = carrier.map_or(field.whole, |(carrier, ..)| carrier.whole);
        let beside = texts.iter().filter(|(other, ..)| !whole.is_empty() && other.pointer.starts_with(whole));
        let changed = text != old || beside.into_iter().any(|(_, text, old)| text != old);
        match (style, value) {
            (Style::Patch, _) if !changed => {}
            (Style::Patch, None) if old.is_empty() => {}
            (Style::Patch, None) => {
                let place = if field.whole.is_empty() { field.pointer } else { field.whole };
                insert(&mut body, place, Value::Null);
            }
            (Style::Whole, None) => {}
            (Style::Patch | Style::Whole, Some(value)) => insert(&mut body, field.pointer, value),
        }
    }
    if faults.is_empty() { Ok(Value::Object(body)) } else { Err(faults) }
}

/// Puts a value at its place in a body.
fn insert(body: &mut Map<String, Value>, pointer: &str, value: Value) {
    let mut parts = pointer.trim_start_matches('/').splitn(2, '/');
    let Some(name) = parts.next() else { return };
    match parts.next() {
        None => {
            body.insert(name.to_owned(), value);
        }
        Some(rest) => {
            let inner = body.entry(name).or_insert_with(|| Value::Object(Map::new()));
            if let Some(inner) = inner.as_object_mut() {
                insert(inner, rest, value);
            }
        }
    }
}
