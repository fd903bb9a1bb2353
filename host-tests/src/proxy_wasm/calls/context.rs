//! Logging, time, contexts, the calls that end or continue a stream, and callouts.

use std::time::Duration;

use wasmtime::Caller;

use super::super::abi::read_pairs;
use super::super::state::{HttpCall, Phase, RootEnd, VmState};
use super::super::stream::PendingReply;
use super::super::{Dialect, Direction, HeaderMap, HostCall, LogLevel, Status};
use super::{Answer, Call, Imports, env, status};

pub(super) fn define(imports: &mut Imports) -> wasmtime::Result<()> {
    env!(imports, Log, proxy_log => log, (level: u32, at: u32, size: u32));
    env!(imports, GetLogLevel, proxy_get_log_level => log_level, (level_at: u32));
    env!(imports, GetCurrentTimeNanoseconds, proxy_get_current_time_nanoseconds => time, (time_at: u32));
    env!(imports, SetTickPeriodMilliseconds, proxy_set_tick_period_milliseconds => tick_period, (period: u32));
    env!(imports, SetEffectiveContext, proxy_set_effective_context => effective_context, (id: u32));
    env!(imports, Done, proxy_done => done, ());
    env!(imports, ContinueStream, proxy_continue_stream => continue_stream, (kind: u32));
    env!(imports, CloseStream, proxy_close_stream => close_stream, (kind: u32));
    env!(imports, SendLocalResponse, proxy_send_local_response => send_local_response,
        (code: u32, details: u32, details_size: u32, body: u32, body_size: u32, headers: u32, headers_size: u32, _grpc: u32));
    env!(imports, HttpCall, proxy_http_call => http_call,
        (upstream: u32, upstream_size: u32, headers: u32, headers_size: u32, body: u32, body_size: u32,
         trailers: u32, trailers_size: u32, timeout: u32, token_at: u32));
    env!(imports, GetStatus, proxy_get_status => grpc_status, (code_at: u32, message_at: u32, size_at: u32));
    env!(imports, Grpc, proxy_grpc_call => grpc_call, (_a: u32, _b: u32, _c: u32, _d: u32, _e: u32, _f: u32,
        _g: u32, _h: u32, _i: u32, _j: u32, _k: u32, _l: u32));
    env!(imports, Grpc, proxy_grpc_stream => grpc_stream,
        (_a: u32, _b: u32, _c: u32, _d: u32, _e: u32, _f: u32, _g: u32, _h: u32, _i: u32));
    env!(imports, Grpc, proxy_grpc_send => grpc_send, (_a: u32, _b: u32, _c: u32, _d: u32));
    env!(imports, Grpc, proxy_grpc_cancel => grpc_end, (_token: u32));
    env!(imports, Grpc, proxy_grpc_close => grpc_end, (_token: u32));
    Ok(())
}

fn log(call: &mut Call<'_>, level: u32, at: u32, size: u32) -> Answer {
    let level = LogLevel::from_abi(level).ok_or(Status::BadArgument)?;
    let (text, state) = call.bytes(at, size)?;
    state.log(level, text);
    Ok(())
}

fn log_level(call: &mut Call<'_>, level_at: u32) -> Answer {
    let level = call.state().shared.options.log_level;
    call.write_u32(level_at, level as u32)
}

fn time(call: &mut Call<'_>, time_at: u32) -> Answer {
    let now = call.state().shared.clock.wall();
    call.write_u64(time_at, now)
}

fn tick_period(call: &mut Call<'_>, period: u32) -> Answer {
    match call.dialect() {
        Dialect::Unimplemented => return Err(Status::Unimplemented.into()),
        Dialect::Forgetful => return Ok(()),
        Dialect::Envoy | Dialect::InsertIfAbsent => {}
    }
    let state = call.state_mut();
    let id = state.root().ok_or(Status::BadArgument)?.id;
    let root = state.root_mut(id).ok_or(Status::BadArgument)?;
    root.tick_period = Duration::from_millis(u64::from(period));
    Ok(())
}

fn effective_context(call: &mut Call<'_>, id: u32) -> Answer {
    let state = call.state_mut();
    if !state.knows(id) {
        return Err(Status::BadArgument.into());
    }
    state.effective = Some(id);
    Ok(())
}

fn done(call: &mut Call<'_>) -> Answer {
    let state = call.state_mut();
    let context = state.context();
    match state.root_mut(context) {
        Some(root) if root.end == RootEnd::Asked => {
            root.end = RootEnd::Done;
            Ok(())
        }
        _ => Err(Status::NotFound.into()),
    }
}

/// Records a stream that is changed outside its own callback.
fn touch(state: &mut VmState, direction: Direction) {
    let context = state.context();
    if context != state.current {
        state.touched.push((context, direction));
    }
}

fn http_direction(kind: u32) -> Answer<Direction> {
    match kind {
        0 => Ok(Direction::Request),
        1 => Ok(Direction::Response),
        // 2 and 3 are layer 4, which this host does not support.
        _ => Err(Status::BadArgument.into()),
    }
}

fn continue_stream(call: &mut Call<'_>, kind: u32) -> Answer {
    let direction = http_direction(kind)?;
    let state = call.state_mut();
    if let Some(stream) = state.stream_mut() {
        stream.side_mut(direction).resume = true;
        touch(state, direction);
    }
    Ok(())
}

fn close_stream(call: &mut Call<'_>, kind: u32) -> Answer {
    let direction = http_direction(kind)?;
    let state = call.state_mut();
    if let Some(stream) = state.stream_mut() {
        stream.closed = true;
        touch(state, direction);
    }
    Ok(())
}

#[allow(clippy::too_many_arguments)] // The ABI has them.
fn send_local_response(
    call: &mut Call<'_>,
    code: u32,
    details: u32,
    details_size: u32,
    body: u32,
    body_size: u32,
    headers: u32,
    headers_size: u32,
    _grpc_status: u32,
) -> Answer {
    let (memory, state) = call.memory_and_state();
    let details = String::from_utf8_lossy(super::slice(memory, details, details_size)?).into_owned();
    let body = super::slice(memory, body, body_size)?.to_vec();
    let pairs = read_pairs(super::slice(memory, headers, headers_size)?).ok_or(Status::BadArgument)?;
    let headers = HeaderMap::from_iter(pairs);
    let Some(stream) = state.stream_mut() else {
        return Ok(());
    };
    if stream.replied || stream.reply.is_some() {
        // In Envoy the client hangs or is cut. A module cannot rely on that, but gets no error status either.
        state.log(LogLevel::Warn, b"a second local reply for one stream is ignored");
        return Ok(());
    }
    stream.reply = Some(PendingReply { status: code, headers, body, details });
    touch(state, Direction::Request);
    Ok(())
}

#[allow(clippy::too_many_arguments)] // The ABI has them.
fn http_call(
    call: &mut Call<'_>,
    upstream: u32,
    upstream_size: u32,
    headers: u32,
    headers_size: u32,
    body: u32,
    body_size: u32,
    trailers: u32,
    trailers_size: u32,
    timeout: u32,
    token_at: u32,
) -> Answer {
    match call.dialect() {
        Dialect::Unimplemented => return Err(Status::Unimplemented.into()),
        Dialect::Forgetful => return Err(Status::InternalFailure.into()),
        Dialect::Envoy | Dialect::InsertIfAbsent => {}
    }
    call.write_u32(token_at, 0)?;
    let (memory, state) = call.memory_and_state();
    let upstream = String::from_utf8_lossy(super::slice(memory, upstream, upstream_size)?).into_owned();
    let pairs = read_pairs(super::slice(memory, headers, headers_size)?).ok_or(Status::BadArgument)?;
    let headers = HeaderMap::from_iter(pairs);
    let body = super::slice(memory, body, body_size)?.to_vec();
    let pairs = read_pairs(super::slice(memory, trailers, trailers_size)?).ok_or(Status::BadArgument)?;
    let trailers = HeaderMap::from_iter(pairs);
    let complete = [":method", ":path", ":authority"].iter().all(|name| headers.get(name).is_some());
    let known = state.shared.options.clusters.contains(&upstream);
    if !complete || !known || state.phase == Phase::Starting {
        return Err(Status::BadArgument.into());
    }
    let root = state.root().ok_or(Status::InternalFailure)?.id;
    let token = state.next_token;
    state.next_token += 1;
    state.open_calls.insert(token, root);
    let timeout = Duration::from_millis(u64::from(timeout));
    state.calls.push(HttpCall { token, upstream, headers, body, trailers, timeout });
    call.write_u32(token_at, token)
}

/// gRPC is not supported: the calls fail as in Envoy for an unknown cluster, which a module must handle.
#[allow(clippy::too_many_arguments)] // The ABI has them.
fn grpc_call(
    call: &mut Call<'_>,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
) -> Answer {
    no_grpc(call)
}

#[allow(clippy::too_many_arguments)] // The ABI has them.
fn grpc_stream(
    call: &mut Call<'_>,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
    _: u32,
) -> Answer {
    no_grpc(call)
}

fn grpc_send(call: &mut Call<'_>, _: u32, _: u32, _: u32, _: u32) -> Answer {
    no_grpc(call)
}

fn grpc_end(call: &mut Call<'_>, _token: u32) -> Answer {
    no_grpc(call)
}

fn no_grpc(call: &mut Call<'_>) -> Answer {
    match call.dialect() {
        Dialect::Unimplemented => Err(Status::Unimplemented.into()),
        _ => Err(Status::InternalFailure.into()),
    }
}

fn grpc_status(call: &mut Call<'_>, code_at: u32, message_at: u32, size_at: u32) -> Answer {
    call.write_u32(code_at, 0)?;
    call.give(&[], message_at, size_at)
}
