//! The embedded store by itself: what etcd does only by its configuration, and backups.

mod data;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use data::{Embedded, PREFIX, Temporary, base64, done, put, range, revision};
use serde_json::{Value, json};
use tollgate_host::etcd::Etcd as Client;
use tollgate_host::store::{Folder, Local, Store};

fn client(embedded: &Embedded) -> Client {
    Client::of_store(embedded.store().clone(), PREFIX).unwrap()
}

#[test]
fn the_history_is_forgotten_by_itself_and_its_room_is_used_again() {
    let embedded = Embedded::new();
    let client = client(&embedded);
    let file = || fs::metadata(embedded.folder().join("tollgate.redb")).unwrap().len();
    let value = "x".repeat(4096);
    let first = revision(&done(&client, "/v3/kv/put", &put("key", "first")));
    let mut earlier = range("key");
    earlier["revision"] = first.into();
    for minute in 0..8 {
        for _ in 0..100 {
            done(&client, "/v3/kv/put", &put("key", &value));
        }
        let (status, answer) = embedded.call("/v3/kv/range", &earlier);
        if minute < 1 {
            assert_eq!(answer["kvs"][0]["value"], base64("first"));
        }
        embedded.advance(Duration::from_secs(61));
        if minute > 2 {
            assert_eq!((status, &answer["code"]), (400, &json!(11)), "{answer}");
        }
    }
    let answer = done(&client, "/v3/kv/range", &range("key"));
    assert_eq!((&answer["kvs"][0]["version"], &answer["count"]), (&json!("801"), &json!("1")));
    // 800 rows of 4 KiB were written, and at most 200 are kept.
    assert!(file() < 2_500_000, "{}", file());
}

#[test]
fn a_backup_has_all_keys_and_leases_and_another_cluster() {
    let embedded = Embedded::new();
    let client = client(&embedded);
    done(&client, "/v3/lease/grant", &json!({ "TTL": 100, "ID": 5 }));
    let mut leased = put("leased", "1");
    leased["lease"] = 5.into();
    done(&client, "/v3/kv/put", &leased);
    for number in 0..300 {
        done(&client, "/v3/kv/put", &put(&format!("key/{number:03}"), &number.to_string()));
    }
    done(&client, "/v3/kv/deleterange", &range("key/007"));
    let all = json!({ "key": base64("\0"), "range_end": base64("\0") });
    let before = done(&client, "/v3/kv/range", &all);

    let other = Temporary::new();
    let file = other.path().join("backup");
    embedded.store().backup(&file).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
    done(&client, "/v3/kv/put", &put("later", "1"));
    assert!(embedded.store().backup(&file).is_err(), "a file is not replaced");

    let folder = Folder::prepare(&other.data()).unwrap();
    fs::rename(&file, folder.file()).unwrap();
    let restored = Client::of_store(Store::open(folder.path()).unwrap(), PREFIX).unwrap();
    let after = done(&restored, "/v3/kv/range", &all);
    assert_eq!((&after["kvs"], revision(&after)), (&before["kvs"], revision(&before)));
    assert_ne!(after["header"]["cluster_id"], before["header"]["cluster_id"]);
    let lease = done(&restored, "/v3/lease/timetolive", &json!({ "ID": 5, "keys": true }));
    assert_eq!((&lease["grantedTTL"], &lease["keys"]), (&json!("100"), &json!([base64("leased")])));
    let (status, _) = data::call(&restored, "/v3/kv/range", &json!({ "key": "YQ==", "revision": 3 }));
    assert_eq!(status, 400, "the history is not in it");
}

#[test]
fn a_backup_is_consistent_while_others_write() {
    let folder = Temporary::new();
    let store = Store::open(&folder.data()).unwrap();
    let writing = {
        let store = store.clone();
        std::thread::spawn(move || {
            let client = Client::of_store(store, PREFIX).unwrap();
            for number in 0..400 {
                let value = number.to_string();
                let puts = ["a", "z"].map(|key| json!({ "request_put": put(key, &value) }));
                done(&client, "/v3/kv/txn", &json!({ "success": puts }));
            }
        })
    };
    let mut seen = Vec::new();
    while !writing.is_finished() {
        let copy = Temporary::new();
        let data = Folder::prepare(&copy.data()).unwrap();
        store.backup(&data.file()).unwrap();
        let client = Client::of_store(Store::open(data.path()).unwrap(), PREFIX).unwrap();
        let value = |key| done(&client, "/v3/kv/range", &range(key))["kvs"][0]["value"].clone();
        assert_eq!(value("a"), value("z"));
        seen.push(value("a"));
    }
    writing.join().unwrap();
    seen.dedup();
    assert!(seen.len() > 1, "{seen:?}");
}

#[test]
fn the_socket_answers_like_the_store() {
    let folder = Temporary::new();
    let store = Store::open(&folder.data()).unwrap();
    let path = Folder::prepare(&folder.data()).unwrap();
    let local = Local::listen(store.clone(), &path).unwrap();
    let mode = fs::metadata(folder.data().join("socket")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let (inside, outside) =
        (Client::of_store(store, PREFIX).unwrap(), Client::in_folder(&folder.data(), PREFIX).unwrap());
    done(&outside, "/v3/kv/put", &put("key", &"x".repeat(1_000_000)));
    for (path, request) in [
        ("/v3/kv/range", range("key")),
        ("/v3/kv/range", json!({})),
        ("/v3/nothing", json!({})),
        ("/v3/lease/revoke", json!({ "ID": 1 })),
    ] {
        assert_eq!(data::call(&outside, path, &request), data::call(&inside, path, &request), "{path}");
    }
    drop(local);
    assert_eq!(data::call(&outside, "/v3/kv/range", &range("key")), (0, Value::Null));
}

#[test]
fn a_folder_with_a_path_that_is_too_long_for_a_socket_is_used_directly() {
    let folder = Temporary::new();
    let long = folder.path().join("x".repeat(120));
    let store = Store::open(&long).unwrap();
    assert!(Local::listen(store.clone(), &Folder::prepare(&long).unwrap()).is_err());
    drop(store);
    let client = Client::in_folder(&long, PREFIX).unwrap();
    done(&client, "/v3/kv/put", &put("key", "1"));
}

/// Measures the start with 100 MB of keys, as [`writes_per_second`].
#[test]
#[ignore = "a measurement"]
fn time_to_open() {
    let folder = Temporary::new();
    let store = Store::open(&folder.data()).unwrap();
    let value = "x".repeat(1000);
    for part in 0..1_000 {
        let puts: Vec<_> = (0..100)
            .map(|key| json!({ "request_put": put(&format!("key/{part:04}/{key:03}"), &value) }))
            .collect();
        let request = json!({ "success": puts }).to_string();
        assert_eq!(store.call_blocking("/v3/kv/txn", request.into_bytes()).unwrap().status, 200);
    }
    drop(store);
    let size = fs::metadata(folder.data().join("tollgate.redb")).unwrap().len();
    let began = Instant::now();
    let store = Store::open(&folder.data()).unwrap();
    println!("{} MB are open after {} ms", size >> 20, began.elapsed().as_millis());
    let began = Instant::now();
    store.backup(&folder.path().join("backup")).unwrap();
    println!("a backup took {} ms", began.elapsed().as_millis());
}

/// Measures writes. `cargo test -p tollgate-host --release --test data_store -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn writes_per_second() {
    for writers in [1, 4, 16, 64] {
        let folder = Temporary::new();
        let store = Store::open(&folder.data()).unwrap();
        let began = Instant::now();
        let seconds = Duration::from_secs(3);
        let threads: Vec<_> = (0..writers)
            .map(|writer| {
                let store = store.clone();
                std::thread::spawn(move || {
                    let mut count = 0_u32;
                    while began.elapsed() < seconds {
                        let request = put(&format!("key/{writer}/{}", count % 100), &"x".repeat(400));
                        let reply = store.call_blocking("/v3/kv/put", request.to_string().into_bytes());
                        assert_eq!(reply.unwrap().status, 200);
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        let count: u32 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        println!("{writers} writers: {} writes per second", f64::from(count) / began.elapsed().as_secs_f64());
    }
}
