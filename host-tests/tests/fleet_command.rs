//! The commands `tollgate push` and `tollgate pull` with a real etcd.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use tollgate_core::etcd::{CommitOperation, Poll, complete, entry_name};
use tollgate_core::policy::Document;
use tollgate_core::secret::api_key;
use tollgate_core::time::Timestamp;
use tollgate_host::etcd::Etcd as Client;
use tollgate_host::tools::Etcd;

/// An etcd and a folder with a policy file. Both end with this value.
struct Site {
    etcd: Etcd,
    folder: PathBuf,
}

impl Site {
    fn new() -> Option<Site> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let etcd = Etcd::start()?;
        let name = format!("tollgate-push-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        Some(Site { etcd, folder })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn write(&self, name: &str, policy: &Value) {
        fs::write(self.file(name), policy.to_string()).unwrap();
    }

    fn read(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.file(name)).unwrap()).unwrap()
    }

    /// Returns the exit code, standard output and standard error.
    fn tollgate(&self, command: &str, name: &str, more: &[&str]) -> (i32, String, String) {
        let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_tollgate"))
            .arg(command)
            .arg(self.file(name))
            .args(["--fleet", &self.etcd.url()])
            .args(more)
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code().unwrap(), text(stdout), text(stderr))
    }

    fn client(&self) -> Client {
        Client::new(&self.etcd.url(), "tollgate/1/", None).unwrap()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn digest(text: &str) -> String {
    api_key::format_digest(&api_key::digest(text.as_bytes()))
}

fn policy(teams: &[&str]) -> Value {
    let record =
        |id: &str| (id.to_owned(), json!({"organization": "acme", "name": id, "limits": {"rpm": 60}}));
    let owned = |id: &str| (format!("{id}-key"), json!({"team": id, "digest": digest(id)}));
    json!({
        "version": 1,
        "targets": {"gpt-5-mini": {}},
        "organizations": {"acme": {"name": "Acme", "access": {"targets": ["gpt-5-mini"]}}},
        "users": {"bob": {"name": "Bob", "tokens": [digest("bob's token")]}},
        "teams": teams.iter().copied().map(record).collect::<serde_json::Map<_, _>>(),
        "keys": teams.iter().copied().map(owned).collect::<serde_json::Map<_, _>>(),
    })
}

#[test]
fn a_policy_is_pushed_and_pulled_after_showing_the_differences() {
    let Some(site) = Site::new() else { return };
    site.write("policy.json", &policy(&["search", "ads"]));

    let (code, out, error) = site.tollgate("push", "policy.json", &[]);
    assert_eq!(code, 1, "{error}");
    assert!(out.contains("+ teams/search\n") && out.contains("+ keys/ads-key\n"), "{out}");
    assert!(error.contains("nothing is written"), "{error}");
    let empty = Poll::new(site.client().keys(), 0);
    assert_eq!(site.client().run(empty).unwrap().revision, 0, "shown only");

    let (code, _, error) = site.tollgate("push", "policy.json", &["--yes"]);
    assert_eq!(code, 0, "{error}");
    let (code, out, _) = site.tollgate("push", "policy.json", &["--yes"]);
    assert_eq!((code, out.as_str()), (0, ""), "there is nothing left to do");

    let (code, _, error) = site.tollgate("pull", "copy.json", &["--yes"]);
    assert_eq!(code, 0, "{error}");
    assert_eq!(site.read("copy.json")["teams"], site.read("policy.json")["teams"]);
    assert_eq!(site.read("copy.json")["keys"], site.read("policy.json")["keys"]);

    // One team changed, one gone.
    let mut changed = policy(&["search"]);
    changed["teams"]["search"]["limits"]["rpm"] = json!(30);
    changed["keys"]["search-key"]["digest"] = json!(digest("another"));
    site.write("policy.json", &changed);
    let (_, out, error) = site.tollgate("push", "policy.json", &["--yes"]);
    assert!(out.contains("~ teams/search: limits\n"), "{out}{error}");
    assert!(out.contains("~ keys/search-key: digest\n") && out.contains("- teams/ads\n"), "{out}");
    assert!(!out.contains("sha256"), "{out}");
    let poll = Poll::new(site.client().keys(), 0);
    let loaded = site.client().run(poll).unwrap();
    assert!(complete(&loaded.documents), "the policy is whole: gateways hold nothing besides");

    let (code, out, _) = site.tollgate("pull", "copy.json", &[]);
    assert_eq!(code, 1);
    assert!(out.contains("- keys/ads-key\n") && out.contains("~ teams/search: limits\n"), "{out}");
    assert!(site.read("copy.json")["teams"]["ads"].is_object(), "shown only");
    site.tollgate("pull", "copy.json", &["--yes"]);
    assert_eq!(site.read("copy.json")["teams"], changed["teams"]);
    assert_eq!(site.tollgate("pull", "copy.json", &[]).0, 0);
}

#[test]
fn a_policy_with_an_error_is_not_pushed() {
    let Some(site) = Site::new() else { return };
    let mut wrong = policy(&["search"]);
    wrong["teams"]["search"]["organization"] = json!("nobody");
    site.write("policy.json", &wrong);
    let (code, _, error) = site.tollgate("push", "policy.json", &["--yes"]);
    assert_eq!(code, 1);
    assert!(error.contains("1 error;"), "{error}");
    let poll = Poll::new(site.client().keys(), 0);
    assert_eq!(site.client().run(poll).unwrap().revision, 0);
}

#[test]
fn records_written_by_the_api_are_merged_into_the_pulled_policy() {
    let Some(site) = Site::new() else { return };
    let mut client = site.client();
    let team = json!({"teams": {"ads": {"organization": "acme", "name": "Ads"}}});
    let documents = [(Document::Team("ads".to_owned()), Some(team))];
    let name = entry_name(Timestamp(1), 1, "ann");
    let commit = CommitOperation::new(client.keys(), 0, &documents, (Some("acme"), &name, "{}")).unwrap();
    client.run(commit).unwrap();

    let (code, _, error) = site.tollgate("pull", "none.json", &["--yes"]);
    assert_eq!(code, 1);
    assert!(error.contains("do not form a valid policy"), "{error}");
    assert!(!site.file("none.json").exists());

    site.write("policy.json", &policy(&["search"]));
    let (code, out, error) = site.tollgate("pull", "policy.json", &["--yes"]);
    assert_eq!((code, out.as_str()), (0, "+ teams/ads\n"), "{error}");
    assert_eq!(site.read("policy.json")["teams"].as_object().unwrap().len(), 2);
}

#[test]
fn records_keep_the_creation_numbers_that_etcd_has() {
    let Some(site) = Site::new() else { return };
    let mut client = site.client();
    let mut whole = policy(&["search"]);
    site.write("policy.json", &whole);
    assert_eq!(site.tollgate("push", "policy.json", &["--yes"]).0, 0);
    let revision = client.run(Poll::new(client.keys(), 0)).unwrap().revision;
    let team = json!({"teams": {"ads": {"organization": "acme", "name": "Ads", "created": 7}}});
    let documents = [(Document::Team("ads".to_owned()), Some(team))];
    let name = entry_name(Timestamp(1), 1, "ann");
    let commit =
        CommitOperation::new(client.keys(), revision, &documents, (Some("acme"), &name, "{}")).unwrap();
    client.run(commit).unwrap();

    // The same team without its number, as a person writes it.
    whole["teams"]["ads"] = json!({"organization": "acme", "name": "Advertising"});
    site.write("policy.json", &whole);
    let (code, out, error) = site.tollgate("push", "policy.json", &["--yes"]);
    assert_eq!((code, out.as_str()), (0, "~ teams/ads: name\n"), "{error}");
    let (code, _, error) = site.tollgate("pull", "copy.json", &["--yes"]);
    assert_eq!(code, 0, "{error}");
    let copied = &site.read("copy.json")["teams"]["ads"];
    assert_eq!((&copied["name"], &copied["created"]), (&json!("Advertising"), &json!(7)));
    // A number in the file is used.
    whole["teams"]["ads"]["created"] = json!(8);
    site.write("policy.json", &whole);
    assert_eq!(site.tollgate("push", "policy.json", &["--yes"]).1, "~ teams/ads: created\n");
}

#[test]
fn a_policy_larger_than_a_transaction_arrives_whole() {
    let Some(site) = Site::new() else { return };
    let ids: Vec<String> = (0..300).map(|n| format!("team-{n}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    site.write("policy.json", &policy(&ids));
    let (code, _, error) = site.tollgate("push", "policy.json", &["--yes"]);
    assert_eq!(code, 0, "{error}");
    let (code, _, error) = site.tollgate("pull", "copy.json", &["--yes"]);
    assert_eq!(code, 0, "{error}");
    assert_eq!(site.read("copy.json")["keys"], site.read("policy.json")["keys"]);
}

#[test]
fn an_unreachable_etcd_is_reported_by_name() {
    let Some(mut site) = Site::new() else { return };
    site.write("policy.json", &policy(&["search"]));
    site.etcd.kill();
    let (code, _, error) = site.tollgate("push", "policy.json", &["--yes"]);
    assert_eq!((code, error.as_str()), (1, "tollgate: etcd does not respond\n"));
}
