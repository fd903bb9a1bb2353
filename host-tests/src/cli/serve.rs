//! The command `tollgate serve`: runs the module behind an HTTP server. The default upstream is a simulated
//! provider.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tollgate_host::build::module::{self, BuildError};
use tollgate_host::etcd::{self, EtcdSetupError};
use tollgate_host::proxy_wasm::{Module, ModuleError, Process, StartError};
use tollgate_host::server::lines::Lines;
use tollgate_host::server::source::{PASSWORD_VARIABLE, Source};
use tollgate_host::server::tls::{Tls, TlsError};
use tollgate_host::server::{BUFFER_LIMIT, Cluster, Options, ServeError, Server, Target, TargetError};
use tollgate_host::simulator::Upstream;

use super::console::{self, Console};
use super::data::{Configured, Data};
use super::listening::{Listening, raise_open_files};
use super::{data, demo, log};

/// The interval between checks of the configuration file and of the certificate.
const LOOK: Duration = Duration::from_millis(500);
/// The time in which the workers end after the second signal, before the process ends without them.
const STOP: Duration = Duration::from_secs(2);

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
    /// with all gateways that use it. Without one, and without --data, they last as long as this process.
    /// With --config, which names the cluster itself, HOST:PORT.
    #[arg(long, value_name = "URL")]
    fleet: Option<String>,
    /// Folder in which changes made through the API are stored, instead of an etcd. It is created with mode
    /// 0700, and takes the policy of the file if it has none. From then on its policy is served: see `push`.
    #[arg(long, value_name = "DIR", conflicts_with = "fleet")]
    data: Option<PathBuf>,
    /// File with one line `user:password`, if the etcd of `--fleet` requires authentication. The filter reads the password
    /// from the variable TOLLGATE_ETCD_PASSWORD, which a configuration of `--config` names in `password_env`.
    #[arg(long, value_name = "FILE", requires = "fleet")]
    login: Option<PathBuf>,
    /// Another build of the filter. By default it is built from this workspace.
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,
    /// The folder of the web console, as `tollgate build` writes it, or `off`. By default it is built from this
    /// workspace, after the server has started.
    #[arg(long, value_name = "off|DIR", value_parser = Console::parse)]
    console: Option<Console>,
    #[command(flatten)]
    listening: Listening,
}

impl Arguments {
    /// Returns the data folder.
    #[cfg(test)]
    pub fn data(&self) -> Option<&Path> {
        self.data.as_deref()
    }

    /// Returns the arguments of the command without a name: the demo has a data folder.
    pub fn or_default_data(mut self) -> Arguments {
        let place = self.policy.is_none() && self.config.is_none() && self.fleet.is_none();
        if let (None, true, Ok(workspace)) = (&self.data, place, module::workspace()) {
            self.data = Some(workspace.join("target/tollgate/data"));
        }
        self
    }
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
    #[error("`--module {}`: {error}: it must be a build of the filter, as `tollgate build` writes it", path.display())]
    Module { path: PathBuf, error: ModuleError },
    #[error("`{flag} {}`: {error}: it must be {right}", path.display())]
    Source { flag: &'static str, path: PathBuf, error: io::Error, right: &'static str },
    #[error("`{flag} {path}`: {error}: `tollgate check {path}` lists every error", path = path.display())]
    Rejected { flag: &'static str, path: PathBuf, error: StartError },
    #[error("`--console {}`: {error}: it must be a folder that `tollgate build` wrote, or `off`", path.display())]
    Console { path: PathBuf, error: io::Error },
    #[error("`--upstream`: {0}")]
    Upstream(TargetError),
    #[error("`--upstream-header-file`: {0}")]
    UpstreamHeaders(TargetError),
    #[error("`--login`: {0}")]
    Login(EtcdSetupError),
    #[error("`--fleet`: {0}")]
    Fleet(#[from] EtcdSetupError),
    #[error(transparent)]
    Data(#[from] data::Error),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(
        "{}: {}; not served on {listen}, which is not a loopback address: use a policy with keys of your own (`--policy`), \
         listen on 127.0.0.1, or allow it with `--allow-demo-keys` in a network that you trust", path.display(), demo::warning(found)
    )]
    Demo { path: PathBuf, found: String, listen: SocketAddr },
    #[error("a stream of the filter does not end: the process ends without it")]
    Stuck,
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
        ServeError::Listen { .. } => ": `--listen` must be an address of this machine that this user may use",
        _ => "",
    }
}

pub fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let listening = &arguments.listening;
    let fleet = arguments.fleet.as_deref().map(etcd::target).transpose()?;
    let data = arguments.data.as_deref().map(Data::open).transpose()?;
    let login = arguments.login.as_deref().map(etcd::login_file).transpose().map_err(Error::Login)?;
    let name = fleet.as_ref().map(|etcd| etcd.authority().to_owned());
    let (source, demo) = source(arguments, name.or(data.as_ref().map(|_| data::CLUSTER.to_owned())))?;
    let mut source = source.with_user(login.as_ref().map(|(user, _)| user.clone()));
    let Configured { configuration, cluster, report } = read(arguments, &mut source, data.as_ref())?;
    refuse_demo(arguments, &origin(&source, data.as_ref()), &configuration)?;
    let etcd = fleet.map(|etcd| (etcd.authority().to_owned(), Cluster::Http(etcd)));
    let clusters = etcd.into_iter().chain(data.as_ref().map(|data| (cluster, data.cluster()))).collect();
    let tls = listening.tls()?;
    let console =
        console::open(arguments.console.as_ref()).map_err(|(path, error)| Error::Console { path, error })?;
    let (target, simulated) = upstream(arguments)?;
    let module = match &arguments.module {
        Some(path) => Module::load(path).map_err(|error| Error::Module { path: path.clone(), error })?,
        None => module::load(&[])?,
    };
    let mut process = Process::builder(&module).log(log::stderr()).buffer_limit(BUFFER_LIMIT);
    if let Some((_, password)) = &login {
        process = process.variable(PASSWORD_VARIABLE, password);
    }
    let workers =
        arguments.workers.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZero::get);
    let limits = listening.limits();
    if let Some(files) = raise_open_files(&limits) {
        eprintln!(
            "tollgate: this process may open {files} files only: raise the limit (`ulimit -n`, `LimitNOFILE=`), or \
             lower `--max-connections` and `--max-requests`"
        );
    }
    let server = Server::start(Options {
        listen: arguments.listen,
        workers,
        process,
        configuration,
        upstream: target,
        clusters,
        lines: Lines::stdout(),
        drain: listening.drain,
        limits,
        tls: tls.clone(),
        console: console.as_ref().map(|console| Arc::clone(console.files())),
    })
    .map_err(|error| match error {
        ServeError::Module(error @ StartError::ConfigurationRefused) => {
            Error::Rejected { flag: named(arguments).0, path: source.path().to_owned(), error }
        }
        error => error.into(),
    })?;

    let what = simulated.as_ref().map_or_else(
        || arguments.upstream.clone().unwrap_or_default(),
        |upstream| format!("a simulated LLM provider at {}", upstream.url()),
    );
    let base = format!("{}://{}", if tls.is_some() { "https" } else { "http" }, server.addr());
    eprintln!("tollgate: {base} serves {} in front of {what}", origin(&source, data.as_ref()).display());
    say(&report);
    if tls.is_none() && !is_loopback(arguments.listen) {
        eprintln!(
            "tollgate: keys travel in the clear: use `--tls-cert` and `--tls-key`, or a proxy with TLS in front"
        );
    }
    match (&arguments.fleet, &arguments.data) {
        (Some(url), _) => eprintln!(
            "tollgate: changes made through the API, and counters of limits and budgets, are stored in {url}"
        ),
        (None, Some(folder)) => eprintln!(
            "tollgate: changes made through the API, and counters of limits and budgets, are stored in {}",
            folder.display()
        ),
        (None, None) if arguments.config.is_none() => {
            eprintln!("tollgate: keys made through the API and all counters last as long as this process");
        }
        (None, None) => {}
    }
    if demo {
        eprint!("{}", demo::requests(&base));
    }
    if let Some(console) = console {
        console.announce(&base, demo);
    }
    // Signals are handled from here on. A caller that waits for the lines above may send them.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals = Signals::new()?;
        let origin = (&mut source, data.as_ref());
        until_stopped(arguments, &server, origin, tls.as_deref(), &mut signals).await?;
        stop(server, listening.drain, &mut signals).await
    })
}

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// Returns an error if the configuration has secrets of the demo, which are public, and the address may be
/// reached from other machines.
fn refuse_demo(arguments: &Arguments, path: &Path, configuration: &[u8]) -> Result<(), Error> {
    if is_loopback(arguments.listen) || arguments.listening.allow_demo_keys {
        return Ok(());
    }
    match demo::public_secret(configuration) {
        Some(found) => Err(Error::Demo { path: path.to_owned(), found, listen: arguments.listen }),
        None => Ok(()),
    }
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
        Some(url) => (Target::parse(url).map_err(Error::Upstream)?, None),
        None => {
            let upstream = Upstream::start()?;
            (Target::parse(&upstream.url()).map_err(Error::Upstream)?, Some(upstream))
        }
    };
    if let Some(path) = &arguments.upstream_header_file {
        target = target.with_header_file(path).map_err(Error::UpstreamHeaders)?;
    }
    Ok((target, simulated))
}

/// Returns the flag of the configuration, and its content.
fn named(arguments: &Arguments) -> (&'static str, &'static str) {
    match arguments.config {
        Some(_) => ("--config", "a gateway configuration (policies/gateway.schema.json)"),
        None => ("--policy", "a policy (policies/README.md)"),
    }
}

/// Reads the file, and takes the policy of the data folder in place of its own.
fn read(arguments: &Arguments, source: &mut Source, data: Option<&Data>) -> Result<Configured, Error> {
    let (flag, right) = named(arguments);
    let read = source.read();
    let path = source.path();
    let configuration = read.map_err(|error| Error::Source { flag, path: path.to_owned(), error, right })?;
    match data {
        Some(data) => Ok(data.configure(path, configuration)?),
        None => Ok(Configured::of_file(configuration)),
    }
}

/// Returns the path of the policy that is served.
fn origin(source: &Source, data: Option<&Data>) -> PathBuf {
    data.map_or(source.path(), Data::path).to_owned()
}

/// Writes lines to standard error.
fn say(report: &str) {
    for line in report.lines() {
        eprintln!("tollgate: {line}");
    }
}

/// The signals that end the server, and the one that reloads it.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for SIGINT or SIGTERM.
    async fn end(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Serves until a signal stops it, and reloads the configuration and the certificate on change or on request.
async fn until_stopped(
    arguments: &Arguments,
    server: &Server,
    (source, data): (&mut Source, Option<&Data>),
    tls: Option<&Tls>,
    signals: &mut Signals,
) -> io::Result<()> {
    loop {
        tokio::select! {
            _ = signals.interrupt.recv() => return Ok(()),
            _ = signals.terminate.recv() => return Ok(()),
            _ = signals.hangup.recv() => {
                reload(arguments, server, source, data);
            }
            () = tokio::time::sleep(LOOK) => if source.changed() {
                reload(arguments, server, source, data);
            }
        }
        if let Some(tls) = tls
            && let Some(outcome) = tls.refresh()
        {
            match outcome {
                Ok(()) => eprintln!("tollgate: {} is loaded", tls.certificate().display()),
                Err(error) => eprintln!("tollgate: the previous certificate stays: {error}"),
            }
        }
    }
}

/// Stops the server: running requests have the time `drain` to end, unless a second signal comes.
async fn stop(server: Server, drain: Duration, signals: &mut Signals) -> Result<ExitCode, Error> {
    eprintln!(
        "tollgate: stopping: running requests have {} s to end; a second signal cuts them",
        drain.as_secs_f64()
    );
    let stopper = server.stopper();
    let (done, mut ended) = oneshot::channel();
    std::thread::spawn(move || {
        server.shutdown();
        // The receiver is gone only if the process ends without it.
        let _ = done.send(());
    });
    tokio::select! {
        _ = &mut ended => return Ok(ExitCode::SUCCESS),
        () = signals.end() => {}
    }
    eprintln!("tollgate: cutting the running requests");
    stopper.stop();
    match tokio::time::timeout(STOP, ended).await {
        Ok(_) => Ok(ExitCode::SUCCESS),
        Err(_) => Err(Error::Stuck),
    }
}

/// Reloads the configuration. One that does not load is reported on standard error and changes nothing else.
fn reload(arguments: &Arguments, server: &Server, source: &mut Source, data: Option<&Data>) {
    // The client of the data folder has a runtime of its own, and this thread has one already.
    let read = std::thread::scope(|scope| scope.spawn(|| read(arguments, source, data)).join());
    let loaded = read.unwrap_or_else(|panic| std::panic::resume_unwind(panic)).and_then(|configured| {
        refuse_demo(arguments, &origin(source, data), &configured.configuration)?;
        Ok(configured)
    });
    let outcome = match loaded {
        Ok(Configured { configuration, report, .. }) => {
            server.reload(&configuration).map(|()| report).map_err(|error| error.to_string())
        }
        Err(error) => Err(error.to_string()),
    };
    let path = source.path().display();
    match outcome {
        Ok(report) if !report.is_empty() => say(&report),
        Ok(_) => eprintln!("tollgate: {path} is loaded"),
        Err(error) => eprintln!("tollgate: {path} is rejected, the previous configuration stays: {error}"),
    }
}
