//! What can be typed. Each command answers with an exit code: 0 all is well, 1 it found or met something
//! wrong, 2 it was not understood.

mod check;
mod demo;
mod document;
mod explain;
mod fleet;
mod import;
mod key;
mod log;
mod pull;
mod push;
mod serve;

use std::fmt;
use std::io::{self, ErrorKind, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tollgate_host::{module, worker};

use self::document::LoadError;

/// Keys, access, limits and budgets for LLM and API traffic, decided in the proxy.
#[derive(Debug, Parser)]
#[command(name = "tollgate", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Without a command: `serve`.
    #[command(flatten)]
    serve: serve::Arguments,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the filter in wasmtime behind an HTTP server.
    Serve(serve::Arguments),
    /// Validate policies and gateway configurations: every error and warning with its place.
    Check {
        /// The documents; one with a `policy` field is read as a gateway configuration.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Show whether a key may call a target, and each step that leads there.
    Explain(explain::Arguments),
    /// Mint a key, or digest one.
    Key {
        #[command(subcommand)]
        command: key::Command,
    },
    /// Bring a policy from a file to a fleet's etcd, showing first what differs.
    Push(push::Arguments),
    /// Bring a fleet's policy from etcd to a file, showing first what differs.
    Pull(pull::Arguments),
    /// Bring keys that another gateway keeps as SHA-256 digests into a policy file.
    Import(import::Arguments),
    /// Build the filter, target/tollgate/tollgate.wasm (without management, for CDNs: tollgate-bare.wasm), and the CDN
    /// worker, target/tollgate/worker.
    Build,
}

/// Why a command ends before its end.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Serve(#[from] serve::Error),
    #[error(transparent)]
    Build(#[from] module::BuildError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Key(#[from] key::Error),
    #[error(transparent)]
    Fleet(#[from] fleet::Error),
    #[error(transparent)]
    Import(#[from] import::Error),
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Failure::Load(LoadError::Unreadable { .. }) | Failure::Key(key::Error::Usage(_)) => 2,
            _ => 1,
        }
    }
}

/// Runs what the arguments say.
pub fn main() -> ExitCode {
    let arguments = Cli::parse();
    let outcome = match arguments.command.unwrap_or(Command::Serve(arguments.serve)) {
        Command::Serve(arguments) => serve::run(&arguments).map_err(Failure::from),
        Command::Check { files } => Ok(check::run(&files)),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Key { command } => key::run(&command).map_err(Failure::from),
        Command::Push(arguments) => push::run(&arguments).map_err(Failure::from),
        Command::Pull(arguments) => pull::run(&arguments).map_err(Failure::from),
        Command::Import(arguments) => import::run(&arguments).map_err(Failure::from),
        Command::Build => build().map_err(Failure::from),
    };
    match outcome {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("tollgate: {failure}");
            ExitCode::from(failure.code())
        }
    }
}

/// Writes to standard output. Whoever read it may be gone (`| head`): the command goes on, and ends as it would have.
fn write_out(text: fmt::Arguments<'_>) {
    if let Err(error) = io::stdout().write_fmt(text)
        && error.kind() != ErrorKind::BrokenPipe
    {
        eprintln!("tollgate: standard output: {error}");
        std::process::exit(1);
    }
}

/// A line on standard output.
macro_rules! say {
    ($($text:tt)*) => { $crate::command::write_out(format_args!("{}\n", format_args!($($text)*))) };
}
use say;

fn build() -> Result<ExitCode, module::BuildError> {
    say!("{}", module::build(&[])?.display());
    say!("{}", module::build(&["bare"])?.display());
    say!("{}", worker::build()?.display());
    Ok(ExitCode::SUCCESS)
}
