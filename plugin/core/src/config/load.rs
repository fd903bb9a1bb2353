//! A streaming loader of the configuration, with the policy inside it.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

#[cfg(feature = "schema")]
use super::records::RouteRecord;
use super::records::{CredentialRecord, FleetRecord, ManageRecord, MetricsRecord, Prefix};
use super::{
    AdminConfig, EtcdConfig, FailureMode, GatewayConfig, UnknownMembers, UnknownQuery, Unmatched, defaults,
    routes,
};
use crate::admission::headers::HeaderStyle;
use crate::auth::credential::CredentialSource;
use crate::auth::credential::CredentialSources;
use crate::collections::held_bytes::HeldBytes;
use crate::counters::RecordKey;
use crate::http::route::Route;
use crate::json::node::Node;
use crate::ledger::LedgerNames;
use crate::policy::diagnostic::{Diagnostic, DiagnosticKind, Diagnostics};
use crate::policy::load::value::{Count, FromNode};
use crate::policy::load::{DocumentFields, DocumentReader, PolicyFields};
use crate::policy::{Mode, PolicyHandle};

const FIELDS: &[&str] = &[
    "policy",
    "credentials",
    "routes",
    "default_routes",
    "unmatched",
    "on_unavailable",
    "on_contention",
    "mode",
    "volatile_keys",
    "headers",
    "unknown_members",
    "unknown_query",
    "max_body",
    "max_held",
    "prefix",
    "manage",
    "fleet",
    "metrics",
];

/// The default of `max_body` in bytes: 32 MiB, which lets a recording of 25 MB, the most that OpenAI transcribes,
/// pass.
pub const MAX_BODY: u64 = 32 * 1024 * 1024;

/// The default of `max_held` in bytes: 512 MiB.
pub const MAX_HELD: u64 = 512 * 1024 * 1024;

/// The default of `metrics.max_teams`.
pub const MAX_METRIC_TEAMS: u64 = 1_000;

/// The default of `prefix`.
pub const PREFIX: &str = "tollgate/1/";

/// Reads a gateway's configuration piece by piece.
///
/// ```
/// let mut loader = tollgate_core::config::ConfigLoader::default();
/// loader.push(br#"{"policy": {"version": 1}, "unmatched": "pass"}"#);
/// let (gateway, _) = loader.finish().unwrap();
/// assert_eq!(gateway.max_body, 32 * 1024 * 1024);
/// ```
#[derive(Debug)]
pub struct ConfigLoader {
    reading: DocumentReader<GatewayFields>,
}

impl Default for ConfigLoader {
    fn default() -> Self {
        ConfigLoader { reading: DocumentReader::new(GatewayFields::default()) }
    }
}

impl ConfigLoader {
    /// Reads the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.reading.push(bytes);
    }

    /// Returns the configuration and the warnings.
    ///
    /// # Errors
    /// All diagnostics, if one of them is an error.
    pub fn finish(self) -> Result<(GatewayConfig, Vec<Diagnostic>), Vec<Diagnostic>> {
        let (fields, mut report) = self.reading.finish()?;
        if fields.opened && !fields.has_policy {
            report.error(DiagnosticKind::Missing("policy"));
        }
        report.within("policy", |report| fields.policy.require_version(report));
        let gateway = fields.gateway(&mut report);
        if report.has_errors() { Err(report.finish()) } else { Ok((gateway, report.finish())) }
    }
}

#[derive(Debug, Default)]
struct GatewayFields {
    /// The document is an object.
    opened: bool,
    policy: PolicyFields,
    has_policy: bool,
    credentials: Option<Vec<CredentialSource>>,
    routes: Vec<Route>,
    default_routes: Option<bool>,
    unmatched: Unmatched,
    on_unavailable: FailureMode,
    on_contention: FailureMode,
    mode: Mode,
    volatile_keys: bool,
    headers: HeaderStyle,
    unknown_members: UnknownMembers,
    unknown_query: UnknownQuery,
    max_body: Option<Count>,
    max_held: Option<Count>,
    prefix: Option<Prefix>,
    /// `Some(None)`: turned off.
    manage: Option<Option<AdminConfig>>,
    fleet: Option<EtcdConfig>,
    metrics: Option<MetricsRecord>,
}

impl DocumentFields for GatewayFields {
    fn opens(&self, names: &[String]) -> bool {
        match names.split_first() {
            None => true,
            Some((first, inner)) => first == "policy" && self.policy.opens(inner),
        }
    }

    fn known(&self, names: &[String]) -> Option<&'static [&'static str]> {
        match names.split_first() {
            None => Some(FIELDS),
            Some((_, inner)) => self.policy.known(inner),
        }
    }

    fn opened(&mut self, names: &[String]) {
        match names.split_first() {
            None => self.opened = true,
            Some((_, inner)) => {
                self.has_policy = true;
                self.policy.opened(inner);
            }
        }
    }

    fn value(&mut self, names: &[String], node: Node, report: &mut Diagnostics) {
        let Some((field, inner)) = names.split_first() else {
            report.error(DiagnosticKind::Expected { expected: "an object", found: node.describe() });
            return;
        };
        match field.as_str() {
            "policy" => {
                self.has_policy = true;
                self.policy.value(inner, node, report);
            }
            "credentials" => self.credentials = read_credentials(node, report),
            "routes" => {
                self.routes = routes::read(node, &mut self.policy.builder, report).unwrap_or_default()
            }
            "default_routes" => self.default_routes = bool::read(node, report),
            "unmatched" => keep(&mut self.unmatched, node, report),
            "on_unavailable" => keep(&mut self.on_unavailable, node, report),
            "on_contention" => keep(&mut self.on_contention, node, report),
            "mode" => keep(&mut self.mode, node, report),
            "volatile_keys" => keep(&mut self.volatile_keys, node, report),
            "headers" => keep(&mut self.headers, node, report),
            "unknown_members" => keep(&mut self.unknown_members, node, report),
            "unknown_query" => keep(&mut self.unknown_query, node, report),
            "max_body" => self.max_body = Count::read(node, report),
            "max_held" => self.max_held = Count::read(node, report),
            "prefix" => self.prefix = Prefix::read(node, report),
            "manage" => self.manage = ManageRecord::read(node, report).map(ManageRecord::settings),
            "metrics" => self.metrics = MetricsRecord::read(node, report),
            "fleet" => {
                self.fleet = FleetRecord::read(node, report).and_then(|record| record.settings(report));
            }
            _ => {}
        }
    }
}

impl GatewayFields {
    /// The operator's routes, and behind them the default ones.
    fn routes(&mut self) -> Vec<Route> {
        let mut routes = core::mem::take(&mut self.routes);
        if self.default_routes != Some(false) {
            routes.extend(defaults::routes());
        }
        routes
    }

    fn gateway(mut self, report: &mut Diagnostics) -> GatewayConfig {
        let routes = self.routes();
        let policy = PolicyHandle::new(self.policy.builder.finish("/policy", report));
        let prefix = self.prefix.map_or_else(|| PREFIX.into(), |prefix| prefix.0);
        let max_body = self.max_body.map_or(MAX_BODY, |bytes| bytes.0);
        let max_held = self.max_held.map_or_else(|| MAX_HELD.max(max_body), |bytes| bytes.0);
        if max_held < max_body {
            report.within("max_held", |report| {
                report.error(DiagnosticKind::Expected {
                    expected: "at least `max_body`",
                    found: format!("{max_held}, and `max_body` is {max_body}"),
                });
            });
        }
        GatewayConfig {
            policy,
            credentials: CredentialSources::new(self.credentials.unwrap_or_else(defaults::credentials)),
            routes,
            unmatched: self.unmatched,
            on_unavailable: self.on_unavailable,
            on_contention: self.on_contention,
            mode: self.mode,
            volatile_keys: self.volatile_keys,
            headers: self.headers,
            unknown_members: self.unknown_members,
            unknown_query: self.unknown_query,
            max_body,
            max_held,
            record_keys: GatewayConfig::record_keys(&prefix, self.fleet.as_ref()),
            ledger: LedgerNames::new(&prefix),
            held_bodies: RecordKey::new(&prefix, &["held"]),
            prefix,
            admin: self.manage.unwrap_or_else(|| Some(AdminConfig::default())),
            held_bytes: HeldBytes::default(),
            etcd: self.fleet,
            max_metric_teams: self
                .metrics
                .and_then(|metrics| metrics.max_teams)
                .map_or(MAX_METRIC_TEAMS, |teams| teams.0),
        }
    }
}

fn keep<T: FromNode>(place: &mut T, node: Node, report: &mut Diagnostics) {
    if let Some(value) = T::read(node, report) {
        *place = value;
    }
}

fn read_credentials(node: Node, report: &mut Diagnostics) -> Option<Vec<CredentialSource>> {
    let Node::Array(items) = node else {
        report.error(DiagnosticKind::Expected { expected: "an array", found: node.describe() });
        return None;
    };
    let places = items.into_iter().enumerate().filter_map(|(position, item)| {
        report.within(&position.to_string(), |report| CredentialRecord::read(item, report)?.place(report))
    });
    Some(places.collect())
}

/// The schema of a gateway's configuration (draft 2020-12).
#[cfg(feature = "schema")]
pub fn schema() -> serde_json::Value {
    serde_json::json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Tollgate gateway configuration",
        "type": "object",
        "properties": {
            "policy": crate::policy::load::schema::policy_fields(),
            "credentials": Vec::<CredentialRecord>::schema(),
            "routes": Vec::<RouteRecord>::schema(),
            "default_routes": bool::schema(),
            "unmatched": Unmatched::schema(),
            "on_unavailable": FailureMode::schema(),
            "on_contention": FailureMode::schema(),
            "mode": Mode::schema(),
            "volatile_keys": bool::schema(),
            "headers": HeaderStyle::schema(),
            "unknown_members": UnknownMembers::schema(),
            "unknown_query": UnknownQuery::schema(),
            "max_body": Count::schema(),
            "max_held": Count::schema(),
            "prefix": Prefix::schema(),
            "manage": ManageRecord::schema(),
            "fleet": FleetRecord::schema(),
            "metrics": MetricsRecord::schema(),
        },
        "required": ["policy"],
        "additionalProperties": false,
    })
}
