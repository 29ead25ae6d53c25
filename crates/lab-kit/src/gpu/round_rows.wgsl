// Each row of x (`[n, columns]`) on a grid of 256 levels: that of the scale and zero point in info[2] and info[3] or, where that
// scale is 0, one between the row's extremes, zero among them. One workgroup a row; what is written of it is up to `put`.
var<workgroup> least: array<f32, 64>;
var<workgroup> most: array<f32, 64>;

fn code(value: f32, scale: f32, zero: f32) -> f32 { return clamp(round(value / scale) + zero, 0.0, 255.0); }

@compute @workgroup_size(64, 1, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    // Those beyond the last row do that row again: before a barrier none may leave.
    let row = min(group.y * groups.x + group.x, info[0].x - 1u);
    let columns = info[1].x;
    let given = bitcast<f32>(info[2].x);
    var low = 0.0;
    var high = 0.0;
    // All threads pass the barrier, with something to measure or without.
    for (var i = thread; i < select(columns, 0u, given > 0.0); i += 64u) {
        low = min(low, x[row * columns + i]);
        high = max(high, x[row * columns + i]);
    }
    least[thread] = low;
    most[thread] = high;
    workgroupBarrier();
    for (var i = 0u; i < 64u; i++) {
        low = min(low, least[i]);
        high = max(high, most[i]);
    }
    let step = (high - low) / 255.0;
    // A row of zeros takes any scale.
    let measured = select(1.0, step, step >= 1.1754944e-38);
    if (given > 0.0) {
        put(row, thread, given, f32(info[3].x));
    } else {
        put(row, thread, measured, clamp(round(-low / measured), 0.0, 255.0));
    }
}
