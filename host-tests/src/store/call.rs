//! One request against the tables of an open transaction.

use super::Reply;
use super::engine::{Engine, Failure};
use super::refusal::Refusal;
use super::request::Request;
use super::response::Message;
use super::transaction;

/// The result of a request that did not fail by the file.
pub(super) struct Outcome {
    pub(super) reply: Reply,
    /// True if the file has changed.
    pub(super) wrote: bool,
    /// True if rows of the history are forgotten.
    pub(super) compacted: bool,
}

/// Runs a request.
///
/// # Errors
/// If the file fails; the transaction must be aborted.
pub(super) fn run(mut engine: Engine, path: &str, body: &[u8]) -> Result<Outcome, redb::Error> {
    let parsed = Request::parse(path, body).map_err(Failure::from);
    let compacted = matches!(parsed, Ok(Request::Compact(_)));
    let lease = matches!(parsed, Ok(Request::LeaseGrant(_) | Request::LeaseRevoke(_)));
    let stream = matches!(parsed, Ok(Request::LeaseKeepAlive(_)));
    match parsed.and_then(|request| execute(&mut engine, request)) {
        Ok(message) => {
            let header = Message::new()
                .unsigned("cluster_id", engine.state.cluster)
                .unsigned("member_id", engine.state.member)
                .long("revision", engine.revision())
                .unsigned("raft_term", engine.state.starts);
            let message = message.message("header", header);
            // The gateway wraps the messages of a stream.
            let message = if stream { Message::new().message("result", message) } else { message };
            let wrote = engine.finish()? | lease | compacted;
            Ok(Outcome { reply: Reply { status: 200, body: message.to_bytes() }, wrote, compacted })
        }
        Err(Failure::Refused(refusal)) => {
            Ok(Outcome { reply: refusal.reply(), wrote: false, compacted: false })
        }
        Err(Failure::Storage(error)) => Err(error),
    }
}

fn execute(engine: &mut Engine, request: Request) -> Result<Message, Failure> {
    Ok(match request {
        Request::Range(range) => {
            transaction::check_range(&range)?;
            if range.revision > 0 {
                engine.check_revision(range.revision)?;
            }
            engine.range(&range)?
        }
        Request::Put(put) => {
            transaction::check_put(&put)?;
            transaction::check_size(put.key.len() + put.value.len())?;
            engine.check_lease(put.lease)?;
            engine.check_previous(&put)?;
            engine.put(&put)?
        }
        Request::DeleteRange(delete) => {
            transaction::check_delete(&delete)?;
            transaction::check_size(delete.key.len() + delete.range_end.len())?;
            engine.delete_range(&delete)?
        }
        Request::Txn(txn) => {
            transaction::check(&txn)?;
            engine.txn(&txn)?
        }
        Request::Compact(compact) => {
            engine.compact(compact.revision)?;
            Message::new()
        }
        Request::LeaseGrant(grant) => engine.lease_grant(&grant)?,
        Request::LeaseRevoke(lease) => {
            engine.lease_revoke(lease.ID)?;
            Message::new()
        }
        Request::LeaseKeepAlive(lease) => engine.lease_keep_alive(lease.ID),
        Request::LeaseTimeToLive(lease) => engine.lease_time_to_live(&lease)?,
        Request::LeaseList => engine.lease_list(),
        Request::Authenticate => return Err(Refusal::NoAuthentication.into()),
    })
}
