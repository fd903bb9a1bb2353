//! A client of etcd for the command: runs the core's operations over HTTP, on the socket of a running
//! `tollgate serve --data`, or on the data folder itself.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::runtime::{self, Runtime};
use tollgate_core::config::ConfigLoader;
use tollgate_core::etcd::{
    Credentials, EtcdCall, EtcdError, EtcdReply, KeySpace, Operation, Progress, Session,
};
use tollgate_core::policy::DiagnosticKind;

use crate::server::{Target, TargetError};
use crate::store::{BACKUP, DataError, Folder, SOCKET, Store};

/// The time limit of one call.
const CALL: Duration = Duration::from_secs(10);
/// The time limit of a backup.
const COPY: Duration = Duration::from_secs(600);
/// The time for another process to listen on its socket after it has opened the folder, or to close it.
const STARTING: Duration = Duration::from_secs(5);

/// A client of one etcd, with its credentials.
pub struct Etcd {
    runtime: Runtime,
    place: Place,
    login: Credentials,
    keys: KeySpace,
}

/// The place of the documents.
enum Place {
    /// An etcd.
    Server(Target),
    /// The socket of a running `tollgate serve --data`.
    Socket(PathBuf),
    /// The store of a data folder that no other process uses.
    Store(Store),
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
    /// The data folder cannot be used.
    #[error("--data: {0}")]
    Data(#[from] DataError),
    /// A running `serve` did not make a backup.
    #[error("the backup failed: {0}")]
    Backup(String),
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

/// Reads a file with `user:password`.
///
/// # Errors
/// If it cannot be read or has no colon.
pub fn login_file(path: &Path) -> Result<(String, String), EtcdSetupError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| EtcdSetupError::LoginFile { path: path.to_owned(), error })?;
    let (user, password) =
        text.trim_end().split_once(':').ok_or_else(|| EtcdSetupError::Login(path.to_owned()))?;
    Ok((user.to_owned(), password.to_owned()))
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
                let (user, password) = login_file(path)?;
                Credentials::new(Some((&user, &password)))
            }
        };
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        // Connect once, so that missing certificates are reported now.
        target.client()?;
        Ok(Etcd { runtime, place: Place::Server(target), login, keys: KeySpace::new(prefix) })
    }

    /// Creates a client of a data folder: of the running `tollgate serve` that has it open, or else of the
    /// folder itself.
    ///
    /// # Errors
    /// If the folder does not exist or cannot be used.
    pub fn in_folder(folder: &Path, prefix: &str) -> Result<Etcd, EtcdSetupError> {
        require_prefix(prefix)?;
        // This command reads or writes what is there. It does not begin a store by a mistyped name.
        std::fs::metadata(folder).map_err(|error| DataError::File { path: folder.to_owned(), error })?;
        let folder = Folder::prepare(folder)?;
        let socket = folder.path().join(SOCKET);
        let began = Instant::now();
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let place = loop {
            match std::os::unix::net::UnixStream::connect(&socket) {
                Ok(_) => break Place::Socket(socket),
                // No process listens, or the path is too long for a socket.
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::InvalidInput
                    ) => {}
                Err(error) => return Err(DataError::File { path: socket, error }.into()),
            }
            match Store::open(folder.path()) {
                Ok(store) => break Place::Store(store),
                Err(DataError::InUse(_)) if began.elapsed() < STARTING => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(error) => return Err(error.into()),
            }
        };
        Ok(Etcd { runtime, place, login: Credentials::default(), keys: KeySpace::new(prefix) })
    }

    /// Creates a client of a store of this process.
    ///
    /// # Errors
    /// If the prefix is not valid for a gateway.
    pub fn of_store(store: Store, prefix: &str) -> Result<Etcd, EtcdSetupError> {
        require_prefix(prefix)?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Etcd {
            runtime,
            place: Place::Store(store),
            login: Credentials::default(),
            keys: KeySpace::new(prefix),
        })
    }

    /// Copies the store of a data folder into a new file of mode 0600.
    ///
    /// # Errors
    /// If the file exists, or the copy fails.
    pub fn backup(&self, folder: &Path, to: &Path) -> Result<(), EtcdSetupError> {
        match &self.place {
            Place::Store(store) => Ok(store.backup(to)?),
            Place::Server(_) | Place::Socket(_) => {
                let call = EtcdCall { path: BACKUP, token: None, body: String::new() };
                let (status, body) = self.call_within(call, COPY);
                let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
                let Some(name) = answer["file"].as_str().filter(|_| status == 200) else {
                    let reason = answer["error"].as_str().unwrap_or("`tollgate serve` does not respond");
                    return Err(EtcdSetupError::Backup(reason.to_owned()));
                };
                Ok(fetch(&folder.join(name), to)?)
            }
        }
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
        self.call_within(call, CALL)
    }

    fn call_within(&self, call: EtcdCall, limit: Duration) -> (u16, Bytes) {
        let answered = async {
            match &self.place {
                Place::Server(target) => {
                    let mut request = Request::post(target.uri(call.path.as_bytes()).ok()?);
                    if let Some(token) = call.token {
                        let mut token = HeaderValue::from_str(&token).ok()?;
                        token.set_sensitive(true);
                        request = request.header(AUTHORIZATION, token);
                    }
                    let body = Full::new(Bytes::from(call.body)).map_err(|never| match never {}).boxed();
                    let request = request.header(CONTENT_TYPE, JSON).body(body).ok()?;
                    let response = target.client().ok()?.request(request).await.ok()?;
                    let status = response.status().as_u16();
                    Some((status, response.into_body().collect().await.ok()?.to_bytes()))
                }
                Place::Socket(path) => {
                    let socket = TokioIo::new(UnixStream::connect(path).await.ok()?);
                    let (mut sender, connection) = http1::handshake(socket).await.ok()?;
                    tokio::spawn(connection);
                    let request =
                        Request::post(call.path).header(HOST, "localhost").header(CONTENT_TYPE, JSON);
                    let request = request.body(Full::new(Bytes::from(call.body))).ok()?;
                    let response = sender.send_request(request).await.ok()?;
                    let status = response.status().as_u16();
                    Some((status, response.into_body().collect().await.ok()?.to_bytes()))
                }
                Place::Store(store) => {
                    let reply = store.call(call.path, call.body.into_bytes()).await?;
                    Some((reply.status, reply.body.into()))
                }
            }
        };
        let answered = async { tokio::time::timeout(limit, answered).await.ok().flatten() };
        self.runtime.block_on(answered).unwrap_or_default()
    }
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Moves a backup to its place, which may be on another disk.
fn fetch(from: &Path, to: &Path) -> Result<(), DataError> {
    let file = |path: &Path| {
        let path = path.to_owned();
        move |error| DataError::File { path, error }
    };
    let copied = || -> io::Result<()> {
        let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
        io::copy(&mut File::open(from)?, &mut new)?;
        new.sync_all()
    };
    let outcome = copied().map_err(file(to));
    std::fs::remove_file(from).map_err(file(from))?;
    outcome
}
