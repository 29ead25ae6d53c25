//! Unsigned integers of 2 to 8 bits, side by side without gaps, least significant bit first.

/// Bytes that `count` codes of `bits` bits take.
#[must_use]
pub fn packed_len(count: usize, bits: u32) -> usize {
    (count * bits as usize).div_ceil(8)
}

/// Packs codes below `2^bits`; higher bits of a code are cut off.
#[must_use]
pub fn pack(codes: &[u8], bits: u32) -> Vec<u8> {
    let mask = code_mask(bits);
    let mut bytes = Vec::with_capacity(packed_len(codes.len(), bits));
    // Bits that are not yet a whole byte wait in a small reservoir.
    let (mut reservoir, mut held) = (0_u32, 0);
    for code in codes {
        reservoir |= (u32::from(*code) & mask) << held;
        held += bits;
        while held >= 8 {
            bytes.push((reservoir & 0xff) as u8);
            reservoir >>= 8;
            held -= 8;
        }
    }
    if held > 0 {
        bytes.push((reservoir & 0xff) as u8);
    }
    bytes
}

/// The first `count` codes of a packed buffer.
#[cfg(test)]
fn unpack(bytes: &[u8], bits: u32, count: usize) -> Vec<u8> {
    let mut codes = vec![0; count];
    unpack_into(bytes, bits, 0, &mut codes);
    codes
}

/// Reads `codes.len()` codes, the first one `skip` codes into the buffer. Reads zeros beyond its end.
pub fn unpack_into(bytes: &[u8], bits: u32, skip: usize, codes: &mut [u8]) {
    let first_bit = skip * bits as usize;
    if bits == 8 && skip + codes.len() <= bytes.len() {
        // Whole bytes need no shifting.
        codes.copy_from_slice(&bytes[skip..skip + codes.len()]);
        return;
    }
    let mask = code_mask(bits);
    // Codes that never cross a byte, from its beginning: loops that the compiler turns into vectors.
    let (skip, codes) = match bits {
        4 if first_bit.is_multiple_of(8) => whole_bytes::<2>(bytes, first_bit / 8, skip, codes),
        2 if first_bit.is_multiple_of(8) => whole_bytes::<4>(bytes, first_bit / 8, skip, codes),
        _ => (skip, codes),
    };
    let first_bit = skip * bits as usize;
    let mut rest = bytes.iter().skip(first_bit / 8);
    let mut next = || u32::from(rest.next().copied().unwrap_or(0));
    let offset = (first_bit % 8) as u32;
    let (mut reservoir, mut held) = if offset > 0 { (next() >> offset, 8 - offset) } else { (0, 0) };
    for code in codes {
        if held < bits {
            reservoir |= next() << held;
            held += 8;
        }
        *code = (reservoir & mask) as u8;
        reservoir >>= bits;
        held -= bits;
    }
}

/// Reads `N` codes from every byte, and gives back how many were read before and what is still to be read.
fn whole_bytes<'a, const N: usize>(
    bytes: &[u8],
    first: usize,
    skip: usize,
    codes: &'a mut [u8],
) -> (usize, &'a mut [u8]) {
    let (bits, mask) = (8 / N, (0xff_u32 >> (8 - 8 / N)) as u8);
    let bytes = bytes.get(first..).unwrap_or_default();
    let count = (codes.len() / N).min(bytes.len());
    let (whole, rest) = codes.split_at_mut(count * N);
    for (codes, byte) in whole.as_chunks_mut::<N>().0.iter_mut().zip(bytes) {
        for (i, code) in codes.iter_mut().enumerate() {
            *code = (byte >> (i * bits)) & mask;
        }
    }
    (skip + count * N, rest)
}

fn code_mask(bits: u32) -> u32 {
    (1 << bits.min(8)) - 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(bits in 2_u32..=8, raw in proptest::collection::vec(any::<u8>(), 0..200), skip in 0_usize..50) {
            let codes: Vec<u8> = raw.iter().map(|code| code & code_mask(bits) as u8).collect();
            let bytes = pack(&raw, bits);
            prop_assert_eq!(bytes.len(), packed_len(codes.len(), bits));
            prop_assert_eq!(&unpack(&bytes, bits, codes.len()), &codes);
            let skip = skip.min(codes.len());
            let mut tail = vec![0; codes.len() - skip];
            unpack_into(&bytes, bits, skip, &mut tail);
            prop_assert_eq!(&tail, &codes[skip..]);
        }
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        // 3 bits: 001, 010, 011 -> 0b11_010_001, then the last bit of 011.
        assert_eq!(pack(&[1, 2, 3], 3), [0b1101_0001, 0b0]);
        assert_eq!(pack(&[0xf, 0x1], 4), [0x1f]);
        assert_eq!(unpack(&[0xe4], 2, 4), [0, 1, 2, 3]);
    }
}
