//! The files that operators copy are complete and match the code.

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
use tollgate_host::server::lines;
use tollgate_host::tools;

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
    let Some(envoy) = tools::require(tools::envoy()) else { return };
    let site = site(None);
    let (accepted, said) = validate(&envoy, &site, &shipped::shipped("envoy.yaml"));
    assert!(accepted, "{said}");
    let (accepted, said) = validate(&envoy, &site, &shipped::bootstrap_with(&site, &["cors"]));
    assert!(accepted, "{said}");
    let (accepted, said) = validate(&envoy, &site, &shipped::inline(&site));
    assert!(accepted, "{said}");
}

/// Returns `envoy.yaml` with the filters and settings of the Istio file in place of its own.
fn with_istio_patches(site: &Site) -> Value {
    let mut bootstrap = shipped::bootstrap(site);
    let listener = &mut bootstrap["static_resources"]["listeners"][0];
    let manager = "/filter_chains/0/filters/0/typed_config";
    let filters = listener.pointer_mut(manager).unwrap()["http_filters"].as_array_mut().unwrap();
    filters.retain(|filter| filter["name"] == "envoy.filters.http.router");
    let istio = shipped::shipped("istio-envoyfilter.yaml");
    let mut extension = Value::Null;
    for patch in istio["spec"]["configPatches"].as_array().unwrap() {
        let (value, operation) = (&patch["patch"]["value"], patch["patch"]["operation"].as_str().unwrap());
        match (patch["applyTo"].as_str().unwrap(), operation) {
            ("HTTP_FILTER", "INSERT_FIRST") => {
                let filters = listener.pointer_mut(manager).unwrap()["http_filters"].as_array_mut();
                filters.unwrap().insert(0, value.clone());
            }
            ("EXTENSION_CONFIG", "ADD") => extension = value.clone(),
            ("LISTENER", "MERGE") => merge(listener, value),
            ("NETWORK_FILTER", "MERGE") => {
                merge(listener.pointer_mut(manager).unwrap(), &value["typed_config"]);
            }
            ("VIRTUAL_HOST", "MERGE") => {
                let hosts = &mut listener.pointer_mut(manager).unwrap()["route_config"]["virtual_hosts"];
                merge(&mut hosts[0], value);
            }
            other => panic!("no test knows the patch {other:?}"),
        }
    }
    extension["typed_config"]["config"]["vm_config"]["code"]["local"]["filename"] = json!("./tollgate.wasm");
    let filters = listener.pointer_mut(manager).unwrap()["http_filters"].as_array_mut().unwrap();
    // Istio delivers the extension.
    *filters.iter_mut().find(|filter| filter["name"] == "tollgate").unwrap() = extension;
    bootstrap
}

#[test]
fn envoy_accepts_the_filters_and_settings_of_the_istio_file() {
    let Some(envoy) = tools::require(tools::envoy()) else { return };
    let site = site(None);
    let (accepted, said) = validate(&envoy, &site, &with_istio_patches(&site));
    assert!(accepted, "{said}");
}

#[test]
fn istio_gets_the_same_filters_and_limits_as_envoy() {
    let site = site(None);
    let (istio, envoy) = (with_istio_patches(&site), shipped::bootstrap(&site));
    let manager = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
    let names = |bootstrap: &Value| {
        let filters = bootstrap.pointer(manager).unwrap()["http_filters"].as_array().unwrap().clone();
        filters.iter().map(|filter| filter["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&istio), names(&envoy));
    // The other filters do not differ by a setting, and neither do the patched fields of the connection manager.
    let others = |bootstrap: &Value| {
        let mut manager = bootstrap.pointer(manager).unwrap().clone();
        manager["http_filters"].as_array_mut().unwrap().retain(|filter| filter["name"] != "tollgate");
        manager
    };
    assert_eq!(others(&istio), others(&envoy));
    let limit = |bootstrap: &Value| {
        bootstrap.pointer("/static_resources/listeners/0/per_connection_buffer_limit_bytes").cloned()
    };
    assert_eq!(limit(&istio), limit(&envoy));
}

fn merge(into: &mut Value, patch: &Value) {
    for (name, value) in patch.as_object().unwrap() {
        into[name] = value.clone();
    }
}

#[test]
fn envoy_rejects_an_inline_policy_with_an_error() {
    let Some(envoy) = tools::require(tools::envoy()) else { return };
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
    let patches = istio["spec"]["configPatches"].as_array().unwrap();
    let filter =
        &patches.iter().find(|patch| patch["applyTo"] == "EXTENSION_CONFIG").unwrap()["patch"]["value"];
    loads(filter["typed_config"]["config"]["configuration"]["value"].as_str().unwrap());
}

#[test]
fn istio_runs_the_filter_between_its_own_authentication_and_authorization() {
    assert_eq!(shipped::shipped("istio-wasmplugin.yaml")["spec"]["phase"], "AUTHZ");
}

/// The fields of a finished request in the filter, in Envoy's access log and in that of `tollgate serve`.
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
        over_max_input: Some(1),
        path: Some("/v1/chat/completions".into()),
        ..AccessLogEntry::default()
    };
    let plain = |name: &str| name.strip_prefix("tollgate.").map(str::to_owned);
    let known: BTreeSet<String> = known.fields().iter().filter_map(|(name, _)| plain(name)).collect();

    let manager = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
    let bootstrap = shipped::shipped("envoy.yaml");
    let format =
        bootstrap.pointer(&format!("{manager}/access_log/0/typed_config/log_format/json_format")).unwrap();
    // A request has them also if the filter never decides it.
    assert_eq!(format["time"], "%START_TIME%");
    let fields =
        format.as_object().unwrap().iter().filter(|(_, value)| value.as_str().unwrap().contains("(wasm."));
    let mut logged: BTreeSet<String> = fields
        .map(|(name, value)| {
            assert_eq!(value, &json!(format!("%FILTER_STATE(wasm.tollgate.{name}:PLAIN)%")));
            name.clone()
        })
        .collect();
    logged.insert("time".to_owned());
    assert_eq!(logged, known);
    let written: BTreeSet<String> = lines::facts().map(str::to_owned).collect();
    assert_eq!(written, known);
}

/// The most bytes to which Envoy decompresses one.
const MAX_INFLATE_RATIO: u64 = 1032;
/// The bytes by which Envoy reads more from a connection than its limit: at most a slice of its buffers.
const READ_SLICE: u64 = 16 * 1024;

#[test]
fn envoys_buffers_hold_the_largest_body_that_the_filter_accepts() {
    for (file, connection, body) in [
        (
            "envoy.yaml",
            "/static_resources/listeners/0/per_connection_buffer_limit_bytes",
            "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0/\
             request_body_buffer_limit",
        ),
        (
            "istio-envoyfilter.yaml",
            "/spec/configPatches/5/patch/value/per_connection_buffer_limit_bytes",
            "/spec/configPatches/6/patch/value/request_body_buffer_limit",
        ),
    ] {
        let limit = |pointer| shipped::shipped(file).pointer(pointer).and_then(Value::as_u64).unwrap();
        let piece = (limit(connection) + READ_SLICE) * MAX_INFLATE_RATIO;
        assert!(limit(body) >= MAX_BODY + piece, "{file}: {} for {MAX_BODY}", limit(body));
    }
}

#[test]
fn the_container_runs_the_same_envoy_on_the_same_files_and_lets_streams_drain() {
    let compose = shipped::shipped("docker-compose.yaml");
    let service = &compose["services"]["gateway"];
    assert_eq!(service["image"], format!("envoyproxy/envoy:v{}", tools::ENVOY));
    let listener = &shipped::shipped("envoy.yaml")["static_resources"]["listeners"][0];
    let port = &listener["address"]["socket_address"]["port_value"];
    assert_eq!(service["ports"], json!([format!("{port}:{port}")]));
    // The folder that README.md's commands create.
    let folder = service["working_dir"].as_str().unwrap();
    assert_eq!(service["volumes"], json!([format!("../gateway:{folder}:ro")]));
    let command: Vec<_> = service["command"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let ["envoy", "-c", "envoy.yaml", "--drain-time-s", seconds] = command[..] else { panic!("{command:?}") };
    // At least as long as SDKs wait for a response.
    assert!(seconds.parse::<u32>().unwrap() >= 600, "{seconds}");
}
