//! Offers in a request to leave HTTP for another protocol.

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
