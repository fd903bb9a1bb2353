//! The behavior that a request selects: `x-simulate: status=500, delay-ms=20, no-usage`.

use std::time::Duration;

use hyper::HeaderMap;

/// The request header that selects a behavior.
pub const HEADER: &str = "x-simulate";

/// A behavior; the default is a regular provider.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Simulation {
    /// `status=500`: an error in the provider's own format (400 to 599).
    pub status: Option<u16>,
    /// `delay-ms=100`: the delay before the head.
    pub delay: Duration,
    /// `chunk-ms=20`: the pause before every chunk but the first.
    pub pause: Duration,
    /// `chunk-bytes=7`: chunks of this size, instead of one for each event.
    pub chunk_bytes: Option<usize>,
    /// `cut-after=3`: the connection breaks after this number of chunks.
    pub cut_after: Option<usize>,
    /// `usage=IN:OUT` or `usage=IN:OUT:CACHED`: exactly these tokens; cached ones are part of the input.
    pub usage: Option<(u64, u64, u64)>,
    /// `tokens=65`: the length of the response, one chunk per token in streams.
    pub tokens: Option<u64>,
    /// `no-usage`: the response reports no usage.
    pub no_usage: bool,
    /// `gzip`: encoded, if the client accepts it; `gzip=force`: in any case.
    pub gzip: Gzip,
    /// `mirror`: the request's body and trailers are sent back as they arrive, for any path.
    pub mirror: bool,
    /// `trailers`: the response ends with the trailer `x-upstream-trailer: end`.
    pub trailers: bool,
}

/// The encoding of responses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gzip {
    /// Never.
    #[default]
    Off,
    /// If `accept-encoding` names it.
    Accepted,
    /// Even if the client does not accept it.
    Forced,
}

/// An unknown word in the header.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` in x-simulate is not known: status=, delay-ms=, chunk-ms=, chunk-bytes=, cut-after=, usage=IN:OUT[:CACHED], \
     tokens=, no-usage, gzip[=force], mirror, trailers"
)]
pub struct Unknown(String);

impl Simulation {
    /// Parses every `x-simulate` header; words are separated by commas.
    pub fn from_headers(headers: &HeaderMap) -> Result<Simulation, Unknown> {
        let mut simulation = Simulation::default();
        for value in headers.get_all(HEADER) {
            let text = String::from_utf8_lossy(value.as_bytes());
            for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
                simulation.apply(word).ok_or_else(|| Unknown(word.to_owned()))?;
            }
        }
        Ok(simulation)
    }

    fn apply(&mut self, word: &str) -> Option<()> {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        match (name, value) {
            ("status", _) => {
                self.status = Some(value.parse().ok().filter(|status| (400..600).contains(status))?);
            }
            ("delay-ms", _) => self.delay = Duration::from_millis(value.parse().ok()?),
            ("chunk-ms", _) => self.pause = Duration::from_millis(value.parse().ok()?),
            ("chunk-bytes", _) => self.chunk_bytes = Some(value.parse().ok().filter(|bytes| *bytes > 0)?),
            ("cut-after", _) => self.cut_after = Some(value.parse().ok()?),
            ("usage", _) => {
                let mut figures = value.split(':').map(|figure| figure.parse().ok());
                let (input, output) = (figures.next()??, figures.next()??);
                let cached = figures.next().unwrap_or(Some(0))?;
                self.usage =
                    Some((input, output, cached)).filter(|_| cached <= input && figures.next().is_none());
                self.usage?;
            }
            ("tokens", _) => self.tokens = Some(value.parse().ok()?),
            ("no-usage", "") => self.no_usage = true,
            ("gzip", "") => self.gzip = Gzip::Accepted,
            ("gzip", "force") => self.gzip = Gzip::Forced,
            ("mirror", "") => self.mirror = true,
            ("trailers", "") => self.trailers = true,
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Simulation, Unknown> {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, text.parse().unwrap());
        Simulation::from_headers(&headers)
    }

    #[test]
    fn words_may_be_in_any_order() {
        let simulation = read("no-usage, status=503 ,usage=12:34:2,gzip=force").unwrap();
        assert_eq!(simulation.status, Some(503));
        assert_eq!(simulation.usage, Some((12, 34, 2)));
        assert_eq!(simulation.gzip, Gzip::Forced);
        assert!(simulation.no_usage);
    }

    #[test]
    fn an_unknown_word_is_reported() {
        for word in
            ["status=200", "usage=1", "usage=1:2:3", "usage=1:2:0:4", "chunk-bytes=0", "gzip=maybe", "slow"]
        {
            assert_eq!(read(word), Err(Unknown(word.to_owned())), "{word}");
        }
    }
}
