//! Policies and changes drawn from a tape of bytes, and the documents equal to them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use tollgate_core::policy::{Change, Diagnostic, Policy, PolicyLoader, Section};

/// Bytes that determine what is drawn; zeros at the end.
pub struct Tape<'t>(pub &'t [u8]);

impl Tape<'_> {
    /// Draws a number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*first) % n
    }

    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    fn of<'a>(&mut self, names: &[&'a str]) -> &'a str {
        names[self.below(names.len())]
    }

    fn some<'a>(&mut self, names: &[&'a str]) -> Vec<&'a str> {
        (0..self.below(4)).map(|_| self.of(names)).collect()
    }
}

const TARGETS: &[&str] = &["b", "a", "d/~e", "c"];
const GROUPS: &[&str] = &["g2", "g1", " G1", "g3"];
const ORGANIZATIONS: &[&str] = &["acme", "bolt"];
const TEAMS: &[&str] = &["search", "lab", "ops"];
const USERS: &[&str] = &["bob", "alice", "carol"];
const ACCOUNTS: &[&str] = &["ci", "bot"];
const KEYS: &[&str] = &["k3", "k1", "k2", "k5", "k4"];

/// The number of digests that keys and tokens are drawn from.
pub const DIGESTS: u8 = 7;

pub fn digest(n: u8) -> String {
    format!("sha256:{}", format!("{n:02x}").repeat(32))
}

fn names(section: Section) -> &'static [&'static str] {
    match section {
        Section::Targets => TARGETS,
        Section::Organizations => ORGANIZATIONS,
        Section::Teams => TEAMS,
        Section::Users => USERS,
        Section::ServiceAccounts => ACCOUNTS,
        Section::Keys => KEYS,
    }
}

/// A policy as the JSON of its document.
#[derive(Clone, Debug, PartialEq)]
pub struct Plain {
    pub sections: BTreeMap<Section, BTreeMap<String, Value>>,
    pub unpriced: &'static str,
}

impl Plain {
    /// Returns a small valid policy.
    pub fn valid() -> Plain {
        let document = json!({
            "targets": {"a": {"access_groups": ["g1"]}, "b": {"price": {"input": "0.25", "output": "2.00"}}},
            "organizations": {"acme": {
                "name": "Acme", "access": {"targets": ["*"], "access_groups": ["g1"]}, "limits": {"rpm": 20},
                "members": {"alice": "org_owner", "bob": "org_member"},
            }},
            "teams": {"search": {
                "organization": "acme", "name": "Search", "limits": {"rpm": 10},
                "members": {"bob": "team_developer"},
            }},
            "users": {"alice": {"name": "Alice", "tokens": [digest(0)]}, "bob": {"name": "Bob"}},
            "service_accounts": {"ci": {"team": "search", "name": "CI"}},
            "keys": {
                "k1": {"team": "search", "owner": "user/bob", "digest": digest(1)},
                "k2": {"team": "search", "owner": "service_account/ci", "digest": digest(2)},
            },
        });
        let records = |section: Section| {
            let records = document[section.name()].as_object().unwrap();
            (section, records.iter().map(|(id, record)| (id.clone(), record.clone())).collect())
        };
        Plain { sections: Section::ALL.into_iter().map(records).collect(), unpriced: "deny" }
    }

    pub fn document(&self) -> Value {
        let mut document: Map<String, Value> = self
            .sections
            .iter()
            .map(|(section, records)| (section.name().to_string(), json!(records)))
            .collect();
        document.insert("version".into(), json!(1));
        document.insert("unpriced".into(), json!(self.unpriced));
        Value::Object(document)
    }

    pub fn load(&self) -> Result<(Policy, Vec<Diagnostic>), Vec<Diagnostic>> {
        let mut loader = PolicyLoader::default();
        loader.push(self.document().to_string().as_bytes());
        loader.finish()
    }

    /// Applies a change to the JSON records.
    pub fn apply(&mut self, change: &Change) {
        for edit in &change.edits {
            let records = self.sections.entry(edit.section).or_default();
            match &edit.record {
                Some(record) => records.insert(edit.id.clone(), record.clone()),
                None => records.remove(&edit.id),
            };
        }
        if let Some(unpriced) = &change.unpriced {
            self.unpriced = unpriced.name();
        }
    }

    /// Draws a change of one to three records: added, changed in a field, or removed.
    pub fn draw(&self, tape: &mut Tape<'_>) -> Change {
        let mut change = Change::default();
        for _ in 0..=tape.below(3) {
            let section = Section::ALL[tape.below(6)];
            let id = tape.of(names(section));
            if change.edits.iter().any(|edit| edit.section == section && edit.id == id) {
                continue;
            }
            match (self.sections[&section].get(id), tape.below(8)) {
                (Some(_), 0) => change.remove(section, id),
                (None, 0) => {}
                (Some(record), _) => {
                    let mut record = record.clone();
                    alter(section, &mut record, tape);
                    change.put(section, id, record);
                }
                (None, more) => {
                    let mut record = new(section, tape);
                    for _ in 0..more / 3 {
                        alter(section, &mut record, tape);
                    }
                    change.put(section, id, record);
                }
            }
        }
        if tape.below(16) == 1 {
            change.unpriced = tollgate_core::policy::Unpriced::named(tape.of(&["deny", "allow"]));
        }
        change
    }
}

/// Returns a record with its required fields only.
fn new(section: Section, tape: &mut Tape<'_>) -> Value {
    match section {
        Section::Targets => json!({}),
        Section::Organizations => json!({"name": "O", "access": access(tape, true)}),
        Section::Teams => json!({"name": "T", "organization": tape.of(ORGANIZATIONS)}),
        Section::Users => json!({"name": "U"}),
        Section::ServiceAccounts => json!({"name": "S", "team": tape.of(TEAMS)}),
        Section::Keys => json!({"team": tape.of(TEAMS), "digest": drawn_digest(tape)}),
    }
}

/// Changes or removes a field.
fn alter(section: Section, record: &mut Value, tape: &mut Tape<'_>) {
    let fields: &[&str] = match section {
        Section::Targets => &[
            "access_groups",
            "price",
            "max_input_tokens",
            "max_output_tokens",
            "cost",
            "usage_chunk",
            "abandoned",
            "reasoning",
        ],
        Section::Organizations => &[
            "access",
            "access",
            "limits",
            "limits",
            "budget",
            "target_limits",
            "members",
            "members",
            "state",
        ],
        Section::Teams => &[
            "organization",
            "access",
            "limits",
            "limits",
            "budget",
            "target_limits",
            "member_limits",
            "member_budget",
            "self_service",
            "members",
            "members",
            "mode",
        ],
        Section::Users => &["access", "limits", "limits", "budget", "tokens", "tokens", "role"],
        Section::ServiceAccounts => &["team", "state", "name"],
        Section::Keys => &[
            "team",
            "owner",
            "owner",
            "digest",
            "previous",
            "previous",
            "access",
            "limits",
            "budget",
            "expires_at",
            "hint",
            "state",
        ],
    };
    let field = tape.of(fields);
    let required = matches!(field, "organization" | "team" | "digest" | "name")
        || (section == Section::Organizations && field == "access");
    let object = record.as_object_mut().unwrap();
    match tape.below(24) {
        0..4 if !required => {
            object.remove(field);
            return;
        }
        4 if !required => {
            object.insert(field.into(), json!(7));
            return;
        }
        5 => {
            object.insert("colour".into(), json!("blue"));
            return;
        }
        _ => {}
    }
    let value = match field {
        "access_groups" => json!(tape.some(GROUPS)),
        "price" => {
            let cached = tape.of(&["0.25", "1", "0.025"]);
            let request = tape.of(&["0", "0.01"]);
            let mut price =
                json!({"input": "0.250", "output": "1", "cached_input": cached, "request": request});
            match tape.below(5) {
                0 => price["character"] = json!("0.000015"),
                1 => price["above"] = json!({"input_tokens": 5, "input": tape.of(&["0.5", "1"])}),
                2 => {
                    price["above"] =
                        json!([{"input_tokens": 1 + tape.below(3), "output": "2"}, {"input_tokens": 3}])
                }
                3 => {
                    price["tiers"] =
                        json!({tape.of(&["flex", "Flex"]): {"above": {"input_tokens": 9}, "second": "1"}})
                }
                _ => {}
            }
            price
        }
        "cost" => json!(tape.of(&["priced", "reported"])),
        "max_input_tokens" | "max_output_tokens" => json!(1 + tape.below(5)),
        "usage_chunk" => json!(tape.of(&["add", "never"])),
        "reasoning" => json!(tape.below(2) == 1),
        "abandoned" => json!(tape.of(&["seen", "reserved"])),
        "access" => access(tape, section == Section::Organizations),
        "limits" | "member_limits" => limits(tape),
        "budget" | "member_budget" => {
            let (max, period) = (tape.of(&["0", "1.5", "10", "20"]), tape.of(&["day", "lifetime"]));
            json!({"max": max, "soft": "0.5", "period": period})
        }
        "target_limits" => {
            Value::Object((0..tape.below(3)).map(|_| (tape.of(TARGETS).into(), limits(tape))).collect())
        }
        "members" => {
            let roles = match section {
                Section::Teams => &["team_admin", "team_developer"],
                _ => &["org_owner", "org_member"],
            };
            let members = (0..tape.below(4)).map(|_| (tape.of(USERS).into(), json!(tape.of(roles))));
            Value::Object(members.collect())
        }
        "self_service" => json!({"enabled": true, "max_keys_per_user": tape.below(4), "budget_ceiling": "3"}),
        "tokens" => json!((0..tape.below(3)).map(|_| drawn_digest(tape)).collect::<Vec<_>>()),
        "role" => json!("platform_admin"),
        "organization" => json!(tape.of(ORGANIZATIONS)),
        "team" => json!(tape.of(TEAMS)),
        "owner" => match tape.below(3) {
            0 => json!(format!("service_account/{}", tape.of(ACCOUNTS))),
            _ => json!(format!("user/{}", tape.of(USERS))),
        },
        "digest" => json!(drawn_digest(tape)),
        "previous" => json!({"digest": drawn_digest(tape), "until": "2030-01-01T00:00:00.5+01:00"}),
        "expires_at" => json!("2031-02-03T04:05:06Z"),
        "state" => json!(tape.of(&["active", "blocked"])),
        "mode" => json!(tape.of(&["enforce", "shadow"])),
        _ => json!("words"),
    };
    object.insert(field.into(), value);
}

fn drawn_digest(tape: &mut Tape<'_>) -> String {
    digest(u8::try_from(tape.below(DIGESTS.into())).unwrap())
}

fn limits(tape: &mut Tape<'_>) -> Value {
    let window = tape.of(&["rpm", "rpm", "tpd"]);
    let limit = match tape.below(21) {
        20 => 0,
        n => [1, 5, 10, 20][n % 4],
    };
    json!({ window: limit })
}

fn access(tape: &mut Tape<'_>, ceiling: bool) -> Value {
    let mut targets = tape.some(TARGETS);
    let groups = tape.some(GROUPS);
    if ceiling {
        if tape.below(3) == 0 {
            targets.push("*");
        }
        return json!({"targets": targets, "access_groups": groups});
    }
    match tape.below(6) {
        0 => json!({"mode": "inherit"}),
        1 => json!({"mode": "inherit", "targets": targets}),
        _ => json!({"mode": "restrict", "targets": targets, "access_groups": groups}),
    }
}

/// Returns all records of a policy, as the policy writes them.
pub fn written(policy: &Policy) -> Plain {
    let records = |section: Section| {
        let ids: Vec<String> = match section {
            Section::Targets => policy.targets.iter().map(|(_, id, _)| id.into()).collect(),
            Section::Organizations => policy.organizations.iter().map(|(_, id, _)| id.into()).collect(),
            Section::Teams => policy.teams.iter().map(|(_, id, _)| id.into()).collect(),
            Section::Users => policy.users.iter().map(|(_, id, _)| id.into()).collect(),
            Section::ServiceAccounts => policy.service_accounts.iter().map(|(_, id, _)| id.into()).collect(),
            Section::Keys => policy.keys.iter().map(|(_, id, _)| id.into()).collect(),
        };
        let record = |id: String| {
            let record = policy.record(section, &id).unwrap();
            (id, record)
        };
        (section, ids.into_iter().map(record).collect())
    };
    Plain { sections: Section::ALL.into_iter().map(records).collect(), unpriced: policy.unpriced.name() }
}
