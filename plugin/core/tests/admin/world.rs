//! A gateway with two organizations and users in every role.

use serde_json::{Map as Object, Value, json};
use tollgate_core::admin::audit::AuditEntry;
use tollgate_core::admin::{
    AdminDecision, AdminRequest, CountersRead, Decided, Durability, RequestInputs, decide,
};
use tollgate_core::config;
use tollgate_core::config::GatewayConfig;
use tollgate_core::counters::SharedDataStore;
use tollgate_core::http::local_response::LocalResponse;
use tollgate_core::policy::{PolicyHandle, PolicyLoader};
use tollgate_core::secret::api_key;
use tollgate_core::time::{Now, SECOND, Timestamp, rfc3339};

use super::support::Map;

/// 2027-01-15T08:00:00Z.
pub const START: u64 = 1_800_000_000 * SECOND;

/// The users, named by their role. `anonymous` is not a user.
pub const PEOPLE: [&str; 12] = [
    "platform",
    "owner",
    "org-admin",
    "billing",
    "auditor",
    "member",
    "team-admin",
    "developer",
    "viewer",
    "other-team-admin",
    "foreign-owner",
    "foreign-team-admin",
];

pub fn token(person: &str) -> String {
    format!("tg-test-{person}")
}

fn digest(text: &str) -> String {
    api_key::format_digest(&api_key::digest(text.as_bytes()))
}

/// Most tests use the team `search`; `other` is in the same organization, `lab` in another.
pub fn policy() -> Value {
    let mut users: Object<String, Value> = PEOPLE
        .iter()
        .map(|person| (person.to_string(), json!({ "name": person, "tokens": [digest(&token(person))] })))
        .collect();
    users["platform"]["role"] = json!("platform_admin");
    json!({
        "version": 1,
        "targets": {
            "small": { "access_groups": ["basic"], "price": { "input": "1", "output": "1" } },
            "large": { "access_groups": ["premium"] },
            "secret": {},
        },
        "organizations": {
            "acme": {
                "name": "Acme",
                "access": { "targets": ["large"], "access_groups": ["basic"] },
                "limits": { "rpm": 1000, "rpd": 100_000 },
                "budget": { "max": "1000.00", "period": "month" },
                "members": {
                    "owner": "org_owner", "org-admin": "org_admin", "billing": "org_billing",
                    "auditor": "org_auditor", "member": "org_member", "team-admin": "org_member",
                    "developer": "org_member", "viewer": "org_member", "other-team-admin": "org_member",
                },
            },
            "globex": {
                "name": "Globex",
                "access": { "targets": ["*"] },
                "members": { "foreign-owner": "org_owner", "foreign-team-admin": "org_member" },
            },
        },
        "teams": {
            "search": {
                "organization": "acme", "name": "Search",
                "limits": { "rpm": 100 },
                "self_service": { "enabled": true, "max_keys_per_user": 3 },
                "members": {
                    "team-admin": "team_admin", "developer": "team_developer", "viewer": "team_viewer",
                },
            },
            "other": {
                "organization": "acme", "name": "Other", "members": { "other-team-admin": "team_admin" },
            },
            "empty": { "organization": "acme", "name": "Empty" },
            "lab": {
                "organization": "globex", "name": "Lab", "members": { "foreign-team-admin": "team_admin" },
            },
        },
        "users": users,
        "service_accounts": { "nightly": { "team": "search", "name": "Nightly" } },
        "keys": {
            "developers": { "team": "search", "owner": "user/developer", "digest": digest("one") },
            "admins": { "team": "search", "owner": "user/team-admin", "digest": digest("two") },
            "jobs": { "team": "search", "owner": "service_account/nightly", "digest": digest("three") },
        },
    })
}

/// A gateway with its counters and the time.
pub struct World {
    pub gateway: GatewayConfig,
    /// The current policy.
    pub policy: PolicyHandle,
    pub store: SharedDataStore<Map>,
    pub now: Now,
    pub durability: Durability,
    /// The audit entries.
    pub audit: Vec<AuditEntry>,
    draws: u64,
}

/// A parsed response.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
    pub fields: Vec<(&'static str, String)>,
}

impl Answer {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// Returns the pointers of the faults in the body.
    pub fn pointers(&self) -> Vec<&str> {
        let errors = self.body["errors"].as_array().into_iter().flatten();
        errors.filter_map(|error| error["pointer"].as_str()).collect()
    }
}

impl World {
    pub fn new() -> Self {
        World::of(policy())
    }

    pub fn of(policy: Value) -> Self {
        let mut loader = config::ConfigLoader::default();
        loader.push(json!({ "policy": { "version": 1 } }).to_string().as_bytes());
        let (gateway, _) = loader.finish().unwrap();
        let mut loader = PolicyLoader::default();
        loader.push(policy.to_string().as_bytes());
        let (policy, _) = loader.finish().unwrap();
        let mut map = Map::new();
        let kind = SharedDataStore::probe(&mut map, "tollgate/1/");
        World {
            gateway,
            policy: PolicyHandle::new(policy),
            store: SharedDataStore::new(map, kind),
            now: Now { wall: START, monotonic: SECOND },
            durability: Durability::Volatile,
            audit: Vec::new(),
            draws: 0,
        }
    }

    /// Decides a request, and asserts that the policy is unchanged.
    pub fn decide(&mut self, request: &AdminRequest) -> Decided {
        self.draws += 1;
        let mut random = [0; 48];
        for (block, bytes) in (0_u64..).zip(random.chunks_mut(8)) {
            bytes.copy_from_slice(
                &(self.draws * 1_000 + block).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes(),
            );
        }
        let inputs =
            RequestInputs { now: self.now, random, durability: self.durability, counters: CountersRead::Own };
        let (gateway, store) = (&self.gateway, &mut self.store);
        let decided = self.policy.change(|policy| {
            let before = policy.fingerprint();
            let decided = decide(policy, gateway, store, request, &inputs);
            assert_eq!(policy.fingerprint(), before, "{} {}", request.method, request.path);
            decided
        });
        decided.expect("no reader holds the policy")
    }

    /// Carries out a decision. After a write, the whole policy must load without errors.
    pub fn commit(&mut self, decided: Decided) -> Answer {
        self.audit.extend(decided.entry);
        match decided.outcome {
            AdminDecision::Answer(response) => read(response),
            AdminDecision::Write(write) => {
                self.policy.change(|policy| policy.apply(&write.change)).unwrap().unwrap();
                write.count(&mut self.store, "tollgate/1/");
                let whole = self.document();
                let mut loader = PolicyLoader::default();
                loader.push(whole.to_string().as_bytes());
                let findings = loader.finish().err();
                assert_eq!(findings, None, "after {:?}", self.audit.last());
                read(write.response)
            }
            AdminDecision::Preview(write) => read(write.response),
            AdminDecision::Audit(query) => panic!("no audit log here: {query:?}"),
            AdminDecision::Rows(rows) => panic!("no shared counters here: {rows:?}"),
            AdminDecision::Drain => Answer { status: 204, body: Value::Null, fields: Vec::new() },
            AdminDecision::Gateway { .. } => panic!("no policy store here"),
        }
    }

    /// Decides and carries out a request.
    pub fn send(&mut self, person: &str, method: &str, path: &str, body: Value) -> Answer {
        self.send_with(person, method, path, body, None)
    }

    /// Sends a request with `If-Match`.
    pub fn send_with(
        &mut self,
        person: &str,
        method: &str,
        path: &str,
        body: Value,
        if_match: Option<&str>,
    ) -> Answer {
        let mut request = request(person, method, path, &body);
        request.if_match = if_match.map(str::to_string);
        let decided = self.decide(&request);
        self.commit(decided)
    }

    pub fn get(&mut self, person: &str, path: &str) -> Answer {
        self.send(person, "GET", path, Value::Null)
    }

    /// Returns the whole policy as a document.
    pub fn document(&self) -> Value {
        let policy = self.policy.read();
        let mut whole = json!({ "version": 1 });
        for document in policy.documents() {
            let part = policy.document(&document).unwrap();
            for (section, records) in part.as_object().unwrap() {
                if let Some(records) = records.as_object() {
                    let section = whole.as_object_mut().unwrap().entry(section).or_insert_with(|| json!({}));
                    section.as_object_mut().unwrap().extend(records.clone());
                }
            }
        }
        whole
    }

    /// Returns a time in this many days.
    pub fn in_days(&self, days: u64) -> String {
        rfc3339(Timestamp(self.now.timestamp().0 + days * 86_400_000))
    }

    pub fn pass(&mut self, seconds: u64) {
        self.now.wall += seconds * SECOND;
        self.now.monotonic += seconds * SECOND;
    }
}

/// A request by a user; `anonymous` sends no token. The path may have a query.
pub fn request(person: &str, method: &str, path: &str, body: &Value) -> AdminRequest {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    AdminRequest {
        method: method.into(),
        path: path.into(),
        query: query.into(),
        token: (person != "anonymous").then(|| token(person)),
        content_type: (!body.is_null()).then(|| "application/json".into()),
        body: if body.is_null() { Vec::new() } else { body.to_string().into_bytes() },
        ..AdminRequest::default()
    }
}

pub fn read(response: LocalResponse) -> Answer {
    let body = match response.body.as_str() {
        "" => Value::Null,
        text if response.fields.iter().any(|(_, value)| value.starts_with("text/csv")) => json!(text),
        text => serde_json::from_str(text).unwrap(),
    };
    if response.status >= 400 {
        assert_eq!(body["status"], response.status, "{body}");
        assert!(response.fields.contains(&("content-type", "application/problem+json".into())), "{body}");
    }
    Answer { status: response.status, body, fields: response.fields }
}
