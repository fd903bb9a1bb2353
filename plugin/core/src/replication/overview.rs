//! The facts about the changes of this gateway, in a response and in the log.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::Value;

use super::overlay::Unapplied;
use super::store::PolicyStore;
use crate::admin::{RequestInputs, json_response};
use crate::config::GatewayConfig;
use crate::http::local_response::LocalResponse;
use crate::json::out_of_line::object;

/// Maximum number of changes without effect that a log line and a response list.
const MAX_LISTED: usize = 20;

impl PolicyStore {
    /// Returns the response with the facts about this gateway.
    pub(super) fn overview(
        &self,
        config: &GatewayConfig,
        inputs: &RequestInputs,
        details: bool,
    ) -> LocalResponse {
        let mut body = object!({
            "api": 1,
            "version": env!("CARGO_PKG_VERSION"),
            "changes": inputs.durability.name(),
        });
        if details && let (Some(overlay), Value::Object(members)) = (&self.overlay, &mut body) {
            let (first, count) = overlay.unapplied(&config.policy.read(), MAX_LISTED);
            let first: Vec<Value> = first.iter().map(Unapplied::to_json).collect();
            members.insert("unapplied".to_string(), object!({ "count": count, "records": first }));
        }
        json_response(200, &body)
    }

    /// Returns the log line about changes that have no effect on the policy of the configuration, if there are any.
    pub fn unapplied(&self, config: &GatewayConfig) -> Option<String> {
        let (first, count) = self.overlay.as_ref()?.unapplied(&config.policy.read(), MAX_LISTED);
        if count == 0 {
            return None;
        }
        let names = first.iter().map(|Unapplied { section, id, removal, reason }| {
            format!(
                "{} {}/{id} ({})",
                if *removal { "removed" } else { "put" },
                section.name(),
                reason.name()
            )
        });
        let names: Vec<String> = names.collect();
        let more = if count > first.len() { ", ..." } else { "" };
        Some(format!(
            "{count} changes made through the management API have no effect on the policy of this configuration, which \
             has other records of these names, except that blocked stays blocked and removed members stay removed: {}{more}",
            names.join(", ")
        ))
    }

    /// Returns the log line about changes that were lost when this VM opened the store, if there are any.
    pub fn dropped(&self) -> Option<String> {
        let dropped = self.journal.as_ref().filter(|_| self.overlay.is_some())?.dropped();
        (dropped > 0).then(|| {
            format!(
                "{dropped} changes made through the management API are lost, revocations included: another version of this module \
                 stored them in a form that this one does not read"
            )
        })
    }
}
