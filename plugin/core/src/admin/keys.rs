//! `/keys` and `/teams/{id}/keys`. A secret is shown once: in the answer that made it.

use alloc::format;
use alloc::string::{String, ToString};

use serde_json::{Value, json};

use super::body::{self, INVALID, Members, take, take_fixed};
use super::caller::{Over, Right};
use super::context::{Desk, Reply, not_allowed, removed};
use super::page::{Page, no_parameters};
use super::problem::Problem;
use super::{Asked, Keeps, secret, self_service, view};
use crate::json::node::Node;
use crate::json::out_of_line::object;
use crate::policy::load::records::KeyRecord;
use crate::policy::load::value::{Moment, Small, Words};
use crate::policy::{Change, KeyIx, Owner, Section, TeamIx};
use crate::record;
use crate::secret::api_key;
use crate::time::{Timestamp, rfc3339};

/// Longest time that a rotated secret may live on, in seconds: a week.
pub const MOST_GRACE: u32 = 7 * 86_400;

record! {
    /// How a key is rotated.
    RotationBody {
        /// Seconds for which the old secret lives on; 0 if left out.
        grace_seconds: Small,
    }
}

/// What the body of a new key may have. All else of a key is made here.
pub(super) const WISHES: &[&str] = &["name", "owner", "access", "limits", "budget", "expires_at", "state"];

/// `GET /teams/{id}/keys`: a developer sees their own.
pub(super) fn list(desk: &mut Desk<'_>, team: &str) -> Result<Reply, Problem> {
    let page = Page::asked(desk.request)?;
    let (ix, _) = desk.team(team)?;
    let all = desk.may(Right::ReadKeys, Over::Team(ix));
    if !all && !desk.may(Right::OwnKeys, Over::Team(ix)) {
        return Err(not_allowed(Right::ReadKeys));
    }
    let policy = &*desk.policy;
    let mine = Owner::User(desk.who.user);
    let keys = policy.keys_of(ix).filter(|(_, key)| all || key.owner == mine);
    let ids = keys.map(|(_, key)| &*key.id).collect();
    Ok(Reply::Answer(page.of(ids, &|id| view::record(policy, Section::Keys, id).body)))
}

/// `POST /teams/{id}/keys`: by an admin of the team for anybody in it, or through self-service.
pub(super) fn create(desk: &mut Desk<'_>, team: &str) -> Result<Reply, Problem> {
    no_parameters(desk.request)?;
    let mut wish = body::object(desk.request)?;
    take_fixed(&mut wish, &[("team", team)])?;
    body::only(&wish, WISHES)?;
    let name = name(&mut wish)?;
    let (ix, _) = desk.team(team)?;
    let by_admin = desk.may(Right::ManageTeam, Over::Team(ix));
    if !by_admin {
        desk.need(Right::OwnKeys, Over::Team(ix))?;
    }
    desk.require_match(None)?;
    let minted = Minted::new(desk.asked);
    let mut record = Members::from([
        ("team".to_string(), Node::String(team.to_string())),
        ("name".to_string(), Node::String(name.to_string())),
    ]);
    minted.put_into(&mut record);
    if by_admin {
        grant_any(desk, ix, wish, &mut record)?;
    } else {
        self_service::grant(desk, ix, wish, &minted.id, &mut record)?;
    }
    require_keeping(desk.asked)?;
    if desk.policy.record(Section::Keys, &minted.id).is_some() {
        return Err(Problem::new(503, "try_again", "The new key's id is taken. Try again."));
    }
    let mut change = Change::default();
    change.put(Section::Keys, &minted.id, body::object_json(&record));
    let (id, location) = (minted.id.clone(), format!("{}/keys/{}", desk.paths, minted.id));
    desk.change(&change, &["keys", &id], &|policy| view::kept(policy, Section::Keys, &id), &|policy, _| {
        let mut response = with_secret(view::record(policy, Section::Keys, &id).body, &minted);
        response.fields.push(("location", location.clone()));
        response
    })
}

/// What an admin of the team asks for: anything a policy could say.
fn grant_any(desk: &Desk<'_>, team: TeamIx, mut wish: Members, record: &mut Members) -> Result<(), Problem> {
    let is_member = desk.who.team_role(desk.policy, team).is_some();
    if is_member && !wish.iter().any(|(name, _)| name == "owner") {
        wish.push(("owner".into(), Node::String(format!("user/{}", desk.who.id))));
    }
    record.append(&mut wish);
    let typed = body::read::<KeyRecord>(record.clone(), INVALID)?;
    require_future(desk.asked, typed.expires_at)
}

/// `GET /keys/{id}`
pub(super) fn show(desk: &mut Desk<'_>, id: &str) -> Result<Reply, Problem> {
    no_parameters(desk.request)?;
    let (ix, team) = desk.key(id)?;
    need_for(desk, ix, team, Right::ReadKeys)?;
    let shown = view::record(desk.policy, Section::Keys, id);
    desk.require_match(Some(&shown))?;
    Ok(Reply::Answer(shown.response(200)))
}

/// `PATCH /keys/{id}`: for admins of the team. What a developer got through self-service stays within it.
pub(super) fn update(desk: &mut Desk<'_>, id: &str) -> Result<Reply, Problem> {
    no_parameters(desk.request)?;
    let (_, team) = desk.key(id)?;
    desk.need(Right::ManageTeam, Over::Team(team))?;
    desk.require_match(Some(&view::record(desk.policy, Section::Keys, id)))?;
    let mut patch = body::object(desk.request)?;
    let record = desk.policy.record(Section::Keys, id).unwrap_or_default();
    let text = |field: &str| record.get(field).and_then(Value::as_str).unwrap_or_default().to_string();
    let fixed =
        [("id", id.to_string()), ("team", text("team")), ("owner", text("owner")), ("hint", text("hint"))];
    for (field, value) in &fixed {
        take_fixed(&mut patch, &[(field, value)])?;
    }
    body::only(&patch, WISHES)?;
    let moves = patch.iter().any(|(name, _)| name == "expires_at");
    let merged = body::merge(Node::from(&record), patch);
    let typed = body::read_at::<KeyRecord>("", merged.clone(), INVALID)?;
    if moves {
        require_future(desk.asked, typed.expires_at)?;
    }
    let mut change = Change::default();
    change.put(Section::Keys, id, body::to_json(&merged));
    desk.change(&change, &["keys", id], &|policy| view::kept(policy, Section::Keys, id), &|policy, _| {
        view::record(policy, Section::Keys, id).response(200)
    })
}

/// `DELETE /keys/{id}`: revoked.
pub(super) fn remove(desk: &mut Desk<'_>, id: &str) -> Result<Reply, Problem> {
    no_parameters(desk.request)?;
    let (ix, team) = desk.key(id)?;
    need_for(desk, ix, team, Right::ManageTeam)?;
    desk.require_match(Some(&view::record(desk.policy, Section::Keys, id)))?;
    let mut change = Change::default();
    change.remove(Section::Keys, id);
    desk.change(&change, &["keys", id], &|policy| view::kept(policy, Section::Keys, id), &|_, _| removed())
}

/// `POST /keys/{id}/rotate`: a new secret. Id, access, limits and what was counted stay.
pub(super) fn rotate(desk: &mut Desk<'_>, id: &str) -> Result<Reply, Problem> {
    no_parameters(desk.request)?;
    let (ix, team) = desk.key(id)?;
    need_for(desk, ix, team, Right::ManageTeam)?;
    desk.require_match(Some(&view::record(desk.policy, Section::Keys, id)))?;
    let body = body::object_or_nothing(desk.request)?;
    let RotationBody { grace_seconds } = body::read(body, INVALID)?;
    let grace = grace_seconds.map_or(0, |seconds| seconds.0);
    if grace > MOST_GRACE {
        let detail = format!("The old secret may live on for at most {MOST_GRACE} seconds.");
        return Err(Problem::at(INVALID, "/grace_seconds", detail));
    }
    require_keeping(desk.asked)?;
    let minted = Minted::of(id, desk.asked);
    let mut record = desk.policy.record(Section::Keys, id).unwrap_or_default();
    if let Some(fields) = record.as_object_mut() {
        let old = fields.insert("digest".into(), json!(minted.digest()));
        fields.insert("hint".into(), json!(minted.hint()));
        fields.remove("previous");
        if grace > 0 {
            let now = desk.asked.now.timestamp().0;
            let until = Timestamp(now.saturating_add(u64::from(grace).saturating_mul(1_000)));
            fields.insert("previous".into(), object!({ "digest": old, "until": rfc3339(until) }));
        }
    }
    let mut change = Change::default();
    change.put(Section::Keys, id, record);
    desk.change(&change, &["keys", id], &|policy| view::kept(policy, Section::Keys, id), &|policy, _| {
        with_secret(view::record(policy, Section::Keys, id).body, &minted)
    })
}

/// Goes on for those who have the right over all keys of the team, and for a developer's own key.
pub(super) fn need_for(desk: &Desk<'_>, key: KeyIx, team: TeamIx, right: Right) -> Result<(), Problem> {
    let owner = desk.policy.keys.get(key.0).map(|key| key.owner);
    let own = owner == Some(Owner::User(desk.who.user)) && desk.may(Right::OwnKeys, Over::Team(team));
    if own { Ok(()) } else { desk.need(right, Over::Team(team)) }
}

/// An end that has passed would make a key that never works.
pub(super) fn require_future(asked: &Asked, expires_at: Option<Moment>) -> Result<(), Problem> {
    match expires_at {
        Some(end) if end.0 <= asked.now.timestamp() => {
            Err(Problem::at("invalid_expiry", "/expires_at", "`expires_at` is not in the future."))
        }
        _ => Ok(()),
    }
}

/// A key that would be gone with this process is not made, unless that is agreed.
fn require_keeping(asked: &Asked) -> Result<(), Problem> {
    match asked.keeps {
        Keeps::Durable | Keeps::Volatile => Ok(()),
        Keeps::No => Err(Problem::new(
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
    Ok(body::read_at::<Words>("name", node, "name_required")?.0.to_string())
}

/// A secret just made.
struct Minted {
    id: String,
    secret: String,
}

impl Minted {
    fn new(asked: &Asked) -> Self {
        Minted::of(&secret::id(asked), asked)
    }

    fn of(id: &str, asked: &Asked) -> Self {
        Minted { id: id.to_string(), secret: secret::key(id, asked) }
    }

    fn digest(&self) -> String {
        api_key::spell(&api_key::digest(self.secret.as_bytes()))
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
