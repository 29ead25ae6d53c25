// What of a gradient passes back through ReLU: all of it where the output was above zero, nothing elsewhere.

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let stride = groups.x * 64u;
    for (var i = id.x; i < info[0].x; i += stride) {
        passed[i] = select(0.0, gradient[i], output[i] > 0.0);
    }
}
