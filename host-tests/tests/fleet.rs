//! The core's etcd client with a real etcd and with the embedded store.

mod data;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use data::{PREFIX, Site};
use serde_json::{Value, json};
use tollgate_core::admin::audit::{AuditQuery, EntryKind, MAX_ENTRIES, MAX_ENTRIES_OF_ACTOR};
use tollgate_core::config::EtcdConfig;
use tollgate_core::etcd::{
    Append, AuditPage, Changes, CommitOperation, Committed, EtcdClient, EtcdEffect, EtcdError, KeySpace,
    PAGE, Poll, Trim, complete, entry_name, overlay,
};
use tollgate_core::policy::Document;
use tollgate_core::time::{Now, Timestamp};
use tollgate_host::etcd::Etcd as Client;
use tollgate_host::tools::Etcd;

fn client(site: &Site) -> Client {
    site.client()
}

fn team(id: &str) -> Document {
    Document::Team(id.to_owned())
}

/// Returns the name of an entry of one of eight actors.
fn name(n: u64) -> String {
    entry_name(Timestamp(n), n, &format!("actor{}", n % 8))
}

/// Commits one document with an audit entry of this number.
fn write(client: &mut Client, base: u64, n: u64, document: Document, content: Option<Value>) -> Committed {
    let name = name(n);
    let commit =
        CommitOperation::new(client.keys(), base, &[(document, content)], (Some("acme"), &name, "{}"))
            .unwrap();
    client.run(commit).unwrap()
}

fn revision(committed: Committed) -> u64 {
    match committed {
        Committed::Stored { revision } => revision,
        Committed::Conflict => panic!("lost"),
    }
}

fn poll(client: &mut Client, known: u64) -> Result<Changes, EtcdError> {
    let poll = Poll::new(client.keys(), known);
    client.run(poll)
}

fn audit(client: &mut Client, after: Option<String>, limit: usize) -> (Vec<(String, String)>, bool) {
    let query =
        AuditQuery { organization: Some("acme".to_owned()), after, limit, kind: Some(EntryKind::Change) };
    let page = AuditPage::new(client.keys(), &query);
    client.run(page).unwrap()
}

#[test]
fn a_commit_is_read_from_its_revision_on_and_a_late_writer_conflicts() {
    for site in Site::both() {
        let client = &mut client(&site);
        assert_eq!(poll(client, 0).unwrap(), Changes { revision: 0, all: false, documents: vec![] });

        let first = revision(write(client, 0, 1, team("search"), Some(json!({"teams": {"search": 1}}))));
        assert_eq!(
            write(client, 0, 2, team("ads"), Some(json!(2))),
            Committed::Conflict,
            "decided on nothing"
        );
        let second = revision(write(client, first, 3, team("ads"), Some(json!({"teams": {"ads": 2}}))));
        assert_eq!(write(client, first, 4, team("ads"), Some(json!(4))), Committed::Conflict);

        let all = poll(client, 0).unwrap();
        assert_eq!((all.revision, all.all), (second, true));
        assert_eq!(all.documents.len(), 2);
        let news = poll(client, first).unwrap();
        let expected = vec![(team("ads"), Some(json!({"teams": {"ads": 2}})))];
        assert_eq!(news, Changes { revision: second, all: false, documents: expected });

        // A removal is a change as well.
        let third = revision(write(client, second, 5, team("search"), None));
        assert_eq!(poll(client, second).unwrap().documents, [(team("search"), None)]);
        assert_eq!(poll(client, third).unwrap().documents, []);

        // Conflicting writes left no trace, not even in the audit log.
        let names: Vec<_> = audit(client, None, 10).0.into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, [name(5), name(3), name(1)]);
    }
}

#[test]
fn a_write_that_is_sent_twice_is_applied_once() {
    for site in Site::both() {
        let client = &mut client(&site);
        let first = write(client, 0, 1, team("search"), Some(json!(1)));
        // As after a lost response: the same transaction again.
        assert_eq!(write(client, 0, 1, team("search"), Some(json!(1))), first);
        assert_eq!(poll(client, 0).unwrap().revision, revision(first));
    }
}

#[test]
fn many_documents_are_read_as_one_snapshot() {
    for site in Site::both() {
        let client = &mut client(&site);
        let documents: Vec<_> =
            (0..PAGE * 3 + 1).map(|n| (team(&format!("team{n:03}")), Some(json!({"n": n})))).collect();
        let commit = CommitOperation::new(client.keys(), 0, &documents, (None, &name(1), "{}")).unwrap();
        let base = revision(client.run(commit).unwrap());
        assert_eq!(poll(client, 0).unwrap(), Changes { revision: base, all: true, documents });
    }
}

#[test]
fn a_compacted_history_and_other_writes_in_etcd_do_not_stop_a_poll() {
    for site in Site::both() {
        let client = &mut client(&site);
        let base = revision(write(client, 0, 1, team("search"), Some(json!(1))));
        let mut last = 0;
        for n in 2..8 {
            let append = Append::new(client.keys(), None, "ann", (&name(n), "{}"));
            client.run(append).unwrap();
            last = n;
        }
        // Everything before now is dropped, including the revision of the last write.
        let body = json!({"revision": (base + last - 1).to_string(), "physical": true}).to_string();
        let compact = tollgate_core::etcd::EtcdCall { path: "/v3/kv/compaction", token: None, body };
        assert_eq!(client.call(compact).0, 200);
        let loaded = poll(client, 0).unwrap();
        assert_eq!((loaded.revision, loaded.documents.len()), (base, 1));
    }
}

#[test]
fn an_emptied_etcd_does_not_remove_the_policy() {
    for site in Site::both() {
        let client = &mut client(&site);
        assert_eq!(poll(client, 7), Err(EtcdError::RevisionRegressed { known: 7, found: 0 }));
        assert_eq!(write(client, 7, 1, team("search"), None), Committed::Conflict);
    }
}

#[test]
fn a_complete_catalog_removes_all_other_records() {
    for site in Site::both() {
        let client = &mut client(&site);
        let present = [Document::Catalog, team("local"), team("search")];
        let first = revision(write(client, 0, 1, team("search"), Some(json!({"n": 1}))));
        let loaded = poll(client, 0).unwrap();
        assert_eq!(overlay(&present, loaded), [(team("search"), Some(json!({"n": 1})))], "local stays");

        let catalog = json!({"targets": {}, "complete": true});
        revision(write(client, first, 2, Document::Catalog, Some(catalog)));
        let loaded = poll(client, first).unwrap();
        assert!(loaded.all && complete(&loaded.documents), "{loaded:?}");
        let made: BTreeMap<_, _> = overlay(&present, loaded).into_iter().collect();
        assert_eq!(made.len(), 3);
        assert_eq!(made[&team("local")], None);
        assert_eq!(made[&team("search")], Some(json!({"n": 1})));
        assert_eq!(made[&Document::Catalog], Some(json!({"targets": {}})), "no field of a policy");
    }
}

#[test]
fn an_oversized_transaction_is_rejected_before_it_is_sent() {
    let keys = KeySpace::new(PREFIX);
    let entry = (None, "1", "{}");
    let large = Some(Value::String("x".repeat(1024 * 1024)));
    assert!(matches!(
        CommitOperation::new(&keys, 0, &[(team("a"), large)], entry),
        Err(EtcdError::DocumentTooLarge { document: Document::Team(_), .. })
    ));
    let half = Some(Value::String("x".repeat(800 * 1024)));
    let two = [(team("a"), half.clone()), (team("b"), half.clone())];
    assert!(matches!(CommitOperation::new(&keys, 0, &two, entry), Err(EtcdError::TooManyBytes(_))));
    let many: Vec<_> = (0..121).map(|n| (team(&n.to_string()), None)).collect();
    assert!(matches!(CommitOperation::new(&keys, 0, &many, entry), Err(EtcdError::TooManyDocuments(121))));

    // Every accepted transaction fits: etcd's own limits are higher.
    for site in Site::both() {
        let client = &mut client(&site);
        let largest = Some(Value::String("x".repeat(1024 * 1024 - 2)));
        let base = revision(write(client, 0, 1, team("a"), largest));
        let most: Vec<_> =
            (0..120).map(|n| (team(&n.to_string()), Some(Value::String("x".repeat(11_000))))).collect();
        let commit = CommitOperation::new(client.keys(), base, &most, (None, &name(2), "{}")).unwrap();
        assert!(matches!(client.run(commit), Ok(Committed::Stored { .. })));
    }
}

#[test]
fn the_audit_log_is_read_in_pages_newest_first_and_truncated() {
    for site in Site::both() {
        let client = &mut client(&site);
        let count = MAX_ENTRIES as u64 + 3;
        let mut base = 0;
        for n in 1..=count {
            let (name, text) = (name(n), format!("{{\"n\":{n}}}"));
            let documents = [(team("search"), Some(json!(n)))];
            let commit = CommitOperation::new(client.keys(), base, &documents, (Some("acme"), &name, &text));
            base = revision(client.run(commit.unwrap()).unwrap());
        }
        let (one, text) = (name(1), "{}");
        let documents = [(team("search"), Some(json!(0)))];
        let other = CommitOperation::new(client.keys(), base, &documents, (Some("acme-2"), &one, text));
        client.run(other.unwrap()).unwrap();

        let (page, more) = audit(client, None, 2);
        assert!(more);
        assert_eq!(page[0], (name(count), format!("{{\"n\":{count}}}")));
        let (page, _) = audit(client, Some(page[1].0.clone()), 1);
        assert_eq!(page[0].0, name(count - 2));

        let trim = Trim::changes(client.keys(), Some("acme"));
        client.run(trim).unwrap();
        let (page, more) = audit(client, None, MAX_ENTRIES);
        assert_eq!((page.len(), more), (MAX_ENTRIES, false));
        assert_eq!(page.last().unwrap().0, name(4));
        let foreign = AuditQuery {
            organization: Some("acme".to_owned()),
            after: Some("~".to_owned()),
            limit: MAX_ENTRIES,
            kind: None,
        };
        let page = AuditPage::new(client.keys(), &foreign);
        assert_eq!(client.run(page).unwrap().0.len(), MAX_ENTRIES, "of this organization alone");
    }
}

#[test]
fn the_changes_of_one_actor_never_remove_those_of_others() {
    for site in Site::both() {
        let client = &mut client(&site);
        let mut base = 0;
        for n in 1..=400 {
            let actor = if n <= 20 { "owner" } else { "developer" };
            let name = entry_name(Timestamp(n), n, actor);
            let documents = [(team("search"), Some(json!(n)))];
            let commit = CommitOperation::new(client.keys(), base, &documents, (Some("acme"), &name, actor));
            base = revision(client.run(commit.unwrap()).unwrap());
        }
        for _ in 0..2 {
            client.run(Trim::changes(client.keys(), Some("acme"))).unwrap();
        }
        let (page, _) = audit(client, None, MAX_ENTRIES);
        let of = |actor: &str| page.iter().filter(|(_, entry)| entry == actor).count();
        assert_eq!((of("owner"), of("developer")), (20, MAX_ENTRIES_OF_ACTOR));
    }
}

#[test]
fn each_actor_has_keys_of_its_own_for_attempts_and_their_sum_is_bounded() {
    for site in Site::both() {
        let client = &mut client(&site);
        for n in 0..40 {
            for actor in ["ann", "bob"].into_iter().chain([format!("crowd{n}").as_str()]) {
                let append = Append::new(client.keys(), Some("acme"), actor, (&name(n), actor));
                client.run(append).unwrap();
            }
        }
        for n in 100..600 {
            let actor = format!("crowd{}", n % 40);
            client.run(Append::new(client.keys(), Some("acme"), &actor, (&name(n), &actor))).unwrap();
        }
        let query = AuditQuery {
            organization: Some("acme".to_owned()),
            after: None,
            limit: MAX_ENTRIES,
            kind: Some(EntryKind::Attempt),
        };
        let keys = client.keys().clone();
        let count = |client: &mut Client| {
            let (all, _) = client.run(AuditPage::new(&keys, &query)).unwrap();
            let of = |actor: &str| all.iter().filter(|(_, entry)| entry == actor).count();
            (all.len(), of("ann"), of("crowd7"))
        };
        let (all, of_ann, _) = count(client);
        assert!(of_ann > 16, "ann has {of_ann}");
        for _ in 0..all.saturating_sub(512).div_ceil(100) {
            client.run(Trim::attempts(client.keys(), Some("acme"))).unwrap();
        }
        let (all, of_ann, of_crowd) = count(client);
        assert!(
            all <= 512 && of_ann > 8 && of_crowd > 5,
            "{all}, {of_ann} of ann, {of_crowd} of one of the crowd"
        );
    }
}

#[test]
fn attempts_without_effect_have_a_bounded_number_of_keys_and_never_remove_a_change() {
    for site in Site::both() {
        let client = &mut client(&site);
        write(client, 0, 5, team("search"), Some(json!(1)));
        let quiet = Append::new(client.keys(), Some("acme"), "ann", (&name(1), "{}"));
        client.run(quiet).unwrap();
        for n in 10..400 {
            let append = Append::new(client.keys(), Some("acme"), "eve", (&name(n), "{}"));
            client.run(append).unwrap();
        }
        let keys = client.keys().clone();
        let query = |kind, limit, after| {
            let query = AuditQuery { organization: Some("acme".to_owned()), after, limit, kind };
            AuditPage::new(&keys, &query)
        };
        let (changes, more) = client.run(query(Some(EntryKind::Change), 10, None)).unwrap();
        assert_eq!((changes, more), (vec![(name(5), "{}".to_owned())], false));
        let (attempts, _) = client.run(query(Some(EntryKind::Attempt), 500, None)).unwrap();
        assert!((20..=33).contains(&attempts.len()), "{} attempts", attempts.len());
        assert_eq!((&attempts[0].0, &attempts.last().unwrap().0), (&name(399), &name(1)));
        let (all, _) = client.run(query(None, 500, None)).unwrap();
        assert_eq!(all.len(), attempts.len() + 1);
        let (rest, more) = client.run(query(None, 1, Some(name(6)))).unwrap();
        assert_eq!((&rest[0].0, more), (&name(5), true), "a change between attempts");
    }
}

#[test]
fn a_gateway_signs_in_again_after_its_token_is_lost() {
    let Some(mut etcd) = Etcd::start() else { return };
    let client = |etcd: &Etcd| Client::new(&etcd.url(), PREFIX, None).unwrap();
    let admin = client(&etcd);
    for (path, body) in [
        ("/v3/auth/user/add", json!({"name": "root", "password": "s3cret"})),
        ("/v3/auth/user/grant", json!({"user": "root", "role": "root"})),
        ("/v3/auth/enable", json!({})),
    ] {
        let call = tollgate_core::etcd::EtcdCall { path, token: None, body: body.to_string() };
        let (status, answer) = admin.call(call);
        assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&answer));
    }
    let file = std::env::temp_dir().join(format!("tollgate-login-{}", std::process::id()));
    std::fs::write(&file, "root:s3cret\n").unwrap();
    let mut good = Client::new(&etcd.url(), PREFIX, Some(&file)).unwrap();
    std::fs::write(&file, "root:wrong\n").unwrap();
    let mut bad = Client::new(&etcd.url(), PREFIX, Some(&file)).unwrap();
    std::fs::remove_file(&file).unwrap();

    let base = revision(write(&mut good, 0, 1, team("search"), Some(json!(1))));
    assert!(matches!(poll(&mut bad, 0), Err(EtcdError::Rejected { status: 400, .. })));
    let mut stranger = client(&etcd);
    assert!(matches!(poll(&mut stranger, 0), Err(EtcdError::Rejected { .. })));

    // Simple tokens do not outlast the process.
    etcd.restart();
    assert_eq!(poll(&mut good, 0).unwrap().revision, base);
}

#[test]
fn an_acknowledged_write_survives_a_kill() {
    let Some(mut etcd) = Etcd::start() else { return };
    let client = &mut Client::new(&etcd.url(), PREFIX, None).unwrap();
    let mut base = 0;
    for n in 1..=5 {
        base = revision(write(client, base, n, team("search"), Some(json!({"n": n}))));
        etcd.kill();
        assert_eq!(poll(client, 0), Err(EtcdError::Unavailable { status: 0 }));
        etcd.restart();
        let loaded = poll(client, 0).unwrap();
        assert_eq!(loaded.documents, [(team("search"), Some(json!({"n": n})))]);
    }
}

/// A gateway's VM: a client whose calls are made at once, and a counter as its whole policy.
struct Vm {
    desk: EtcdClient,
    client: Client,
    started: Instant,
    revision: u64,
    counter: u64,
}

impl Vm {
    fn new(site: &Site) -> Vm {
        let fleet = EtcdConfig {
            cluster: "etcd".into(),
            prefix: PREFIX.into(),
            login: None,
            counters: tollgate_core::config::CounterSharing::Own,
        };
        Vm {
            desk: EtcdClient::new(&fleet),
            client: client(site),
            started: Instant::now(),
            revision: 0,
            counter: 0,
        }
    }

    fn now(&self) -> Now {
        let now = u64::try_from(self.started.elapsed().as_nanos()).unwrap();
        Now { wall: now, monotonic: now }
    }

    /// Adds one for each ticket, and returns the results.
    fn run(&mut self, mut effects: Vec<EtcdEffect>, random: u64) -> Vec<EtcdEffect> {
        let mut ends = Vec::new();
        while !effects.is_empty() {
            let effect = effects.remove(0);
            let now = self.now();
            match effect {
                EtcdEffect::Call { slot, call, .. } => {
                    let (status, body) = self.client.call(call);
                    let now = self.now();
                    effects.extend(self.desk.answer(slot, status, &body, now));
                }
                EtcdEffect::Decide(ticket) => {
                    let name = entry_name(Timestamp(1), random + u64::from(ticket), "ann");
                    let documents = [(team("search"), Some(json!({ "n": self.counter + 1 })))];
                    let base = self.revision;
                    effects.extend(self.desk.commit(
                        ticket,
                        base,
                        &documents,
                        (Some("acme"), &name, "{}"),
                        now,
                    ));
                }
                EtcdEffect::Loaded { changes, .. } if changes.revision > self.revision => {
                    self.revision = changes.revision;
                    for (_, content) in changes.documents {
                        self.counter = content.unwrap()["n"].as_u64().unwrap();
                    }
                }
                EtcdEffect::Loaded { .. } => {}
                EtcdEffect::Committed { revision, .. } => {
                    (self.revision, self.counter) = (revision, self.counter + 1);
                    ends.push(effect);
                }
                EtcdEffect::Page { .. }
                | EtcdEffect::Read { .. }
                | EtcdEffect::Failed { .. }
                | EtcdEffect::BackgroundError(_) => ends.push(effect),
            }
        }
        ends
    }
}

#[test]
fn concurrent_writers_on_several_gateways_lose_nothing() {
    const VMS: u64 = 6;
    const WRITES: u32 = 20;
    for site in Site::both() {
        let site = &site;
        let kept: usize = std::thread::scope(|scope| {
            let vms: Vec<_> = (0..VMS)
                .map(|vm| {
                    scope.spawn(move || {
                        let mut gateway = Vm::new(site);
                        (0..WRITES)
                            .filter(|ticket| {
                                let now = gateway.now();
                                let effects = gateway.desk.submit(*ticket, now);
                                let ends = gateway.run(effects, vm << 32);
                                assert_eq!(ends.len(), 1, "{ends:?}");
                                matches!(ends[0], EtcdEffect::Committed { .. })
                            })
                            .count()
                    })
                })
                .collect();
            vms.into_iter().map(|vm| vm.join().unwrap()).sum()
        });
        let mut last = Vm::new(site);
        let now = last.now();
        let effects = last.desk.poll(0, now);
        assert_eq!(last.run(effects, 0), []);
        assert_eq!(last.counter, kept as u64, "one for each that was acknowledged");
        assert_eq!(audit(&mut last.client, None, MAX_ENTRIES).0.len(), kept, "and one entry for each");
        assert!(kept > 0);
    }
}

#[test]
fn writes_are_queued_within_their_time_limit() {
    let fleet = EtcdConfig {
        cluster: "etcd".into(),
        prefix: PREFIX.into(),
        login: None,
        counters: tollgate_core::config::CounterSharing::Own,
    };
    let mut desk = EtcdClient::new(&fleet);
    let at = |millis: u64| Now { wall: 0, monotonic: millis * 1_000_000 };
    assert_eq!(desk.submit(1, at(0)), [EtcdEffect::Decide(1)]);
    assert_eq!(desk.submit(2, at(100)), []);
    assert_eq!(desk.submit(3, at(1_700)), []);
    let effects = desk.commit(1, 0, &[], (None, "n", "{}"), at(0));
    let [EtcdEffect::Call { slot, timeout: 1_800, .. }] = effects[..] else { panic!("{effects:?}") };
    // etcd hangs: the host ends the call at its timeout.
    let effects = desk.answer(slot, 0, b"", at(1_800));
    assert_eq!(effects[0], EtcdEffect::Failed { id: 1, error: EtcdError::TimedOut });
    assert_eq!(effects[1], EtcdEffect::Decide(2), "it has 100 ms left");
    let effects = desk.commit(2, 0, &[], (None, "n", "{}"), at(1_801));
    let [EtcdEffect::Call { slot, timeout: 99, .. }] = effects[..] else { panic!("{effects:?}") };
    let effects = desk.answer(slot, 0, b"", at(1_900));
    assert_eq!(effects, [EtcdEffect::Failed { id: 2, error: EtcdError::TimedOut }, EtcdEffect::Decide(3)]);
    assert_eq!(desk.finish(3, at(1_900)), []);
    assert_eq!(desk.answer(slot, 200, b"{}", at(1_950)), [], "a response without a waiting call");
    assert_eq!(desk.submit(4, at(2_000)), [EtcdEffect::Decide(4)]);
}

#[test]
fn a_hanging_etcd_does_not_block_the_next_poll() {
    let fleet = EtcdConfig {
        cluster: "etcd".into(),
        prefix: PREFIX.into(),
        login: None,
        counters: tollgate_core::config::CounterSharing::Own,
    };
    let mut desk = EtcdClient::new(&fleet);
    let at = |millis: u64| Now { wall: 0, monotonic: millis * 1_000_000 };
    let effects = desk.poll(0, at(0));
    let [EtcdEffect::Call { slot, .. }] = effects[..] else { panic!("{effects:?}") };
    assert_eq!(desk.poll(0, at(250)), [], "one at a time");
    let away = EtcdEffect::BackgroundError(EtcdError::Unavailable { status: 504 });
    assert_eq!(desk.answer(slot, 504, b"upstream request timeout", at(2_000)), [away]);
    assert!(matches!(desk.poll(0, at(2_250))[..], [EtcdEffect::Call { .. }]));
    assert!(Duration::from_nanos(tollgate_core::etcd::WRITE_TIMEOUT) < Duration::from_secs(2));
}
