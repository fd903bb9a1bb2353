//! A stored record is read or refused, and what is read can be counted in.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_core::counters::{CounterRecord, RecordKey};
use tollgate_core::money::{Period, Pico};
use tollgate_core::quota::Window;
use tollgate_core::time::Now;

fuzz_target!(|input: (u64, u64, u64, &[u8])| {
    let (wall, monotonic, target, rest) = input;
    let now = Now { wall, monotonic };
    let name = RecordKey::new("t/", &["team", "blue"]);
    // The head of a record that is this principal's, before what is tried.
    let head = CounterRecord::open(Vec::new(), name.fingerprint()).map(|cell| cell.as_bytes().to_vec());
    for record in [rest.to_vec(), [head.unwrap_or_default().as_slice(), rest].concat()] {
        let Ok(mut cell) = CounterRecord::open(record, name.fingerprint()) else { continue };
        for window in Window::ALL {
            let Some(mut counter) = cell.counter(window, target, now) else {
                panic!("{window:?} has no room")
            };
            counter.charge(target);
            counter.correct(counter.slot(), target, wall);
            let _ = (counter.wait(now, 1, target), counter.until_empty(now));
        }
        let Some((mut purse, stored)) = cell.spend_mut() else { panic!("a budget has no room") };
        purse.advance(Period::Week, wall);
        purse.charge(Pico(target.into()));
        purse.correct(purse.number(), Pico(target.into()), Pico(wall.into()), true);
        purse.store(stored);
        assert_eq!(cell.spend(), purse);
        assert!(CounterRecord::open(cell.as_bytes().to_vec(), name.fingerprint()).is_ok());
    }
});
