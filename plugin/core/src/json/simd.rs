//! Comparisons of sixteen bytes at once, with SIMD of WebAssembly in the filter and SSE2 in native tests.

/// The number of bytes in a step.
pub(crate) const STEP: usize = 16;

/// Sixteen bytes. After a comparison a byte is 255 if the comparison is true for it, otherwise 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SimdStep(imp::Bytes);

impl SimdStep {
    /// Loads the bytes.
    #[inline]
    pub(crate) fn of(bytes: &[u8; STEP]) -> Self {
        Self(imp::load(bytes))
    }

    /// Compares each byte with `byte`.
    #[inline]
    pub(crate) fn is(self, byte: u8) -> Self {
        Self(imp::equal(self.0, byte))
    }

    /// Compares each byte with `byte` and with the one that differs from it in the bit `other` only; `byte` lacks that bit.
    #[inline]
    pub(crate) fn is_either(self, byte: u8, other: u8) -> Self {
        Self(imp::equal(imp::clear(self.0, other), byte))
    }

    /// Compares each byte with `"` and the control characters, which a JSON string contains only escaped.
    #[inline]
    pub(crate) fn is_quote_or_control(self) -> Self {
        // With bit 1 flipped the quote follows the control characters; with bit 7 flipped too, these are the least signed
        // numbers, so one signed comparison finds all of them.
        const FLIPPED: u8 = 0x82;
        const END: i8 = ((b'"' ^ FLIPPED) + 1).cast_signed();
        Self(imp::less(imp::xor(self.0, FLIPPED), END))
    }

    /// The union of two comparisons.
    #[inline]
    pub(crate) fn or(self, other: Self) -> Self {
        Self(imp::or(self.0, other.0))
    }

    /// The intersection of two comparisons.
    #[inline]
    pub(crate) fn and(self, other: Self) -> Self {
        Self(imp::and(self.0, other.0))
    }

    /// The highest bits of the bytes; bit 0 is that of the first byte.
    #[inline]
    pub(crate) fn high_bits(self) -> u32 {
        imp::high_bits(self.0)
    }
}

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod imp {
    use core::arch::wasm32::{
        i8x16_bitmask, i8x16_lt, i8x16_splat, u8x16_eq, u8x16_splat, v128, v128_and, v128_load, v128_or,
        v128_xor,
    };

    pub(super) type Bytes = v128;

    #[inline]
    pub(super) fn load(bytes: &[u8; super::STEP]) -> v128 {
        // SAFETY: these are sixteen readable bytes, and the load needs no alignment.
        unsafe { v128_load(bytes.as_ptr().cast()) }
    }

    #[inline]
    pub(super) fn equal(bytes: v128, byte: u8) -> v128 {
        u8x16_eq(bytes, u8x16_splat(byte))
    }

    #[inline]
    pub(super) fn less(bytes: v128, than: i8) -> v128 {
        i8x16_lt(bytes, i8x16_splat(than))
    }

    #[inline]
    pub(super) fn clear(bytes: v128, bits: u8) -> v128 {
        v128_and(bytes, u8x16_splat(!bits))
    }

    #[inline]
    pub(super) fn xor(bytes: v128, byte: u8) -> v128 {
        v128_xor(bytes, u8x16_splat(byte))
    }

    #[inline]
    pub(super) fn or(one: v128, other: v128) -> v128 {
        v128_or(one, other)
    }

    #[inline]
    pub(super) fn and(one: v128, other: v128) -> v128 {
        v128_and(one, other)
    }

    #[inline]
    pub(super) fn high_bits(bytes: v128) -> u32 {
        i8x16_bitmask(bytes).into()
    }
}

#[cfg(target_arch = "x86_64")]
mod imp {
    use core::arch::x86_64::{
        __m128i, _mm_and_si128, _mm_cmpeq_epi8, _mm_cmplt_epi8, _mm_loadu_si128, _mm_movemask_epi8,
        _mm_or_si128, _mm_set1_epi8, _mm_xor_si128,
    };

    pub(super) type Bytes = __m128i;

    #[inline]
    pub(super) fn load(bytes: &[u8; super::STEP]) -> __m128i {
        // SAFETY: SSE2 is part of every x86_64; these are sixteen readable bytes, and the load needs no
        // alignment.
        unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
    }

    #[inline]
    pub(super) fn equal(bytes: __m128i, byte: u8) -> __m128i {
        // SAFETY: SSE2 is part of every x86_64.
        unsafe { _mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte.cast_signed())) }
    }

    #[inline]
    pub(super) fn less(bytes: __m128i, than: i8) -> __m128i {
        // SAFETY: SSE2 is part of every x86_64.
        unsafe { _mm_cmplt_epi8(bytes, _mm_set1_epi8(than)) }
    }

    #[inline]
    pub(super) fn clear(bytes: __m128i, bits: u8) -> __m128i {
        // SAFETY: SSE2 is part of every x86_64.
        unsafe { _mm_and_si128(bytes, _mm_set1_epi8((!bits).cast_signed())) }
    }

    #[inline]
    pub(super) fn xor(bytes: __m128i, byte: u8) -> __m128i {
        // SAFETY: SSE2 is part of every x86_64.
        unsafe { _mm_xor_si128(bytes, _mm_set1_epi8(byte.cast_signed())) }
    }

    #[inline]
    pub(super) fn or(one: __m128i, other: __m128i) -> __m128i {
        // SAFETY: SSE2 is part of every x86_64.
        unsafe { _mm_or_si128(one, other) }
    }

    #[inline]
    pub(super) fn and(one: __m128i, other: __m128i) -> __m128i {
        // SAFETY: SSE2 is part of every x86_64.
        unsafe { _mm_and_si128(one, other) }
    }

    #[inline]
    pub(super) fn high_bits(bytes: __m128i) -> u32 {
        // SAFETY: SSE2 is part of every x86_64.
        unsafe { _mm_movemask_epi8(bytes).cast_unsigned() }
    }
}

#[cfg(not(any(target_arch = "x86_64", all(target_arch = "wasm32", target_feature = "simd128"))))]
mod imp {
    pub(super) type Bytes = [u8; super::STEP];

    pub(super) fn load(bytes: &Bytes) -> Bytes {
        *bytes
    }

    fn mask(is: bool) -> u8 {
        if is { u8::MAX } else { 0 }
    }

    pub(super) fn equal(bytes: Bytes, byte: u8) -> Bytes {
        bytes.map(|each| mask(each == byte))
    }

    pub(super) fn less(bytes: Bytes, than: i8) -> Bytes {
        bytes.map(|each| mask(each.cast_signed() < than))
    }

    pub(super) fn clear(bytes: Bytes, bits: u8) -> Bytes {
        bytes.map(|each| each & !bits)
    }

    pub(super) fn xor(bytes: Bytes, byte: u8) -> Bytes {
        bytes.map(|each| each ^ byte)
    }

    fn both(mut one: Bytes, other: Bytes, join: impl Fn(u8, u8) -> u8) -> Bytes {
        one.iter_mut().zip(other).for_each(|(one, other)| *one = join(*one, other));
        one
    }

    pub(super) fn or(one: Bytes, other: Bytes) -> Bytes {
        both(one, other, |one, other| one | other)
    }

    pub(super) fn and(one: Bytes, other: Bytes) -> Bytes {
        both(one, other, |one, other| one & other)
    }

    pub(super) fn high_bits(bytes: Bytes) -> u32 {
        bytes.iter().rev().fold(0, |bits, byte| bits << 1 | u32::from(byte >> 7))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_compared_at_its_position() {
        for place in 0..STEP {
            for byte in 0..=u8::MAX {
                for other in [b'~', byte, byte.wrapping_add(1)] {
                    let mut bytes = [other; STEP];
                    bytes[place] = byte;
                    let step = SimdStep::of(&bytes);
                    let bits = |holds: &dyn Fn(u8) -> bool| {
                        bytes.iter().enumerate().map(|(at, byte)| u32::from(holds(*byte)) << at).sum::<u32>()
                    };
                    assert_eq!(step.high_bits(), bits(&|byte| byte >= 0x80));
                    assert_eq!(step.is(byte).high_bits(), bits(&|each| each == byte));
                    let either = step.is_either(byte & !0x10, 0x10).high_bits();
                    assert_eq!(either, bits(&|each| each | 0x10 == byte | 0x10));
                    let special = |each: u8| each == b'"' || each < b' ';
                    let (one, two) = (step.is(byte), step.is_quote_or_control());
                    assert_eq!(two.high_bits(), bits(&special));
                    assert_eq!(one.or(two).high_bits(), bits(&|each| each == byte || special(each)));
                    assert_eq!(one.and(two).high_bits(), bits(&|each| each == byte && special(each)));
                }
            }
        }
    }
}
