//! An etcd client for the command: runs the core's operations over HTTP.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use serde_json::json;
use tokio::runtime::{self, Runtime};
use tollgate_core::config::ConfigLoader;
use tollgate_core::etcd::{
    Credentials, EtcdCall, EtcdError, EtcdReply, KeySpace, Operation, Progress, Session,
};
use tollgate_core::policy::DiagnosticKind;

use crate::server::{Target, TargetError};

/// The time limit of one call.
const CALL: Duration = Duration::from_secs(10);

/// A client of one etcd, with its credentials.
pub struct Etcd {
    runtime: Runtime,
    target: Target,
    login: Credentials,
    keys: KeySpace,
}

/// An error in the configuration of an etcd client.
#[derive(Debug, thiserror::Error)]
pub enum EtcdSetupError {
    /// The URL is not a valid etcd URL.
    #[error("--fleet: `{0}` is not an etcd: write http://HOST[:PORT] or https://HOST[:PORT]")]
    Url(String),
    /// The target is invalid, such as https without certificates.
    #[error("--fleet: {0}")]
    Target(#[from] TargetError),
    /// The prefix is not valid for a gateway.
    #[error("--prefix: {0}")]
    Prefix(DiagnosticKind),
    /// The file with user and password cannot be read.
    #[error("{}: {error}", path.display())]
    LoginFile {
        /// The path of the file.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// The file does not contain `user:password`.
    #[error("{}: expected one line `user:password`", .0.display())]
    Login(PathBuf),
    /// A thread or socket could not be created.
    #[error("the system: {0}")]
    System(#[from] io::Error),
}

/// Parses the URL of an etcd.
///
/// # Errors
/// If it is not `http://` or `https://`.
pub fn target(url: &str) -> Result<Target, EtcdSetupError> {
    let spoken = url.starts_with("http://") || url.starts_with("https://");
    let parsed = spoken.then(|| Target::parse(url).ok()).flatten();
    parsed.ok_or_else(|| EtcdSetupError::Url(url.to_owned()))
}

/// Checks that a gateway accepts this prefix; it never reads keys under another one.
fn require_prefix(prefix: &str) -> Result<(), EtcdSetupError> {
    let fleet = json!({ "cluster": "etcd", "prefix": prefix });
    let mut loader = ConfigLoader::default();
    loader.push(json!({ "policy": { "version": 1 }, "fleet": fleet }).to_string().as_bytes());
    let first = loader.finish().err().and_then(|findings| findings.into_iter().next());
    first.map_or(Ok(()), |finding| Err(EtcdSetupError::Prefix(finding.kind)))
}

impl Etcd {
    /// Creates a client for this URL whose keys begin with `prefix`. `login` is a file with `user:password`.
    ///
    /// # Errors
    /// If the URL or the file is invalid.
    pub fn new(url: &str, prefix: &str, login: Option<&Path>) -> Result<Etcd, EtcdSetupError> {
        let target = target(url)?;
        require_prefix(prefix)?;
        let login = match login {
            None => Credentials::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| EtcdSetupError::LoginFile { path: path.to_owned(), error })?;
                let user =
                    text.trim_end().split_once(':').ok_or_else(|| EtcdSetupError::Login(path.to_owned()))?;
                Credentials::new(Some(user))
            }
        };
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        // Connect once, so that missing certificates are reported now.
        target.client()?;
        Ok(Etcd { runtime, target, login, keys: KeySpace::new(prefix) })
    }

    /// Returns the names of its keys.
    pub fn keys(&self) -> &KeySpace {
        &self.keys
    }

    /// Runs an operation to completion.
    ///
    /// # Errors
    /// If the operation fails.
    pub fn run<O: Operation>(&mut self, operation: O) -> Result<O::Output, EtcdError> {
        let mut talk = Session::new(operation, &self.login);
        loop {
            let call = talk.call(&self.login);
            let (status, body) = self.call(call);
            match talk.answer(&mut self.login, status, &EtcdReply::new(&body))? {
                Progress::More => {}
                Progress::Done(output) => return Ok(output),
            }
        }
    }

    /// Makes one call and returns its status and body. The status is 0 if there is no answer.
    pub fn call(&self, call: EtcdCall) -> (u16, Bytes) {
        let answered = async {
            let body = Full::new(Bytes::from(call.body)).map_err(|never| match never {}).boxed();
            let mut request = Request::post(self.target.uri(call.path.as_bytes()).ok()?).body(body).ok()?;
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            if let Some(token) = call.token {
                let mut token = HeaderValue::from_str(&token).ok()?;
                token.set_sensitive(true);
                request.headers_mut().insert(AUTHORIZATION, token);
            }
            let response = self.target.client().ok()?.request(request).await.ok()?;
            let status = response.status().as_u16();
            Some((status, response.into_body().collect().await.ok()?.to_bytes()))
        };
        let answered = async { tokio::time::timeout(CALL, answered).await.ok().flatten() };
        self.runtime.block_on(answered).unwrap_or_default()
    }
}
