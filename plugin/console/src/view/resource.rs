//! A record of the API on the page: being read, shown, or failed.

use std::sync::Arc;

use reactive_graph::prelude::*;
use reactive_graph::signal::RwSignal;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tachys::prelude::*;

use crate::api::{self, Failure, Reply};
use crate::browser;

use super::{failure, live, waiting};

/// A record that was read, with its entity tag.
#[derive(Debug)]
pub struct Record<T> {
    /// The fields that the console shows.
    pub value: T,
    /// All fields.
    pub raw: Value,
    /// The entity tag.
    pub etag: String,
}

/// The state of a resource.
#[derive(Debug)]
enum State<T> {
    Reading,
    Ready(Arc<Record<T>>),
    Failed(Failure),
}

impl<T> Clone for State<T> {
    fn clone(&self) -> State<T> {
        match self {
            State::Reading => State::Reading,
            State::Ready(record) => State::Ready(Arc::clone(record)),
            State::Failed(failure) => State::Failed(failure.clone()),
        }
    }
}

/// A resource of the API, by its path.
#[derive(Debug)]
pub struct Resource<T: Send + Sync + 'static> {
    path: Arc<str>,
    state: RwSignal<State<T>>,
}

impl<T: Send + Sync> Clone for Resource<T> {
    fn clone(&self) -> Resource<T> {
        Resource { path: Arc::clone(&self.path), state: self.state }
    }
}

impl<T: DeserializeOwned + Send + Sync + 'static> Resource<T> {
    /// Begins to read a resource.
    pub fn read(path: String) -> Resource<T> {
        let resource = Resource { path: path.into(), state: RwSignal::new(State::Reading) };
        resource.again();
        resource
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    /// Reads it again. What is shown stays until the answer is there.
    pub fn again(&self) {
        let this = self.clone();
        browser::spawn(async move {
            let reply = api::read(&this.path).await;
            this.put(reply);
        });
    }

    /// Shows another answer.
    pub fn put(&self, reply: Result<Reply, Failure>) {
        let record = reply.and_then(|reply| Ok((reply.read::<T>()?, reply)));
        self.state.set(match record {
            Ok((value, Reply { value: raw, etag })) => State::Ready(Arc::new(Record { value, raw, etag })),
            Err(failure) => State::Failed(failure),
        });
    }

    /// Returns the record if it has been read. The caller is drawn again when it changes.
    pub fn record(&self) -> Option<Arc<Record<T>>> {
        match self.state.get() {
            State::Ready(record) => Some(record),
            State::Reading | State::Failed(_) => None,
        }
    }

    /// Returns the record if it has been read.
    pub fn now(&self) -> Option<Arc<Record<T>>> {
        match self.state.try_get_untracked() {
            Some(State::Ready(record)) => Some(record),
            _ => None,
        }
    }

    /// Draws the record, or the state that it is in instead.
    pub fn show(&self, draw: impl Fn(&Arc<Record<T>>) -> AnyView + Send + 'static) -> AnyView {
        self.draw(false, draw)
    }

    /// Draws the record that a page is about.
    pub fn show_page(&self, draw: impl Fn(&Arc<Record<T>>) -> AnyView + Send + 'static) -> AnyView {
        self.draw(true, draw)
    }

    fn draw(&self, whole: bool, draw: impl Fn(&Arc<Record<T>>) -> AnyView + Send + 'static) -> AnyView {
        let this = self.clone();
        live(move || match this.state.get() {
            State::Reading => waiting(),
            State::Ready(record) => draw(&record),
            State::Failed(reason) => {
                let this = this.clone();
                failure(&reason, whole, move || {
                    this.state.set(State::Reading);
                    this.again();
                })
            }
        })
    }
}
