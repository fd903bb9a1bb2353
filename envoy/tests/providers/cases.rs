//! A case: its team, target, requests and answer, and what it must cost.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tollgate_envoy::client::{Connection, Request, Response, request};
use tollgate_envoy::scripted::{ANSWER, Answer, Arrived, Scripted};
use tollgate_envoy::world::{digest, key_of, secret};

/// The time limit for a settlement.
const PATIENCE: Duration = Duration::from_secs(5);
const DOLLAR: u128 = 1_000_000_000_000;
/// The token of a platform administrator.
const ADMIN: &str = "tg-admin-of-the-tests";

/// The charge that a case must have.
#[derive(Clone, Debug)]
pub enum Spent {
    /// This amount, in dollars.
    Exactly(&'static str),
    /// An amount between these, in dollars, both included.
    Between(&'static str, &'static str),
    /// The whole reservation, marked as an estimate.
    Reservation,
}

/// The end of the client's part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// The response is read.
    Stays,
    /// The connection is closed this long after the request.
    Leaves(Duration),
}

#[derive(Clone)]
pub struct Case {
    /// The name of the target, the team, the key and the answer.
    pub name: &'static str,
    pub target: Value,
    pub team: Value,
    /// Routes of the case.
    pub routes: Vec<Value>,
    pub requests: Vec<Request>,
    pub answer: Answer,
    pub client: Client,
    /// The status of every response.
    pub status: u16,
    /// The code of every rejection.
    pub code: Option<&'static str>,
    pub spent: Option<Spent>,
    /// The tokens in the window `tpm` of the team.
    pub tokens: Option<u64>,
    /// A further check of the last response.
    pub response: Option<fn(&Response) -> bool>,
    /// A check of the last request at the upstream.
    pub forwarded: Option<fn(&Arrived) -> bool>,
}

/// Creates a case with a wide budget and token limit. A token of input costs one microdollar, a cached one a tenth, one of
/// output ten.
pub fn case(name: &'static str, path: &str, body: Value) -> Case {
    Case {
        name,
        target: json!({"price": {"input": "1", "cached_input": "0.1", "output": "10"}, "max_input_tokens": 50_000}),
        team: json!({"limits": {"tpm": 1_000_000}, "budget": {"max": "1000"}}),
        routes: Vec::new(),
        requests: vec![post(name, path, body)],
        answer: Answer::json(json!({})),
        client: Client::Stays,
        status: 200,
        code: None,
        spent: None,
        tokens: None,
        response: None,
        forwarded: None,
    }
}

/// Creates a request with JSON; a missing `model` is the case's target.
pub fn post(name: &str, path: &str, mut body: Value) -> Request {
    if body.get("model").is_none() && !path.starts_with("/v1beta/") {
        body["model"] = json!(name);
    }
    Request::json(path, &body)
}

/// Creates a case of one chat with at most 1,000 tokens of output, with these further members.
pub fn chat(name: &'static str, more: Value) -> Case {
    let mut body = json!({"messages": [{"role": "user", "content": "Name a river."}], "max_tokens": 1_000});
    merge(&mut body, more);
    case(name, "/v1/chat/completions", body)
}

pub fn merge(into: &mut Value, more: Value) {
    let members = into.as_object_mut().unwrap();
    members.extend(more.as_object().cloned().unwrap_or_default());
}

impl Case {
    pub fn target(mut self, target: Value) -> Self {
        self.target = target;
        self
    }

    pub fn team(mut self, team: Value) -> Self {
        self.team = team;
        self
    }

    pub fn route(mut self, route: Value) -> Self {
        self.routes.push(route);
        self
    }

    pub fn requests(mut self, requests: Vec<Request>) -> Self {
        self.requests = requests;
        self
    }

    pub fn answers(mut self, answer: Answer) -> Self {
        self.answer = answer;
        self
    }

    pub fn json(self, body: Value) -> Self {
        self.answers(Answer::json(body))
    }

    pub fn events(self, events: &[&str]) -> Self {
        self.answers(Answer::events(events))
    }

    pub fn leaves_after(mut self, time: Duration) -> Self {
        self.client = Client::Leaves(time);
        self
    }

    pub fn rejected(mut self, status: u16, code: &'static str) -> Self {
        (self.status, self.code) = (status, Some(code));
        self
    }

    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    pub fn costs(mut self, dollars: &'static str) -> Self {
        self.spent = Some(Spent::Exactly(dollars));
        self
    }

    pub fn costs_between(mut self, least: &'static str, most: &'static str) -> Self {
        self.spent = Some(Spent::Between(least, most));
        self
    }

    pub fn costs_the_reservation(mut self) -> Self {
        self.spent = Some(Spent::Reservation);
        self
    }

    pub fn tokens(mut self, tokens: u64) -> Self {
        self.tokens = Some(tokens);
        self
    }

    pub fn response(mut self, check: fn(&Response) -> bool) -> Self {
        self.response = Some(check);
        self
    }

    pub fn forwards(mut self, check: fn(&Arrived) -> bool) -> Self {
        self.forwarded = Some(check);
        self
    }

    /// Runs the case.
    pub fn run(&self, gateway: SocketAddr, upstream: &Scripted) -> Result<(), String> {
        let name = self.name;
        for sent in &self.requests {
            let sent = sent.clone().bearer(&secret(&key_id(name))).header(ANSWER, name);
            if let Client::Leaves(after) = self.client {
                let mut connection = Connection::open(gateway);
                connection.send(&sent.bytes()).map_err(|error| format!("{name}: {error}"))?;
                thread::sleep(after);
                connection.leave();
                continue;
            }
            let received = request(gateway, &sent);
            if received.status != self.status {
                return Err(format!("{name}: {} instead of {}: {received:?}", received.status, self.status));
            }
            if let Some(code) = self.code
                && !received.text().contains(&format!("\"{code}\""))
            {
                return Err(format!("{name}: no {code} in {received:?}"));
            }
            if self.response.is_some_and(|is_right| !is_right(&received)) {
                return Err(format!("{name}: {received:?}"));
            }
        }
        let arrived = upstream.arrived(name);
        if self.code.is_some() && self.requests.len() == 1 && !arrived.is_empty() {
            return Err(format!("{name}: rejected, but forwarded: {arrived:?}"));
        }
        if let Some(is_right) = self.forwarded
            && !arrived.last().is_some_and(is_right)
        {
            return Err(format!("{name}: forwarded {arrived:?}"));
        }
        self.settled(gateway)
    }

    /// Waits for the expected charge.
    fn settled(&self, gateway: SocketAddr) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            let usage = usage(gateway, self.name);
            let settled = self.is_right(&usage);
            if settled.is_ok() || begun.elapsed() > PATIENCE {
                return settled;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn is_right(&self, usage: &Value) -> Result<(), String> {
        let name = self.name;
        let amount = |member: &str| usage["budget"][member].as_str().map(pico).unwrap_or_default();
        let spent = amount("spent");
        let right = match &self.spent {
            None => true,
            Some(Spent::Exactly(dollars)) => spent == pico(dollars),
            Some(Spent::Between(least, most)) => (pico(least)..=pico(most)).contains(&spent),
            Some(Spent::Reservation) => spent > 0 && spent == amount("estimated"),
        };
        if !right {
            return Err(format!("{name}: {:?}, but {}", self.spent, usage["budget"]));
        }
        let window = usage["limits"]
            .as_array()
            .and_then(|limits| limits.iter().find(|limit| limit["window"] == "tpm"));
        let used = window.and_then(|limit| limit["used"].as_u64());
        match self.tokens {
            Some(tokens) if used != Some(tokens) => Err(format!("{name}: {tokens} tokens, but {used:?}")),
            _ => Ok(()),
        }
    }
}

/// Returns the id of a case's key; the ids in keys have letters and digits only.
fn key_id(case: &str) -> String {
    case.replace('-', "")
}

fn usage(gateway: SocketAddr, team: &str) -> Value {
    let path = format!("/tollgate/v1/teams/{team}/usage");
    let received = request(gateway, &Request::new("GET", &path).bearer(ADMIN));
    assert_eq!(received.status, 200, "{received:?}");
    received.json()
}

fn pico(decimal: &str) -> u128 {
    let (whole, fraction) = decimal.split_once('.').unwrap_or((decimal, ""));
    whole.parse::<u128>().unwrap() * DOLLAR + format!("{fraction:0<12}").parse::<u128>().unwrap()
}

/// Returns the gateway configuration with a target, a team and a key for each case.
pub fn configuration(cases: &[Case]) -> Value {
    let (mut targets, mut teams, mut keys) = (Map::new(), Map::new(), Map::new());
    let mut routes = Vec::new();
    for case in cases {
        let name = case.name.to_owned();
        let mut team = json!({"organization": "acme", "name": name});
        merge(&mut team, case.team.clone());
        targets.insert(name.clone(), case.target.clone());
        keys.insert(key_id(&name), key_of(&name, &key_id(&name)));
        teams.insert(name, team);
        routes.extend(case.routes.iter().cloned());
    }
    json!({
        "policy": {
            "version": 1,
            "targets": targets,
            "organizations": {"acme": {"name": "Acme", "access": {"targets": ["*"]}}},
            "teams": teams,
            "keys": keys,
            "users": {"root": {"name": "Root", "role": "platform_admin", "tokens": [digest(ADMIN)]}},
        },
        "routes": routes,
    })
}
