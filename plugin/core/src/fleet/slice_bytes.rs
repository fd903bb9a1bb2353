//! The bytes of a slice record.
//!
//! ```text
//! header  "TGs" version:u8  0:u32  fingerprint:u64     as in a counter record
//! rest    gateway, blocks, pending calls: variable-length numbers
//! ```

use alloc::vec::Vec;

use super::bytes::{Reader, put, put_signed};
use super::clock::FleetTime;
use super::member::GatewayId;
use super::row::{Entry, put_id, read_id};
use super::sizing::Demand;
use super::slice::{Direct, Grade, Known, Nothing, Pending, PendingBlock, Slice, SliceBlock};
use super::term::Term;
use crate::counters::{StoreError, UnavailableError};

/// The first bytes of a slice record.
pub const SLICE_MAGIC: [u8; 4] = *b"TGs\x01";
const HEADER: usize = 16;

impl Slice {
    /// Returns the bytes to store under a name with this fingerprint.
    pub fn to_bytes(&self, fingerprint: u64) -> Vec<u8> {
        let Slice { gateway, blocks, pending } = self;
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&SLICE_MAGIC);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&fingerprint.to_le_bytes());
        put(&mut bytes, gateway.0);
        put(&mut bytes, blocks.len() as u128);
        blocks.iter().for_each(|block| put_block(&mut bytes, block));
        put(&mut bytes, pending.len() as u128);
        pending.iter().for_each(|pending| put_pending(&mut bytes, pending));
        bytes
    }

    /// Opens a stored record; empty bytes begin a new one, of this gateway.
    ///
    /// # Errors
    /// [`UnavailableError::Foreign`] for a record of another name, [`UnavailableError::Format`] for another format.
    pub fn open(bytes: &[u8], fingerprint: u64, gateway: GatewayId) -> Result<Slice, StoreError> {
        if bytes.is_empty() {
            return Ok(Slice::new(gateway));
        }
        let header = bytes.split_first_chunk::<HEADER>();
        let header = header.filter(|(header, _)| header.starts_with(&SLICE_MAGIC));
        let Some((header, rest)) = header else {
            return Err(StoreError::Unavailable(UnavailableError::Format));
        };
        if header.last_chunk() != Some(&fingerprint.to_le_bytes()) {
            return Err(StoreError::Unavailable(UnavailableError::Foreign));
        }
        read(Reader::new(rest)).ok_or(StoreError::Unavailable(UnavailableError::Format))
    }
}

fn put_block(bytes: &mut Vec<u8>, block: &SliceBlock) {
    let SliceBlock { id, term, limit, free, entries, in_flight, known, nothing, demand } = block;
    put_id(bytes, *id);
    put(bytes, u128::from(term.code()));
    put(bytes, *limit);
    put(bytes, *free);
    put_entries(bytes, entries);
    put(bytes, *in_flight);
    let Known { used, leased, at } = *known;
    let Nothing { amount, limit, until } = *nothing;
    let Demand { recent, last, typical } = *demand;
    let [at, until, last] = [at, until, last].map(|time| u128::from(time.0));
    for number in [used, leased, at, amount, limit, until, recent, last, typical] {
        put(bytes, number);
    }
}

fn put_entries(bytes: &mut Vec<u8>, entries: &[Entry]) {
    put(bytes, entries.len() as u128);
    for Entry { slot, charged, delta, estimated } in entries {
        put(bytes, u128::from(*slot));
        put(bytes, *charged);
        put_signed(bytes, *delta);
        put_signed(bytes, *estimated);
    }
}

fn put_pending(bytes: &mut Vec<u8>, pending: &Pending) {
    let Pending { gateway, lane, number, base, wall, monotonic, blocks } = pending;
    put(bytes, gateway.0);
    for number in [*lane, *number, *base, *wall, *monotonic] {
        put(bytes, u128::from(number));
    }
    put(bytes, blocks.len() as u128);
    for PendingBlock { id, term, entries, returned, direct, granted, grades: [before, after] } in blocks {
        put_id(bytes, *id);
        put(bytes, u128::from(term.code()));
        put_entries(bytes, entries);
        put(bytes, *returned);
        put(bytes, direct.len() as u128);
        for Direct { slot, amount } in direct {
            put(bytes, u128::from(*slot));
            put(bytes, *amount);
        }
        put(bytes, *granted);
        put(bytes, before.0);
        put(bytes, after.0);
    }
}

fn read(mut reader: Reader<'_>) -> Option<Slice> {
    let gateway = GatewayId(reader.number()?);
    let blocks = reader.list(read_block)?;
    let pending = reader.list(read_pending)?;
    reader.end()?;
    Some(Slice { gateway, blocks, pending })
}

fn read_block(reader: &mut Reader<'_>) -> Option<SliceBlock> {
    Some(SliceBlock {
        id: read_id(reader)?,
        term: Term::from_code(reader.long()?)?,
        limit: reader.number()?,
        free: reader.number()?,
        entries: reader.list(read_entry)?,
        in_flight: reader.number()?,
        known: Known { used: reader.number()?, leased: reader.number()?, at: FleetTime(reader.long()?) },
        nothing: Nothing {
            amount: reader.number()?,
            limit: reader.number()?,
            until: FleetTime(reader.long()?),
        },
        demand: Demand {
            recent: reader.number()?,
            last: FleetTime(reader.long()?),
            typical: reader.number()?,
        },
    })
}

fn read_entry(reader: &mut Reader<'_>) -> Option<Entry> {
    Some(Entry {
        slot: reader.long()?,
        charged: reader.number()?,
        delta: reader.signed()?,
        estimated: reader.signed()?,
    })
}

fn read_pending(reader: &mut Reader<'_>) -> Option<Pending> {
    Some(Pending {
        gateway: GatewayId(reader.number()?),
        lane: reader.long()?,
        number: reader.long()?,
        base: reader.long()?,
        wall: reader.long()?,
        monotonic: reader.long()?,
        blocks: reader.list(|reader| {
            Some(PendingBlock {
                id: read_id(reader)?,
                term: Term::from_code(reader.long()?)?,
                entries: reader.list(read_entry)?,
                returned: reader.number()?,
                direct: reader
                    .list(|reader| Some(Direct { slot: reader.long()?, amount: reader.number()? }))?,
                granted: reader.number()?,
                grades: [Grade(reader.number()?), Grade(reader.number()?)],
            })
        })?,
    })
}
