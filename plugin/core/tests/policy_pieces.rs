//! A policy does not depend on the pieces in which it arrives, and every mutated document loads or is rejected.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use tollgate_core::config;
use tollgate_core::policy::PolicyLoader;

const DEMO: &str = include_str!("../../../policies/demo.json");

/// A random number generator with a fixed seed (xorshift64*): the same inputs in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }
}

fn load<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut loader = PolicyLoader::default();
    for piece in pieces {
        loader.push(piece);
    }
    match loader.finish() {
        Ok((policy, warnings)) => {
            let keys: Vec<_> = policy.keys.iter().collect();
            let teams: Vec<_> = policy.teams.iter().collect();
            let users: Vec<_> = policy.users.iter().collect();
            let targets: Vec<_> = policy.targets.iter().collect();
            let organizations: Vec<_> = policy.organizations.iter().collect();
            format!("{targets:?}{organizations:?}{teams:?}{users:?}{keys:?}{warnings:?}")
        }
        Err(diagnostics) => format!("{diagnostics:?}"),
    }
}

#[test]
fn a_policy_in_pieces_loads_like_the_whole() {
    let text = DEMO.as_bytes();
    let whole = load([text]);
    assert!(whole.contains("demo"), "{whole}");
    for size in 1..40 {
        assert_eq!(load(text.chunks(size)), whole, "pieces of {size}");
    }
    let mut random = Random(1);
    for _ in 0..100 {
        let (left, rest) = text.split_at(random.below(text.len()));
        let (middle, right) = rest.split_at(random.below(rest.len().max(1)));
        assert_eq!(load([left, middle, right]), whole);
    }
}

#[test]
fn a_hundred_thousand_mutated_documents_load_or_are_rejected() {
    let sample = br#"{"version":1,"targets":{"a":{"access_groups":["g"],"price":{"input":"1","output":"2.5"}}},
        "organizations":{"o":{"name":"O","access":{"targets":["*"]},"limits":{"rpm":9},"members":{"u":"org_owner"}}},
        "teams":{"t":{"organization":"o","name":"T","access":{"mode":"restrict","targets":["a"]},"members":{"u":"team_admin"}}},
        "users":{"u":{"name":"U"}},"keys":{"k":{"team":"t","owner":"user/u","expires_at":"2030-01-01T00:00:00Z",
        "digest":"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}}}"#;
    assert!(!load([&sample[..]]).contains("Error"));
    const STRANGE: &[u8] = b"{}[]\",:0-9.eE\\u \x00\xff";
    let mut random = Random(2);
    let (mut loaded, mut rejected) = (0, 0);
    let mut text = Vec::new();
    for round in 0..100_000 {
        text.clear();
        text.extend_from_slice(sample);
        for _ in 0..=random.below(3) {
            let (a, b) = (random.below(text.len()), random.below(text.len()));
            match random.below(5) {
                0 => text[a] = STRANGE[random.below(STRANGE.len())],
                1 => text[a] ^= 1 << random.below(8),
                2 => drop(text.drain(a.min(b)..a.max(b).min(a.min(b) + 30))),
                3 => text.truncate(a.max(1)),
                _ => {
                    let copy = text[a.min(b)..a.max(b).min(a.min(b) + 30)].to_vec();
                    text.splice(a..a, copy);
                }
            }
        }
        let mut loader = PolicyLoader::default();
        let (left, right) = text.split_at(random.below(text.len()));
        loader.push(left);
        loader.push(right);
        match loader.finish() {
            Ok(_) => loaded += 1,
            Err(diagnostics) => {
                rejected += 1;
                assert!(!diagnostics.is_empty(), "round {round}: rejected without a reason");
            }
        }
    }
    assert!(loaded > 100 && rejected > 50_000, "{loaded} loaded, {rejected} rejected");
}

#[test]
fn pointers_in_a_gateway_start_at_the_document_root() {
    let mut loader = config::ConfigLoader::default();
    loader.push(br#"{"policy": {"version": 1, "targets": {"a": {"price": {}}}}, "polcy": 1}"#);
    let places: Vec<String> = loader.finish().unwrap_err().into_iter().map(|f| f.pointer).collect();
    assert!(places.contains(&"/polcy".into()), "{places:?}");
    assert!(places.iter().any(|place| place.starts_with("/policy/targets/a/price")), "{places:?}");
}
