//! The core without a host: what the decision itself costs.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Instant;

use serde_json::Value;
use tollgate_core::admission::admit;
use tollgate_core::config::{Gateway, Loader};
use tollgate_core::counters::{Entry, HostStatus, SharedCells, SharedData, SharedDataKind, Swap};
use tollgate_core::exchange::{Exchange, Step};
use tollgate_core::http::headers::Head;
use tollgate_core::time::Now;

use crate::piece::Piece;
use crate::world;

const BATCH: u32 = 256;

/// Shared data of one thread.
#[derive(Debug, Default)]
struct Records(HashMap<String, (Vec<u8>, u32)>);

impl SharedData for &mut Records {
    fn get(&mut self, name: &str) -> Result<Entry, HostStatus> {
        Ok(match self.0.get(name) {
            Some((bytes, version)) => Entry { bytes: bytes.clone(), version: Some(*version) },
            None => Entry { bytes: Vec::new(), version: None },
        })
    }

    fn set(&mut self, name: &str, bytes: &[u8], _: u32) -> Result<Swap, HostStatus> {
        match self.0.get_mut(name) {
            Some((old, version)) => {
                old.clear();
                old.extend_from_slice(bytes);
                *version += 1;
            }
            None => drop(self.0.insert(name.to_owned(), (bytes.to_vec(), 1))),
        }
        Ok(Swap::Done)
    }
}

/// A gateway from its document.
///
/// # Panics
/// If it has errors.
pub fn load(document: &str) -> Gateway {
    let mut loader = Loader::default();
    // As the filter reads it.
    document.as_bytes().chunks(64 * 1024).for_each(|piece| loader.push(piece));
    loader.finish().unwrap_or_else(|findings| panic!("{findings:?}")).0
}

/// The head's way from its coming to the decision.
///
/// # Panics
/// If the request is refused.
pub fn head_path(gateway: &Value) -> Piece {
    let gateway = Rc::new(load(&gateway.to_string()));
    let mut records = Records::default();
    let head = world::head("/reports", None);
    Piece::new("head path, native", BATCH, move || {
        let fields: Vec<(&[u8], &[u8])> = head.iter().collect();
        let now = Now { wall: 1_790_000_000_000_000_000, monotonic: 3_600_000_000_000 };
        let began = Instant::now();
        for _ in 0..BATCH {
            let mut exchange = Exchange::new(Rc::clone(&gateway));
            let step = exchange.head(&Head::new(&fields), true, now.timestamp(), &mut |_| ());
            let Step::Admit(charges) = step else { panic!("{step:?}") };
            let mut cells = SharedCells::new(&mut records, SharedDataKind::CompareAndSwap);
            let (step, _) = exchange.admitted(admit(&mut cells, charges, now));
            assert!(matches!(step, Step::Forward(_)), "{step:?}");
        }
        began.elapsed()
    })
}
