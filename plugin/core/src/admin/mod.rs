//! The management API under `/tollgate/v1`: who asks, what they may do, and what is to be written.
//!
//! A request is decided on the policy as it is now, and answers with values: a response, or a [`Write`] that
//! [`crate::replication::Keeper`] commits against just that policy - and asks again if somebody else was faster. So what was
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

use caller::Who;
use context::{Desk, Reply};
use problem::Problem;
use route::{Found, Method, Place};

use crate::config::Gateway;
use crate::counters::Cells;
use crate::json::out_of_line::text;
use crate::policy::{Change, Policy};
use crate::time::Now;

/// A management request, its body whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
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

/// An answer of the management API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Fields besides content-length; content-type is among them where there is a body.
    pub fields: Vec<(&'static str, String)>,
    /// JSON, or empty.
    pub body: String,
}

/// What a request comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// This answer, now.
    Answer(Response),
    /// Commit this, and give its answer only once it is kept.
    Write(Write),
    /// Answer with this page of the audit ([`audit::page`]).
    Audit(audit::Query),
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
    pub outcome: Outcome,
    /// `None` for reads and for strangers. Of a [`Outcome::Write`] it is kept with the change, or not at all.
    pub entry: Option<audit::Entry>,
}

/// The circumstances of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The time.
    pub now: Now,
    /// From the host's generator for secrets, fresh for each decision.
    pub random: [u8; 48],
    /// Whether what is written outlasts the process.
    pub keeps: Keeps,
}

/// How long what is written lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// Longer than the process: it is in a fleet's etcd.
    Durable,
    /// As long as this process, and its operator agreed to that for keys too (`volatile_keys`).
    Volatile,
    /// As long as this process: making keys is refused with 503.
    No,
}

/// Decides a management request on the policy as it is. The policy is changed only to try a change out, and is as
/// before afterwards.
pub fn decide<C: Cells>(
    policy: &mut Policy,
    gateway: &Gateway,
    cells: &mut C,
    request: &Request,
    asked: &Asked,
) -> Decided {
    let who = match Who::sign_in(policy, request) {
        // Somebody has the token by now.
        Ok(_) if request.unread => {
            let response = Problem::contended().response();
            return Decided { outcome: Outcome::Answer(finish(request, response)), entry: None };
        }
        Ok(who) => who,
        Err(problem) => {
            return Decided { outcome: Outcome::Answer(finish(request, problem.response())), entry: None };
        }
    };
    let paths = gateway.manage.as_ref().map_or("", |manage| &manage.prefix);
    let mut desk = Desk { policy, request, asked, who, paths, organization: None, before: None, after: None };
    let decided = route::find(&request.method, &request.path)
        .and_then(|found| dispatch(&mut desk, cells, &gateway.prefix, &found));
    let reason = decided.as_ref().err().map(|problem| problem.code);
    let outcome = match decided {
        Ok(Reply::Answer(response)) => Outcome::Answer(finish(request, response)),
        Ok(Reply::Write(write)) => Outcome::Write(write),
        Ok(Reply::Audit(query)) => Outcome::Audit(query),
        Err(problem) => Outcome::Answer(finish(request, problem.response())),
    };
    let status = match &outcome {
        Outcome::Answer(response) => response.status,
        Outcome::Write(write) => write.response.status,
        Outcome::Audit(_) => 200,
    };
    let entry = (!is_read(request)).then(|| audit::Entry {
        time: asked.now.timestamp(),
        organization: desk.organization.as_deref().map(ToString::to_string),
        actor: desk.who.id.clone(),
        action: format!("{} {}", problem::shown(&request.method), problem::shown_path(&request.path)),
        status,
        reason: reason.map(ToString::to_string),
        before: desk.before.take(),
        after: desk.after.take(),
    });
    Decided { outcome, entry }
}

/// The endpoints.
fn dispatch<C: Cells>(
    desk: &mut Desk<'_>,
    cells: &mut C,
    cell_prefix: &str,
    found: &Found,
) -> Result<Reply, Problem> {
    use Method::{Delete, Patch, Post, Put};
    let [one, two] = &found.ids;
    desk.note(found.place, one);
    match (found.place, found.method) {
        (Place::Me, _) => me::show(desk),
        (Place::Targets, _) => me::targets(desk),
        (Place::Organizations, Post) => organizations::create(desk),
        (Place::Organizations, _) => organizations::list(desk),
        (Place::Organization, Patch) => organizations::update(desk, one),
        (Place::Organization, Delete) => organizations::remove(desk, one),
        (Place::Organization, _) => organizations::show(desk, one),
        (Place::OrganizationUsage, _) => usage::of_organization(desk, cells, cell_prefix, one),
        (Place::OrganizationMembers, _) => members::of_organization(desk, one),
        (Place::OrganizationMember, Put) => members::put_in_organization(desk, one, two),
        (Place::OrganizationMember, Delete) => members::remove_from_organization(desk, one, two),
        (Place::OrganizationMember, _) => members::show_in_organization(desk, one, two),
        (Place::OrganizationTeams, Post) => teams::create(desk, one),
        (Place::OrganizationTeams, _) => organizations::teams(desk, one),
        (Place::Team, Patch) => teams::update(desk, one),
        (Place::Team, Delete) => teams::remove(desk, one),
        (Place::Team, _) => teams::show(desk, one),
        (Place::TeamAccess, Put) => preview::put(desk, one),
        (Place::TeamAccess, _) => preview::show(desk, one),
        (Place::TeamSelfService, Put) => teams::put_self_service(desk, one),
        (Place::TeamSelfService, _) => teams::show_self_service(desk, one),
        (Place::TeamMembers, _) => members::of_team(desk, one),
        (Place::TeamMember, Put) => members::put_in_team(desk, one, two),
        (Place::TeamMember, Delete) => members::remove_from_team(desk, one, two),
        (Place::TeamMember, _) => members::show_in_team(desk, one, two),
        (Place::ServiceAccounts, _) => accounts::list(desk, one),
        (Place::ServiceAccount, Put) => accounts::put(desk, one, two),
        (Place::ServiceAccount, Delete) => accounts::remove(desk, one, two),
        (Place::ServiceAccount, _) => accounts::show(desk, one, two),
        (Place::TeamKeys, Post) => keys::create(desk, one),
        (Place::TeamKeys, _) => keys::list(desk, one),
        (Place::TeamUsage, _) => usage::of_team(desk, cells, cell_prefix, one),
        (Place::Key, Patch) => keys::update(desk, one),
        (Place::Key, Delete) => keys::remove(desk, one),
        (Place::Key, _) => keys::show(desk, one),
        (Place::KeyRotation, _) => keys::rotate(desk, one),
        (Place::KeyUsage, _) => usage::of_key(desk, cells, cell_prefix, one),
        (Place::Audit, _) => audit::show(desk),
    }
}

fn is_read(request: &Request) -> bool {
    matches!(request.method.as_str(), "GET" | "HEAD" | "OPTIONS" | "TRACE")
}

/// What `HEAD` asks for is the head.
fn finish(request: &Request, mut response: Response) -> Response {
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
