//! Transactions: comparisons, and the operations of the branch that they select.
//!
//! As in etcd, the branches of nested transactions are selected before the first operation runs.

use std::collections::HashSet;

use super::engine::{Engine, Failure};
use super::refusal::Refusal;
use super::request::{
    Compare, CompareResult, CompareTarget, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp,
    TxnRequest,
};
use super::response::Message;
use super::tables::Row;

/// The largest number of comparisons, and of operations of a branch, as in etcd (`--max-txn-ops`).
const MAX_OPS: usize = 128;
/// The largest size of a request that writes, as in etcd (`--max-request-bytes`). etcd counts the bytes of
/// its encoding, which are a few more for each operation.
const MAX_BYTES: usize = 1536 * 1024;

/// The one operation of a [`RequestOp`].
enum Op<'r> {
    Range(&'r RangeRequest),
    Put(&'r PutRequest),
    DeleteRange(&'r DeleteRangeRequest),
    Txn(&'r TxnRequest),
}

impl RequestOp {
    fn op(&self) -> Result<Op<'_>, Refusal> {
        match self {
            RequestOp {
                request_range: Some(range),
                request_put: None,
                request_delete_range: None,
                request_txn: None,
            } => Ok(Op::Range(range)),
            RequestOp {
                request_range: None,
                request_put: Some(put),
                request_delete_range: None,
                request_txn: None,
            } => Ok(Op::Put(put)),
            RequestOp {
                request_range: None,
                request_put: None,
                request_delete_range: Some(delete),
                request_txn: None,
            } => Ok(Op::DeleteRange(delete)),
            RequestOp {
                request_range: None,
                request_put: None,
                request_delete_range: None,
                request_txn: Some(txn),
            } => Ok(Op::Txn(txn)),
            RequestOp {
                request_range: None,
                request_put: None,
                request_delete_range: None,
                request_txn: None,
            } => Err(Refusal::KeyNotFound),
            _ => Err(Refusal::Unreadable("an operation has more than one request".to_owned())),
        }
    }
}

/// A transaction with the branch that its comparisons select.
struct Plan<'r> {
    succeeded: bool,
    steps: Vec<Step<'r>>,
}

enum Step<'r> {
    Range(&'r RangeRequest),
    Put(&'r PutRequest),
    DeleteRange(&'r DeleteRangeRequest),
    Txn(Plan<'r>),
}

/// Checks a request as far as that is possible without the store.
pub(super) fn check(request: &TxnRequest) -> Result<(), Refusal> {
    check_operations(request, MAX_OPS)?;
    overlaps(&request.success)?;
    overlaps(&request.failure)?;
    if is_write(request) { check_size(size(request)) } else { Ok(()) }
}

pub(super) fn check_range(request: &RangeRequest) -> Result<(), Refusal> {
    if request.key.is_empty() { Err(Refusal::EmptyKey) } else { Ok(()) }
}

pub(super) fn check_put(request: &PutRequest) -> Result<(), Refusal> {
    if request.key.is_empty() {
        Err(Refusal::EmptyKey)
    } else if request.ignore_value && !request.value.is_empty() {
        Err(Refusal::ValueProvided)
    } else if request.ignore_lease && request.lease != 0 {
        Err(Refusal::LeaseProvided)
    } else {
        Ok(())
    }
}

pub(super) fn check_delete(request: &DeleteRangeRequest) -> Result<(), Refusal> {
    if request.key.is_empty() { Err(Refusal::EmptyKey) } else { Ok(()) }
}

/// Returns an error if a request that writes is too large.
pub(super) fn check_size(bytes: usize) -> Result<(), Refusal> {
    if bytes > MAX_BYTES { Err(Refusal::TooLarge) } else { Ok(()) }
}

fn check_operations(request: &TxnRequest, most: usize) -> Result<(), Refusal> {
    let TxnRequest { compare, success, failure } = request;
    let here = compare.len().max(success.len()).max(failure.len());
    let left = most.checked_sub(here).ok_or(Refusal::TooManyOps)?;
    if compare.iter().any(|compare| compare.key.is_empty()) {
        return Err(Refusal::EmptyKey);
    }
    success.iter().chain(failure).try_for_each(|operation| match operation.op()? {
        Op::Range(range) => check_range(range),
        Op::Put(put) => check_put(put),
        Op::DeleteRange(delete) => check_delete(delete),
        Op::Txn(txn) => check_operations(txn, left),
    })
}

/// The keys that the operations of a branch put, and the ranges that they remove.
type Written<'r> = (HashSet<&'r [u8]>, Vec<&'r DeleteRangeRequest>);

/// Returns true if a removal has this key. As in etcd, one of all keys from a key on (`range_end` is `\0`) is
/// not seen: it and a put run in their order.
fn removes(removed: &[&DeleteRangeRequest], key: &[u8]) -> bool {
    removed.iter().any(|DeleteRangeRequest { key: start, range_end, .. }| {
        if range_end.is_empty() {
            key == start
        } else {
            key >= start.as_slice() && key < range_end.as_slice()
        }
    })
}

/// Returns an error if two operations that may both run put the same key, or one puts a key that another
/// removes.
fn overlaps(operations: &[RequestOp]) -> Result<Written<'_>, Refusal> {
    let mut removed: Vec<_> =
        operations.iter().filter_map(|operation| operation.request_delete_range.as_ref()).collect();
    let mut put = HashSet::new();
    for txn in operations.iter().filter_map(|operation| operation.request_txn.as_deref()) {
        let (then_put, then_removed) = overlaps(&txn.success)?;
        let (else_put, else_removed) = overlaps(&txn.failure)?;
        // Either branch runs, so both may put the same key.
        let both: HashSet<_> = then_put.union(&else_put).copied().collect();
        if both.iter().any(|key| put.contains(key) || removes(&removed, key)) {
            return Err(Refusal::DuplicateKey);
        }
        put.extend(both);
        removed.extend(then_removed.into_iter().chain(else_removed));
    }
    for request in operations.iter().filter_map(|operation| operation.request_put.as_ref()) {
        if removes(&removed, &request.key) || !put.insert(request.key.as_slice()) {
            return Err(Refusal::DuplicateKey);
        }
    }
    Ok((put, removed))
}

fn is_write(request: &TxnRequest) -> bool {
    request.success.iter().chain(&request.failure).any(|operation| {
        operation.request_put.is_some()
            || operation.request_delete_range.is_some()
            || operation.request_txn.as_deref().is_some_and(is_write)
    })
}

fn size(request: &TxnRequest) -> usize {
    let compares = request
        .compare
        .iter()
        .map(|compare| compare.key.len() + compare.range_end.len() + compare.value.len());
    let operations = request.success.iter().chain(&request.failure).map(|operation| {
        let range =
            operation.request_range.as_ref().map_or(0, |range| range.key.len() + range.range_end.len());
        let put = operation.request_put.as_ref().map_or(0, |put| put.key.len() + put.value.len());
        let delete = operation
            .request_delete_range
            .as_ref()
            .map_or(0, |delete| delete.key.len() + delete.range_end.len());
        range + put + delete + operation.request_txn.as_deref().map_or(0, size)
    });
    compares.chain(operations).sum()
}

impl Engine<'_, '_> {
    /// Runs a transaction that [`check`] has accepted. Returns the response without its header.
    pub(super) fn txn(&mut self, request: &TxnRequest) -> Result<Message, Failure> {
        let plan = self.plan(request)?;
        // All errors come before the first write.
        self.check_puts(&plan)?;
        self.check_ranges(&plan)?;
        Ok(self.run(&plan)?)
    }

    fn plan<'r>(&self, request: &'r TxnRequest) -> Result<Plan<'r>, Failure> {
        let mut succeeded = true;
        for compare in &request.compare {
            if !self.holds(compare)? {
                succeeded = false;
                break;
            }
        }
        let branch = if succeeded { &request.success } else { &request.failure };
        let step = |operation: &'r RequestOp| {
            Ok::<_, Failure>(match operation.op()? {
                Op::Range(range) => Step::Range(range),
                Op::Put(put) => Step::Put(put),
                Op::DeleteRange(delete) => Step::DeleteRange(delete),
                Op::Txn(txn) => Step::Txn(self.plan(txn)?),
            })
        };
        Ok(Plan { succeeded, steps: branch.iter().map(step).collect::<Result<_, _>>()? })
    }

    /// Returns true if all keys of the comparison's range fulfill it. A missing key has zeros, and no value.
    fn holds(&self, compare: &Compare) -> Result<bool, redb::Error> {
        let (rows, _) = self.rows(&compare.key, &compare.range_end, usize::MAX)?;
        if rows.is_empty() {
            let missing = Row { created: 0, modified: 0, version: 0, lease: 0, value: Vec::new() };
            return Ok(compare.target != CompareTarget::Value && matches(compare, &missing));
        }
        Ok(rows.iter().all(|(_, row)| matches(compare, row)))
    }

    fn check_puts(&self, plan: &Plan) -> Result<(), Failure> {
        plan.steps.iter().try_for_each(|step| match step {
            Step::Put(put) => {
                self.check_previous(put)?;
                Ok(self.check_lease(put.lease)?)
            }
            Step::Txn(plan) => self.check_puts(plan),
            Step::Range(_) | Step::DeleteRange(_) => Ok(()),
        })
    }

    /// Returns an error if a put keeps the value or lease of a key that does not exist.
    pub(super) fn check_previous(&self, put: &PutRequest) -> Result<(), Failure> {
        if (put.ignore_value || put.ignore_lease) && self.row(&put.key)?.is_none() {
            return Err(Refusal::KeyNotFound.into());
        }
        Ok(())
    }

    fn check_ranges(&self, plan: &Plan) -> Result<(), Refusal> {
        plan.steps.iter().try_for_each(|step| match step {
            Step::Range(range) if range.revision != 0 => self.check_revision(range.revision),
            Step::Txn(plan) => self.check_ranges(plan),
            Step::Range(_) | Step::Put(_) | Step::DeleteRange(_) => Ok(()),
        })
    }

    fn run(&mut self, plan: &Plan) -> Result<Message, redb::Error> {
        let mut responses = Vec::with_capacity(plan.steps.len());
        for step in &plan.steps {
            let (name, response) = match step {
                Step::Range(range) => ("response_range", self.range(range)?),
                Step::Put(put) => ("response_put", self.put(put)?),
                Step::DeleteRange(delete) => ("response_delete_range", self.delete_range(delete)?),
                Step::Txn(plan) => {
                    let response = self.run(plan)?.message("header", Message::new());
                    responses.push(Message::new().message("response_txn", response));
                    continue;
                }
            };
            let header = Message::new().long("revision", self.revision());
            responses.push(Message::new().message(name, response.message("header", header)));
        }
        Ok(Message::new().flag("succeeded", plan.succeeded).list("responses", responses))
    }
}

fn matches(compare: &Compare, row: &Row) -> bool {
    let ordering = match compare.target {
        CompareTarget::Version => row.version.cmp(&compare.version),
        CompareTarget::Create => row.created.cmp(&compare.create_revision),
        CompareTarget::Mod => row.modified.cmp(&compare.mod_revision),
        CompareTarget::Value => row.value.cmp(&compare.value),
        CompareTarget::Lease => row.lease.cmp(&compare.lease),
    };
    match compare.result {
        CompareResult::Equal => ordering.is_eq(),
        CompareResult::NotEqual => ordering.is_ne(),
        CompareResult::Greater => ordering.is_gt(),
        CompareResult::Less => ordering.is_lt(),
    }
}
