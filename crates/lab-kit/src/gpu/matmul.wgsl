// C[z, row, column] = sum over k of A[z, row, k] * B[z, k, column], then `finish` (a bias, ReLU, or nothing).
//
// A thread computes 4 rows of 4 columns in registers, four k at a time, and reads A and B straight from memory: an adapter
// that is really a processor has no faster memory to share, so tiles in workgroup memory would only add barriers. What lies
// past an edge is read as the last row or column and not written. Before this text stand the bindings, TAIL, SUMS, and the
// functions that know how the numbers lie: `block_a`, `block_b` (four k), `number_a`, `numbers_b` (one k), `finish`, `store_sums`.

@compute @workgroup_size(16, 4, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let rows = info[0].x;
    let columns = info[1].x;
    let depth = info[2].x;
    let row = id.y * 4u;
    let column = id.x * 4u;
    if (row >= rows || column >= columns) { return; }

    // The batch has two dimensions, each with a stride of its own.
    let outer = id.z / info[3].x;
    let inner = id.z % info[3].x;
    let my_rows = min(vec4<u32>(row, row + 1u, row + 2u, row + 3u), vec4<u32>(rows - 1u));
    let my_columns = min(vec4<u32>(column, column + 1u, column + 2u, column + 3u), vec4<u32>(columns - 1u));
    let a_step = info[7].x;
    let b_step = info[10].x;
    var a_at = vec4<u32>(outer * info[4].x + inner * info[5].x) + my_rows * info[6].x;
    var b_at = vec4<u32>(outer * info[8].x + inner * info[9].x) + my_columns * info[11].x;

    var c0 = vec4<f32>(0.0);
    var c1 = vec4<f32>(0.0);
    var c2 = vec4<f32>(0.0);
    var c3 = vec4<f32>(0.0);
    var sums = vec4<f32>(0.0);
    var k = 0u;
    for (; k + 4u <= depth; k += 4u) {
        // A row of `a` per row of C, a column of `b` per k.
        let a = block_a(a_at, a_step);
        let b = block_b(b_at, b_step);
        c0 += b * a[0];
        c1 += b * a[1];
        c2 += b * a[2];
        c3 += b * a[3];
        if (SUMS) { sums += b[0] + b[1] + b[2] + b[3]; }
        a_at += vec4<u32>(4u * a_step);
        b_at += vec4<u32>(4u * b_step);
    }
    if (TAIL) {
        for (; k < depth; k++) {
            let b = numbers_b(b_at);
            c0 += number_a(a_at.x) * b;
            c1 += number_a(a_at.y) * b;
            c2 += number_a(a_at.z) * b;
            c3 += number_a(a_at.w) * b;
            if (SUMS) { sums += b; }
            a_at += vec4<u32>(a_step);
            b_at += vec4<u32>(b_step);
        }
    }

    let inside = vec4<u32>(column, column + 1u, column + 2u, column + 3u) < vec4<u32>(columns);
    let c_at = (id.z * rows + row) * columns + column;
    store(c_at, finish(c0, my_columns), inside);
    if (row + 1u < rows) { store(c_at + columns, finish(c1, my_columns), inside); }
    if (row + 2u < rows) { store(c_at + 2u * columns, finish(c2, my_columns), inside); }
    if (row + 3u < rows) { store(c_at + 3u * columns, finish(c3, my_columns), inside); }
    if (SUMS && row == 0u) { store_sums(column, sums, inside); }
}

fn store(at: u32, values: vec4<f32>, inside: vec4<bool>) {
    if (inside.x) { c[at] = values.x; }
    if (inside.y) { c[at + 1u] = values.y; }
    if (inside.z) { c[at + 2u] = values.z; }
    if (inside.w) { c[at + 3u] = values.w; }
}
