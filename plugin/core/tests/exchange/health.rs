//! The health endpoints.

use super::*;

fn answer(decided: &Decided) -> (u16, &str) {
    match &decided.step {
        Action::Answer(answer) => (answer.status, &answer.body),
        other => panic!("{other:?}"),
    }
}

#[test]
fn health_is_answered_without_a_key_and_before_any_route() {
    for settings in [
        json!({}),
        json!({ "manage": { "enabled": false } }),
        json!({ "unmatched": "pass" }),
        json!({ "routes": [{ "path": "/tollgate/**", "public": true }] }),
        json!({ "manage": { "prefix": "/tollgate" } }),
    ] {
        let gateway = gateway(&settings);
        let ask = |method, path| decide_as(&gateway, method, path, &[], None);
        assert_eq!(answer(&ask("GET", "/tollgate/healthz")), (200, "live\n"), "{settings}");
        assert_eq!(answer(&ask("GET", "/tollgate/readyz?full=1")), (200, "ready: the policy is loaded\n"));
        assert_eq!(answer(&ask("HEAD", "/tollgate/readyz")), (200, ""));
        assert_eq!(answer(&ask("POST", "/tollgate/healthz")).0, 405);
    }
    // Other paths are as before.
    let gateway = gateway(&json!({}));
    for path in ["/healthz", "/tollgate/healthz/", "/tollgate/healthzz", "/tollgate/readyz%20"] {
        assert_eq!(answer(&decide(&gateway, path, &[], None)).0, 404, "{path}");
    }
    let decided = decide_as(&gateway, "GET", "/tollgate/healthz", &[("authorization", "Bearer x")], None);
    assert_eq!((answer(&decided).0, decided.exchange.log().reason.clone()), (200, None));
}

#[test]
fn readiness_with_etcd_waits_for_the_policy_store() {
    let gateway = gateway(&json!({ "fleet": { "cluster": "etcd" } }));
    let decided = decide_as(&gateway, "GET", "/tollgate/readyz", &[], None);
    assert!(matches!(&decided.step, Action::Manage(request) if request.readiness), "{:?}", decided.step);
    assert_eq!(answer(&decide_as(&gateway, "GET", "/tollgate/healthz", &[], None)).0, 200);
}
