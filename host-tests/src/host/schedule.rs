//! Seeded interleaving: VMs on their own threads, one of which runs at a time, and at each host call that another VM could
//! notice the seed says which one goes on.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::{HostCall, Vm};

/// One step of a schedule: which VM went on with which call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Step {
    /// Index of the VM in the slice that was given.
    pub vm: usize,
    /// The host call that it was let into.
    pub call: HostCall,
}

/// What a schedule did.
#[derive(Debug)]
pub struct Interleaving<T> {
    /// What each VM's work returned, in the order of the VMs.
    pub results: Vec<T>,
    /// The host calls in the order in which they happened. The same seed gives the same trace.
    pub trace: Vec<Step>,
}

/// Runs `work` on every VM at once, one thread each, in the one order that `seed` stands for.
///
/// # Panics
/// When work panics. The message names the seed, with which the run can be repeated.
pub fn interleave<T: Send>(
    seed: u64,
    vms: &mut [Vm],
    work: impl Fn(usize, &mut Vm) -> T + Sync,
) -> Interleaving<T> {
    let gate = Arc::new(Gate::new(seed, vms.len()));
    let core = current_core();
    let work = &work;
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let mut threads = Vec::with_capacity(vms.len());
        for (index, vm) in vms.iter_mut().enumerate() {
            let turn = Turn { gate: Arc::clone(&gate), index };
            threads.push(scope.spawn(move || {
                stay_on(core);
                turn.begin();
                vm.set_turn(Some(turn.clone()));
                let outcome = catch_unwind(AssertUnwindSafe(|| work(index, vm)));
                vm.set_turn(None);
                turn.finish();
                outcome
            }));
        }
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| Err(panic))).collect()
    });
    let trace = std::mem::take(&mut gate.lock().trace);
    let mut results = Vec::with_capacity(outcomes.len());
    for outcome in outcomes {
        match outcome {
            Ok(result) => results.push(result),
            Err(panic) => {
                eprintln!("the schedule with seed {seed} panicked after {} steps", trace.len());
                let text = panic.downcast_ref::<String>().map(String::as_str);
                match text.or(panic.downcast_ref::<&str>().copied()) {
                    Some(text) => panic!("seed {seed}: {text}"),
                    None => resume_unwind(panic),
                }
            }
        }
    }
    Interleaving { results, trace }
}

/// Only one thread runs at a time, and handing the turn over within a core takes a sixth of the time that waking another
/// core does.
#[cfg(target_os = "linux")]
fn stay_on(core: usize) {
    let mut cores = rustix::thread::CpuSet::new();
    cores.set(core);
    // Where that is not allowed, schedules are the same, only slower.
    let _ = rustix::thread::sched_setaffinity(None, &cores);
}

#[cfg(target_os = "linux")]
fn current_core() -> usize {
    rustix::thread::sched_getcpu()
}

#[cfg(not(target_os = "linux"))]
fn stay_on(_core: usize) {}

#[cfg(not(target_os = "linux"))]
fn current_core() -> usize {
    0
}

/// A VM's place at the gate.
#[derive(Debug, Clone)]
pub(crate) struct Turn {
    gate: Arc<Gate>,
    index: usize,
}

#[derive(Debug)]
struct Gate {
    state: Mutex<GateState>,
    /// One for each thread, so that a switch wakes one thread and not all.
    wake: Vec<Condvar>,
}

#[derive(Debug)]
struct GateState {
    random: u64,
    /// The threads that have not finished.
    waiting: Vec<usize>,
    running: Option<usize>,
    arrived: usize,
    trace: Vec<Step>,
}

impl Gate {
    fn new(seed: u64, threads: usize) -> Gate {
        let state = GateState {
            random: seed,
            waiting: (0..threads).collect(),
            running: None,
            arrived: 0,
            trace: Vec::new(),
        };
        Gate { state: Mutex::new(state), wake: (0..threads).map(|_| Condvar::new()).collect() }
    }

    fn lock(&self) -> MutexGuard<'_, GateState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the seed choose, and wakes the chosen one if it is not the caller.
    fn pass_on(&self, state: &mut GateState, caller: usize) {
        if state.waiting.is_empty() {
            state.running = None;
            return;
        }
        let choice = split_mix(&mut state.random) as usize % state.waiting.len();
        let next = state.waiting[choice];
        state.running = Some(next);
        if next != caller {
            self.wake[next].notify_one();
        }
    }
}

impl Turn {
    /// Waits until all threads are there and this one is chosen.
    fn begin(&self) {
        let mut state = self.gate.lock();
        state.arrived += 1;
        if state.arrived == self.gate.wake.len() {
            self.gate.pass_on(&mut state, self.index);
        }
        drop(self.wait(state));
    }

    /// At a host call: maybe another VM goes first.
    pub(crate) fn yield_before(&self, call: HostCall) {
        let mut state = self.gate.lock();
        self.gate.pass_on(&mut state, self.index);
        let mut state = self.wait(state);
        state.trace.push(Step { vm: self.index, call });
    }

    fn finish(&self) {
        let mut state = self.gate.lock();
        state.waiting.retain(|thread| *thread != self.index);
        self.gate.pass_on(&mut state, self.index);
    }

    fn wait<'a>(&'a self, mut state: MutexGuard<'a, GateState>) -> MutexGuard<'a, GateState> {
        while state.running != Some(self.index) {
            state = self.gate.wake[self.index].wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): every seed is a good one, 0 too.
pub(crate) fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
