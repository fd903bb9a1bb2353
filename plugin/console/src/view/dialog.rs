//! Dialogs over the page.

use reactive_graph::effect::Effect;
use reactive_graph::owner::on_cleanup;
use reactive_graph::prelude::*;
use reactive_graph::signal::RwSignal;
use tachys::html::element as el;
use tachys::html::event as ev;
use tachys::prelude::*;
use tachys::reactive_graph::node_ref::NodeRef;

use crate::browser;
use crate::words;

use super::{alert, button, danger, group, nothing, paragraph};

/// A dialog that keeps the rest of the page out of reach. It is open as long as it is drawn, and then returns the focus.
/// `close` is called for Esc; without it, only the dialog's own buttons end it.
pub fn dialog(heading: String, close: Option<Box<dyn Fn()>>, children: Vec<AnyView>) -> AnyView {
    let node = NodeRef::<el::Dialog>::new();
    browser::remember_focus();
    on_cleanup(browser::return_focus);
    Effect::new(move |_| {
        if let Some(dialog) = node.get().filter(|dialog| !dialog.open()) {
            let _ = dialog.show_modal();
        }
    });
    let closable = close.is_some();
    el::dialog()
        .node_ref(node)
        .attr("aria-labelledby", "dialog-title")
        .attr("closedby", if closable { "closerequest" } else { "none" })
        .on(ev::keydown, move |event| {
            // A second Esc would close it even if `cancel` is prevented.
            if event.key() == "Escape" && !closable {
                event.prevent_default();
            }
        })
        .on(ev::Custom::<web_sys::Event>::new("cancel"), move |event: web_sys::Event| {
            event.prevent_default();
            if let Some(close) = &close {
                close();
            }
        })
        .child((el::h2().id("dialog-title").child(heading), children))
        .into_any()
}

/// Asks before something that cannot be undone. `failed` holds the sentence of a failed attempt.
pub fn confirm(
    heading: String,
    lines: Vec<String>,
    more: Vec<AnyView>,
    action: &'static str,
    failed: RwSignal<String>,
    cancel: impl Fn() + Clone + 'static,
    act: impl Fn() + 'static,
) -> AnyView {
    let mut children: Vec<AnyView> = lines.into_iter().map(paragraph).collect();
    children.extend(more);
    children.push(super::live(move || match failed.get() {
        words if words.is_empty() => nothing(),
        words => alert(vec![paragraph(words)]),
    }));
    let back = cancel.clone();
    children.push(group("buttons", vec![button(words::CANCEL, false, back), danger(action, act)]));
    dialog(heading, Some(Box::new(cancel)), children)
}
