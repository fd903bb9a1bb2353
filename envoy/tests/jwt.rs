//! Sign-in at the management API by a JWT that Envoy has verified.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::{Value, json};
use tollgate_envoy::client::{Request, Response, request};
use tollgate_envoy::envoy::{Envoy, Folder};
use tollgate_envoy::fleet::{self, token};
use tollgate_envoy::gateway::{WORKERS, site};
use tollgate_envoy::shipped;
use tollgate_host::simulator::Upstream;
use tollgate_host::tools;

/// An identity provider for tests: its secret is both keys (RFC 7518, 3.2).
struct Login(Vec<u8>);

impl Login {
    fn new() -> Login {
        let mut secret = vec![0; 32];
        SystemRandom::new().fill(&mut secret).unwrap();
        Login(secret)
    }

    fn keys(&self) -> Value {
        json!({"keys": [{"kty": "oct", "alg": "HS256", "kid": "one", "k": URL_SAFE_NO_PAD.encode(&self.0)}]})
    }

    fn sign(&self, claims: &Value) -> String {
        let head = json!({"alg": "HS256", "kid": "one", "typ": "JWT"}).to_string();
        let text = [head, claims.to_string()].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.0), text.as_bytes());
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    fn jwt(&self, user: &str) -> String {
        self.sign(&claims(user, 4_000_000_000))
    }
}

fn claims(user: &str, expires: u64) -> Value {
    json!({"iss": "https://login.example", "aud": "tollgate", "sub": user, "exp": expires})
}

#[test]
fn a_jwt_that_envoy_has_verified_signs_in_and_nothing_else_does() {
    let Some(program) = tools::require(tools::envoy()) else { return };
    let upstream = Upstream::start_recording().unwrap();
    let mut configuration = fleet::configuration();
    configuration.as_object_mut().unwrap().remove("fleet");
    configuration["manage"] = json!({"jwt": {"metadata": "people"}});
    let site = site(&configuration, upstream.addr());
    let (login, folder) = (Login::new(), Folder::new());
    shipped::lay_out(folder.path(), &site);
    shipped::add_jwt(folder.path(), &site, &login.keys());
    let envoy = Envoy::run(&program, folder, WORKERS);
    let ask = |method: &str, path: &str, bearer: &str| -> Response {
        request(envoy.address(), &Request::new(method, &format!("/tollgate/v1{path}")).bearer(bearer))
    };

    let me = ask("GET", "/me", &login.jwt("ada"));
    assert_eq!((me.status, &me.json()["id"]), (200, &json!("ada")), "{me:?}");
    assert_eq!(ask("GET", "/teams/search/self-service", &login.jwt("ada")).status, 200);
    assert_eq!(ask("DELETE", "/teams/search", &login.jwt("bob")).status, 403, "roles hold as ever");
    assert_eq!(ask("GET", "/me", &token("bob")).json()["id"], "bob", "user tokens go on to work");

    let forged = Login::new().jwt("ada");
    let expired = login.sign(&claims("ada", 1_000_000_000));
    let mut foreign = claims("ada", 4_000_000_000);
    foreign["iss"] = json!("https://elsewhere.example");
    for (what, jwt) in [
        ("forged", forged),
        ("expired", expired),
        ("of another issuer", login.sign(&foreign)),
        ("of an unknown user", login.jwt("mallory")),
    ] {
        assert_eq!(ask("GET", "/me", &jwt).status, 401, "{what}");
    }
    for header in ["x-tollgate-user", "x-jwt-payload", "sub", "x-forwarded-user"] {
        let plain = Request::new("GET", "/tollgate/v1/me").header(header, "root");
        assert_eq!(request(envoy.address(), &plain).status, 401, "{header}");
    }
    assert!(upstream.recording().requests().is_empty(), "the API is the filter's own");
}
