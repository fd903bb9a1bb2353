//! A process: one module, what its VMs share, and the configuration that holds.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use wasmtime::InstancePre;

use super::calls;
use super::state::VmState;
use super::{Clock, Dialect, Faults, Log, LogLevel, Metrics, Module, SharedData, StartError, Vm};

/// What a process is made with; [`Process::builder`] starts from Envoy's defaults.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) dialect: Dialect,
    pub(crate) log_level: LogLevel,
    pub(crate) buffer_limit: usize,
    pub(crate) memory_limit: usize,
    pub(crate) stop_all_on_paused_headers: bool,
    pub(crate) vm_configuration: Vec<u8>,
    pub(crate) plugin_name: String,
    pub(crate) root_id: String,
    pub(crate) vm_id: String,
    pub(crate) clusters: BTreeSet<String>,
    /// `None`: the system's own randomness.
    pub(crate) random_seed: Option<u64>,
}

/// What all VMs of a process have in common.
pub(crate) struct Shared {
    pub(crate) module: Module,
    pub(crate) instance: InstancePre<VmState>,
    pub(crate) options: Options,
    pub(crate) data: SharedData,
    pub(crate) clock: Clock,
    pub(crate) log: Log,
    pub(crate) metrics: Metrics,
    pub(crate) faults: Faults,
    configuration: Mutex<Arc<[u8]>>,
    workers: AtomicU32,
}

impl Shared {
    pub(crate) fn configuration(&self) -> Arc<[u8]> {
        Arc::clone(&self.configuration.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One proxy process. A clone is another handle.
#[derive(Clone)]
pub struct Process {
    shared: Arc<Shared>,
}

/// Settings of a [`Process`] before it starts.
#[derive(Debug, Clone)]
pub struct ProcessBuilder {
    module: Module,
    options: Options,
    data: Option<SharedData>,
    clock: Clock,
    log: Log,
    metrics: Metrics,
    faults: Faults,
}

impl Process {
    /// Settings as Envoy has them, with the machine's clock and a log to standard error.
    pub fn builder(module: &Module) -> ProcessBuilder {
        ProcessBuilder {
            module: module.clone(),
            options: Options {
                dialect: Dialect::Envoy,
                log_level: LogLevel::Info,
                buffer_limit: 1 << 20,
                memory_limit: 1 << 30,
                stop_all_on_paused_headers: false,
                vm_configuration: Vec::new(),
                plugin_name: "tollgate".to_owned(),
                root_id: "tollgate".to_owned(),
                vm_id: String::new(),
                clusters: BTreeSet::new(),
                random_seed: None,
            },
            data: None,
            clock: Clock::system(),
            log: Log::stderr(),
            metrics: Metrics::default(),
            faults: Faults::default(),
        }
    }

    /// Gives the process another configuration: a throw-away canary VM must take it first, as in Envoy.
    /// VMs that run go over to it with [`Vm::reconfigure`].
    ///
    /// # Errors
    /// Where the canary refuses it or traps; the old configuration stays.
    pub fn configure(&self, configuration: &[u8]) -> Result<(), StartError> {
        let configuration: Arc<[u8]> = configuration.into();
        drop(Vm::start(Arc::clone(&self.shared), None, Arc::clone(&configuration))?);
        *self.shared.configuration.lock().unwrap_or_else(PoisonError::into_inner) = configuration;
        Ok(())
    }

    /// Starts one more VM, with the configuration that holds now. Each may run on its own thread.
    ///
    /// # Errors
    /// Where the module traps or refuses.
    pub fn worker(&self) -> Result<Vm, StartError> {
        let index = self.shared.workers.fetch_add(1, Ordering::Relaxed);
        Vm::start(Arc::clone(&self.shared), Some(index), self.shared.configuration())
    }

    /// What the VMs keep in common between requests.
    pub fn shared_data(&self) -> &SharedData {
        &self.shared.data
    }

    /// What the module counts.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// What goes wrong on purpose.
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// The time that the VMs see.
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// Which hosts it behaves as.
    pub fn dialect(&self) -> Dialect {
        self.shared.options.dialect
    }
}

impl ProcessBuilder {
    /// Which hosts to behave as.
    pub fn dialect(mut self, dialect: Dialect) -> Self {
        self.options.dialect = dialect;
        self
    }

    /// Shares data with another process, or keeps it over a restart. Brings its dialect along.
    pub fn shared_data(mut self, data: SharedData) -> Self {
        self.options.dialect = data.dialect();
        self.data = Some(data);
        self
    }

    /// Where the time comes from.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Where log lines go.
    pub fn log(mut self, log: Log) -> Self {
        self.log = log;
        self
    }

    /// The least severe level that is logged, which `proxy_get_log_level` also tells. `Info` by default.
    pub fn log_level(mut self, level: LogLevel) -> Self {
        self.options.log_level = level;
        self
    }

    /// How much of a body is held, in bytes, before the host answers 413 (500 for a response). 1 MiB by default, as in Envoy.
    pub fn buffer_limit(mut self, bytes: usize) -> Self {
        self.options.buffer_limit = bytes;
        self
    }

    /// How large the memory of one VM may grow, in bytes. 1 GiB by default, as in Envoy; CDN plugins have 16 MiB.
    pub fn memory_limit(mut self, bytes: usize) -> Self {
        self.options.memory_limit = bytes;
        self
    }

    /// Envoy without `allow_on_headers_stop_iteration`: while a headers callback pauses, body and trailers callbacks do not come.
    pub fn stop_all_on_paused_headers(mut self) -> Self {
        self.options.stop_all_on_paused_headers = true;
        self
    }

    /// What `on_vm_start` can read.
    pub fn vm_configuration(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.options.vm_configuration = bytes.into();
        self
    }

    /// The properties `plugin_name`, `plugin_root_id` and `plugin_vm_id`.
    pub fn names(mut self, plugin: &str, root_id: &str, vm_id: &str) -> Self {
        self.options.plugin_name = plugin.to_owned();
        self.options.root_id = root_id.to_owned();
        self.options.vm_id = vm_id.to_owned();
        self
    }

    /// A target that HTTP callouts may name; any other is `BadArgument` at the call.
    pub fn cluster(mut self, name: &str) -> Self {
        self.options.clusters.insert(name.to_owned());
        self
    }

    /// What `random_get` starts from, so that a run can be repeated. Anybody can guess what it gives then: for tests alone.
    /// Without it, the system's own randomness.
    pub fn random_seed(mut self, seed: u64) -> Self {
        self.options.random_seed = Some(seed);
        self
    }

    /// Starts the process. The configuration must pass the canary.
    ///
    /// # Errors
    /// Where the module cannot run on this dialect, or refuses the configuration.
    pub fn start(self, configuration: &[u8]) -> Result<Process, StartError> {
        let instance = calls::link(&self.module)?;
        let data = self.data.unwrap_or_else(|| SharedData::new(self.options.dialect));
        let shared = Shared {
            module: self.module,
            instance,
            options: self.options,
            data,
            clock: self.clock,
            log: self.log,
            metrics: self.metrics,
            faults: self.faults,
            configuration: Mutex::new(Arc::from([])),
            workers: AtomicU32::new(0),
        };
        let process = Process { shared: Arc::new(shared) };
        process.configure(configuration)?;
        Ok(process)
    }
}
