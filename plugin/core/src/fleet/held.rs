//! `held/<gateway>/<principal>`: what one gateway holds of a principal's row, and the calls of it that were applied.

use alloc::vec::Vec;

use super::bytes::{Reader, put};
use super::row::{put_id, read_id};
use crate::counters::CounterId;

/// A worker of a gateway: a random number that its VM draws at its start.
pub type Lane = u64;

/// The amounts that a gateway holds of one counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HeldBlock {
    /// The counter.
    pub id: CounterId,
    /// The amount that was granted, and neither reported nor given back.
    pub amount: u128,
    /// The part of the reported spends that unfinished calls reserve.
    pub in_flight: u128,
}

/// The amounts that one gateway holds of one row. It is written only together with the row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Held {
    /// True once the gateway was found dead and its amounts were moved. The record stays so that the gateway, if it comes
    /// back, learns the outcome of its last calls.
    pub retired: bool,
    /// The number of the last call of each worker that was applied.
    pub lanes: Vec<(Lane, u64)>,
    /// The amounts by counter.
    pub blocks: Vec<HeldBlock>,
}

const FORMAT: u8 = 1;

impl Held {
    /// The amounts of a counter.
    pub fn block(&self, id: CounterId) -> HeldBlock {
        let block = self.blocks.iter().find(|block| block.id == id).copied();
        block.unwrap_or(HeldBlock { id, amount: 0, in_flight: 0 })
    }

    /// Replaces the amounts of a counter.
    pub(super) fn put(&mut self, new: HeldBlock) {
        self.blocks.retain(|block| block.id != new.id);
        if new.amount > 0 || new.in_flight > 0 {
            self.blocks.push(new);
        }
    }

    /// True if the worker's call of this number was applied.
    pub fn is_applied(&self, lane: Lane, number: u64) -> bool {
        self.lanes.iter().any(|(id, last)| *id == lane && *last >= number)
    }

    /// True if the record can be deleted: its gateway holds nothing, and awaits the outcome of no call.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Returns the bytes to store.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Held { retired, lanes, blocks } = self;
        let mut bytes = Vec::from([FORMAT, u8::from(*retired)]);
        put(&mut bytes, lanes.len() as u128);
        for (lane, number) in lanes {
            put(&mut bytes, u128::from(*lane));
            put(&mut bytes, u128::from(*number));
        }
        put(&mut bytes, blocks.len() as u128);
        for HeldBlock { id, amount, in_flight } in blocks {
            put_id(&mut bytes, *id);
            put(&mut bytes, *amount);
            put(&mut bytes, *in_flight);
        }
        bytes
    }

    /// Reads the bytes; empty bytes are an empty record. `None` for another format.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let Some((format, rest)) = bytes.split_first() else { return Some(Held::default()) };
        let mut reader = Reader::new(rest);
        let retired = match reader.long()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let lanes = reader.list(|reader| Some((reader.long()?, reader.long()?)))?;
        let blocks = reader.list(|reader| {
            Some(HeldBlock { id: read_id(reader)?, amount: reader.number()?, in_flight: reader.number()? })
        })?;
        reader.end()?;
        (*format == FORMAT).then_some(Held { retired, lanes, blocks })
    }
}
