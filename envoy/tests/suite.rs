//! One suite on every host, compared with the table in README.md.

use tollgate_envoy::suite::{self, Host};
use tollgate_host::proxy_wasm::Dialect;

fn on(name: &str, host: Option<Box<dyn Host>>) {
    if let Some(mut host) = host {
        suite::hold(name, &suite::run(host.as_mut()));
    }
}

#[test]
fn envoy() {
    on("Envoy 1.40", suite::envoy());
}

#[test]
fn workerd() {
    on("workerd", suite::workerd());
}

#[test]
fn wasmtime_as_envoy() {
    on("wasmtime as Envoy", suite::wasmtime(Dialect::Envoy));
}

#[test]
fn wasmtime_as_a_forgetful_host() {
    on("as FastEdge (emulated)", suite::wasmtime(Dialect::Forgetful));
}

#[test]
fn wasmtime_as_a_host_without_shared_data() {
    on("as a CDN plugin (emulated)", suite::wasmtime(Dialect::Unimplemented));
}
