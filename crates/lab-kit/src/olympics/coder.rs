//! Codes of weights in fewer bits where they are frequent: canonical Huffman codes, one table a matrix.
//!
//! A coded matrix is its table, 4 bits for the length of each symbol's code (0: the symbol does not occur), then the stream, the
//! first bit of a code in the lowest bit that is free. How many codes there are is known from the matrix's shape. Where a
//! single symbol occurs, the stream is empty.

use lab_api::LabError;

/// The longest code: a length has to fit 4 bits.
const LONGEST: u8 = 15;

/// Bits a code, were each as long as its frequency asks for (Shannon, 1948). No code of whole bits is shorter on average.
#[must_use]
pub fn entropy_bits(codes: &[u8]) -> f64 {
    let counts = count(codes);
    let all = codes.len().max(1) as f64;
    counts.iter().filter(|n| **n > 0).map(|n| *n as f64 / all).map(|p| -p * p.log2()).sum()
}

fn count(codes: &[u8]) -> [usize; 256] {
    let mut counts = [0; 256];
    codes.iter().for_each(|code| counts[usize::from(*code)] += 1);
    counts
}

// ANCHOR: lengths
/// The length of each symbol's code, 0 where it does not occur: the two rarest are joined until one is left (Huffman, 1952),
/// and everyone's length is how often it was joined. Where that passes 15 bits, rare symbols are made less rare until it does not.
#[must_use]
pub fn code_lengths(counts: &[usize]) -> Vec<u8> {
    let mut counts = counts.to_vec();
    loop {
        let mut lengths = vec![0_u8; counts.len()];
        // A node is how often its symbols occur, and which they are.
        let mut nodes: Vec<(usize, Vec<usize>)> =
            counts.iter().enumerate().filter(|(_, n)| **n > 0).map(|(symbol, n)| (*n, vec![symbol])).collect();
        if let [(_, only)] = nodes.as_slice() {
            lengths[only[0]] = 1;
        }
        while nodes.len() > 1 {
            nodes.sort_by(|a, b| b.0.cmp(&a.0).then(b.1.cmp(&a.1)));
            let (Some(one), Some(other)) = (nodes.pop(), nodes.pop()) else { break };
            let joined: Vec<usize> = one.1.into_iter().chain(other.1).collect();
            joined.iter().for_each(|symbol| lengths[*symbol] = lengths[*symbol].saturating_add(1));
            nodes.push((one.0 + other.0, joined));
        }
        if lengths.iter().all(|length| *length <= LONGEST) {
            return lengths;
        }
        counts.iter_mut().filter(|n| **n > 0).for_each(|n| *n = n.div_ceil(2) + 1);
    }
}
// ANCHOR_END: lengths

/// The code of each symbol, its first bit lowest: of equal lengths in the order of the symbols, as whoever knows the lengths
/// can work out (canonical).
fn words(lengths: &[u8]) -> Vec<u32> {
    let mut order: Vec<usize> = (0..lengths.len()).filter(|symbol| lengths[*symbol] > 0).collect();
    order.sort_by_key(|symbol| (lengths[*symbol], *symbol));
    let (mut words, mut next, mut length) = (vec![0; lengths.len()], 0_u32, 0);
    for symbol in order {
        next <<= lengths[symbol] - length;
        length = lengths[symbol];
        words[symbol] = next.reverse_bits() >> (32 - u32::from(length));
        next += 1;
    }
    words
}

// ANCHOR: encode
/// Table and stream of codes of `bits` bits, 8 at most.
#[must_use]
pub fn encode(codes: &[u8], bits: u32) -> Vec<u8> {
    let symbols = 1_usize << bits.clamp(1, 8);
    let lengths = code_lengths(&count(codes)[..symbols]);
    let words = words(&lengths);
    let mut bytes: Vec<u8> = lengths.chunks(2).map(|pair| pair[0] | pair.get(1).map_or(0, |high| high << 4)).collect();
    if lengths.iter().filter(|length| **length > 0).count() < 2 {
        return bytes;
    }
    let (mut reservoir, mut held) = (0_u32, 0);
    for code in codes {
        let symbol = usize::from(*code) % symbols;
        reservoir |= words[symbol] << held;
        held += u32::from(lengths[symbol]);
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
// ANCHOR_END: encode

/// The `count` codes that [`encode`] made these bytes of.
///
/// # Errors
/// [`LabError::Refused`] for a table that is no code, a stream that ends too soon, and bytes that are left over.
pub fn decode(bytes: &[u8], bits: u32, count: usize) -> Result<Vec<u8>, LabError> {
    let damaged = |what: &str| LabError::Refused { why: format!("the coded weights are damaged: {what}") };
    let symbols = 1_usize << bits.clamp(1, 8);
    let Some((table, stream)) = bytes.split_at_checked(symbols.div_ceil(2)) else {
        return Err(damaged("they end within the table of lengths"));
    };
    let lengths: Vec<u8> = table.iter().flat_map(|byte| [byte & 15, byte >> 4]).take(symbols).collect();
    let used: Vec<usize> = (0..symbols).filter(|symbol| lengths[*symbol] > 0).collect();
    if used.len() < 2 {
        return match (used.first(), count) {
            (_, 0) if stream.is_empty() => Ok(Vec::new()),
            (Some(only), _) if stream.is_empty() => Ok(vec![*only as u8; count]),
            _ => Err(damaged("a single symbol needs no stream")),
        };
    }
    // Every code of 15 bits begins with exactly one word: the sum of all shares is 1.
    let share: u32 = used.iter().map(|symbol| 1_u32 << (LONGEST - lengths[*symbol])).sum();
    if share != 1 << LONGEST {
        return Err(damaged("the lengths in the table are no code"));
    }
    let mut of_prefix = vec![0_u8; 1 << LONGEST];
    for (symbol, word) in words(&lengths).into_iter().enumerate().filter(|(symbol, _)| lengths[*symbol] > 0) {
        (word as usize..1 << LONGEST).step_by(1 << lengths[symbol]).for_each(|at| of_prefix[at] = symbol as u8);
    }
    let (mut codes, mut reservoir, mut held, mut rest) = (Vec::with_capacity(count), 0_u32, 0_u32, stream.iter());
    while codes.len() < count {
        while held < u32::from(LONGEST) {
            let Some(byte) = rest.next() else { break };
            reservoir |= u32::from(*byte) << held;
            held += 8;
        }
        let symbol = of_prefix[(reservoir & ((1 << LONGEST) - 1)) as usize];
        let length = u32::from(lengths[usize::from(symbol)]);
        if length > held {
            return Err(damaged("the stream ends too soon"));
        }
        reservoir >>= length;
        held -= length;
        codes.push(symbol);
    }
    if rest.next().is_some() || held >= 8 {
        return Err(damaged("bytes are left over"));
    }
    Ok(codes)
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    #[test]
    fn what_was_coded_comes_back() {
        let mut rng = crate::rng(0, "codes");
        for bits in [2, 3, 4, 8] {
            for count in [0, 1, 2, 7, 300, 5000] {
                for flat in [false, true] {
                    // Like weights: the middle often, the ends seldom.
                    let most = (1_u32 << bits) - 1;
                    let mut one = || {
                        if flat {
                            rng.random_range(0..=most)
                        } else {
                            (0..6).map(|_| rng.random_range(0..=most)).sum::<u32>() / 6
                        }
                    };
                    let codes: Vec<u8> = (0..count).map(|_| one() as u8).collect();
                    let bytes = encode(&codes, bits);
                    assert_eq!(decode(&bytes, bits, count).expect("whole"), codes, "{bits} {count}");
                    let (table, entropy) = ((1 << bits) / 2, entropy_bits(&codes));
                    let stream = 8.0 * (bytes.len() - table) as f64;
                    assert!(stream + 8.0 > entropy * count as f64);
                    // Less than one bit a code too many, whatever the codes (Gallager, 1978: less than the share of the most
                    // frequent symbol plus 0.086).
                    let of = |n: usize| n as f64 / count.max(1) as f64;
                    let top = of(*super::count(&codes).iter().max().expect("256 of them"));
                    assert!(stream <= (entropy + top + 0.087) * count as f64 + 8.0, "{bits} {count}");
                }
            }
            let same = vec![1; 999];
            assert_eq!(encode(&same, bits).len(), (1 << bits) / 2);
            assert_eq!(decode(&encode(&same, bits), bits, 999).expect("whole"), same);
        }
    }

    #[test]
    fn no_code_is_longer_than_a_table_can_say() {
        // Fibonacci numbers ask for the longest codes.
        let mut counts = vec![1, 1];
        (2..40).for_each(|i| counts.push(counts[i - 1] + counts[i - 2]));
        let lengths = code_lengths(&counts);
        assert!(lengths.iter().all(|length| (1..=15).contains(length)));
        let share: f64 = lengths.iter().map(|length| 0.5_f64.powi(i32::from(*length))).sum();
        assert!((share - 1.0).abs() < 1e-12);
        // By hand: 8 of a, 4 of b, 2 of c, 1 of d.
        assert_eq!(code_lengths(&[8, 4, 2, 1]), [1, 2, 3, 3]);
        assert_eq!(words(&[1, 2, 3, 3]), [0b0, 0b01, 0b011, 0b111]);
    }

    #[test]
    fn damaged_bytes_are_refused() {
        let codes: Vec<u8> = (0..200).map(|i| [1, 1, 1, 2, 2, 3][i % 6]).collect();
        let bytes = encode(&codes, 4);
        let why = |bytes: &[u8], count| decode(bytes, 4, count).expect_err("refused").to_string();
        assert!(why(&bytes[..5], 200).contains("table"));
        assert!(why(&bytes[..bytes.len() - 2], 200).contains("too soon"));
        assert!(why(&bytes, 100).contains("left over"));
        let mut wrong = bytes.clone();
        wrong[0] ^= 0x20;
        assert!(why(&wrong, 200).contains("no code"));
    }
}
