//! Metrics.

use std::sync::Arc;

use wasmtime::Caller;

use super::super::metrics::Metric;
use super::super::state::VmState;
use super::super::{Dialect, HostCall, Status};
use super::{Answer, Call, Imports, env, status};

pub(super) fn define(imports: &mut Imports) -> wasmtime::Result<()> {
    env!(imports, DefineMetric, proxy_define_metric => define_metric, (kind: u32, name: u32, name_size: u32, id_at: u32));
    env!(imports, GetMetric, proxy_get_metric => get, (id: u32, value_at: u32));
    env!(imports, RecordMetric, proxy_record_metric => record, (id: u32, value: u64));
    env!(imports, IncrementMetric, proxy_increment_metric => increment, (id: u32, offset: i64));
    Ok(())
}

fn define_metric(call: &mut Call<'_>, kind: u32, name: u32, name_size: u32, id_at: u32) -> Answer {
    if !kept(call)? {
        return call.write_u32(id_at, 1);
    }
    let (name, state) = call.bytes(name, name_size)?;
    let name = String::from_utf8_lossy(name);
    let id = state.shared.metrics.define(kind, &name)?;
    call.write_u32(id_at, id)
}

fn get(call: &mut Call<'_>, id: u32, value_at: u32) -> Answer {
    let value = if kept(call)? { metric(call.state_mut(), id)?.get()? } else { 0 };
    call.write_u64(value_at, value)
}

fn record(call: &mut Call<'_>, id: u32, value: u64) -> Answer {
    if !kept(call)? {
        return Ok(());
    }
    answer(metric(call.state_mut(), id)?.record(value))
}

fn increment(call: &mut Call<'_>, id: u32, offset: i64) -> Answer {
    if !kept(call)? {
        return Ok(());
    }
    answer(metric(call.state_mut(), id)?.increment(offset))
}

/// Returns true if this host stores metrics. The forgetful dialect reports success and stores nothing.
fn kept(call: &Call<'_>) -> Answer<bool> {
    match call.dialect() {
        Dialect::Envoy | Dialect::InsertIfAbsent => Ok(true),
        Dialect::Forgetful => Ok(false),
        Dialect::Unimplemented => Err(Status::Unimplemented.into()),
    }
}

fn metric(state: &mut VmState, id: u32) -> Answer<&Arc<Metric>> {
    if state.metrics.len() <= id as usize {
        // Another VM has defined it, or this one just did.
        state.metrics = state.shared.metrics.handles();
    }
    Ok(state.metrics.get(id as usize).ok_or(Status::NotFound)?)
}

fn answer(status: Status) -> Answer {
    if status == Status::Ok { Ok(()) } else { Err(status.into()) }
}
