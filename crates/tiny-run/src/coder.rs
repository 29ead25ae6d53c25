//! Codes of weights as canonical Huffman streams: the twin of the book's own decoder.
//!
//! A table comes first, 4 bits for the length of each symbol's code (0: the symbol does not occur), then the stream, the first bit of
//! a code in the lowest bit that is free. Where a single symbol occurs, there is no stream.

/// The longest code: a length has to fit 4 bits.
const LONGEST: u8 = 15;

/// The `count` codes of `bits` bits that a stream holds.
///
/// # Errors
/// A table that is no code, a stream that ends too soon, bytes that are left over: after the name of what holds it.
pub fn decode(bytes: &[u8], bits: usize, count: usize) -> Result<Vec<u8>, String> {
    let damaged = |what: &str| Err(format!("is damaged: {what}"));
    let symbols = 1_usize << bits.clamp(1, 8);
    let Some((table, stream)) = bytes.split_at_checked(symbols / 2) else {
        return damaged("it ends within the table of lengths");
    };
    let lengths: Vec<u8> = table.iter().flat_map(|byte| [byte & 15, byte >> 4]).collect();
    let mut order: Vec<usize> = (0..symbols).filter(|symbol| lengths[*symbol] > 0).collect();
    if order.len() < 2 {
        return match (order.first(), count, stream) {
            (_, 0, []) => Ok(Vec::new()),
            (Some(only), _, []) => Ok(vec![*only as u8; count]),
            _ => damaged("a single symbol needs no stream"),
        };
    }
    let shares: u32 = order.iter().map(|symbol| 1 << (LONGEST - lengths[*symbol])).sum();
    if shares != 1 << LONGEST {
        return damaged("the lengths in its table are no code");
    }
    // Which symbol the next 15 bits begin with. Codes count upwards from the shortest, of equal lengths in the order of symbols.
    order.sort_by_key(|symbol| (lengths[*symbol], *symbol));
    let mut begins = vec![0_u8; 1 << LONGEST];
    let (mut word, mut length) = (0_u32, 0);
    for symbol in order {
        word <<= lengths[symbol] - length;
        length = lengths[symbol];
        let first = word.reverse_bits() >> (32 - u32::from(length));
        (first as usize..1 << LONGEST).step_by(1 << length).for_each(|at| begins[at] = symbol as u8);
        word += 1;
    }
    let (mut codes, mut waiting, mut held, mut rest) = (Vec::with_capacity(count), 0_u32, 0_u32, stream.iter());
    while codes.len() < count {
        while held < u32::from(LONGEST) {
            let Some(byte) = rest.next() else { break };
            waiting |= u32::from(*byte) << held;
            held += 8;
        }
        let symbol = begins[(waiting & ((1 << LONGEST) - 1)) as usize];
        let length = u32::from(lengths[usize::from(symbol)]);
        if length > held {
            return damaged("its stream ends too soon");
        }
        waiting >>= length;
        held -= length;
        codes.push(symbol);
    }
    if rest.next().is_some() || held >= 8 { damaged("bytes are left over") } else { Ok(codes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lengths 1, 2, 3, 3 of the symbols 0 to 3: the codes 0, 10, 110, 111, each with its first bit lowest.
    const TABLE: [u8; 2] = [0x21, 0x33];

    #[test]
    fn a_stream_by_hand() {
        // 0, 1, 2, 3, 0: bits 0 10 110 111 0 from the lowest, 1101_1010 and then 0000_0001: 0 1 0 1 1 0 1 1 | 1 0.
        assert_eq!(decode(&[TABLE[0], TABLE[1], 0b1101_1010, 0b1], 2, 5), Ok(vec![0, 1, 2, 3, 0]));
        assert_eq!(decode(&[0x00, 0x01], 2, 3), Ok(vec![2; 3]));
        assert_eq!(decode(&[0, 0], 2, 0), Ok(vec![]));
    }

    #[test]
    fn damage_is_named() {
        let why = |bytes: &[u8], count| decode(bytes, 2, count).expect_err("refused");
        assert!(why(&[0x21], 5).contains("table"));
        assert!(why(&[TABLE[0], TABLE[1], 0b1101_1010], 6).contains("too soon"));
        assert!(why(&[TABLE[0], TABLE[1], 0b1101_1010, 1, 0], 5).contains("left over"));
        assert!(why(&[0x11, 0x33, 0], 5).contains("no code"));
        assert!(why(&[0x01, 0x00, 0], 5).contains("no stream"));
        assert!(why(&[0, 0], 5).contains("no stream"));
    }
}
