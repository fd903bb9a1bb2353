//! Conversion of heads between hyper's types and the header pairs of the module.

use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::http::{response, uri};
use hyper::{HeaderMap as Fields, Method, Request, Response, StatusCode, Version};

use tollgate_core::http::framing::offers_http;

use crate::proxy_wasm::HeaderMap;

use super::connection::Connected;
use super::forward::Target;

/// Fields that apply to one connection (RFC 9110, 7.6.1) and are never forwarded.
const HOP_BY_HOP: [HeaderName; 5] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// A head that cannot be forwarded.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadHead {
    #[error("the request names more than one host")]
    Hosts,
    #[error("the module produced a head that is not valid HTTP: {0}")]
    Edited(#[from] hyper::http::Error),
    #[error("the module removed `{0}` from a head")]
    Missing(&'static str),
}

/// Converts a request's head for the module: pseudo headers first, without hop-by-hop fields.
pub(super) fn of_request(head: &Parts) -> Result<HeaderMap, BadHead> {
    let mut hosts = head.headers.get_all(header::HOST).iter();
    // RFC 9112, 3.2.2: a host in the request's target overrides the field.
    let authority = match (head.uri.authority(), hosts.next()) {
        (Some(authority), _) => authority.as_str().as_bytes(),
        (None, Some(host)) => host.as_bytes(),
        (None, None) => b"",
    };
    if hosts.next().is_some() {
        return Err(BadHead::Hosts);
    }
    let path = head.uri.path_and_query().map_or("", uri::PathAndQuery::as_str);
    let secure = head.extensions.get::<Connected>().is_some_and(|connected| connected.secure);
    let mut pairs = HeaderMap::from([
        (":method", head.method.as_str().as_bytes()),
        (":scheme", if secure { b"https".as_slice() } else { b"http" }),
        (":authority", authority),
        (":path", path.as_bytes()),
    ]);
    let upgrade = upgrade(head);
    append(&mut pairs, &head.headers, |name| {
        *name != header::HOST && (upgrade || !is_framed_length(&head.headers, name))
    });
    if upgrade {
        add_upgrade(&mut pairs, &head.headers);
    }
    Ok(pairs)
}

/// Converts a response's head for the module.
pub(super) fn of_response(head: &response::Parts) -> HeaderMap {
    let mut pairs = HeaderMap::from([(":status", head.status.as_str())]);
    append(&mut pairs, &head.headers, |name| !is_framed_length(&head.headers, name));
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        add_upgrade(&mut pairs, &head.headers);
    }
    pairs
}

/// Converts trailers, or any fields without a first line.
pub(super) fn of_fields(fields: &Fields) -> HeaderMap {
    let mut pairs = HeaderMap::new();
    append(&mut pairs, fields, |_| true);
    pairs
}

/// Returns true if a request asks for a protocol upgrade. Extended CONNECT of HTTP/2 is not supported. An
/// offer to switch to another version of HTTP is ignored and the request is served as it is.
pub(super) fn upgrade(head: &Parts) -> bool {
    let mut offers = head.headers.get_all(header::UPGRADE).iter();
    head.version == Version::HTTP_11
        && head.headers.contains_key(header::UPGRADE)
        && names(&head.headers, "upgrade")
        && !offers.any(|offer| offers_http(offer.as_bytes()))
}

/// Returns true if the module forwards the request as an upgrade.
pub(super) fn still_upgrades(pairs: &HeaderMap) -> bool {
    pairs.get("upgrade").is_some()
}

/// Builds the request for the upstream.
pub(super) fn to_request<B>(pairs: &HeaderMap, target: &Target, body: B) -> Result<Request<B>, BadHead> {
    let required = |name: &'static str| pairs.get(name).ok_or(BadHead::Missing(name));
    let method = Method::from_bytes(required(":method")?).map_err(hyper::http::Error::from)?;
    let uri = target.uri(required(":path")?)?;
    let mut request = Request::builder().method(method).uri(uri).version(target.version()).body(body)?;
    *request.headers_mut() = to_fields(pairs)?;
    for (name, value) in target.fields() {
        request.headers_mut().insert(name, value.clone());
    }
    Ok(request)
}

/// Builds the response for the client.
pub(super) fn to_response<B>(pairs: &HeaderMap, body: B) -> Result<Response<B>, BadHead> {
    let status = pairs.get(":status").ok_or(BadHead::Missing(":status"))?;
    let status = StatusCode::from_bytes(status).map_err(hyper::http::Error::from)?;
    let mut response = Response::builder().status(status).body(body)?;
    *response.headers_mut() = to_fields(pairs)?;
    Ok(response)
}

/// Converts everything but pseudo headers.
pub(super) fn to_fields(pairs: &HeaderMap) -> Result<Fields, BadHead> {
    let mut fields = Fields::with_capacity(pairs.len());
    for (name, value) in pairs.iter().filter(|(name, _)| !name.starts_with(b":")) {
        let name = HeaderName::from_bytes(name).map_err(hyper::http::Error::from)?;
        fields.append(name, HeaderValue::from_bytes(value).map_err(hyper::http::Error::from)?);
    }
    Ok(fields)
}

fn append(pairs: &mut HeaderMap, fields: &Fields, keep: impl Fn(&HeaderName) -> bool) {
    for (name, value) in fields {
        let goes_on = match *name {
            // A request for trailers, which are forwarded.
            header::TE => value.as_bytes().eq_ignore_ascii_case(b"trailers"),
            _ => !HOP_BY_HOP.contains(name) && !names(fields, name.as_str()),
        };
        if goes_on && keep(name) {
            pairs.add(name.as_str(), value.as_bytes());
        }
    }
}

fn add_upgrade(pairs: &mut HeaderMap, fields: &Fields) {
    pairs.add("connection", "upgrade");
    for protocol in fields.get_all(header::UPGRADE) {
        pairs.add("upgrade", protocol.as_bytes());
    }
}

/// Returns true if `Connection` names the field.
fn names(fields: &Fields, wanted: &str) -> bool {
    fields.get_all(header::CONNECTION).iter().any(|value| {
        let mut options = value.as_bytes().split(|byte| *byte == b',');
        options.any(|option| option.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes()))
    })
}

/// Returns true for a length beside `Transfer-Encoding`, which is void and used for request smuggling (RFC
/// 9112, 6.3).
fn is_framed_length(fields: &Fields, name: &HeaderName) -> bool {
    *name == header::CONTENT_LENGTH && fields.contains_key(header::TRANSFER_ENCODING)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(request: hyper::http::request::Builder) -> Parts {
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn hop_by_hop_fields_are_removed() {
        let head = parts(
            Request::post("http://gate/v1?q=1")
                .header("Connection", "close, X-Private")
                .header("keep-alive", "timeout=5")
                .header("x-private", "1")
                .header("transfer-encoding", "chunked")
                .header("content-length", "7")
                .header("te", "gzip")
                .header("upgrade", "h2c")
                .header("x-kept", [0xE9].as_slice()),
        );
        let pairs = of_request(&head).unwrap();
        let expected = HeaderMap::from([
            (":method", b"POST".as_slice()),
            (":scheme", b"http"),
            (":authority", b"gate"),
            (":path", b"/v1?q=1"),
            ("x-kept", &[0xE9]),
        ]);
        assert_eq!(pairs, expected);
    }

    #[test]
    fn an_upgrade_keeps_its_two_fields() {
        let head = parts(
            Request::get("/ws").header("connection", "keep-alive, Upgrade").header("upgrade", "websocket"),
        );
        let pairs = of_request(&head).unwrap();
        assert_eq!(pairs.get("connection"), Some(b"upgrade".as_slice()));
        assert_eq!(pairs.get("upgrade"), Some(b"websocket".as_slice()));
    }

    #[test]
    fn an_offer_of_http_2_is_ignored() {
        let head = parts(
            Request::post("/v1/chat/completions")
                .header("connection", "Upgrade, HTTP2-Settings")
                .header("upgrade", "h2c")
                .header("http2-settings", "AAMAAABkAAQAAP__"),
        );
        assert!(!upgrade(&head));
        let pairs = of_request(&head).unwrap();
        for name in ["connection", "upgrade", "http2-settings"] {
            assert_eq!(pairs.get(name), None, "{name}");
        }
    }

    #[test]
    fn two_hosts_are_refused() {
        let head = parts(Request::get("/").header("host", "a").header("host", "b"));
        assert!(matches!(of_request(&head), Err(BadHead::Hosts)));
    }
}
