//! The upstream and its connections.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use hyper::Version;
use hyper::header::{HeaderName, HeaderValue};
use hyper::http::uri::{Authority, PathAndQuery, Scheme, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{self};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::Cut;

/// The time limit for connecting to the upstream.
const CONNECT: Duration = Duration::from_secs(10);

/// The body of a request to the upstream.
pub(crate) type RequestBody = BoxBody<Bytes, Cut>;
/// One worker's connections to the upstream.
pub(crate) type Client = legacy::Client<HttpsConnector<HttpConnector>, RequestBody>;

/// The upstream for requests that the module allows.
#[derive(Clone, Debug)]
pub struct Target {
    scheme: Scheme,
    authority: Authority,
    prefix: String,
    http2: bool,
    fields: Vec<(HeaderName, HeaderValue)>,
}

/// An error in the configuration of an upstream.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The URL is not supported.
    #[error(
        "`{0}` is not an upstream: write http://HOST[:PORT][/PREFIX], https://… or, for HTTP/2 in the clear, h2c://…"
    )]
    Url(String),
    /// The header file cannot be read.
    #[error("{}: {error}", path.display())]
    File {
        /// The path of the file.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// A line of the header file is not a header. The line is not repeated, since it may hold a secret.
    #[error("{}:{line}: not a header: each line is `name: value`", path.display())]
    Line {
        /// The path of the file.
        path: PathBuf,
        /// The line number, from 1.
        line: usize,
    },
    /// The system's certificates cannot be read.
    #[error("https needs the system's certificates: {0}")]
    Certificates(io::Error),
}

impl Target {
    /// Parses a URL: `http`, `https` or `h2c`, with an optional path that is prepended to every request's
    /// own.
    pub fn parse(url: &str) -> Result<Target, TargetError> {
        let wrong = || TargetError::Url(url.to_owned());
        // `http` has no scheme of its own for HTTP/2 with prior knowledge.
        let http2 = url.starts_with("h2c://");
        let plain = if http2 { format!("http{}", &url[3..]) } else { url.to_owned() };
        let parts = plain.parse::<Uri>().map_err(|_| wrong())?.into_parts();
        let scheme = parts.scheme.filter(|scheme| *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS);
        let path = parts.path_and_query.filter(|path| path.query().is_none()).ok_or_else(wrong)?;
        Ok(Target {
            scheme: scheme.ok_or_else(wrong)?,
            authority: parts.authority.ok_or_else(wrong)?,
            prefix: path.path().trim_end_matches('/').to_owned(),
            http2,
            fields: Vec::new(),
        })
    }

    /// Returns `HOST[:PORT]`.
    pub fn authority(&self) -> &str {
        self.authority.as_str()
    }

    /// Adds the headers of a file, such as the upstream's own credential: lines `name: value`, which replace
    /// headers of the same name after the module. Empty lines and `#` comments are skipped.
    pub fn with_header_file(mut self, path: &Path) -> Result<Target, TargetError> {
        let file = |error| TargetError::File { path: path.to_owned(), error };
        let text = std::fs::read_to_string(path).map_err(file)?;
        for (number, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let field = line.split_once(':').and_then(|(name, value)| {
                let mut value = HeaderValue::from_str(value.trim()).ok()?;
                value.set_sensitive(true);
                Some((name.trim().parse().ok()?, value))
            });
            self.fields
                .push(field.ok_or_else(|| TargetError::Line { path: path.to_owned(), line: number + 1 })?);
        }
        Ok(self)
    }

    /// Returns the URI of one request.
    pub(crate) fn uri(&self, path: &[u8]) -> Result<Uri, hyper::http::Error> {
        // `OPTIONS *` addresses the server as a whole.
        let joined = if self.prefix.is_empty() || path == b"*" {
            Bytes::copy_from_slice(path)
        } else {
            [self.prefix.as_bytes(), path].concat().into()
        };
        let path = PathAndQuery::from_maybe_shared(joined)?;
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(path)
            .build()
    }

    pub(super) fn version(&self) -> Version {
        if self.http2 { Version::HTTP_2 } else { Version::HTTP_11 }
    }

    pub(super) fn fields(&self) -> &[(HeaderName, HeaderValue)] {
        &self.fields
    }

    /// Creates the connection pool of one worker.
    pub(crate) fn client(&self) -> Result<Client, TargetError> {
        let mut http = HttpConnector::new();
        http.set_connect_timeout(Some(CONNECT));
        http.set_nodelay(true);
        http.enforce_http(false);
        let tls = if self.scheme == Scheme::HTTPS {
            HttpsConnectorBuilder::new().with_native_roots().map_err(TargetError::Certificates)?
        } else {
            // Plain HTTP needs no certificates.
            HttpsConnectorBuilder::new().with_tls_config(no_roots())
        };
        let connector = tls.https_or_http().enable_http1().wrap_connector(http);
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new()).timer(TokioTimer::new()).http2_only(self.http2);
        Ok(builder.build(connector))
    }
}

fn no_roots() -> rustls::ClientConfig {
    rustls::ClientConfig::builder()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_prepended_to_every_path() {
        let target = Target::parse("http://models.internal:8000/openai/").unwrap();
        let uri = target.uri(b"//v1//chat?x=%2e").unwrap();
        assert_eq!(uri, "http://models.internal:8000/openai//v1//chat?x=%2e");
    }

    #[test]
    fn other_urls_are_rejected_by_name() {
        for url in ["ftp://host", "host:80", "http://", "/v1", "http://host/?a=1", ""] {
            let error = Target::parse(url).unwrap_err();
            assert!(error.to_string().contains(url), "{error}");
        }
    }
}
