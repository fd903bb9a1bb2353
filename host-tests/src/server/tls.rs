//! The server's certificate and key, read again when their files change.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// The protocols that ALPN offers, the preferred one first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// A certificate chain with its private key. TLS 1.3 only.
#[derive(Debug)]
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    seen: [Option<Stamp>; 2],
    current: Arc<ServerConfig>,
}

/// A version of a file. The inode differs if it was replaced, also with the same time and size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

/// An error in a certificate or its key. No message repeats a part of the files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("`{flag} {}`: {error}: it must be a PEM file that this process can read", path.display())]
    File {
        /// The flag of the command.
        flag: &'static str,
        /// The path of the file.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// The file of the certificate has none.
    #[error(
        "`--tls-cert {}`: no certificate: it must be a PEM file with `-----BEGIN CERTIFICATE-----` blocks, the \
         server's own first",
        .0.display()
    )]
    NoCertificate(PathBuf),
    /// The file of the key has none.
    #[error(
        "`--tls-key {}`: no private key: it must be a PEM file with a `-----BEGIN PRIVATE KEY-----` block, which \
         is not encrypted",
        .0.display()
    )]
    NoKey(PathBuf),
    /// The key is not that of the certificate, or one of both has an unsupported form.
    #[error(
        "`--tls-cert {}` and `--tls-key {}` cannot be used together: {error}: the key must be that of the first \
         certificate, RSA, ECDSA or Ed25519",
        certificate.display(), key.display()
    )]
    Pair {
        /// The path of the certificate.
        certificate: PathBuf,
        /// The path of the key.
        key: PathBuf,
        /// The error of the library.
        error: rustls::Error,
    },
}

impl Tls {
    /// Reads the files: a certificate chain and its private key, both in PEM.
    pub fn load(certificate: &Path, key: &Path) -> Result<Arc<Tls>, TlsError> {
        // The stamps first: a change during the read is found the next time.
        let seen = [stamp(certificate), stamp(key)];
        let current = read(certificate, key)?;
        let state = Mutex::new(State { seen, current });
        Ok(Arc::new(Tls { certificate: certificate.to_owned(), key: key.to_owned(), state }))
    }

    /// Reads the files again if one of them has changed. Returns `None` if none has. After an error the
    /// previous pair stays in use until the next change.
    pub fn refresh(&self) -> Option<Result<(), TlsError>> {
        let seen = [stamp(&self.certificate), stamp(&self.key)];
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.seen == seen {
                return None;
            }
            state.seen = seen;
        }
        Some(read(&self.certificate, &self.key).map(|current| {
            self.state.lock().unwrap_or_else(PoisonError::into_inner).current = current;
        }))
    }

    /// Returns the path of the certificate.
    pub fn certificate(&self) -> &Path {
        &self.certificate
    }

    /// Returns the acceptor for a new connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.state.lock().unwrap_or_else(PoisonError::into_inner).current).into()
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    Some(Stamp { modified: metadata.modified().ok(), length: metadata.len(), inode: metadata.ino() })
}

fn read(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let bytes = |flag, path: &Path| {
        fs::read(path).map_err(|error| TlsError::File { flag, path: path.to_owned(), error })
    };
    let no_certificate = || TlsError::NoCertificate(certificate.to_owned());
    let chain = CertificateDer::pem_slice_iter(&bytes("--tls-cert", certificate)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| no_certificate())?;
    if chain.is_empty() {
        return Err(no_certificate());
    }
    // The library's error could repeat a line of the file.
    let secret = PrivateKeyDer::from_pem_slice(&bytes("--tls-key", key)?)
        .map_err(|_| TlsError::NoKey(key.to_owned()))?;
    let pair = |error| TlsError::Pair { certificate: certificate.to_owned(), key: key.to_owned(), error };
    let mut config = ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(pair)?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(pair)?;
    config.alpn_protocols = PROTOCOLS.iter().map(|name| name.to_vec()).collect();
    Ok(Arc::new(config))
}
