//! One configuration: read in pieces, kept for all streams that begin under it.

use std::rc::Rc;

use tollgate_core::admission::Correction;
use tollgate_core::config::{ConfigLoader, GatewayConfig};
use tollgate_core::counters::{SharedDataKind, SharedDataStore};
use tollgate_core::time::Now;

use crate::abilities;
use crate::answers::Answers;
use crate::corrections::Corrections;
use crate::host::{self, Level, Shared};
use crate::manage::Documents;
use crate::metrics::Metrics;
use crate::stream::Stream;

/// Bytes of the configuration that are in memory at once.
const PIECE: usize = 64 * 1024;

/// The error for a host whose shared data is [`SharedDataKind::InsertIfAbsent`].
const UNSUPPORTED: &str = "the configuration is refused: version 0 does not overwrite in this host's shared data, as in \
                           nginx with WasmX (ngx_wasm_module), which is not supported: a request held for its body hangs \
                           for ever, and removed headers are still sent upstream";

/// What the streams of one configuration share.
pub struct Plugin {
    /// The configuration.
    pub gateway: Rc<GatewayConfig>,
    /// The kind of the host's shared data, which is never [`SharedDataKind::InsertIfAbsent`].
    pub shared_data: SharedDataKind,
    /// Counters.
    pub metrics: Metrics,
    /// What can change of the policy; `None`: nothing.
    #[cfg_attr(feature = "bare", allow(dead_code, reason = "never any"))]
    pub documents: Option<Documents>,
    corrections: Rc<Corrections>,
    /// Answers for streams that wait.
    #[cfg_attr(feature = "bare", allow(dead_code, reason = "nobody waits"))]
    pub answers: Rc<Answers>,
}

impl Plugin {
    /// The cells in the host's shared data.
    pub fn cells(&self) -> SharedDataStore<Shared> {
        SharedDataStore::new(Shared, self.shared_data)
    }

    /// This moment, of which the wall clock was asked already. On a host that shares no other clock, windows go by it.
    pub fn moment(&self, wall: u64) -> Now {
        Now { wall, monotonic: host::monotonic(self.shared_data).unwrap_or(wall) }
    }

    /// Keeps corrections for the next tick: none is ever dropped.
    pub fn keep(&self, corrections: Vec<Correction>) {
        if !corrections.is_empty() {
            self.metrics.count("corrections_kept");
            self.corrections.keep(self.shared_data, corrections);
        }
    }
}

/// The root context.
pub struct Root {
    id: u32,
    plugin: Option<Rc<Plugin>>,
    corrections: Rc<Corrections>,
    answers: Rc<Answers>,
}

impl Root {
    /// One without a configuration yet, in a VM that is to make these corrections and give these answers.
    pub fn new(id: u32, corrections: Rc<Corrections>, answers: Rc<Answers>) -> Self {
        Root { id, plugin: None, corrections, answers }
    }

    fn load() -> Result<GatewayConfig, ()> {
        let mut loader = ConfigLoader::default();
        let mut start = 0;
        loop {
            let piece = host::buffer(host::Buffer::Configuration, start, PIECE).unwrap_or_default();
            loader.push(&piece);
            start += piece.len();
            if piece.len() < PIECE {
                break;
            }
        }
        let (gateway, warnings) = loader.finish().map_err(|findings| {
            for finding in &findings {
                host::log(Level::Error, &finding.to_string());
            }
        })?;
        for warning in &warnings {
            host::log(Level::Warning, &warning.to_string());
        }
        Ok(gateway)
    }
}

impl Root {
    /// Reads the configuration; `false`: it has an error or the host is not supported, and the configuration in force
    /// stays so.
    pub fn on_configure(&mut self) -> bool {
        let loaded = Self::load().and_then(|mut gateway| Documents::fit(&mut gateway).map(|()| gateway));
        let Ok(gateway) = loaded else {
            host::log(Level::Error, "the configuration is not loaded: see the errors above");
            return false;
        };
        let kind = SharedDataStore::<Shared>::probe(&mut Shared, &gateway.prefix);
        if kind == SharedDataKind::InsertIfAbsent {
            host::log(Level::Error, UNSUPPORTED);
            return false;
        }
        let metrics = Metrics::default();
        abilities::announce(kind, &gateway, &metrics);
        let documents = Documents::open(&gateway, &mut SharedDataStore::new(Shared, kind), self.id);
        self.plugin = Some(Rc::new(Plugin {
            gateway: Rc::new(gateway),
            shared_data: kind,
            metrics,
            documents,
            corrections: Rc::clone(&self.corrections),
            answers: Rc::clone(&self.answers),
        }));
        true
    }

    /// Once every tick period, in every VM.
    pub fn on_tick(&mut self) {
        if let Some(plugin) = &self.plugin {
            plugin.metrics.add("retries", self.corrections.retry().into());
            plugin.tick();
        }
    }

    /// The answer to a call of this context.
    pub fn on_http_call_response(&mut self, token: u32, body_size: usize) {
        if let Some(plugin) = &self.plugin {
            plugin.called(token, body_size);
        }
    }

    /// A stream that begins under this configuration.
    pub fn stream(&self, id: u32) -> Stream {
        Stream::new(id, self.plugin.clone())
    }
}
