//! The files of the web console, answered at `/tollgate/console` without the module.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use hyper::header::{
    ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    HeaderName, HeaderValue, REFERRER_POLICY, REFRESH, VARY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};

/// The address of the console; all paths below it are its own.
pub const PATH: &str = "/tollgate/console";

const INDEX: &str = "index.html";
/// The start of the names that change with the content.
const HASHED: &str = "app-";
const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// The console of a server. It may be there from the start, or come later.
#[derive(Debug)]
pub struct Console(RwLock<State>);

#[derive(Debug)]
enum State {
    Building,
    Failed,
    Ready(HashMap<String, File>),
}

/// A file of the console.
#[derive(Clone, Debug)]
struct File {
    kind: &'static str,
    plain: Bytes,
    gzip: Option<Bytes>,
}

impl Console {
    /// Creates a console whose address says that it is being built.
    pub fn building() -> Arc<Console> {
        Arc::new(Console(RwLock::new(State::Building)))
    }

    /// Replaces the files by those in a folder, as `tollgate build` writes it.
    ///
    /// # Errors
    /// If the folder cannot be read, or has no `index.html`.
    pub fn load(&self, folder: &Path) -> io::Result<()> {
        let mut files = HashMap::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(kind) = kind(&name) else { continue };
            let plain = fs::read(entry.path())?.into();
            let gzip = fs::read(entry.path().with_added_extension("gz")).ok().map(Bytes::from);
            files.insert(name, File { kind, plain, gzip });
        }
        if !files.contains_key(INDEX) {
            return Err(io::Error::new(io::ErrorKind::NotFound, "it has no index.html"));
        }
        self.set(State::Ready(files));
        Ok(())
    }

    /// Makes the address say that the console could not be built.
    pub fn failed(&self) {
        self.set(State::Failed);
    }

    fn set(&self, state: State) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// Answers a request for the console; `None` if its path is not the console's.
    pub(super) fn answer(&self, request: &Parts) -> Option<Response<Bytes>> {
        let rest = request.uri.path().strip_prefix(PATH)?;
        let name = rest.strip_prefix('/').or_else(|| rest.is_empty().then_some(rest))?;
        let mut response = self.page(request, name);
        for (field, value) in [
            (CONTENT_SECURITY_POLICY, POLICY),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "no-referrer"),
            (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
            (HeaderName::from_static("permissions-policy"), "clipboard-write=(self)"),
        ] {
            response.headers_mut().insert(field, HeaderValue::from_static(value));
        }
        Some(response)
    }

    fn page(&self, request: &Parts, name: &str) -> Response<Bytes> {
        if !matches!(request.method, Method::GET | Method::HEAD) {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "the console answers GET and HEAD\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let state = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let files = match &*state {
            State::Ready(files) => files,
            State::Building => {
                let building = "The console is being built. This page loads it when it is there.\n";
                let mut response = text(StatusCode::SERVICE_UNAVAILABLE, building);
                response.headers_mut().insert(REFRESH, HeaderValue::from_static("2"));
                return response;
            }
            State::Failed => {
                let failed = "The console could not be built; the server's standard error has the reason.\n";
                return text(StatusCode::SERVICE_UNAVAILABLE, failed);
            }
        };
        // An address of the page has no file: the page itself reads the address.
        let hashed = name.starts_with(HASHED);
        let found = files.get(name).or_else(|| files.get(INDEX).filter(|_| !hashed));
        match found {
            Some(file) => file.response(request, hashed),
            None => {
                text(StatusCode::NOT_FOUND, "the console has been replaced by another version: reload it\n")
            }
        }
    }
}

impl File {
    fn response(&self, request: &Parts, hashed: bool) -> Response<Bytes> {
        let accepts = request.headers.get_all(ACCEPT_ENCODING).iter().any(accepts_gzip);
        let compressed = self.gzip.as_ref().filter(|_| accepts);
        let mut response = Response::new(compressed.unwrap_or(&self.plain).clone());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.kind));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(if hashed { IMMUTABLE } else { "no-cache" }));
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        if compressed.is_some() {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }
}

/// Returns true if a value of `accept-encoding` allows gzip.
fn accepts_gzip(value: &HeaderValue) -> bool {
    let Ok(value) = value.to_str() else { return false };
    value.split(',').any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let refused = |weight: &str| weight.strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0));
        named && !parts.any(refused)
    })
}

/// Returns the content type of a file of the console; `None` for files that are not served by their name.
fn kind(name: &str) -> Option<&'static str> {
    match Path::new(name).extension()?.to_str()? {
        "html" => Some("text/html; charset=utf-8"),
        "js" => Some("text/javascript; charset=utf-8"),
        "css" => Some("text/css; charset=utf-8"),
        "svg" => Some("image/svg+xml"),
        "wasm" => Some("application/wasm"),
        _ => None,
    }
}

fn text(status: StatusCode, text: &'static str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(text.as_bytes()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
