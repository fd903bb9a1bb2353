//! A proxy-wasm module that only makes the host calls of a script, as a baseline.
//!
//! Its configuration lists the `Part`s of each callback. The filter's cost is compared with it: the same host
//! calls, on records of the same size, without any decision.

#![cfg(target_arch = "wasm32")]

mod host;
mod part;

use std::cell::RefCell;

use serde::Deserialize;
use tollgate_core::policy::{Policy, PolicyLoader};

use part::Part;

/// The parts of each callback.
#[derive(Deserialize, Default)]
struct Script {
    /// A policy, for look-ups.
    policy: serde_json::Value,
    #[serde(default)]
    request_headers: Vec<Part>,
    #[serde(default)]
    request_body: Vec<Part>,
    #[serde(default)]
    response_headers: Vec<Part>,
    #[serde(default)]
    response_body: Vec<Part>,
    /// The number of repetitions per callback: 1, or many to separate the cost of a part from that of the
    /// callback.
    times: u32,
}

#[derive(Default)]
struct State {
    script: Script,
    policy: Option<Policy>,
}

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

fn run(of: impl Fn(&Script) -> &[Part]) {
    STATE.with_borrow(|state| {
        for _ in 0..state.script.times {
            for part in of(&state.script) {
                part.run(state.policy.as_ref());
            }
        }
    });
}

const CONTINUE: u32 = 0;
const PAUSE: u32 = 1;

#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    let mut memory = std::mem::ManuallyDrop::new(Vec::<u8>::with_capacity(size));
    memory.as_mut_ptr()
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(_context: u32, _root: u32) {}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(_root: u32, size: usize) -> u32 {
    let Ok(script) = serde_json::from_slice::<Script>(&host::buffer(host::CONFIGURATION, size)) else {
        return 0;
    };
    let mut loader = PolicyLoader::default();
    loader.push(script.policy.to_string().as_bytes());
    let policy = loader.finish().ok().map(|(policy, _)| policy);
    STATE.set(State { script, policy });
    1
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(_context: u32, _count: u32, end_of_stream: u32) -> u32 {
    run(|script| &script.request_headers);
    if end_of_stream == 0 { PAUSE } else { CONTINUE }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_body(_context: u32, _size: u32, _end_of_stream: u32) -> u32 {
    run(|script| &script.request_body);
    CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_headers(_context: u32, _count: u32, _end_of_stream: u32) -> u32 {
    run(|script| &script.response_headers);
    CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_body(_context: u32, _size: u32, _end_of_stream: u32) -> u32 {
    run(|script| &script.response_body);
    CONTINUE
}
