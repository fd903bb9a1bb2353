//! Small modules that the host's own tests run.

#![allow(dead_code)] // Each test uses its own part.

use std::sync::OnceLock;

use tollgate_host::host::{
    CapturedLog, Dialect, HeaderMap, Log, Module, Process, ProcessBuilder, StreamId, StreamInfo, Vm,
};

/// `recorder.wat`, compiled. Its configuration is a script of 12 letters.
pub fn recorder() -> Module {
    from_wat(include_str!("recorder.wat"))
}

/// `cells.wat`, compiled.
pub fn cells() -> Module {
    from_wat(include_str!("cells.wat"))
}

/// The filter itself, built and compiled once.
pub fn filter() -> Module {
    static FILTER: OnceLock<Module> = OnceLock::new();
    FILTER.get_or_init(|| tollgate_host::module::load(&[]).expect("the filter builds and loads")).clone()
}

pub fn from_wat(text: &str) -> Module {
    Module::from_bytes(&wat::parse_str(text).expect("the test's module is right"))
        .expect("it is a proxy-wasm module")
}

/// A VM of the recorder, and what it logs.
pub struct Recorder {
    pub process: Process,
    pub vm: Vm,
    pub log: CapturedLog,
}

impl Recorder {
    /// On Envoy.
    pub fn new(script: &str) -> Recorder {
        Recorder::with(script, |builder| builder)
    }

    pub fn on(dialect: Dialect, script: &str) -> Recorder {
        Recorder::with(script, |builder| builder.dialect(dialect))
    }

    pub fn with(script: &str, settings: impl FnOnce(ProcessBuilder) -> ProcessBuilder) -> Recorder {
        let (sink, log) = Log::capture();
        let builder = settings(Process::builder(&recorder()).log(sink).cluster("etcd"));
        let process = builder.start(script.as_bytes()).expect("the recorder takes any script without `n`");
        let vm = process.worker().expect("the canary took it");
        log.clear();
        Recorder { process, vm, log }
    }

    /// A new stream.
    pub fn open(&mut self) -> StreamId {
        let id = self.vm.open(StreamInfo::default()).expect("the VM lives");
        self.log.clear();
        id
    }

    /// The lines since this was last asked, without the context's number.
    pub fn events(&self) -> Vec<String> {
        let lines = self.log.lines().into_iter().map(|line| line.text);
        self.log.clear();
        lines.map(|line| without_context(&line)).collect()
    }
}

fn without_context(line: &str) -> String {
    let mut words: Vec<&str> = line.split(' ').collect();
    if words.len() == 4 {
        words.remove(1);
    }
    words.join(" ")
}

/// The head of `POST /chat`.
pub fn post() -> HeaderMap {
    HeaderMap::from([(":method", "POST"), (":path", "/chat"), (":authority", "gateway"), (":scheme", "http")])
}

/// The head of a response.
pub fn ok() -> HeaderMap {
    HeaderMap::from([(":status", "200"), ("content-type", "text/plain")])
}
