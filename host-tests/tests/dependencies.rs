//! The dependencies of both workspaces, checked against `deny.toml`.
//!
//! Advisories are not checked here, since their database comes from the network. `cargo deny check advisories`
//! does that.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tollgate_host::{build::module, tools};

/// The manifest of each workspace, with further arguments for its check.
const WORKSPACES: [(&str, &[&str]); 2] = [
    ("Cargo.toml", &[]),
    // It shares the list of licenses and needs only some of them.
    ("plugin/core/fuzz/Cargo.toml", &["--allow", "license-not-encountered"]),
];

/// Runs the command with these arguments in the folder `root`.
fn run(mut command: Command, root: &Path, arguments: &[&str]) -> Output {
    command.args(arguments).current_dir(root).output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Downloads the crates of the lock file that are missing, such as those of other platforms: the check reads all
/// of them. Needs no network if none is missing.
fn fetch(root: &Path, manifest: &str) {
    let cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let output = run(cargo, root, &["fetch", "--locked", "--manifest-path", manifest]);
    assert!(output.status.success(), "{manifest}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Runs the checks that need no network: bans, licenses and sources.
fn check(cargo_deny: &Path, root: &Path, manifest: &str, rules: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(cargo_deny);
    command
        .args(["--log-level", "error", "--offline", "--locked", "--manifest-path", manifest, "--config"])
        .arg(rules)
        .arg("check");
    run(command, root, &[arguments, &["bans", "licenses", "sources"]].concat())
}

#[test]
fn dependencies_keep_to_the_rules() {
    let Some(cargo_deny) = tools::require(tools::cargo_deny()) else { return };
    let root = module::workspace().unwrap();
    for (manifest, arguments) in WORKSPACES {
        fetch(&root, manifest);
        let output = check(&cargo_deny, &root, manifest, Path::new("deny.toml"), arguments);
        assert!(output.status.success(), "{manifest}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn a_dependency_that_breaks_a_rule_is_an_error() {
    let Some(cargo_deny) = tools::require(tools::cargo_deny()) else { return };
    let root = module::workspace().unwrap();
    let rules = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("no-dependency-allowed.toml");
    fs::write(
        &rules,
        "licenses.allow = [\"MIT-0\"]\n\
         bans.deny = [\"memchr\"]\n\
         sources = { unknown-registry = \"deny\", allow-registry = [] }\n",
    )
    .unwrap();
    for (manifest, _) in WORKSPACES {
        fetch(&root, manifest);
        let output = check(&cargo_deny, &root, manifest, &rules, &[]);
        let said = String::from_utf8_lossy(&output.stderr);
        for error in ["error[banned]: crate 'memchr", "error[rejected]", "error[source-not-allowed]"] {
            assert!(said.contains(error), "{manifest}: no {error}");
        }
        // One bit for each check that fails: bans, licenses and sources.
        assert_eq!(output.status.code(), Some(2 | 4 | 8), "{manifest}");
    }
}
