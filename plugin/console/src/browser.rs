//! The parts of the browser that the console uses, without panics: what is missing is an empty answer.

use std::cell::RefCell;
use std::future::Future;

use js_sys::{Date, Promise};
use wasm_bindgen::{JsCast as _, JsValue, closure::Closure};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Document, Element, Event, HtmlElement, HtmlInputElement, HtmlSelectElement, Storage, Window};

/// Runs a future that the page does not wait for.
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    wasm_bindgen_futures::spawn_local(future);
}

pub fn window() -> Option<Window> {
    web_sys::window()
}

pub fn document() -> Option<Document> {
    window()?.document()
}

/// Returns the element with this id.
pub fn by_id(id: &str) -> Option<HtmlElement> {
    document()?.get_element_by_id(id)?.dyn_into().ok()
}

/// Waits.
pub async fn pause(milliseconds: i32) {
    let promise = Promise::new(&mut |resolve, _| {
        if let Some(window) = window() {
            // Without a timer the wait ends at once.
            if window.set_timeout_with_callback_and_timeout_and_arguments_0(&resolve, milliseconds).is_err() {
                let _ = resolve.call0(&JsValue::NULL);
            }
        }
    });
    let _ = JsFuture::from(promise).await;
}

/// Moves the focus to the element with this id, once it is drawn.
pub fn focus(id: String) {
    spawn(async move {
        pause(0).await;
        if let Some(element) = by_id(&id) {
            let _ = element.focus();
        }
    });
}

thread_local! {
    /// The elements that had the focus before each open dialog.
    static FOCUSED: RefCell<Vec<Option<HtmlElement>>> = const { RefCell::new(Vec::new()) };
}

/// Remembers the element that has the focus.
pub fn remember_focus() {
    let focused = document().and_then(|document| document.active_element()).and_then(|it| it.dyn_into().ok());
    FOCUSED.with_borrow_mut(|all| all.push(focused));
}

/// Returns the focus to the element that had it at the last [`remember_focus`].
pub fn return_focus() {
    let focused = FOCUSED.with_borrow_mut(Vec::pop).flatten();
    spawn(async move {
        pause(0).await;
        if let Some(element) = focused.filter(|element| element.is_connected()) {
            let _ = element.focus();
        }
    });
}

/// Returns the value of the field that an event came from.
pub fn value_of(event: &Event) -> String {
    let Some(target) = event.target() else { return String::new() };
    match target.dyn_into::<HtmlInputElement>() {
        Ok(input) => input.value(),
        Err(other) => other.dyn_into::<HtmlSelectElement>().map(|select| select.value()).unwrap_or_default(),
    }
}

/// Returns true if the checkbox that an event came from is checked.
pub fn is_checked(event: &Event) -> bool {
    let input = event.target().and_then(|target| target.dyn_into::<HtmlInputElement>().ok());
    input.is_some_and(|input| input.checked())
}

/// Returns the address of the page below the origin, with query and fragment.
pub fn address() -> String {
    let Some(location) = window().map(|window| window.location()) else { return String::new() };
    let part = |part: Result<String, JsValue>| part.unwrap_or_default();
    part(location.pathname()) + &part(location.search()) + &part(location.hash())
}

pub fn origin() -> String {
    window().and_then(|window| window.location().origin().ok()).unwrap_or_default()
}

/// Changes the address without loading a page; `keep`: the present one stays in the history.
pub fn set_address(address: &str, keep: bool) {
    let Some(history) = window().and_then(|window| window.history().ok()) else { return };
    let _ = if keep {
        history.push_state_with_url(&JsValue::NULL, "", Some(address))
    } else {
        history.replace_state_with_url(&JsValue::NULL, "", Some(address))
    };
}

/// Loads the document anew.
pub fn reload() {
    if let Some(window) = window() {
        let _ = window.location().reload();
    }
}

/// Calls `handle` with each event of this name, as long as the page lives.
pub fn listen(name: &str, handle: impl Fn(Event) + 'static) {
    let Some(window) = window() else { return };
    let handle = Closure::<dyn Fn(Event)>::new(handle);
    let _ = window.add_event_listener_with_callback(name, handle.as_ref().unchecked_ref());
    handle.forget();
}

/// Returns the link that an event came from, if a click on it opens a page here.
pub fn followed_link(event: &Event) -> Option<String> {
    let click = event.dyn_ref::<web_sys::MouseEvent>()?;
    if event.default_prevented()
        || click.button() != 0
        || click.meta_key()
        || click.ctrl_key()
        || click.shift_key()
    {
        return None;
    }
    let element: Element = event.target()?.dyn_into().ok()?;
    element.closest("a[href]").ok()??.get_attribute("href")
}

fn session_storage() -> Option<Storage> {
    window()?.session_storage().ok()?
}

fn local_storage() -> Option<Storage> {
    window()?.local_storage().ok()?
}

/// Returns a value that ends with the tab.
pub fn kept(name: &str) -> Option<String> {
    session_storage()?.get_item(name).ok()?
}

/// Keeps a value until the tab ends, or removes it.
pub fn keep(name: &str, value: Option<&str>) {
    let Some(storage) = session_storage() else { return };
    let _ = match value {
        Some(value) => storage.set_item(name, value),
        None => storage.remove_item(name),
    };
}

/// Returns a setting of this browser.
pub fn setting(name: &str) -> Option<String> {
    local_storage()?.get_item(name).ok()?
}

pub fn set_setting(name: &str, value: &str) {
    if let Some(storage) = local_storage() {
        let _ = storage.set_item(name, value);
    }
}

/// Sets the theme of the page: `light`, `dark`, or the system's.
pub fn set_theme(theme: &str) {
    let Some(root) = document().and_then(|document| document.document_element()) else { return };
    let _ = match theme {
        "light" | "dark" => root.set_attribute("data-theme", theme),
        _ => root.remove_attribute("data-theme"),
    };
}

pub fn set_title(title: &str) {
    if let Some(document) = document() {
        document.set_title(title);
    }
}

/// Copies a text. Returns false if the browser does not allow it, as on plain HTTP.
pub async fn copy(text: &str) -> bool {
    let Some(window) = window().filter(|window| window.is_secure_context()) else { return false };
    JsFuture::from(window.navigator().clipboard().write_text(text)).await.is_ok()
}

/// Returns the milliseconds since 1970.
pub fn now() -> f64 {
    Date::now()
}

/// Returns the milliseconds of a time as the API writes it.
pub fn milliseconds(time: &str) -> Option<f64> {
    let parsed = Date::parse(time);
    parsed.is_finite().then_some(parsed)
}

/// Returns a time as the API writes it.
pub fn timestamp(milliseconds: f64) -> String {
    let date = Date::new(&milliseconds.into());
    date.to_iso_string().into()
}

/// Returns a time in the person's zone and language.
pub fn local_time(time: &str) -> String {
    milliseconds(time).map_or_else(
        || time.to_owned(),
        |milliseconds| {
            Date::new(&milliseconds.into()).to_locale_string("default", &JsValue::UNDEFINED).into()
        },
    )
}
