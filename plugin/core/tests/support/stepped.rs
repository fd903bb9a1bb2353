//! VMs that pause, trap or continue at any single host call.

use std::sync::mpsc::{Receiver, Sender, channel};

use tollgate_core::counters::{Cas, HostStatus, SharedData, SharedValue};

use super::support::Map;

/// A VM on its own thread that makes one host call per [`Stepped::step`]. Dropping it is a trap: no further call of it
/// reaches the store.
pub struct Stepped<T> {
    events: Receiver<Event<T>>,
    answers: Sender<Answer>,
    next: Option<Event<T>>,
}

enum Event<T> {
    Get(String),
    Set(String, Vec<u8>, u32),
    Done(T),
}

enum Answer {
    Entry(SharedValue),
    Swap(Cas),
}

/// The shared data of such a VM.
pub struct Remote<T> {
    events: Sender<Event<T>>,
    answers: Receiver<Answer>,
}

const GONE: HostStatus = HostStatus(10);

impl<T> SharedData for Remote<T> {
    fn get(&mut self, name: &str) -> Result<SharedValue, HostStatus> {
        self.events.send(Event::Get(name.to_owned())).map_err(|_| GONE)?;
        match self.answers.recv() {
            Ok(Answer::Entry(entry)) => Ok(entry),
            _ => Err(GONE),
        }
    }
    fn set(&mut self, name: &str, bytes: &[u8], version: u32) -> Result<Cas, HostStatus> {
        self.events.send(Event::Set(name.to_owned(), bytes.to_vec(), version)).map_err(|_| GONE)?;
        match self.answers.recv() {
            Ok(Answer::Swap(swap)) => Ok(swap),
            _ => Err(GONE),
        }
    }
}

impl<T: Send + 'static> Stepped<T> {
    /// Starts a VM, which stops before its first call.
    pub fn start(work: impl FnOnce(Remote<T>) -> T + Send + 'static) -> Self {
        let (to_here, events) = channel();
        let (answers, to_there) = channel();
        std::thread::spawn(move || {
            let result = work(Remote { events: to_here.clone(), answers: to_there });
            // A trapped VM has no receiver.
            let _ = to_here.send(Event::Done(result));
        });
        let next = events.recv().ok();
        Stepped { events, answers, next }
    }

    /// Makes one call and waits until the VM is about to make the next; returns the result once it is done.
    pub fn step(&mut self, map: &mut Map) -> Option<T> {
        let answer = match self.next.take().expect("it is not over") {
            Event::Done(result) => return Some(result),
            Event::Get(name) => Answer::Entry(map.get(&name).unwrap()),
            Event::Set(name, bytes, version) => Answer::Swap(map.set(&name, &bytes, version).unwrap()),
        };
        self.answers.send(answer).unwrap();
        self.next = self.events.recv().ok();
        None
    }

    /// Makes that many calls, or as many as are left.
    #[allow(dead_code, reason = "not every test binary pauses at a place")]
    pub fn steps(&mut self, map: &mut Map, calls: usize) -> Option<T> {
        (0..calls).find_map(|_| self.step(map))
    }

    /// Makes all calls that are left.
    #[allow(dead_code, reason = "not every test binary pauses at a place")]
    pub fn finish(&mut self, map: &mut Map) -> T {
        loop {
            if let Some(result) = self.step(map) {
                return result;
            }
        }
    }
}
