//! The password of etcd in real Envoy, with an etcd that requires one.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate_envoy::client::request;
use tollgate_envoy::envoy::{Envoy, Folder, Reload};
use tollgate_envoy::fleet::{self, manage};
use tollgate_envoy::gateway::{WORKERS, site};
use tollgate_envoy::shipped;
use tollgate_host::etcd::Etcd as Client;
use tollgate_host::simulator::Upstream;
use tollgate_host::tools::{self, Etcd};

const PASSWORD: &str = "unguessable-5b1c9e";
const PATIENCE: Duration = Duration::from_secs(20);

/// Returns an etcd with the user `root` and this password.
fn etcd() -> Option<Etcd> {
    let etcd = Etcd::start()?;
    let admin = Client::new(&etcd.url(), "tollgate/1/", None).unwrap();
    for (path, body) in [
        ("/v3/auth/user/add", json!({"name": "root", "password": PASSWORD})),
        ("/v3/auth/user/grant", json!({"user": "root", "role": "root"})),
        ("/v3/auth/enable", json!({})),
    ] {
        let call = tollgate_core::etcd::EtcdCall { path, token: None, body: body.to_string() };
        assert_eq!(admin.call(call).0, 200, "{path}");
    }
    Some(etcd)
}

fn configuration() -> Value {
    let mut configuration = fleet::configuration();
    configuration["fleet"] =
        json!({"cluster": "etcd", "user": "root", "password_env": "TOLLGATE_ETCD_PASSWORD"});
    configuration
}

#[test]
fn the_password_of_etcd_is_in_no_config_dump_log_or_metric() {
    let Some(program) = tools::require(tools::envoy()) else { return };
    let Some(etcd) = etcd() else { return };
    let upstream = Upstream::start().unwrap();
    let site = site(&configuration(), upstream.addr());
    let folder = Folder::new();
    shipped::lay_out(folder.path(), &site);
    shipped::add_etcd(folder.path(), &site, etcd.address());
    let variables = [("TOLLGATE_ETCD_PASSWORD", PASSWORD)];
    let mut envoy = Envoy::run_with(&program, folder, WORKERS, &variables);

    // It signs in: what it writes is stored, and read again.
    let address = envoy.address();
    let begun = Instant::now();
    while request(address, &manage("root", "GET", "/teams/search", None)).headers.get("age").is_none() {
        assert!(begun.elapsed() < PATIENCE, "etcd is never read:\n{}", envoy.log());
        thread::sleep(Duration::from_millis(20));
    }
    let changed =
        request(address, &manage("root", "PATCH", "/teams/search", Some(&json!({"limits": {"rpm": 7}}))));
    assert_eq!(changed.status, 200, "{changed:?}");
    let overview = request(address, &manage("root", "GET", "", None));

    // Another variable does not exist; the configuration is refused and the message names the variable.
    let mut missing = configuration();
    missing["fleet"]["password_env"] = json!("TOLLGATE_OTHER");
    assert_eq!(envoy.reload(&missing.to_string()), Reload::Refused);
    assert!(envoy.log().contains("no environment variable `TOLLGATE_OTHER`"), "{}", envoy.log());
    assert_eq!(envoy.reload(&configuration().to_string()), Reload::Taken);

    let dump = envoy.admin("GET", "/config_dump?include_eds");
    assert!(
        dump.contains("password_env") && dump.contains("TOLLGATE_ETCD_PASSWORD"),
        "the dump has the filter"
    );
    let mut places = vec![envoy.log(), format!("{overview:?}{changed:?}"), dump];
    for page in
        ["/stats", "/stats/prometheus", "/clusters?format=json", "/server_info", "/listeners?format=json"]
    {
        places.push(envoy.admin("GET", page));
    }
    places.push(envoy.access_log(1).into_iter().map(|line| line.to_string()).collect());
    for (place, text) in places.iter().enumerate() {
        assert!(!text.contains(PASSWORD), "the password is in place {place}");
    }
}
