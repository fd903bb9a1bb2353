//! Requests of etcd's JSON gateway, in protobuf's JSON mapping: bytes in base64, 64-bit integers as strings
//! or numbers, and omitted fields for zero and empty values.

use std::fmt;
use std::marker::PhantomData;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{self, Deserialize, DeserializeOwned, Deserializer, Visitor};

use super::refusal::Refusal;

/// A request by its path.
#[derive(Debug)]
pub(super) enum Request {
    Range(RangeRequest),
    Put(PutRequest),
    DeleteRange(DeleteRangeRequest),
    Txn(TxnRequest),
    Compact(CompactRequest),
    LeaseGrant(LeaseGrant),
    LeaseRevoke(LeaseId),
    LeaseKeepAlive(LeaseId),
    LeaseTimeToLive(LeaseTimeToLive),
    LeaseList,
    Authenticate,
}

impl Request {
    /// Reads the request to a path of the gateway.
    pub(super) fn parse(path: &str, body: &[u8]) -> Result<Request, Refusal> {
        Ok(match path {
            "/v3/kv/range" => Request::Range(read(body)?),
            "/v3/kv/put" => Request::Put(read(body)?),
            "/v3/kv/deleterange" => Request::DeleteRange(read(body)?),
            "/v3/kv/txn" => Request::Txn(read(body)?),
            "/v3/kv/compaction" => Request::Compact(read(body)?),
            "/v3/lease/grant" => Request::LeaseGrant(read(body)?),
            "/v3/lease/revoke" | "/v3/kv/lease/revoke" => Request::LeaseRevoke(read(body)?),
            "/v3/lease/keepalive" => Request::LeaseKeepAlive(read(body)?),
            "/v3/lease/timetolive" | "/v3/kv/lease/timetolive" => Request::LeaseTimeToLive(read(body)?),
            "/v3/lease/leases" | "/v3/kv/lease/leases" => Request::LeaseList,
            "/v3/auth/authenticate" => Request::Authenticate,
            _ => return Err(Refusal::NoSuchPath),
        })
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| Refusal::Unreadable(error.to_string()))
}

/// Declares the record of a request: all fields are optional, and unknown ones are ignored, as in etcd.
macro_rules! record {
    ($(#[$doc:meta])* $name:ident { $($field:ident : $kind:ty = $with:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Default, serde::Deserialize)]
        #[serde(default)]
        pub(super) struct $name {
            $(#[serde(deserialize_with = $with)] pub(super) $field: $kind,)*
        }
    };
}

record!(
    /// A read of keys, at the present or at an earlier revision.
    RangeRequest {
        key: Vec<u8> = "bytes",
        range_end: Vec<u8> = "bytes",
        limit: i64 = "long",
        revision: i64 = "long",
        sort_order: SortOrder = "name",
        sort_target: SortTarget = "name",
        keys_only: bool = "plain",
        count_only: bool = "plain",
        min_mod_revision: i64 = "long",
        max_mod_revision: i64 = "long",
        min_create_revision: i64 = "long",
        max_create_revision: i64 = "long",
    }
);

record!(
    /// A write of one key.
    PutRequest {
        key: Vec<u8> = "bytes",
        value: Vec<u8> = "bytes",
        lease: i64 = "long",
        prev_kv: bool = "plain",
        ignore_value: bool = "plain",
        ignore_lease: bool = "plain",
    }
);

record!(
    /// A removal of keys.
    DeleteRangeRequest {
        key: Vec<u8> = "bytes",
        range_end: Vec<u8> = "bytes",
        prev_kv: bool = "plain",
    }
);

record!(
    /// Comparisons, with the operations for either result.
    TxnRequest {
        compare: Vec<Compare> = "plain",
        success: Vec<RequestOp> = "plain",
        failure: Vec<RequestOp> = "plain",
    }
);

record!(
    /// A comparison of each key in a range with a value.
    Compare {
        result: CompareResult = "name",
        target: CompareTarget = "name",
        key: Vec<u8> = "bytes",
        range_end: Vec<u8> = "bytes",
        version: i64 = "long",
        create_revision: i64 = "long",
        mod_revision: i64 = "long",
        lease: i64 = "long",
        value: Vec<u8> = "bytes",
    }
);

record!(
    /// An operation of a transaction. One field is present.
    RequestOp {
        request_range: Option<RangeRequest> = "plain",
        request_put: Option<PutRequest> = "plain",
        request_delete_range: Option<DeleteRangeRequest> = "plain",
        request_txn: Option<Box<TxnRequest>> = "plain",
    }
);

record!(
    /// A request to forget what was replaced before a revision.
    CompactRequest {
        revision: i64 = "long",
        physical: bool = "plain",
    }
);

record!(
    /// A request for a lease; id 0: one that the store chooses.
    #[allow(non_snake_case)]
    LeaseGrant {
        TTL: i64 = "long",
        ID: i64 = "long",
    }
);

record!(
    /// The id of a lease.
    #[allow(non_snake_case)]
    LeaseId {
        ID: i64 = "long",
    }
);

record!(
    /// A request for the time that a lease has left, and for its keys.
    #[allow(non_snake_case)]
    LeaseTimeToLive {
        ID: i64 = "long",
        keys: bool = "plain",
    }
);

/// An enumeration of protobuf, which JSON has by name or by number.
pub(super) trait Names: Copy + 'static {
    const NAMES: &'static [(&'static str, Self)];
}

macro_rules! names {
    ($(#[$doc:meta])* $kind:ident { $first:ident = $text:literal, $($variant:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub(super) enum $kind { #[default] $first, $($variant,)* }

        impl Names for $kind {
            const NAMES: &'static [(&'static str, Self)] = &[($text, $kind::$first), $(($name, $kind::$variant),)*];
        }
    };
}

names!(
    /// The order of a range.
    SortOrder { None = "NONE", Ascend = "ASCEND", Descend = "DESCEND", }
);
names!(
    /// The field by which a range is sorted.
    SortTarget { Key = "KEY", Version = "VERSION", Create = "CREATE", Mod = "MOD", Value = "VALUE", }
);
names!(
    /// The relation of a comparison.
    CompareResult { Equal = "EQUAL", Greater = "GREATER", Less = "LESS", NotEqual = "NOT_EQUAL", }
);
names!(
    /// The field of a comparison.
    CompareTarget { Version = "VERSION", Create = "CREATE", Mod = "MOD", Value = "VALUE", Lease = "LEASE", }
);

/// Reads a value in serde's own form; `null` is the default.
fn plain<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(from).map(Option::unwrap_or_default)
}

fn bytes<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    let text: Option<String> = Option::deserialize(from)?;
    STANDARD.decode(text.unwrap_or_default()).map_err(de::Error::custom)
}

fn long<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    struct Long;
    impl Visitor<'_> for Long {
        type Value = i64;
        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("a 64-bit integer, as a string or a number")
        }
        fn visit_i64<E: de::Error>(self, number: i64) -> Result<i64, E> {
            Ok(number)
        }
        fn visit_u64<E: de::Error>(self, number: u64) -> Result<i64, E> {
            i64::try_from(number).map_err(E::custom)
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<i64, E> {
            text.parse().map_err(E::custom)
        }
        fn visit_unit<E: de::Error>(self) -> Result<i64, E> {
            Ok(0)
        }
    }
    from.deserialize_any(Long)
}

fn name<'de, D: Deserializer<'de>, T: Names>(from: D) -> Result<T, D::Error> {
    struct Name<T>(PhantomData<T>);
    impl<T: Names> Visitor<'_> for Name<T> {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            let names: Vec<_> = T::NAMES.iter().map(|(name, _)| *name).collect();
            write!(f, "one of {}", names.join(", "))
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            let found = T::NAMES.iter().find(|(name, _)| *name == text);
            found.map(|(_, value)| *value).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
        }
        fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
            let found = usize::try_from(number).ok().and_then(|number| T::NAMES.get(number));
            found
                .map(|(_, value)| *value)
                .ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(number), &self))
        }
    }
    from.deserialize_any(Name(PhantomData))
}
