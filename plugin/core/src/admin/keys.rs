//! `/keys` and `/teams/{id}/keys`. A secret is shown once: in the answer that made it.

use alloc::format;
use alloc::string::{String, ToString};

use serde_json::{Value, json};

use super::AdminDecision;
use super::body::{self, INVALID, Members, take, take_fixed};
use super::caller::{Permission, Resource};
use super::context::{RequestContext, not_allowed, removed};
use super::page::{PageQuery, no_parameters};
use super::problem::Problem;
use super::{Durability, RequestInputs, secret, self_service, view};
use crate::json::node::Node;
use crate::json::out_of_line::object;
use crate::policy::load::records::KeyRecord;
use crate::policy::load::value::{DateTime, DisplayText, Small};
use crate::policy::{Change, KeyId, Owner, Section, TeamId};
use crate::record;
use crate::secret::api_key;
use crate::time::{Timestamp, rfc3339};

/// Longest time that a rotated secret may live on, in seconds: a week.
pub const MOST_GRACE: u32 = 7 * 86_400;

record! {
    /// How a key is rotated.
    RotationBody {
        /// Seconds for which the old secret stays valid; 0 if left out.
        grace_seconds: Small,
    }
}

/// What the body of a new key may have. All else of a key is made here.
pub(super) const WRITABLE_FIELDS: &[&str] =
    &["name", "owner", "access", "limits", "budget", "expires_at", "state"];

/// `GET /teams/{id}/keys`: a developer sees their own.
pub(super) fn list(context: &mut RequestContext<'_>, team: &str) -> Result<AdminDecision, Problem> {
    let page = PageQuery::inputs(context.request)?;
    let (ix, _) = context.team(team)?;
    let all = context.may(Permission::ReadKeys, Resource::Team(ix));
    if !all && !context.may(Permission::OwnKeys, Resource::Team(ix)) {
        return Err(not_allowed(Permission::ReadKeys));
    }
    let policy = &*context.policy;
    let mine = Owner::User(context.caller.user);
    let keys = policy.keys_of(ix).filter(|(_, key)| all || key.owner == mine);
    let ids = keys.map(|(_, key)| &*key.id).collect();
    Ok(AdminDecision::Answer(page.of(ids, &|id| view::record(policy, Section::Keys, id).body)))
}

/// `POST /teams/{id}/keys`: by an admin of the team for anybody in it, or through self-service.
pub(super) fn create(context: &mut RequestContext<'_>, team: &str) -> Result<AdminDecision, Problem> {
    no_parameters(context.request)?;
    let mut wish = body::object(context.request)?;
    take_fixed(&mut wish, &[("team", team)])?;
    body::only(&wish, WRITABLE_FIELDS)?;
    let name = name(&mut wish)?;
    let (ix, _) = context.team(team)?;
    let by_admin = context.may(Permission::ManageTeam, Resource::Team(ix));
    if !by_admin {
        context.need(Permission::OwnKeys, Resource::Team(ix))?;
    }
    context.require_match(None)?;
    let minted = Minted::new(context.inputs);
    let mut record = Members::from([
        ("team".to_string(), Node::String(team.to_string())),
        ("name".to_string(), Node::String(name.to_string())),
    ]);
    minted.put_into(&mut record);
    if by_admin {
        grant_any(context, ix, wish, &mut record)?;
    } else {
        self_service::grant(context, ix, wish, &minted.id, &mut record)?;
    }
    require_keeping(context.inputs)?;
    if context.policy.record(Section::Keys, &minted.id).is_some() {
        return Err(Problem::new(503, "try_again", "The new key's id is taken. Try again."));
    }
    let mut change = Change::default();
    change.put(Section::Keys, &minted.id, body::object_json(&record));
    let (id, location) = (minted.id.clone(), format!("{}/keys/{}", context.paths, minted.id));
    context.change(&change, &["keys", &id], &|policy| view::kept(policy, Section::Keys, &id), &|policy, _| {
        let mut response = with_secret(view::record(policy, Section::Keys, &id).body, &minted);
        response.fields.push(("location", location.clone()));
        response
    })
}

/// What an admin of the team asks for: anything a policy could say.
fn grant_any(
    context: &RequestContext<'_>,
    team: TeamId,
    mut wish: Members,
    record: &mut Members,
) -> Result<(), Problem> {
    let is_member = context.caller.team_role(context.policy, team).is_some();
    if is_member && !wish.iter().any(|(name, _)| name == "owner") {
        wish.push(("owner".into(), Node::String(format!("user/{}", context.caller.id))));
    }
    record.append(&mut wish);
    let typed = body::read::<KeyRecord>(record.clone(), INVALID)?;
    require_future(context.inputs, typed.expires_at)
}

/// `GET /keys/{id}`
pub(super) fn show(context: &mut RequestContext<'_>, id: &str) -> Result<AdminDecision, Problem> {
    no_parameters(context.request)?;
    let (ix, team) = context.key(id)?;
    need_for(context, ix, team, Permission::ReadKeys)?;
    let shown = view::record(context.policy, Section::Keys, id);
    context.require_match(Some(&shown))?;
    Ok(AdminDecision::Answer(shown.response(200)))
}

/// `PATCH /keys/{id}`: for admins of the team. What a developer got through self-service stays within it.
pub(super) fn update(context: &mut RequestContext<'_>, id: &str) -> Result<AdminDecision, Problem> {
    no_parameters(context.request)?;
    let (_, team) = context.key(id)?;
    context.need(Permission::ManageTeam, Resource::Team(team))?;
    context.require_match(Some(&view::record(context.policy, Section::Keys, id)))?;
    let mut patch = body::object(context.request)?;
    let record = context.policy.record(Section::Keys, id).unwrap_or_default();
    let text = |field: &str| record.get(field).and_then(Value::as_str).unwrap_or_default().to_string();
    let fixed =
        [("id", id.to_string()), ("team", text("team")), ("owner", text("owner")), ("hint", text("hint"))];
    for (field, value) in &fixed {
        take_fixed(&mut patch, &[(field, value)])?;
    }
    body::only(&patch, WRITABLE_FIELDS)?;
    let moves = patch.iter().any(|(name, _)| name == "expires_at");
    let merged = body::merge(Node::from(&record), patch);
    let typed = body::read_at::<KeyRecord>("", merged.clone(), INVALID)?;
    if moves {
        require_future(context.inputs, typed.expires_at)?;
    }
    let mut change = Change::default();
    change.put(Section::Keys, id, body::to_json(&merged));
    context.change(&change, &["keys", id], &|policy| view::kept(policy, Section::Keys, id), &|policy, _| {
        view::record(policy, Section::Keys, id).response(200)
    })
}

/// `DELETE /keys/{id}`: revoked.
pub(super) fn remove(context: &mut RequestContext<'_>, id: &str) -> Result<AdminDecision, Problem> {
    no_parameters(context.request)?;
    let (ix, team) = context.key(id)?;
    need_for(context, ix, team, Permission::ManageTeam)?;
    context.require_match(Some(&view::record(context.policy, Section::Keys, id)))?;
    let mut change = Change::default();
    change.remove(Section::Keys, id);
    context.change(&change, &["keys", id], &|policy| view::kept(policy, Section::Keys, id), &|_, _| removed())
}

/// `POST /keys/{id}/rotate`: a new secret. Id, access, limits and what was counted stay.
pub(super) fn rotate(context: &mut RequestContext<'_>, id: &str) -> Result<AdminDecision, Problem> {
    no_parameters(context.request)?;
    let (ix, team) = context.key(id)?;
    need_for(context, ix, team, Permission::ManageTeam)?;
    context.require_match(Some(&view::record(context.policy, Section::Keys, id)))?;
    let body = body::object_or_nothing(context.request)?;
    let RotationBody { grace_seconds } = body::read(body, INVALID)?;
    let grace = grace_seconds.map_or(0, |seconds| seconds.0);
    if grace > MOST_GRACE {
        let detail = format!("The old secret may live on for at most {MOST_GRACE} seconds.");
        return Err(Problem::at(INVALID, "/grace_seconds", detail));
    }
    require_keeping(context.inputs)?;
    let minted = Minted::of(id, context.inputs);
    let mut record = context.policy.record(Section::Keys, id).unwrap_or_default();
    if let Some(fields) = record.as_object_mut() {
        let old = fields.insert("digest".into(), json!(minted.digest()));
        fields.insert("hint".into(), json!(minted.hint()));
        fields.remove("previous");
        if grace > 0 {
            let now = context.inputs.now.timestamp().0;
            let until = Timestamp(now.saturating_add(u64::from(grace).saturating_mul(1_000)));
            fields.insert("previous".into(), object!({ "digest": old, "until": rfc3339(until) }));
        }
    }
    let mut change = Change::default();
    change.put(Section::Keys, id, record);
    context.change(&change, &["keys", id], &|policy| view::kept(policy, Section::Keys, id), &|policy, _| {
        with_secret(view::record(policy, Section::Keys, id).body, &minted)
    })
}

/// Goes on for those who have the right over all keys of the team, and for a developer's own key.
pub(super) fn need_for(
    context: &RequestContext<'_>,
    key: KeyId,
    team: TeamId,
    right: Permission,
) -> Result<(), Problem> {
    let owner = context.policy.keys.get(key.0).map(|key| key.owner);
    let own = owner == Some(Owner::User(context.caller.user))
        && context.may(Permission::OwnKeys, Resource::Team(team));
    if own { Ok(()) } else { context.need(right, Resource::Team(team)) }
}

/// An end that has passed would make a key that never works.
pub(super) fn require_future(inputs: &RequestInputs, expires_at: Option<DateTime>) -> Result<(), Problem> {
    match expires_at {
        Some(end) if end.0 <= inputs.now.timestamp() => {
            Err(Problem::at("invalid_expiry", "/expires_at", "`expires_at` is not in the future."))
        }
        _ => Ok(()),
    }
}

/// A key that would be gone with this process is not made, unless that is agreed.
fn require_keeping(inputs: &RequestInputs) -> Result<(), Problem> {
    match inputs.keeps {
        Durability::Durable | Durability::Volatile => Ok(()),
        Durability::No => Err(Problem::new(
            503,
            "keys_not_kept",
            "This gateway could not keep the key: what is made here ends with its process. Its operator \
             configures a `fleet`, or accepts that with `volatile_keys`.",
        )),
    }
}

/// Row 2: a name is given.
fn name(wish: &mut Members) -> Result<String, Problem> {
    let missing = || Problem::at("name_required", "/name", "`name` is missing: say what the key is for.");
    let node = take(wish, "name").ok_or_else(missing)?;
    if matches!(&node, Node::String(text) if text.trim().is_empty()) {
        return Err(missing());
    }
    Ok(body::read_at::<DisplayText>("name", node, "name_required")?.0.to_string())
}

/// A secret just made.
struct Minted {
    id: String,
    secret: String,
}

impl Minted {
    fn new(inputs: &RequestInputs) -> Self {
        Minted::of(&secret::id(inputs), inputs)
    }

    fn of(id: &str, inputs: &RequestInputs) -> Self {
        Minted { id: id.to_string(), secret: secret::key(id, inputs) }
    }

    fn digest(&self) -> String {
        api_key::format_digest(&api_key::digest(self.secret.as_bytes()))
    }

    /// Its last characters: enough for people to tell keys apart, and a part of the checksum only.
    fn hint(&self) -> &str {
        self.secret.get(self.secret.len().saturating_sub(4)..).unwrap_or_default()
    }

    fn put_into(&self, record: &mut Members) {
        record.push(("digest".into(), Node::String(self.digest())));
        record.push(("hint".into(), Node::String(self.hint().to_string())));
    }
}

fn with_secret(mut body: Value, minted: &Minted) -> super::Response {
    if let Some(fields) = body.as_object_mut() {
        fields.insert("secret".into(), json!(minted.secret));
    }
    super::answer(201, &body)
}
