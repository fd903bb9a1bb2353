//! A process: one module, the state that its VMs share, and the current configuration.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use wasmtime::InstancePre;

use super::calls;
use super::state::VmState;
use super::{Clock, Dialect, Faults, Log, LogLevel, Metrics, Module, SharedData, StartError, Vm};

/// The options of a process; [`Process::builder`] starts from Envoy's defaults.
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
    /// Environment variables that modules see.
    pub(crate) variables: Vec<(String, String)>,
    /// The seed of `random_get`; `None` for the system's randomness.
    pub(crate) random_seed: Option<u64>,
}

/// The state that all VMs of a process share.
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

/// Options of a [`Process`].
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
    /// Returns Envoy's defaults, with the machine's clock and a log to standard error.
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
                variables: Vec::new(),
                random_seed: None,
            },
            data: None,
            clock: Clock::system(),
            log: Log::stderr(),
            metrics: Metrics::default(),
            faults: Faults::default(),
        }
    }

    /// Changes the configuration of the process. A temporary canary VM must accept it first, as in Envoy.
    /// Running VMs switch with [`Vm::reconfigure`].
    ///
    /// # Errors
    /// If the canary rejects it or traps; the old configuration stays.
    pub fn configure(&self, configuration: &[u8]) -> Result<(), StartError> {
        let configuration: Arc<[u8]> = configuration.into();
        drop(Vm::start(Arc::clone(&self.shared), None, Arc::clone(&configuration))?);
        *self.shared.configuration.lock().unwrap_or_else(PoisonError::into_inner) = configuration;
        Ok(())
    }

    /// Starts another VM with the current configuration. Each may run on its own thread.
    ///
    /// # Errors
    /// If the module traps or rejects the configuration.
    pub fn worker(&self) -> Result<Vm, StartError> {
        let index = self.shared.workers.fetch_add(1, Ordering::Relaxed);
        Vm::start(Arc::clone(&self.shared), Some(index), self.shared.configuration())
    }

    /// Returns the shared data.
    pub fn shared_data(&self) -> &SharedData {
        &self.shared.data
    }

    /// Returns the module's metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Returns the injected faults.
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// Returns the clock of the VMs.
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// Returns the emulated dialect.
    pub fn dialect(&self) -> Dialect {
        self.shared.options.dialect
    }
}

impl ProcessBuilder {
    /// Sets the dialect to emulate.
    pub fn dialect(mut self, dialect: Dialect) -> Self {
        self.options.dialect = dialect;
        self
    }

    /// Sets the shared data and its dialect, to share it with another process or to keep it over a restart.
    pub fn shared_data(mut self, data: SharedData) -> Self {
        self.options.dialect = data.dialect();
        self.data = Some(data);
        self
    }

    /// Sets the source of time.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Sets the destination of log lines.
    pub fn log(mut self, log: Log) -> Self {
        self.log = log;
        self
    }

    /// Sets the least severe level that is logged, which is also the result of `proxy_get_log_level`. The
    /// default is `Info`.
    pub fn log_level(mut self, level: LogLevel) -> Self {
        self.options.log_level = level;
        self
    }

    /// Sets the largest buffered body, in bytes; beyond it the host answers 413 (500 for a response). The
    /// default is 1 MiB, as in Envoy.
    pub fn buffer_limit(mut self, bytes: usize) -> Self {
        self.options.buffer_limit = bytes;
        self
    }

    /// Shows an environment variable to the module. By default it sees none.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.options.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the memory limit of one VM, in bytes. The default is 1 GiB, as in Envoy; CDN plugins have 16 MiB.
    pub fn memory_limit(mut self, bytes: usize) -> Self {
        self.options.memory_limit = bytes;
        self
    }

    /// Emulates Envoy without `allow_on_headers_stop_iteration`: while a headers callback pauses, body and
    /// trailers callbacks are held back.
    pub fn stop_all_on_paused_headers(mut self) -> Self {
        self.options.stop_all_on_paused_headers = true;
        self
    }

    /// Sets the configuration that `on_vm_start` can read.
    pub fn vm_configuration(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.options.vm_configuration = bytes.into();
        self
    }

    /// Sets the properties `plugin_name`, `plugin_root_id` and `plugin_vm_id`.
    pub fn names(mut self, plugin: &str, root_id: &str, vm_id: &str) -> Self {
        self.options.plugin_name = plugin.to_owned();
        self.options.root_id = root_id.to_owned();
        self.options.vm_id = vm_id.to_owned();
        self
    }

    /// Adds a cluster that HTTP callouts may name; any other is `BadArgument` in the call.
    pub fn cluster(mut self, name: &str) -> Self {
        self.options.clusters.insert(name.to_owned());
        self
    }

    /// Sets the seed of `random_get`, so that a run can be repeated. Its output is predictable: for tests
    /// only. The default is the system's own randomness.
    pub fn random_seed(mut self, seed: u64) -> Self {
        self.options.random_seed = Some(seed);
        self
    }

    /// Starts the process. The configuration must pass the canary.
    ///
    /// # Errors
    /// If the module cannot run on this dialect, or rejects the configuration.
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
