//! Execution of an operation, with authentication if etcd requires it.

use alloc::borrow::ToOwned;
use alloc::string::String;

use serde_json::Value;

use super::kv::{self, AUTHENTICATE, EtcdReply};
use super::{EtcdCall, EtcdError};
use crate::json::out_of_line::{object, text};
use crate::secret::redact::redact;

/// An operation of one or more calls.
pub trait Operation {
    /// The result.
    type Output;

    /// Returns the next call: path and body.
    fn call(&self) -> (&'static str, String);

    /// Accepts the response to the call, a 200.
    ///
    /// # Errors
    /// An unreadable response, or one that ends the operation.
    fn answer(&mut self, answer: &EtcdReply) -> Result<Progress<Self::Output>, EtcdError>;

    /// Accepts the error of the call. `Ok` sends the next call; some operations retry or start over.
    ///
    /// # Errors
    /// The error, if it ends the operation.
    fn failed(&mut self, error: EtcdError) -> Result<(), EtcdError> {
        Err(error)
    }
}

/// The progress of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress<T> {
    /// Another call is needed.
    More,
    /// The operation has this result.
    Done(T),
}

/// The gateway's user and password for etcd, and the token of the last authentication.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    user: Option<(String, String)>,
    token: Option<String>,
}

/// Omits the password and the token.
impl core::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let user = self.user.as_ref().map(|(user, _)| user);
        f.debug_struct("Credentials")
            .field("user", &user)
            .field("authenticated", &self.token.is_some())
            .finish()
    }
}

impl Credentials {
    /// Creates credentials from user and password; `None` if etcd's authentication is disabled.
    pub fn new(user: Option<(&str, &str)>) -> Self {
        Credentials { user: user.map(|(user, password)| (user.to_owned(), password.to_owned())), token: None }
    }
}

/// An operation with its authentication.
#[derive(Debug)]
pub struct Session<O> {
    operation: O,
    authenticating: bool,
    /// Authentication is tried once: a second rejection means a wrong password or a missing permission.
    authenticated: bool,
}

impl<O: Operation> Session<O> {
    /// Starts an operation.
    pub fn new(operation: O, credentials: &Credentials) -> Self {
        let authenticating = credentials.user.is_some() && credentials.token.is_none();
        Session { operation, authenticating, authenticated: authenticating }
    }

    /// Returns the operation.
    pub fn operation(&self) -> &O {
        &self.operation
    }

    /// Returns the next call.
    pub fn call(&self, credentials: &Credentials) -> EtcdCall {
        if let (true, Some((name, password))) = (self.authenticating, &credentials.user) {
            let body = object!({ "name": name, "password": password });
            return EtcdCall { path: AUTHENTICATE, token: None, body: text(&body) };
        }
        let (path, body) = self.operation.call();
        EtcdCall { path, token: credentials.token.clone(), body }
    }

    /// Accepts the response to the call. Status 0 means that there was none.
    ///
    /// # Errors
    /// The error that ends the operation.
    pub fn answer(
        &mut self,
        credentials: &mut Credentials,
        status: u16,
        answer: &EtcdReply,
    ) -> Result<Progress<O::Output>, EtcdError> {
        match failure(status, answer) {
            None if self.authenticating => {
                let token = answer.fields()?.get("token").and_then(Value::as_str).map(str::to_owned);
                credentials.token =
                    Some(token.ok_or_else(|| kv::unreadable("the token in the response of etcd"))?);
                self.authenticating = false;
                Ok(Progress::More)
            }
            None => self.operation.answer(answer),
            Some(Failure::Unauthenticated(error))
                if self.authenticating || self.authenticated || credentials.user.is_none() =>
            {
                Err(error)
            }
            Some(Failure::Unauthenticated(_)) => {
                (self.authenticating, self.authenticated) = (true, true);
                Ok(Progress::More)
            }
            Some(Failure::Other(error)) if self.authenticating => Err(error),
            Some(Failure::Other(error)) => self.operation.failed(error).map(|()| Progress::More),
        }
    }
}

/// The most characters that are shown of a message of etcd's.
const MAX_MESSAGE: usize = 200;

enum Failure {
    /// A missing or expired token.
    Unauthenticated(EtcdError),
    Other(EtcdError),
}

/// Returns the failure of a response; `None` for 200. The gateway maps gRPC codes to HTTP, with the message in `error`.
fn failure(status: u16, answer: &EtcdReply) -> Option<Failure> {
    if status == 200 {
        return None;
    }
    // 408 is gRPC's CANCELLED. 429 is RESOURCE_EXHAUSTED, such as "no space", which is permanent.
    if status == 0 || status == 408 || status >= 500 {
        return Some(Failure::Other(EtcdError::Unavailable { status }));
    }
    let message = answer
        .fields()
        .ok()
        .and_then(|fields| fields.get("error").and_then(Value::as_str).map(str::to_owned))
        .unwrap_or_default();
    if message.contains("required revision has been compacted") {
        return Some(Failure::Other(EtcdError::Compacted));
    }
    let stale = status == 401
        || message.contains("user name is empty")
        || message.contains("revision of auth store is old");
    let error = EtcdError::Rejected { status, message: redact(&message, MAX_MESSAGE) };
    Some(if stale { Failure::Unauthenticated(error) } else { Failure::Other(error) })
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn a_message_of_etcd_is_shown_bounded_and_without_hidden_characters() {
        let shown = |message: &str| {
            let body = serde_json::json!({ "error": message, "code": 3 }).to_string();
            match failure(400, &EtcdReply::new(body.as_bytes())) {
                Some(Failure::Other(error)) => error.to_string(),
                Some(Failure::Unauthenticated(_)) | None => String::new(),
            }
        };
        let key = crate::secret::api_key::mint("demo", &[7; 32]);
        assert_eq!(
            shown(&format!("no\u{202e} {key}\n")),
            "etcd rejected the request (400): no\\u202e sk-tg-demo-…\\u000a"
        );
        assert!(shown(&"etcdserver: no ".repeat(1_000)).chars().count() < 300);
    }
}
