//! A fleet's etcd, as the command reaches it: the core's operations, carried by HTTP.

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

use crate::serve::{Target, TargetError};

/// How long one call may take.
const CALL: Duration = Duration::from_secs(10);

/// One etcd, and who we are there.
pub struct Etcd {
    runtime: Runtime,
    target: Target,
    login: Credentials,
    keys: KeySpace,
}

/// Why an etcd cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EtcdSetupError {
    /// The URL is not one of an etcd.
    #[error("--fleet: `{0}` is not an etcd: write http://HOST[:PORT] or https://HOST[:PORT]")]
    Url(String),
    /// https has no certificates.
    #[error("--fleet: {0}")]
    Target(#[from] TargetError),
    /// No gateway can have this prefix.
    #[error("--prefix: {0}")]
    Prefix(DiagnosticKind),
    /// The file with user and password cannot be read.
    #[error("{}: {error}", path.display())]
    LoginFile {
        /// Which.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// It holds something else.
    #[error("{}: expected one line `user:password`", .0.display())]
    Login(PathBuf),
    /// No threads, no sockets.
    #[error("the system: {0}")]
    System(#[from] io::Error),
}

/// The etcd of this URL.
///
/// # Errors
/// Where it is not `http://` or `https://`.
pub fn target(url: &str) -> Result<Target, EtcdSetupError> {
    let spoken = url.starts_with("http://") || url.starts_with("https://");
    let parsed = spoken.then(|| Target::parse(url).ok()).flatten();
    parsed.ok_or_else(|| EtcdSetupError::Url(url.to_owned()))
}

/// Goes on if gateways can have this prefix: they would never see what stands under another.
fn require_prefix(prefix: &str) -> Result<(), EtcdSetupError> {
    let fleet = json!({ "cluster": "etcd", "prefix": prefix });
    let mut loader = ConfigLoader::default();
    loader.push(json!({ "policy": { "version": 1 }, "fleet": fleet }).to_string().as_bytes());
    let first = loader.finish().err().and_then(|findings| findings.into_iter().next());
    first.map_or(Ok(()), |finding| Err(EtcdSetupError::Prefix(finding.kind)))
}

impl Etcd {
    /// Reached at this URL; its keys begin with `prefix`. `login`: a file with `user:password`.
    ///
    /// # Errors
    /// What is wrong with the URL or the file.
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
        // Looked up once, so that missing certificates are said now.
        target.client()?;
        Ok(Etcd { runtime, target, login, keys: KeySpace::new(prefix) })
    }

    /// The names of its keys.
    pub fn keys(&self) -> &KeySpace {
        &self.keys
    }

    /// Carries an operation to its end.
    ///
    /// # Errors
    /// What ended it.
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

    /// Makes one call: status and body; status 0 where there is no answer.
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
