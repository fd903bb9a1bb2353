//! The bundle that wrangler would upload, checked without an account.

use std::fs;

use tollgate_envoy::workerd::{Setting, Workerd};
use tollgate_host::worker;

use crate::{ask, comes_to, fresh, metered, stream};

#[test]
fn the_wrangler_bundle_runs() {
    let setting = Setting { bundled: true, ..Setting::default() };
    let Some(workerd) = Workerd::with(&metered(), setting) else { return };
    let fresh = fresh(&workerd);
    let answer = ask(&workerd, stream("usage=700:77"));
    assert_eq!(answer.status, 200, "{answer:?}");
    comes_to(&workerd, |left| left == fresh - 777);
}

/// The text between quotation marks after these words, which stand there once.
fn quoted<'t>(text: &'t str, words: &str) -> &'t str {
    let [_, rest] = text.split(words).collect::<Vec<_>>()[..] else { panic!("{words} once in\n{text}") };
    rest.split('"').next().unwrap_or_default()
}

#[test]
fn wrangler_and_workerd_use_the_same_compatibility_settings() {
    let folder = worker::build().unwrap();
    let read = |name| fs::read_to_string(folder.join(name)).unwrap();
    let (wrangler, workerd) = (read("wrangler.toml"), read("config.capnp"));
    for (there, here) in [
        ("compatibility_date = \"", "compatibilityDate = \""),
        ("compatibility_flags = [\"", "compatibilityFlags = [\""),
        ("class_name = \"", "className = \""),
        ("new_sqlite_classes = [\"", "className = \""),
    ] {
        assert_eq!(quoted(&wrangler, there), quoted(&workerd, here));
    }
}
