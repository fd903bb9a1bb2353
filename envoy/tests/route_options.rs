//! Options of Envoy's routes that act on requests after the decision, or before it, as README.md describes them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};
use tollgate_envoy::client::{Request, request};
use tollgate_envoy::envoy::{Envoy, Folder};
use tollgate_envoy::gateway::site;
use tollgate_envoy::shipped;
use tollgate_envoy::world::{configuration, key_of, secret};
use tollgate_host::tools;

const ROUTES: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0/routes";

/// An upstream that redirects `/moved...` to the path behind it, and answers everything else with 200.
struct Upstream {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Upstream {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&heads);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let all = Arc::clone(&all);
                thread::spawn(move || serve(stream, &all));
            }
        });
        Self { address, heads }
    }

    /// The heads of the requests since the last call, in lower case.
    fn heads(&self) -> Vec<String> {
        std::mem::take(&mut self.heads.lock().unwrap())
    }
}

/// Answers requests without bodies.
fn serve(mut stream: TcpStream, all: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let mut head = String::new();
        loop {
            let before = head.len();
            match reader.read_line(&mut head) {
                Ok(0) | Err(_) => return,
                Ok(_) if head[before..].trim().is_empty() => break,
                Ok(_) => {}
            }
        }
        let path = head.split(' ').nth(1).unwrap_or_default();
        let answer = match path.strip_prefix("/moved") {
            Some(to) => {
                format!(
                    "HTTP/1.1 302 Found\r\nlocation: http://gateway.test{to}\r\ncontent-length: 0\r\n\r\n"
                )
            }
            None => "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_owned(),
        };
        all.lock().unwrap().push(head.to_lowercase());
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// Envoy with these options on the route for all paths.
fn start(upstream: &Upstream, change: impl FnOnce(&mut Vec<Value>)) -> Option<Envoy> {
    let program = tools::require(tools::envoy())?;
    let teams = json!({"ml": {"organization": "acme", "name": "ML", "limits": {"rpm": 9}}});
    let mut configuration = configuration(&teams, &json!({"laptop": key_of("ml", "laptop")}));
    configuration["routes"] = json!([
        {"path": "/moved/**", "target": "gpt-5-mini"},
        {"path": "/reports", "target": "gpt-5-mini"},
        {"path": "/open", "public": true},
    ]);
    let site = site(&configuration, upstream.address);
    let folder = Folder::new();
    shipped::lay_out(folder.path(), &site);
    let mut bootstrap = shipped::bootstrap(&site);
    change(bootstrap.pointer_mut(ROUTES).and_then(Value::as_array_mut).expect("envoy.yaml has routes"));
    std::fs::write(folder.path().join("envoy.yaml"), bootstrap.to_string()).unwrap();
    Some(Envoy::run(&program, folder, 1))
}

fn get(path: &str) -> Request {
    Request::new("GET", path).bearer(&secret("laptop"))
}

#[test]
fn an_internal_redirect_meets_the_filter_without_the_client_s_key() {
    let upstream = Upstream::start();
    let redirects = |routes: &mut Vec<Value>| {
        for route in routes.iter_mut().filter(|route| route["route"].is_object()) {
            route["route"]["internal_redirect_policy"] = json!({});
        }
    };
    let Some(envoy) = start(&upstream, redirects) else { return };
    assert_eq!(request(envoy.address(), &get("/reports")).status, 200);
    upstream.heads();

    // The filter removed the key from the request that Envoy repeats, and the cluster set the upstream's own: nothing
    // is served without a decision.
    let refused = request(envoy.address(), &get("/moved/reports"));
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (401, &json!("invalid_api_key")));
    assert_eq!(upstream.heads().len(), 1, "the redirect only");

    // A public path needs no key, and gets no identity of the first request.
    assert_eq!(request(envoy.address(), &get("/moved/open")).status, 200);
    let heads = upstream.heads();
    assert_eq!(heads.len(), 2, "{heads:?}");
    assert!(heads[0].contains("x-tollgate-team: ml") && !heads[1].contains("x-tollgate-"), "{heads:?}");
    assert!(heads.iter().all(|head| !head.contains(&secret("laptop").to_lowercase())), "{heads:?}");
}

#[test]
fn without_the_option_the_client_gets_the_redirect() {
    let upstream = Upstream::start();
    let Some(envoy) = start(&upstream, |_| ()) else { return };
    let moved = request(envoy.address(), &get("/moved/reports"));
    assert_eq!((moved.status, moved.headers.get("location")), (302, Some("http://gateway.test/reports")));
}

/// The route of README.md, "Redirects, and routes without the filter".
#[test]
fn a_route_without_the_filter_needs_no_key_and_drops_identities() {
    let upstream = Upstream::start();
    let text = std::fs::read_to_string(shipped::folder().join("README.md")).unwrap();
    let (_, rest) = text.split_once("<!-- A route without the filter. -->\n```yaml\n").expect("the snippet");
    let (snippet, _) = rest.split_once("```").expect("its end");
    let snippet: Value = serde_saphyr::from_str(snippet).unwrap();
    let mut route = snippet[0].clone();
    let Some(envoy) = start(&upstream, |routes| {
        // Its cluster is one of the shipped file.
        assert_eq!(route["route"]["cluster"], "openai");
        routes.insert(0, route.take());
    }) else {
        return;
    };
    for (path, status) in [("/status", 200), ("/status?key=x", 200), ("/reports", 401), ("/statusx", 404)] {
        let forged =
            Request::new("GET", path).header("x-tollgate-team", "theirs").header("X-Tollgate-User", "root");
        assert_eq!(request(envoy.address(), &forged).status, status, "{path}");
    }
    let heads = upstream.heads();
    assert_eq!(heads.len(), 2, "{heads:?}");
    assert!(heads.iter().all(|head| !head.contains("x-tollgate-")), "{heads:?}");
}
