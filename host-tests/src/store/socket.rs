//! The socket in the data folder, by which `push`, `pull` and `backup` reach a running `serve`: etcd's
//! gateway over HTTP.
//!
//! Only the owner of the folder can connect, since no other user may enter it.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::thread::JoinHandle;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::sync::oneshot;

use super::folder::Folder;
use super::{Reply, Store};

/// The name of the socket in the folder.
pub const SOCKET: &str = "socket";
/// The path of a request for a backup. The response names a new file in the folder.
pub(crate) const BACKUP: &str = "/tollgate/backup";

/// The largest size of a request.
const LARGEST: usize = 4 << 20;

/// A server on the socket of a folder. It ends with this value.
#[derive(Debug)]
pub struct Local {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Local {
    /// Listens on the socket of a folder whose store this process has open.
    ///
    /// # Errors
    /// If the path is too long for a socket (about 100 bytes), or the system refuses it.
    pub fn listen(store: Store, folder: &Folder) -> io::Result<Local> {
        // Left by processes that were killed: this process is the only user of the folder.
        let path = folder.path().join(SOCKET);
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != ErrorKind::NotFound
        {
            return Err(error);
        }
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let folder = folder.clone();
        let thread = std::thread::Builder::new().name("socket".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, store, folder) => {}
                    _ = stopped => {}
                }
            });
            // A backup that runs is not waited for.
            runtime.shutdown_background();
        })?;
        Ok(Local { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(listener: UnixListener, store: Store, folder: Folder) {
    let Ok(listener) = tokio::net::UnixListener::from_std(listener) else { return };
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            continue;
        };
        let (store, folder) = (store.clone(), folder.clone());
        let service = service_fn(move |request| {
            let (store, folder) = (store.clone(), folder.clone());
            async move { Ok::<_, Infallible>(answer(request, &store, folder).await) }
        });
        tokio::spawn(async move {
            // An error means that the client is gone.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(socket), service)
                .await;
        });
    }
}

async fn answer(request: Request<Incoming>, store: &Store, folder: Folder) -> Response<Full<Bytes>> {
    let refuse = |status: StatusCode, message: &str| Reply {
        status: status.as_u16(),
        body: json!({ "error": message }).to_string().into_bytes(),
    };
    let (head, body) = request.into_parts();
    let reply = if head.method != Method::POST {
        refuse(StatusCode::METHOD_NOT_ALLOWED, "each request is a POST")
    } else if head.uri.path() == BACKUP {
        let store = store.clone();
        match tokio::task::spawn_blocking(move || backup(&store, &folder)).await {
            Ok(Ok(name)) => Reply { status: 200, body: json!({ "file": name }).to_string().into_bytes() },
            Ok(Err(message)) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &message),
            Err(_) => refuse(StatusCode::INTERNAL_SERVER_ERROR, "the backup failed"),
        }
    } else {
        match Limited::new(body, LARGEST).collect().await {
            Ok(body) => {
                let reply = store.call(head.uri.path(), body.to_bytes().to_vec()).await;
                reply.unwrap_or_else(|| refuse(StatusCode::SERVICE_UNAVAILABLE, "the store has ended"))
            }
            Err(_) => refuse(StatusCode::PAYLOAD_TOO_LARGE, "the request is too large"),
        }
    };
    let mut response = Response::new(Full::new(reply.body.into()));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
    response
}

/// Writes a backup into the folder and returns its name.
fn backup(store: &Store, folder: &Folder) -> Result<String, String> {
    let random = getrandom::u64().map_err(|error| error.to_string())?;
    let path = folder.unfinished(&format!("backup-{random:016x}"));
    store.backup(&path).map_err(|error| error.to_string())?;
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    Ok(name.to_owned())
}
