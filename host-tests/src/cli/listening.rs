//! The options of `serve` towards its clients: TLS, time limits, and bounds.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tollgate_host::server::Limits;
use tollgate_host::server::tls::{Tls, TlsError};

/// The options; each default is that of [`Limits`].
#[derive(Debug, Args)]
#[group(skip)]
pub struct Listening {
    /// Certificate chain for HTTPS, PEM, the server's own certificate first. Read again when it changes.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key of the certificate, PEM, not encrypted. Read again when it changes.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Time for a TLS handshake, and for the head of a request from its first byte.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_hyphen_values = true, default_value = "10")]
    head_timeout: Duration,
    /// Time between two parts of a request's body.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_hyphen_values = true, default_value = "60")]
    body_timeout: Duration,
    /// Time that a whole request body may wait for its client.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_hyphen_values = true, default_value = "300")]
    request_timeout: Duration,
    /// Time that a connection stays open without a request.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_hyphen_values = true, default_value = "75")]
    keep_alive: Duration,
    /// Time for the first byte of a response, and between two parts of it. A stream that continues is not
    /// cut.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_hyphen_values = true, default_value = "600")]
    stream_timeout: Duration,
    /// Connections at the same time. At this number an idle one is closed for a new one; without an idle one,
    /// the new one gets 503.
    #[arg(long, value_name = "N", value_parser = positive, default_value = "4096")]
    max_connections: usize,
    /// Requests that run at the same time; more get 503.
    #[arg(long, value_name = "N", value_parser = positive, default_value = "4096")]
    max_requests: usize,
    /// Bytes of request heads and bodies that are held at the same time; more get 503.
    #[arg(long, value_name = "BYTES", value_parser = positive, default_value = "536870912")]
    max_held_bytes: usize,
    /// Time that running requests have to end after SIGTERM or SIGINT. A second signal ends it.
    #[arg(long, value_name = "SECONDS", value_parser = pause, allow_hyphen_values = true, default_value = "30")]
    pub drain: Duration,
    /// Serve the public keys of the demo on an address that is not loopback, for a network that you trust.
    #[arg(long)]
    pub allow_demo_keys: bool,
}

/// The longest time that can be chosen, a week.
const LONGEST: f64 = 7.0 * 86_400.0;

fn pause(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.0..=LONGEST).contains(seconds));
    seconds
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "it is a number of seconds, at most 604800 (a week)".to_owned())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let error = "it is a number of seconds, from 0.01 to 604800 (a week)";
    pause(text).ok().filter(|time| *time >= Duration::from_millis(10)).ok_or_else(|| error.to_owned())
}

fn positive(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|number| *number > 0)
        .ok_or_else(|| "it is a whole number, at least 1".to_owned())
}

impl Listening {
    pub fn limits(&self) -> Limits {
        Limits {
            head: self.head_timeout,
            body: self.body_timeout,
            request: self.request_timeout,
            keep_alive: self.keep_alive,
            stream: self.stream_timeout,
            connections: self.max_connections,
            requests: self.max_requests,
            held_bytes: self.max_held_bytes,
        }
    }

    pub fn tls(&self) -> Result<Option<Arc<Tls>>, TlsError> {
        let pair = self.tls_cert.as_deref().zip(self.tls_key.as_deref());
        pair.map(|(certificate, key)| Tls::load(certificate, key)).transpose()
    }
}

/// Raises the process's limit of open files to the allowed maximum. Returns the new limit if it is too small
/// for these limits: a request has a socket to its client and one to the upstream.
pub fn raise_open_files(limits: &Limits) -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    /// Files, pipes, and the sockets of the module's own calls.
    const OTHERS: u64 = 256;
    let needed = (limits.connections as u64).saturating_add(limits.requests as u64).saturating_add(OTHERS);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let current = current?;
    if current >= needed {
        return None;
    }
    let raised = maximum.map_or(needed, |maximum| maximum.min(needed));
    let set = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum });
    let reached = if set.is_ok() { raised } else { current };
    (reached < needed).then_some(reached)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        listening: Listening,
    }

    #[test]
    fn the_defaults_are_those_of_the_server() {
        assert_eq!(Line::parse_from(["serve"]).listening.limits(), Limits::default());
    }

    #[test]
    fn times_are_seconds_with_a_fraction() {
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        assert_eq!(pause("0"), Ok(Duration::ZERO));
        for wrong in ["0", "-1", "inf", "nan", "1e9", "", "10s"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
