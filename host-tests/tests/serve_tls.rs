//! TLS of the server: versions of HTTP by ALPN, and certificates that change while it runs.

mod modules;
mod serving;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use modules::recorder;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use serving::{Choices, Client, Serving, soon, status, whole};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tollgate_host::server::Limits;
use tollgate_host::server::tls::Tls;

const PASS: &str = "cccccccccccc";
const SHORT: Duration = Duration::from_millis(300);

/// A certificate for `localhost` and its key.
struct Pair {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

impl Pair {
    fn new() -> Pair {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Pair { certificate: made.cert.der().clone(), key: made.signing_key.serialize_der() }
    }

    fn certificate(&self) -> String {
        pem("CERTIFICATE", &self.certificate)
    }

    fn key(&self) -> String {
        pem("PRIVATE KEY", &self.key)
    }
}

fn pem(label: &str, bytes: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// The two files of a test.
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

impl Files {
    fn new(test: &str, pair: &Pair) -> Files {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(test);
        fs::create_dir_all(&folder).unwrap();
        let files = Files { certificate: folder.join("tls.crt"), key: folder.join("tls.key") };
        files.write(&pair.certificate(), &pair.key());
        files
    }

    fn write(&self, certificate: &str, key: &str) {
        replace(&self.certificate, certificate);
        replace(&self.key, key);
    }

    fn load(&self) -> Arc<Tls> {
        Tls::load(&self.certificate, &self.key).unwrap_or_else(|error| panic!("{error}"))
    }
}

/// Replaces a file as an operator should: by a rename.
fn replace(path: &PathBuf, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

fn serving(tls: &Arc<Tls>, limits: Limits) -> Serving {
    Serving::with(&recorder(), PASS, Choices { tls: Some(Arc::clone(tls)), limits, ..Choices::default() })
}

/// Connects as a client that trusts this certificate only.
async fn connect(serving: &Serving, trusted: &Pair, alpn: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.certificate.clone()).unwrap();
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(serving.addr()).await?;
    let name = ServerName::try_from("localhost").unwrap();
    soon(TlsConnector::from(Arc::new(config)).connect(name, stream)).await
}

async fn http1(stream: TlsStream<TcpStream>) -> Client {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    Client::Http1(sender)
}

async fn http2(stream: TlsStream<TcpStream>) -> Client {
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    Client::Http2(sender)
}

#[tokio::test]
async fn alpn_selects_the_version_of_http() {
    let pair = Pair::new();
    let serving = serving(&Files::new("alpn", &pair).load(), Limits::default());
    for (offered, chosen) in [
        (["h2", "http/1.1"].as_slice(), Some("h2")),
        (&["http/1.1", "h2"], Some("h2")),
        (&["http/1.1"], Some("http/1.1")),
        (&[], None),
    ] {
        let stream = connect(&serving, &pair, offered).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), chosen.map(str::as_bytes), "{offered:?}");
        let mut client = if chosen == Some("h2") { http2(stream).await } else { http1(stream).await };
        assert_eq!(status(&mut client).await, 200);
    }
    assert!(connect(&serving, &pair, &["spdy/3"]).await.is_err());
    // The upstream gets the scheme of the client's connection from the module only.
    assert_eq!(serving.upstream.recording().requests().len(), 4);
}

#[tokio::test]
async fn a_new_pair_applies_to_new_connections_and_a_bad_one_changes_nothing() {
    let (old, new) = (Pair::new(), Pair::new());
    let files = Files::new("change", &old);
    let tls = files.load();
    let serving = serving(&tls, Limits::default());
    let mut open = http1(connect(&serving, &old, &["http/1.1"]).await.unwrap()).await;
    assert_eq!(status(&mut open).await, 200);
    assert!(tls.refresh().is_none(), "nothing has changed");

    let encrypted = pem("ENCRYPTED PRIVATE KEY", &old.key);
    for (certificate, key, says) in [
        // A half of a change, in both orders.
        (new.certificate(), old.key(), "cannot be used together"),
        (old.certificate(), new.key(), "cannot be used together"),
        (String::new(), old.key(), "no certificate"),
        (old.key(), old.key(), "no certificate"),
        (old.certificate()[..200].to_owned(), old.key(), "no certificate"),
        (old.certificate(), String::new(), "no private key"),
        (old.certificate(), encrypted, "no private key"),
        (pem("CERTIFICATE", b"not DER"), old.key(), "cannot be used together"),
    ] {
        files.write(&certificate, &key);
        let error = tls.refresh().unwrap().unwrap_err().to_string();
        assert!(error.contains(says) && error.contains("--tls-"), "{error}");
        assert!(key.lines().nth(1).is_none_or(|secret| !error.contains(secret)), "{error}");
        assert!(tls.refresh().is_none(), "an error is reported once");
        assert_eq!(status(&mut http2(connect(&serving, &old, &["h2"]).await.unwrap()).await).await, 200);
    }
    fs::remove_file(&files.key).unwrap();
    let error = tls.refresh().unwrap().unwrap_err().to_string();
    assert!(error.contains("--tls-key") && error.contains("tls.key"), "{error}");

    files.write(&new.certificate(), &new.key());
    tls.refresh().unwrap().unwrap();
    assert!(connect(&serving, &old, &["h2"]).await.is_err());
    assert_eq!(status(&mut http2(connect(&serving, &new, &["h2"]).await.unwrap()).await).await, 200);
    assert_eq!(status(&mut open).await, 200, "a connection keeps its certificate");
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_cut() {
    let pair = Pair::new();
    let serving =
        serving(&Files::new("handshake", &pair).load(), Limits { head: SHORT, ..Limits::default() });
    for (first, more) in [
        (b"".as_slice(), b"".as_slice()),
        // A ClientHello of 512 bytes, one by one, and records without content.
        (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", b"a"),
        (b"", b"\x16\x03\x01\0\0"),
        (b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", b""),
    ] {
        let mut stream = TcpStream::connect(serving.addr()).await.unwrap();
        stream.write_all(first).await.unwrap();
        let (mut from, mut to) = stream.into_split();
        let writing = tokio::spawn(async move {
            while !more.is_empty() && to.write_all(more).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            std::future::pending::<()>().await;
        });
        let mut answer = Vec::new();
        let _ = soon(from.read_to_end(&mut answer)).await;
        writing.abort();
        assert!(!answer.starts_with(b"HTTP"));
    }
    // The limits of heads hold inside of TLS, too.
    let mut stream = connect(&serving, &pair, &["http/1.1"]).await.unwrap();
    stream.write_all(b"GET /any HTTP/1.1\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = soon(stream.read_to_end(&mut answer)).await;
    assert!(answer.is_empty());
    let mut client = http1(connect(&serving, &pair, &["http/1.1"]).await.unwrap()).await;
    let request = client.request("POST", "/any").body(whole("body")).unwrap();
    assert_eq!(client.send(request).await.unwrap().status(), 200);
}

#[tokio::test]
async fn handshakes_without_an_end_shut_no_client_out() {
    let pair = Pair::new();
    let serving =
        serving(&Files::new("crowd", &pair).load(), Limits { connections: 16, ..Limits::default() });
    let mut open = Vec::new();
    for _ in 0..200 {
        let mut stream = TcpStream::connect(serving.addr()).await.unwrap();
        // The server may have closed it for a newer one.
        let _ = stream.write_all(b"\x16\x03\x01").await;
        open.push(stream);
    }
    assert_eq!(status(&mut http2(connect(&serving, &pair, &["h2"]).await.unwrap()).await).await, 200);
}
