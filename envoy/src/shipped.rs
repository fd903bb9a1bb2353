//! The shipped files, changed to use a test's ports.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// The replacements in the shipped files. Everything else is as operators run it.
#[derive(Clone, Debug)]
pub struct Site {
    /// The path of the filter.
    pub module: PathBuf,
    /// The gateway configuration, as JSON text; `None` for the shipped one.
    pub configuration: Option<String>,
    /// The address of both upstreams.
    pub upstream: SocketAddr,
    /// The HTTP version of the upstreams.
    pub protocol: Protocol,
}

/// A version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1
    Http1,
    /// HTTP/2 without TLS
    Http2,
}

/// The keys of the upstreams `openai` and `anthropic`, in the format of their secret files.
pub const UPSTREAM_SECRETS: [(&str, &str); 2] =
    [("openai", "Bearer sk-of-the-upstream-openai"), ("anthropic", "sk-of-the-upstream-anthropic")];

const MANAGER: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
const CONFIGURATION: &str = "/resources/0/typed_config/config/configuration/value";

/// Returns this folder of the repository.
pub fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Writes the folder that an operator starts Envoy in.
///
/// # Panics
///
/// If a shipped file lacks a replaced value, or a file cannot be written.
pub fn lay_out(folder: &Path, site: &Site) {
    lay_out_with(folder, site, &[]);
}

/// Writes the folder with these options of `envoy.yaml` switched on. The option `http3` also needs a certificate.
///
/// # Panics
///
/// As [`lay_out`], or if there is no such option.
pub fn lay_out_with(folder: &Path, site: &Site, options: &[&str]) {
    let secrets = folder.join("secrets");
    fs::create_dir_all(&secrets).unwrap_or_else(|error| panic!("{}: {error}", secrets.display()));
    for (name, secret) in UPSTREAM_SECRETS {
        let shipped = format!("secrets/{name}.yaml");
        write(&folder.join(&shipped), read(&shipped));
        write(&folder.join(format!("secrets/{name}.key")), secret);
    }
    let module = folder.join("tollgate.wasm");
    fs::copy(&site.module, &module).unwrap_or_else(|error| panic!("{}: {error}", site.module.display()));
    write(&folder.join("envoy.yaml"), bootstrap_with(site, options).to_string());
    write(&folder.join("tollgate.yaml"), extension(site.configuration.as_deref()).to_string());
}

/// Adds the cluster of `etcd.yaml` to such a folder, as an operator adds it.
///
/// # Panics
///
/// If the shipped file lacks a replaced value, or a file cannot be written.
pub fn add_etcd(folder: &Path, site: &Site, etcd: SocketAddr) {
    let mut cluster = Document::shipped("etcd.yaml");
    let address = "/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address";
    cluster.replace(address, loopback(etcd.port()));
    let mut document = Document { name: "envoy.yaml", value: bootstrap(site) };
    match document.at("/static_resources/clusters") {
        Value::Array(clusters) => clusters.push(cluster.value),
        _ => panic!("envoy.yaml has no list of clusters"),
    }
    write(&folder.join("envoy.yaml"), document.value.to_string());
}

/// Adds a second listener, `second`, with the same filter and a gateway configuration of its own in `second.yaml`.
///
/// # Panics
///
/// If the shipped file lacks a replaced value, or a file cannot be written.
pub fn add_listener(folder: &Path, site: &Site, configuration: &str) {
    let mut document = Document { name: "envoy.yaml", value: bootstrap(site) };
    let discovery =
        format!("{}/config_discovery/config_source/path_config_source/path", filter_at(&mut document));
    let first = document.value.clone();
    document.replace(&discovery, json!("./second.yaml"));
    document.replace("/static_resources/listeners/0/name", json!("second"));
    let second = document.at("/static_resources/listeners/0").clone();
    document.value = first;
    match document.at("/static_resources/listeners") {
        Value::Array(listeners) => listeners.push(second),
        _ => panic!("envoy.yaml has no list of listeners"),
    }
    write(&folder.join("envoy.yaml"), document.value.to_string());
    write(&folder.join("second.yaml"), extension(Some(configuration)).to_string());
}

/// Adds the shipped check of JWTs before the filter in such a folder, with these public keys (a JWK Set).
///
/// # Panics
///
/// If the shipped files lack an extended value, or a file cannot be written.
pub fn add_jwt(folder: &Path, site: &Site, keys: &Value) {
    let mut document = Document { name: "envoy.yaml", value: bootstrap(site) };
    match document.at(&format!("{MANAGER}/http_filters")) {
        Value::Array(filters) => filters.insert(0, shipped("jwt.yaml")),
        _ => panic!("envoy.yaml has no list of filters"),
    }
    write(&folder.join("envoy.yaml"), document.value.to_string());
    write(&folder.join("jwks.json"), keys.to_string());
}

/// Returns a shipped file unchanged.
///
/// # Panics
///
/// If it is missing, or is not YAML.
pub fn shipped(name: &'static str) -> Value {
    Document::shipped(name).value
}

/// Returns `envoy.yaml` for this site.
pub fn bootstrap(site: &Site) -> Value {
    bootstrap_with(site, &[])
}

/// Returns `envoy.yaml` for this site, with these options.
///
/// # Panics
///
/// If there is no such option, or the file lacks a replaced value.
pub fn bootstrap_with(site: &Site, options: &[&str]) -> Value {
    let mut document = Document { name: "envoy.yaml", value: parse("envoy.yaml", &with_options(options)) };
    document.replace("/admin/address/socket_address", loopback(0));
    let listeners = document.at("/static_resources/listeners").as_array().map_or(0, Vec::len);
    for listener in 0..listeners {
        let listener = format!("/static_resources/listeners/{listener}");
        let address = format!("{listener}/address/socket_address");
        for (field, value) in [("address", json!("127.0.0.1")), ("port_value", json!(0))] {
            document.replace(&format!("{address}/{field}"), value);
        }
        let manager = format!("{listener}/filter_chains/0/filters/0/typed_config");
        document.replace(&format!("{manager}/access_log/0/typed_config/path"), json!("./access.log"));
    }
    for cluster in ["/static_resources/clusters/0", "/static_resources/clusters/1"] {
        document.replace(
            &format!("{cluster}/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address"),
            loopback(site.upstream.port()),
        );
        // The upstreams of tests use no TLS; choosing the protocol by ALPN depends on it.
        document.remove(cluster, "transport_socket");
        let options = format!("{cluster}/typed_extension_protocol_options/{HTTP_OPTIONS}");
        let mut protocols = document.remove(&options, "auto_config");
        let (unused, kept) = match site.protocol {
            Protocol::Http1 => ("http2_protocol_options", "http_protocol_options"),
            Protocol::Http2 => ("http_protocol_options", "http2_protocol_options"),
        };
        let protocols_object =
            protocols.as_object_mut().unwrap_or_else(|| panic!("auto_config is no object"));
        assert!(protocols_object.remove(unused).is_some(), "auto_config has no {unused}");
        assert!(protocols_object.contains_key(kept), "auto_config has no {kept}");
        document.insert(&options, "explicit_http_config", protocols);
    }
    document.value
}

/// Returns the text of `envoy.yaml` with these options: in the blocks of each, the first `#` of every line is removed,
/// as by the command in README.md.
///
/// # Panics
///
/// If there is no such option, or a block has no end.
pub fn with_options(options: &[&str]) -> String {
    let mut text = read("envoy.yaml");
    for option in options {
        let (start, end) = (format!("# --- option {option}"), format!("# --- end of option {option}"));
        let (mut inside, mut blocks) = (false, 0);
        let lines = text.lines().map(|line| {
            let marker = line.trim_start();
            if marker == start || marker == end {
                inside = marker == start;
                blocks += usize::from(inside);
                return line.to_owned();
            }
            if inside { line.replacen('#', "", 1) } else { line.to_owned() }
        });
        let changed = lines.collect::<Vec<_>>().join("\n");
        assert!(blocks > 0 && !inside, "envoy.yaml has no complete option {option}");
        text = changed;
    }
    text
}

/// Returns `tollgate.yaml` with this gateway configuration.
pub fn extension(configuration: Option<&str>) -> Value {
    let mut document = Document::shipped("tollgate.yaml");
    if let Some(configuration) = configuration {
        document.replace(CONFIGURATION, json!(configuration));
    }
    document.value
}

/// Returns the gateway configuration of the shipped `tollgate.yaml`.
///
/// # Panics
///
/// If it has none.
pub fn configuration() -> String {
    let document = Document::shipped("tollgate.yaml");
    let value = document.value.pointer(CONFIGURATION).and_then(Value::as_str);
    value.unwrap_or_else(|| panic!("tollgate.yaml has no {CONFIGURATION}")).to_owned()
}

/// Returns `envoy.yaml` with the filter inline: a form that cannot be reloaded, and in which `envoy --mode
/// validate` also checks the policy.
///
/// # Panics
///
/// If the shipped files do not have the filter at its expected place.
pub fn inline(site: &Site) -> Value {
    let mut document = Document { name: "envoy.yaml", value: bootstrap(site) };
    let filter = filter_at(&mut document);
    document.remove(&filter, "config_discovery");
    let extension = extension(site.configuration.as_deref());
    let typed = extension.pointer("/resources/0/typed_config");
    document.insert(
        &filter,
        "typed_config",
        typed.unwrap_or_else(|| panic!("tollgate.yaml has no filter")).clone(),
    );
    document.value
}

/// Returns the pointer of the filter in `envoy.yaml`.
fn filter_at(document: &mut Document) -> String {
    let filters = document.at(&format!("{MANAGER}/http_filters")).as_array();
    let place = filters.and_then(|filters| filters.iter().position(|filter| filter["name"] == "tollgate"));
    let place = place.unwrap_or_else(|| panic!("envoy.yaml has no filter tollgate"));
    format!("{MANAGER}/http_filters/{place}")
}

fn loopback(port: u16) -> Value {
    json!({"address": "127.0.0.1", "port_value": port})
}

fn parse(name: &str, text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn read(name: &str) -> String {
    let path = folder().join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn write(path: &Path, text: impl AsRef<[u8]>) {
    fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// A shipped file. A replaced value must exist: a change of the file that moves it breaks every test.
struct Document {
    name: &'static str,
    value: Value,
}

impl Document {
    fn shipped(name: &'static str) -> Self {
        Self { name, value: parse(name, &read(name)) }
    }

    fn at(&mut self, pointer: &str) -> &mut Value {
        let name = self.name;
        self.value.pointer_mut(pointer).unwrap_or_else(|| panic!("{name} has no {pointer}"))
    }

    fn replace(&mut self, pointer: &str, value: Value) {
        *self.at(pointer) = value;
    }

    fn remove(&mut self, pointer: &str, field: &str) -> Value {
        let removed = self.at(pointer).as_object_mut().and_then(|object| object.remove(field));
        removed.unwrap_or_else(|| panic!("{} has no {pointer}/{field}", self.name))
    }

    fn insert(&mut self, pointer: &str, field: &str, value: Value) {
        let name = self.name;
        let object =
            self.at(pointer).as_object_mut().unwrap_or_else(|| panic!("{name}: {pointer} is no object"));
        object.insert(field.to_owned(), value);
    }
}
