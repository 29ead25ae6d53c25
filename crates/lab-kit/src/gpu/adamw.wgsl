// One step of AdamW (Loshchilov and Hutter, arXiv:1711.05101) for every number of a parameter. The first step has no moments
// to read: FIRST then stands for moments of zero.

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let rate = bitcast<f32>(info[1].x);
    let decay = bitcast<f32>(info[2].x);
    let beta_1 = bitcast<f32>(info[3].x);
    let beta_2 = bitcast<f32>(info[4].x);
    let correction_1 = bitcast<f32>(info[5].x);
    let correction_2 = bitcast<f32>(info[6].x);
    let epsilon = bitcast<f32>(info[7].x);
    let stride = groups.x * 64u;
    for (var i = id.x; i < info[0].x; i += stride) {
        let g = gradient[i];
        let m = beta_1 * moment_1(i) + (1.0 - beta_1) * g;
        let v = beta_2 * moment_2(i) + (1.0 - beta_2) * g * g;
        let step = (m / correction_1) / (sqrt(v / correction_2) + epsilon);
        new_parameter[i] = parameter[i] * decay - rate * step;
        new_moment_1[i] = m;
        new_moment_2[i] = v;
    }
}
