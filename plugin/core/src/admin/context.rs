//! What all endpoints work with: the policy, who asks, and how a change comes to be.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};

use serde_json::Value;

use super::AdminDecision;
use super::body::INVALID;
use super::caller::{Caller, Permission, Resource};
use super::etag::{etag, require_match, require_no_match};
use super::problem::Problem;
use super::route::Endpoint;
use super::{AdminRequest, RequestInputs, Response, Write, answer, is_read};
use crate::json::out_of_line::text;
use crate::policy::diagnostic::pointer;
use crate::policy::load::value::Id;
use crate::policy::{Change, KeyId, OrganizationId, Policy, Section, TeamId};

/// What a request is decided with.
pub(super) struct RequestContext<'a> {
    /// As it is now.
    pub policy: &'a mut Policy,
    /// The request.
    pub request: &'a AdminRequest,
    /// Its circumstances.
    pub inputs: &'a RequestInputs,
    /// Who asks.
    pub caller: Caller,
    /// What the API's paths begin with.
    pub paths: &'a str,
    /// The organization it concerns, once that is known: whose audit keeps it.
    pub organization: Option<Box<str>>,
    /// The thing before the change, for the audit.
    pub before: Option<Value>,
    /// And after it.
    pub after: Option<Value>,
}

/// A representation with its entity tag.
pub(super) struct Representation {
    /// What is shown.
    pub body: Value,
    /// Its tag.
    pub etag: String,
}

impl Representation {
    /// Something shown that says all there is to know about its version.
    pub fn new(body: Value) -> Self {
        let etag = etag([text(&body).as_str()]);
        Representation { body, etag }
    }

    /// Something shown that leaves out parts of the record it rests on.
    pub fn of_record(body: Value, record: &Value) -> Self {
        let etag = etag([text(&body).as_str(), text(record).as_str()]);
        Representation { body, etag }
    }

    /// The answer that shows it.
    #[inline(never)]
    pub fn response(&self, status: u16) -> Response {
        let mut response = answer(status, &self.body);
        response.fields.push(("etag", self.etag.clone()));
        response
    }
}

impl RequestContext<'_> {
    /// Notes whose audit keeps the attempt, as far as the path says: what is refused before its record is looked up
    /// is kept there, too.
    pub fn note(&mut self, place: Endpoint, id: &str) {
        // One that is not there has no audit.
        match place.section() {
            Some(Section::Organizations) => drop(self.organization(id)),
            Some(Section::Teams) => drop(self.team(id)),
            Some(Section::Keys) => drop(self.key(id)),
            _ => {}
        }
    }

    /// An organization by its id.
    pub fn organization(&mut self, id: &str) -> Result<OrganizationId, Problem> {
        let known = self.policy.organizations.find(id).map(OrganizationId);
        let ix = known.filter(|ix| self.policy.organizations.get(ix.0).is_some());
        let ix = ix.ok_or_else(|| Problem::not_found("organization", id))?;
        self.organization = Some(id.into());
        Ok(ix)
    }

    /// A team by its id, and its organization.
    pub fn team(&mut self, id: &str) -> Result<(TeamId, OrganizationId), Problem> {
        let known = self.policy.teams.find(id).map(TeamId);
        let found = known.and_then(|ix| Some((ix, self.policy.teams.get(ix.0)?.organization)));
        let (ix, organization) = found.ok_or_else(|| Problem::not_found("team", id))?;
        self.organization = Some(self.policy.organizations.name(organization.0).into());
        Ok((ix, organization))
    }

    /// A key by its id, and its team.
    pub fn key(&mut self, id: &str) -> Result<(KeyId, TeamId), Problem> {
        let known = self.policy.keys.find(id).map(KeyId);
        let found = known.and_then(|ix| Some((ix, self.policy.keys.get(ix.0)?.team)));
        let (ix, team) = found.ok_or_else(|| Problem::not_found("key", id))?;
        let organization = self.policy.teams.get(team.0).map(|team| team.organization);
        self.organization =
            organization.map(|organization| self.policy.organizations.name(organization.0).into());
        Ok((ix, team))
    }

    /// Whether the signed-in have a right.
    pub fn may(&self, right: Permission, over: Resource) -> bool {
        self.caller.may(self.policy, right, over)
    }

    /// Goes on if they have it.
    #[inline(never)]
    pub fn need(&self, right: Permission, over: Resource) -> Result<(), Problem> {
        if self.may(right, over) { Ok(()) } else { Err(not_allowed(right)) }
    }

    /// Goes on if `If-Match` and, before something is written, `If-None-Match` allow it. `current`: what stands at the
    /// path now.
    pub fn require_match(&self, current: Option<&Representation>) -> Result<(), Problem> {
        let current = current.map(|shown| shown.etag.as_str());
        require_match(self.request.if_match.as_deref(), current)?;
        match is_read(self.request) {
            // Nobody keeps what is read (`no-store`), so there is nothing to be spared.
            true => Ok(()),
            false => require_no_match(self.request.if_none_match.as_deref(), current),
        }
    }

    /// Decides a change: the policy holds it up against all it touches and is left as it was.
    ///
    /// `own` is the place in the policy that the body describes. `subject` shows what the audit keeps, before and
    /// after; `show` makes the answer. Both see the policy as it will be.
    pub fn change(
        &mut self,
        change: &Change,
        own: &[&str],
        subject: &dyn Fn(&Policy) -> Option<Value>,
        show: &dyn Fn(&Policy, &Caller) -> Response,
    ) -> Result<AdminDecision, Problem> {
        let own = pointer("", own);
        self.policy
            .try_change(change)
            .map_err(|diagnostics| Problem::of_findings(INVALID, diagnostics, &own))?;
        let undo = as_it_stands(self.policy, change);
        let before = subject(self.policy);
        self.policy.apply(change).map_err(|diagnostics| Problem::of_findings(INVALID, diagnostics, &own))?;
        let kept = as_it_stands(self.policy, change);
        self.before = before;
        self.after = subject(self.policy);
        let response = show(self.policy, &self.caller);
        if self.policy.apply(&undo).is_err() {
            return Err(Problem::new(
                500,
                "internal",
                "The change could not be tried out. Nothing was changed.",
            ));
        }
        // What changes nothing is not written: it holds already.
        Ok(if kept == undo {
            AdminDecision::Answer(response)
        } else {
            AdminDecision::Write(Write { change: kept, response })
        })
    }
}

/// The records that a change names, as they are.
fn as_it_stands(policy: &Policy, change: &Change) -> Change {
    let mut now = Change::default();
    for edit in &change.edits {
        match policy.record(edit.section, &edit.id) {
            Some(record) => now.put(edit.section, &edit.id, record),
            None => now.remove(edit.section, &edit.id),
        }
    }
    now
}

/// 204, as a removal is answered.
pub(super) fn removed() -> Response {
    Response {
        status: 204,
        fields: alloc::vec![("cache-control", "no-store".to_string())],
        body: String::new(),
    }
}

/// The id that something new is to have.
pub(super) fn new_id(body: &mut super::body::Members) -> Result<Box<str>, Problem> {
    let missing = || Problem::at(INVALID, "/id", "`id` is missing: choose the id it is to have.");
    let node = super::body::take(body, "id").ok_or_else(missing)?;
    Ok(super::body::read_at::<Id>("id", node, INVALID)?.0)
}

/// Goes on if an id is free.
pub(super) fn require_free(policy: &Policy, section: Section, kind: &str, id: &str) -> Result<(), Problem> {
    match policy.record(section, id) {
        None => Ok(()),
        Some(_) => {
            let mut problem =
                Problem::at("already_exists", "/id", format!("`{id}` is taken by another {kind}."));
            problem.status = 409;
            Err(problem)
        }
    }
}

/// 403: the role is missing.
pub(super) fn not_allowed(right: Permission) -> Problem {
    let what = match right {
        Permission::Read => "read this",
        Permission::ReadSelfService => "read this team's self-service policy",
        Permission::ReadKeys => "read this team's keys",
        Permission::ReadUsage => "read what was used here",
        Permission::ReadAudit => "read this audit",
        Permission::OwnKeys => "create keys in this team",
        Permission::ManageTeam => "change this team",
        Permission::ManageOrganization => "change this organization's members and teams",
        Permission::ManageOwners => "give or take the role of an owner of this organization",
        Permission::SetCeiling => "change organizations or what they grant",
    };
    Problem::new(403, "not_allowed", format!("Your roles do not let you {what}."))
}
