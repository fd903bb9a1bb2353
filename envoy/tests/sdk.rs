//! Unmodified SDKs of Python and Node through real Envoy and through `tollgate serve`: one script for each, in `sdk/`.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate_envoy::client;
use tollgate_envoy::gateway::Gateway;
use tollgate_envoy::shipped;
use tollgate_envoy::world::{chat, key_of, secret};
use tollgate_host::proxy_wasm::Process;
use tollgate_host::server::lines::Lines;
use tollgate_host::server::{BUFFER_LIMIT, Limits, Options, Server, Target};
use tollgate_host::simulator::Upstream;
use tollgate_host::{build::module, tools};

/// The scripts, and a name for the teams of each; the ids of keys have no hyphens.
const SCRIPTS: [(&str, &str); 9] = [
    ("openai_sdk.py", "openaipython"),
    ("anthropic_sdk.py", "anthropicpython"),
    ("google_genai_sdk.py", "genaipython"),
    ("langchain_sdk.py", "langchain"),
    ("litellm_sdk.py", "litellm"),
    ("openai_sdk.mjs", "openainode"),
    ("anthropic_sdk.mjs", "anthropicnode"),
    ("google_genai_sdk.mjs", "genainode"),
    ("ai_sdk.mjs", "ai"),
];
/// The small limits that each script has a team and a key for.
const LIMITS: [(&str, &str, u32); 3] = [("limited", "rpm", 3), ("busy", "tpm", 10_000), ("day", "rpd", 1)];
/// The models that the keys may call.
const ALLOWED: [&str; 10] = [
    "gpt-5-mini",
    "claude-haiku-4-5",
    "gemini-2.5-flash",
    "text-embedding-3-small",
    "gemini-embedding-001",
    "gpt-image-1",
    "gpt-4o-mini-tts",
    "gpt-4o-transcribe",
    "omni-moderation-latest",
    "rerank-v3.5",
];

fn configuration() -> Value {
    let mut targets = json!({"gpt-5": {}, "claude-opus-4-5": {}, "gemini-2.5-pro": {}});
    for name in ALLOWED {
        targets[name] = json!({"access_groups": ["small"], "price": {"input": "1.00", "output": "10.00"}});
    }
    let mut teams = json!({
        "ml": {"organization": "acme", "name": "ML", "limits": {"rpm": 10_000, "tpm": 100_000_000}},
        "poor": {"organization": "acme", "name": "Poor", "budget": {"max": "0.00001"}},
    });
    let mut keys = json!({
        "good": key_of("ml", "good"), "expired": key_of("ml", "expired"), "poor": key_of("poor", "poor"),
    });
    keys["expired"]["expires_at"] = json!("2020-01-01T00:00:00Z");
    for (_, script) in SCRIPTS {
        for (kind, window, limit) in LIMITS {
            let id = format!("{kind}{script}");
            teams[&id] = json!({"organization": "acme", "name": id, "limits": {window: limit}});
            keys[&id] = key_of(&id, &id);
        }
    }
    json!({
        "policy": {
            "version": 1,
            "targets": targets,
            "organizations": {"acme": {"name": "Acme", "access": {"access_groups": ["small"]}}},
            "teams": teams,
            "keys": keys,
        }
    })
}

/// The programs that run the scripts, and the folder of those for Node.
struct Interpreters {
    python: PathBuf,
    node: PathBuf,
    modules: PathBuf,
}

impl Interpreters {
    fn install() -> Option<Interpreters> {
        let python = tools::require(tools::python_sdks())?;
        let tools::NodeSdks { node, modules } = tools::require(tools::node_sdks())?;
        Some(Interpreters { python, node, modules })
    }

    /// Returns the command that runs a script. Node looks for packages beside the script, so that it runs a copy, in
    /// `folder`.
    fn command(&self, script: &str, folder: &Path) -> Command {
        let shipped = shipped::folder().join("tests/sdk");
        if !script.ends_with(".mjs") {
            let mut command = Command::new(&self.python);
            command.arg(shipped.join(script)).env("PYTHONDONTWRITEBYTECODE", "1");
            return command;
        }
        let folder = folder.join(script.trim_end_matches(".mjs"));
        fs::create_dir_all(&folder).unwrap();
        for file in [script, "gateway.mjs"] {
            fs::copy(shipped.join(file), folder.join(file)).unwrap();
        }
        let modules = folder.join("node_modules");
        let _ = fs::remove_file(&modules);
        std::os::unix::fs::symlink(&self.modules, modules).unwrap();
        let mut command = Command::new(&self.node);
        command.arg(folder.join(script));
        command
    }
}

/// Runs all scripts at once against this gateway.
fn run(interpreters: &Interpreters, address: SocketAddr, name: &str) {
    for (_, script) in SCRIPTS {
        let response = client::request(address, &chat().bearer(&secret(&format!("day{script}"))));
        assert_eq!(response.status, 200, "the only request of the day: {response:?}");
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let failures: Vec<String> = std::thread::scope(|scope| {
        let runs = SCRIPTS.map(|(file, script)| {
            let mut command = interpreters.command(file, &folder);
            command.args(["--base-url", &format!("http://{address}")]);
            for (argument, id) in [("--key", "good"), ("--expired-key", "expired"), ("--budget-key", "poor")]
            {
                command.args([argument, &secret(id)]);
            }
            for (kind, ..) in LIMITS {
                command.args([format!("--{kind}-key"), secret(&format!("{kind}{script}"))]);
            }
            scope.spawn(move || {
                let start = Instant::now();
                let output = command.output().unwrap();
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let (said, failed) = (text(&output.stdout), text(&output.stderr));
                println!("{file}: {} s\n{said}", start.elapsed().as_secs());
                (!output.status.success()).then(|| format!("{file}:\n{said}\n{failed}"))
            })
        });
        runs.into_iter().filter_map(|run| run.join().unwrap()).collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn the_sdks_work_behind_envoy() {
    let Some(interpreters) = Interpreters::install() else { return };
    let Some(gateway) = Gateway::start(&configuration()) else { return };
    run(&interpreters, gateway.address(), "sdk-envoy");
    gateway.assert_no_trap();
}

#[test]
fn the_sdks_work_behind_the_command() {
    let Some(interpreters) = Interpreters::install() else { return };
    let upstream = Upstream::start().unwrap();
    let module = module::load(&[]).unwrap();
    let server = Server::start(Options {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        workers: 2,
        process: Process::builder(&module).buffer_limit(BUFFER_LIMIT),
        configuration: configuration().to_string().into_bytes(),
        upstream: Target::parse(&upstream.url()).unwrap(),
        clusters: Vec::new(),
        lines: Lines::discard(),
        drain: Duration::ZERO,
        limits: Limits::default(),
        tls: None,
        console: None,
    })
    .unwrap();
    run(&interpreters, server.addr(), "sdk-serve");
}
