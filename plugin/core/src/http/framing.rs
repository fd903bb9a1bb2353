//! Protocol upgrades.

/// Protocols that carry HTTP: on a connection that was upgraded to one, requests would pass unchecked.
const STILL_HTTP: [&[u8]; 4] = [b"h2c", b"h2", b"http", b"tls"];

/// Returns true if one of the protocols in this `upgrade` field carries HTTP: `curl --http2`, and Java's and Apache's
/// clients send such. The request is then served without an upgrade, as RFC 9110, 7.8 allows.
pub fn offers_http(upgrade: &[u8]) -> bool {
    upgrade.split(|byte| *byte == b',').any(|offer| {
        let name = offer.split(|byte| *byte == b'/').next().unwrap_or_default().trim_ascii();
        STILL_HTTP.iter().any(|known| name.eq_ignore_ascii_case(known))
    })
}
