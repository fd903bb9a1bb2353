//! The charge for the answers that providers really give, in Envoy and in `tollgate serve`.
//!
//! Every case has a team and a target of its own, so that all of them share one gateway. A case sends its requests,
//! the scripted upstream answers, and the management API reports what was spent.

mod cases;
mod failures;
mod figures;
mod prices;
mod requests;

use std::net::SocketAddr;

use cases::{Case, configuration};
use tollgate_envoy::envoy::Envoy;
use tollgate_envoy::gateway::site;
use tollgate_envoy::native;
use tollgate_envoy::scripted::Scripted;
use tollgate_host::proxy_wasm::Dialect;
use tollgate_host::tools;

fn all() -> Vec<Case> {
    [figures::all(), failures::all(), prices::all(), requests::all()].concat()
}

/// Runs every case, and reports all that fail.
fn hold(gateway: SocketAddr, upstream: &Scripted, cases: &[Case]) {
    let failed: Vec<_> = cases.iter().filter_map(|case| case.run(gateway, upstream).err()).collect();
    assert!(failed.is_empty(), "{} of {} cases:\n{}", failed.len(), cases.len(), failed.join("\n"));
}

fn upstream(cases: &[Case]) -> Scripted {
    Scripted::start(cases.iter().map(|case| (case.name.to_owned(), case.answer.clone())).collect())
}

#[test]
fn answers_of_providers_are_charged_right_in_wasmtime() {
    let cases = all();
    let upstream = upstream(&cases);
    let server = native::serve(&configuration(&cases), upstream.address(), Dialect::Envoy);
    hold(server.addr(), &upstream, &cases);
}

#[test]
fn answers_of_providers_are_charged_right_in_envoy() {
    let Some(program) = tools::require(tools::envoy()) else { return };
    let cases = all();
    let upstream = upstream(&cases);
    let site = site(&configuration(&cases), upstream.address());
    let envoy = Envoy::start(&program, &site, 2);
    hold(envoy.address(), &upstream, &cases);
}
