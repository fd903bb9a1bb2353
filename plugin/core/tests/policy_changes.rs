//! A policy changed in place, compared with one loaded from the whole changed document.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/policies.rs"]
mod policies;

use std::collections::BTreeSet;

use policies::{DIGESTS, Plain, Tape, digest, written};
use proptest::prelude::*;
use serde_json::{Value, json};
use tollgate_core::auth::identity::check_key;
use tollgate_core::counters::RecordKeys;
use tollgate_core::policy::{
    Change, Diagnostic, Document, OrganizationId, Policy, Section, Severity, TeamId,
};
use tollgate_core::time::Timestamp;

fn lines(diagnostics: &[Diagnostic], severity: Severity) -> Vec<String> {
    let mut lines: Vec<String> = diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.severity == severity)
        .map(ToString::to_string)
        .collect();
    lines.sort();
    lines
}

/// Returns the errors and the warnings of a document, sorted.
fn diagnostics_of(plain: &Plain) -> [Vec<String>; 2] {
    let diagnostics = plain.load().map_or_else(|diagnostics| diagnostics, |(_, warnings)| warnings);
    [lines(&diagnostics, Severity::Error), lines(&diagnostics, Severity::Warning)]
}

/// Returns true if a record of the change cannot be read at all, so that records which name it are invalid too.
fn is_unreadable(change: &Change) -> bool {
    let needs = |section: Section| match section {
        Section::Teams => &["organization"][..],
        Section::ServiceAccounts => &["team"],
        Section::Keys => &["team", "digest"],
        _ => &[],
    };
    change.edits.iter().any(|edit| {
        let record = edit.record.as_ref();
        record.is_some_and(|record| needs(edit.section).iter().any(|field| !record[*field].is_string()))
    })
}

/// Returns the observable behavior of a policy, by names: owners of digests and tokens, members of teams and
/// organizations, and the access of each key.
fn behaviour(policy: &Policy) -> Vec<String> {
    let mut seen = Vec::new();
    for n in 0..DIGESTS {
        let bytes = [n; 32];
        for wall in [0, 4_000_000_000 * 1_000_000_000] {
            let key = policy.key_by_digest(&bytes, Timestamp::at(wall));
            seen.push(format!("{} at {wall}: {:?}", digest(n), key.map(|(_, key)| &key.id)));
        }
        seen.push(format!("token {n}: {:?}", policy.user_by_token(&bytes).map(|(_, user)| &user.id)));
    }
    let mut rest = BTreeSet::new();
    for (position, id, _) in policy.organizations.iter() {
        let teams: BTreeSet<_> =
            policy.teams_of(OrganizationId(position)).map(|(_, team)| &team.id).collect();
        rest.insert(format!("teams of {id}: {teams:?}"));
    }
    for (position, id, _) in policy.teams.iter() {
        let keys: BTreeSet<_> = policy.keys_of(TeamId(position)).map(|(_, key)| &key.id).collect();
        let accounts: BTreeSet<_> =
            policy.service_accounts_of(TeamId(position)).map(|(_, account)| &account.id).collect();
        rest.insert(format!("of {id}: {keys:?} {accounts:?}"));
    }
    for (_, id, key) in policy.keys.iter() {
        let identity = check_key(policy, key, Timestamp(0));
        let may = identity.as_ref().map(|identity| {
            let targets = identity.levels().targets(policy).map(|(_, target)| &target.name);
            (targets.collect::<BTreeSet<_>>(), identity.principals(&RecordKeys::new(""), None).len())
        });
        rest.insert(format!("key {id}: {:?}", may.map_err(|refusal| refusal.label().code)));
    }
    seen.extend(rest);
    seen
}

/// Draws changes from a tape and applies the valid ones. Calls `each` before each change.
fn walk(bytes: &[u8], mut each: impl FnMut(&Plain, &mut Policy, &Change)) -> (Plain, Policy) {
    let mut tape = Tape(bytes);
    let mut plain = Plain::valid();
    let mut policy = plain.load().unwrap().0;
    while !tape.is_over() {
        let change = plain.draw(&mut tape);
        each(&plain, &mut policy, &change);
        if policy.try_change(&change).is_ok() {
            policy.apply(&change).unwrap();
            plain = written(&policy);
        }
    }
    (plain, policy)
}

fn tapes(length: usize) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..length)
}

/// Returns the documents that turn the policy `from` into `to`, the removed ones last.
fn all_documents(from: &Policy, to: &Policy) -> Vec<(Document, Option<Value>)> {
    let mut documents: Vec<(Document, Option<Value>)> =
        to.documents().into_iter().map(|document| (document.clone(), to.document(&document))).collect();
    let gone = from.documents().into_iter().filter(|document| to.document(document).is_none());
    documents.extend(gone.map(|document| (document, None)).collect::<Vec<_>>());
    documents
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn a_change_has_the_diagnostics_of_the_whole_document(tape in tapes(600)) {
        walk(&tape, |plain, policy, change| {
            let [_, warned_before] = diagnostics_of(plain);
            let (before, behaved) = (written(policy), behaviour(policy));
            let tried = policy.try_change(change);
            assert_eq!(written(policy), before, "the policy is unchanged");
            assert_eq!(behaviour(policy), behaved, "the behavior is unchanged");
            let mut changed = plain.clone();
            changed.apply(change);
            let [errors, warnings] = diagnostics_of(&changed);
            let (Ok(diagnostics) | Err(diagnostics)) = &tried;
            if is_unreadable(change) {
                assert!(tried.is_err());
                assert!(lines(diagnostics, Severity::Error).iter().all(|line| errors.contains(line)));
                return;
            }
            assert_eq!(lines(diagnostics, Severity::Error), errors, "{change:?}\nof {}", plain.document());
            let reported = lines(diagnostics, Severity::Warning);
            assert!(reported.iter().all(|line| warnings.contains(line)), "{reported:?} of {warnings:?}");
            let new = warnings.iter().filter(|line| !warned_before.contains(line));
            new.for_each(|line| assert!(reported.contains(line), "{line} is new: {change:?}"));
        });
    }

    #[test]
    fn a_changed_policy_behaves_like_one_loaded_from_its_document(tape in tapes(600)) {
        let (plain, policy) = walk(&tape, |_, _, _| ());
        let (reloaded, _) = plain.load().unwrap();
        prop_assert_eq!(behaviour(&policy), behaviour(&reloaded));
        prop_assert_eq!(written(&reloaded), plain, "records are written as they were read");
        prop_assert_eq!(policy.fingerprint(), reloaded.fingerprint());
    }

    #[test]
    fn a_written_record_reads_back_unchanged(tape in tapes(300)) {
        walk(&tape, |plain, _, change| {
            let mut changed = plain.clone();
            changed.apply(change);
            if let Ok((policy, _)) = changed.load() {
                let once = written(&policy);
                assert_eq!(written(&once.load().unwrap().0), once);
                assert_eq!(behaviour(&once.load().unwrap().0), behaviour(&policy));
            }
        });
    }

    #[test]
    fn a_replayed_change_gives_the_same_records(tape in tapes(400)) {
        let mut tape = Tape(&tape);
        let mut plain = Plain::valid();
        let mut policy = plain.load().unwrap().0;
        while !tape.is_over() {
            let change = plain.draw(&mut tape);
            let mut copy = policy.clone();
            let mut changed = plain.clone();
            changed.apply(&change);
            let read_back = Change::from_json(&change.to_json()).unwrap();
            prop_assert_eq!(copy.apply(&read_back).is_ok(), policy.apply(&change).is_ok());
            prop_assert_eq!(written(&copy), written(&policy));
            let [errors, _] = diagnostics_of(&plain);
            if let Err(diagnostics) = policy.try_change(&Change { edits: Vec::new(), unpriced: change.unpriced }) {
                prop_assert!(false, "an empty change has no errors: {diagnostics:?} of {errors:?}");
            }
            plain = written(&policy);
            if let Ok((reloaded, _)) = plain.load() {
                prop_assert_eq!(behaviour(&policy), behaviour(&reloaded));
            }
        }
    }

    #[test]
    fn the_difference_of_documents_turns_one_policy_into_another(one in tapes(300), two in tapes(300), split in any::<u64>()) {
        let (_, from) = walk(&one, |_, _, _| ());
        let (_, to) = walk(&two, |_, _, _| ());
        let documents = all_documents(&from, &to);
        let mut at_once = from.clone();
        at_once.apply(&at_once.difference(&documents).unwrap()).unwrap();
        prop_assert_eq!(written(&at_once), written(&to));
        prop_assert_eq!(behaviour(&at_once), behaviour(&to));
        prop_assert!(at_once.difference(&documents).unwrap().is_empty());
        prop_assert_eq!(at_once.documents(), to.documents());
        // In two calls and in any order: a record that moves between documents is not lost.
        let mut in_two = from.clone();
        for half in [0, 1] {
            let mut numbered = documents.iter().enumerate();
            let part = numbered.by_ref().filter(|(n, _)| (split >> (n % 64)) & 1 == half);
            let part: Vec<_> = part.map(|(_, document)| document.clone()).collect();
            in_two.apply(&in_two.difference(&part).unwrap()).unwrap();
        }
        prop_assert_eq!(written(&in_two), written(&to));
    }

    #[test]
    fn touched_documents_include_every_changed_document(tape in tapes(400)) {
        walk(&tape, |_, policy, change| {
            let mut changed = policy.clone();
            if changed.apply(change).is_err() {
                return;
            }
            let touched = policy.touched(change);
            let mut follower = policy.clone();
            for (document, content) in all_documents(policy, &changed) {
                if policy.document(&document) != content {
                    assert!(touched.contains(&document), "{document} by {change:?}");
                }
            }
            let contents: Vec<_> =
                touched.into_iter().map(|document| (document.clone(), changed.document(&document))).collect();
            follower.apply(&follower.difference(&contents).unwrap()).unwrap();
            assert_eq!(written(&follower), written(&changed));
            let same = written(policy) == written(&changed);
            assert_eq!(policy.fingerprint() == changed.fingerprint(), same, "{change:?}");
            for (section, records) in &written(&changed).sections {
                for (id, record) in records {
                    let document = changed.document_of(*section, id, None).unwrap();
                    assert_eq!(changed.document_of(*section, id, Some(record)).as_ref(), Some(&document));
                    let content = changed.document(&document).unwrap();
                    assert_eq!(&content[section.name()][id], record);
                }
            }
        });
    }
}

fn valid_policy() -> Policy {
    Plain::valid().load().unwrap().0
}

#[test]
fn the_later_of_two_edits_of_a_record_applies() {
    let mut policy = valid_policy();
    let key = |n| json!({"team": "search", "digest": digest(n)});
    let mut change = Change::default();
    change.put(Section::Keys, "k9", key(5));
    change.remove(Section::Keys, "k9");
    change.remove(Section::Keys, "k1");
    change.put(Section::Keys, "k1", key(6));
    policy.try_change(&change).unwrap();
    policy.apply(&change).unwrap();
    assert_eq!(policy.record(Section::Keys, "k9"), None);
    assert_eq!(policy.record(Section::Keys, "k1"), Some(key(6)));
    let now = Timestamp(0);
    assert!(policy.key_by_digest(&[5; 32], now).is_none());
    assert!(policy.key_by_digest(&[1; 32], now).is_none());
    assert_eq!(&*policy.key_by_digest(&[6; 32], now).unwrap().1.id, "k1");
}

#[test]
fn two_keys_can_swap_digests_in_one_change() {
    let mut policy = valid_policy();
    let mut change = Change::default();
    change.put(Section::Keys, "k1", json!({"team": "search", "digest": digest(2)}));
    change.put(Section::Keys, "k2", json!({"team": "search", "digest": digest(1)}));
    assert_eq!(policy.try_change(&change), Ok(Vec::new()));
    policy.apply(&change).unwrap();
    let now = Timestamp(0);
    assert_eq!(&*policy.key_by_digest(&[2; 32], now).unwrap().1.id, "k1");
}

#[test]
fn a_malformed_record_rejects_the_whole_change() {
    let mut policy = valid_policy();
    let mut change = Change::default();
    change.remove(Section::Keys, "k1");
    change.put(
        Section::Teams,
        "search",
        json!({"organization": "acme", "name": "Search", "limits": {"rpm": 0}}),
    );
    change.put(Section::Keys, "not an id", json!({"team": "search", "digest": digest(5)}));
    let diagnostics = policy.apply(&change).unwrap_err();
    let places: Vec<&str> = diagnostics.iter().map(|diagnostic| diagnostic.pointer.as_str()).collect();
    assert_eq!(places, ["/teams/search/limits/rpm", "/keys/not an id"]);
    assert_eq!(written(&policy), written(&valid_policy()));
}

#[test]
fn keys_are_rejected_while_their_team_organization_or_user_is_removed() {
    for (section, id) in
        [(Section::Teams, "search"), (Section::Organizations, "acme"), (Section::Users, "bob")]
    {
        let mut policy = valid_policy();
        let record = policy.record(section, id).unwrap();
        let now = Timestamp(0);
        let works =
            |policy: &Policy| check_key(policy, policy.key_by_digest(&[1; 32], now).unwrap().1, now).is_ok();
        assert!(works(&policy));
        let mut gone = Change::default();
        gone.remove(section, id);
        assert!(policy.try_change(&gone).is_err(), "{id} is still used");
        policy.apply(&gone).unwrap();
        assert!(!works(&policy), "without {id}");
        let mut back = Change::default();
        back.put(section, id, record);
        policy.apply(&back).unwrap();
        assert!(works(&policy), "with {id} again");
    }
}

#[test]
fn pointers_use_the_list_order_of_the_change() {
    let mut policy = valid_policy();
    let mut change = Change::default();
    let access = json!({"mode": "restrict", "targets": ["b", "gone", "a"], "access_groups": ["z", "g1"]});
    let team = json!({"organization": "acme", "name": "Search", "access": access, "members": {"bob": "team_viewer"}});
    change.put(Section::Teams, "search", team);
    let places = |diagnostics: Vec<Diagnostic>| -> Vec<String> {
        diagnostics.into_iter().map(|diagnostic| diagnostic.pointer).collect()
    };
    assert_eq!(
        places(policy.try_change(&change).unwrap_err()),
        [
            "/teams/search/access/targets/1",
            "/teams/search/access/access_groups/0",
            "/teams/search/access/access_groups/0"
        ],
    );
}

#[test]
fn an_existing_error_does_not_block_another_change() {
    let mut policy = valid_policy();
    let mut broken = Change::default();
    broken.remove(Section::Users, "alice");
    policy.apply(&broken).unwrap();
    let mut other = Change::default();
    other.put(Section::Organizations, "acme", {
        let mut record = policy.record(Section::Organizations, "acme").unwrap();
        record["limits"] = json!({"rpm": 15});
        record
    });
    policy.try_change(&other).unwrap();
    other.edits[0].record.as_mut().unwrap()["limits"] = json!({"rpm": 9});
    let diagnostics = policy.try_change(&other).unwrap_err();
    assert_eq!(lines(&diagnostics, Severity::Error).len(), 1, "{diagnostics:?}");
    assert_eq!(diagnostics[0].pointer, "/teams/search/limits/rpm");
}

#[test]
fn a_document_with_records_of_another_is_rejected() {
    let policy = valid_policy();
    let places = |documents: &[(&str, Value)]| -> Vec<String> {
        let documents: Vec<_> = documents
            .iter()
            .map(|(name, content)| (Document::named(name).unwrap(), Some(content.clone())))
            .collect();
        policy.difference(&documents).unwrap_err().into_iter().map(|diagnostic| diagnostic.pointer).collect()
    };
    let key = json!({"team": "search", "digest": digest(1)});
    assert_eq!(places(&[("team/lab", json!({"keys": {"k1": key}}))]), ["/keys/k1"]);
    assert_eq!(places(&[("user/bob", json!({"users": {"alice": {"name": "A"}}}))]), ["/users/alice"]);
    assert_eq!(places(&[("team/search", json!({"colour": {}}))]), ["/colour"]);
    assert_eq!(places(&[("team/search", json!({"teams": 1}))]), ["/teams"]);
    assert_eq!(places(&[("team/search", json!([]))]), [""]);
    assert_eq!(places(&[("catalog", json!({"unpriced": "maybe"}))]), ["/unpriced"]);
    let content = policy.document(&Document::Team("search".into())).unwrap();
    let twice = [("team/search", content.clone()), ("team/search", content)];
    assert_eq!(places(&twice), ["/keys/k1", "/keys/k2", "/service_accounts/ci", "/teams/search"]);
    let complete = json!({"complete": true, "targets": written(&policy).sections[&Section::Targets]});
    assert!(policy.difference(&[(Document::Catalog, Some(complete))]).unwrap().is_empty());
}

#[test]
fn a_lowered_limit_is_checked_against_every_level_below() {
    let mut policy = valid_policy();
    let mut change = Change::default();
    let key =
        json!({"team": "search", "owner": "user/bob", "digest": digest(1), "limits": {"rph": 7, "tpd": 70}});
    change.put(Section::Keys, "k1", key);
    policy.apply(&change).unwrap();
    for (section, id, field, most, place) in [
        (Section::Organizations, "acme", "limits", json!({"rpm": 20, "rph": 6}), "/keys/k1/limits/rph"),
        (Section::Organizations, "acme", "limits", json!({"rpm": 9}), "/teams/search/limits/rpm"),
        (Section::Teams, "search", "limits", json!({"tpd": 69}), "/keys/k1/limits/tpd"),
        (Section::Teams, "search", "member_limits", json!({"tpd": 69}), "/keys/k1/limits/tpd"),
        (Section::Users, "bob", "limits", json!({"rph": 6}), "/keys/k1/limits/rph"),
    ] {
        let mut record = policy.record(section, id).unwrap();
        record[field] = most;
        let mut change = Change::default();
        change.put(section, id, record);
        let diagnostics = policy.try_change(&change).unwrap_err();
        let places: Vec<&str> = diagnostics.iter().map(|diagnostic| diagnostic.pointer.as_str()).collect();
        assert_eq!(places, [place], "{id} {field}");
    }
}
