//! Contention: many VMs that write the same counters.

use std::thread;
use std::time::Instant;

use serde_json::Value;
use tollgate_host::proxy_wasm::Vm;

use crate::piece::Piece;
use crate::way::{self, Call};

/// Requests of each VM in one batch.
const EACH: u32 = 500;

/// Creates a bench of this number of VMs, each on its own thread, with the requests of one key.
///
/// # Panics
/// If a VM does not start.
pub fn piece(gateway: &Value, vms: u32) -> Piece {
    let process = way::process(way::filter(), gateway);
    let mut workers: Vec<Vm> = (0..vms).map(|_| way::vm(&process)).collect();
    let call = Call::bodyless();
    Piece::new(format!("{vms} VMs on one key"), vms * EACH, move || {
        let began = Instant::now();
        thread::scope(|scope| {
            for vm in &mut workers {
                let call = &call;
                scope.spawn(move || (0..EACH).for_each(|_| call.once(vm)));
            }
        });
        began.elapsed()
    })
}
