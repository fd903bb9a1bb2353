//! The part of WASI preview 1 that the standard libraries of Rust and C link, as in proxy-wasm hosts:
//! standard output and error go to the log; the environment is that of the process's options; there are no files or arguments.

use wasmtime::Caller;

use super::super::state::VmState;
use super::super::{HostCall, LogLevel};
use super::{Answer, Call, Imports, Refusal};

/// `__wasi_errno_t`
#[derive(Clone, Copy)]
enum Errno {
    Success = 0,
    BadFile = 8,
    Fault = 21,
    Invalid = 28,
    Io = 29,
    NoSystemCall = 52,
}

/// `wasi!(imports, Wasi, fd_close => fd_close, (fd: u32))`
macro_rules! wasi {
    ($imports:ident, $call:ident, $name:ident => $function:path, ($($argument:ident: $type:ty),*)) => {
        // Envoy also provides the functions under the name of the draft.
        for module in ["wasi_snapshot_preview1", "wasi_unstable"] {
            $imports.names.push((module, stringify!($name)));
            $imports.linker.func_wrap(module, stringify!($name), |caller: Caller<'_, VmState> $(, $argument: $type)*| {
                let mut call = Call { caller };
                let begun = call.begin(HostCall::$call).map(|()| Errno::Success);
                errno(begun.and_then(|_| $function(&mut call $(, $argument)*)))
            })?;
        }
    };
}

pub(super) fn define(imports: &mut Imports) -> wasmtime::Result<()> {
    wasi!(imports, ClockTimeGet, clock_time_get => clock_time, (clock: u32, _precision: u64, time_at: u32));
    wasi!(imports, Wasi, clock_res_get => clock_resolution, (clock: u32, resolution_at: u32));
    wasi!(imports, RandomGet, random_get => random, (at: u32, size: u32));
    wasi!(imports, Wasi, fd_write => fd_write, (fd: u32, vectors: u32, count: u32, written_at: u32));
    wasi!(imports, Wasi, fd_read => fd_read, (_fd: u32, _vectors: u32, _count: u32, _read_at: u32));
    wasi!(imports, Wasi, fd_seek => fd_seek, (_fd: u32, _offset: i64, _whence: u32, _at: u32));
    wasi!(imports, Wasi, fd_close => fd_close, (_fd: u32));
    wasi!(imports, Wasi, fd_fdstat_get => fd_stat, (fd: u32, stat_at: u32));
    wasi!(imports, Wasi, fd_prestat_get => fd_prestat, (_fd: u32, _at: u32));
    wasi!(imports, Wasi, fd_prestat_dir_name => fd_prestat_name, (_fd: u32, _at: u32, _size: u32));
    wasi!(imports, Wasi, environ_sizes_get => environment_size, (count_at: u32, size_at: u32));
    wasi!(imports, Wasi, environ_get => environment, (pointers: u32, bytes: u32));
    wasi!(imports, Wasi, args_sizes_get => no_strings, (count_at: u32, size_at: u32));
    wasi!(imports, Wasi, args_get => nothing, (_pointers: u32, _bytes: u32));
    wasi!(imports, Wasi, sched_yield => sched_yield, ());
    for module in ["wasi_snapshot_preview1", "wasi_unstable"] {
        imports.names.push((module, "proc_exit"));
        imports.linker.func_wrap(
            module,
            "proc_exit",
            |_: Caller<'_, VmState>, code: u32| -> wasmtime::Result<()> {
                Err(wasmtime::Error::msg(format!("the module called `proc_exit({code})`")))
            },
        )?;
    }
    Ok(())
}

fn errno(answer: Answer<Errno>) -> wasmtime::Result<u32> {
    match answer {
        Ok(errno) => Ok(errno as u32),
        Err(Refusal::Status(_)) => Ok(Errno::Fault as u32),
        Err(Refusal::Trap(error)) => Err(error),
    }
}

fn clock_time(call: &mut Call<'_>, clock: u32, _precision: u64, time_at: u32) -> Answer<Errno> {
    let time = match clock {
        0 => call.state().shared.clock.wall(),
        1 => call.state().shared.clock.monotonic(),
        // Process and thread time, which are not used.
        _ => return Ok(Errno::Invalid),
    };
    call.write_u64(time_at, time)?;
    Ok(Errno::Success)
}

fn clock_resolution(call: &mut Call<'_>, clock: u32, resolution_at: u32) -> Answer<Errno> {
    if clock > 1 {
        return Ok(Errno::Invalid);
    }
    call.write_u64(resolution_at, 1)?;
    Ok(Errno::Success)
}

/// Writes random bytes from a seeded generator if the process has a seed, so that runs can be repeated.
fn random(call: &mut Call<'_>, at: u32, size: u32) -> Answer<Errno> {
    // The limit of proxy-wasm-cpp-host.
    if size > 64 * 1024 {
        return Ok(Errno::Invalid);
    }
    let mut bytes = vec![0; size as usize];
    match &mut call.state_mut().random {
        Some(state) => {
            for chunk in bytes.chunks_mut(8) {
                let number = super::super::schedule::split_mix(state).to_le_bytes();
                chunk.copy_from_slice(&number[..chunk.len()]);
            }
        }
        None if getrandom::fill(&mut bytes).is_err() => return Ok(Errno::Io),
        None => {}
    }
    call.write(at, &bytes)?;
    Ok(Errno::Success)
}

fn fd_write(call: &mut Call<'_>, fd: u32, vectors: u32, count: u32, written_at: u32) -> Answer<Errno> {
    let level = match fd {
        1 => LogLevel::Info,
        2 => LogLevel::Error,
        _ => return Ok(Errno::BadFile),
    };
    let mut text = Vec::new();
    for index in 0..count {
        let vector = vectors.saturating_add(index.saturating_mul(8));
        let (bytes, _) = call.bytes(vector, 8)?;
        let (at, size) = bytes.split_at(4);
        let (at, size) = (number(at), number(size));
        let (bytes, _) = call.bytes(at, size)?;
        text.extend_from_slice(bytes);
    }
    let written = text.len() as u32;
    let line = text.strip_suffix(b"\n").unwrap_or(&text);
    if !line.is_empty() {
        call.state().log(level, line);
    }
    call.write_u32(written_at, written)?;
    Ok(Errno::Success)
}

fn number(bytes: &[u8]) -> u32 {
    bytes.try_into().map_or(0, u32::from_le_bytes)
}

fn fd_read(_: &mut Call<'_>, _: u32, _: u32, _: u32, _: u32) -> Answer<Errno> {
    Ok(Errno::NoSystemCall)
}

fn fd_seek(_: &mut Call<'_>, _: u32, _: i64, _: u32, _: u32) -> Answer<Errno> {
    Ok(Errno::Success)
}

fn fd_close(_: &mut Call<'_>, _: u32) -> Answer<Errno> {
    Ok(Errno::Success)
}

/// Writes 24 bytes that describe a writable character device.
fn fd_stat(call: &mut Call<'_>, fd: u32, stat_at: u32) -> Answer<Errno> {
    if !matches!(fd, 1 | 2) {
        return Ok(Errno::BadFile);
    }
    let mut stat = [0; 24];
    stat[0] = 2;
    stat[8] = 64;
    call.write(stat_at, &stat)?;
    Ok(Errno::Success)
}

fn fd_prestat(_: &mut Call<'_>, _: u32, _: u32) -> Answer<Errno> {
    Ok(Errno::BadFile)
}

fn fd_prestat_name(_: &mut Call<'_>, _: u32, _: u32, _: u32) -> Answer<Errno> {
    Ok(Errno::BadFile)
}

/// Returns the environment variables, each as `NAME=VALUE` with a zero byte at the end.
fn variables(call: &Call<'_>) -> Vec<String> {
    let variables = &call.state().shared.options.variables;
    variables.iter().map(|(name, value)| format!("{name}={value}\0")).collect()
}

fn environment_size(call: &mut Call<'_>, count_at: u32, size_at: u32) -> Answer<Errno> {
    let variables = variables(call);
    call.write_u32(count_at, variables.len() as u32)?;
    call.write_u32(size_at, variables.iter().map(String::len).sum::<usize>() as u32)?;
    Ok(Errno::Success)
}

fn environment(call: &mut Call<'_>, mut pointers: u32, mut bytes: u32) -> Answer<Errno> {
    for variable in variables(call) {
        call.write_u32(pointers, bytes)?;
        call.write(bytes, variable.as_bytes())?;
        pointers = pointers.saturating_add(4);
        bytes = bytes.saturating_add(variable.len() as u32);
    }
    Ok(Errno::Success)
}

fn no_strings(call: &mut Call<'_>, count_at: u32, size_at: u32) -> Answer<Errno> {
    call.write_u32(count_at, 0)?;
    call.write_u32(size_at, 0)?;
    Ok(Errno::Success)
}

fn nothing(_: &mut Call<'_>, _: u32, _: u32) -> Answer<Errno> {
    Ok(Errno::Success)
}

fn sched_yield(_: &mut Call<'_>) -> Answer<Errno> {
    Ok(Errno::Success)
}
