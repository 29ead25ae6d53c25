//! A convolution whose inputs and outputs are cut into groups: one group is the plain one, as many as channels the depthwise.

use super::{
    Maps, add, depthwise,
    panels::{Panels, outer},
    tiling,
};

/// Rows of a chunk of patches, about: they stay in a near cache between being gathered and being multiplied.
const ROWS: usize = 128;

/// A convolution with odd kernels, padded so that a stride of 1 keeps the size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv {
    /// Channels that come in.
    pub inputs: usize,
    /// Channels that go out.
    pub outputs: usize,
    /// Height and width of the window; odd.
    pub kernel: [usize; 2],
    /// Rows and columns from one window to the next.
    pub stride: [usize; 2],
    /// Divides both numbers of channels. Output group `j` reads input group `j` alone.
    pub groups: usize,
    /// Whether each output has a bias.
    pub bias: bool,
    /// Whether what is below zero becomes zero. For use only: the backward pass does not know it.
    pub relu: bool,
}

impl Conv {
    /// A square window over all channels, without bias.
    #[must_use]
    pub fn plain(inputs: usize, outputs: usize, kernel: usize, stride: usize) -> Self {
        let (kernel, stride) = ([kernel; 2], [stride; 2]);
        Self { inputs, outputs, kernel, stride, groups: 1, bias: false, relu: false }
    }

    /// A square window over each channel alone.
    #[must_use]
    pub fn depthwise(channels: usize, kernel: usize, stride: usize) -> Self {
        Self { groups: channels, ..Self::plain(channels, channels, kernel, stride) }
    }

    /// Places of a window.
    #[must_use]
    pub fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Numbers of the kernel, `[height, width, inputs / groups, outputs]`; a bias `[outputs]` follows it.
    #[must_use]
    pub fn kernel_len(&self) -> usize {
        self.taps() * self.inputs / self.groups.max(1) * self.outputs
    }

    /// All its weights.
    #[must_use]
    pub fn weights(&self) -> usize {
        self.kernel_len() + usize::from(self.bias) * self.outputs
    }

    /// Height and width of what goes out.
    #[must_use]
    pub fn size(&self, height: usize, width: usize) -> [usize; 2] {
        [height.saturating_sub(1) / self.stride[0] + 1, width.saturating_sub(1) / self.stride[1] + 1]
    }

    /// Whether each channel is alone.
    #[must_use]
    pub fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.groups == self.inputs && self.groups == self.outputs
    }

    /// Whether it only mixes channels, so that the maps are already the matrix it multiplies.
    #[must_use]
    pub fn is_pointwise(&self) -> bool {
        self.taps() == 1 && self.stride == [1, 1] && self.groups == 1
    }

    /// Its kernel as products read it: one matrix for each group, none where each channel is alone.
    #[must_use]
    pub fn pack(&self, weights: &[f32]) -> Vec<Panels> {
        if self.is_depthwise() {
            return Vec::new();
        }
        let outputs = self.outputs / self.groups;
        let inner = self.taps() * self.inputs / self.groups;
        let of = |group: usize| Panels::pack(&weights[group * outputs..], (inner, self.outputs), (outputs, 1));
        (0..self.groups).map(of).collect()
    }

    /// The result; `panels` are those of [`pack`](Self::pack).
    #[must_use]
    pub fn forward(&self, weights: &[f32], panels: &[Panels], x: &Maps) -> Maps {
        let [height, width] = self.size(x.height, x.width);
        let mut y = Maps::zeros(x.batch, height, width, self.outputs);
        if self.is_depthwise() {
            depthwise::forward(self, weights, x, &mut y);
        } else if self.is_pointwise() {
            for panels in panels {
                panels.multiply((&x.data, x.channels), x.places(), (&mut y.data, self.outputs));
            }
        } else {
            self.in_patches(x, |group, rows, patches, inner| {
                let at = rows.start * self.outputs + group * (self.outputs / self.groups);
                panels[group].multiply((patches, inner), rows.len(), (&mut y.data[at..], self.outputs));
            });
        }
        if self.bias {
            let bias = weights[self.kernel_len()..].repeat(tiling(y.places(), self.outputs));
            y.data.chunks_exact_mut(bias.len()).for_each(|row| add(row, &bias));
        }
        if self.relu {
            y.data.iter_mut().for_each(|x| *x = x.max(0.0));
        }
        y
    }

    /// Adds the gradient of the weights to `gradient`, and returns that of the input, where it is wanted.
    #[must_use]
    pub fn backward(&self, weights: &[f32], x: &Maps, dy: &Maps, gradient: &mut [f32], wanted: bool) -> Option<Maps> {
        if self.bias {
            let bias = &mut gradient[self.kernel_len()..];
            dy.data.chunks_exact(self.outputs).for_each(|row| add(bias, row));
        }
        let mut dx = wanted.then(|| Maps::zeros(x.batch, x.height, x.width, x.channels));
        if self.is_depthwise() {
            depthwise::backward(self, weights, (x, dy), gradient, dx.as_mut());
            return dx;
        }
        let outputs = self.outputs / self.groups;
        let inner = self.taps() * self.inputs / self.groups;
        // For each group the transposed kernel: `[outputs, taps * inputs]`.
        let turned = |group: usize| Panels::pack(&weights[group * outputs..], (outputs, 1), (inner, self.outputs));
        let turned: Vec<Panels> = if wanted { (0..self.groups).map(turned).collect() } else { Vec::new() };
        if self.is_pointwise() {
            let (rows, sides) = (x.places(), (inner, outputs));
            outer((&x.data, inner), (&dy.data, outputs), rows, sides, (gradient, outputs));
            if let (Some(dx), Some(turned)) = (&mut dx, turned.first()) {
                turned.multiply((&dy.data, outputs), rows, (&mut dx.data, inner));
            }
            return dx;
        }
        let mut spread = Vec::new();
        self.in_patches(x, |group, rows, patches, inner| {
            let dy = &dy.data[rows.start * self.outputs + group * outputs..];
            let of = &mut gradient[group * outputs..];
            outer((patches, inner), (dy, self.outputs), rows.len(), (inner, outputs), (of, self.outputs));
            if let (Some(dx), Some(turned)) = (&mut dx, turned.get(group)) {
                spread.resize(rows.len() * inner, 0.0);
                turned.multiply((dy, self.outputs), rows.len(), (&mut spread, inner));
                let channels = self.inputs / self.groups;
                self.windows(rows.start, rows.len(), dx.height, dx.width, |row, tap, run, place| {
                    if let Some(place) = place {
                        let from = &spread[row * inner + tap * channels..][..run * channels];
                        add(&mut dx.data[place * self.inputs + group * channels..][..run * channels], from);
                    }
                });
            }
        });
        dx
    }

    // ANCHOR: patches
    /// Gathers what each window sees into rows, chunk by chunk and group by group, and gives each chunk to `each`: the group,
    /// the places of the result that its rows belong to, the rows, and how long one is.
    fn in_patches(&self, x: &Maps, mut each: impl FnMut(usize, std::ops::Range<usize>, &[f32], usize)) {
        let [height, width] = self.size(x.height, x.width);
        let (channels, total) = (self.inputs / self.groups, x.batch * height * width);
        let inner = self.taps() * channels;
        let mut patches = vec![0.0; ROWS.min(total) * inner];
        for begin in (0..total).step_by(ROWS) {
            let rows = ROWS.min(total - begin);
            for group in 0..self.groups {
                self.windows(begin, rows, x.height, x.width, |row, tap, run, place| {
                    let to = &mut patches[row * inner + tap * channels..][..run * channels];
                    match place {
                        Some(place) => {
                            let from = &x.data[place * x.channels + group * channels..][..run * channels];
                            to.copy_from_slice(from);
                        }
                        None => to.fill(0.0),
                    }
                });
                each(group, begin..begin + rows, &patches, inner);
            }
        }
    }
    // ANCHOR_END: patches

    /// Visits the taps of so many windows from the window `begin` on, counted over all images: the row, a tap, how many taps
    /// beside it see neighbours in memory, and the place of the input that the first sees; none in the padding.
    #[inline]
    fn windows(
        &self,
        begin: usize,
        rows: usize,
        height: usize,
        width: usize,
        mut visit: impl FnMut(usize, usize, usize, Option<usize>),
    ) {
        let [out_height, out_width] = self.size(height, width);
        let [above, before] = self.kernel.map(|side| side / 2);
        for row in 0..rows {
            let (line, column) = ((begin + row) / out_width, (begin + row) % out_width);
            let (image, top) = (line / out_height, line % out_height * self.stride[0]);
            let left = column * self.stride[1];
            // Without groups, all channels of a row of the window lie side by side, where none is in the padding.
            let whole = self.groups == 1 && left >= before && left + self.kernel[1] <= width + before;
            let run = if whole { self.kernel[1] } else { 1 };
            for ky in 0..self.kernel[0] {
                let y = (top + ky).checked_sub(above).filter(|y| *y < height);
                for kx in (0..self.kernel[1]).step_by(run) {
                    let x = (left + kx).checked_sub(before).filter(|x| *x < width);
                    let place = y.zip(x).map(|(y, x)| (image * height + y) * width + x);
                    visit(row, ky * self.kernel[1] + kx, run, place);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{naive, samples::numbers},
        *,
    };

    fn maps(batch: usize, height: usize, width: usize, channels: usize, seed: u32) -> Maps {
        Maps { data: numbers(batch * height * width * channels, seed), ..Maps::zeros(batch, height, width, channels) }
    }

    fn kinds() -> Vec<Conv> {
        let grouped = |groups, conv: Conv| Conv { groups, ..conv };
        let mut all = vec![
            Conv { bias: true, ..Conv::plain(3, 5, 3, 1) },
            Conv::plain(4, 6, 3, 2),
            Conv::plain(4, 6, 1, 1),
            Conv::plain(4, 6, 1, 2),
            grouped(2, Conv::plain(4, 6, 3, 1)),
            grouped(3, Conv { bias: true, ..Conv::plain(6, 9, 1, 1) }),
            grouped(4, Conv::plain(4, 8, 3, 2)),
            Conv::depthwise(11, 3, 1),
            Conv { bias: true, ..Conv::depthwise(16, 3, 2) },
            Conv::depthwise(3, 5, 1),
            Conv { kernel: [1, 3], stride: [1, 2], ..Conv::plain(3, 4, 3, 1) },
            Conv { kernel: [3, 1], stride: [2, 1], ..Conv::plain(3, 4, 3, 1) },
        ];
        all.push(Conv::plain(8, 12, 5, 2));
        all
    }

    #[test]
    fn every_kind_is_that_of_seven_loops() {
        for conv in kinds() {
            for (batch, height, width) in [(2, 7, 5), (1, 1, 1), (3, 8, 8), (1, 16, 16)] {
                let (x, w) = (maps(batch, height, width, conv.inputs, 1), numbers(conv.weights(), 2));
                for conv in [conv, Conv { relu: true, ..conv }] {
                    let (fast, slow) = (conv.forward(&w, &conv.pack(&w), &x), naive::convolve(&conv, &w, &x));
                    assert_eq!((fast.height, fast.width, fast.channels), (slow.height, slow.width, slow.channels));
                    for (a, b) in fast.data.iter().zip(&slow.data) {
                        assert!((a - b).abs() < 1e-5, "{conv:?} {a} {b}");
                    }
                }
            }
        }
    }

    #[test]
    fn gradients_are_those_of_small_changes() {
        for conv in kinds() {
            let (x, mut w) = (maps(2, 5, 4, conv.inputs, 3), numbers(conv.weights(), 4));
            let [height, width] = conv.size(5, 4);
            let dy = maps(2, height, width, conv.outputs, 5);
            let mut gradient = vec![0.0; w.len()];
            let dx = conv.backward(&w, &x, &dy, &mut gradient, true).expect("wanted");
            // In double precision, so that a convolution, which is linear in both, has no other error.
            let loss = |w: &[f32], x: &Maps| -> f64 {
                let y = naive::convolve(&conv, w, x);
                y.data.iter().zip(&dy.data).map(|(y, dy)| f64::from(*y) * f64::from(*dy)).sum()
            };
            for i in (0..w.len()).step_by(1 + w.len() / 40) {
                let kept = w[i];
                w[i] = kept + 0.5;
                let above = loss(&w, &x);
                w[i] = kept - 0.5;
                let change = above - loss(&w, &x);
                w[i] = kept;
                assert!((change - f64::from(gradient[i])).abs() < 1e-3, "{conv:?} {i}: {change} {}", gradient[i]);
            }
            let mut other = x.clone();
            for i in (0..x.data.len()).step_by(1 + x.data.len() / 40) {
                other.data[i] = x.data[i] + 0.5;
                let above = loss(&w, &other);
                other.data[i] = x.data[i] - 0.5;
                let change = above - loss(&w, &other);
                other.data[i] = x.data[i];
                assert!((change - f64::from(dx.data[i])).abs() < 1e-3, "{conv:?} {i}: {change} {}", dx.data[i]);
            }
        }
    }

    #[test]
    fn a_kernel_of_rank_one_is_a_depthwise_and_a_pointwise_one() {
        let (channels, outputs) = (6, 9);
        let (each, mix) = (numbers(9 * channels, 1), numbers(channels * outputs, 2));
        let mut whole = vec![0.0; 9 * channels * outputs];
        for (i, w) in whole.iter_mut().enumerate() {
            *w = each[i / outputs] * mix[i % (channels * outputs)];
        }
        let x = maps(2, 6, 6, channels, 3);
        let run = |conv: Conv, w: &[f32], x: &Maps| conv.forward(w, &conv.pack(w), x);
        let plain = run(Conv::plain(channels, outputs, 3, 2), &whole, &x);
        let between = run(Conv::depthwise(channels, 3, 2), &each, &x);
        let separable = run(Conv::plain(channels, outputs, 1, 1), &mix, &between);
        for (a, b) in plain.data.iter().zip(&separable.data) {
            assert!((a - b).abs() < 1e-5);
        }
    }

    #[test]
    fn one_group_is_the_plain_one_and_a_column_after_a_row_a_kernel_of_rank_one() {
        let x = maps(1, 5, 5, 1, 1);
        let (row, column) = (numbers(3, 2), numbers(3, 3));
        let whole: Vec<f32> = (0..9).map(|i| column[i / 3] * row[i % 3]).collect();
        let run = |conv: Conv, w: &[f32], x: &Maps| conv.forward(w, &conv.pack(w), x);
        let plain = Conv::plain(1, 1, 3, 1);
        let one = run(plain, &whole, &x);
        let first = run(Conv { kernel: [1, 3], ..plain }, &row, &x);
        let other = run(Conv { kernel: [3, 1], ..plain }, &column, &first);
        for (a, b) in one.data.iter().zip(&other.data) {
            assert!((a - b).abs() < 1e-5);
        }
    }
}
