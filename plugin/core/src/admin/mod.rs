//! The management API under `/tollgate/v1`: authentication, authorization and policy changes.
//!
//! [`decide`] decides a request against the current policy and returns a value: a response, or a [`Write`].
//! `replication::PolicyStore` commits the write with a compare-and-swap against the same policy, and repeats the
//! decision after a conflict. A decision therefore still holds when it is written.
//!
//! ```text
//! caller -> route -> endpoint (existence, role, If-Match, body) -> change, validated on the policy -> Decided
//! ```

mod accounts;
pub mod audit;
mod body;
pub(crate) mod body_buffer;
mod caller;
mod ceiling;
mod context;
mod dry_run;
mod etag;
mod growth;
mod keys;
mod may;
mod me;
mod members;
#[cfg(feature = "schema")]
pub mod openapi;
mod organizations;
mod page;
mod preview;
pub(crate) mod problem;
mod route;
mod secret;
mod self_service;
mod teams;
mod usage;
mod view;
pub(crate) mod warnings;

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
pub(crate) use context::no_content;

use serde_json::Value;

use audit::EntryKind;
use caller::Caller;
use context::RequestContext;
use growth::Growth;
use problem::Problem;
use route::{Endpoint, EndpointMatch, HttpMethod};

use crate::collections::held_bytes::HeldLease;
use crate::config::GatewayConfig;
use crate::counters::{CounterStore, RecordKey};
use crate::fleet::{FleetNow, Row};
use crate::http::local_response::LocalResponse;
use crate::json::out_of_line::shown;
use crate::policy::{Change, Policy};
use crate::secret::{api_key, redact};
use crate::time::Now;

/// A management request, its body whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdminRequest {
    /// HTTP method.
    pub method: String,
    /// Path below the configured prefix, without the query: `/teams/search`.
    pub path: String,
    /// Query string without `?`.
    pub query: String,
    /// Token of `Authorization: Bearer`, unmodified.
    pub token: Option<String>,
    /// User id from a JWT that the host has verified. Never taken from a header.
    pub subject: Option<String>,
    /// `If-Match`, all lines joined.
    pub if_match: Option<String>,
    /// `If-None-Match`, all lines joined.
    pub if_none_match: Option<String>,
    /// `Content-Type`, unmodified.
    pub content_type: Option<String>,
    /// The body.
    pub body: Vec<u8>,
    /// True for a request of the readiness endpoint, which has no path of the API and needs no caller.
    pub readiness: bool,
    /// The bytes that the request counts for while it is held.
    pub held: HeldLease,
}

/// The outcome of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminDecision {
    /// Send this response.
    Answer(LocalResponse),
    /// Commit this change, and send its response once it is stored.
    Write(Write),
    /// Send the response of this change, and do not commit it.
    Preview(Write),
    /// Send this page of the audit log ([`audit::page`]).
    Audit(audit::AuditQuery),
    /// Read the rows of these principals, whose slices have these names, and decide again with
    /// [`CountersRead::Rows`].
    Rows(Vec<RecordKey>),
    /// Give back the slices of shared counters, and answer 204.
    Drain,
    /// Send the facts about this gateway.
    Gateway {
        /// True if the caller may read all of them.
        details: bool,
    },
}

/// A change to be stored, with the response for success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The change. Validated: the policy has no errors after it.
    pub change: Change,
    /// The response once the change is stored.
    pub response: LocalResponse,
    /// The records that the change creates.
    growth: Growth,
}

impl Write {
    /// Counts the created records. Called once the change is stored.
    pub fn count<C: CounterStore>(&self, store: &mut C, prefix: &str) {
        self.growth.count(store, prefix);
    }
}

/// The outcome of a request, with its audit entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// The outcome.
    pub outcome: AdminDecision,
    /// The audit entry; `None` for reads and unauthenticated requests. The entry of an [`AdminDecision::Write`] is
    /// stored together with the change, or not at all.
    pub entry: Option<audit::AuditEntry>,
}

/// Time, randomness and durability for one decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestInputs {
    /// The current time.
    pub now: Now,
    /// Random bytes from the host's secure generator, fresh for each decision.
    pub random: [u8; 48],
    /// Lifetime of stored changes.
    pub durability: Durability,
    /// The counters of limits and budgets.
    pub counters: CountersRead,
}

/// The counters that a request for usage reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CountersRead {
    /// The records of this process.
    #[default]
    Own,
    /// Rows that a fleet shares, which are to be read first: the decision is [`AdminDecision::Rows`].
    Shared,
    /// The rows that were read, with the names of their slices, and the fleet's time.
    Rows(Vec<(RecordKey, Row)>, FleetNow),
}

/// Lifetime of stored changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Changes outlast the process: they are in etcd.
    Durable,
    /// Changes are lost with the process, and the operator accepts that for keys (`volatile_keys`).
    Volatile,
    /// Changes are lost with the process. Creating keys is rejected with 503.
    No,
}

impl Durability {
    /// Returns the name in responses.
    pub fn name(self) -> &'static str {
        match self {
            Durability::Durable => "durable",
            Durability::Volatile => "volatile",
            Durability::No => "not_kept",
        }
    }
}

/// Decides a management request against the current policy. Changes are applied to the policy to validate them,
/// and undone before this returns.
pub fn decide<C: CounterStore>(
    policy: &mut Policy,
    config: &GatewayConfig,
    store: &mut C,
    request: &AdminRequest,
    inputs: &RequestInputs,
) -> Decided {
    let caller = match Caller::sign_in(policy, request) {
        Ok(caller) => caller,
        Err(problem) => {
            return Decided {
                outcome: AdminDecision::Answer(finish(request, problem.response())),
                entry: None,
            };
        }
    };
    let path_prefix = config.admin.as_ref().map_or("", |admin| &admin.prefix);
    let mut context = RequestContext {
        policy,
        request,
        inputs,
        caller,
        path_prefix,
        organization: None,
        before: None,
        after: None,
    };
    let dry_run = dry_run::is_requested(request);
    let is_dry_run = dry_run.as_ref().is_ok_and(|dry_run| *dry_run);
    let decided = route::find(&request.method, &request.path)
        .and_then(|found| dry_run.map(|_| found))
        .and_then(|found| dispatch(&mut context, store, config, &found))
        .and_then(|outcome| {
            if is_dry_run && outcome == AdminDecision::Drain {
                return Ok(AdminDecision::Answer(no_content()));
            }
            let AdminDecision::Write(mut write) = outcome else { return Ok(outcome) };
            let (log, changed) = (context.log_name(), (&*context.policy, &write.change));
            write.growth = Growth::of(store, &config.prefix, changed, log, inputs)?;
            if is_dry_run {
                dry_run::remove_secret(&mut write.response);
                return Ok(AdminDecision::Preview(write));
            }
            Ok(AdminDecision::Write(write))
        });
    let has_succeeded = decided.is_ok();
    let reason = decided.as_ref().err().map(|problem| problem.code);
    let outcome = match decided {
        Ok(AdminDecision::Answer(response)) => AdminDecision::Answer(finish(request, response)),
        Ok(other) => other,
        Err(problem) => {
            let mut response = problem.response();
            let is_secret = |word: &[u8]| context.policy.contains_secret(&api_key::digest(word));
            if let Cow::Owned(body) = redact::without_known(&response.body, is_secret) {
                response.body = body;
            }
            AdminDecision::Answer(finish(request, response))
        }
    };
    let status = match &outcome {
        AdminDecision::Answer(response) => response.status,
        AdminDecision::Write(write) | AdminDecision::Preview(write) => write.response.status,
        AdminDecision::Audit(_) | AdminDecision::Rows(_) | AdminDecision::Gateway { .. } => 200,
        AdminDecision::Drain => 204,
    };
    let kind = match &outcome {
        AdminDecision::Write(_) => EntryKind::Change,
        AdminDecision::Answer(_)
        | AdminDecision::Preview(_)
        | AdminDecision::Audit(_)
        | AdminDecision::Rows(_)
        | AdminDecision::Drain
        | AdminDecision::Gateway { .. } => EntryKind::Attempt,
    };
    if kind == EntryKind::Attempt {
        (context.before, context.after) = (None, None);
    }
    let organization = context.audit_organization(kind);
    let query = if is_dry_run { dry_run::QUERY } else { "" };
    // Reads and dry runs without a refusal are not recorded.
    let is_unrecorded = is_read(request) || is_dry_run && has_succeeded;
    let entry = (!is_unrecorded).then(|| audit::AuditEntry {
        kind,
        time: inputs.now.timestamp(),
        organization: organization.as_ref().map(|(id, _)| id.clone()),
        organization_created: organization.and_then(|(_, created)| created),
        actor: context.caller.id.clone(),
        action: action(context.policy, request) + query,
        status,
        reason: reason.map(ToString::to_string),
        before: context.before.take(),
        after: context.after.take(),
    });
    Decided { outcome, entry }
}

/// The method and the path of a request, redacted.
fn action(policy: &Policy, request: &AdminRequest) -> String {
    let is_secret = |segment: &[u8]| policy.contains_secret(&api_key::digest(segment));
    let method: String = request.method.chars().take(MAX_METHOD).collect();
    format!("{} {}", redact::redact(&method, MAX_METHOD), redact::path(&request.path, is_secret))
}

/// The most characters of a method that are recorded. No usual one is longer.
const MAX_METHOD: usize = 9;

/// Calls the handler of the endpoint.
fn dispatch<C: CounterStore>(
    context: &mut RequestContext<'_>,
    store: &mut C,
    config: &GatewayConfig,
    found: &EndpointMatch,
) -> Result<AdminDecision, Problem> {
    use HttpMethod::{Delete, Patch, Post, Put};
    let [one, two] = &found.ids;
    context.set_organization(found.endpoint, one);
    match (found.endpoint, found.method) {
        (Endpoint::Gateway, _) => me::gateway(context),
        (Endpoint::Me, _) => me::show(context),
        (Endpoint::MyUsage, _) => usage::of_caller(context, store, config),
        (Endpoint::Targets, _) => me::targets(context),
        (Endpoint::Organizations, Post) => organizations::create(context),
        (Endpoint::Organizations, _) => organizations::list(context),
        (Endpoint::Organization, Patch) => organizations::update(context, one),
        (Endpoint::Organization, Delete) => organizations::remove(context, one),
        (Endpoint::Organization, _) => organizations::show(context, one),
        (Endpoint::OrganizationUsage, _) => usage::of_organization(context, store, config, one),
        (Endpoint::OrganizationMembers, _) => members::of_organization(context, one),
        (Endpoint::OrganizationMember, Put) => members::put_in_organization(context, one, two),
        (Endpoint::OrganizationMember, Delete) => members::remove_from_organization(context, one, two),
        (Endpoint::OrganizationMember, _) => members::show_in_organization(context, one, two),
        (Endpoint::OrganizationTeams, Post) => teams::create(context, one),
        (Endpoint::OrganizationTeams, _) => organizations::teams(context, one),
        (Endpoint::Team, Patch) => teams::update(context, one),
        (Endpoint::Team, Delete) => teams::remove(context, one),
        (Endpoint::Team, _) => teams::show(context, one),
        (Endpoint::TeamAccess, Put) => preview::put(context, one),
        (Endpoint::TeamAccess, _) => preview::show(context, one),
        (Endpoint::TeamSelfService, Put) => teams::put_self_service(context, one),
        (Endpoint::TeamSelfService, _) => teams::show_self_service(context, one),
        (Endpoint::TeamMembers, _) => members::of_team(context, one),
        (Endpoint::TeamMember, Put) => members::put_in_team(context, one, two),
        (Endpoint::TeamMember, Delete) => members::remove_from_team(context, one, two),
        (Endpoint::TeamMember, _) => members::show_in_team(context, one, two),
        (Endpoint::TeamMemberUsage, _) => usage::of_member(context, store, config, one, two),
        (Endpoint::ServiceAccounts, _) => accounts::list(context, one),
        (Endpoint::ServiceAccount, Put) => accounts::put(context, one, two),
        (Endpoint::ServiceAccount, Delete) => accounts::remove(context, one, two),
        (Endpoint::ServiceAccount, _) => accounts::show(context, one, two),
        (Endpoint::TeamKeys, Post) => keys::create(context, one),
        (Endpoint::TeamKeys, _) => keys::list(context, one),
        (Endpoint::TeamUsage, _) => usage::of_team(context, store, config, one),
        (Endpoint::Key, Patch) => keys::update(context, one),
        (Endpoint::Key, Delete) => keys::remove(context, one),
        (Endpoint::Key, _) => keys::show(context, one),
        (Endpoint::KeyRotation, _) => keys::rotate(context, one),
        (Endpoint::KeyUsage, _) => usage::of_key(context, store, config, one),
        (Endpoint::Audit, _) => audit::show(context),
        (Endpoint::Drain, _) => me::drain(context),
    }
}

fn is_read(request: &AdminRequest) -> bool {
    matches!(request.method.as_str(), "GET" | "HEAD" | "OPTIONS" | "TRACE")
}

/// Drops the body of a response to `HEAD`.
fn finish(request: &AdminRequest, mut response: LocalResponse) -> LocalResponse {
    if request.method == "HEAD" {
        response.body.clear();
    }
    response
}

/// Builds a response with a JSON body that caches must not store.
pub(crate) fn json_response(status: u16, body: &Value) -> LocalResponse {
    let fields = Vec::from([
        ("content-type", "application/json".to_string()),
        ("cache-control", "no-store".to_string()),
    ]);
    LocalResponse { status, fields, body: shown(body) }
}
