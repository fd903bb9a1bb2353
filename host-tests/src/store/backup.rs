//! Copies of a store.

use std::path::Path;

use redb::{Database, ReadableDatabase as _, ReadableTable as _};

use super::file;
use super::folder::DataError;
use super::tables::{Snapshot, number};

/// Copies the keys and leases of a database into a new file.
///
/// The copy has no id of a cluster, so that a store draws a new one when it is started with it: as in etcd,
/// clients can tell from it that the history did not go on. It has no rows that were replaced either.
pub(super) fn write(database: &Database, to: &Path) -> Result<(), DataError> {
    file::create(to, |tables| {
        let transaction = database.begin_read()?;
        let Snapshot { keys, leases, lease_keys, numbers } = Snapshot::open(&transaction)?;
        for entry in keys.iter()? {
            let (key, row) = entry?;
            tables.keys.insert(key.value(), row.value())?;
        }
        for entry in leases.iter()? {
            let (id, ttl) = entry?;
            tables.leases.insert(id.value(), ttl.value())?;
        }
        for entry in lease_keys.iter()? {
            tables.lease_keys.insert(entry?.0.value(), ())?;
        }
        let revision = numbers.get(number::REVISION)?.map_or(1, |revision| revision.value());
        tables.set_number(number::REVISION, revision)?;
        tables.set_number(number::COMPACTED, revision)
    })?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    file::sync(folder).map_err(|error| DataError::File { path: folder.to_owned(), error })
}
