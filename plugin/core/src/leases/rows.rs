//! The rows of principals that this VM knows, and the calls that change them.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::account::{Moment, Need, bytes_of, open};
use super::index::Index;
use super::keys::FleetKeys;
use crate::admission::HoldEntry;
use crate::counters::{Cas, CounterStore, RecordKey, StoreError, Update};
use crate::etcd::{Compare, Part, Stored, Write};
use crate::fleet::{
    Ask, CallId, Draft, Finished, Fleet, FleetTime, GatewayId, Held, Outcome, Refused, RefusedBy, Row,
};
use crate::quota::QuotaExceeded;
use crate::time::{Now, SECOND};

/// The most rows that a VM remembers.
const MAX_KNOWN: usize = 1_024;
/// The age up to which a row is taken for the present one when a request is refused (ns).
const FRESH: u64 = SECOND / 50;
/// The most attempts to store the slices of a call.
const MAX_TRIES: usize = 32;

/// A row with what this gateway holds of it.
#[derive(Clone, Debug)]
pub(super) struct KnownRow {
    pub(super) row: Row,
    pub(super) held: Held,
    /// The revision of the row; 0 if it is missing.
    pub(super) revision: u64,
    /// The moment of reading or writing (ns, monotonic).
    pub(super) at: u64,
}

/// The rows that this VM knows, by principal, under one id of the gateway.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownRows {
    gateway: GatewayId,
    rows: BTreeMap<String, KnownRow>,
}

impl KnownRows {
    /// Forgets what was known under another id.
    pub(super) fn follow(&mut self, gateway: GatewayId) {
        if self.gateway != gateway {
            self.gateway = gateway;
            self.rows.clear();
        }
    }

    pub(super) fn get(&self, principal: &str) -> Option<&KnownRow> {
        self.rows.get(principal)
    }

    pub(super) fn forget(&mut self, principal: &str) {
        self.rows.remove(principal);
    }

    pub(super) fn put(&mut self, principal: &str, known: KnownRow) {
        if self.rows.len() >= MAX_KNOWN && !self.rows.contains_key(principal) {
            self.rows.clear();
        }
        self.rows.insert(principal.to_string(), known);
    }

    /// Takes the values of `row/<principal>` and `held/<gateway>/<principal>`. False: a newer version has written them.
    pub(super) fn read(
        &mut self,
        principal: &str,
        row: Option<&Stored>,
        held: Option<&Stored>,
        now: Now,
    ) -> bool {
        let value = |stored: Option<&Stored>| stored.map(|stored| stored.value.clone()).unwrap_or_default();
        let parsed = Row::from_bytes(&value(row)).zip(Held::from_bytes(&value(held)));
        let Some((parsed_row, held)) = parsed else { return false };
        let revision = row.map_or(0, |row| row.revision);
        self.put(principal, KnownRow { row: parsed_row, held, revision, at: now.monotonic });
        true
    }
}

/// A principal of a call.
#[derive(Clone, Debug)]
pub(super) struct Principal {
    /// The name of its slice.
    pub(super) record: RecordKey,
    /// The counters to refill.
    pub(super) asks: Vec<Ask>,
}

/// A stream that waits for a call.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) id: u32,
    /// For each principal of the group that it needs: its position, and the amounts.
    pub(super) needs: Vec<(usize, Vec<Need>)>,
}

/// One principal in a call that was sent.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) record: RecordKey,
    /// The id that the gateway had.
    pub(super) gateway: GatewayId,
    pub(super) lane: u64,
    pub(super) number: u64,
    /// The revision of the row that the call compares.
    pub(super) base: u64,
    row: Row,
    held: Held,
}

/// The charges of one request to one principal.
pub(super) type Charges = (RecordKey, Vec<HoldEntry>);

/// The charges of one request, by the position of the principal in its group.
type Placed = Vec<(usize, Vec<HoldEntry>)>;

/// A request that does not fit.
struct Misfit {
    /// The position of the principal.
    position: usize,
    refused: Refused,
    exceeded: QuotaExceeded,
}

/// Principals that change together or not at all.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) items: Vec<Item>,
    /// The requests that the call charges, with their charges.
    pub(super) charged: Vec<(u32, Vec<Charges>)>,
    /// The requests that it refuses if the rows are as they were.
    pub(super) refused: Vec<(u32, QuotaExceeded)>,
    /// The principals that other gateways' slices keep from requests.
    pub(super) wanted: Vec<String>,
}

/// The result of building a group.
#[derive(Debug)]
pub(super) enum Built {
    /// Its slices are stored, and its part can be sent.
    Ready(Group, Part),
    /// These principals have to be read.
    Unknown(Vec<RecordKey>),
    /// The slices cannot be stored.
    Failed(StoreError),
}

/// The surroundings of a call.
pub(super) struct Sender<'s> {
    pub(super) keys: &'s FleetKeys,
    pub(super) index: &'s Index,
    pub(super) slices: &'s str,
    pub(super) lane: u64,
    pub(super) moment: Moment,
    pub(super) now: Now,
    pub(super) number: u64,
    pub(super) live: u64,
    pub(super) wanted: &'s [String],
    /// Gives all slices back.
    pub(super) leaving: bool,
}

impl Sender<'_> {
    fn principal<'n>(&self, record: &'n RecordKey) -> &'n str {
        record.as_str().strip_prefix(self.slices).unwrap_or(record.as_str())
    }

    fn fleet_of(&self, record: &RecordKey) -> Fleet {
        let principal = self.principal(record);
        Fleet { live: self.live, wanted: self.wanted.iter().any(|wanted| wanted == principal) }
    }

    /// Builds the call of a group, and stores its slices.
    pub(super) fn build<C: CounterStore>(
        &self,
        store: &mut C,
        known: &mut KnownRows,
        principals: &[Principal],
        requests: &[Request],
    ) -> Built {
        let unknown: Vec<RecordKey> = principals
            .iter()
            .filter(|principal| known.get(self.principal(&principal.record)).is_none())
            .map(|principal| principal.record.clone())
            .collect();
        if !unknown.is_empty() {
            return Built::Unknown(unknown);
        }
        for _ in 0..MAX_TRIES {
            match self.try_build(store, known, principals, requests) {
                Ok(Some(built)) => return built,
                Ok(None) => {}
                Err(error) => return Built::Failed(error),
            }
        }
        Built::Failed(StoreError::Contention)
    }

    /// One attempt; `None` after a conflict with another VM.
    fn try_build<C: CounterStore>(
        &self,
        store: &mut C,
        known: &mut KnownRows,
        principals: &[Principal],
        requests: &[Request],
    ) -> Result<Option<Built>, StoreError> {
        let Moment { gateway, fleet: time, .. } = self.moment;
        let mut drafts = Vec::with_capacity(principals.len());
        for Principal { record, .. } in principals {
            let (bytes, version) = store.read(record)?;
            let slice = open(&bytes, record, gateway)?;
            let Some(KnownRow { row, held, revision, at }) = known.get(self.principal(record)).cloned()
            else {
                return Ok(Some(Built::Unknown(Vec::from([record.clone()]))));
            };
            let call =
                CallId { lane: self.lane, number: self.number, base: revision, sent: self.now, now: time };
            let draft = Draft::new(slice, row, held, call, FleetTime(0));
            drafts.push((draft, version, bytes.is_empty(), revision, at));
        }
        let mut group =
            Group { items: Vec::new(), charged: Vec::new(), refused: Vec::new(), wanted: Vec::new() };
        let fleets: Vec<Fleet> =
            principals.iter().map(|principal| self.fleet_of(&principal.record)).collect();
        for request in requests {
            match self.fit(&mut drafts, &fleets, request) {
                Ok(entries) => {
                    let entries = entries.into_iter().filter_map(|(position, entries)| {
                        Some((principals.get(position)?.record.clone(), entries))
                    });
                    group.charged.push((request.id, entries.collect()));
                }
                Err(misfit) => {
                    let Misfit { position, refused, exceeded } = *misfit;
                    let stale = |at: u64| self.now.monotonic.saturating_sub(at) > FRESH;
                    let old: Vec<RecordKey> = drafts
                        .iter()
                        .zip(principals)
                        .filter(|((.., at), _)| stale(*at))
                        .map(|(_, principal)| principal.record.clone())
                        .collect();
                    if !old.is_empty() {
                        // The rows may have changed since: a request is refused by what is.
                        old.iter().for_each(|record| known.forget(self.principal(record)));
                        return Ok(Some(Built::Unknown(old)));
                    }
                    if let (Some((draft, ..)), Some(principal)) =
                        (drafts.get_mut(position), principals.get(position))
                    {
                        draft.slice.set_nothing(&refused.ask, refused.until);
                        if refused.by == RefusedBy::Leases {
                            group.wanted.push(self.principal(&principal.record).to_string());
                        }
                    }
                    group.refused.push((request.id, exceeded));
                }
            }
        }
        for (((draft, ..), principal), fleet) in drafts.iter_mut().zip(principals).zip(&fleets) {
            if self.leaving {
                draft.give_back_all();
            } else {
                draft.refill(&principal.asks, *fleet);
            }
        }
        let mut part = Part::default();
        let mut stored = Vec::with_capacity(drafts.len());
        for ((draft, version, is_new, revision, _), Principal { record, .. }) in
            drafts.into_iter().zip(principals)
        {
            let (slice, row, held) = draft.finish();
            if is_new {
                self.index.add(store, record)?;
            }
            let bytes = bytes_of(&slice, record.fingerprint());
            let item = Item {
                record: record.clone(),
                gateway,
                lane: self.lane,
                number: self.number,
                base: revision,
                row,
                held,
            };
            if store.compare_and_swap(record, version, &bytes)? == Cas::Conflict {
                // Nothing was sent: what is stored already is taken back.
                for item in &stored {
                    item_finish(store, item, Outcome::NotApplied, self.now)?;
                }
                return Ok(None);
            }
            let [row_key, held_key] = item.keys(self.keys, self.slices);
            part.compares.push(Compare::Revision(row_key.clone(), revision));
            part.writes.push(Write::Put { key: row_key.clone(), value: item.row.to_bytes(), lease: None });
            part.writes.push(Write::Put { key: held_key.clone(), value: item.held.to_bytes(), lease: None });
            part.reads.extend([row_key, held_key]);
            stored.push(item);
        }
        group.items = stored;
        Ok(Some(Built::Ready(group, part)))
    }

    /// Charges a request to the drafts of its principals, or to none.
    fn fit<V>(
        &self,
        drafts: &mut [(Draft, V, bool, u64, u64)],
        fleets: &[Fleet],
        request: &Request,
    ) -> Result<Placed, Box<Misfit>> {
        for (position, needs) in &request.needs {
            let (Some((draft, ..)), Some(fleet)) = (drafts.get(*position), fleets.get(*position)) else {
                continue;
            };
            let asks: Vec<Ask> = needs.iter().map(|need| need.ask).collect();
            if let Err(refused) = draft.fits(&asks, *fleet) {
                let need = needs.iter().find(|need| need.ask.id == refused.ask.id);
                if let Some(need) = need {
                    let exceeded = need.refused(&refused, self.moment.fleet);
                    return Err(Box::new(Misfit { position: *position, refused, exceeded }));
                }
            }
        }
        let charge = |(position, needs): &(usize, Vec<Need>)| {
            let (draft, ..) = drafts.get_mut(*position)?;
            let asks: Vec<Ask> = needs.iter().map(|need| need.ask).collect();
            let slots = draft.charge(&asks);
            let entries = slots
                .iter()
                .filter_map(|(id, slot)| Some(needs.iter().find(|need| need.ask.id == *id)?.entry(*slot)));
            Some((*position, entries.collect()))
        };
        Ok(request.needs.iter().filter_map(charge).collect())
    }
}

impl Item {
    /// The keys of its row and its held record.
    pub(super) fn keys(&self, keys: &FleetKeys, slices: &str) -> [String; 2] {
        let principal = self.principal(slices);
        [keys.row(principal), keys.held(self.gateway, principal)]
    }

    /// The name of its principal.
    pub(super) fn principal(&self, slices: &str) -> &str {
        self.record.as_str().strip_prefix(slices).unwrap_or(self.record.as_str())
    }

    /// The row after the call.
    pub(super) fn known(&self, revision: u64, now: Now) -> KnownRow {
        KnownRow { row: self.row.clone(), held: self.held.clone(), revision, at: now.monotonic }
    }

    /// The row after the call.
    pub(super) fn row(&self) -> &Row {
        &self.row
    }

    /// The outcome of the call, by the present values; `None`: it may still be applied.
    pub(super) fn outcome(&self, row: Option<&Stored>, held: Option<&Stored>) -> Option<Outcome> {
        let held = Held::from_bytes(held.map(|held| held.value.as_slice()).unwrap_or_default());
        if held.is_some_and(|held| held.is_applied(self.lane, self.number)) {
            return Some(Outcome::Applied);
        }
        (row.map_or(0, |row| row.revision) != self.base).then_some(Outcome::NotApplied)
    }

    /// A write of the row as it is: the call, which compares the revision before it, is never applied after it.
    pub(super) fn bump(&self, row: Option<&Stored>, [row_key, held_key]: [String; 2]) -> Part {
        let value = row.map_or_else(|| Row::default().to_bytes(), |row| row.value.clone());
        Part {
            compares: Vec::from([Compare::Revision(row_key.clone(), self.base)]),
            writes: Vec::from([Write::Put { key: row_key.clone(), value, lease: None }]),
            reads: Vec::from([row_key, held_key]),
        }
    }

    /// A call of another worker that was stopped.
    pub(super) fn stale(record: RecordKey, pending: &crate::fleet::Pending) -> Item {
        Item {
            record,
            gateway: pending.gateway,
            lane: pending.lane,
            number: pending.number,
            base: pending.base,
            row: Row::default(),
            held: Held::default(),
        }
    }
}

/// Ends a call in the slice of an item.
pub(super) fn item_finish<C: CounterStore>(
    store: &mut C,
    item: &Item,
    outcome: Outcome,
    now: Now,
) -> Result<Finished, StoreError> {
    let Item { record, gateway, lane, number, .. } = item;
    store.update_bytes::<_, StoreError>(record, |_, bytes| {
        let mut slice = crate::fleet::Slice::open(bytes, record.fingerprint(), *gateway)?;
        let finished = slice.finish(*lane, *number, outcome, now);
        if finished == Finished::Unknown {
            return Ok(Update::Keep(finished));
        }
        *bytes = bytes_of(&slice, record.fingerprint());
        Ok(Update::Write(finished))
    })
}
