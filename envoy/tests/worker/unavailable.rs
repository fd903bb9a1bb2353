//! Limits that cannot be checked: `on_unavailable` decides.

use std::fs;
use std::path::Path;

use serde_json::json;
use tollgate_envoy::workerd::{Setting, Workerd};
use tollgate_envoy::world::chat;

use crate::{DAY, LONG, ask, code, comes_to, free, fresh, left, metered, stream};

/// Puts something else where the databases of objects are, and answers with what was there.
fn damage(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path()) {
        if entry.is_dir() {
            found.extend(damage(&entry));
        // workerd's own list of alarms is beside them, and it does not start without.
        } else if !entry.ends_with("metadata.sqlite") {
            let sound = fs::read(&entry).unwrap();
            fs::write(&entry, b"This is not a database, whatever its name says. ".repeat(200)).unwrap();
            found.push((entry, sound));
        }
    }
    found
}

#[test]
fn storage_failure_of_the_object_follows_the_configured_failure_mode() {
    let Some(mut workerd) = Workerd::start(&metered()) else { return };
    let fresh = fresh(&workerd);
    workerd.halt();
    let sound = damage(&workerd.folder().join("storage"));
    assert!(!sound.is_empty());
    workerd.restart();
    let refused = ask(&workerd, chat());
    assert_eq!((refused.status, code(&refused)), (503, json!("limits_unavailable")), "{refused:?}");
    assert!(workerd.log().contains("limits cannot be checked: "), "{}", workerd.log());
    // Without limits the object is not called.
    assert_eq!(ask(&workerd, tollgate_envoy::client::Request::new("GET", "/v1/models")).status, 200);

    let mut allows = metered();
    allows["on_unavailable"] = json!("allow");
    workerd.configure(&allows);
    workerd.restart();
    let passed = ask(&workerd, chat());
    assert_eq!(passed.status, 200, "{passed:?}");
    assert_eq!(passed.headers.get("x-ratelimit-remaining-tokens"), None);
    assert!(workerd.log().contains("limits cannot be checked: "), "{}", workerd.log());

    // With its storage as it was, it goes on where it was.
    workerd.halt();
    for (path, bytes) in sound {
        fs::write(path, bytes).unwrap();
    }
    workerd.restart();
    comes_to(&workerd, |left| left == fresh);
}

#[test]
fn a_late_object_times_out_and_charges_nothing() {
    const IS_LATE_AT_FIRST: &str = r#"
        import { Organization as Sound } from "./sound.js";
        let admissions = 0;
        export class Organization extends Sound {
          async admit(...asked) {
            admissions += 1;
            if (admissions === 1) await scheduler.wait(6_000);
            return super.admit(...asked).finally(() => console.log(`admission ${admissions} is over`));
          }
        }"#;
    let setting = Setting { object: Some(IS_LATE_AT_FIRST), ..Setting::default() };
    let Some(workerd) = Workerd::with(&metered(), setting) else { return };
    let refused = ask(&workerd, stream(""));
    assert_eq!((refused.status, code(&refused)), (503, json!("limits_unavailable")), "{refused:?}");
    assert!(workerd.log().contains("limits cannot be checked: the object does not answer"));
    assert!(!workerd.log().contains("admission 1 is over"), "{}", workerd.log());
    workerd.wait_for_log("admission 1 is over");
    let (requests, tokens) = left(&ask(&workerd, free()));
    assert_eq!(requests, DAY - 1, "this one is the first that counts");
    assert!(tokens > DAY - LONG, "{tokens} tokens are left");
}
