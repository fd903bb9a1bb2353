//! The plain stretches of a string, sixteen bytes a step.

/// Bytes in a step.
const STEP: usize = 16;

/// The start of `bytes` that stands for itself in a JSON string (RFC 8259, 7): everything before the
/// first quote, backslash or control character. Whether the encoding is UTF-8 is for the caller to
/// check, but only where `ascii` is false.
pub(super) struct Plain<'a> {
    /// The stretch itself.
    pub(super) run: &'a [u8],
    /// Whatever follows it; empty when the piece ended first.
    pub(super) rest: &'a [u8],
    /// No byte of the stretch is above 127.
    pub(super) ascii: bool,
}

/// Splits off the plain start of `bytes`.
pub(super) fn split(bytes: &[u8]) -> Plain<'_> {
    let mut length = 0;
    let mut high = false;
    let (steps, tail) = bytes.as_chunks::<STEP>();
    let mut stopped = false;
    for step in steps {
        let marks = Marks::of(step);
        if marks.special != 0 {
            let before = marks.special.trailing_zeros();
            high |= marks.high & !(u32::MAX << before) != 0;
            length += before as usize;
            stopped = true;
            break;
        }
        high |= marks.high != 0;
        length += STEP;
    }
    if !stopped {
        for &byte in tail {
            if is_special(byte) {
                break;
            }
            high |= byte >= 0x80;
            length += 1;
        }
    }
    let (run, rest) = bytes.split_at_checked(length).unwrap_or((bytes, &[]));
    Plain { run, rest, ascii: !high }
}

fn is_special(byte: u8) -> bool {
    byte == b'"' || byte == b'\\' || byte < 0x20
}

/// One bit for each byte of a step, the first byte's lowest.
struct Marks {
    /// Quotes, backslashes and control characters.
    special: u32,
    /// Bytes above 127.
    high: u32,
}

impl Marks {
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    #[inline]
    fn of(step: &[u8; STEP]) -> Self {
        use core::arch::wasm32::{i8x16_bitmask, u8x16_eq, u8x16_lt, u8x16_splat, v128_load, v128_or};
        // SAFETY: `step` is sixteen readable bytes, and the load asks for no alignment.
        let bytes = unsafe { v128_load(step.as_ptr().cast()) };
        let quote = u8x16_eq(bytes, u8x16_splat(b'"'));
        let backslash = u8x16_eq(bytes, u8x16_splat(b'\\'));
        let control = u8x16_lt(bytes, u8x16_splat(0x20));
        let special = v128_or(v128_or(quote, backslash), control);
        Self { special: u32::from(i8x16_bitmask(special)), high: u32::from(i8x16_bitmask(bytes)) }
    }

    #[cfg(target_arch = "x86_64")]
    #[inline]
    fn of(step: &[u8; STEP]) -> Self {
        use core::arch::x86_64::{
            _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8,
        };
        // SAFETY: SSE2 is part of every x86_64; `step` is sixteen readable bytes, and this load asks
        // for no alignment.
        unsafe {
            let bytes = _mm_loadu_si128(step.as_ptr().cast());
            let quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"'.cast_signed()));
            let backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\'.cast_signed()));
            let control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
            let special = _mm_or_si128(_mm_or_si128(quote, backslash), control);
            Self {
                special: _mm_movemask_epi8(special).cast_unsigned(),
                high: _mm_movemask_epi8(bytes).cast_unsigned(),
            }
        }
    }

    #[cfg(not(any(target_arch = "x86_64", all(target_arch = "wasm32", target_feature = "simd128"))))]
    fn of(step: &[u8; STEP]) -> Self {
        let mut marks = Self { special: 0, high: 0 };
        for (bit, &byte) in step.iter().enumerate() {
            marks.special |= u32::from(is_special(byte)) << bit;
            marks.high |= u32::from(byte >= 0x80) << bit;
        }
        marks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_ends_before_the_first_special_byte_at_every_distance() {
        for special in [b'"', b'\\', 0, 0x1f] {
            for before in 0..50 {
                for after in 0..20 {
                    let mut bytes = vec![b'~'; before];
                    bytes.push(special);
                    bytes.extend(vec![0xc3; after]);
                    let plain = split(&bytes);
                    assert_eq!((plain.run.len(), plain.ascii), (before, true));
                    assert_eq!(plain.rest.first(), Some(&special));
                }
            }
        }
    }

    #[test]
    fn a_high_byte_is_noticed_only_within_the_stretch() {
        for length in 1..50 {
            for high in 0..length {
                let mut bytes = vec![b' '; length];
                bytes[high] = 0x80;
                assert!(!split(&bytes).ascii);
                bytes.insert(high, b'"');
                assert!(split(&bytes).ascii);
            }
        }
    }
}
