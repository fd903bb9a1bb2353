//! `tollgate import`, as one runs it: other gateways' keys work afterwards, and nothing of them is told.

mod command;

use std::path::{Path, PathBuf};
use std::process::Output;

use command::tollgate;
use sha2::{Digest as _, Sha256};

const POLICY: &str = r#"{
  "version": 1,
  "targets": {"gpt-5-mini": {}},
  "organizations": {"acme": {"name": "Acme", "access": {"targets": ["*"]}, "members": {"bob": "org_member"}}},
  "users": {"bob": {"name": "Bob"}},
  "teams": {"search": {"organization": "acme", "name": "Search", "limits": {"rpm": 60}, "members": {"bob": "team_developer"}}}
}"#;

fn hex(secret: &str) -> String {
    Sha256::digest(secret).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A folder of this test's own, with the policy in it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("import").join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("policy.json"), POLICY).unwrap();
        Folder(folder)
    }

    fn policy(&self) -> PathBuf {
        self.0.join("policy.json")
    }

    fn keys(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn import(&self, keys: &Path, more: &[&str]) -> (Option<i32>, String) {
        let (keys, policy) = (keys.display().to_string(), self.policy().display().to_string());
        let mut arguments = vec!["import", &keys, "--policy", &policy];
        arguments.extend(more);
        let Output { status, stdout, stderr } = tollgate(&arguments).output().unwrap();
        (status.code(), String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap())
    }

    fn explain(&self, key: &str) -> String {
        let policy = self.policy().display().to_string();
        let arguments = ["explain", "--policy", &policy, "--key", key, "--target", "gpt-5-mini"];
        String::from_utf8(tollgate(&arguments).output().unwrap().stdout).unwrap()
    }
}

#[test]
fn keys_of_another_gateway_work_once_they_are_imported() {
    let folder = Folder::new("works");
    let (one, two) = ("sk-litellm-one", "another gateway's key");
    let keys = folder.keys(
        "keys.csv",
        &format!(
            "digest,name,owner,limits.rpm,expires_at,team\n{},\"Bob, laptop\",user/bob,5,,\nsha256:{},,,,2030-01-01T00:00:00Z,search\n",
            hex(one).to_uppercase(),
            hex(two)
        ),
    );
    let (code, said) = folder.import(&keys, &["--team", "search"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("2 keys would be added") && said.contains("owner user/bob, name Bob, laptop"),
        "{said}"
    );
    assert_eq!(std::fs::read_to_string(folder.policy()).unwrap(), POLICY, "nothing is written");

    let (code, said) = folder.import(&keys, &["--team", "search", "--yes"]);
    assert_eq!(code, Some(0), "{said}");
    for secret in [one, two] {
        assert!(!said.to_lowercase().contains(&hex(secret)[..16]), "{said}");
        assert!(folder.explain(secret).contains("decision  allowed"), "{}", folder.explain(secret));
    }
    assert!(folder.explain(one).contains("rpm 5"));

    let written = std::fs::read_to_string(folder.policy()).unwrap();
    let (code, said) = folder.import(&keys, &["--team", "search", "--yes"]);
    assert_eq!((code, std::fs::read_to_string(folder.policy()).unwrap()), (Some(0), written), "{said}");
    assert!(said.contains("nothing is new, 2 keys already there"), "{said}");
}

#[test]
fn json_lines_are_records_as_a_policy_writes_them() {
    let folder = Folder::new("lines");
    let line = serde_json::json!({
        "id": "nightly", "team": "search", "digest": hex("nightly"), "budget": {"max": "5", "period": "day"},
    });
    let keys = folder.keys("keys.jsonl", &format!("{line}\n\n"));
    assert_eq!(folder.import(&keys, &["--yes"]).0, Some(0));
    let explained = folder.explain("nightly");
    assert!(explained.contains("key `nightly`") && explained.contains("$5.00 a day"), "{explained}");
}

#[test]
fn all_that_is_wrong_is_said_with_its_line_and_nothing_is_written() {
    let folder = Folder::new("wrong");
    let text = format!(
        "id,digest,team,owner,limits.rpm,colour\nk1,{},search,user/bob,61,\nk2,{},lab,,,\nk3,{},search,user/eve,,blue\n",
        hex("1"),
        hex("2"),
        hex("3")
    );
    let keys = folder.keys("keys.csv", &text);
    let (code, said) = folder.import(&keys, &["--yes"]);
    assert_eq!(code, Some(1));
    for line in [
        "line 2: error /keys/k1/limits/rpm: rpm of 61 exceeds the 60",
        "line 3: error /keys/k2/team: there is no team `lab`",
        "line 4: error /keys/k3/owner: there is no user `eve`",
        "line 4: error /keys/k3/colour: unknown field",
    ] {
        assert!(said.contains(line), "{line}\n{said}");
    }
    assert_eq!(std::fs::read_to_string(folder.policy()).unwrap(), POLICY);
}

#[test]
fn what_stands_there_twice_is_not_chosen_from() {
    let folder = Folder::new("repeats");
    let digest = hex("nightly");
    for (name, text, says) in [
        (
            "field.jsonl",
            format!(r#"{{"digest": "{digest}", "team": "lab", "team": "search"}}"#),
            "line 1: a field",
        ),
        (
            "inner.jsonl",
            format!(r#"{{"digest": "{digest}", "team": "search", "limits": {{"rpm": 1, "rpm": 60}}}}"#),
            "line 1: a field",
        ),
        (
            "id.jsonl",
            format!(r#"{{"id": "a", "id": "b", "digest": "{digest}", "team": "search"}}"#),
            "line 1",
        ),
        ("column.csv", format!("digest,team,team\n{digest},lab,search\n"), "names a column twice"),
    ] {
        let (code, said) = folder.import(&folder.keys(name, &text), &["--yes"]);
        assert!(code == Some(1) && said.contains(says), "{name}: {said}");
    }
    assert_eq!(std::fs::read_to_string(folder.policy()).unwrap(), POLICY);
}

#[test]
fn a_secret_or_a_digest_in_the_wrong_column_is_not_repeated() {
    let folder = Folder::new("discreet");
    let secret = "sk-prod-Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6";
    let digest = hex(secret);
    for (name, text) in [
        ("secret", format!("digest,team\n{secret},search\n")),
        ("swapped", format!("team,digest\n{digest},search\n")),
        ("owner", format!("digest,team,owner\n{digest},search,{secret}\n")),
        ("name", format!("digest,team,name\n{digest},search,{secret}\n")),
        ("id", format!("id,digest,team\n{digest},{digest},search\n")),
        ("ragged", format!("digest,team\n{digest}\n")),
        ("twice", format!("digest,team\n{digest},search\n{digest},search\n")),
        ("headless", format!("{digest},search\n")),
    ] {
        let (code, said) = folder.import(&folder.keys(&format!("{name}.csv"), &text), &[]);
        assert_eq!(code, Some(1), "{name}: {said}");
        assert!(!said.contains(&secret[8..24]) && !said.contains(&digest[..16]), "{name}: {said}");
    }
    let line = format!("{{\"digest\": \"{digest}\"");
    let (code, said) = folder.import(&folder.keys("broken.jsonl", &line), &[]);
    assert_eq!(
        (code, said.contains("line 1: not a JSON object"), said.contains(&digest)),
        (Some(1), true, false)
    );
}
