//! The model list, from effective access.

use alloc::vec::Vec;

use serde_json::Value;

use crate::api::Provider;
use crate::auth::identity::Identity;
use crate::http::local_response::{JSON, LocalResponse};
use crate::http::rejection::Rejection;
use crate::json::out_of_line::{object, shown};
use crate::policy::{Policy, Target};
use crate::text::percent::decode;

/// The methods of Gemini's API that have a default route.
const GEMINI_METHODS: [&str; 4] = ["generateContent", "countTokens", "embedContent", "batchEmbedContents"];

/// The response to `GET /v1/models`, `/v1/models/{id}` and their like, in the provider's shape. It has every model: no
/// query limits it, and no further page exists.
///
/// # Errors
/// [`Rejection::NoSuchModel`] for a model that is unknown or forbidden.
pub fn answer(
    policy: &Policy,
    identity: &Identity<'_>,
    provider: Provider,
    path: &str,
) -> Result<LocalResponse, Rejection> {
    let mut targets = identity.levels().targets(policy).map(|(_, target)| target);
    let requested =
        path.trim_end_matches('/').split_once("/models/").map(|(_, id)| id).filter(|id| !id.is_empty());
    let body = match requested.map(|id| decode(id).unwrap_or_default()) {
        Some(id) => match targets.find(|target| *target.name == *id) {
            Some(target) => model(provider, target),
            None => return Err(Rejection::NoSuchModel { target: (*id).into() }),
        },
        None => list(provider, targets.map(|target| model(provider, target)).collect()),
    };
    Ok(LocalResponse { status: 200, fields: Vec::from([(JSON.0, JSON.1.into())]), body: shown(&body) })
}

/// One model, with the members that the SDK of the provider requires.
fn model(provider: Provider, target: &Target) -> Value {
    let name = &*target.name;
    match provider {
        Provider::OpenAi => {
            object!({ "id": name, "object": "model", "created": 0, "owned_by": "tollgate" })
        }
        Provider::Anthropic => object!({
            "type": "model",
            "id": name,
            "display_name": name,
            "created_at": "1970-01-01T00:00:00Z",
            "lifecycle": "active",
            "max_input_tokens": target.max_input_tokens,
            "max_tokens": target.max_output_tokens,
        }),
        Provider::Gemini => {
            let mut members = object!({
                "name": ["models/", name].concat(),
                "baseModelId": name,
                "version": "",
                "displayName": name,
                "supportedGenerationMethods": GEMINI_METHODS,
            });
            let limits = [
                ("inputTokenLimit", target.max_input_tokens),
                ("outputTokenLimit", target.max_output_tokens),
            ];
            for (member, limit) in limits {
                if let (Some(limit), Some(members)) = (limit, members.as_object_mut()) {
                    members.insert(member.into(), limit.into());
                }
            }
            members
        }
    }
}

fn list(provider: Provider, models: Vec<Value>) -> Value {
    match provider {
        Provider::OpenAi => object!({ "object": "list", "data": models }),
        Provider::Anthropic => {
            let id =
                |model: Option<&Value>| model.and_then(|model| model.get("id")).cloned().unwrap_or_default();
            let (first, last) = (id(models.first()), id(models.last()));
            object!({ "data": models, "has_more": false, "first_id": first, "last_id": last })
        }
        Provider::Gemini => object!({ "models": models }),
    }
}
