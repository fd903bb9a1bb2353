//! The core without a host: the cost of the decision itself.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Instant;

use serde_json::Value;
use tollgate_core::admission::acquire;
use tollgate_core::config::{ConfigLoader, GatewayConfig};
use tollgate_core::counters::{Cas, HostStatus, SharedData, SharedDataKind, SharedDataStore, SharedValue};
use tollgate_core::exchange::{Action, Exchange};
use tollgate_core::http::headers::Headers;
use tollgate_core::time::Now;

use crate::piece::Piece;
use crate::world;

const BATCH: u32 = 256;

/// The shared data of one thread.
#[derive(Debug, Default)]
struct Records(HashMap<String, (Vec<u8>, u32)>);

impl SharedData for &mut Records {
    fn get(&mut self, name: &str) -> Result<SharedValue, HostStatus> {
        Ok(match self.0.get(name) {
            Some((bytes, version)) => SharedValue { bytes: bytes.clone(), version: Some(*version) },
            None => SharedValue { bytes: Vec::new(), version: None },
        })
    }

    fn set(&mut self, name: &str, bytes: &[u8], _: u32) -> Result<Cas, HostStatus> {
        match self.0.get_mut(name) {
            Some((old, version)) => {
                old.clear();
                old.extend_from_slice(bytes);
                *version += 1;
            }
            None => drop(self.0.insert(name.to_owned(), (bytes.to_vec(), 1))),
        }
        Ok(Cas::Stored)
    }
}

/// Loads a gateway configuration.
///
/// # Panics
/// If it has errors.
pub fn load(document: &str) -> GatewayConfig {
    let mut loader = ConfigLoader::default();
    // In the filter's chunk size.
    document.as_bytes().chunks(64 * 1024).for_each(|piece| loader.push(piece));
    loader.finish().unwrap_or_else(|findings| panic!("{findings:?}")).0
}

/// Creates a bench of the request headers, from their arrival to the decision.
///
/// # Panics
/// If the request is rejected.
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
            let step = exchange.request_headers(&Headers::new(&fields), true, now.timestamp(), &mut |_| ());
            let Action::Admit(charges) = step else { panic!("{step:?}") };
            let mut cells = SharedDataStore::new(&mut records, SharedDataKind::CompareAndSwap);
            let (step, _) = exchange.admitted(acquire(&mut cells, charges, now));
            assert!(matches!(step, Action::Forward(_)), "{step:?}");
        }
        began.elapsed()
    })
}
