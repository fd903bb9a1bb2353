use std::cell::Cell;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, test_kill_process};

use super::bounded::run;
use super::install::installed_in;
use super::*;

/// A temporary folder of one test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tollgate-provision-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn parallel_callers_install_once() {
    let tools = Folder::new("once");
    let installs = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let folder = installed_in(&tools.0, "tool", "1", "recipe", |folder| {
                    installs.fetch_add(1, Ordering::SeqCst);
                    fs::write(folder.join("program"), "x").unwrap();
                    Ok(())
                })
                .unwrap();
                assert!(folder.join("program").is_file());
            });
        }
    });
    assert_eq!(installs.load(Ordering::SeqCst), 1);
}

#[test]
fn an_incomplete_installation_or_another_recipe_is_installed_again() {
    let tools = Folder::new("anew");
    let installs = Cell::new(0);
    let install = |recipe: &str, fails: bool| {
        installed_in(&tools.0, "tool", "1", recipe, |folder| {
            assert_eq!(fs::read_dir(folder).unwrap().count(), 0, "left-overs of an earlier attempt");
            installs.set(installs.get() + 1);
            fs::write(folder.join("program"), "x").unwrap();
            if fails { Err(Reason::NotInside("program".into())) } else { Ok(()) }
        })
    };
    let missing = install("a", true).unwrap_err();
    assert_eq!(missing.to_string(), "tool 1 is not available: the installation contains no program");
    install("a", false).unwrap();
    install("a", false).unwrap();
    assert_eq!(installs.get(), 2);
    install("b", false).unwrap();
    assert_eq!(installs.get(), 3);
}

#[test]
fn an_installer_that_hangs_is_ended_with_its_children() {
    let folder = Folder::new("hangs");
    let mut command = Command::new("sh");
    command.args(["-c", "sleep 600 & echo $!; wait"]);
    let reason = run(command, Duration::from_millis(200), &folder.0.join("log"), "").unwrap_err();
    let Reason::TooSlow { output, .. } = reason else { panic!("{reason}") };
    let child = Pid::from_raw(output.parse().unwrap()).unwrap();
    let end = Instant::now() + Duration::from_secs(10);
    while !ended(child) {
        assert!(Instant::now() < end, "the child {output} still runs");
        std::thread::yield_now();
    }
}

/// Returns true if the process is gone or a zombie that its new parent has not collected.
fn ended(process: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()));
    test_kill_process(process).is_err() || stat.is_ok_and(|stat| stat.contains(") Z "))
}

#[test]
fn a_failed_installer_reports_its_output() {
    let folder = Folder::new("fails");
    let mut command = Command::new("sh");
    command.args(["-c", "echo no such package >&2; exit 3"]);
    let reason = run(command, Duration::from_secs(20), &folder.0.join("log"), "").unwrap_err();
    assert_eq!(
        reason.to_string(),
        "`sh -c echo no such package >&2; exit 3` failed (exit status: 3):\nno such package"
    );
}

#[test]
fn a_missing_program_is_reported_with_a_hint() {
    let folder = Folder::new("missing");
    let command = Command::new("no-such-program-of-tollgate");
    let reason = run(command, Duration::from_secs(20), &folder.0.join("log"), "install it").unwrap_err();
    assert!(reason.to_string().contains("`no-such-program-of-tollgate` cannot be started"), "{reason}");
    assert!(reason.to_string().ends_with("; install it"), "{reason}");
}

/// Returns the version that an installed program reports.
fn says(program: &std::path::Path, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn envoy_is_the_pinned_one() {
    let Some(envoy) = require(envoy()) else {
        return;
    };
    let version = says(&envoy, &["--version"]);
    assert!(version.contains(&format!("/{ENVOY}/")), "{version}");
}

#[test]
fn etcd_is_the_pinned_one() {
    let Some(etcd) = require(etcd()) else { return };
    let version = says(&etcd, &["--version"]);
    assert!(version.contains(&format!("etcd Version: {ETCD}\n")), "{version}");
}

#[test]
fn cargo_deny_is_the_pinned_one() {
    let Some(cargo_deny) = require(cargo_deny()) else { return };
    assert_eq!(says(&cargo_deny, &["--version"]).trim(), format!("cargo-deny {CARGO_DENY}"));
}

#[test]
fn python_has_the_pinned_sdks() {
    let Some(python) = require(python_sdks()) else {
        return;
    };
    let names = ["openai", "anthropic", "google-genai", "langchain-openai", "litellm"];
    let script = format!("from importlib.metadata import version; print(*map(version, {names:?}))");
    assert_eq!(says(&python, &["-c", &script]).trim(), "3.54.0 2.12.0 3.6.1 1.7.4 1.110.2");
}

#[test]
fn node_and_its_sdks_are_the_pinned_ones() {
    let Some(sdks) = require(node_sdks()) else { return };
    assert_eq!(says(&sdks.node, &["--version"]).trim(), format!("v{NODE}"));
    for (name, version) in
        [("openai", "7.59.0"), ("@anthropic-ai/sdk", "1.14.0"), ("@google/genai", "3.3.0"), ("ai", "7.0.173")]
    {
        let manifest = fs::read_to_string(sdks.modules.join(name).join("package.json")).unwrap();
        assert!(manifest.contains(&format!("\"version\": \"{version}\"")), "{name}");
    }
}

#[test]
fn workerd_is_the_one_of_the_pinned_wrangler() {
    let Some(workers) = require(workers()) else {
        return;
    };
    let version = says(&workers.workerd, &["--version"]);
    assert!(version.starts_with("workerd 2026-04-26"), "{version}");
    assert!(workers.wrangler.to_string_lossy().contains(WRANGLER), "{workers:?}");
}

#[test]
fn typescript_is_the_pinned_one() {
    let Some(typescript) = require(typescript()) else {
        return;
    };
    assert_eq!(says(&typescript.tsc, &["--version"]).trim(), format!("Version {TYPESCRIPT}"));
}
