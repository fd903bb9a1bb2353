//! Cells in a host's shared data, whatever its dialect of compare-and-swap.
//!
//! Hosts disagree on what `set` does with a key that is missing or a version that is 0; the obvious loop
//! loses updates on Envoy. [`SharedCells`] creates with a version nobody has (`u32::MAX`): a lenient host
//! inserts exactly once, a strict one refuses and then takes 0 as "insert if absent".

use alloc::string::String;
use alloc::vec::Vec;

use super::record::owner;
use super::{CellName, Cells, CellsError, Trouble};

/// A proxy-wasm status (ABI 0.2.1) that is neither success, "not found" nor "mismatch".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostStatus(pub u32);

/// What a host holds under a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// The value; empty also where the name is missing.
    pub bytes: Vec<u8>,
    /// Its version; `None` where the name is missing.
    pub version: Option<u32>,
}

/// The end of a swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Swap {
    /// It is stored.
    Done,
    /// Somebody wrote in between: nothing was stored.
    Lost,
}

/// The two shared-data calls of the ABI.
pub trait SharedData {
    /// `proxy_get_shared_data`.
    ///
    /// # Errors
    /// Any status but success and "not found".
    fn get(&mut self, name: &str) -> Result<Entry, HostStatus>;

    /// `proxy_set_shared_data`.
    ///
    /// # Errors
    /// Any status but success and "mismatch".
    fn set(&mut self, name: &str, bytes: &[u8], version: u32) -> Result<Swap, HostStatus>;
}

/// What a probe at start found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// Version 0 overwrites what exists (Envoy and its kin).
    Lenient,
    /// Version 0 inserts only what is missing (ngx_wasm_module).
    Strict,
    /// There is no shared data, or it keeps nothing.
    None,
}

/// The version that no record has.
const CREATE: u32 = u32::MAX;

/// Names tried for one record on a host that identifies names by a checksum.
const ALIASES: usize = 4;

/// [`Cells`] over [`SharedData`].
#[derive(Debug)]
pub struct SharedCells<S> {
    shared: S,
    support: Support,
    /// Swaps that were lost.
    lost: u32,
}

/// Where a record was read, and its version there.
#[derive(Clone, Copy, Debug)]
pub struct SharedVersion {
    alias: usize,
    version: Option<u32>,
}

impl<S: SharedData> SharedCells<S> {
    /// Cells in `shared`, which is known to be of this kind.
    pub fn new(shared: S, support: Support) -> Self {
        SharedCells { shared, support, lost: 0 }
    }

    /// Finds out which kind of host this is. Writes one small record below `prefix`, and leaves what
    /// others wrote there alone.
    pub fn probe(shared: &mut S, prefix: &str) -> Support {
        let mut name = String::from(prefix);
        name.push_str("probe");
        Self::try_probe(shared, &name).unwrap_or(Support::None)
    }

    fn try_probe(shared: &mut S, name: &str) -> Result<Support, HostStatus> {
        const MARK: &[u8] = b"TGp\x01";
        if shared.get(name)?.version.is_none() {
            create(shared, name, MARK, true)?;
        }
        let kept = shared.get(name)?;
        if kept.version.is_none() || kept.bytes != MARK {
            return Ok(Support::None);
        }
        // The same bytes again, with the version that means "overwrite" here and "insert" there.
        Ok(match shared.set(name, MARK, 0)? {
            Swap::Done => Support::Lenient,
            Swap::Lost => Support::Strict,
        })
    }

    /// What the probe had found.
    pub fn support(&self) -> Support {
        self.support
    }

    /// How many swaps others were faster at.
    pub fn lost(&self) -> u32 {
        self.lost
    }

    /// The host below.
    pub fn host(&mut self) -> &mut S {
        &mut self.shared
    }

    fn aliased(name: &CellName, alias: usize) -> String {
        let mut text = String::from(name.as_str());
        text.push('~');
        text.push(char::from(b'0'.saturating_add(alias as u8)));
        text
    }

    fn entry(&mut self, name: &CellName, alias: usize) -> Result<Entry, CellsError> {
        let entry = match alias {
            0 => self.shared.get(name.as_str()),
            _ => self.shared.get(&Self::aliased(name, alias)),
        };
        entry.map_err(host)
    }
}

impl<S: SharedData> Cells for SharedCells<S> {
    type Version = SharedVersion;

    fn read(&mut self, name: &CellName) -> Result<(Vec<u8>, SharedVersion), CellsError> {
        if self.support == Support::None {
            return Err(CellsError::Unavailable(Trouble::NoSharedData));
        }
        for alias in 0..ALIASES {
            let Entry { bytes, version } = self.entry(name, alias)?;
            if owner(&bytes).is_none_or(|owner| owner == name.fingerprint()) {
                return Ok((bytes, SharedVersion { alias, version }));
            }
        }
        Err(CellsError::Unavailable(Trouble::Aliased))
    }

    fn swap(&mut self, name: &CellName, at: SharedVersion, bytes: &[u8]) -> Result<Swap, CellsError> {
        let aliased;
        let text = match at.alias {
            0 => name.as_str(),
            alias => {
                aliased = Self::aliased(name, alias);
                &aliased
            }
        };
        let swapped = match at.version {
            Some(version) => self.shared.set(text, bytes, version),
            None => create(&mut self.shared, text, bytes, self.support == Support::Strict),
        };
        if swapped == Ok(Swap::Lost) {
            self.lost = self.lost.saturating_add(1);
        }
        swapped.map_err(host)
    }
}

/// Inserts what is missing. Only a host known to be strict may be asked with version 0: a lenient one would
/// overwrite what came in between.
fn create<S: SharedData>(shared: &mut S, name: &str, bytes: &[u8], strict: bool) -> Result<Swap, HostStatus> {
    if shared.set(name, bytes, CREATE)? == Swap::Done {
        return Ok(Swap::Done);
    }
    if !strict || shared.get(name)?.version.is_some() {
        return Ok(Swap::Lost);
    }
    shared.set(name, bytes, 0)
}

fn host(status: HostStatus) -> CellsError {
    CellsError::Unavailable(Trouble::Host(status))
}
