//! The context shared by all endpoints: policy, caller, preconditions and validation of changes.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::num::NonZeroU64;

use serde_json::Value;

use super::AdminDecision;
use super::audit::EntryKind;
use super::body::INVALID;
use super::caller::{Caller, Permission, Resource};
use super::etag::{etag, require_match, require_no_match};
use super::growth::Growth;
use super::problem::Problem;
use super::route::Endpoint;
use super::{AdminRequest, RequestInputs, Write, is_read, json_response};
use crate::http::local_response::LocalResponse;
use crate::json::node::Node;
use crate::json::out_of_line::text;
use crate::policy::diagnostic::{Diagnostic, Diagnostics, pointer};
use crate::policy::load::value::{FromNode, Id};
use crate::policy::{Change, Created, Edit, KeyId, OrganizationId, Owner, Policy, Section, TeamId, instance};

/// The inputs of a decision, and the audit data collected on the way.
pub(super) struct RequestContext<'a> {
    /// The current policy.
    pub policy: &'a mut Policy,
    /// The request.
    pub request: &'a AdminRequest,
    /// Time, randomness and durability.
    pub inputs: &'a RequestInputs,
    /// The authenticated caller.
    pub caller: Caller,
    /// Path prefix of the API.
    pub path_prefix: &'a str,
    /// Id of the organization whose audit log records the attempt, once known.
    pub organization: Option<Box<str>>,
    /// The resource before the change, for the audit log.
    pub before: Option<Value>,
    /// The resource after the change, for the audit log.
    pub after: Option<Value>,
}

/// A representation with its entity tag.
pub(super) struct Representation {
    /// The JSON body.
    pub body: Value,
    /// The entity tag.
    pub etag: String,
}

impl Representation {
    /// Creates a representation. Its entity tag depends on its body only, and reveals nothing about omitted parts.
    pub(super) fn new(body: Value) -> Self {
        let etag = etag(&text(&body));
        Representation { body, etag }
    }

    /// Builds the response with this body and entity tag.
    #[inline(never)]
    pub(super) fn response(&self, status: u16) -> LocalResponse {
        let mut response = json_response(status, &self.body);
        response.fields.push(("etag", self.etag.clone()));
        response
    }
}

impl RequestContext<'_> {
    /// Finds the organization whose audit log records the attempt, from the path alone. Also covers requests that are
    /// rejected before the endpoint looks up its record.
    pub(super) fn set_organization(&mut self, endpoint: Endpoint, id: &str) {
        // A missing record leaves the attempt in the platform's log.
        match endpoint.section() {
            Some(Section::Organizations) => drop(self.organization(id)),
            Some(Section::Teams) => drop(self.team(id)),
            Some(Section::Keys) => drop(self.key(id)),
            _ => {}
        }
    }

    /// Returns the organization whose audit log gets the entry; `None` for the platform's. Callers without a
    /// role in an organization do not write to its log, and one that was not created has none.
    pub(super) fn audit_organization(&self, kind: EntryKind) -> Option<(String, Created)> {
        let id = self.organization.as_deref()?;
        let known = self.policy.organizations.find(id).map(OrganizationId);
        let is_insider = self.caller.platform_admin
            || known.is_some_and(|ix| self.caller.organization_role(self.policy, ix).is_some());
        let created = match known.and_then(|ix| self.policy.organizations.get(ix.0)) {
            Some(organization) => organization.created,
            None if kind == EntryKind::Change => created_at(self.inputs),
            None => return None,
        };
        is_insider.then(|| (id.to_string(), created))
    }

    /// Returns the name of the log of the organization in which the request creates records; `None` for the platform's,
    /// which also counts the organizations.
    pub(super) fn log_name(&self) -> Option<String> {
        let (id, created) = self.audit_organization(EntryKind::Attempt)?;
        Some(instance(&id, created).into_owned())
    }

    /// Finds an organization by id. One that the caller may not read is not found.
    pub(super) fn organization(&mut self, id: &str) -> Result<OrganizationId, Problem> {
        let known = self.policy.organizations.find(id).map(OrganizationId);
        let ix = known.filter(|ix| self.policy.organizations.get(ix.0).is_some());
        self.organization = ix.map(|_| id.into());
        let ix = ix.filter(|ix| self.may(Permission::Read, Resource::Organization(*ix)));
        ix.ok_or_else(|| Problem::not_found("organization", id))
    }

    /// Finds a team by id, with its organization. One that the caller may not read is not found.
    pub(super) fn team(&mut self, id: &str) -> Result<(TeamId, OrganizationId), Problem> {
        let known = self.policy.teams.find(id).map(TeamId);
        let found = known.and_then(|ix| Some((ix, self.policy.teams.get(ix.0)?.organization)));
        self.organization =
            found.map(|(_, organization)| self.policy.organizations.name(organization.0).into());
        let found = found.filter(|(ix, _)| self.may(Permission::Read, Resource::Team(*ix)));
        found.ok_or_else(|| Problem::not_found("team", id))
    }

    /// Finds a key by id, with its team. One of which the caller may read neither the record nor the usage is not found.
    pub(super) fn key(&mut self, id: &str) -> Result<(KeyId, TeamId), Problem> {
        let known = self.policy.keys.find(id).map(KeyId);
        let found = known.and_then(|ix| Some((ix, self.policy.keys.get(ix.0)?.team)));
        let organization = found.and_then(|(_, team)| Some(self.policy.teams.get(team.0)?.organization));
        self.organization =
            organization.map(|organization| self.policy.organizations.name(organization.0).into());
        let found = found.filter(|(ix, team)| {
            let resource = Resource::Team(*team);
            self.may(Permission::ReadKeys, resource)
                || self.may(Permission::ReadUsage, resource)
                || self.is_own(*ix, *team)
        });
        found.ok_or_else(|| Problem::not_found("key", id))
    }

    /// Returns true if the caller owns the key, and has a role in its team that holds keys.
    pub(super) fn is_own(&self, key: KeyId, team: TeamId) -> bool {
        let owner = self.policy.keys.get(key.0).map(|key| key.owner);
        owner == Some(Owner::User(self.caller.user)) && self.may(Permission::OwnKeys, Resource::Team(team))
    }

    /// Returns true if the caller has the permission.
    pub(super) fn may(&self, permission: Permission, resource: Resource) -> bool {
        self.caller.may(self.policy, permission, resource)
    }

    /// Fails with 403 if the caller lacks the permission.
    #[inline(never)]
    pub(super) fn require(&self, permission: Permission, resource: Resource) -> Result<(), Problem> {
        if self.may(permission, resource) { Ok(()) } else { Err(not_allowed(permission)) }
    }

    /// Checks `If-Match` and, for writes, `If-None-Match` against the current representation.
    pub(super) fn require_match(&self, current: Option<&Representation>) -> Result<(), Problem> {
        let current = current.map(|current| current.etag.as_str());
        require_match(self.request.if_match.as_deref(), current)?;
        match is_read(self.request) {
            // Responses are `no-store`, so no client revalidates a cached copy.
            true => Ok(()),
            false => require_no_match(self.request.if_none_match.as_deref(), current),
        }
    }

    /// Gives each new record the number that tells it from earlier ones of its id. Existing records keep theirs.
    ///
    /// # Errors
    /// 400 if the body has another number.
    fn with_created(&self, change: &Change) -> Result<Change, Problem> {
        let mut change = change.clone();
        for Edit { section, id, record, basis: _ } in &mut change.edits {
            let Some(fields) = record.as_mut().and_then(Value::as_object_mut) else { continue };
            let created = match self.policy.record(*section, id) {
                Some(current) => current.get("created").cloned(),
                None if *section == Section::Targets => continue,
                None => created_at(self.inputs).map(|created| created.get().into()),
            };
            let sent = fields.remove("created");
            if sent.is_some() && sent != created {
                return Err(Problem::at(INVALID, "/created", "`created` cannot be changed."));
            }
            fields.extend(created.map(|created| ("created".to_string(), created)));
        }
        Ok(change)
    }

    /// Reads the record that a body describes.
    ///
    /// # Errors
    /// 400 with every fault of the record, those against other records included.
    pub(super) fn read_record<T: FromNode>(
        &mut self,
        section: Section,
        id: &str,
        record: &Node,
    ) -> Result<T, Problem> {
        let mut report = Diagnostics::default();
        let within = |report: &mut Diagnostics| report.within(id, |report| T::read(record.clone(), report));
        let read = report.within(section.name(), within);
        if let Some(read) = read
            && !report.has_errors()
        {
            return Ok(read);
        }
        let mut change = Change::default();
        change.put(section, id, super::body::to_json(record));
        let mut diagnostics = report.finish();
        let others = self.policy.try_change(&change).err().unwrap_or_default();
        let is_new = |other: &Diagnostic| !diagnostics.iter().any(|known| known.pointer == other.pointer);
        let others: Vec<Diagnostic> = others.into_iter().filter(is_new).collect();
        diagnostics.extend(others);
        Err(Problem::from_diagnostics(INVALID, diagnostics, &pointer("", &[section.name(), id])))
    }

    /// Validates a change against the policy and leaves the policy unchanged.
    ///
    /// `own` is the path in the policy that the body describes. `subject` returns the resource for the audit log,
    /// before and after the change; `show` builds the response from the changed policy.
    pub(super) fn change(
        &mut self,
        change: &Change,
        own: &[&str],
        subject: &dyn Fn(&Policy) -> Option<Value>,
        show: &dyn Fn(&Policy, &Caller) -> LocalResponse,
    ) -> Result<AdminDecision, Problem> {
        let own = pointer("", own);
        let change = &self.with_created(change)?;
        self.policy
            .try_change(change)
            .map_err(|diagnostics| Problem::from_diagnostics(INVALID, diagnostics, &own))?;
        let undo = current_records(self.policy, change);
        let before = subject(self.policy);
        self.policy
            .apply(change)
            .map_err(|diagnostics| Problem::from_diagnostics(INVALID, diagnostics, &own))?;
        let normalized = current_records(self.policy, change);
        self.before = before;
        self.after = subject(self.policy);
        let response = show(self.policy, &self.caller);
        if self.policy.apply(&undo).is_err() {
            return Err(Problem::new(
                500,
                "internal",
                "The change could not be validated. Nothing was changed.",
            ));
        }
        // A change without effect is not written.
        Ok(if normalized == undo {
            AdminDecision::Answer(response)
        } else {
            AdminDecision::Write(Write { change: normalized, response, growth: Growth::default() })
        })
    }
}

/// Returns the number of a record that this request creates.
fn created_at(inputs: &RequestInputs) -> Created {
    NonZeroU64::new(inputs.now.timestamp().0)
}

/// Returns a change that sets the records named by `change` to their current content.
fn current_records(policy: &Policy, change: &Change) -> Change {
    let mut current = Change::default();
    for edit in &change.edits {
        match policy.record(edit.section, &edit.id) {
            Some(record) => current.put(edit.section, &edit.id, record),
            None => current.remove(edit.section, &edit.id),
        }
    }
    current
}

/// Builds the 204 response to a deletion, and to the preparation of a planned stop.
pub(crate) fn no_content() -> LocalResponse {
    LocalResponse {
        status: 204,
        fields: alloc::vec![("cache-control", "no-store".to_string())],
        body: String::new(),
    }
}

/// Takes the id of a new resource from the body.
pub(super) fn new_id(body: &mut super::body::Members) -> Result<Box<str>, Problem> {
    let missing = || Problem::at(INVALID, "/id", "`id` is missing: choose an id.");
    let node = super::body::take(body, "id").ok_or_else(missing)?;
    Ok(super::body::read_at::<Id>("id", node, INVALID)?.0)
}

/// Fails with 409 if the id is taken.
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

/// Builds the 403 for a missing permission.
pub(super) fn not_allowed(permission: Permission) -> Problem {
    let action = match permission {
        Permission::Read => "read this",
        Permission::ReadSelfService => "read this team's self-service policy",
        Permission::ReadKeys => "read this team's keys",
        Permission::ReadUsage => "read this usage",
        Permission::ReadAudit => "read this audit log",
        Permission::OwnKeys => "create keys in this team",
        Permission::ManageTeam => "change this team",
        Permission::ManageOrganization => "change this organization's members and teams",
        Permission::ManageOwners => "grant or revoke the owner role of this organization",
        Permission::SetCeiling => "change organizations or what they grant",
    };
    Problem::new(403, "not_allowed", format!("Your roles do not allow you to {action}."))
}
