//! A client for HTTP/3: aioquic in its own process.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tollgate_host::tools::{self, Unavailable};

use crate::client::Response;
use crate::envoy::Folder;
use crate::http2::Request;
use crate::wire::{Body, Headers};

const SCRIPT: &str = include_str!("client.py");

/// The client, with a certificate that it trusts.
#[derive(Debug)]
pub struct Client {
    python: PathBuf,
    folder: Folder,
}

impl Client {
    /// Creates a client and a certificate for `gateway.test`.
    ///
    /// # Errors
    ///
    /// If aioquic cannot be installed.
    ///
    /// # Panics
    ///
    /// If the certificate cannot be made.
    pub fn new() -> Result<Self, Unavailable> {
        let client = Self { python: tools::aioquic()?, folder: Folder::new() };
        let script = client.folder.path().join("client.py");
        fs::write(&script, SCRIPT).unwrap_or_else(|error| panic!("{}: {error}", script.display()));
        client.run(&["certificate", &client.folder.path().to_string_lossy()], &Value::Null);
        Ok(client)
    }

    /// Writes the certificate and its key where the option `http3` of `envoy.yaml` expects them.
    ///
    /// # Panics
    ///
    /// If they cannot be written.
    pub fn install_certificate(&self, gateway: &Path) {
        for name in ["gateway.crt", "gateway.pem"] {
            let to = gateway.join("secrets").join(name);
            fs::copy(self.folder.path().join(name), &to)
                .unwrap_or_else(|error| panic!("{}: {error}", to.display()));
        }
    }

    /// Sends these requests over one connection: those of one slice at the same time, one slice after the other.
    /// Their trailers are not sent.
    ///
    /// # Panics
    ///
    /// If one has no response.
    pub fn requests(&self, address: SocketAddr, rounds: &[&[Request<'_>]]) -> Vec<Response> {
        self.exchange(address, rounds, false)
    }

    /// Sends this request and closes the connection after the first bytes of the response's body.
    ///
    /// # Panics
    ///
    /// If there is no response.
    pub fn leave_during(&self, address: SocketAddr, request: &Request<'_>) -> Response {
        self.exchange(address, &[std::slice::from_ref(request)], true).remove(0)
    }

    fn exchange(&self, address: SocketAddr, rounds: &[&[Request<'_>]], leave: bool) -> Vec<Response> {
        let mut bodies = 0;
        let mut described = |request: &Request<'_>| {
            let mut path = String::new();
            if !request.body.is_empty() {
                let file = self.folder.path().join(format!("body-{bodies}"));
                bodies += 1;
                fs::write(&file, request.body.concat())
                    .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
                path = file.to_string_lossy().into_owned();
            }
            json!({
                "method": request.method,
                "path": request.path,
                "headers": request.headers,
                "body": path,
                "leave": leave,
            })
        };
        let rounds: Vec<Vec<Value>> =
            rounds.iter().map(|round| round.iter().map(&mut described).collect()).collect();
        let certificate = self.folder.path().join("gateway.crt");
        let port = address.port().to_string();
        let answers = self.run(&["requests", &certificate.to_string_lossy(), &port], &json!(rounds));
        answers.as_array().into_iter().flatten().map(response).collect()
    }

    fn run(&self, arguments: &[&str], input: &Value) -> Value {
        let path = self.folder.path().join("input");
        fs::write(&path, input.to_string()).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let input = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let output = Command::new(&self.python)
            .arg(self.folder.path().join("client.py"))
            .args(arguments)
            .stdin(input)
            .stderr(Stdio::piped())
            .output()
            .unwrap_or_else(|error| panic!("{}: {error}", self.python.display()));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "the HTTP/3 client failed:\n{errors}");
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }
}

fn response(answer: &Value) -> Response {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let fields = answer["headers"].as_array().into_iter().flatten();
    let headers = Headers(fields.map(|field| (text(&field[0]), text(&field[1]).into_bytes())).collect());
    let data = STANDARD.decode(text(&answer["body"])).unwrap_or_else(|error| panic!("{error}"));
    let status = answer["status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap_or_default();
    Response { status, headers, body: Body { raw: data.clone(), data, ..Body::default() } }
}
