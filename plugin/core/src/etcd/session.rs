//! One operation carried to its end, signing in where etcd asks for it.

use alloc::borrow::ToOwned;
use alloc::string::String;

use serde_json::Value;

use super::kv::{self, AUTHENTICATE, EtcdReply};
use super::{EtcdCall, EtcdError};
use crate::json::out_of_line::{object, text};

/// Something that takes one call, or a few.
pub trait Operation {
    /// What it comes to.
    type Output;

    /// The call to make now: path and body.
    fn call(&self) -> (&'static str, String);

    /// Takes the answer to that call, a 200.
    ///
    /// # Errors
    /// What is not etcd's, or what makes it pointless to go on.
    fn answer(&mut self, answer: &EtcdReply) -> Result<Progress<Self::Output>, EtcdError>;

    /// Takes a failure of that call; what it answers with stands. A compacted revision is where one can begin anew.
    ///
    /// # Errors
    /// The failure, unless there is a way around it.
    fn failed(&mut self, trouble: EtcdError) -> Result<(), EtcdError> {
        Err(trouble)
    }
}

/// How far an operation is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress<T> {
    /// There is another call to make.
    More,
    /// It is at its end.
    Done(T),
}

/// What etcd knows a gateway by, and the token of having signed in. Kept for as long as the VM lives.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    user: Option<(String, String)>,
    token: Option<String>,
}

/// Neither the password nor the token.
impl core::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let user = self.user.as_ref().map(|(user, _)| user);
        f.debug_struct("Login").field("user", &user).field("signed_in", &self.token.is_some()).finish()
    }
}

impl Credentials {
    /// User and password; `None` where etcd's authentication is off.
    pub fn new(user: Option<(&str, &str)>) -> Self {
        Credentials { user: user.map(|(user, password)| (user.to_owned(), password.to_owned())), token: None }
    }
}

/// An operation on its way.
#[derive(Debug)]
pub struct Session<O> {
    operation: O,
    signing_in: bool,
    /// Signing in is tried once: a second refusal is one of the password or of the right.
    signed_in: bool,
}

impl<O: Operation> Session<O> {
    /// Begins it.
    pub fn new(operation: O, login: &Credentials) -> Self {
        let signing_in = login.user.is_some() && login.token.is_none();
        Session { operation, signing_in, signed_in: signing_in }
    }

    /// What is being done.
    pub fn operation(&self) -> &O {
        &self.operation
    }

    /// The call to make now.
    pub fn call(&self, login: &Credentials) -> EtcdCall {
        if let (true, Some((name, password))) = (self.signing_in, &login.user) {
            let body = object!({ "name": name, "password": password });
            return EtcdCall { path: AUTHENTICATE, token: None, body: text(&body) };
        }
        let (path, body) = self.operation.call();
        EtcdCall { path, token: login.token.clone(), body }
    }

    /// Takes the answer to that call. `status` 0: there was none.
    ///
    /// # Errors
    /// What ends the operation.
    pub fn answer(
        &mut self,
        login: &mut Credentials,
        status: u16,
        answer: &EtcdReply,
    ) -> Result<Progress<O::Output>, EtcdError> {
        match trouble(status, answer) {
            None if self.signing_in => {
                let token = answer.fields()?.get("token").and_then(Value::as_str).map(str::to_owned);
                login.token = Some(token.ok_or_else(|| kv::unreadable("the token in etcd's answer"))?);
                self.signing_in = false;
                Ok(Progress::More)
            }
            None => self.operation.answer(answer),
            Some(Failure::SignIn(trouble)) if self.signing_in || self.signed_in || login.user.is_none() => {
                Err(trouble)
            }
            Some(Failure::SignIn(_)) => {
                (self.signing_in, self.signed_in) = (true, true);
                Ok(Progress::More)
            }
            Some(Failure::Other(trouble)) if self.signing_in => Err(trouble),
            Some(Failure::Other(trouble)) => self.operation.failed(trouble).map(|()| Progress::More),
        }
    }
}

enum Failure {
    /// A token that is missing or no longer holds.
    SignIn(EtcdError),
    Other(EtcdError),
}

/// What an answer says besides success. The gateway maps gRPC's codes to HTTP, with the words in `error`.
fn trouble(status: u16, answer: &EtcdReply) -> Option<Failure> {
    if status == 200 {
        return None;
    }
    // 408: gRPC's "cancelled"; 429: its "resource exhausted", of which "no space" is the one that lasts.
    if status == 0 || status == 408 || status >= 500 {
        return Some(Failure::Other(EtcdError::Away { status }));
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
    let refused = EtcdError::Refused { status, message };
    Some(if stale { Failure::SignIn(refused) } else { Failure::Other(refused) })
}
