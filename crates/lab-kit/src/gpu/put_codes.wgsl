// The codes, four to a word, 32 columns (a chunk) to eight words. `codes` is [n, chunks, 8], and columns stand in it as codes
// of weights come out of their words by shift and mask. `facts` is [n, 2 + chunks]: scale, zero point, sum of each chunk.
fn put(row: u32, thread: u32, scale: f32, zero: f32) {
    let columns = info[1].x;
    let chunks = (columns + 31u) / 32u;
    let facts_at = row * (chunks + 2u);
    if (thread == 0u) {
        facts[facts_at] = scale;
        facts[facts_at + 1u] = zero;
    }
    for (var chunk = thread; chunk < chunks; chunk += 64u) {
        var sum = 0u;
        for (var k = 0u; k < 8u; k++) {
            var word = 0u;
            for (var lane = 0u; lane < 4u; lane++) {
                let column = chunk * 32u + 4u * PHASES * (k / PHASES) + k % PHASES + PHASES * lane;
                if (column < columns) {
                    let found = u32(code(x[row * columns + column], scale, zero));
                    word |= found << (8u * lane);
                    sum += found;
                }
            }
            codes[(row * chunks + chunk) * 8u + k] = word;
        }
        facts[facts_at + 2u + chunk] = f32(sum);
    }
}
