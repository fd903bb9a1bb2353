//! `/keys` and `/teams/{id}/keys`. A secret is returned once, in the response that created it.

use alloc::format;
use alloc::string::{String, ToString};

use serde_json::{Value, json};

use super::AdminDecision;
use super::body::{self, INVALID, Members, take, take_fixed};
use super::caller::{Permission, Resource};
use super::context::{RequestContext, no_content, not_allowed};
use super::page::{PageQuery, no_parameters};
use super::problem::Problem;
use super::{Durability, RequestInputs, secret, self_service, view};
use crate::http::local_response::LocalResponse;
use crate::json::node::Node;
use crate::json::out_of_line::object;
use crate::policy::load::record::record;
use crate::policy::load::records::KeyRecord;
use crate::policy::load::value::{DateTime, DisplayText, Small};
use crate::policy::{Change, KeyId, Owner, Section, TeamId};
use crate::secret::api_key;
use crate::time::{Timestamp, rfc3339};

/// Maximum grace period of a rotated secret in seconds: one week.
pub(super) const MAX_GRACE_SECONDS: u32 = 7 * 86_400;

record! {
    /// Options of a rotation.
    RotationBody {
        /// Seconds for which the old secret stays valid; 0 if left out.
        grace_seconds: Small,
        /// `true`: ends the grace period of an earlier rotation. Without it, a rotation within that period is refused.
        end_previous: bool,
    }
}

/// Fields allowed in the body of a new key. The others are generated.
pub(super) const WRITABLE_FIELDS: &[&str] =
    &["name", "owner", "access", "limits", "budget", "expires_at", "state"];

/// `GET /teams/{id}/keys`. A developer sees only their own.
pub(super) fn list(context: &mut RequestContext<'_>, team: &str) -> Result<AdminDecision, Problem> {
    let page = PageQuery::from_request(context.request)?;
    let (ix, _) = context.team(team)?;
    let all = context.may(Permission::ReadKeys, Resource::Team(ix));
    if !all && !context.may(Permission::OwnKeys, Resource::Team(ix)) {
        return Err(not_allowed(Permission::ReadKeys));
    }
    let policy = &*context.policy;
    let mine = Owner::User(context.caller.user);
    let keys = policy.keys_of(ix).filter(|(_, key)| all || key.owner == mine);
    let ids = keys.map(|(_, key)| &*key.id).collect();
    Ok(AdminDecision::Answer(page.of(ids, &|id| view::key(policy, &context.caller, id).body)))
}

/// `POST /teams/{id}/keys`: by a team admin for any member, or through self-service.
pub(super) fn create(context: &mut RequestContext<'_>, team: &str) -> Result<AdminDecision, Problem> {
    no_parameters(context.request)?;
    let mut requested = body::object(context.request)?;
    take_fixed(&mut requested, &[("team", team)])?;
    body::only(&requested, WRITABLE_FIELDS)?;
    let name = name(&mut requested)?;
    let (ix, _) = context.team(team)?;
    let by_admin = context.may(Permission::ManageTeam, Resource::Team(ix));
    if !by_admin {
        context.require(Permission::OwnKeys, Resource::Team(ix))?;
    }
    context.require_match(None)?;
    let new = NewSecret::new(context.inputs);
    let mut record = Members::from([
        ("team".to_string(), Node::String(team.to_string())),
        ("name".to_string(), Node::String(name.to_string())),
    ]);
    new.add_to(&mut record);
    if by_admin {
        add_any(context, ix, requested, (&new.id, &mut record))?;
    } else {
        self_service::grant(context, ix, requested, &new.id, &mut record)?;
    }
    require_durability(context.inputs)?;
    if context.policy.record(Section::Keys, &new.id).is_some() {
        return Err(Problem::new(503, "try_again", "The generated id is already taken. Try again."));
    }
    let mut change = Change::default();
    change.put(Section::Keys, &new.id, body::object_json(&record));
    let (id, location) = (new.id.clone(), format!("{}/keys/{}", context.path_prefix, new.id));
    context.change(
        &change,
        &["keys", &id],
        &|policy| view::audited(policy, Section::Keys, &id),
        &|policy, caller| {
            let mut response = with_secret(view::key(policy, caller, &id).body, &new);
            response.fields.push(("location", location.clone()));
            response
        },
    )
}

/// Adds the fields requested by a team admin, who may set every writable field of a key.
fn add_any(
    context: &mut RequestContext<'_>,
    team: TeamId,
    mut requested: Members,
    (id, record): (&str, &mut Members),
) -> Result<(), Problem> {
    let is_member = context.caller.team_role(context.policy, team).is_some();
    if is_member && !requested.iter().any(|(name, _)| name == "owner") {
        requested.push(("owner".into(), Node::String(format!("user/{}", context.caller.id))));
    }
    record.append(&mut requested);
    let typed: KeyRecord = context.read_record(Section::Keys, id, &Node::Object(record.clone()))?;
    require_future(context.inputs, typed.expires_at)
}

/// `GET /keys/{id}`
pub(super) fn show(context: &mut RequestContext<'_>, id: &str) -> Result<AdminDecision, Problem> {
    no_parameters(context.request)?;
    let (ix, team) = context.key(id)?;
    require_for_key(context, ix, team, Permission::ReadKeys)?;
    let representation = view::key(context.policy, &context.caller, id);
    context.require_match(Some(&representation))?;
    Ok(AdminDecision::Answer(representation.response(200)))
}

/// `PATCH /keys/{id}`: for team admins only, so that developers cannot exceed the self-service policy.
pub(super) fn update(context: &mut RequestContext<'_>, id: &str) -> Result<AdminDecision, Problem> {
    no_parameters(context.request)?;
    let (_, team) = context.key(id)?;
    context.require(Permission::ManageTeam, Resource::Team(team))?;
    let shown = view::key(context.policy, &context.caller, id);
    context.require_match(Some(&shown))?;
    let mut patch = body::object(context.request)?;
    body::take_equal(&mut patch, &shown.body, &["may"])?;
    let record = context.policy.record(Section::Keys, id).unwrap_or_default();
    let text = |field: &str| record.get(field).and_then(Value::as_str).unwrap_or_default().to_string();
    let fixed =
        [("id", id.to_string()), ("team", text("team")), ("owner", text("owner")), ("hint", text("hint"))];
    for (field, value) in &fixed {
        take_fixed(&mut patch, &[(field, value)])?;
    }
    body::take_equal(&mut patch, &record, &["created", "self_service"])?;
    body::only(&patch, WRITABLE_FIELDS)?;
    let expiry_changes = patch.iter().any(|(name, _)| name == "expires_at");
    let merged = body::merge(Node::from(&record), patch);
    let typed: KeyRecord = context.read_record(Section::Keys, id, &merged)?;
    if expiry_changes {
        require_future(context.inputs, typed.expires_at)?;
    }
    let mut change = Change::default();
    change.put(Section::Keys, id, body::to_json(&merged));
    context.change(
        &change,
        &["keys", id],
        &|policy| view::audited(policy, Section::Keys, id),
        &|policy, caller| view::key(policy, caller, id).response(200),
    )
}

/// `DELETE /keys/{id}`: revokes the key.
pub(super) fn remove(context: &mut RequestContext<'_>, id: &str) -> Result<AdminDecision, Problem> {
    no_parameters(context.request)?;
    let (ix, team) = context.key(id)?;
    require_for_key(context, ix, team, Permission::ManageTeam)?;
    context.require_match(Some(&view::key(context.policy, &context.caller, id)))?;
    let mut change = Change::default();
    change.remove(Section::Keys, id);
    context.change(&change, &["keys", id], &|policy| view::audited(policy, Section::Keys, id), &|_, _| {
        no_content()
    })
}

/// `POST /keys/{id}/rotate`: replaces the secret. Id, access, limits and counters stay.
pub(super) fn rotate(context: &mut RequestContext<'_>, id: &str) -> Result<AdminDecision, Problem> {
    no_parameters(context.request)?;
    let (ix, team) = context.key(id)?;
    require_for_key(context, ix, team, Permission::ManageTeam)?;
    context.require_match(Some(&view::key(context.policy, &context.caller, id)))?;
    let body = body::object_or_nothing(context.request)?;
    let RotationBody { grace_seconds, end_previous } = body::read(body, INVALID)?;
    let grace = grace_seconds.map_or(0, |seconds| seconds.0);
    if grace > MAX_GRACE_SECONDS {
        let detail = format!("The old secret can stay valid for at most {MAX_GRACE_SECONDS} seconds.");
        return Err(Problem::at(INVALID, "/grace_seconds", detail));
    }
    let key = context.policy.keys.get(ix.0);
    let previous = key.and_then(|key| key.more.as_ref()?.previous);
    if let Some((_, until)) = previous.filter(|(_, until)| context.inputs.now.timestamp() < *until)
        && end_previous != Some(true)
    {
        let detail = format!(
            "The secret before the last rotation works until {}, and this rotation would end it. Send \
             `\"end_previous\": true` to do that.",
            rfc3339(until)
        );
        return Err(Problem::new(409, "previous_in_use", detail));
    }
    require_durability(context.inputs)?;
    let new = NewSecret::of(id, context.inputs);
    let mut record = context.policy.record(Section::Keys, id).unwrap_or_default();
    if let Some(fields) = record.as_object_mut() {
        let old = fields.insert("digest".into(), json!(new.digest()));
        fields.insert("hint".into(), json!(new.hint()));
        fields.remove("previous");
        if grace > 0 {
            let now = context.inputs.now.timestamp().0;
            let until = Timestamp(now.saturating_add(u64::from(grace).saturating_mul(1_000)));
            fields.insert("previous".into(), object!({ "digest": old, "until": rfc3339(until) }));
        }
    }
    let mut change = Change::default();
    change.put(Section::Keys, id, record);
    context.change(
        &change,
        &["keys", id],
        &|policy| view::audited(policy, Section::Keys, id),
        &|policy, caller| with_secret(view::key(policy, caller, id).body, &new),
    )
}

/// Fails with 403 unless the caller has the permission on all keys of the team, or is a developer and owns the key.
pub(super) fn require_for_key(
    context: &RequestContext<'_>,
    key: KeyId,
    team: TeamId,
    permission: Permission,
) -> Result<(), Problem> {
    if context.is_own(key, team) { Ok(()) } else { context.require(permission, Resource::Team(team)) }
}

/// Fails if the expiry has passed: the key would never work.
pub(super) fn require_future(inputs: &RequestInputs, expires_at: Option<DateTime>) -> Result<(), Problem> {
    match expires_at {
        Some(end) if end.0 <= inputs.now.timestamp() => {
            Err(Problem::at("invalid_expiry", "/expires_at", "`expires_at` is not in the future."))
        }
        _ => Ok(()),
    }
}

/// Fails with 503 if the key would be lost with the process and the operator has not accepted that.
fn require_durability(inputs: &RequestInputs) -> Result<(), Problem> {
    match inputs.durability {
        Durability::Durable | Durability::Volatile => Ok(()),
        Durability::No => Err(Problem::new(
            503,
            "keys_not_kept",
            "This gateway cannot store keys durably: they would be lost with its process. Its operator can \
             configure a `fleet`, run `tollgate serve` with `--data`, or accept the loss with `volatile_keys`.",
        )),
    }
}

/// Takes the name, which must not be blank (row 2 of the table in `admin/README.md`).
fn name(requested: &mut Members) -> Result<String, Problem> {
    let missing =
        || Problem::at("name_required", "/name", "`name` is missing: describe the purpose of the key.");
    let node = take(requested, "name").ok_or_else(missing)?;
    if matches!(&node, Node::String(text) if text.trim().is_empty()) {
        return Err(missing());
    }
    Ok(body::read_at::<DisplayText>("name", node, "name_required")?.0.to_string())
}

/// A new secret with the id of its key.
struct NewSecret {
    id: String,
    secret: String,
}

impl NewSecret {
    fn new(inputs: &RequestInputs) -> Self {
        NewSecret::of(&secret::id(inputs), inputs)
    }

    fn of(id: &str, inputs: &RequestInputs) -> Self {
        NewSecret { id: id.to_string(), secret: secret::key(id, inputs) }
    }

    fn digest(&self) -> String {
        api_key::format_digest(&api_key::digest(self.secret.as_bytes()))
    }

    /// Returns the last four characters: part of the checksum only, and enough for humans to tell keys apart.
    fn hint(&self) -> &str {
        self.secret.get(self.secret.len().saturating_sub(4)..).unwrap_or_default()
    }

    fn add_to(&self, record: &mut Members) {
        record.push(("digest".into(), Node::String(self.digest())));
        record.push(("hint".into(), Node::String(self.hint().to_string())));
    }
}

fn with_secret(mut body: Value, new: &NewSecret) -> LocalResponse {
    if let Some(fields) = body.as_object_mut() {
        fields.insert("secret".into(), json!(new.secret));
    }
    super::json_response(201, &body)
}
