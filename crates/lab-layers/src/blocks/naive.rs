//! The definition of a convolution, for tests and for comparison.

use super::{Conv, Maps};

// ANCHOR: convolve
/// Seven loops in double precision: image, row, column, output channel, and over the window and the channels of the group.
#[must_use]
pub fn convolve(conv: &Conv, weights: &[f32], x: &Maps) -> Maps {
    let [height, width] = conv.size(x.height, x.width);
    let mut y = Maps::zeros(x.batch, height, width, conv.outputs);
    let (ins, outs) = (conv.inputs / conv.groups, conv.outputs / conv.groups);
    for (place, out) in y.data.iter_mut().enumerate() {
        let (n, place) = (place % conv.outputs, place / conv.outputs);
        let (image, row, column) = (place / (height * width), place / width % height, place % width);
        let mut sum = if conv.bias { f64::from(weights[conv.kernel_len() + n]) } else { 0.0 };
        for ky in 0..conv.kernel[0] {
            for kx in 0..conv.kernel[1] {
                let top = (row * conv.stride[0] + ky) as isize - (conv.kernel[0] / 2) as isize;
                let left = (column * conv.stride[1] + kx) as isize - (conv.kernel[1] / 2) as isize;
                if !(0..x.height as isize).contains(&top) || !(0..x.width as isize).contains(&left) {
                    continue;
                }
                let seen = ((image * x.height + top as usize) * x.width + left as usize) * x.channels;
                for c in 0..ins {
                    let w = weights[((ky * conv.kernel[1] + kx) * ins + c) * conv.outputs + n];
                    sum += f64::from(w) * f64::from(x.data[seen + n / outs * ins + c]);
                }
            }
        }
        *out = if conv.relu { sum.max(0.0) } else { sum } as f32;
    }
    y
}
// ANCHOR_END: convolve
