//! Forms through the readers of real servers: Werkzeug, Django, Starlette, Python's own, busboy, undici, Go and PHP. What the gateway
//! accepts they all read as it does; what it refuses, some of them read as something else.

#[path = "../../plugin/core/tests/support/forms.rs"]
mod forms;
#[path = "../../plugin/core/tests/support/random.rs"]
mod random;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use forms::Form;
use serde_json::{Value, json};
use tollgate_core::llm::request::{BodyError, BodyParser, LlmRequest};
use tollgate_host::tools::{self, FormReaders};

/// The readers' fields of one form, by reader; `None`: it refuses the form.
type Readings = BTreeMap<String, Option<Vec<(String, String)>>>;

fn gateway(form: &Form) -> Result<LlmRequest, BodyError> {
    let mut parser = BodyParser::for_head(Some(&form.content_type), None)?;
    parser.push(&form.body)?;
    parser.finish().cloned()
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/forms")
}

/// Reads all forms with all readers.
fn read_all(readers: &FormReaders, name: &str, forms: &[Form]) -> Vec<Readings> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("form-readers-{name}"));
    fs::create_dir_all(&folder).unwrap();
    let of_node = folder.join("readers.mjs");
    fs::copy(scripts().join("readers.mjs"), &of_node).unwrap();
    let modules = folder.join("node_modules");
    let _ = fs::remove_file(&modules);
    std::os::unix::fs::symlink(&readers.modules, modules).unwrap();
    let mut go = Command::new(&readers.go);
    // The standard library is compiled once.
    let cache = readers.go.parent().unwrap().join("cache");
    go.args(["run"])
        .arg(scripts().join("readers.go"))
        .env("GOCACHE", &cache)
        .env("GOPATH", cache.join("path"));
    let mut python = Command::new(&readers.python);
    python.arg(scripts().join("readers.py")).env("PYTHONDONTWRITEBYTECODE", "1");
    let mut node = Command::new(&readers.node);
    node.arg(of_node);

    let input: Vec<_> = forms
        .iter()
        .map(|form| json!({"type": form.content_type, "body": STANDARD.encode(&form.body)}))
        .collect();
    let input = Value::Array(input).to_string();
    let mut all = vec![Readings::new(); forms.len()];
    for mut command in [python, node, go] {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdin = process.stdin.take().unwrap();
        let output = std::thread::scope(|scope| {
            scope.spawn(|| {
                stdin.write_all(input.as_bytes()).unwrap();
                drop(stdin);
            });
            process.wait_with_output().unwrap()
        });
        assert!(output.status.success(), "{command:?}");
        let found: Vec<Readings> = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(found.len(), forms.len());
        all.iter_mut().zip(found).for_each(|(all, found)| all.extend(found));
    }
    let php = Php::start(&readers.php);
    for (all, form) in all.iter_mut().zip(forms) {
        all.insert("php".into(), php.read(form));
    }
    all
}

/// PHP's own server, which ends with this value.
struct Php(Child, SocketAddr);

impl Php {
    fn start(program: &Path) -> Php {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let child = Command::new(program)
            .args(["-d", "display_errors=0", "-S", &address.to_string()])
            .arg(scripts().join("form.php"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let php = Php(child, address);
        let end = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < end, "PHP does not listen");
            std::thread::yield_now();
        }
        php
    }

    fn read(&self, form: &Form) -> Option<Vec<(String, String)>> {
        let mut stream = TcpStream::connect(self.1).unwrap();
        let head = format!(
            "POST / HTTP/1.0\r\nhost: php\r\ncontent-type: {}\r\ncontent-length: {}\r\n\r\n",
            form.content_type,
            form.body.len()
        );
        stream.write_all(&[head.as_bytes(), &form.body].concat()).unwrap();
        let mut response = Vec::new();
        stream.read_to_end(&mut response).unwrap();
        let start = response.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
        serde_json::from_slice(&response[start..]).ok()
    }
}

impl Drop for Php {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The values of the fields that a server may take for the one with this name.
fn values<'r>(reading: &'r [(String, String)], name: &str) -> Vec<&'r str> {
    let is = |found: &str| {
        let stem = found.split(['[', '\0']).next().unwrap_or_default();
        let is_part = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let letters: String = stem.chars().filter(is_part).collect();
        letters.eq_ignore_ascii_case(name)
    };
    reading.iter().filter(|(found, _)| is(found)).map(|(_, value)| value.as_str()).collect()
}

/// Asserts that every reader finds what the gateway decides about.
fn assert_agreement(form: &Form, request: &LlmRequest, readings: &Readings) {
    assert_eq!(readings.len(), 8, "{readings:?}");
    let show = || format!("{}: {}\n{}\n{readings:?}", form.name, form.content_type, form.body.escape_ascii());
    for (reader, reading) in readings {
        // A reader that refuses the form reads nothing else. All read the forms of clients.
        let Some(reading) = reading else {
            assert_eq!(form.name, "generated", "{reader} refuses {}", show());
            continue;
        };
        let model: Vec<&str> = request.model.as_deref().into_iter().collect();
        assert_eq!(values(reading, "model"), model, "{reader} {}", show());
        let counts: Vec<u64> = values(reading, "n").iter().filter_map(|text| text.parse().ok()).collect();
        assert_eq!(counts, request.choices.into_iter().collect::<Vec<_>>(), "{reader} {}", show());
        let streams = values(reading, "stream");
        assert_eq!(!streams.is_empty() && streams != ["false"], request.stream, "{reader} {}", show());
    }
}

#[test]
fn all_readers_find_the_decided_fields_in_accepted_forms() {
    let Some(readers) = tools::require(tools::form_readers()) else { return };
    let mut accepted = forms::accepted();
    let mut random = random::Random(2_026);
    while accepted.len() < 1_000 {
        let form = forms::generated(&mut random);
        if gateway(&form).is_ok() {
            accepted.push(form);
        }
    }
    let readings = read_all(&readers, "accepted", &accepted);
    for (form, readings) in accepted.iter().zip(&readings) {
        assert_agreement(form, &gateway(form).unwrap(), readings);
    }
}

#[test]
fn refused_forms_are_those_that_readers_disagree_about() {
    let Some(readers) = tools::require(tools::form_readers()) else { return };
    let refused: Vec<Form> = forms::refused().into_iter().map(|(form, _)| form).collect();
    let readings = read_all(&readers, "refused", &refused);
    let mut disagree = BTreeSet::new();
    for (form, readings) in refused.iter().zip(&readings) {
        assert!(gateway(form).is_err(), "{}", form.name);
        let models: BTreeSet<_> = readings
            .values()
            .map(|reading| reading.as_deref().map(|fields| values(fields, "model")))
            .collect();
        println!("{}: {models:?}", form.name);
        if models.len() > 1 {
            disagree.insert(form.name);
        }
    }
    assert!(disagree.len() > 40, "{}: {disagree:?}", disagree.len());
}
