//! Seeded interleaving: VMs on their own threads, of which one runs at a time. At each host call that another
//! VM could notice, the seed chooses the VM that continues.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::{HostCall, Vm};

/// One step of a schedule: a VM and its next host call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Step {
    /// The index of the VM in the given slice.
    pub vm: usize,
    /// The host call that it may enter.
    pub call: HostCall,
}

/// The result of a schedule.
#[derive(Debug)]
pub struct Interleaving<T> {
    /// The results of each VM's work, in the order of the VMs.
    pub results: Vec<T>,
    /// The host calls in the order of their execution. The same seed gives the same trace.
    pub trace: Vec<Step>,
}

/// Runs `work` on every VM at once, one thread each, in the order that `seed` determines.
///
/// # Panics
/// If work panics. The message contains the seed, with which the run can be repeated.
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

/// Pins the threads to one core: only one runs at a time, and a switch within a core takes a sixth of the
/// time of waking another one.
#[cfg(target_os = "linux")]
fn stay_on(core: usize) {
    let mut cores = rustix::thread::CpuSet::new();
    cores.set(core);
    // If pinning is not permitted, schedules are the same, only slower.
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

/// A VM's handle of the gate.
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

    /// Chooses the next thread with the seed, and wakes it unless it is the caller.
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
    /// Waits until all threads have started and this one is chosen.
    fn begin(&self) {
        let mut state = self.gate.lock();
        state.arrived += 1;
        if state.arrived == self.gate.wake.len() {
            self.gate.pass_on(&mut state, self.index);
        }
        drop(self.wait(state));
    }

    /// Lets another VM run before a host call, if the seed chooses it.
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

/// Returns the next number of SplitMix64 (Steele, Lea, Flood 2014). Any seed is good, also 0.
pub(crate) fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
