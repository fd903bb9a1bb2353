//! The files that operators copy are whole, and say what the code does.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tollgate_core::config::{ConfigLoader, MAX_BODY};
use tollgate_core::exchange::access_log::AccessLogEntry;
use tollgate_core::llm::usage::Usage;
use tollgate_core::money::Pico;
use tollgate_core::quota::{PrincipalKind, QuotaScope};
use tollgate_core::time::Timestamp;
use tollgate_envoy::envoy::validate;
use tollgate_envoy::gateway::filter;
use tollgate_envoy::shipped::{self, Protocol, Site};
use tollgate_host::provision;
use tollgate_host::serve::lines;

fn site(configuration: Option<&str>) -> Site {
    let nowhere = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
    Site {
        module: filter(&[]),
        configuration: configuration.map(str::to_owned),
        upstream: nowhere,
        protocol: Protocol::Http1,
    }
}

fn loads(configuration: &str) {
    let mut loader = ConfigLoader::default();
    loader.push(configuration.as_bytes());
    let (_, warnings) = loader.finish().unwrap_or_else(|findings| panic!("{findings:#?}"));
    assert!(warnings.is_empty(), "{warnings:#?}");
}

#[test]
fn envoy_accepts_the_shipped_files() {
    let Some(envoy) = provision::require(provision::envoy()) else { return };
    let site = site(None);
    let (accepted, said) = validate(&envoy, &site, &shipped::shipped("envoy.yaml"));
    assert!(accepted, "{said}");
    let (accepted, said) = validate(&envoy, &site, &shipped::inline(&site));
    assert!(accepted, "{said}");
}

#[test]
fn envoy_accepts_the_filter_of_the_istio_file() {
    let Some(envoy) = provision::require(provision::envoy()) else { return };
    let istio = shipped::shipped("istio-envoyfilter.yaml");
    let patches = istio["spec"]["configPatches"].as_array().unwrap();
    let patch = |of: &str| &patches.iter().find(|patch| patch["applyTo"] == of).unwrap()["patch"]["value"];
    let mut filter = patch("EXTENSION_CONFIG").clone();
    filter["typed_config"]["config"]["vm_config"]["code"]["local"]["filename"] = json!("./tollgate.wasm");
    let site = site(None);
    let mut bootstrap = shipped::bootstrap(&site);
    let listener = &mut bootstrap["static_resources"]["listeners"][0];
    merge(listener, patch("LISTENER"));
    let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
    merge(manager, &patch("NETWORK_FILTER")["typed_config"]);
    manager["http_filters"][0] = filter;
    let (accepted, said) = validate(&envoy, &site, &bootstrap);
    assert!(accepted, "{said}");
}

fn merge(into: &mut Value, patch: &Value) {
    for (name, value) in patch.as_object().unwrap() {
        into[name] = value.clone();
    }
}

#[test]
fn envoy_refuses_a_policy_with_an_error_where_it_is_inline() {
    let Some(envoy) = provision::require(provision::envoy()) else { return };
    let site = site(Some(
        r#"{"policy": {"version": 1, "teams": {"ml": {"organization": "unknown", "name": "ML"}}}}"#,
    ));
    let (accepted, said) = validate(&envoy, &site, &shipped::inline(&site));
    assert!(!accepted, "{said}");
    assert!(
        said.contains("/policy/teams/ml/organization"),
        "the log does not say where the error is:\n{said}"
    );
}

#[test]
fn every_shipped_configuration_loads_without_a_warning() {
    loads(&shipped::configuration());
    loads(&shipped::shipped("istio-wasmplugin.yaml")["spec"]["pluginConfig"].to_string());
    let istio = shipped::shipped("istio-envoyfilter.yaml");
    let filter = &istio["spec"]["configPatches"][1]["patch"]["value"];
    loads(filter["typed_config"]["config"]["configuration"]["value"].as_str().unwrap());
}

#[test]
fn istio_runs_the_filter_between_its_own_authentication_and_authorization() {
    assert_eq!(shipped::shipped("istio-wasmplugin.yaml")["spec"]["phase"], "AUTHZ");
}

/// The names of a finished request's facts, and those that Envoy logs and that `tollgate serve` writes.
#[test]
fn both_access_logs_contain_every_field_of_a_request() {
    let known = AccessLogEntry {
        time: Some(Timestamp(0)),
        reason: Some("team_rpm_exceeded".into()),
        organization: Some("acme".into()),
        team: Some("ml".into()),
        user: Some("ann".into()),
        key: Some("laptop".into()),
        target: Some("gpt-5-mini".into()),
        usage: Some(Usage::default()),
        cost: Pico(1),
        over_soft_budget: Some(QuotaScope::whole(PrincipalKind::Team)),
        ..AccessLogEntry::default()
    };
    let plain = |name: &str| name.strip_prefix("tollgate.").map(str::to_owned);
    let known: BTreeSet<String> = known.fields().iter().filter_map(|(name, _)| plain(name)).collect();

    let manager = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
    let bootstrap = shipped::shipped("envoy.yaml");
    let format =
        bootstrap.pointer(&format!("{manager}/access_log/0/typed_config/log_format/json_format")).unwrap();
    let fields =
        format.as_object().unwrap().iter().filter(|(_, value)| value.as_str().unwrap().contains("(wasm."));
    let logged: BTreeSet<String> = fields
        .map(|(name, value)| {
            assert_eq!(value, &json!(format!("%FILTER_STATE(wasm.tollgate.{name}:PLAIN)%")));
            name.clone()
        })
        .collect();
    assert_eq!(logged, known);
    let written: BTreeSet<String> = lines::facts().map(str::to_owned).collect();
    assert_eq!(written, known);
}

#[test]
fn envoys_buffer_holds_the_largest_body_that_the_filter_accepts() {
    for (file, pointer) in [
        ("envoy.yaml", "/static_resources/listeners/0/per_connection_buffer_limit_bytes"),
        ("istio-envoyfilter.yaml", "/spec/configPatches/2/patch/value/per_connection_buffer_limit_bytes"),
    ] {
        let limit = shipped::shipped(file).pointer(pointer).and_then(Value::as_u64).unwrap();
        assert!(limit >= MAX_BODY + (1 << 20), "{file}: {limit} for {MAX_BODY}");
    }
}

#[test]
fn the_container_runs_the_same_envoy_on_the_same_files_and_lets_streams_drain() {
    let compose = shipped::shipped("docker-compose.yaml");
    let service = &compose["services"]["gateway"];
    assert_eq!(service["image"], format!("envoyproxy/envoy:v{}", provision::ENVOY));
    let listener = &shipped::shipped("envoy.yaml")["static_resources"]["listeners"][0];
    let port = &listener["address"]["socket_address"]["port_value"];
    assert_eq!(service["ports"], json!([format!("{port}:{port}")]));
    // Where README.md's commands put everything.
    let folder = service["working_dir"].as_str().unwrap();
    assert_eq!(service["volumes"], json!([format!("../gateway:{folder}:ro")]));
    let command: Vec<_> = service["command"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let ["envoy", "-c", "envoy.yaml", "--drain-time-s", seconds] = command[..] else { panic!("{command:?}") };
    // As long as SDKs wait for an answer, at least.
    assert!(seconds.parse::<u32>().unwrap() >= 600, "{seconds}");
}
