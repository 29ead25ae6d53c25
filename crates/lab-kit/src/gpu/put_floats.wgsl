// The values that the codes stand for.
fn put(row: u32, thread: u32, scale: f32, zero: f32) {
    let columns = info[1].x;
    for (var i = row * columns + thread; i < (row + 1u) * columns; i += 64u) {
        y[i] = scale * (code(x[i], scale, zero) - zero);
    }
}
