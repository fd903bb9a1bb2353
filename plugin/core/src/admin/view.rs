//! What is shown of each record, and to whom.

use alloc::string::ToString;

use serde_json::{Map, Value};

use super::caller::{Caller, Permission, Resource};
use super::context::Representation;
use crate::json::out_of_line::object;
use crate::policy::access::role_of;
use crate::policy::{Policy, Section, TeamId, UserId};

/// A record without what nobody is shown: digests.
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

/// A record as the audit keeps it.
#[inline(never)]
pub(super) fn kept(policy: &Policy, section: Section, id: &str) -> Option<Value> {
    policy.record(section, id).map(without_digests)
}

/// Any record, with its id.
pub(super) fn record(policy: &Policy, section: Section, id: &str) -> Representation {
    let record = policy.record(section, id).unwrap_or_default();
    Representation::of_record(with_id(without_digests(record.clone()), id), &record)
}

/// A team, for somebody: the self-service policy is for its admins and above.
pub(super) fn team(policy: &Policy, caller: &Caller, id: &str) -> Representation {
    let record = policy.record(Section::Teams, id).unwrap_or_default();
    let mut body = with_id(record.clone(), id);
    let over = policy.teams.find(id).map(|position| Resource::Team(TeamId(position)));
    let sees_all = over.is_some_and(|over| caller.may(policy, Permission::ReadSelfService, over));
    if let (Some(fields), false) = (body.as_object_mut(), sees_all) {
        fields.remove("self_service");
    }
    Representation::of_record(body, &record)
}

/// A member, if the user is one.
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

fn with_id(record: Value, id: &str) -> Value {
    let mut fields = match record {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    fields.insert("id".into(), id.to_string().into());
    Value::Object(fields)
}
