//! Random numbers that repeat.

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

/// The generator of `purpose` under `seed`: ChaCha with 8 rounds, its stream chosen by the purpose's name.
#[must_use]
pub fn rng(seed: u64, purpose: &str) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    // FNV-1a: any fixed hash of the name serves.
    let stream = purpose
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    rng.set_stream(stream);
    rng
}
