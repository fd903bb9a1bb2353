//! Transactions in parts, and the lease of a gateway, with a real etcd.

use std::thread;
use std::time::{Duration, Instant};

use tollgate_core::etcd::{
    Compare, GrantLease, KeepAlive, Part, PartReply, Read, RemoveAll, RevokeLease, Snapshot, Stored,
    Transaction, Write,
};
use tollgate_host::etcd::Etcd as Client;
use tollgate_host::tools::Etcd;

fn client(etcd: &Etcd) -> Client {
    Client::new(&etcd.url(), "tollgate/1/", None).unwrap()
}

fn put(key: &str, value: &[u8]) -> Write {
    Write::Put { key: key.to_owned(), value: value.to_vec(), lease: None }
}

/// A part that puts `value` if the key still has `revision`.
fn swap(key: &str, revision: u64, value: &[u8]) -> Part {
    Part {
        compares: vec![Compare::Revision(key.to_owned(), revision)],
        writes: vec![put(key, value)],
        reads: vec![key.to_owned(), format!("{key}-other")],
    }
}

fn keys(stored: &[Stored]) -> Vec<&str> {
    stored.iter().map(|stored| stored.key.as_str()).collect()
}

#[test]
fn each_part_of_a_transaction_is_applied_if_its_own_comparisons_hold() {
    let Some(etcd) = Etcd::start() else { return };
    let client = &mut client(&etcd);
    let first = client.run(Transaction::new(vec![], vec![swap("a", 0, b"\x00\xff")])).unwrap();
    assert_eq!(first.parts, Some(vec![PartReply::Stored]));
    assert_ne!(first.state.cluster, 0);

    let parts = vec![swap("a", 0, b"late"), swap("b", 0, b"new"), swap("a/b", 7, b"late")];
    let second = client.run(Transaction::new(vec![Compare::Exists("a".to_owned())], parts)).unwrap();
    let a = Stored { key: "a".to_owned(), value: b"\x00\xff".to_vec(), revision: first.state.revision };
    let expected =
        vec![PartReply::Stale(vec![Some(a), None]), PartReply::Stored, PartReply::Stale(vec![None, None])];
    assert_eq!(second.parts, Some(expected));
    assert!(second.state.revision > first.state.revision && second.state.cluster == first.state.cluster);

    // A comparison of the whole: no part is done.
    let whole = vec![Compare::Missing("a".to_owned())];
    let refused = client.run(Transaction::new(whole, vec![swap("c", 0, b"x")])).unwrap();
    assert_eq!(refused.parts, None);
    let reads = vec![Read::Key("c".to_owned()), Read::Key("b".to_owned()), Read::Prefix("a/".to_owned(), 9)];
    let (_, read) = client.run(Snapshot::new(reads)).unwrap();
    assert_eq!(read.iter().map(|stored| keys(stored)).collect::<Vec<_>>(), [vec![], vec!["b"], vec![]]);
    assert_eq!(read[1][0].revision, second.state.revision, "of the transaction that put it");

    let remove = Part { writes: vec![Write::Delete("b".to_owned())], ..Part::default() };
    client.run(Transaction::new(vec![], vec![remove])).unwrap();
    assert_eq!(client.run(Snapshot::new(vec![Read::Key("b".to_owned())])).unwrap().1, [vec![]]);
}

#[test]
fn a_transaction_of_the_most_parts_is_within_the_limits_of_etcd() {
    let Some(etcd) = Etcd::start() else { return };
    let client = &mut client(&etcd);
    let part = |n: usize| {
        let keys = [format!("row/{n:02}"), format!("held/{n:02}")];
        let compares = keys.iter().map(|key| Compare::Revision(key.clone(), 0)).collect();
        let writes = keys.iter().map(|key| put(key, &[7; 4096])).collect();
        Part { compares, writes, reads: keys.to_vec() }
    };
    let parts: Vec<_> = (0..tollgate_core::etcd::MAX_PARTS).map(part).collect();
    let count = parts.len();
    let first = client.run(Transaction::new(vec![], parts.clone())).unwrap();
    assert_eq!(first.parts, Some(vec![PartReply::Stored; count]));
    let second = client.run(Transaction::new(vec![], parts)).unwrap();
    let stale =
        |reply: &PartReply| matches!(reply, PartReply::Stale(found) if found.iter().flatten().count() == 2);
    assert!(second.parts.unwrap().iter().all(stale));
    let (_, read) = client.run(Snapshot::new(vec![Read::Prefix("row/".to_owned(), 10)])).unwrap();
    assert_eq!(read[0].len(), 10);
    client.run(RemoveAll::new("row/".to_owned())).unwrap();
    let reads = vec![Read::Prefix("row/".to_owned(), 10), Read::Prefix("held/".to_owned(), 100)];
    let (_, read) = client.run(Snapshot::new(reads)).unwrap();
    assert_eq!((read[0].len(), read[1].len()), (0, count));
}

#[test]
fn a_key_ends_with_the_lease_that_is_no_longer_renewed_or_is_revoked() {
    let Some(etcd) = Etcd::start() else { return };
    let client = &mut client(&etcd);
    let (short, long) = (u64::MAX >> 1, 7);
    let state = client.run(GrantLease { seconds: 2, id: short }).unwrap();
    client.run(GrantLease { seconds: 60, id: long }).unwrap();
    assert!(client.run(GrantLease { seconds: 60, id: long }).is_err(), "there is one");
    let attach = |key: &str, lease| Part {
        compares: vec![Compare::Missing(key.to_owned())],
        writes: vec![Write::Put { key: key.to_owned(), value: vec![], lease: Some(lease) }],
        reads: vec![],
    };
    let parts = vec![attach("member/a", short), attach("member/b", long)];
    let made = client.run(Transaction::new(vec![], parts)).unwrap();
    assert_eq!(made.parts, Some(vec![PartReply::Stored; 2]));
    assert_eq!(made.state.cluster, state.cluster);
    let alive = |client: &mut Client| {
        let read = client.run(Snapshot::new(vec![Read::Prefix("member/".to_owned(), 10)])).unwrap().1;
        read[0].iter().map(|stored| stored.key.clone()).collect::<Vec<_>>()
    };
    assert_eq!(alive(client), ["member/a", "member/b"]);
    assert!(client.run(KeepAlive(short)).unwrap().1);
    let start = Instant::now();
    while alive(client).len() > 1 {
        assert!(start.elapsed() < Duration::from_secs(20), "the lease never ends");
        thread::sleep(Duration::from_millis(50));
    }
    assert!(!client.run(KeepAlive(short)).unwrap().1, "it has ended");
    assert!(client.run(KeepAlive(long)).unwrap().1);
    client.run(RevokeLease(long)).unwrap();
    assert!(alive(client).is_empty());
    assert!(!client.run(KeepAlive(long)).unwrap().1);
}
