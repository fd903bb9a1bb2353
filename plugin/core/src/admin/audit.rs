//! The audit log: every write attempt of an authenticated user, with its result.

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
use crate::http::local_response::LocalResponse;
use crate::json::out_of_line::object;
use crate::policy::OrganizationId;
use crate::time::{Timestamp, parse_rfc3339, rfc3339};

/// The number of entries stored for each organization.
pub const MAX_ENTRIES: usize = 1_000;

/// One write attempt of an authenticated user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Time of the attempt.
    pub time: Timestamp,
    /// Id of the organization; `None` for the platform as a whole.
    pub organization: Option<String>,
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
    /// Id of the organization; `None` for the platform's own log.
    pub organization: Option<String>,
    /// Return only entries older than the one with this name, the `next` of the previous page.
    pub after: Option<String>,
    /// Maximum number of entries.
    pub limit: usize,
}

impl AuditEntry {
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
        Some(AuditEntry {
            time: parse_rfc3339(&text("time")?)?,
            organization: text("organization"),
            actor: text("actor")?,
            action: text("action")?,
            status: u16::try_from(json.get("status")?.as_u64()?).ok()?,
            reason: text("reason"),
            before: non_null("before"),
            after: non_null("after"),
        })
    }
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
    let [organization, limit, after] = parameters(context.request, ["organization", "limit", "after"])?;
    let limit = page::parse_limit(limit)?;
    let after = page::parse_after(after)?;
    let organization = match organization {
        Some(id) => {
            let ix = context.organization(&id)?;
            context.require(Permission::ReadAudit, Resource::Organization(ix))?;
            Some(id)
        }
        None if context.caller.platform_admin => None,
        None => Some(only_organization(context)?),
    };
    Ok(AdminDecision::Audit(AuditQuery { organization, after, limit }))
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
