//! The command `tollgate check`, and the behavior that all commands share: messages about files, options and
//! a closed pipe.

mod command;

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use command::tollgate;

/// Writes a file of this test's own.
fn file(name: &str, text: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("check");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), text).unwrap();
    folder.join(name).display().to_string()
}

/// Returns the exit code, standard output and standard error.
fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = tollgate(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// One error, and a warning about a group that no target has.
const WRONG: &str = r#"{
  "version": 1, "targets": {"gpt 5": {}},
  "organizations": {"acme": {"name": "Acme", "access": {"access_groups": ["chat"]}}}
}"#;

#[test]
fn a_closed_pipe_is_not_an_error() {
    let targets: Vec<_> = (0..900).map(|number| format!(r#""not a name {number}": {{}}"#)).collect();
    let many = file("many.json", &format!(r#"{{"version": 1, "targets": {{{}}}}}"#, targets.join(",")));
    let mut child =
        tollgate(&["check", &many]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("not loadable") && !said.contains("panicked"), "{said}");
}

#[test]
fn a_file_that_cannot_be_read_does_not_hide_the_others() {
    let (good, wrong) = (file("good.json", r#"{"version": 1}"#), file("wrong.json", WRONG));
    let (code, found, said) = run(&["check", "/nowhere/policy.json", &wrong, &good]);
    assert_eq!(code, Some(2));
    assert!(said.contains("/nowhere/policy.json: No such file"), "{said}");
    assert!(said.contains("good.json: a valid policy") && found.contains("/targets/gpt 5"), "{said}{found}");
    assert_eq!(run(&["check", &wrong, &good]).0, Some(1));
    assert_eq!(run(&["check", &good]).0, Some(0));
}

#[test]
fn a_truncated_configuration_is_reported_as_a_configuration() {
    let cut = file("cut.json", r#"{"mode": "enforce", "policy": {"version": 1}, "#);
    let (code, found, _) = run(&["check", &cut]);
    assert_eq!(code, Some(1));
    assert!(found.contains("not JSON at byte") && found.lines().count() == 1, "{found}");
    let cut = file("policy.json", r#"{"version": 1, "targets": {}, "#);
    assert_eq!(run(&["check", &cut]).1.lines().count(), 1);
}

#[test]
fn other_commands_count_what_check_calls_errors() {
    let wrong = file("counted.json", WRONG);
    let (code, found, said) = run(&["check", &wrong]);
    assert!(code == Some(1) && said.contains("1 error and 1 warning"), "{said}{found}");
    let (code, _, said) = run(&["explain", "--policy", &wrong, "--target", "x", "--key", "x"]);
    assert!(code == Some(1) && said.contains("counted.json: 1 error; `tollgate check`"), "{said}");
}

#[test]
fn an_invalid_etcd_url_or_prefix_is_reported_before_any_request() {
    let policy = file("pushed.json", r#"{"version": 1}"#);
    for url in ["etcd", "http://", "h2c://127.0.0.1:1", "ftp://127.0.0.1:1"] {
        for arguments in [&["push", &policy, "--fleet", url][..], &["serve", "--fleet", url]] {
            let (code, _, said) = run(arguments);
            assert_eq!(code, Some(1), "{said}");
            assert!(said.contains("--fleet: ") && said.contains("is not an etcd: write http://"), "{said}");
        }
    }
    for prefix in ["", "/", "tollgate", "toll gate/"] {
        let (code, _, said) = run(&["push", &policy, "--fleet", "http://127.0.0.1:1", "--prefix", prefix]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("--prefix: expected 1 to 64 of"), "{prefix}: {said}");
    }
}

#[test]
fn a_port_in_use_is_reported_with_a_remedy() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (code, _, said) = run(&["serve", "--listen", &taken.local_addr().unwrap().to_string()]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("cannot listen on 127.0.0.1:") && said.contains("`--listen`"), "{said}");
}
