//! The command `tollgate serve --data` as an operator uses it: restarts, push and pull, backups, and refusals.

mod command;
mod data;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use command::{Serve, tollgate};
use data::Temporary;
use rustix::process::Signal;
use serde_json::{Value, json};
use tollgate_core::secret::api_key;

fn digest(text: &str) -> String {
    api_key::format_digest(&api_key::digest(text.as_bytes()))
}

fn secret(key: &str) -> String {
    api_key::mint(key, &[7; 32])
}

/// Returns a policy with the team `search`, its admin `ada`, and these keys.
fn policy(keys: &[&str]) -> Value {
    let key = |id: &&str| ((*id).to_owned(), json!({"team": "search", "digest": digest(&secret(id))}));
    json!({
        "version": 1,
        "targets": {"gpt-5-mini": {}},
        "organizations": {"acme": {
            "name": "Acme",
            "access": {"targets": ["gpt-5-mini"]},
            "members": {"ada": "org_member"},
        }},
        "users": {"ada": {"name": "Ada", "tokens": [digest("ada's token")]}},
        "teams": {"search": {
            "organization": "acme",
            "name": "Search",
            "self_service": {"enabled": true, "max_keys_per_user": 9},
            "members": {"ada": "team_admin"},
        }},
        "keys": keys.iter().map(key).collect::<serde_json::Map<_, _>>(),
    })
}

/// A data folder and a policy file.
struct Place {
    folder: Temporary,
}

impl Place {
    fn new(policy: &Value) -> Place {
        let place = Place { folder: Temporary::new() };
        place.write(policy);
        place
    }

    fn policy(&self) -> String {
        self.folder.path().join("policy.json").to_str().unwrap().to_owned()
    }

    fn write(&self, policy: &Value) {
        let new = self.folder.path().join("policy.new");
        fs::write(&new, policy.to_string()).unwrap();
        fs::rename(new, self.policy()).unwrap();
    }

    fn data(&self) -> String {
        self.folder.data().to_str().unwrap().to_owned()
    }

    fn serve(&self) -> Serve {
        self.serve_with(&[])
    }

    fn serve_with(&self, more: &[&str]) -> Serve {
        let (policy, data) = (self.policy(), self.data());
        Serve::start(&[&["--policy", &policy, "--data", &data, "--workers", "2"], more].concat())
    }

    /// Runs a command with the data folder, and returns its exit code, output and errors.
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = tollgate(arguments).args(["--data", &self.data()]).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    /// Returns all bytes of the folder.
    fn bytes(&self) -> Vec<u8> {
        let files = fs::read_dir(self.folder.data()).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|path| path.is_file()).flat_map(|path| fs::read(path).unwrap()).collect()
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|part| part == text.as_bytes())
}

/// Sends a request and returns its status and body.
fn curl(serve: &Serve, method: &str, path: &str, secret: &str, body: &Value) -> (u16, String) {
    let output = Command::new("curl")
        .args(["-sS", "-X", method, &format!("http://{}{path}", serve.address)])
        .args(["-w", "\n%{http_code}", "-H", "content-type: application/json"])
        .args(["-H", &format!("authorization: Bearer {secret}"), "-d", &body.to_string()])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), body.to_owned())
}

fn chat(serve: &Serve, secret: &str) -> u16 {
    let body = json!({"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Hello"}]});
    curl(serve, "POST", "/v1/chat/completions", secret, &body).0
}

/// Makes a key, and returns its id and secret.
fn make_key(serve: &Serve) -> (String, String) {
    let name = json!({"name": "laptop"});
    let (status, body) = curl(serve, "POST", "/tollgate/v1/teams/search/keys", "ada's token", &name);
    assert_eq!(status, 201, "{body}");
    let body: Value = serde_json::from_str(&body).unwrap();
    let field = |name: &str| body[name].as_str().unwrap().to_owned();
    (field("id"), field("secret"))
}

fn revoke(serve: &Serve, id: &str) {
    let path = format!("/tollgate/v1/keys/{id}");
    let (status, body) = curl(serve, "DELETE", &path, "ada's token", &Value::Null);
    assert!((200..300).contains(&status), "{status} {body}");
}

/// Waits until a key is unknown, or known. The first read of a store comes within a second of the start.
fn eventually(serve: &Serve, secret: &str, status: u16) {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let found = chat(serve, secret);
        if found == status {
            return;
        }
        assert!(Instant::now() < end, "{found}, not {status}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn stop(mut serve: Serve) {
    serve.signal(Signal::TERM);
    assert!(serve.ended().success());
}

#[test]
fn a_key_made_through_the_api_works_after_a_restart() {
    let place = Place::new(&policy(&["first"]));
    let mut serve = place.serve();
    serve.says("had no policy: it has that of");
    let (id, made) = make_key(&serve);
    assert_eq!((chat(&serve, &made), chat(&serve, &secret("first"))), (200, 200));
    stop(serve);

    let mut serve = place.serve();
    // The file does not have the key, and says so.
    let said = serve.says("to write the stored policy");
    assert!(serve.said.contains(&format!("- keys/{id}")) && said.contains("tollgate pull"), "{}", serve.said);
    assert_eq!((chat(&serve, &made), chat(&serve, &secret("first"))), (200, 200));
    revoke(&serve, "first");
    assert_eq!(chat(&serve, &secret("first")), 401);
    serve.signal(Signal::KILL);
    serve.ended();

    // Revoked stays revoked from the first request on, although the file has it.
    let serve = place.serve();
    assert_eq!(chat(&serve, &made), 200);
    assert!([401, 503].contains(&chat(&serve, &secret("first"))));
    eventually(&serve, &secret("first"), 401);
    let (status, log) = curl(&serve, "GET", "/tollgate/v1/audit", "ada's token", &Value::Null);
    assert!(status == 403 || log.contains("POST /teams/search/keys"), "{status} {log}");
    stop(serve);
    assert!(!contains(&place.bytes(), &made) && contains(&place.bytes(), &digest(&made)));
}

/// Waits until the gateway is ready, and returns how many of these calls it admits.
fn admitted(serve: &Serve, calls: usize) -> usize {
    let end = Instant::now() + Duration::from_secs(10);
    while curl(serve, "GET", "/tollgate/readyz", "", &Value::Null).0 != 200 {
        assert!(Instant::now() < end, "never ready");
        std::thread::sleep(Duration::from_millis(50));
    }
    (0..calls).filter(|_| chat(serve, &secret("first")) == 200).count()
}

#[test]
fn a_limit_of_a_day_holds_over_a_stop_and_a_kill() {
    let mut policy = policy(&["first"]);
    policy["teams"]["search"]["limits"] = json!({"rpd": 6});
    let place = Place::new(&policy);
    let serve = place.serve();
    assert_eq!(admitted(&serve, 2), 2);
    stop(serve);

    let mut serve = place.serve();
    assert_eq!(admitted(&serve, 2), 2);
    serve.signal(Signal::KILL);
    serve.ended();

    let serve = place.serve();
    let last = admitted(&serve, 6);
    assert!(last <= 2, "{last} after 4 of 6");
    assert_eq!(chat(&serve, &secret("first")), 429);
    stop(serve);
}

#[test]
fn a_changed_file_is_reported_and_applied_by_push_while_the_gateway_runs() {
    let place = Place::new(&policy(&["first"]));
    let mut serve = place.serve();
    let (id, made) = make_key(&serve);
    place.write(&policy(&["first", "second"]));
    serve.says("+ keys/second");
    assert_eq!(chat(&serve, &secret("second")), 401, "the file is not applied by itself");

    // The key goes into the file, and then the file has both.
    let (code, out, error) = place.run(&["pull", &place.policy()]);
    assert_eq!(code, 1, "{error}");
    assert!(out.contains(&format!("+ keys/{id}")) && out.contains("- keys/second"), "{out}");
    let mut both = policy(&["first", "second"]);
    both["keys"][&id] = json!({"team": "search", "digest": digest(&made)});
    place.write(&both);
    let (code, out, error) = place.run(&["push", &place.policy(), "--yes"]);
    assert_eq!(code, 0, "{error}");
    assert!(out.contains("+ keys/second\n"), "{out}");
    eventually(&serve, &secret("second"), 200);
    assert_eq!((chat(&serve, &made), chat(&serve, &secret("first"))), (200, 200));
    let (code, _, error) = place.run(&["push", &place.policy()]);
    assert_eq!((code, error), (0, format!("{} already holds this policy\n", place.data())));
    stop(serve);

    // Without a gateway, the commands use the folder themselves.
    place.write(&policy(&["first"]));
    assert_eq!(place.run(&["push", &place.policy(), "--yes"]).0, 0);
    let (code, out, _) = place.run(&["pull", &place.policy()]);
    assert_eq!((code, out.as_str()), (0, ""));
    let serve = place.serve();
    eventually(&serve, &secret("second"), 401);
    assert_eq!(chat(&serve, &secret("first")), 200);
}

#[test]
fn a_reload_of_the_configuration_keeps_what_the_api_changed() {
    let place = Place::new(&json!({"policy": policy(&["first"]), "max_body": 1_000_000}));
    let (config, data) = (place.policy(), place.data());
    let arguments = ["--config", &config, "--data", &data, "--workers", "2"];
    let mut serve = Serve::start(&arguments);
    let (id, made) = make_key(&serve);
    revoke(&serve, "first");
    for size in [2_000_000, 3_000_000] {
        place.write(&json!({"policy": policy(&["first"]), "max_body": size}));
        serve.says(&format!("- keys/{id}"));
        serve.says("to write the stored policy");
        assert_eq!((chat(&serve, &made), chat(&serve, &secret("first"))), (200, 401));
    }
    // A configuration with an error changes nothing.
    place.write(&json!({"policy": policy(&["first"]), "max_body": "large"}));
    serve.says("rejected");
    assert_eq!((chat(&serve, &made), chat(&serve, &secret("first"))), (200, 401));
    revoke(&serve, &id);
    assert_eq!(chat(&serve, &made), 401);
}

#[test]
fn a_backup_of_a_running_gateway_is_restored_as_the_runbook_says() {
    let place = Place::new(&policy(&["first"]));
    let serve = place.serve();
    let (_, before) = make_key(&serve);
    let file = place.folder.path().join("backup.redb");
    let backup = ["backup", file.to_str().unwrap()];
    let (code, _, error) = place.run(&backup);
    assert_eq!(code, 0, "{error}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
    assert!(contains(&fs::read(&file).unwrap(), &digest(&before)));
    assert!(!contains(&fs::read(&file).unwrap(), &before));
    let (code, _, error) = place.run(&backup);
    assert!(code == 1 && error.contains("backup.redb: File exists"), "an earlier backup stays: {error}");
    let left: Vec<_> = fs::read_dir(place.data()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
    let (_, after) = make_key(&serve);
    stop(serve);

    // Without a gateway too.
    let second = place.folder.path().join("second.redb");
    let (code, _, error) = place.run(&["backup", second.to_str().unwrap()]);
    assert_eq!(code, 0, "{error}");

    // The runbook.
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let runbook =
        readme.split("<!-- The runbook of a restore. -->").nth(1).expect("the README has the runbook");
    let commands = runbook.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    let commands = commands
        .replace("/var/backups/tollgate.redb", file.to_str().unwrap())
        .replace("/var/lib/tollgate", &place.data());
    let output = Command::new("sh").args(["-euc", &commands]).output().unwrap();
    assert!(output.status.success(), "{commands}\n{}", String::from_utf8_lossy(&output.stderr));
    let serve = place.serve();
    assert_eq!(chat(&serve, &before), 200);
    eventually(&serve, &after, 401);
}

/// Runs `serve`, which must end by itself.
fn refused(place: &Place) -> String {
    let (code, _, error) = place.run(&["serve", "--listen", "127.0.0.1:0", "--policy", &place.policy()]);
    assert_eq!(code, 1, "{error}");
    error
}

#[test]
fn a_folder_that_cannot_be_used_is_refused_with_the_reason() {
    let place = Place::new(&policy(&["first"]));
    let data = place.folder.data();
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();

    let serve = place.serve();
    assert_eq!(fs::metadata(&data).unwrap().permissions().mode() & 0o7777, 0o700);
    let file = data.join("tollgate.redb");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
    let error = refused(&place);
    assert!(error.contains("in use by another process") && error.contains("--data"), "{error}");
    assert_eq!(chat(&serve, &secret("first")), 200, "the first one is not disturbed");
    stop(serve);

    mode(&data, 0o750);
    let error = refused(&place);
    assert!(error.contains("mode 0750") && error.contains("chmod 700"), "{error}");
    mode(&data, 0o700);
    mode(&file, 0o640);
    let error = refused(&place);
    assert!(error.contains("mode 0640") && error.contains("chmod 600"), "{error}");
    mode(&file, 0o600);

    // A damaged file.
    let mut bytes = fs::read(&file).unwrap();
    for byte in bytes.iter_mut().skip(4096).step_by(7) {
        *byte ^= 0x55;
    }
    let sound = fs::read(&file).unwrap();
    fs::write(&file, bytes).unwrap();
    let error = refused(&place);
    assert!(error.contains("tollgate.redb") && error.contains("restore a backup"), "{error}");
    fs::write(&file, "not a store").unwrap();
    let error = refused(&place);
    assert!(error.contains("tollgate.redb") && error.contains("restore a backup"), "{error}");
    fs::write(&file, sound).unwrap();
    let serve = place.serve();
    assert_eq!(chat(&serve, &secret("first")), 200);
    stop(serve);

    fs::remove_dir_all(&data).unwrap();
    fs::write(&data, "").unwrap();
    assert!(refused(&place).contains("is not a folder"));
    fs::remove_file(&data).unwrap();
    let (code, _, error) = place.run(&["push", &place.policy(), "--yes"]);
    assert!(code == 1 && error.contains("No such file"), "push begins no store: {error}");
}

#[test]
fn the_secrets_of_the_demo_in_a_data_folder_are_not_served_to_a_network() {
    let demo = tollgate_host::build::module::workspace().unwrap().join("policies/demo.json");
    let place = Place::new(&serde_json::from_slice(&fs::read(demo).unwrap()).unwrap());
    let serve = place.serve();
    eventually(&serve, "unknown", 401);
    stop(serve);
    // The file has none of them any more, and the folder does.
    place.write(&policy(&["first"]));
    let (code, _, error) = place.run(&["serve", "--listen", "0.0.0.0:0", "--policy", &place.policy()]);
    assert_eq!(code, 1, "{error}");
    assert!(error.contains("--allow-demo-keys") && error.contains(&place.data()), "{error}");
}
