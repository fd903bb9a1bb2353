//! The client of the management API: the only module that sends requests.
//!
//! To come with the API: `dry_run` for live previews, `may` in place of `role`, lists across organizations with search, and
//! `key-rules`. Each needs a change here, and in the page that uses it.

use reactive_graph::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::Value;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Headers, RequestInit, Response};

use crate::address::encode;
use crate::browser;
use crate::role::Me;
use crate::session::{self, session};
use crate::types::{Models, Problem};
use crate::words;

/// The path below which the API is.
const ROOT: &str = "/tollgate/v1";
/// The pauses before a read is repeated, in milliseconds.
const PAUSES: [i32; 3] = [300, 1_000, 3_000];

/// The reason why a request has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The API's answer.
    Problem(Problem),
    /// There was no answer, or none of the API.
    Network,
}

impl Failure {
    /// Returns the HTTP status; 0 without an answer.
    pub fn status(&self) -> u16 {
        match self {
            Failure::Problem(problem) => problem.status,
            Failure::Network => 0,
        }
    }

    /// Returns the sentence to show.
    pub fn words(&self) -> String {
        match self {
            Failure::Problem(problem) if problem.detail.is_empty() => words::refused(problem.status),
            Failure::Problem(problem) => problem.detail.clone(),
            Failure::Network => words::NO_ANSWER.to_owned(),
        }
    }
}

/// An answer with its entity tag.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reply {
    /// The body; null without one.
    pub value: Value,
    /// The entity tag; empty without one.
    pub etag: String,
}

impl Reply {
    /// Reads the body.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        T::deserialize(&self.value).map_err(|_| Failure::Network)
    }
}

/// A request that may change something.
#[derive(Clone, Debug, Default)]
pub struct Write {
    pub method: &'static str,
    pub path: String,
    pub body: Option<Value>,
    /// The entity tag that the record must have; empty: any.
    pub etag: String,
}

/// Returns the path of a resource of the API from its parts.
pub fn path(parts: &[&str]) -> String {
    parts.iter().fold(ROOT.to_owned(), |path, part| path + "/" + &encode(part))
}

/// Reads a resource. A failure of the network is repeated.
pub async fn read(path: &str) -> Result<Reply, Failure> {
    let mut pauses = PAUSES.iter();
    loop {
        let bearer = session::bearer();
        let result = send("GET", path, None, "", bearer.as_deref()).await;
        let may_pass = matches!(&result, Err(failure) if matches!(failure.status(), 0 | 502 | 503 | 504));
        match pauses.next() {
            Some(pause) if may_pass => browser::pause(*pause).await,
            _ => return noticed(result),
        }
    }
}

/// Reads a resource as a record.
pub async fn get<T: DeserializeOwned>(path: &str) -> Result<T, Failure> {
    read(path).await?.read()
}

/// Sends a change, once.
pub async fn write(write: &Write) -> Result<Reply, Failure> {
    let bearer = session::bearer();
    noticed(send(write.method, &write.path, write.body.as_ref(), &write.etag, bearer.as_deref()).await)
}

/// Reads the person who is signed in.
pub async fn me() -> Result<Me, Failure> {
    let bearer = session::bearer();
    send("GET", &path(&["me"]), None, "", bearer.as_deref()).await?.read()
}

/// Returns the number of models that a key may call.
pub async fn callable_models(secret: &str) -> Result<usize, Failure> {
    let models: Models = send("GET", "/v1/models", None, "", Some(secret)).await?.read()?;
    Ok(models.data.len())
}

/// Reports the end of the session to the shell.
fn noticed(result: Result<Reply, Failure>) -> Result<Reply, Failure> {
    if matches!(&result, Err(failure) if failure.status() == 401) {
        session().expired.set(true);
    }
    result
}

async fn send(
    method: &str,
    path: &str,
    body: Option<&Value>,
    etag: &str,
    bearer: Option<&str>,
) -> Result<Reply, Failure> {
    match exchange(method, path, body, etag, bearer).await {
        Ok(Some((status, etag, value))) if (200..300).contains(&status) => Ok(Reply { value, etag }),
        Ok(Some((status, _, value))) => {
            let problem = serde_json::from_value(value).unwrap_or_default();
            Err(Failure::Problem(Problem { status, ..problem }))
        }
        Ok(None) | Err(_) => Err(Failure::Network),
    }
}

/// Returns the status, the entity tag and the body of an answer.
async fn exchange(
    method: &str,
    path: &str,
    body: Option<&Value>,
    etag: &str,
    bearer: Option<&str>,
) -> Result<Option<(u16, String, Value)>, JsValue> {
    let headers = Headers::new()?;
    if let Some(bearer) = bearer {
        headers.set("authorization", &format!("Bearer {bearer}"))?;
    }
    if !etag.is_empty() {
        headers.set("if-match", etag)?;
    }
    let init = RequestInit::new();
    init.set_method(method);
    if let Some(body) = body {
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        headers.set("content-type", kind)?;
        init.set_body(&body.to_string().into());
    }
    init.set_headers(&headers);
    let Some(window) = browser::window() else { return Ok(None) };
    let response: Response = JsFuture::from(window.fetch_with_str_and_init(path, &init)).await?.dyn_into()?;
    let text = JsFuture::from(response.text()?).await?.as_string().unwrap_or_default();
    let etag = response.headers().get("etag")?.unwrap_or_default();
    let value = serde_json::from_str(&text).unwrap_or_default();
    Ok(Some((response.status(), etag, value)))
}
