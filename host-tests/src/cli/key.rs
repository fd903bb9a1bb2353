//! The command `tollgate key`: mints a key, or computes the digest of one.

use std::io::{self, Read as _};
use std::process::ExitCode;

use clap::Subcommand;
use tollgate_core::secret::api_key;
use tollgate_core::secret::api_key::KeyFormat;

use super::say;

/// The length of a generated id, in characters.
const ID_LENGTH: usize = 8;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Mint a key: prints the key on the first line of standard output, and its digest for the policy on the
    /// second.
    New {
        /// Its public id: 4 to 24 lower-case letters and digits. The default is a random one.
        #[arg(long)]
        id: Option<String>,
    },
    /// Compute the digest of a key from standard input, in the form that a policy stores.
    Digest,
}

/// An error while minting a key or computing a digest.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Usage(&'static str),
    #[error("this begins like a Tollgate key, but its checksum is wrong: check for a typo")]
    Mistyped,
    #[error("the system provides no random numbers: {0}")]
    Random(getrandom::Error),
    #[error("standard input: {0}")]
    Input(#[from] io::Error),
}

pub fn run(command: &Command) -> Result<ExitCode, Error> {
    match command {
        Command::New { id } => {
            let id = match id {
                Some(id) => id.clone(),
                None => draw_id()?,
            };
            let mut secret = [0; 32];
            getrandom::fill(&mut secret).map_err(Error::Random)?;
            let minted = api_key::mint(&id, &secret);
            if api_key::key_format(&minted) != KeyFormat::Native {
                return Err(Error::Usage("--id: 4 to 24 lower-case letters and digits"));
            }
            say!("{minted}\n{}", api_key::format_digest(&api_key::digest(minted.as_bytes())));
            eprintln!("the key is shown only once; add its digest to the policy");
        }
        Command::Digest => {
            let mut text = Vec::new();
            io::stdin().read_to_end(&mut text)?;
            let line = text.strip_suffix(b"\n").unwrap_or(&text);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() || line.contains(&b'\n') {
                return Err(Error::Usage("give one key, on one line of standard input"));
            }
            if std::str::from_utf8(line).is_ok_and(|text| api_key::key_format(text) == KeyFormat::BadChecksum)
            {
                return Err(Error::Mistyped);
            }
            say!("{}", api_key::format_digest(&api_key::digest(line)));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn draw_id() -> Result<String, Error> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnopqrstuvwxyz2345679";
    let mut random = [0; ID_LENGTH];
    getrandom::fill(&mut random).map_err(Error::Random)?;
    Ok(random.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect())
}
