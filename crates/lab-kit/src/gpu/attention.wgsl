// Attention of one head, a workgroup for each block of 64 queries, a thread for each query: FlashAttention's forward pass in
// its simplest form (arXiv:2205.14135). A tile of keys and values is fetched once for all 64 queries into workgroup memory;
// what a thread knows of its query (the largest score, the sum, the weighted values) stays in registers. Before this text
// stand the bindings and D4 (channels over four), KEYS (keys of a tile) and CAUSAL.

var<workgroup> k_tile: array<vec4<f32>, KEYS * D4>;
var<workgroup> v_tile: array<vec4<f32>, KEYS * D4>;
var<workgroup> last: u32;

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let queries = info[0].x;
    let keys = info[1].x;
    let row = group.x * 64u + thread;
    // Threads past the end work on the last query and write nothing: an early return would leave the barriers to some.
    let mine = min(row, queries - 1u);
    let q_at = (group.y * queries + mine) * D4;
    var q_row: array<vec4<f32>, D4>;
    var sum_v: array<vec4<f32>, D4>;
    for (var c = 0u; c < D4; c++) {
        q_row[c] = q[q_at + c] * inverseSqrt(f32(4u * D4));
        sum_v[c] = vec4<f32>(0.0);
    }
    // The last query stands beside the last key.
    let seen = select(keys, mine + 1u + keys - queries, CAUSAL);
    if (thread == 0u) { last = select(keys, min(group.x * 64u + 64u, queries) + keys - queries, CAUSAL); }
    let until = workgroupUniformLoad(&last);
    var largest = -3.4e38;
    var sum = 0.0;
    for (var start = 0u; start < until; start += KEYS) {
        for (var i = thread; i < KEYS * D4; i += 64u) {
            let at = (group.y * keys + min(start + i / D4, keys - 1u)) * D4 + i % D4;
            k_tile[i] = k[at];
            v_tile[i] = v[at];
        }
        workgroupBarrier();
        // ANCHOR: key
        let here = min(KEYS, max(seen, start) - start);
        for (var j = 0u; j < here; j++) {
            var score = 0.0;
            for (var c = 0u; c < D4; c++) { score += dot(q_row[c], k_tile[j * D4 + c]); }
            let larger = max(largest, score);
            let before = exp(largest - larger);
            let weight = exp(score - larger);
            largest = larger;
            sum = sum * before + weight;
            for (var c = 0u; c < D4; c++) { sum_v[c] = sum_v[c] * before + weight * v_tile[j * D4 + c]; }
        }
        // ANCHOR_END: key
        workgroupBarrier();
    }
    if (row < queries) {
        for (var c = 0u; c < D4; c++) { y[q_at + c] = sum_v[c] / sum; }
    }
}
