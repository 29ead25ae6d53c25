// Rows of a packed matrix as floats: an embedding. `words` is [chunks, BITS, rows], a chunk being 32 columns.

fn number(row: u32, column: u32) -> f32 {
    let first = (column % 32u) * BITS;
    let at = (column / 32u * BITS + first / 32u) * info[1].x + row;
    let shift = first % 32u;
    if (HALF) { return unpack2x16float(words[at])[shift / 16u]; }
    var code = words[at] >> shift;
    if (shift + BITS > 32u) { code |= words[at + info[1].x] << (32u - shift); }
    return scales[scale_at(row, column)] * (f32(code & ((1u << (BITS % 32u)) - 1u)) - zero_at(row, column));
}

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let columns = info[2].x;
    let count = info[0].x * columns;
    for (var i = id.x; i < count; i += groups.x * 64u) {
        y[i] = number(u32(ids[i / columns]), i % columns);
    }
}
