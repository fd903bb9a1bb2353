//! The model list, from effective access.

use alloc::vec::Vec;

use serde_json::Value;

use crate::auth::identity::Identity;
use crate::http::headers::Headers;
use crate::http::local_response::{JSON, LocalResponse};
use crate::http::rejection::Rejection;
use crate::json::out_of_line::{object, text};
use crate::policy::Policy;
use crate::text::percent::decode;

/// The response to `GET /v1/models` and `/v1/models/{id}`, in Anthropic's format for its clients.
///
/// # Errors
/// [`Rejection::NoSuchModel`] for a model that is unknown or forbidden.
pub fn answer(
    policy: &Policy,
    identity: &Identity<'_>,
    head: &Headers<'_>,
    path: &str,
) -> Result<LocalResponse, Rejection> {
    let anthropic = head.text("anthropic-version").is_some();
    let one = |name: &str| {
        if anthropic {
            object!({ "type": "model", "id": name, "display_name": name, "created_at": "1970-01-01T00:00:00Z" })
        } else {
            object!({ "id": name, "object": "model", "created": 0, "owned_by": "tollgate" })
        }
    };
    let requested =
        path.trim_end_matches('/').split_once("/models/").map(|(_, id)| id).filter(|id| !id.is_empty());
    let mut names = identity.levels().targets(policy).map(|(_, target)| &*target.name);
    let body = match requested.map(|id| decode(id).unwrap_or_default()) {
        Some(id) if names.any(|name| *name == *id) => one(&id),
        Some(id) => return Err(Rejection::NoSuchModel { target: (*id).into() }),
        None => {
            let list: Vec<Value> = names.map(one).collect();
            if anthropic {
                let end =
                    |item: Option<&Value>| item.and_then(|item| item.get("id")).cloned().unwrap_or_default();
                let (first, last) = (end(list.first()), end(list.last()));
                object!({ "data": list, "has_more": false, "first_id": first, "last_id": last })
            } else {
                object!({ "object": "list", "data": list })
            }
        }
    };
    Ok(LocalResponse { status: 200, fields: Vec::from([(JSON.0, JSON.1.into())]), body: text(&body) })
}
