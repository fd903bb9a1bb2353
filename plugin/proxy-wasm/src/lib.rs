//! Tollgate as a proxy-wasm filter: callbacks in, decisions out.
//!
//! `host` wraps the host calls that are needed, `root` holds a configuration, `stream` carries one
//! request through the core's [`Exchange`](tollgate_core::exchange::Exchange). Nothing is decided here.

#![cfg(target_arch = "wasm32")]

mod host;
mod metrics;
mod root;
mod stream;

#[allow(missing_docs, reason = "the macro defines the entry point")]
mod entry {
    proxy_wasm::main! {{
        proxy_wasm::set_root_context(|_| Box::new(crate::root::Root::default()));
    }}
}
