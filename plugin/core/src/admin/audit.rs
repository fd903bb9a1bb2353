//! The audit log: every write attempt of an authenticated user, with its result.
//!
//! Changes and attempts without effect are stored apart, so that attempts never remove the record of a change. An
//! attempt of a caller without a role in an organization belongs to the platform's log.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::{Value, json};

use super::AdminDecision;
use super::caller::{Permission, Resource};
use super::context::{RequestContext, not_allowed};
use super::json_response;
use super::page::{self, parameters};
use super::problem::Problem;
use crate::collections::shares::Shares;
use crate::collections::sort::sort_by_key;
use crate::http::local_response::LocalResponse;
use crate::json::out_of_line::object;
use crate::policy::{Created, OrganizationId, instance};
use crate::time::{Timestamp, parse_rfc3339, rfc3339};

/// The number of changes stored for each organization.
pub const MAX_ENTRIES: usize = 1_000;

/// The number of changes of one actor among them.
pub const MAX_ENTRIES_OF_ACTOR: usize = 250;

/// The bounds of the record of changes.
pub(crate) const CHANGES: Shares = Shares { per_actor: MAX_ENTRIES_OF_ACTOR, in_sum: MAX_ENTRIES };

/// The kind of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A change that was stored.
    Change,
    /// An attempt that changed nothing: it was rejected, or had no effect.
    Attempt,
}

impl EntryKind {
    /// All kinds.
    const ALL: [EntryKind; 2] = [EntryKind::Change, EntryKind::Attempt];

    /// Returns the name in queries and entries.
    pub fn name(self) -> &'static str {
        match self {
            EntryKind::Change => "change",
            EntryKind::Attempt => "attempt",
        }
    }

    fn named(name: &str) -> Option<EntryKind> {
        EntryKind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// One write attempt of an authenticated user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Kind of the entry.
    pub kind: EntryKind,
    /// Time of the attempt.
    pub time: Timestamp,
    /// Id of the organization; `None` for the platform as a whole.
    pub organization: Option<String>,
    /// Number that tells the organization from an earlier one of the same id. Part of the log's name, and not stored.
    pub organization_created: Created,
    /// Id of the user.
    pub actor: String,
    /// Method and path, such as `PATCH /teams/search`.
    pub action: String,
    /// HTTP status of the response.
    pub status: u16,
    /// Error code, if the attempt was rejected.
    pub reason: Option<String>,
    /// The resource before the change, without digests.
    pub before: Option<Value>,
    /// The resource after the change, without digests and secrets.
    pub after: Option<Value>,
}

/// A query for entries, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditQuery {
    /// Name of the organization's log; `None` for the platform's own log.
    pub organization: Option<String>,
    /// Return only entries older than the one with this name, the `next` of the previous page.
    pub after: Option<String>,
    /// Maximum number of entries.
    pub limit: usize,
    /// Return only entries of this kind.
    pub kind: Option<EntryKind>,
}

impl AuditEntry {
    /// Returns the name of the log that gets the entry; `None` for the platform's own. An organization does not inherit the
    /// log of an earlier one of the same id.
    pub fn log_name(&self) -> Option<Cow<'_, str>> {
        Some(instance(self.organization.as_deref()?, self.organization_created))
    }

    /// Returns the JSON that is stored and shown.
    pub fn to_json(&self) -> Value {
        let mut entry = self.log_fields();
        if let Some(fields) = entry.as_object_mut() {
            fields.insert("before".into(), self.before.clone().unwrap_or_default());
            fields.insert("after".into(), self.after.clone().unwrap_or_default());
        }
        entry
    }

    /// Returns the JSON for the log: without `before` and `after`.
    pub fn log_fields(&self) -> Value {
        object!({
            "kind": self.kind.name(),
            "time": rfc3339(self.time),
            "organization": self.organization,
            "actor": self.actor,
            "action": self.action,
            "status": self.status,
            "reason": self.reason,
        })
    }

    /// Reads the output of [`AuditEntry::to_json`]; `None` if malformed.
    pub fn from_json(json: &Value) -> Option<AuditEntry> {
        let text = |field: &str| json.get(field)?.as_str().map(ToString::to_string);
        let non_null = |field: &str| json.get(field).filter(|value| !value.is_null()).cloned();
        let status = u16::try_from(json.get("status")?.as_u64()?).ok()?;
        // Earlier versions stored no kind.
        let by_status = if status < 400 { EntryKind::Change } else { EntryKind::Attempt };
        Some(AuditEntry {
            kind: text("kind").map_or(Some(by_status), |kind| EntryKind::named(&kind))?,
            time: parse_rfc3339(&text("time")?)?,
            organization: text("organization"),
            organization_created: None,
            actor: text("actor")?,
            action: text("action")?,
            status,
            reason: text("reason"),
            before: non_null("before"),
            after: non_null("after"),
        })
    }
}

impl AuditQuery {
    /// Returns true if the page has entries of this kind.
    pub(crate) fn selects(&self, kind: EntryKind) -> bool {
        self.kind.is_none_or(|only| only == kind)
    }
}

/// Merges the entries of both kinds, given by name. `changes` are those of the page if there were no attempts, and `more`
/// is true if older ones follow; `attempts` are all of them. Returns the page, newest first, and true if older entries
/// follow.
pub(crate) fn merge(
    mut changes: Vec<(String, String)>,
    more: bool,
    attempts: impl IntoIterator<Item = (String, String)>,
    query: &AuditQuery,
) -> (Vec<(String, String)>, bool) {
    let older = |name: &String| query.after.as_ref().is_none_or(|after| name < after);
    changes.extend(attempts.into_iter().filter(|(name, _)| older(name)));
    sort_by_key(&mut changes, |(name, _)| name.clone());
    changes.reverse();
    let more = more || changes.len() > query.limit;
    changes.truncate(query.limit);
    (changes, more)
}

/// Builds a page of entries, newest first, each with its name in the store. `next` is the `after` of the next page,
/// if there is one.
pub fn page(entries: &[(String, AuditEntry)], next: Option<&str>) -> LocalResponse {
    let items = entries.iter().map(|(name, entry)| {
        let mut item = entry.to_json();
        if let Some(fields) = item.as_object_mut() {
            fields.insert("id".into(), json!(name));
        }
        item
    });
    json_response(200, &object!({ "items": items.collect::<Vec<Value>>(), "next": next }))
}

/// `GET /audit`. Without `organization` in the query: the platform's log for platform administrators, otherwise that
/// of the only organization whose log the caller may read.
pub(super) fn show(context: &mut RequestContext<'_>) -> Result<AdminDecision, Problem> {
    let [organization, limit, after, kind] =
        parameters(context.request, ["organization", "limit", "after", "kind"])?;
    let limit = page::parse_limit(limit)?;
    let after = page::parse_after(after)?;
    let kind = kind.map(|kind| EntryKind::named(&kind).ok_or_else(invalid_kind)).transpose()?;
    let organization = match organization {
        Some(id) => {
            let ix = context.organization(&id)?;
            context.require(Permission::ReadAudit, Resource::Organization(ix))?;
            Some(id)
        }
        None if context.caller.platform_admin => None,
        None => Some(only_organization(context)?),
    };
    let organization = organization.map(|id| {
        let found =
            context.policy.organizations.find(&id).and_then(|ix| context.policy.organizations.get(ix));
        instance(&id, found.and_then(|organization| organization.created)).into_owned()
    });
    Ok(AdminDecision::Audit(AuditQuery { organization, after, limit, kind }))
}

fn invalid_kind() -> Problem {
    page::invalid_parameter("kind", "`kind` must be `change` or `attempt`.".into())
}

fn only_organization(context: &RequestContext<'_>) -> Result<String, Problem> {
    let policy = &*context.policy;
    let mut readable = policy.organizations.iter().filter(|(position, ..)| {
        context.caller.may(policy, Permission::ReadAudit, Resource::Organization(OrganizationId(*position)))
    });
    match (readable.next(), readable.next()) {
        (Some((_, id, _)), None) => Ok(id.to_string()),
        (None, _) => Err(not_allowed(Permission::ReadAudit)),
        (Some(_), Some(_)) => {
            let detail = format!(
                "You can read the audit logs of several organizations. Select one with `{}`.",
                "?organization=ID"
            );
            Err(page::invalid_parameter("organization", detail))
        }
    }
}
