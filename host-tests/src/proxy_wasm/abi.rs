//! The numbers and wire formats of proxy-wasm ABI 0.2.1.

use std::fmt;

/// The status of a host call (`proxy_status_t`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Status {
    /// Success.
    Ok = 0,
    /// No such key, property, queue, metric, function or buffer.
    NotFound = 1,
    /// An invalid argument.
    BadArgument = 2,
    /// A value that cannot be serialized.
    SerializationFailure = 3,
    /// Bytes that cannot be parsed.
    ParseFailure = 4,
    /// A pointer outside the module's memory.
    InvalidMemoryAccess = 6,
    /// The queue is empty.
    Empty = 7,
    /// The value has changed since it was read.
    CasMismatch = 8,
    /// The host failed.
    InternalFailure = 10,
    /// The host does not implement the call.
    Unimplemented = 12,
}

/// The severity of a line that the module logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum LogLevel {
    /// 0
    Trace = 0,
    /// 1
    Debug = 1,
    /// 2
    Info = 2,
    /// 3
    Warn = 3,
    /// 4
    Error = 4,
    /// 5
    Critical = 5,
}

impl LogLevel {
    pub(crate) fn from_abi(value: u32) -> Option<LogLevel> {
        Some(match value {
            0 => LogLevel::Trace,
            1 => LogLevel::Debug,
            2 => LogLevel::Info,
            3 => LogLevel::Warn,
            4 => LogLevel::Error,
            5 => LogLevel::Critical,
            _ => return None,
        })
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LogLevel::Trace => "trace",
            LogLevel::Debug => "debug",
            LogLevel::Info => "info",
            LogLevel::Warn => "warn",
            LogLevel::Error => "error",
            LogLevel::Critical => "critical",
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BufferType {
    RequestBody,
    ResponseBody,
    /// Layer 4, which this host does not support.
    Network,
    CalloutBody,
    GrpcMessage,
    VmConfiguration,
    PluginConfiguration,
    CallData,
}

impl BufferType {
    pub(crate) fn from_abi(value: u32) -> Option<BufferType> {
        Some(match value {
            0 => BufferType::RequestBody,
            1 => BufferType::ResponseBody,
            2 | 3 => BufferType::Network,
            4 => BufferType::CalloutBody,
            5 => BufferType::GrpcMessage,
            6 => BufferType::VmConfiguration,
            7 => BufferType::PluginConfiguration,
            8 => BufferType::CallData,
            _ => return None,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MapType {
    RequestHeaders,
    RequestTrailers,
    ResponseHeaders,
    ResponseTrailers,
    Grpc,
    CalloutHeaders,
    CalloutTrailers,
}

impl MapType {
    pub(crate) fn from_abi(value: u32) -> Option<MapType> {
        Some(match value {
            0 => MapType::RequestHeaders,
            1 => MapType::RequestTrailers,
            2 => MapType::ResponseHeaders,
            3 => MapType::ResponseTrailers,
            4 | 5 => MapType::Grpc,
            6 => MapType::CalloutHeaders,
            7 => MapType::CalloutTrailers,
            _ => return None,
        })
    }
}

/// One direction of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client to the upstream.
    Request,
    /// From the upstream to the client.
    Response,
}

/// The calls of the ABI, for counters, faults and traces.
///
/// Calls that all hosts treat alike share one entry (`Grpc`, `Wasi`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[allow(missing_docs)] // Each is the ABI function of the same name.
pub enum HostCall {
    Log,
    GetLogLevel,
    GetCurrentTimeNanoseconds,
    SetTickPeriodMilliseconds,
    GetBufferBytes,
    SetBufferBytes,
    GetBufferStatus,
    GetHeaderMapPairs,
    SetHeaderMapPairs,
    GetHeaderMapValue,
    ReplaceHeaderMapValue,
    RemoveHeaderMapValue,
    AddHeaderMapValue,
    GetHeaderMapSize,
    GetProperty,
    SetProperty,
    GetSharedData,
    SetSharedData,
    RegisterSharedQueue,
    ResolveSharedQueue,
    EnqueueSharedQueue,
    DequeueSharedQueue,
    ContinueStream,
    CloseStream,
    SendLocalResponse,
    HttpCall,
    Grpc,
    GetStatus,
    SetEffectiveContext,
    CallForeignFunction,
    Done,
    DefineMetric,
    GetMetric,
    RecordMetric,
    IncrementMetric,
    ClockTimeGet,
    RandomGet,
    Wasi,
}

impl HostCall {
    /// The number of entries.
    pub const COUNT: usize = HostCall::Wasi as usize + 1;

    /// Returns true if another VM can observe or change the state that this call uses, so that the order of
    /// VMs matters.
    pub(crate) const fn is_shared(self) -> bool {
        matches!(
            self,
            HostCall::GetSharedData
                | HostCall::SetSharedData
                | HostCall::EnqueueSharedQueue
                | HostCall::DequeueSharedQueue
                | HostCall::GetCurrentTimeNanoseconds
                | HostCall::ClockTimeGet
        )
    }
}

/// Parses a serialized header map: a count, the lengths, then each name and value with a NUL after it.
///
/// All numbers are little-endian `u32`. Returns `None` if a length is out of range.
pub(crate) fn read_pairs(bytes: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let number = |at: usize| -> Option<usize> {
        let four = bytes.get(at..at.checked_add(4)?)?;
        Some(u32::from_le_bytes(four.try_into().ok()?) as usize)
    };
    let count = number(0)?;
    let mut at = 4usize.checked_add(count.checked_mul(8)?)?;
    if at > bytes.len() {
        return None;
    }
    let mut pairs = Vec::with_capacity(count);
    for index in 0..count {
        let name_end = at.checked_add(number(4 + index * 8)?)?;
        let name = bytes.get(at..name_end)?;
        let value_end = (name_end + 1).checked_add(number(8 + index * 8)?)?;
        let value = bytes.get(name_end + 1..value_end)?;
        pairs.push((name, value));
        at = value_end + 1;
    }
    Some(pairs)
}

/// Serializes a header map; the inverse of [`read_pairs`].
pub(crate) fn write_pairs<'a>(
    pairs: impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])> + Clone,
    into: &mut Vec<u8>,
) {
    into.clear();
    into.extend_from_slice(&(pairs.len() as u32).to_le_bytes());
    for (name, value) in pairs.clone() {
        into.extend_from_slice(&(name.len() as u32).to_le_bytes());
        into.extend_from_slice(&(value.len() as u32).to_le_bytes());
    }
    for (name, value) in pairs {
        into.extend_from_slice(name);
        into.push(0);
        into.extend_from_slice(value);
        into.push(0);
    }
}

#[cfg(test)]
mod tests {
    use super::{read_pairs, write_pairs};

    #[test]
    fn pairs_survive_a_round_trip_with_any_bytes_in_their_values() {
        let pairs: Vec<(&[u8], &[u8])> = vec![(b":path", b"/a\0b"), (b"x", b""), (b"y", &[0xff, 0xfe])];
        let mut bytes = Vec::new();
        write_pairs(pairs.iter().copied(), &mut bytes);
        assert_eq!(read_pairs(&bytes), Some(pairs));
    }

    #[test]
    fn pairs_with_a_length_beyond_the_end_are_refused() {
        let mut bytes = Vec::new();
        let pairs: Vec<(&[u8], &[u8])> = vec![(b"a", b"b")];
        write_pairs(pairs.iter().copied(), &mut bytes);
        bytes[8] = 200;
        assert_eq!(read_pairs(&bytes), None);
        assert_eq!(read_pairs(&u32::MAX.to_le_bytes()), None);
    }
}
