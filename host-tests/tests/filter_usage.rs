//! Usage in the module: each call is counted once, over several VMs, days, leavers, refusals, traps and reloads.

mod filtered;

use std::collections::BTreeMap;
use std::time::Duration;

use filtered::*;
use serde_json::{Value, json};
use tollgate_core::money::{Pico, dollars};
use tollgate_core::secret::api_key;
use tollgate_core::time::{DAY, Timestamp, rfc3339};
use tollgate_host::proxy_wasm::{Effect, Ending, Flow, HeaderMap, HostCall, StreamId, Vm, When};

const TOKEN: &str = "tg-test-admin";
const TEAMS: [&str; 2] = ["blue", "green"];
/// The models with the prices of a token of input, cached input and output in picodollars.
const MODELS: [(&str, [u128; 3]); 2] =
    [("small", [1_000_000, 100_000, 10_000_000]), ("middle", [2_500_000, 2_500_000, 12_500_001])];

fn digest(text: &str) -> String {
    api_key::format_digest(&api_key::digest(text.as_bytes()))
}

fn secret(team: &str, key: usize) -> String {
    format!("a-key-of-{team}-{key}")
}

/// Two teams: one without any limit, one with a budget. A person owns one key of each team.
fn configuration() -> Value {
    let mut keys = json!({});
    for team in TEAMS {
        for key in 0..3 {
            let mut record = json!({ "team": team, "digest": digest(&secret(team, key)) });
            if key == 2 {
                record["owner"] = json!("user/ada");
            }
            keys[format!("{team}-{key}")] = record;
        }
    }
    let team = json!({ "organization": "acme", "name": "X", "members": { "ada": "team_developer" } });
    let mut limited = team.clone();
    limited["budget"] = json!({ "max": "1000000", "period": "month" });
    json!({
        "volatile_keys": true,
        "policy": {
            "version": 1,
            "targets": {
                "small": { "price": { "input": "1", "cached_input": "0.1", "output": "10" } },
                "middle": { "price": { "input": "2.5", "output": "12.500001" } },
                "large": { "price": { "input": "100", "output": "1000" } },
            },
            "organizations": { "acme": {
                "name": "Acme", "access": { "targets": ["small", "middle"] }, "members": { "ada": "org_member" },
            } },
            "teams": { "blue": team, "green": limited },
            "users": {
                "root": { "name": "Root", "role": "platform_admin", "tokens": [digest(TOKEN)] },
                "ada": { "name": "Ada" },
            },
            "keys": keys,
        },
    })
}

/// Sends the request of a key in a VM.
fn send(vm: &mut Vm, bearer: &str, body: &[u8]) -> (StreamId, Flow) {
    let stream = vm.open(Default::default()).unwrap();
    let head = HeaderMap::from([
        (":method", "POST"),
        (":path", CHAT),
        (":authority", "gateway"),
        (":scheme", "http"),
        ("authorization", &format!("Bearer {bearer}")),
        ("content-type", "application/json"),
    ]);
    match vm.request_headers(stream, head, false).unwrap() {
        Flow::Hold => (stream, vm.request_body(stream, body, true).unwrap()),
        decided => (stream, decided),
    }
}

/// Reads from the management API.
fn get(vm: &mut Vm, path: &str) -> String {
    let stream = vm.open(Default::default()).unwrap();
    let head = HeaderMap::from([
        (":method", "GET"),
        (":path", &format!("/tollgate/v1{path}")),
        (":authority", "gateway"),
        (":scheme", "http"),
        ("authorization", &format!("Bearer {TOKEN}")),
    ]);
    let Flow::Reply(reply) = vm.request_headers(stream, head, true).unwrap() else { panic!("{path}") };
    vm.close(stream, &Ending::Complete).unwrap();
    let body = String::from_utf8(reply.body).unwrap();
    assert_eq!(reply.status, 200, "{path}: {body}");
    body
}

fn usage(vm: &mut Vm, path: &str) -> Value {
    serde_json::from_str::<Value>(&get(vm, path)).unwrap()["usage"].clone()
}

fn answer(vm: &mut Vm, stream: StreamId, status: &str, content_type: &str, body: &[u8], end: bool) {
    let head = HeaderMap::from([(":status", status), ("content-type", content_type)]);
    vm.response_headers(stream, head, false).unwrap();
    vm.response_body(stream, body, end).unwrap();
}

/// The sums of a book: requests, refused requests, tokens of input, cached input and output, picodollars.
#[derive(Clone, Debug, Default, PartialEq)]
struct Sums([u64; 5], u128);

impl Sums {
    fn add(&mut self, other: &Sums) {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum += more;
        }
        self.1 += other.1;
    }

    fn of(row: &Value) -> Sums {
        let names = ["requests", "refused", "input_tokens", "cached_input_tokens", "output_tokens"];
        let cost = row["cost"].as_str().unwrap();
        let (whole, fraction) = cost.split_once('.').unwrap();
        let fraction: u128 = format!("{fraction:0<12}").parse().unwrap();
        let pico = whole.parse::<u128>().unwrap() * 1_000_000_000_000 + fraction;
        assert_eq!(dollars(Pico(pico)), cost);
        Sums(names.map(|name| row[name].as_u64().unwrap()), pico)
    }
}

/// The upstream's book by team, day, and model, key or member.
type Book = BTreeMap<(String, String, String), Sums>;

/// A random sequence.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[test]
fn three_days_of_two_vms_equal_the_upstreams_book_to_the_picodollar() {
    let filter = Filtered::new(&configuration());
    let mut vms = [filter.process.worker().unwrap(), filter.process.worker().unwrap()];
    let mut random = Random(7);
    let [mut by_target, mut by_key, mut by_member] = [Book::new(), Book::new(), Book::new()];
    for _ in 0..600 {
        // About three days in all, over midnights.
        filter.clock.advance(Duration::from_secs(random.below(860)));
        let vm = &mut vms[random.below(2) as usize];
        let wall = filter.clock.wall().as_millis() as u64;
        let day = rfc3339(Timestamp(wall - wall % (DAY / 1_000_000)));
        let team = TEAMS[random.below(2) as usize];
        let key = random.below(3) as usize;
        let (model, price) = MODELS[random.below(2) as usize];
        let [input, output] = [1 + random.below(5_000), 1 + random.below(5_000)];
        let cached = random.below(input);
        let cost = u128::from(input - cached) * price[0]
            + u128::from(cached) * price[1]
            + u128::from(output) * price[2];
        let body = |model: &str, stream: bool| {
            json!({ "model": model, "max_tokens": 5_000, "stream": stream, "messages": [] }).to_string()
        };
        let reported = json!({
            "prompt_tokens": input, "completion_tokens": output,
            "prompt_tokens_details": { "cached_tokens": cached },
        });
        let mut target = model;
        let sums = match random.below(8) {
            0 => {
                target = "large";
                let (stream, flow) = send(vm, &secret(team, key), body("large", false).as_bytes());
                assert!(matches!(flow, Flow::Reply(_)), "{flow:?}");
                vm.close(stream, &Ending::Complete).unwrap();
                Sums([0, 1, 0, 0, 0], 0)
            }
            1 => {
                let (stream, flow) = send(vm, "an-unknown-key", body(model, false).as_bytes());
                assert!(matches!(flow, Flow::Reply(_)), "{flow:?}");
                vm.close(stream, &Ending::Complete).unwrap();
                continue;
            }
            2 => {
                let (stream, _) = send(vm, &secret(team, key), body(model, false).as_bytes());
                answer(vm, stream, "500", "application/json", b"{}", true);
                vm.close(stream, &Ending::Complete).unwrap();
                Sums([1, 0, 0, 0, 0], 0)
            }
            3 => {
                // The client leaves: the provider's log of it is the access log's.
                let (stream, _) = send(vm, &secret(team, key), body(model, true).as_bytes());
                let chunk = b"data: {\"choices\":[{\"delta\":{\"content\":\"Hello\"}}]}\n\n";
                answer(vm, stream, "200", "text/event-stream", chunk, false);
                let closed = vm.close(stream, &Ending::ClientGone).unwrap();
                let number = |name: &str| logged(&closed, name).unwrap().parse::<u64>().unwrap();
                let [input, output] = [number("input_tokens"), number("output_tokens")];
                Sums([1, 0, input, 0, output], u128::from(input) * price[0] + u128::from(output) * price[2])
            }
            4 | 5 => {
                let (stream, _) = send(vm, &secret(team, key), body(model, true).as_bytes());
                let events =
                    format!("data: {}\n\ndata: [DONE]\n\n", json!({ "choices": [], "usage": reported }));
                answer(vm, stream, "200", "text/event-stream", events.as_bytes(), true);
                // Long streams end in a later hour, and count when they began.
                vm.close(stream, &Ending::Complete).unwrap();
                Sums([1, 0, input, cached, output], cost)
            }
            _ => {
                let (stream, _) = send(vm, &secret(team, key), body(model, false).as_bytes());
                let whole = json!({ "choices": [], "usage": reported }).to_string();
                answer(vm, stream, "200", "application/json", whole.as_bytes(), true);
                vm.close(stream, &Ending::Complete).unwrap();
                Sums([1, 0, input, cached, output], cost)
            }
        };
        by_target.entry((team.into(), day.clone(), target.into())).or_default().add(&sums);
        by_key.entry((team.into(), day.clone(), format!("{team}-{key}"))).or_default().add(&sums);
        if key == 2 {
            by_member.entry((team.into(), day, "ada".into())).or_default().add(&sums);
        }
        if random.below(5) == 0 {
            vms[random.below(2) as usize].tick().unwrap();
        }
    }
    assert!(by_target.keys().map(|(_, day, _)| day).collect::<std::collections::BTreeSet<_>>().len() >= 3);
    for vm in &mut vms {
        for (group, book) in [("target", &by_target), ("key", &by_key), ("member", &by_member)] {
            let mut counted = Book::new();
            for team in TEAMS {
                let usage = usage(vm, &format!("/teams/{team}/usage?by=day&group={group}"));
                for row in usage["items"].as_array().unwrap() {
                    let [day, name] =
                        [&row["start"], &row[group]].map(|text| text.as_str().unwrap().to_owned());
                    counted.insert((team.to_owned(), day, name), Sums::of(row));
                }
            }
            assert_eq!(&counted, book, "by {group}");
        }
        let mut all = Sums::default();
        by_target.values().for_each(|sums| all.add(sums));
        let organization = usage(vm, "/organizations/acme/usage?group=team&sort=spend&from=2027-01-01");
        assert_eq!(Sums::of(&organization["total"]), all);
        let csv = get(vm, "/organizations/acme/usage?by=day&format=csv");
        assert!(csv.starts_with("start,requests,refused,"), "{csv}");
    }
    // The budget of the month agrees.
    let answer: Value = serde_json::from_str(&get(&mut vms[0], "/teams/green/usage")).unwrap();
    assert_eq!(answer["budget"]["spent"], answer["usage"]["total"]["cost"]);
    assert_eq!(filter.metric("usage_uncounted"), 0);
}

/// Makes a call of one dollar and a microdollar with a key in a VM, and ends its stream.
fn call(vm: &mut Vm, key: usize) {
    let body = json!({ "model": "small", "max_tokens": 100_000, "messages": [] }).to_string();
    let (stream, flow) = send(vm, &secret("blue", key), body.as_bytes());
    assert!(matches!(flow, Flow::Forward(_)), "{flow:?}");
    let usage = json!({ "usage": { "prompt_tokens": 1, "completion_tokens": 100_000 } }).to_string();
    answer(vm, stream, "200", "application/json", usage.as_bytes(), true);
    vm.close(stream, &Ending::Complete).unwrap();
}

#[test]
fn a_vm_that_traps_while_it_posts_loses_and_repeats_nothing() {
    let mut traps = 0;
    for at in 1..60 {
        let filter = Filtered::new(&configuration());
        let [mut one, mut other] = [filter.process.worker().unwrap(), filter.process.worker().unwrap()];
        for key in [0, 1, 2, 0] {
            call(&mut one, key);
        }
        filter.process.faults().inject(None, When::Nth(at), Effect::Trap);
        let trapped = one.tick().is_err();
        filter.process.faults().clear();
        traps += u32::from(trapped);
        call(&mut other, 1);
        let month = |vm: &mut Vm| usage(vm, "/teams/blue/usage?by=month");
        let expected = Sums([5, 0, 5, 0, 500_000], 5 * 1_000_001_000_000);
        assert_eq!(Sums::of(&month(&mut other)["total"]), expected, "trap at call {at}");
        filter.clock.advance(Duration::from_secs(2));
        other.tick().unwrap();
        for query in ["by=hour&group=target", "by=day", "by=day&group=key", "by=month"] {
            let usage = usage(&mut other, &format!("/teams/blue/usage?{query}"));
            let mut all = Sums::default();
            usage["items"].as_array().unwrap().iter().for_each(|row| all.add(&Sums::of(row)));
            assert_eq!(all, expected, "{query}, trap at call {at}");
        }
    }
    assert!(traps > 30, "{traps} traps");
}

#[test]
fn a_call_with_conflicts_is_counted_at_the_next_tick_under_any_configuration() {
    for late in [false, true] {
        let mut filter = Filtered::new(&configuration());
        call(&mut filter.vm, 0);
        let body = json!({ "model": "small", "messages": [] }).to_string();
        let (stream, _) = send(&mut filter.vm, &secret("blue", 0), body.as_bytes());
        let reconfigure = |filter: &mut Filtered| {
            let mut other = configuration();
            other["policy"]["teams"]["blue"]["limits"] = json!({ "rpm": 7 });
            filter.process.configure(other.to_string().as_bytes()).unwrap();
            filter.vm.reconfigure().unwrap();
        };
        if late {
            reconfigure(&mut filter);
        }
        filter.process.faults().inject(Some(HostCall::SetSharedData), When::Always, Effect::LoseSwap);
        let usage_of = json!({ "usage": { "prompt_tokens": 1, "completion_tokens": 1 } }).to_string();
        answer(&mut filter.vm, stream, "200", "application/json", usage_of.as_bytes(), true);
        filter.close(stream, &Ending::Complete);
        filter.process.faults().clear();
        assert_eq!(usage(&mut filter.vm, "/teams/blue/usage")["total"]["requests"], 1);
        if !late {
            reconfigure(&mut filter);
        }
        for _ in 0..2 {
            filter.vm.tick().unwrap();
            assert_eq!(usage(&mut filter.vm, "/teams/blue/usage")["total"]["requests"], 2, "late: {late}");
        }
    }
}

#[test]
fn counting_costs_a_call_one_read_and_one_swap() {
    let mut filter = Filtered::new(&configuration());
    call(&mut filter.vm, 0);
    let calls = |vm: &Vm| [HostCall::GetSharedData, HostCall::SetSharedData].map(|call| vm.count(call));
    let before = calls(&filter.vm);
    call(&mut filter.vm, 0);
    let after = calls(&filter.vm);
    // A team without a limit reads the policy's epoch besides.
    assert_eq!([after[0] - before[0], after[1] - before[1]], [2, 1]);
}

/// The time for which this thread has run, where the system tells it.
fn run_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or_default())
}

#[test]
fn a_thousand_teams_are_one_answer() {
    // Beside the two of the configuration.
    const TEAMS: u64 = 998;
    let mut document = configuration();
    for number in 0..TEAMS {
        let id = format!("team-{number:04}");
        document["policy"]["teams"][&id] =
            json!({ "organization": "acme", "name": id, "budget": { "max": "10", "period": "month" } });
        document["policy"]["keys"][&id] = json!({ "team": id, "digest": digest(&secret(&id, 0)) });
    }
    let mut filter = Filtered::new(&document);
    // Two months, in which each team calls on 8 days.
    for day in 0..62_u64 {
        for number in (0..TEAMS).filter(|number| (number + day) % 8 == 0) {
            let body = json!({ "model": MODELS[(number % 2) as usize].0, "max_tokens": 10, "messages": [] });
            let (stream, flow) =
                send(&mut filter.vm, &secret(&format!("team-{number:04}"), 0), body.to_string().as_bytes());
            assert!(matches!(flow, Flow::Forward(_)), "{flow:?}");
            let reported =
                json!({ "usage": { "prompt_tokens": number, "completion_tokens": 7 } }).to_string();
            answer(&mut filter.vm, stream, "200", "application/json", reported.as_bytes(), true);
            filter.close(stream, &Ending::Complete);
        }
        for _ in 0..80 {
            filter.vm.tick().unwrap();
            filter.clock.advance(Duration::from_secs(1));
        }
        filter.clock.advance(Duration::from_nanos(DAY) - Duration::from_secs(80));
    }
    for query in [
        "group=team&sort=spend&limit=1000",
        "group=team&sort=closeness&limit=1000",
        "group=team&limit=1000",
        "group=team&by=day&limit=1000",
        "group=target",
    ] {
        // The first answer grows the memory of the VM.
        let path = format!("/organizations/acme/usage?{query}");
        let mut took = Duration::MAX;
        let mut answer = String::new();
        for _ in 0..5 {
            let start = run_time();
            answer = get(&mut filter.vm, &path);
            took = took.min(run_time() - start);
        }
        println!("{query}: {} bytes in {took:?}", answer.len());
        let rows: Value = serde_json::from_str(&answer).unwrap();
        let rows = rows["usage"]["items"].as_array().unwrap().len();
        assert!((1..=1_000).contains(&rows), "{query}: {rows} rows");
    }
    let records = filter.process.shared_data().snapshot();
    println!(
        "{} records of {} bytes",
        records.len(),
        records.iter().map(|(name, bytes)| name.len() + bytes.len()).sum::<usize>()
    );
}
