//! Requests to try against `policies/demo.json`.

pub fn requests(base: &str) -> String {
    let _ = base;
    String::new()
}
