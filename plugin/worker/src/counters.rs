//! The counters of an organization, in the storage of its Durable Object.
//!
//! Every function must be called in one synchronous transaction, which is rolled back if it throws: so there
//! are no conflicts, and nothing to undo here.

use serde::Serialize;
use tollgate_core::admission::{self, ActualUsage, AdmissionError, AdmissionRequest, NotAdmitted};
use tollgate_core::counters::{Cas, CounterStore, RecordKey, StoreError, UnavailableError};
use tsify::{Ts, Tsify};
use wasm_bindgen::prelude::*;

use crate::exchange::at;
use crate::wire::{self, Outcome, Reserved};

#[wasm_bindgen(typescript_custom_section)]
const STORE: &str = "
/** The records of one organization. */
export interface Store {
    read(name: string): Uint8Array | undefined;
    write(name: string, record: Uint8Array): void;
}
";

#[wasm_bindgen]
extern "C" {
    /// The records of one organization.
    #[wasm_bindgen(typescript_type = "Store")]
    #[derive(Debug)]
    pub type Store;

    #[wasm_bindgen(method, catch)]
    fn read(this: &Store, name: &str) -> Result<Option<Vec<u8>>, JsValue>;

    #[wasm_bindgen(method, catch)]
    fn write(this: &Store, name: &str, record: Vec<u8>) -> Result<(), JsValue>;
}

/// The result of an admission.
#[derive(Debug, Serialize, Tsify)]
pub struct Admission {
    /// The outcome, for the worker.
    #[serde(with = "serde_bytes")]
    #[tsify(type = "Uint8Array")]
    pub outcome: Vec<u8>,
    /// The reservation to store until it is settled or released; absent if nothing was charged.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[tsify(type = "Uint8Array")]
    pub reserved: Option<serde_bytes::ByteBuf>,
}

struct StoredCells<'a>(&'a Store);

impl CounterStore for StoredCells<'_> {
    type Version = ();

    fn read(&mut self, name: &RecordKey) -> Result<(Vec<u8>, ()), StoreError> {
        let record = self.0.read(name.as_str()).map_err(unreachable_store)?;
        Ok((record.unwrap_or_default(), ()))
    }

    fn compare_and_swap(&mut self, name: &RecordKey, (): (), bytes: &[u8]) -> Result<Cas, StoreError> {
        self.0.write(name.as_str(), bytes.to_vec()).map_err(unreachable_store)?;
        Ok(Cas::Stored)
    }
}

fn unreachable_store(_: JsValue) -> StoreError {
    StoreError::Unavailable(UnavailableError::Unreachable)
}

/// Charges a request to all of its principals, or to none.
///
/// # Errors
/// Throws if the charges are another build's, or a record cannot be read or written.
#[wasm_bindgen]
pub fn admit(store: &Store, charges: &[u8], now: f64) -> Result<Ts<Admission>, JsError> {
    let charges: AdmissionRequest = wire::decode(charges)?;
    let amount = charges.reservation;
    let (outcome, reserved) = match admission::acquire(&mut StoredCells(store), charges, at(now)) {
        Ok(admitted) => {
            let reserved = Reserved { receipt: admitted.receipt, amount };
            // Also without a settlement: if the worker does not receive the result, the request is released.
            let reserved = (!reserved.receipt.is_empty()).then(|| wire::encode(&reserved)).transpose()?;
            (Outcome::Admitted(admitted.status), reserved)
        }
        Err(NotAdmitted { error: AdmissionError::Denied(denial), status: standing, .. }) => {
            (Outcome::Denied(*denial, standing), None)
        }
        Err(NotAdmitted { error: AdmissionError::Store(error), .. }) => return Err(trouble(error)),
    };
    let reserved = reserved.map(serde_bytes::ByteBuf::from);
    Ok(Admission { outcome: wire::encode(&outcome)?, reserved }.into_ts()?)
}

/// Settles a reservation to the actual usage.
///
/// # Errors
/// As [`admit`].
#[wasm_bindgen]
pub fn settle(store: &Store, reserved: &[u8], actual: &[u8]) -> Result<(), JsError> {
    let reserved: Reserved = wire::decode(reserved)?;
    settled(store, reserved, wire::decode(actual)?)
}

/// Settles a reservation without a report at its full amount.
///
/// # Errors
/// As [`admit`].
#[wasm_bindgen(js_name = settleOrphan)]
pub fn settle_orphan(store: &Store, reserved: &[u8]) -> Result<(), JsError> {
    let reserved: Reserved = wire::decode(reserved)?;
    let actual = ActualUsage { tokens: reserved.amount.tokens, cost: reserved.amount.cost, estimated: true };
    settled(store, reserved, actual)
}

/// Releases a reservation whose request was never forwarded.
///
/// # Errors
/// As [`admit`].
#[wasm_bindgen]
pub fn release(store: &Store, reserved: &[u8]) -> Result<(), JsError> {
    let reserved: Reserved = wire::decode(reserved)?;
    all_done(&admission::release(&mut StoredCells(store), reserved.receipt))
}

fn settled(store: &Store, reserved: Reserved, actual: ActualUsage) -> Result<(), JsError> {
    all_done(&admission::settle(&mut StoredCells(store), reserved.receipt, actual))
}

fn all_done(unsettled: &[admission::Correction]) -> Result<(), JsError> {
    if unsettled.is_empty() {
        Ok(())
    } else {
        Err(trouble(StoreError::Unavailable(UnavailableError::Unreachable)))
    }
}

fn trouble(error: StoreError) -> JsError {
    JsError::new(match error {
        StoreError::Unavailable(UnavailableError::Format) => {
            "a record is of a newer format than this build reads"
        }
        StoreError::Unavailable(UnavailableError::Foreign) => "a record belongs to another principal",
        _ => "a record cannot be read or written",
    })
}
