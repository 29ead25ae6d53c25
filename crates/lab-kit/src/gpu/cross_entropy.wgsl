// Mean cross-entropy of softmax(logits) against class numbers, and its gradient with respect to the logits, in one launch.
// One workgroup: a thread takes every 64th row, and the 64 partial sums are added in a tree.

var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(local_invocation_index) thread: u32) {
    let rows = info[0].x;
    let classes = info[1].x;
    var sum = 0.0;
    for (var row = thread; row < rows; row += 64u) {
        let start = row * classes;
        let target_class = u32(targets[row]);
        var largest = logits[start];
        for (var i = 1u; i < classes; i++) { largest = max(largest, logits[start + i]); }
        var total = 0.0;
        for (var i = 0u; i < classes; i++) { total += exp(logits[start + i] - largest); }
        sum += log(total) + largest - logits[start + min(target_class, classes - 1u)];
        for (var i = 0u; i < classes; i++) {
            let probability = exp(logits[start + i] - largest) / total;
            gradient[start + i] = (probability - select(0.0, 1.0, i == target_class)) / f32(rows);
        }
    }
    partial[thread] = sum;
    for (var half = 32u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if (thread < half) { partial[thread] += partial[thread + half]; }
    }
    if (thread == 0u) { loss[0] = partial[0] / f32(rows); }
}
