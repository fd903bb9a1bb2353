//! The exported callbacks and the contexts they are for. Hand-written, because the dispatcher of the SDK (0.2.5) traps in
//! each of the five tests of `host-tests/tests/module_contexts.rs`. It panics at
//!
//! - a callback for an unknown context, or for a callout that was not made through the SDK, as `host` must;
//! - a callback within a callback;
//! - a context id that is used again, and a root context that makes no stream context.
//!
//! Here a request callback then pauses, so that no request is forwarded undecided, and every other callback does
//! nothing. The SDK's dispatcher also keeps contexts as trait objects, whose tables import 40 functions instead of 23: a
//! host that lacks one could not load the module. It is 65 KB larger and executes up to 1 % more instructions.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::Action;

use crate::held_bodies::HeldBodies;
use crate::host;
use crate::http_context::HttpFilter;
use crate::metrics::Metrics;
use crate::pending_responses::PendingResponses;
use crate::root_context::RootFilter;
use crate::settlement_queue::SettlementQueue;

/// The contexts of a VM, and what they share.
#[derive(Default)]
struct Dispatcher {
    roots: ById<RootFilter>,
    // Boxed, because the table moves its entries.
    http_streams: ById<Box<HttpFilter>>,
    settlements: Rc<SettlementQueue>,
    held: Rc<HeldBodies>,
    responses: Rc<PendingResponses>,
    metrics: Rc<OnceCell<Rc<Metrics>>>,
}

type ById<T> = HashMap<u32, T, foldhash::fast::FixedState>;

thread_local! {
    static DISPATCHER: RefCell<Dispatcher> = RefCell::default();
}

/// Runs `call` on the dispatcher. `None` within another callback.
fn dispatcher<R>(call: impl FnOnce(&mut Dispatcher) -> Option<R>) -> Option<R> {
    DISPATCHER.with(|dispatcher| call(&mut *dispatcher.try_borrow_mut().ok()?))
}

/// Runs a callback of a root context. `None` if there is none with this id.
fn root<R>(id: u32, call: impl FnOnce(&mut RootFilter) -> R) -> Option<R> {
    dispatcher(|dispatcher| {
        let result = dispatcher.roots.get_mut(&id).map(call);
        dispatcher.deliver(id);
        result
    })
}

/// Runs a callback of a stream. `None` if there is none with this id.
fn http<R>(id: u32, call: impl FnOnce(&mut HttpFilter) -> R) -> Option<R> {
    dispatcher(|dispatcher| dispatcher.http_streams.get_mut(&id).map(|stream| call(stream)))
}

/// Runs a request callback, in which a management request or an admission may be decided.
fn request(id: u32, call: impl FnOnce(&mut HttpFilter) -> Action) -> Action {
    let action = dispatcher(|dispatcher| {
        let action = dispatcher.http_streams.get_mut(&id).map(|stream| call(stream));
        dispatcher.deliver(id).or(action)
    });
    action.unwrap_or(Action::Pause)
}

impl Dispatcher {
    /// Delivers the results that are ready. `current` is the context whose callback this is; returns its action, if it
    /// waited for one of them.
    #[inline]
    fn deliver(&mut self, current: u32) -> Option<Action> {
        if self.responses.is_empty() { None } else { self.deliver_all(current) }
    }

    /// Delivers each result in the context that waits for it; a stream that has ended gets none.
    #[cold]
    fn deliver_all(&mut self, current: u32) -> Option<Action> {
        let mut own = None;
        for (id, awaited) in self.responses.take() {
            let Some(stream) = self.http_streams.get_mut(&id) else { continue };
            if id == current {
                own = Some(stream.on_awaited(awaited));
            } else if host::set_effective_context(id).is_ok() {
                if matches!(stream.on_awaited(awaited), Action::Continue) {
                    // If this fails, the host has ended the stream meanwhile.
                    let _ = host::continue_request();
                }
                let _ = host::set_effective_context(current);
            }
        }
        own
    }
}

// `_initialize`, which runs the standard library's constructors. There is nothing to register.
proxy_wasm::main! {{}}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(id: u32, parent: u32) {
    dispatcher(|dispatcher| {
        if parent == 0 {
            let Dispatcher { settlements, held, responses, metrics, .. } = dispatcher;
            let root = RootFilter::new(
                id,
                Rc::clone(settlements),
                Rc::clone(held),
                Rc::clone(responses),
                Rc::clone(metrics),
            );
            dispatcher.roots.insert(id, root);
        } else {
            let root = dispatcher.roots.get(&parent);
            let stream = root.map_or_else(|| HttpFilter::new(id, None), |root| root.http_filter(id));
            dispatcher.http_streams.insert(id, Box::new(stream));
        }
        Some(())
    });
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_vm_start(_: u32, _: usize) -> bool {
    true
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(id: u32, size: usize) -> bool {
    root(id, |root| root.on_configure(size)).unwrap_or(false)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_tick(id: u32) {
    root(id, RootFilter::on_tick);
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(id: u32, count: usize, end_of_stream: bool) -> Action {
    request(id, |stream| stream.on_http_request_headers(count, end_of_stream))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_body(id: u32, size: usize, end_of_stream: bool) -> Action {
    request(id, |stream| stream.on_http_request_body(size, end_of_stream))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_trailers(id: u32, count: usize) -> Action {
    request(id, |stream| stream.on_http_request_trailers(count))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_headers(id: u32, count: usize, end_of_stream: bool) -> Action {
    http(id, |stream| stream.on_http_response_headers(count, end_of_stream)).unwrap_or(Action::Continue)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_body(id: u32, size: usize, end_of_stream: bool) -> Action {
    http(id, |stream| stream.on_http_response_body(size, end_of_stream)).unwrap_or(Action::Continue)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_trailers(id: u32, count: usize) -> Action {
    http(id, |stream| stream.on_http_response_trailers(count)).unwrap_or(Action::Continue)
}

/// Delivers the response to a callout. Root contexts make all of them, also those for a stream.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_http_call_response(id: u32, token: u32, headers: usize, body: usize, trailers: usize) {
    root(id, |root| root.on_http_call_response(token, headers, body, trailers));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_log(id: u32) {
    http(id, HttpContext::on_log);
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_done(id: u32) -> bool {
    // Envoy calls `proxy_on_log` before this, but not for streams of HTTP/3, whose log it writes later without filters.
    http(id, HttpContext::on_log);
    true
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_delete(id: u32) {
    dispatcher(|dispatcher| {
        drop(dispatcher.http_streams.remove(&id));
        if dispatcher.roots.remove(&id).is_some() && dispatcher.roots.is_empty() {
            // There will be no further tick.
            dispatcher.settlements.retry();
        }
        Some(())
    });
}

/// Exports the other callbacks that the SDK defines, which hosts do not call for an HTTP filter without queues, gRPC
/// calls and foreign functions. Left to the SDK they would bring its dispatcher into the module.
macro_rules! unused_callbacks {
    ($($name:ident($($parameter:ty),*) $(-> $result:expr)?;)*) => {
        $(unused_callbacks!(@ $name($($parameter),*) $($result)?);)*
    };
    (@ $name:ident($($parameter:ty),*)) => {
        #[unsafe(no_mangle)]
        extern "C" fn $name($(_: $parameter),*) {}
    };
    (@ $name:ident($($parameter:ty),*) $result:expr) => {
        #[unsafe(no_mangle)]
        extern "C" fn $name($(_: $parameter),*) -> Action {
            $result
        }
    };
}

unused_callbacks! {
    proxy_on_new_connection(u32) -> Action::Pause;
    proxy_on_downstream_data(u32, usize, bool) -> Action::Pause;
    proxy_on_downstream_connection_close(u32, u32);
    proxy_on_upstream_data(u32, usize, bool) -> Action::Pause;
    proxy_on_upstream_connection_close(u32, u32);
    proxy_on_queue_ready(u32, u32);
    proxy_on_grpc_receive_initial_metadata(u32, u32, u32);
    proxy_on_grpc_receive(u32, u32, usize);
    proxy_on_grpc_receive_trailing_metadata(u32, u32, u32);
    proxy_on_grpc_close(u32, u32, u32);
    proxy_on_foreign_function(u32, u32, usize);
}
