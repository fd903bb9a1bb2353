//! The data folder of `tollgate serve --data`, from which the policy is served: an empty one takes the policy
//! of the file, and later differences from the file are reported.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tollgate_core::config::ConfigLoader;
use tollgate_core::etcd::complete;
use tollgate_core::policy::Policy;
use tollgate_host::etcd::{Etcd, EtcdSetupError};
use tollgate_host::server::Cluster;
use tollgate_host::store::{Folder, Local, Store};

use super::fleet::{self, Shown, between, nothing, over, read, text};
use super::push;

/// The name of the cluster that the filter calls, unless the gateway configuration has one.
pub const CLUSTER: &str = "data";
/// The number of differences that are listed.
const LISTED: usize = 20;

/// An error that prevents the use of a data folder.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("`--data`: {0}")]
    Folder(#[from] tollgate_host::store::DataError),
    #[error("`--data`: {0}")]
    Setup(EtcdSetupError),
    #[error("`--data {}`: {error}", path.display())]
    Policy { path: PathBuf, error: fleet::Error },
}

impl From<EtcdSetupError> for Error {
    fn from(error: EtcdSetupError) -> Error {
        match error {
            EtcdSetupError::Data(error) => Error::Folder(error),
            error => Error::Setup(error),
        }
    }
}

/// An open data folder.
pub struct Data {
    store: Store,
    folder: Folder,
    /// `None` if `push`, `pull` and `backup` cannot reach this process.
    _local: Option<Local>,
}

/// A configuration with the policy of the folder.
pub struct Configured {
    pub configuration: Vec<u8>,
    /// The name of the cluster that the filter calls.
    pub cluster: String,
    /// The report for the operator; empty if the file has the same policy as the folder.
    pub report: String,
}

impl Configured {
    /// Returns a configuration with the policy of the file.
    pub fn of_file(configuration: Vec<u8>) -> Configured {
        Configured { configuration, cluster: CLUSTER.to_owned(), report: String::new() }
    }
}

impl Data {
    /// Opens a folder. A missing one is created.
    pub fn open(path: &Path) -> Result<Data, Error> {
        let folder = Folder::prepare(path)?;
        let store = Store::open(path)?;
        let local = Local::listen(store.clone(), &folder);
        if let Err(error) = &local {
            eprintln!(
                "tollgate: {}: no socket for `push`, `pull` and `backup` ({error}): choose a folder with a shorter path",
                path.display()
            );
        }
        Ok(Data { store, folder, _local: local.ok() })
    }

    /// Returns the folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the target of the filter's calls.
    pub fn cluster(&self) -> Cluster {
        Cluster::Store(self.store.clone())
    }

    /// Returns the configuration with the policy of the folder in place of its own. An empty folder takes
    /// that first.
    ///
    /// A configuration with errors is returned as it is: the module reports them.
    pub fn configure(&self, file: &Path, configuration: Vec<u8>) -> Result<Configured, Error> {
        let mut loader = ConfigLoader::default();
        loader.push(&configuration);
        let Ok((gateway, _)) = loader.finish() else { return Ok(Configured::of_file(configuration)) };
        let Ok(mut whole) = serde_json::from_slice::<Value>(&configuration) else {
            return Ok(Configured::of_file(configuration));
        };
        let (cluster, prefix) = match &gateway.etcd {
            Some(etcd) => (etcd.cluster.to_string(), etcd.prefix.to_string()),
            None => (CLUSTER.to_owned(), fleet::PREFIX.to_owned()),
        };
        if gateway.etcd.is_none() {
            whole["fleet"] = json!({ "cluster": cluster });
        }
        let mut client = Etcd::of_store(self.store.clone(), &prefix)?;
        let (stored, report) = self
            .policy(&mut client, file, &gateway.policy.read())
            .map_err(|error| Error::Policy { path: self.path().to_owned(), error })?;
        whole["policy"] = text(&stored);
        Ok(Configured { configuration: whole.to_string().into_bytes(), cluster, report })
    }

    /// Returns the policy of the folder, with its differences from that of the file.
    fn policy(
        &self,
        client: &mut Etcd,
        file: &Path,
        wanted: &Policy,
    ) -> Result<(Policy, String), fleet::Error> {
        let (file, folder) = (file.display(), self.path().display());
        let mut loaded = read(client)?;
        let mut report = String::new();
        // The catalog is written last and marks the policy as complete. Without it, an earlier start ended
        // before that.
        if !complete(&loaded.documents) {
            push::write_policy(client, &loaded, wanted, "tollgate serve")?;
            loaded = read(client)?;
            report = format!("{folder} had no policy: it has that of {file} now\n");
        }
        let mut stored = nothing();
        let change = over(&stored, loaded)?;
        stored.apply(&change).map_err(fleet::Error::Foreign)?;
        let change = between(&stored, wanted)?;
        let shown = Shown { before: &stored, change: &change }.to_string();
        let count = shown.lines().count();
        if count > 0 {
            report += &format!("{folder} has the policy that is served. {file} would change it:\n");
            for line in shown.lines().take(LISTED) {
                report += &format!("  {line}\n");
            }
            if count > LISTED {
                report += &format!("  and {} more\n", count - LISTED);
            }
            report +=
                &format!("to replace the stored policy by the file: tollgate push {file} --data {folder}\n");
            report +=
                &format!("to write the stored policy into the file: tollgate pull {file} --data {folder}\n");
        }
        Ok((stored, report))
    }
}
