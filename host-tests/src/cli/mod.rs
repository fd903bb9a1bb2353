//! The command line. The exit code of a command is 0 for success, 1 if it found or met an error, and 2 for a
//! usage error.

mod backup;
mod check;
mod console;
mod data;
mod demo;
mod document;
mod explain;
mod fleet;
mod import;
mod key;
mod listening;
mod log;
mod prices;
mod pull;
mod push;
mod serve;

use std::fmt;
use std::io::{self, ErrorKind, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tollgate_host::build::{self, module, worker};

use self::document::LoadError;

/// Keys, access, limits and budgets for LLM and API traffic, enforced in the proxy.
#[derive(Debug, Parser)]
#[command(name = "tollgate", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// The arguments of `serve`, the default command. Without a policy, it serves the demo with the data folder
    /// target/tollgate/data.
    #[command(flatten)]
    serve: serve::Arguments,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the filter in wasmtime behind an HTTP server.
    Serve(Box<serve::Arguments>),
    /// Validate policies and gateway configurations: prints every error and warning with its location.
    Check {
        /// The documents; one with a `policy` field is read as a gateway configuration.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Show the decision for a key and a target, with each step that leads to it.
    Explain(explain::Arguments),
    /// Mint a key, or compute the digest of one.
    Key {
        #[command(subcommand)]
        command: key::Command,
    },
    /// Copy a policy from a file to a fleet's etcd or to a data folder, after showing the differences.
    Push(push::Arguments),
    /// Copy the policy of a fleet's etcd or of a data folder to a file, after showing the differences.
    Pull(pull::Arguments),
    /// Copy a data folder into a file, also while `serve` uses it.
    Backup(backup::Arguments),
    /// Add keys that another gateway stores as SHA-256 digests to a policy file.
    Import(import::Arguments),
    /// Take the prices of a file into a policy, or compare them.
    Prices {
        #[command(subcommand)]
        command: prices::Command,
    },
    /// Build the filter, target/tollgate/tollgate.wasm (without management, for CDNs: tollgate-bare.wasm),
    /// the CDN worker, target/tollgate/worker, and the web console, target/tollgate/console.
    Build,
}

/// Command errors.
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
    #[error(transparent)]
    Prices(#[from] prices::Error),
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Failure::Load(LoadError::Unreadable { .. }) | Failure::Key(key::Error::Usage(_)) => 2,
            _ => 1,
        }
    }
}

/// Parses the arguments and runs the command.
pub fn main() -> ExitCode {
    let arguments = Cli::parse();
    let outcome = match arguments
        .command
        .unwrap_or_else(|| Command::Serve(Box::new(arguments.serve.or_default_data())))
    {
        Command::Serve(arguments) => serve::run(&arguments).map_err(Failure::from),
        Command::Check { files } => Ok(check::run(&files)),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Key { command } => key::run(&command).map_err(Failure::from),
        Command::Push(arguments) => push::run(&arguments).map_err(Failure::from),
        Command::Pull(arguments) => pull::run(&arguments).map_err(Failure::from),
        Command::Backup(arguments) => backup::run(&arguments).map_err(Failure::from),
        Command::Import(arguments) => import::run(&arguments).map_err(Failure::from),
        Command::Prices { command } => prices::run(&command).map_err(Failure::from),
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

/// Writes to standard output. A closed pipe (`| head`) is ignored and does not change the exit code.
fn write_out(text: fmt::Arguments<'_>) {
    if let Err(error) = io::stdout().write_fmt(text)
        && error.kind() != ErrorKind::BrokenPipe
    {
        eprintln!("tollgate: standard output: {error}");
        std::process::exit(1);
    }
}

/// Writes a line to standard output.
macro_rules! say {
    ($($text:tt)*) => { $crate::cli::write_out(format_args!("{}\n", format_args!($($text)*))) };
}
use say;

fn build() -> Result<ExitCode, module::BuildError> {
    say!("{}", module::build(&[])?.display());
    say!("{}", module::build(&["bare"])?.display());
    say!("{}", worker::build()?.display());
    say!("{}", build::console::build(false)?.display());
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_demo_of_the_command_without_a_name_has_a_data_folder_by_default() {
        let data = |arguments: &[&str]| {
            let cli = Cli::try_parse_from([&["tollgate"], arguments].concat()).unwrap();
            let serve = match cli.command {
                None => cli.serve.or_default_data(),
                Some(Command::Serve(arguments)) => *arguments,
                Some(_) => panic!("not `serve`"),
            };
            serve.data().map(|folder| folder.display().to_string())
        };
        let default = data(&[]).unwrap();
        assert!(default.ends_with("/target/tollgate/data"), "{default}");
        assert_eq!(data(&["--listen", "127.0.0.1:0"]), Some(default));
        assert_eq!(data(&["--data", "other"]).as_deref(), Some("other"));
        assert_eq!(data(&["serve", "--data", "other"]).as_deref(), Some("other"));
        for own in ["--policy", "--config", "--fleet"] {
            assert_eq!(data(&[own, "x"]), None, "{own}");
        }
        assert_eq!(data(&["serve"]), None);
    }
}
