//! The health endpoints, which need no key and show nothing of the policy.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{Action, Exchange, ExchangeState};
use crate::admin::AdminRequest;
use crate::config::GatewayConfig;
use crate::http::local_response::LocalResponse;

/// Answered as soon as the filter runs.
const LIVE: &str = "/tollgate/healthz";

/// Answered with 200 once the gateway decides by a valid policy.
const READY: &str = "/tollgate/readyz";

impl Exchange {
    /// The action for a health endpoint; `None` for another path.
    pub(super) fn health(&mut self, config: &GatewayConfig, method: &str, target: &str) -> Option<Action> {
        let path = target.split('?').next().unwrap_or_default();
        if path != LIVE && path != READY {
            return None;
        }
        let response = match method {
            "GET" | "HEAD" if path == LIVE => health_response(200, method, "live".to_string()),
            "GET" | "HEAD" if config.etcd.is_some() => {
                // The time of the last read is in the host's shared data.
                self.state = ExchangeState::Managing;
                let request =
                    AdminRequest { method: method.to_string(), readiness: true, ..AdminRequest::default() };
                return Some(Action::Manage(Box::new(request)));
            }
            // Without a valid policy there is no gateway configuration.
            "GET" | "HEAD" => health_response(200, method, "ready: the policy is loaded".to_string()),
            _ => {
                let mut response = health_response(405, method, "use GET or HEAD".to_string());
                response.fields.push(("allow", "GET, HEAD".to_string()));
                response
            }
        };
        Some(self.answer(response))
    }
}

/// Returns the response of a health endpoint.
pub(crate) fn health_response(status: u16, method: &str, mut text: String) -> LocalResponse {
    text.push('\n');
    if method == "HEAD" {
        text.clear();
    }
    let fields = Vec::from([
        ("content-type", "text/plain; charset=utf-8".to_string()),
        ("cache-control", "no-store".to_string()),
    ]);
    LocalResponse { status, fields, body: text }
}
