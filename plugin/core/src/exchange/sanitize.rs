//! Removal of credentials and of forged identity headers, and the proof that it was done.

use alloc::string::String;

use crate::auth::credential::Credential;
use crate::collections::name_filter::NameFilter;
use crate::config::GatewayConfig;
use crate::exchange::access_log::AccessLogEntry;
use crate::http::headers::{HeaderMutation, HeaderMutator, Headers};
use crate::http::query::QueryParameter;
use crate::http::spelling::OVERRIDES;
use crate::secret::api_key;
use crate::secret::redact::has_mark;

/// Headers that the upstream may trust, in the order of [`AccessLogEntry::identity`], and the target.
const IDENTITY: [&str; 5] =
    ["x-tollgate-organization", "x-tollgate-team", "x-tollgate-user", "x-tollgate-key", "x-tollgate-target"];

/// Proof that a request's headers hold no credential of this gateway and no identity header of the client's.
/// Only this module makes one, and nothing is forwarded without it. It has no size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sanitized(());

/// Removes the credential that a request was identified with and the parameters of its query that are not kept, and replaces its
/// identity headers by those of `log`.
pub(super) fn sanitize(
    config: &GatewayConfig,
    credential: &Credential<'_>,
    head: &Headers<'_>,
    path: &str,
    keeps: &dyn Fn(&QueryParameter<'_>) -> bool,
    log: &AccessLogEntry,
    edit: &mut HeaderMutator<'_>,
) -> Sanitized {
    config.credentials.remove(credential.sources, path, keeps, edit);
    remove_identity(head, edit);
    // The upstream must serve the method and the path that were decided.
    remove_overrides(head, edit);
    for (name, value) in IDENTITY.into_iter().zip(log.identity()) {
        if let Some(value) = value {
            edit(HeaderMutation::Replace(name, value));
        }
    }
    Sanitized(())
}

/// Removes from trailers what a request's headers may not have: every source of keys, of a public request those with a key of this
/// gateway; other fields with a part of one; and identity and override headers.
pub(super) fn sanitize_trailers(
    config: &GatewayConfig,
    fields: &Headers<'_>,
    public: bool,
    edit: &mut HeaderMutator<'_>,
) {
    let credentials = &config.credentials;
    let is_ours = |key: &[u8]| config.policy.read().contains_secret(&api_key::digest(key));
    let sources = if public { credentials.ours(fields, "", is_ours) } else { credentials.present(fields) };
    credentials.remove(sources, "", &|_| true, edit);
    remove_identity(fields, edit);
    remove_overrides(fields, edit);
    for (name, value) in fields.iter() {
        if has_mark(value) {
            edit(HeaderMutation::Remove(&String::from_utf8_lossy(name)));
        }
    }
}

fn remove_overrides(head: &Headers<'_>, edit: &mut HeaderMutator<'_>) {
    for name in OVERRIDES {
        if head.first(name).is_some() {
            edit(HeaderMutation::Remove(name));
        }
    }
}

/// Removes keys and tokens of this gateway, and identity headers, from a request that needs no key. Another
/// credential stays: the upstream may require it.
pub(super) fn sanitize_public(
    config: &GatewayConfig,
    head: &Headers<'_>,
    path: &str,
    edit: &mut HeaderMutator<'_>,
) -> Sanitized {
    let is_ours = |key: &[u8]| config.policy.read().contains_secret(&api_key::digest(key));
    config.credentials.remove(config.credentials.ours(head, path, is_ours), path, &|_| true, edit);
    remove_identity(head, edit);
    Sanitized(())
}

/// Sets the header that names the target.
pub(super) fn set_target_header(target: &str, edit: &mut HeaderMutator<'_>) {
    edit(HeaderMutation::Replace("x-tollgate-target", target));
}

/// Removes every spelling of an identity header. Some servers read `_` in a name as `-`.
pub(super) fn remove_identity(head: &Headers<'_>, edit: &mut HeaderMutator<'_>) {
    for name in head.like(NameFilter::of(IDENTITY.into_iter())) {
        let is_same = |known: &str| {
            known.len() == name.len()
                && known
                    .bytes()
                    .zip(name)
                    .all(|(a, b)| a == b.to_ascii_lowercase() || (a == b'-' && *b == b'_'))
        };
        if IDENTITY.iter().any(|known| is_same(known)) {
            edit(HeaderMutation::Remove(&String::from_utf8_lossy(name)));
        }
    }
}
