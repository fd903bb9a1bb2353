//! The command `tollgate serve`: runs the module behind an HTTP server. The default upstream is a simulated
//! provider.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tollgate_host::build::module::{self, BuildError};
use tollgate_host::etcd::{self, EtcdSetupError};
use tollgate_host::proxy_wasm::{Module, ModuleError, Process};
use tollgate_host::server::lines::Lines;
use tollgate_host::server::source::Source;
use tollgate_host::server::{BUFFER_LIMIT, Options, ServeError, Server, Target, TargetError};
use tollgate_host::simulator::Upstream;

use super::{demo, log};

/// The time that open exchanges have to finish on shutdown.
const DRAIN: Duration = Duration::from_secs(5);
/// The interval between checks of the configuration file.
const LOOK: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
#[group(skip)]
pub struct Arguments {
    /// Address to listen on, HOST:PORT; port 0: one that the system chooses.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8787", value_parser = address)]
    listen: SocketAddr,
    /// The policy; the default is policies/demo.json. Read again when it changes, and on SIGHUP.
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    policy: Option<PathBuf>,
    /// A whole gateway configuration instead. Read again like the policy.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Upstream for allowed requests: http://, https:// or, for HTTP/2 without TLS, h2c://. The default is a
    /// simulated LLM provider.
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// File with lines `name: value`, headers that are set after the filter, such as the upstream's own
    /// credential.
    #[arg(long, value_name = "FILE")]
    upstream_header_file: Option<PathBuf>,
    /// Number of threads, each with its own VM. The default is one for each processor.
    #[arg(long, value_name = "N")]
    workers: Option<NonZero<usize>>,
    /// The etcd of a fleet, http:// or https://: changes made through the API are stored there and shared
    /// with all gateways that use it. Without one they last as long as this process. With --config, which
    /// names the cluster itself, HOST:PORT.
    #[arg(long, value_name = "URL")]
    fleet: Option<String>,
    /// Another build of the filter. By default it is built from this workspace.
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let form = || "it is HOST:PORT, as in 127.0.0.1:8787 or localhost:8787".to_owned();
    text.to_socket_addrs().ok().and_then(|mut found| found.next()).ok_or_else(form)
}

/// An error that prevents the server from running.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error("{}: {error}", path.display())]
    Module { path: PathBuf, error: ModuleError },
    #[error("{}: {error}", path.display())]
    Source { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Upstream(#[from] TargetError),
    #[error(transparent)]
    Fleet(#[from] EtcdSetupError),
    #[error("{_0}{}", advice(_0))]
    Serve(#[from] ServeError),
    #[error("{0}")]
    System(#[from] io::Error),
}

fn advice(error: &ServeError) -> &'static str {
    match error {
        ServeError::Listen { error, .. } if error.kind() == io::ErrorKind::AddrInUse => {
            ": stop the other server, or choose another address with `--listen`"
        }
        _ => "",
    }
}

pub fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let fleet = arguments.fleet.as_deref().map(etcd::target).transpose()?;
    let clusters: Vec<_> = fleet.into_iter().map(|etcd| (etcd.authority().to_owned(), etcd)).collect();
    let (mut source, demo) = source(arguments, clusters.first().map(|(name, _)| name.clone()))?;
    let configuration = read(&mut source)?;
    let (target, simulated) = upstream(arguments)?;
    let module = match &arguments.module {
        Some(path) => Module::load(path).map_err(|error| Error::Module { path: path.clone(), error })?,
        None => module::load(&[])?,
    };
    let process = Process::builder(&module).log(log::stderr()).buffer_limit(BUFFER_LIMIT);
    let workers =
        arguments.workers.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZero::get);
    let server = Server::start(Options {
        listen: arguments.listen,
        workers,
        process,
        configuration,
        upstream: target,
        clusters,
        lines: Lines::stdout(),
        drain: DRAIN,
    })?;

    let what = simulated.as_ref().map_or_else(
        || arguments.upstream.clone().unwrap_or_default(),
        |upstream| format!("a simulated LLM provider at {}", upstream.url()),
    );
    eprintln!("tollgate: http://{} serves {} in front of {what}", server.addr(), source.path().display());
    match &arguments.fleet {
        Some(url) => eprintln!(
            "tollgate: changes made through the API are stored in {url}; counters last as long as this process"
        ),
        None if arguments.config.is_none() => {
            eprintln!("tollgate: keys made through the API and all counters last as long as this process");
        }
        None => {}
    }
    if demo {
        eprint!("{}", demo::requests(&format!("http://{}", server.addr())));
    }
    // Signals are handled from here on. A caller that waits for the lines above may send them.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(until_stopped(&server, &mut source))?;
    eprintln!("tollgate: stopping");
    server.shutdown();
    Ok(ExitCode::SUCCESS)
}

fn source(arguments: &Arguments, fleet: Option<String>) -> Result<(Source, bool), Error> {
    Ok(match (&arguments.config, &arguments.policy) {
        (Some(path), _) => (Source::configuration(path), false),
        (None, Some(path)) => (Source::policy(path, fleet), false),
        (None, None) => (Source::policy(module::workspace()?.join("policies/demo.json"), fleet), true),
    })
}

fn upstream(arguments: &Arguments) -> Result<(Target, Option<Upstream>), Error> {
    let (mut target, simulated) = match &arguments.upstream {
        Some(url) => (Target::parse(url)?, None),
        None => {
            let upstream = Upstream::start()?;
            (Target::parse(&upstream.url())?, Some(upstream))
        }
    };
    if let Some(path) = &arguments.upstream_header_file {
        target = target.with_header_file(path)?;
    }
    Ok((target, simulated))
}

fn read(source: &mut Source) -> Result<Vec<u8>, Error> {
    source.read().map_err(|error| Error::Source { path: source.path().to_owned(), error })
}

/// Serves until a signal stops it, and reloads the configuration on change or on request.
async fn until_stopped(server: &Server, source: &mut Source) -> io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            _ = hangup.recv() => {}
            () = tokio::time::sleep(LOOK) => if !source.changed() { continue },
        }
        reload(server, source);
    }
}

/// Reloads the configuration. One that does not load is reported on standard error and changes nothing else.
fn reload(server: &Server, source: &mut Source) {
    let path = source.path().to_owned();
    let outcome = match source.read() {
        Ok(configuration) => server.reload(&configuration).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match outcome {
        Ok(()) => eprintln!("tollgate: {} is loaded", shown(&path)),
        Err(error) => {
            eprintln!("tollgate: {} is rejected, the previous configuration stays: {error}", shown(&path))
        }
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
