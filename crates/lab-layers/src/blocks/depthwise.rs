//! The convolution of each channel alone: no matrix to multiply, so channels are what runs side by side.

use super::{Conv, Maps};

/// Channels whose sums stay in registers.
const LANES: usize = 8;

/// The taps of one window that lie inside: numbers of the kernel's first channel and of the input's.
fn inside(conv: &Conv, x: &Maps, image: usize, (row, column): (usize, usize)) -> ([(usize, usize); 81], usize) {
    let (mut found, mut count) = ([(0, 0); 81], 0);
    for tap in 0..conv.taps().min(81) {
        let y = (row * conv.stride[0] + tap / conv.kernel[1]).checked_sub(conv.kernel[0] / 2);
        let left = (column * conv.stride[1] + tap % conv.kernel[1]).checked_sub(conv.kernel[1] / 2);
        if let (Some(y), Some(left)) = (y.filter(|y| *y < x.height), left.filter(|left| *left < x.width)) {
            found[count] = (tap * x.channels, ((image * x.height + y) * x.width + left) * x.channels);
            count += 1;
        }
    }
    (found, count)
}

// ANCHOR: forward
/// Eight channels at a time: nine slices, scaled and summed, before anything is written.
pub(super) fn forward(conv: &Conv, weights: &[f32], x: &Maps, y: &mut Maps) {
    let (height, width, channels) = (y.height, y.width, y.channels);
    for (place, out) in y.data.chunks_exact_mut(channels).enumerate() {
        let (image, row, column) = (place / (height * width), place / width % height, place % width);
        let (taps, count) = inside(conv, x, image, (row, column));
        let (eights, rest) = out.as_chunks_mut::<LANES>();
        for (i, out) in eights.iter_mut().enumerate() {
            let mut sums = [0.0; LANES];
            for (w, x_at) in &taps[..count] {
                let (w, x) = (&weights[w + i * LANES..][..LANES], &x.data[x_at + i * LANES..][..LANES]);
                for ((sum, w), x) in sums.iter_mut().zip(w).zip(x) {
                    *sum += w * x;
                }
            }
            *out = sums;
        }
        let done = channels - rest.len();
        for (c, out) in rest.iter_mut().enumerate() {
            *out = taps[..count].iter().map(|(w, x_at)| weights[w + done + c] * x.data[x_at + done + c]).sum();
        }
    }
}
// ANCHOR_END: forward

/// The gradient of the kernel is added to `gradient`, that of the input to `dx`.
pub(super) fn backward(
    conv: &Conv,
    weights: &[f32],
    (x, dy): (&Maps, &Maps),
    gradient: &mut [f32],
    mut dx: Option<&mut Maps>,
) {
    let channels = dy.channels;
    for (place, dy_at) in dy.data.chunks_exact(channels).enumerate() {
        let at = (place / dy.width % dy.height, place % dy.width);
        let (taps, count) = inside(conv, x, place / (dy.height * dy.width), at);
        for (w, x_at) in &taps[..count] {
            let seen = &x.data[*x_at..x_at + channels];
            for ((g, dy), x) in gradient[*w..w + channels].iter_mut().zip(dy_at).zip(seen) {
                *g += dy * x;
            }
            if let Some(dx) = &mut dx {
                let kernel = &weights[*w..w + channels];
                for ((dx, dy), w) in dx.data[*x_at..x_at + channels].iter_mut().zip(dy_at).zip(kernel) {
                    *dx += dy * w;
                }
            }
        }
    }
}
