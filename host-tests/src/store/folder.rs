//! The data folder: its permissions, and the errors of its use.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// The beginning of the names of files that are not finished.
const UNFINISHED: &str = "new-";

/// A folder that only its owner, the user of this process, may enter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder(PathBuf);

/// An error that prevents the use of a data folder.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file or folder cannot be created or read.
    #[error("{}: {error}", path.display())]
    File {
        /// The path.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// Other users have access.
    #[error("{path} has mode {mode:04o}, so that other users have access: run `chmod {right:o} {path}`", path = path.display())]
    Open {
        /// The path.
        path: PathBuf,
        /// The mode that it has.
        mode: u32,
        /// The mode that it should have.
        right: u32,
    },
    /// The folder or file belongs to another user.
    #[error("{} belongs to the user {owner}: run this command as that user, or choose another folder", path.display())]
    Owner {
        /// The path.
        path: PathBuf,
        /// The number of its owner.
        owner: u32,
    },
    /// The path is of something else.
    #[error("{} is not a {right}: choose another folder", path.display())]
    Kind {
        /// The path.
        path: PathBuf,
        /// The kind that it should be.
        right: &'static str,
    },
    /// Another process has the file open.
    #[error("{} is in use by another process, such as a running `tollgate serve`: stop it, or choose another folder", .0.display())]
    InUse(PathBuf),
    /// The file is of another version.
    #[error("{}: its format is {found}, and this version of tollgate reads format {right}", path.display())]
    Format {
        /// The path of the file.
        path: PathBuf,
        /// The format of the file.
        found: i64,
        /// The format of this version.
        right: i64,
    },
    /// The file is damaged, or cannot be read.
    #[error("{}: {error}: if the file is damaged, restore a backup", path.display())]
    Damaged {
        /// The path of the file.
        path: PathBuf,
        /// The error of the library.
        error: Box<redb::Error>,
    },
    /// The store has ended.
    #[error("the store has ended")]
    Ended,
}

impl Folder {
    /// Checks a folder, or creates it with mode 0700.
    ///
    /// # Errors
    /// If it cannot be created, belongs to another user, or other users have access.
    pub fn prepare(path: &Path) -> Result<Folder, DataError> {
        let file = |error| DataError::File { path: path.to_owned(), error };
        if let Err(error) = DirBuilder::new().recursive(true).mode(0o700).create(path)
            && error.kind() != ErrorKind::AlreadyExists
        {
            return Err(file(error));
        }
        let found = fs::metadata(path).map_err(file)?;
        if !found.is_dir() {
            return Err(DataError::Kind { path: path.to_owned(), right: "folder" });
        }
        owned(path, &found, 0o700)?;
        Ok(Folder(path.to_owned()))
    }

    /// Returns the path of the folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Returns the path of the store's file.
    pub fn file(&self) -> PathBuf {
        self.0.join("tollgate.redb")
    }

    /// Returns the path of a new file, which [`Folder::tidy`] removes if it is left.
    pub(super) fn unfinished(&self, name: &str) -> PathBuf {
        self.0.join(format!("{UNFINISHED}{name}"))
    }

    /// Removes files that earlier processes have not finished. The caller has the store open.
    pub(super) fn tidy(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    pub(super) fn unusable(&self, error: io::Error) -> DataError {
        DataError::File { path: self.0.clone(), error }
    }
}

/// Returns an error if a file is not this user's alone.
pub(super) fn owned(path: &Path, found: &fs::Metadata, right: u32) -> Result<(), DataError> {
    let owner = found.uid();
    if owner != rustix::process::geteuid().as_raw() {
        return Err(DataError::Owner { path: path.to_owned(), owner });
    }
    let mode = found.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(DataError::Open { path: path.to_owned(), mode, right });
    }
    Ok(())
}
