//! A real LiteLLM proxy as the upstream: it takes models from the query, the path and members of the body.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate_envoy::client::{Connection, Request, request};
use tollgate_envoy::envoy::{Envoy, Folder};
use tollgate_envoy::gateway::{WORKERS, site};
use tollgate_envoy::live::Live;
use tollgate_envoy::shipped::{self, UPSTREAM_SECRETS};
use tollgate_envoy::world::{configuration, key_of, secret};
use tollgate_host::simulator::Upstream;
use tollgate_host::tools;

/// The proxy's process, which ends with this value.
struct Proxy {
    process: Child,
    address: SocketAddr,
    folder: Folder,
}

impl Proxy {
    /// Starts the proxy with these models, each with its provider.
    fn start(models: &[(&str, SocketAddr)]) -> Option<Proxy> {
        let program = tools::require(tools::litellm_proxy())?;
        let folder = Folder::new();
        let model = |(name, provider): &(&str, SocketAddr)| {
            let params = json!({"model": format!("openai/{name}"), "api_base": format!("http://{provider}/v1"), "api_key": "x"});
            json!({"model_name": name, "litellm_params": params})
        };
        let list: Vec<Value> = models.iter().map(model).collect();
        let config = folder.path().join("config.yaml");
        let settings = json!({"model_list": list, "general_settings": {"master_key": master_key()}});
        std::fs::write(&config, settings.to_string()).unwrap();
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let process = Command::new(program)
            .arg("--config")
            .arg(&config)
            .args(["--host", "127.0.0.1", "--port", &address.port().to_string()])
            // Tables of the package instead of downloads.
            .env("LITELLM_LOCAL_MODEL_COST_MAP", "True")
            .env("LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS", "True")
            .env("LITELLM_TELEMETRY", "False")
            .env("LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY", "true")
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut proxy = Proxy { process, address, folder };
        let end = Instant::now() + Duration::from_secs(180);
        while !proxy.is_live() {
            assert!(Instant::now() < end && proxy.process.try_wait().unwrap().is_none(), "{}", proxy.log());
            std::thread::sleep(Duration::from_millis(200));
        }
        Some(proxy)
    }

    fn is_live(&self) -> bool {
        std::net::TcpStream::connect(self.address).is_ok() && {
            let mut connection = Connection::open(self.address);
            let sent = connection.send(&Request::new("GET", "/health/liveliness").bytes());
            sent.is_ok() && connection.response().is_ok_and(|response| response.status == 200)
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The proxy's own key, which Envoy sends to it.
fn master_key() -> &'static str {
    UPSTREAM_SECRETS[0].1.trim_start_matches("Bearer ")
}

const CHAT: &str = "/v1/chat/completions";

/// Attempts to have `gpt-5` answer in place of `gpt-5-mini`, whose provider fails. Those with `true` work at this proxy.
fn attempts() -> Vec<(bool, String, Value)> {
    let body = |members: Value| {
        let mut body =
            json!({"model": "gpt-5-mini", "messages": [{"role": "user", "content": "x"}], "num_retries": 0});
        body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        body
    };
    let plain = || body(json!({}));
    let deployment = json!([{"model_name": "gpt-5-mini", "litellm_params": {"model": "gpt-5"}}]);
    let fallbacks = json!([{"gpt-5-mini": ["gpt-5"]}]);
    vec![
        (true, format!("{CHAT}?model=gpt-5"), plain()),
        (true, format!("{CHAT}?%6Dodel=gpt%2D5"), plain()),
        (true, format!("{CHAT}?a=1&model=gpt-5-mini&model=gpt-5"), plain()),
        (true, "/v1/completions?model=gpt-5".into(), json!({"model": "gpt-5-mini", "prompt": "x"})),
        (true, "/v1/embeddings?model=gpt-5".into(), json!({"model": "gpt-5-mini", "input": "x"})),
        (true, "/openai/deployments/gpt-5/chat/completions".into(), plain()),
        (true, CHAT.into(), body(json!({"fallbacks": ["gpt-5"]}))),
        (true, CHAT.into(), body(json!({"fallbacks": fallbacks}))),
        (true, CHAT.into(), body(json!({"fallbacks": [{"model": "gpt-5"}]}))),
        (true, CHAT.into(), body(json!({"model": "gpt-5-mini,gpt-5"}))),
        (false, CHAT.into(), body(json!({"context_window_fallbacks": fallbacks}))),
        (false, CHAT.into(), body(json!({"content_policy_fallbacks": fallbacks}))),
        (false, CHAT.into(), body(json!({"default_fallbacks": ["gpt-5"]}))),
        (false, CHAT.into(), body(json!({"context_window_fallback_dict": {"gpt-5-mini": "gpt-5"}}))),
        (false, CHAT.into(), body(json!({"user_config": {"model_list": deployment}}))),
        (false, CHAT.into(), body(json!({"model_list": deployment}))),
        (false, CHAT.into(), body(json!({"router_settings": {"model_list": deployment}}))),
        (false, CHAT.into(), body(json!({"litellm_params": {"model": "gpt-5"}}))),
        (false, CHAT.into(), body(json!({"silent_model": "gpt-5"}))),
        (false, CHAT.into(), body(json!({"target_model_names": "gpt-5"}))),
        (false, CHAT.into(), body(json!({"extra_body": {"model": "gpt-5"}}))),
    ]
}

#[test]
fn a_real_router_answers_with_no_model_that_is_not_allowed() {
    let Some(program) = tools::require(tools::envoy()) else { return };
    let provider = Upstream::start_recording().unwrap();
    let failing =
        Live::start(|_, to| to.failure(500, "application/json", "{\"error\":{\"message\":\"no\"}}"));
    let models =
        [("gpt-5-mini", failing.address()), ("gpt-5-nano", provider.addr()), ("gpt-5", provider.addr())];
    let Some(proxy) = Proxy::start(&models) else { return };
    let called = || {
        let bodies = provider.recording().requests();
        bodies.iter().filter(|request| String::from_utf8_lossy(&request.body).contains("\"gpt-5\"")).count()
    };
    let post = |path: &str, body: &Value, key: &str| Request::json(path, body).bearer(key);

    // The router answers these without a gateway: the attempts are real.
    for (works, path, body) in attempts() {
        let before = called();
        let answer = request(proxy.address, &post(&path, &body, master_key()));
        assert!(!works || called() > before, "{path} {body}: {answer:?}\n{}", proxy.log());
    }
    let before = called();
    assert!(before >= 10, "{before}");

    let mut settings = configuration(
        &json!({"ml": {"organization": "acme", "name": "ML"}}),
        &json!({"laptop": key_of("ml", "laptop")}),
    );
    settings["policy"]["targets"]["gpt-5-nano"] = json!({});
    settings["policy"]["organizations"]["acme"]["access"] = json!({"targets": ["gpt-5-mini", "gpt-5-nano"]});
    for unknown_query in ["remove", "deny", "allow"] {
        settings["unknown_query"] = json!(unknown_query);
        let site = site(&settings, proxy.address);
        let folder = Folder::new();
        shipped::lay_out(folder.path(), &site);
        let envoy = Envoy::run(&program, folder, WORKERS);
        for (_, path, body) in attempts() {
            let answer = request(envoy.address(), &post(&path, &body, &secret("laptop")));
            assert!([400, 403].contains(&answer.status), "{unknown_query} {path} {body}: {answer:?}");
        }
        assert_eq!(called(), before, "{unknown_query}");
        // An allowed model answers, also where the query names it.
        for path in [CHAT.to_owned(), format!("{CHAT}?model=gpt-5-nano")] {
            let body = json!({"model": "gpt-5-nano", "messages": [{"role": "user", "content": "x"}]});
            let answer = request(envoy.address(), &post(&path, &body, &secret("laptop")));
            assert_eq!(answer.status, 200, "{answer:?}\n{}", proxy.log());
        }
        envoy.assert_no_trap();
    }
}
