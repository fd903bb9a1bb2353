//! Creating and opening the file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use redb::backends::FileBackend;
use redb::{Database, DatabaseError, ReadableDatabase as _};

use super::folder::{DataError, Folder, owned};
use super::tables::{FORMAT, NUMBERS, Tables, number};

/// The size of the cache. All rows of a small installation fit into it.
const CACHE: usize = 64 << 20;

/// Opens the file of a folder. A missing one is created.
pub(super) fn open(folder: &Folder) -> Result<Database, DataError> {
    let path = folder.file();
    let file = |error| DataError::File { path: path.clone(), error };
    let found = match fs::symlink_metadata(&path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            create_in(folder)?;
            fs::symlink_metadata(&path).map_err(file)?
        }
        Err(error) => return Err(file(error)),
    };
    if !found.is_file() {
        return Err(DataError::Kind { path, right: "file" });
    }
    owned(&path, &found, 0o600)?;
    // An altered file is an error then; otherwise it may be a panic.
    let opened = Database::builder().set_cache_size(CACHE).set_check_integrity_on_open(true).open(&path);
    let database = opened.map_err(|error| damaged(&path, error))?;
    let read = || -> Result<Option<i64>, redb::Error> {
        let numbers = database.begin_read()?.open_table(NUMBERS)?;
        Ok(redb::ReadableTable::get(&numbers, number::FORMAT)?.map(|format| format.value()))
    };
    match read() {
        Ok(Some(FORMAT)) => Ok(database),
        Ok(found) => Err(DataError::Format { path, found: found.unwrap_or(0), right: FORMAT }),
        Err(error) => Err(DataError::Damaged { path, error: Box::new(error) }),
    }
}

/// Creates the file under another name, so that a crash leaves no half of it. If another process creates one
/// first, that stays.
fn create_in(folder: &Folder) -> Result<(), DataError> {
    let path = folder.file();
    let random = getrandom::u64().map_err(|error| folder.unusable(io::Error::other(error.to_string())))?;
    let new = folder.unfinished(&format!("{random:016x}"));
    create(&new, |_| Ok(()))?;
    let linked = fs::hard_link(&new, &path);
    // Another process that has opened the store meanwhile may have removed it.
    let _ = fs::remove_file(&new);
    if let Err(error) = linked
        && !path.exists()
    {
        return Err(DataError::File { path, error });
    }
    sync(folder.path()).map_err(|error| folder.unusable(error))
}

/// Creates a file of mode 0600 with these contents. It is stored when this returns.
pub(super) fn create(
    path: &Path,
    fill: impl FnOnce(&mut Tables) -> Result<(), redb::Error>,
) -> Result<(), DataError> {
    let file = |error| DataError::File { path: path.to_owned(), error };
    let created =
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path).map_err(file)?;
    let written = || -> Result<(), redb::Error> {
        let database =
            Database::builder().set_cache_size(CACHE).create_with_backend(FileBackend::new(created)?)?;
        let transaction = database.begin_write()?;
        let mut tables = Tables::open(&transaction)?;
        tables.set_number(number::FORMAT, FORMAT)?;
        fill(&mut tables)?;
        drop(tables);
        transaction.commit()?;
        Ok(database.close()?)
    };
    written().map_err(|error| {
        let _ = fs::remove_file(path);
        DataError::Damaged { path: path.to_owned(), error: Box::new(error) }
    })
}

/// Stores the names in a folder.
pub(super) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn damaged(path: &Path, error: DatabaseError) -> DataError {
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            DataError::InUse(path.to_owned())
        }
        error => DataError::Damaged { path: path.to_owned(), error: Box::new(error.into()) },
    }
}
