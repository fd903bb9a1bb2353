//! `tollgate serve`: the module behind an HTTP server, with a simulated upstream unless there is a real one.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tollgate_host::etcd::{self, EtcdSetupError};
use tollgate_host::host::{Module, ModuleError, Process};
use tollgate_host::module::{self, BuildError};
use tollgate_host::serve::lines::Lines;
use tollgate_host::serve::source::Source;
use tollgate_host::serve::{BUFFER_LIMIT, Options, ServeError, Server, Target, TargetError};
use tollgate_host::upstream::Upstream;

use super::{demo, log};

/// How long a stop waits for answers that are on their way.
const DRAIN: Duration = Duration::from_secs(5);
/// How often the configuration's file is looked at.
const LOOK: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
#[group(skip)]
pub struct Arguments {
    /// Where to listen, HOST:PORT; port 0: one that the system chooses.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8787", value_parser = address)]
    listen: SocketAddr,
    /// The policy; without one, policies/demo.json. Read again when it changes, and on SIGHUP.
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    policy: Option<PathBuf>,
    /// A whole gateway configuration instead. Read again alike.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where allowed requests go: http://, https:// or, for HTTP/2 in the clear, h2c://. Without one, to a simulated LLM provider.
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// Lines `name: value` that are put in after the filter, such as the upstream's own credential.
    #[arg(long, value_name = "FILE")]
    upstream_header_file: Option<PathBuf>,
    /// Threads, each with its own VM. Without a number, one for each processor.
    #[arg(long, value_name = "N")]
    workers: Option<NonZero<usize>>,
    /// The etcd of a fleet, http:// or https://: what is changed through the API is kept there, and shared with all gateways
    /// that use it. Without one it lasts as long as this process. With --config, that names the cluster HOST:PORT itself.
    #[arg(long, value_name = "URL")]
    fleet: Option<String>,
    /// Another build of the filter. Without one it is built from this workspace.
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let form = || "it is HOST:PORT, as in 127.0.0.1:8787 or localhost:8787".to_owned();
    text.to_socket_addrs().ok().and_then(|mut found| found.next()).ok_or_else(form)
}

/// Why the server does not run.
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
            ": end what listens there, or choose another address with `--listen`"
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
    eprintln!("tollgate: http://{} goes through {} to {what}", server.addr(), source.path().display());
    match &arguments.fleet {
        Some(url) => eprintln!(
            "tollgate: what the API changes is kept in {url}; counters last as long as this process"
        ),
        None if arguments.config.is_none() => {
            eprintln!("tollgate: keys made through the API and all counters last as long as this process");
        }
        None => {}
    }
    if demo {
        eprint!("{}", demo::requests(&format!("http://{}", server.addr())));
    }
    // Signals are counted from here on; whoever waits for the lines above may send them.
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

/// Serves, and reads the configuration again when asked to, until somebody ends it.
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

/// A configuration that does not load changes nothing but what standard error says.
fn reload(server: &Server, source: &mut Source) {
    let path = source.path().to_owned();
    let outcome = match source.read() {
        Ok(configuration) => server.reload(&configuration).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match outcome {
        Ok(()) => eprintln!("tollgate: {} is in force", shown(&path)),
        Err(error) => eprintln!("tollgate: {} is not taken, what was in force stays: {error}", shown(&path)),
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
