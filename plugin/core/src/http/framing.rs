//! Where a request ends, on a host that does not say so; and whether it stays a request of HTTP.

use alloc::vec::Vec;

use crate::counters::Support;
use crate::http::headers::Head;

/// Whether nothing comes after this head. `told`: the host says so.
///
/// Hosts with strict shared data (ngx_wasm_module) never do, and call back for no body where there is none: what waits
/// for one would be held for ever. There the head itself decides. `protocol` reads `request.protocol`, and is asked only
/// where that matters.
pub fn ends_with_head(
    told: bool,
    support: Support,
    head: &Head<'_>,
    protocol: impl FnOnce() -> Option<Vec<u8>>,
) -> bool {
    if told || support != Support::Strict {
        return told;
    }
    if head.all("transfer-encoding").next().is_some() {
        return false;
    }
    let mut lengths = head.all("content-length").peekable();
    if lengths.peek().is_some() {
        return lengths.all(|length| !length.is_empty() && length.iter().all(|digit| *digit == b'0'));
    }
    match head.text(":method") {
        // A body would mean nothing here (RFC 9110, 9.3).
        Some("GET" | "HEAD" | "DELETE" | "OPTIONS") => true,
        // HTTP/1.1 announces every body (RFC 9112, 6.3); later ones need not.
        _ => protocol().is_some_and(|protocol| protocol.starts_with(b"HTTP/1.")),
    }
}

/// Protocols that are HTTP still: who is let into one of them can ask for anything there, unseen.
const STILL_HTTP: [&[u8]; 4] = [b"h2c", b"h2", b"http", b"tls"];

/// Whether one of the offers in this `upgrade` field is HTTP in another form: `curl --http2`, and Java's and Apache's clients
/// make such. A request with one is served in the form that it came in, as RFC 9110, 7.8 allows.
pub fn offers_http(upgrade: &[u8]) -> bool {
    upgrade.split(|byte| *byte == b',').any(|offer| {
        let name = offer.split(|byte| *byte == b'/').next().unwrap_or_default().trim_ascii();
        STILL_HTTP.iter().any(|known| name.eq_ignore_ascii_case(known))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: &[u8] = b"content-length";

    fn ends(method: &[u8], fields: &[(&[u8], &[u8])], protocol: Option<&str>) -> bool {
        let fields: Vec<_> = [(&b":method"[..], method)].into_iter().chain(fields.iter().copied()).collect();
        let head = Head::new(&fields);
        ends_with_head(false, Support::Strict, &head, || protocol.map(|text| text.as_bytes().to_vec()))
    }

    #[test]
    fn a_head_without_framing_ends_a_request_of_http_1() {
        for method in [&b"POST"[..], b"PUT", b"PATCH", b"PROPFIND"] {
            for (protocol, end) in [
                (Some("HTTP/1.1"), true),
                (Some("HTTP/1.0"), true),
                (Some("HTTP/2.0"), false),
                (Some("HTTP/3.0"), false),
                (Some(""), false),
                (None, false),
            ] {
                assert_eq!(ends(method, &[], protocol), end, "{method:?} {protocol:?}");
            }
        }
    }

    #[test]
    fn methods_that_need_no_body_end_with_a_head_that_announces_none() {
        for method in [&b"GET"[..], b"HEAD", b"DELETE", b"OPTIONS"] {
            for protocol in [Some("HTTP/1.1"), Some("HTTP/2.0"), None] {
                assert!(ends(method, &[], protocol), "{method:?} {protocol:?}");
            }
            assert!(!ends(method, &[(LENGTH, b"2")], Some("HTTP/1.1")));
            assert!(!ends(method, &[(b"Transfer-Encoding", b"chunked")], Some("HTTP/1.1")));
        }
    }

    #[test]
    fn an_announced_length_decides_whatever_the_protocol() {
        for protocol in [Some("HTTP/1.1"), Some("HTTP/2.0"), None] {
            assert!(ends(b"POST", &[(LENGTH, b"0")], protocol));
            for length in [&b"1"[..], b"10", b"", b"none", b"+0"] {
                assert!(!ends(b"POST", &[(LENGTH, length)], protocol), "{length:?}");
            }
            assert!(!ends(b"POST", &[(LENGTH, b"0"), (LENGTH, b"5")], protocol));
            assert!(!ends(b"POST", &[(LENGTH, b"0"), (b"transfer-encoding", b"chunked")], protocol));
        }
    }

    #[test]
    fn a_host_that_tells_is_believed() {
        let head = Head::new(&[(b":method", b"GET")]);
        for support in [Support::Lenient, Support::None] {
            assert!(!ends_with_head(false, support, &head, || panic!("nobody needs to know")));
        }
        for support in [Support::Lenient, Support::Strict, Support::None] {
            assert!(ends_with_head(true, support, &head, || panic!("nobody needs to know")));
        }
    }
}
