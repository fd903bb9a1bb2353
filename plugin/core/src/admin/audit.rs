//! The audit: who attempted what, and what became of it.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::{Value, json};

use super::AdminDecision;
use super::caller::{Permission, Resource};
use super::context::{RequestContext, not_allowed};
use super::page::{self, parameters};
use super::problem::Problem;
use super::{Response, answer};
use crate::json::out_of_line::object;
use crate::policy::OrganizationId;
use crate::time::{Timestamp, parse_rfc3339, rfc3339};

/// Entries that are kept for each organization.
pub const KEPT: usize = 1_000;

/// One attempt of somebody signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// When.
    pub time: Timestamp,
    /// The organization it concerned; `None`: the platform as a whole.
    pub organization: Option<String>,
    /// The user who asked.
    pub actor: String,
    /// What was attempted: method and path, such as `PATCH /teams/search`.
    pub action: String,
    /// HTTP status of the answer.
    pub status: u16,
    /// The code of the refusal, where it was one.
    pub reason: Option<String>,
    /// The resource before; never a digest.
    pub before: Option<Value>,
    /// The resource after; never a digest, never a secret.
    pub after: Option<Value>,
}

/// Which entries are asked for, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditQuery {
    /// Whose; `None`: the platform's own.
    pub organization: Option<String>,
    /// Only entries older than the one of this name, which an earlier page gave as `next`.
    pub after: Option<String>,
    /// How many at most.
    pub limit: usize,
}

impl AuditEntry {
    /// As it is kept and shown.
    pub fn to_json(&self) -> Value {
        let mut entry = self.line();
        if let Some(fields) = entry.as_object_mut() {
            fields.insert("before".into(), self.before.clone().unwrap_or_default());
            fields.insert("after".into(), self.after.clone().unwrap_or_default());
        }
        entry
    }

    /// As a log has it: without before and after.
    pub fn line(&self) -> Value {
        object!({
            "time": rfc3339(self.time),
            "organization": self.organization,
            "actor": self.actor,
            "action": self.action,
            "status": self.status,
            "reason": self.reason,
        })
    }

    /// Reads what [`Entry::to_json`] wrote; `None` where it is something else.
    pub fn from_json(json: &Value) -> Option<AuditEntry> {
        let text = |field: &str| json.get(field)?.as_str().map(ToString::to_string);
        let some = |field: &str| json.get(field).filter(|value| !value.is_null()).cloned();
        Some(AuditEntry {
            time: parse_rfc3339(&text("time")?)?,
            organization: text("organization"),
            actor: text("actor")?,
            action: text("action")?,
            status: u16::try_from(json.get("status")?.as_u64()?).ok()?,
            reason: text("reason"),
            before: some("before"),
            after: some("after"),
        })
    }
}

/// The answer with these entries, newest first, each with its name in the store. `next`: what an `after` must be
/// for the page behind them, if there is one.
pub fn page(entries: &[(String, AuditEntry)], next: Option<&str>) -> Response {
    let items = entries.iter().map(|(name, entry)| {
        let mut item = entry.to_json();
        if let Some(fields) = item.as_object_mut() {
            fields.insert("id".into(), json!(name));
        }
        item
    });
    answer(200, &object!({ "items": items.collect::<Vec<Value>>(), "next": next }))
}

/// `GET /audit`: of the organization the query names, or of the only one that can be meant.
pub(super) fn show(context: &mut RequestContext<'_>) -> Result<AdminDecision, Problem> {
    let [organization, limit, after] = parameters(context.request, ["organization", "limit", "after"])?;
    let limit = page::size(limit)?;
    let after = page::name(after)?;
    let organization = match organization {
        Some(id) => {
            let ix = context.organization(&id)?;
            context.need(Permission::ReadAudit, Resource::Organization(ix))?;
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
            let detail = format!("You can read several: name one as `{}`.", "?organization=ID");
            Err(page::wrong("organization", detail))
        }
    }
}
