//! Data folders of tests, and the two stores that one suite runs against: a real etcd and the embedded store.

#![allow(dead_code)] // Each test uses its own part.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tollgate_core::etcd::EtcdCall;
use tollgate_host::etcd::Etcd as Client;
use tollgate_host::proxy_wasm::{Clock, ManualClock};
use tollgate_host::store::{Folder, Store};
use tollgate_host::tools::Etcd;

pub const PREFIX: &str = "tollgate/1/";

/// A folder that ends with this value.
pub struct Temporary(PathBuf);

impl Temporary {
    pub fn new() -> Temporary {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("tollgate-data-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Temporary(path)
    }

    /// Returns the path of a data folder that does not exist yet.
    pub fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An embedded store by a clock that stands still.
pub struct Embedded {
    folder: Temporary,
    clock: (Clock, Arc<ManualClock>),
    store: Option<Store>,
}

impl Embedded {
    pub fn new() -> Embedded {
        let mut embedded =
            Embedded { folder: Temporary::new(), clock: Clock::manual(Duration::from_secs(1)), store: None };
        embedded.restart();
        embedded
    }

    pub fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    pub fn folder(&self) -> PathBuf {
        self.folder.data()
    }

    /// Closes the file and opens it again.
    pub fn restart(&mut self) {
        self.store = None;
        let folder = Folder::prepare(&self.folder.data()).unwrap();
        self.store = Some(Store::with_clock(&folder, self.clock.0.clone()).unwrap());
    }

    pub fn advance(&self, by: Duration) {
        self.clock.1.advance(by);
    }

    pub fn call(&self, path: &'static str, body: &Value) -> (u16, Value) {
        let reply = self.store().call_blocking(path, body.to_string().into_bytes()).unwrap();
        (reply.status, serde_json::from_slice(&reply.body).unwrap())
    }
}

/// A store that the suite runs against.
pub enum Site {
    Etcd(Etcd),
    Embedded(Box<Embedded>),
}

impl Site {
    /// Returns the embedded store, and etcd if it can be installed.
    pub fn both() -> impl Iterator<Item = Site> {
        let embedded = std::iter::once_with(|| Site::Embedded(Box::new(Embedded::new())));
        embedded.chain(std::iter::once_with(Etcd::start).flatten().map(Site::Etcd))
    }

    pub fn client(&self) -> Client {
        match self {
            Site::Etcd(etcd) => Client::new(&etcd.url(), PREFIX, None).unwrap(),
            Site::Embedded(embedded) => Client::of_store(embedded.store().clone(), PREFIX).unwrap(),
        }
    }

    /// Starts it again with its data. Clients of before are of no use afterwards.
    pub fn restart(&mut self) {
        match self {
            Site::Etcd(etcd) => etcd.restart(),
            Site::Embedded(embedded) => embedded.restart(),
        }
    }

    /// Lets time pass: at once in the embedded store.
    pub fn wait(&self, time: Duration) {
        match self {
            Site::Etcd(_) => std::thread::sleep(time),
            Site::Embedded(embedded) => embedded.advance(time),
        }
    }

    /// Waits until a condition holds, at most for some seconds after this time.
    pub fn eventually(&self, time: Duration, what: &str, condition: impl Fn() -> bool) {
        if let Site::Embedded(embedded) = self {
            embedded.advance(time);
            assert!(condition(), "{what}");
            return;
        }
        let end = Instant::now() + time + Duration::from_secs(10);
        while !condition() {
            assert!(Instant::now() < end, "{what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

pub fn call(client: &Client, path: &'static str, body: &Value) -> (u16, Value) {
    let (status, body) = client.call(EtcdCall { path, token: None, body: body.to_string() });
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

/// Makes a call that succeeds.
pub fn done(client: &Client, path: &'static str, body: &Value) -> Value {
    let (status, answer) = call(client, path, body);
    assert_eq!(status, 200, "{path} {body}: {answer}");
    answer
}

pub fn base64(text: impl AsRef<[u8]>) -> String {
    STANDARD.encode(text)
}

pub fn put(key: &str, value: &str) -> Value {
    json!({ "key": base64(key), "value": base64(value) })
}

pub fn range(key: &str) -> Value {
    json!({ "key": base64(key) })
}

/// Returns the store's revision in a response.
pub fn revision(answer: &Value) -> i64 {
    answer["header"]["revision"].as_str().unwrap().parse().unwrap()
}
