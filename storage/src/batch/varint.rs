//! Variable-length integers: seven bits a byte, lowest first, the top bit set on all but the last byte.
//!
//! Signed numbers are zig-zag encoded as in Kafka's record batch v2 (`varint` is 32 bits, `varlong` 64); formats that are
//! Redrive's own use unsigned ones. A number has exactly one encoding: a longer form of it is malformed, so that bytes
//! that decode encode to themselves.

/// Most bytes of a 32-bit number.
pub const VARINT_BYTES_MAX: usize = 5;
/// Most bytes of a 64-bit number.
pub const VARLONG_BYTES_MAX: usize = 10;

/// Why a number does not decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VarintError {
    /// The bytes end inside the number.
    #[error("the bytes end inside a number")]
    Truncated,
    /// The number is longer than it needs to be, or than its type.
    #[error("a number is not in its shortest form")]
    Malformed,
}

/// A decoded number and the bytes behind it.
pub type Decoded<'a, T> = Result<(T, &'a [u8]), VarintError>;

/// Reads an unsigned 32-bit number from the start of `input`.
///
/// # Errors
/// [`VarintError`] when there is no whole, shortest number.
#[inline]
pub fn read_u32(input: &[u8]) -> Decoded<'_, u32> {
    match input {
        [a, rest @ ..] if *a < 0x80 => Ok((u32::from(*a), rest)),
        [a, b, rest @ ..] if *b < 0x80 && *b != 0 => {
            Ok((u32::from(*a & 0x7f) | u32::from(*b) << 7, rest))
        }
        _ => {
            let (value, rest) = read_long(input)?;
            Ok((
                u32::try_from(value).map_err(|_error| VarintError::Malformed)?,
                rest,
            ))
        }
    }
}

/// Reads an unsigned 64-bit number from the start of `input`.
///
/// # Errors
/// [`VarintError`] when there is no whole, shortest number.
#[inline]
pub fn read_u64(input: &[u8]) -> Decoded<'_, u64> {
    match input {
        [a, rest @ ..] if *a < 0x80 => Ok((u64::from(*a), rest)),
        [a, b, rest @ ..] if *b < 0x80 && *b != 0 => {
            Ok((u64::from(*a & 0x7f) | u64::from(*b) << 7, rest))
        }
        _ => read_long(input),
    }
}

/// Reads a zig-zag 32-bit number (Kafka's `varint`).
///
/// # Errors
/// [`VarintError`] when there is no whole, shortest number.
#[inline]
pub fn read_i32(input: &[u8]) -> Decoded<'_, i32> {
    let (raw, rest) = read_u32(input)?;
    Ok((unzigzag_i32(raw), rest))
}

/// Reads a zig-zag 64-bit number (Kafka's `varlong`).
///
/// # Errors
/// [`VarintError`] when there is no whole, shortest number.
#[inline]
pub fn read_i64(input: &[u8]) -> Decoded<'_, i64> {
    let (raw, rest) = read_u64(input)?;
    Ok(((raw >> 1).cast_signed() ^ -((raw & 1).cast_signed()), rest))
}

/// Returns the zig-zag form of a 32-bit number, as the unsigned number to write.
#[inline]
#[must_use]
pub const fn zigzag_i32(value: i32) -> u32 {
    ((value << 1) ^ (value >> 31)).cast_unsigned()
}

/// Returns the zig-zag form of a 64-bit number, as the unsigned number to write.
#[inline]
#[must_use]
pub const fn zigzag_i64(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// Returns the 32-bit number with this zig-zag form.
#[inline]
#[must_use]
pub const fn unzigzag_i32(zigzag: u32) -> i32 {
    (zigzag >> 1).cast_signed() ^ -((zigzag & 1).cast_signed())
}

/// Returns how many bytes an unsigned number takes.
#[inline]
#[must_use]
pub const fn size_of_u64(value: u64) -> u32 {
    // Bits in use (at least one) divided by seven, rounded up; 9/64 is exact for 1 to 64 bits.
    (((64 - (value | 1).leading_zeros()) * 9) + 64) / 64
}

/// Appends an unsigned number to `out`.
#[inline]
pub fn write_u64(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(low_bits(value) | 0x80);
        value >>= 7;
    }
    out.push(low_bits(value));
}

/// Appends a zig-zag 32-bit number (Kafka's `varint`) to `out`.
#[inline]
pub fn write_i32(out: &mut Vec<u8>, value: i32) {
    write_u64(out, u64::from(zigzag_i32(value)));
}

/// Appends a zig-zag 64-bit number (Kafka's `varlong`) to `out`.
#[inline]
pub fn write_i64(out: &mut Vec<u8>, value: i64) {
    write_u64(out, zigzag_i64(value));
}

/// Returns the lowest seven bits.
#[inline]
const fn low_bits(value: u64) -> u8 {
    value.to_be_bytes()[7] & 0x7f
}

#[cold]
fn read_long(input: &[u8]) -> Decoded<'_, u64> {
    let mut value = 0_u64;
    let mut rest = input;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first().ok_or(VarintError::Truncated)?;
        rest = after;
        let bits = u64::from(byte & 0x7f);
        // The tenth byte holds one bit; a last byte of zero is a longer form of a shorter number.
        if (shift == 63 && bits > 1) || (*byte == 0 && shift > 0) {
            return Err(VarintError::Malformed);
        }
        value |= bits << shift;
        if *byte < 0x80 {
            return Ok((value, rest));
        }
    }
    Err(VarintError::Malformed)
}
