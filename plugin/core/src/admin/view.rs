//! Representations of records in responses and in the audit log.

use alloc::string::ToString;

use serde_json::{Map, Value};

use super::caller::{Caller, Permission, Resource};
use super::context::Representation;
use super::may;
use crate::json::out_of_line::object;
use crate::policy::access::role_of;
use crate::policy::{Policy, Section, TeamId, UserId};

/// Removes digests, which are never shown.
pub(super) fn without_digests(mut record: Value) -> Value {
    if let Some(fields) = record.as_object_mut() {
        fields.remove("tokens");
        fields.remove("digest");
        if let Some(previous) = fields.get_mut("previous").and_then(Value::as_object_mut) {
            previous.remove("digest");
        }
    }
    record
}

/// Returns a record for the audit log.
#[inline(never)]
pub(super) fn audited(policy: &Policy, section: Section, id: &str) -> Option<Value> {
    policy.record(section, id).map(without_digests)
}

/// Returns an organization for a caller.
pub(super) fn organization(policy: &Policy, caller: &Caller, id: &str) -> Representation {
    shown(policy, Section::Organizations, id, may::on_organization(policy, caller, id))
}

/// Returns a key for a caller.
pub(super) fn key(policy: &Policy, caller: &Caller, id: &str) -> Representation {
    shown(policy, Section::Keys, id, may::on_key(policy, caller, id))
}

fn shown(policy: &Policy, section: Section, id: &str, may: Value) -> Representation {
    let Representation { mut body, .. } = record(policy, section, id);
    if let Some(fields) = body.as_object_mut() {
        fields.insert("may".into(), may);
    }
    Representation::new(body)
}

/// Returns a record with its id.
pub(super) fn record(policy: &Policy, section: Section, id: &str) -> Representation {
    let record = policy.record(section, id).unwrap_or_default();
    Representation::new(with_id(without_digests(record), id))
}

/// Returns a team for a caller. Only callers with [`Permission::ReadSelfService`] see the self-service policy.
pub(super) fn team(policy: &Policy, caller: &Caller, id: &str) -> Representation {
    let record = policy.record(Section::Teams, id).unwrap_or_default();
    let mut body = with_id(record, id);
    let resource = policy.teams.find(id).map(|position| Resource::Team(TeamId(position)));
    let sees_all = resource.is_some_and(|resource| caller.may(policy, Permission::ReadSelfService, resource));
    if let (Some(fields), false) = (body.as_object_mut(), sees_all) {
        fields.remove("self_service");
    }
    if let Some(fields) = body.as_object_mut() {
        fields.insert("may".into(), may::on_team(policy, caller, id));
    }
    Representation::new(body)
}

/// Returns a member; `None` if the user is not a member.
pub(super) fn member<R: Copy>(
    policy: &Policy,
    members: &[(UserId, R)],
    user: UserId,
    name: fn(&R) -> &'static str,
) -> Option<Value> {
    let role = role_of(members, user)?;
    let record = policy.users.get(user.0)?;
    Some(object!({ "user": &*record.id, "name": record.name, "role": name(&role) }))
}

#[allow(clippy::wildcard_enum_match_arm, reason = "every other JSON type has no members")]
fn with_id(record: Value, id: &str) -> Value {
    let mut fields = match record {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    fields.insert("id".into(), id.to_string().into());
    Value::Object(fields)
}
