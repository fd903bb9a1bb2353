//! The management API under `/tollgate/v1`: who asks, what they may do, and what is to be written.
//!
//! A request is decided on the policy as it is now, and answers with values: a response, or a [`Write`] that
//! [`crate::replication::PolicyStore`] commits against just that policy - and asks again if somebody else was faster. So what was
//! decided holds when it is written, whoever else writes.
//!
//! ```text
//! who -> route -> (the endpoint: existence, role, If-Match, body) -> the change, tried out on the policy -> Decided
//! ```

mod accounts;
pub mod audit;
mod body;
pub mod body_buffer;
mod caller;
mod context;
mod etag;
mod keys;
mod me;
mod members;
#[cfg(feature = "schema")]
pub mod openapi;
mod organizations;
mod page;
mod preview;
pub mod problem;
mod route;
mod secret;
mod self_service;
mod teams;
mod usage;
mod view;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::Value;

use caller::Caller;
use context::RequestContext;
use problem::Problem;
use route::{Endpoint, EndpointMatch, HttpMethod};

use crate::config::GatewayConfig;
use crate::counters::CounterStore;
pub use crate::http::local_response::LocalResponse as Response;
use crate::json::out_of_line::text;
use crate::policy::{Change, Policy};
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
    /// What followed `Authorization: Bearer`, as it was sent.
    pub token: Option<String>,
    /// A user's id by a JWT that the host itself has verified. Never from a header.
    pub subject: Option<String>,
    /// `If-Match`: all lines of it.
    pub if_match: Option<String>,
    /// `If-None-Match`: all lines of it.
    pub if_none_match: Option<String>,
    /// `Content-Type`, as it was sent.
    pub content_type: Option<String>,
    /// The body.
    pub body: Vec<u8>,
    /// The body was not waited for, since nobody has the token: all that can be said is that.
    pub unread: bool,
}

/// What a request comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminDecision {
    /// This answer, now.
    Answer(Response),
    /// Commit this, and give its answer only once it is kept.
    Write(Write),
    /// Answer with this page of the audit ([`audit::page`]).
    Audit(audit::AuditQuery),
}

/// Something to be written, and the answer once it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Checked: it leaves the policy without errors.
    pub change: Change,
    /// For when it is kept.
    pub response: Response,
}

/// What a request comes to, and what the audit keeps of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// What is to be done.
    pub outcome: AdminDecision,
    /// `None` for reads and for strangers. Of a [`Outcome::Write`] it is kept with the change, or not at all.
    pub entry: Option<audit::AuditEntry>,
}

/// The circumstances of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestInputs {
    /// The time.
    pub now: Now,
    /// From the host's generator for secrets, fresh for each decision.
    pub random: [u8; 48],
    /// Whether what is written outlasts the process.
    pub keeps: Durability,
}

/// How long what is written lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Longer than the process: it is in a fleet's etcd.
    Durable,
    /// As long as this process, and its operator agreed to that for keys too (`volatile_keys`).
    Volatile,
    /// As long as this process: making keys is refused with 503.
    No,
}

/// Decides a management request on the policy as it is. The policy is changed only to try a change out, and is as
/// before afterwards.
pub fn decide<C: CounterStore>(
    policy: &mut Policy,
    gateway: &GatewayConfig,
    store: &mut C,
    request: &AdminRequest,
    inputs: &RequestInputs,
) -> Decided {
    let caller = match Caller::sign_in(policy, request) {
        // Somebody has the token by now.
        Ok(_) if request.unread => {
            let response = Problem::contended().response();
            return Decided { outcome: AdminDecision::Answer(finish(request, response)), entry: None };
        }
        Ok(caller) => caller,
        Err(problem) => {
            return Decided {
                outcome: AdminDecision::Answer(finish(request, problem.response())),
                entry: None,
            };
        }
    };
    let paths = gateway.admin.as_ref().map_or("", |manage| &manage.prefix);
    let mut context = RequestContext {
        policy,
        request,
        inputs: inputs,
        caller: caller,
        paths,
        organization: None,
        before: None,
        after: None,
    };
    let decided = route::find(&request.method, &request.path)
        .and_then(|found| dispatch(&mut context, store, &gateway.prefix, &found));
    let reason = decided.as_ref().err().map(|problem| problem.code);
    let outcome = match decided {
        Ok(AdminDecision::Answer(response)) => AdminDecision::Answer(finish(request, response)),
        Ok(other) => other,
        Err(problem) => AdminDecision::Answer(finish(request, problem.response())),
    };
    let status = match &outcome {
        AdminDecision::Answer(response) => response.status,
        AdminDecision::Write(write) => write.response.status,
        AdminDecision::Audit(_) => 200,
    };
    let entry = (!is_read(request)).then(|| audit::AuditEntry {
        time: inputs.now.timestamp(),
        organization: context.organization.as_deref().map(ToString::to_string),
        actor: context.caller.id.clone(),
        action: format!("{} {}", problem::shown(&request.method), problem::shown_path(&request.path)),
        status,
        reason: reason.map(ToString::to_string),
        before: context.before.take(),
        after: context.after.take(),
    });
    Decided { outcome, entry }
}

/// The endpoints.
fn dispatch<C: CounterStore>(
    context: &mut RequestContext<'_>,
    store: &mut C,
    cell_prefix: &str,
    found: &EndpointMatch,
) -> Result<AdminDecision, Problem> {
    use HttpMethod::{Delete, Patch, Post, Put};
    let [one, two] = &found.ids;
    context.note(found.place, one);
    match (found.place, found.method) {
        (Endpoint::Me, _) => me::show(context),
        (Endpoint::Targets, _) => me::targets(context),
        (Endpoint::Organizations, Post) => organizations::create(context),
        (Endpoint::Organizations, _) => organizations::list(context),
        (Endpoint::Organization, Patch) => organizations::update(context, one),
        (Endpoint::Organization, Delete) => organizations::remove(context, one),
        (Endpoint::Organization, _) => organizations::show(context, one),
        (Endpoint::OrganizationUsage, _) => usage::of_organization(context, store, cell_prefix, one),
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
        (Endpoint::ServiceAccounts, _) => accounts::list(context, one),
        (Endpoint::ServiceAccount, Put) => accounts::put(context, one, two),
        (Endpoint::ServiceAccount, Delete) => accounts::remove(context, one, two),
        (Endpoint::ServiceAccount, _) => accounts::show(context, one, two),
        (Endpoint::TeamKeys, Post) => keys::create(context, one),
        (Endpoint::TeamKeys, _) => keys::list(context, one),
        (Endpoint::TeamUsage, _) => usage::of_team(context, store, cell_prefix, one),
        (Endpoint::Key, Patch) => keys::update(context, one),
        (Endpoint::Key, Delete) => keys::remove(context, one),
        (Endpoint::Key, _) => keys::show(context, one),
        (Endpoint::KeyRotation, _) => keys::rotate(context, one),
        (Endpoint::KeyUsage, _) => usage::of_key(context, store, cell_prefix, one),
        (Endpoint::Audit, _) => audit::show(context),
    }
}

fn is_read(request: &AdminRequest) -> bool {
    matches!(request.method.as_str(), "GET" | "HEAD" | "OPTIONS" | "TRACE")
}

/// What `HEAD` asks for is the head.
fn finish(request: &AdminRequest, mut response: Response) -> Response {
    if request.method == "HEAD" {
        response.body.clear();
    }
    response
}

/// An answer with a JSON body, which nobody on the way is to keep.
fn answer(status: u16, body: &Value) -> Response {
    let fields = Vec::from([
        ("content-type", "application/json".to_string()),
        ("cache-control", "no-store".to_string()),
    ]);
    Response { status, fields, body: text(body) }
}
