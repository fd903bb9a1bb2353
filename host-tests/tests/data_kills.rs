//! The embedded store in a process of its own that is killed in the middle of writes, and on a disk that is full.
//!
//! The child process is this test program: it runs only [`child`], which serves the folder's socket.

mod data;

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use data::{PREFIX, Temporary, base64, call, done, put, range, revision};
use serde_json::{Value, json};
use tollgate_host::etcd::Etcd as Client;
use tollgate_host::store::{DataError, Folder, Local, Store};

/// The variable with the folder for the child process.
const FOLDER: &str = "TOLLGATE_TEST_DATA";
/// The number of kills.
const KILLS: u64 = 50;
/// The number of clients that write at the same time.
const WRITERS: usize = 4;

#[test]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let store = Store::open(&folder).unwrap();
    let _local = Local::listen(store, &Folder::prepare(&folder).unwrap()).unwrap();
    println!("ready");
    loop {
        std::thread::park();
    }
}

/// A child process; it is killed with this value.
struct Process(Child);

impl Process {
    /// Starts a child, with limits that the shell sets, and does not wait for it.
    fn spawn(folder: &Path, limits: &str) -> Process {
        let program = std::env::current_exe().unwrap();
        let script = format!("{limits} exec \"$0\" \"$@\"");
        let child = Command::new("sh")
            .args(["-c", &script])
            .arg(program)
            .args(["--exact", "child", "--nocapture"])
            .env(FOLDER, folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        Process(child)
    }

    fn start(folder: &Path, limits: &str) -> Process {
        let mut process = Process::spawn(folder, limits);
        let mut output = BufReader::new(process.0.stdout.as_mut().unwrap());
        let mut line = String::new();
        while !line.contains("ready") {
            line.clear();
            assert_ne!(output.read_line(&mut line).unwrap(), 0, "the child ended");
        }
        process
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Opens a folder after its process was killed. The system may release the lock a little later.
fn open(folder: &Path) -> Store {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        match Store::open(folder) {
            Ok(store) => return store,
            Err(DataError::InUse(_)) if Instant::now() < end => std::thread::sleep(Duration::from_millis(5)),
            Err(error) => panic!("{error}"),
        }
    }
}

/// The last write of a client that was acknowledged: its number and its revision.
#[derive(Clone, Copy, Default)]
struct Acknowledged {
    number: u64,
    revision: i64,
}

/// Writes the same number to three keys in one transaction, again and again, and attaches one of them to a lease. Every
/// twentieth time it compacts.
fn write(folder: PathBuf, writer: usize, from: u64, stop: Arc<AtomicBool>) -> JoinHandle<Acknowledged> {
    std::thread::spawn(move || {
        let client = Client::in_folder(&folder, PREFIX).unwrap();
        let mut last = Acknowledged { number: from, revision: 0 };
        while !stop.load(Ordering::Relaxed) {
            let number = last.number + 1;
            let mut puts: Vec<Value> = ["a", "b", "c"]
                .iter()
                .map(|key| put(&format!("{key}{writer}"), &number.to_string()))
                .collect();
            puts[2]["lease"] = 5.into();
            let puts: Vec<_> = puts.into_iter().map(|put| json!({ "request_put": put })).collect();
            let (status, answer) = call(&client, "/v3/kv/txn", &json!({ "success": puts }));
            if status != 200 {
                break;
            }
            last = Acknowledged { number, revision: revision(&answer) };
            if number.is_multiple_of(20) {
                call(&client, "/v3/kv/compaction", &json!({ "revision": last.revision }));
            }
        }
        last
    })
}

#[test]
fn a_kill_in_the_middle_of_writes_loses_nothing_that_was_acknowledged() {
    let folder = Temporary::new();
    let data = folder.data();
    let mut numbers = [0; WRITERS];
    let mut written = 0;
    for round in 0..KILLS {
        let process = Process::start(&data, "");
        if round == 0 {
            let client = Client::in_folder(&data, PREFIX).unwrap();
            done(&client, "/v3/lease/grant", &json!({ "TTL": 100_000, "ID": 5 }));
        }
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = numbers
            .iter()
            .enumerate()
            .map(|(writer, from)| write(data.clone(), writer, *from, Arc::clone(&stop)))
            .collect();
        // From the seed of the round: 10 to 73 ms.
        std::thread::sleep(Duration::from_millis(10 + round * 29 % 64));
        process.kill();
        stop.store(true, Ordering::Relaxed);
        let last: Vec<Acknowledged> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();

        let store = open(&data);
        let client = Client::of_store(store, PREFIX).unwrap();
        let leased = done(&client, "/v3/lease/timetolive", &json!({ "ID": 5, "keys": true }));
        for (writer, last) in last.iter().enumerate() {
            let values = ["a", "b", "c"].map(|key| {
                let answer = done(&client, "/v3/kv/range", &range(&format!("{key}{writer}")));
                assert!(revision(&answer) >= last.revision, "round {round}");
                answer["kvs"][0]["value"].as_str().map(str::to_owned)
            });
            let right = |number: u64| (number > 0).then(|| base64(number.to_string()));
            // The write that was not acknowledged may be there as well, but not a part of it.
            let found = [last.number, last.number + 1].into_iter().find(|number| values[0] == right(*number));
            let found =
                found.unwrap_or_else(|| panic!("round {round}: {values:?}, acknowledged: {}", last.number));
            assert!(values.iter().all(|value| *value == values[0]), "round {round}: {values:?}");
            let key = json!(base64(format!("c{writer}")));
            let attached = leased["keys"].as_array().is_some_and(|keys| keys.contains(&key));
            assert_eq!(attached, found > 0, "round {round}: {leased}");
            numbers[writer] = found;
            written += found;
        }
    }
    assert!(written > 1_000, "too few writes for a test: {written}");
}

#[test]
fn a_kill_while_the_file_is_created_leaves_a_folder_that_opens() {
    for round in 0..20 {
        let folder = Temporary::new();
        let data = folder.data();
        let process = Process::spawn(&data, "");
        std::thread::sleep(Duration::from_micros(1_000 + round * 1_300));
        process.kill();
        let client = Client::of_store(open(&data), PREFIX).unwrap();
        done(&client, "/v3/kv/put", &put("key", "value"));
        let left: Vec<_> =
            std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| *name == *"tollgate.redb" || *name == *"socket"), "{left:?}");
    }
}

#[test]
fn a_full_disk_refuses_writes_and_is_recovered_from_without_a_restart() {
    let folder = Temporary::new();
    // The largest file has 2 MiB. A write beyond it is an error instead of a signal.
    let process = Process::start(&folder.data(), "trap '' XFSZ; ulimit -f 4096;");
    let client = Client::in_folder(&folder.data(), PREFIX).unwrap();
    let large = "x".repeat(100 * 1024);
    let mut stored = 0;
    let refused = loop {
        let (status, answer) = call(&client, "/v3/kv/put", &put(&format!("large/{stored}"), &large));
        if status != 200 {
            break (status, answer);
        }
        stored += 1;
        assert!(stored < 100, "the disk is not full");
    };
    assert_eq!((refused.0, &refused.1["code"]), (503, &json!(14)), "{}", refused.1);
    assert!(stored > 2, "{stored}");
    let all = json!({ "key": base64("large/"), "range_end": base64("large0"), "count_only": true });
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let (status, answer) = call(&client, "/v3/kv/range", &all);
        if status == 200 {
            assert_eq!(answer["count"], stored.to_string());
            break;
        }
        assert!(Instant::now() < end, "{status} {answer}");
        std::thread::sleep(Duration::from_millis(100));
    }
    // A small write has room.
    done(&client, "/v3/kv/put", &put("small", "1"));
    process.kill();
    let client = Client::of_store(open(&folder.data()), PREFIX).unwrap();
    assert_eq!(done(&client, "/v3/kv/range", &all)["count"], stored.to_string());
    assert_eq!(done(&client, "/v3/kv/range", &range("small"))["count"], "1");
}
