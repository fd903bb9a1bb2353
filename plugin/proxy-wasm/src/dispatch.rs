//! The ABI's callbacks, and the context each is for.
//!
//! An id that nobody knows, or a callback within a callback, is no reason to panic: that would cut every
//! stream of the worker. A request's callbacks then pause, so that nothing goes on undecided.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::mem::ManuallyDrop;
use std::rc::Rc;

use crate::answers::Answers;
use crate::corrections::Corrections;
use crate::host;
use crate::root::Root;
use crate::stream::Stream;

/// What a callback wants done with what it was shown (`proxy_action_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Action {
    /// It goes on.
    Continue = 0,
    /// It is held.
    Pause = 1,
}

#[derive(Default)]
struct Contexts {
    roots: ById<Root>,
    // Boxed: the table moves its entries.
    streams: ById<Box<Stream>>,
    corrections: Rc<Corrections>,
    answers: Rc<Answers>,
}

type ById<T> = HashMap<u32, T, BuildHasherDefault<IdHasher>>;

/// Ids are the host's own, mostly one after another: to be spread is all they need.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32(u32::from(*byte)));
    }

    fn write_u32(&mut self, id: u32) {
        self.0 = (self.0 ^ u64::from(id)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

thread_local! {
    static CONTEXTS: RefCell<Contexts> = RefCell::default();
}

fn contexts<R>(call: impl FnOnce(&mut Contexts) -> Option<R>) -> Option<R> {
    CONTEXTS.with(|contexts| call(&mut *contexts.try_borrow_mut().ok()?))
}

fn root<R>(id: u32, call: impl FnOnce(&mut Root) -> R) -> Option<R> {
    contexts(|contexts| {
        let result = contexts.roots.get_mut(&id).map(call);
        contexts.deliver(id);
        result
    })
}

fn stream<R>(id: u32, call: impl FnOnce(&mut Stream) -> R) -> Option<R> {
    contexts(|contexts| contexts.streams.get_mut(&id).map(|stream| call(stream)))
}

/// A callback of a request, in which a management request may be decided.
fn request(id: u32, call: impl FnOnce(&mut Stream) -> Action) -> Action {
    let action = contexts(|contexts| {
        let action = contexts.streams.get_mut(&id).map(|stream| call(stream));
        contexts.deliver(id);
        action
    });
    action.unwrap_or(Action::Pause)
}

impl Contexts {
    /// Lets streams have the answers that they wait for. `current`: whose callback this is.
    #[inline]
    fn deliver(&mut self, current: u32) {
        if self.answers.any() {
            self.hand_out(current);
        }
    }

    /// A stream that has gone needs no answer.
    #[cold]
    fn hand_out(&mut self, current: u32) {
        for (id, answered) in self.answers.take() {
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            if id == current {
                stream.on_answered(answered);
            } else if host::set_effective_context(id).is_ok() {
                stream.on_answered(answered);
                let _ = host::set_effective_context(current);
            }
        }
    }
}

#[cfg(target_os = "wasi")]
unsafe extern "C" {
    fn __wasm_call_ctors();
}

/// A reactor's start: what the standard library wants done before anything else.
#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    #[cfg(target_os = "wasi")]
    // SAFETY: the host calls this once, first.
    unsafe {
        __wasm_call_ctors();
    }
}

/// Tells a host which ABI this module speaks.
#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

/// Where a host puts what it returns; `host::taken` takes it over with just this capacity.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    let mut bytes = ManuallyDrop::new(Vec::<u8>::with_capacity(size));
    bytes.as_mut_ptr()
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(id: u32, parent: u32) {
    contexts(|contexts| {
        if parent == 0 {
            let root = Root::new(id, Rc::clone(&contexts.corrections), Rc::clone(&contexts.answers));
            contexts.roots.insert(id, root);
        } else {
            let stream =
                contexts.roots.get(&parent).map_or_else(|| Stream::new(id, None), |root| root.stream(id));
            contexts.streams.insert(id, Box::new(stream));
        }
        Some(())
    });
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_vm_start(_: u32, _: usize) -> bool {
    true
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(id: u32, _: usize) -> bool {
    root(id, Root::on_configure).unwrap_or(false)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_tick(id: u32) {
    root(id, Root::on_tick);
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(id: u32, _: usize, end_of_stream: bool) -> Action {
    request(id, |stream| stream.on_http_request_headers(end_of_stream))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_body(id: u32, held: usize, end_of_stream: bool) -> Action {
    request(id, |stream| stream.on_http_request_body(held, end_of_stream))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_trailers(id: u32, _: usize) -> Action {
    request(id, Stream::on_http_request_trailers)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_headers(id: u32, _: usize, end_of_stream: bool) -> Action {
    stream(id, |stream| stream.on_http_response_headers(end_of_stream)).unwrap_or(Action::Continue)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_body(id: u32, size: usize, end_of_stream: bool) -> Action {
    stream(id, |stream| stream.on_http_response_body(size, end_of_stream)).unwrap_or(Action::Continue)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_trailers(id: u32, _: usize) -> Action {
    stream(id, Stream::on_http_response_trailers).unwrap_or(Action::Continue)
}

/// The root context is the one that calls, whichever stream the call is for.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_http_call_response(id: u32, token: u32, _: usize, body_size: usize, _: usize) {
    root(id, |root| root.on_http_call_response(token, body_size));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_log(id: u32) {
    stream(id, Stream::on_log);
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_done(_: u32) -> bool {
    true
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_delete(id: u32) {
    contexts(|contexts| {
        drop(contexts.streams.remove(&id));
        if contexts.roots.remove(&id).is_some() && contexts.roots.is_empty() {
            // No tick comes any more.
            contexts.corrections.retry();
        }
        Some(())
    });
}
