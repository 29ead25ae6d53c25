//! Layers one after the other, with branches; forward with a trace, and backward along it.

use super::{Conv, Excite, Maps, Norm, Panels, add};

/// A layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// A convolution.
    Conv(Conv),
    /// A normalization over the batch.
    Norm(Norm),
    /// Channels interleaved: channel `k * groups + j` is what channel `j * channels / groups + k` was.
    Shuffle(usize),
    /// Squeeze and excitation.
    Excite(Excite),
    /// The mean over all places: what is left has one.
    Mean,
    /// What comes in, added to what these make of it.
    Skip(Vec<Op>),
    /// The channels of two branches, side by side.
    Join(Vec<Op>, Vec<Op>),
}

impl Op {
    /// How many weights it has.
    #[must_use]
    pub fn weights(&self) -> usize {
        let all = |ops: &[Self]| ops.iter().map(Self::weights).sum::<usize>();
        match self {
            Self::Conv(conv) => conv.weights(),
            Self::Norm(norm) => 2 * norm.channels,
            Self::Excite(excite) => excite.weights(),
            Self::Shuffle(_) | Self::Mean => 0,
            Self::Skip(ops) => all(ops),
            Self::Join(one, other) => all(one) + all(other),
        }
    }
}

/// What a forward pass leaves for the backward pass.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    kept: Vec<Maps>,
    /// Of each normalization in turn: means, and one over standard deviations.
    pub moments: Vec<[Vec<f32>; 2]>,
}

/// A network and its weights, in the order of its layers.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// Its layers.
    pub ops: Vec<Op>,
    /// `[weights]`, layer after layer.
    pub weights: Vec<f32>,
    panels: Vec<Vec<Panels>>,
}

impl Network {
    /// A network of these layers with these weights.
    #[must_use]
    pub fn new(ops: Vec<Op>, weights: Vec<f32>) -> Self {
        let mut network = Self { ops, weights, panels: Vec::new() };
        network.repack();
        network
    }

    /// Lays the kernels out anew: to be called after the weights have changed.
    pub fn repack(&mut self) {
        self.panels.clear();
        pack(&self.ops, &mut self.weights.as_slice(), &mut self.panels);
    }

    /// The result of a batch. Normalizations take the statistics of this batch: a network for use has been
    /// [folded](super::fold) and has none.
    #[must_use]
    pub fn run(&self, x: Maps, trace: Option<&mut Trace>) -> Maps {
        let (mut weights, mut panels) = (self.weights.as_slice(), self.panels.iter());
        forward(&self.ops, &mut weights, &mut panels, x, &mut { trace })
    }

    /// The gradient of all weights, from that of the result.
    #[must_use]
    pub fn gradient(&self, mut trace: Trace, dy: Maps) -> Vec<f32> {
        let mut gradient = vec![0.0; self.weights.len()];
        let mut rest = gradient.as_mut_slice();
        let _ = backward(&self.ops, &mut self.weights.as_slice(), &mut rest, dy, &mut trace, false);
        gradient
    }
}

fn pack(ops: &[Op], weights: &mut &[f32], panels: &mut Vec<Vec<Panels>>) {
    for op in ops {
        match op {
            Op::Skip(ops) => pack(ops, weights, panels),
            Op::Join(one, other) => {
                pack(one, weights, panels);
                pack(other, weights, panels);
            }
            op => {
                let own = take(weights, op);
                if let Op::Conv(conv) = op {
                    panels.push(conv.pack(own));
                }
            }
        }
    }
}

/// The weights of the next layer.
fn take<'a>(weights: &mut &'a [f32], op: &Op) -> &'a [f32] {
    let (own, rest) = weights.split_at(op.weights().min(weights.len()));
    *weights = rest;
    own
}

// ANCHOR: shuffle
/// Interleaves the channels of `groups` groups, place by place.
#[must_use]
pub fn shuffle(x: &Maps, groups: usize) -> Maps {
    let each = x.channels / groups.max(1);
    let mut y = Maps::zeros(x.batch, x.height, x.width, x.channels);
    for (from, to) in x.data.chunks_exact(x.channels).zip(y.data.chunks_exact_mut(x.channels)) {
        for (c, from) in from.iter().enumerate() {
            to[c % each * groups + c / each] = *from;
        }
    }
    y
}
// ANCHOR_END: shuffle

fn forward(
    ops: &[Op],
    weights: &mut &[f32],
    panels: &mut std::slice::Iter<'_, Vec<Panels>>,
    mut x: Maps,
    trace: &mut Option<&mut Trace>,
) -> Maps {
    for op in ops {
        x = match op {
            Op::Skip(ops) => {
                let before = x.clone();
                let mut y = forward(ops, weights, panels, x, trace);
                add(&mut y.data, &before.data);
                y
            }
            Op::Join(one, other) => {
                let left = forward(one, weights, panels, x.clone(), trace);
                let right = forward(other, weights, panels, x, trace);
                if let Some(trace) = trace {
                    trace.kept.push(Maps { channels: left.channels, ..Maps::default() });
                }
                join(&left, &right)
            }
            op => {
                let own = take(weights, op);
                match op {
                    Op::Conv(conv) => {
                        let y = conv.forward(own, panels.next().map_or(&[], Vec::as_slice), &x);
                        if let Some(trace) = trace {
                            trace.kept.push(x);
                        }
                        y
                    }
                    Op::Norm(norm) => {
                        let (y, moments) = norm.forward(own, &mut x);
                        if let Some(trace) = trace {
                            trace.kept.push(x);
                            trace.moments.push(moments);
                        }
                        y
                    }
                    Op::Excite(excite) => {
                        if let Some(trace) = trace {
                            trace.kept.push(x.clone());
                        }
                        excite.forward(own, &mut x);
                        x
                    }
                    Op::Shuffle(groups) => shuffle(&x, *groups),
                    _ => {
                        let y = mean(&x);
                        if let Some(trace) = trace {
                            trace.kept.push(Maps { data: Vec::new(), ..x });
                        }
                        y
                    }
                }
            }
        };
    }
    x
}

/// Backward through the layers; nothing where no gradient of the input is `wanted`.
fn backward(
    ops: &[Op],
    weights: &mut &[f32],
    gradient: &mut &mut [f32],
    mut dy: Maps,
    trace: &mut Trace,
    wanted: bool,
) -> Option<Maps> {
    for (i, op) in ops.iter().enumerate().rev() {
        let wanted = wanted || i > 0;
        dy = match op {
            Op::Skip(ops) => {
                let before = dy.clone();
                let mut dx = backward(ops, weights, gradient, dy, trace, true)?;
                add(&mut dx.data, &before.data);
                dx
            }
            Op::Join(one, other) => {
                let (left, right) = part(&dy, trace.kept.pop()?.channels);
                let from_right = backward(other, weights, gradient, right, trace, true)?;
                let mut dx = backward(one, weights, gradient, left, trace, true)?;
                add(&mut dx.data, &from_right.data);
                dx
            }
            op => {
                let at = weights.len() - op.weights().min(weights.len());
                let (rest, own) = weights.split_at(at);
                *weights = rest;
                let (rest, to) = std::mem::take(gradient).split_at_mut(at);
                *gradient = rest;
                match op {
                    Op::Conv(conv) => conv.backward(own, &trace.kept.pop()?, &dy, to, wanted)?,
                    Op::Norm(norm) => {
                        let [_, inverse] = trace.moments.pop()?;
                        norm.backward(own, &trace.kept.pop()?, &inverse, &mut dy, to);
                        dy
                    }
                    Op::Excite(excite) => {
                        excite.backward(own, &trace.kept.pop()?, &mut dy, to);
                        dy
                    }
                    Op::Shuffle(groups) => shuffle(&dy, dy.channels / groups.max(&1)),
                    _ => spread(&dy, &trace.kept.pop()?),
                }
            }
        };
    }
    Some(dy)
}

fn mean(x: &Maps) -> Maps {
    let mut y = Maps::zeros(x.batch, 1, 1, x.channels);
    let places = x.height * x.width;
    for (to, from) in y.data.chunks_exact_mut(x.channels).zip(x.data.chunks_exact(places * x.channels)) {
        from.chunks_exact(x.channels).for_each(|row| add(to, row));
        to.iter_mut().for_each(|sum| *sum /= places as f32);
    }
    y
}

/// The gradient of a mean.
fn spread(dy: &Maps, x: &Maps) -> Maps {
    let mut dx = Maps::zeros(x.batch, x.height, x.width, x.channels);
    let places = x.height * x.width;
    for (from, to) in dy.data.chunks_exact(x.channels).zip(dx.data.chunks_exact_mut(places * x.channels)) {
        for row in to.chunks_exact_mut(x.channels) {
            row.iter_mut().zip(from).for_each(|(to, from)| *to = from / places as f32);
        }
    }
    dx
}

fn join(left: &Maps, right: &Maps) -> Maps {
    let rows = left.data.chunks_exact(left.channels).zip(right.data.chunks_exact(right.channels));
    let mut data = Vec::with_capacity(left.data.len() + right.data.len());
    rows.for_each(|(left, right)| {
        data.extend_from_slice(left);
        data.extend_from_slice(right);
    });
    Maps { data, channels: left.channels + right.channels, ..*left }
}

/// The first channels, and the others.
fn part(x: &Maps, first: usize) -> (Maps, Maps) {
    let of = |range: std::ops::Range<usize>| {
        let channels = range.len();
        let data = x.data.chunks_exact(x.channels).flat_map(|row| row[range.clone()].iter().copied()).collect();
        Maps { data, channels, ..*x }
    };
    (of(0..first), of(first..x.channels))
}

#[cfg(test)]
mod tests {
    use super::{super::samples::numbers, *};

    fn maps(channels: usize, seed: u32) -> Maps {
        Maps { data: numbers(3 * 4 * 5 * channels, seed), ..Maps::zeros(3, 4, 5, channels) }
    }

    fn every_layer() -> Vec<Op> {
        let norm = |channels, relu| Op::Norm(Norm { channels, relu });
        vec![
            Op::Conv(Conv::plain(2, 6, 3, 1)),
            norm(6, true),
            Op::Skip(vec![
                Op::Conv(Conv::depthwise(6, 3, 1)),
                norm(6, true),
                Op::Conv(Conv::plain(6, 6, 1, 1)),
                norm(6, false),
            ]),
            Op::Excite(Excite { channels: 6, inner: 3 }),
            Op::Shuffle(3),
            Op::Join(vec![Op::Conv(Conv::plain(6, 2, 1, 2)), norm(2, true)], vec![Op::Conv(Conv::plain(6, 4, 3, 2))]),
            Op::Conv(Conv { groups: 2, ..Conv::plain(6, 8, 3, 1) }),
            norm(8, true),
            Op::Mean,
            Op::Conv(Conv { bias: true, ..Conv::plain(8, 5, 1, 1) }),
        ]
    }

    fn network() -> Network {
        let ops = every_layer();
        let count = ops.iter().map(Op::weights).sum();
        Network::new(ops, numbers(count, 7))
    }

    #[test]
    fn the_gradient_of_a_network_with_every_layer_is_that_of_small_changes() {
        let (mut network, x) = (network(), maps(2, 1));
        let mut trace = Trace::default();
        let y = network.run(x.clone(), Some(&mut trace));
        let dy = Maps { data: numbers(y.data.len(), 2), ..y };
        let gradient = network.gradient(trace, dy.clone());
        let mut loss = |i: usize, by: f32| -> f64 {
            let kept = network.weights[i];
            network.weights[i] += by;
            network.repack();
            let y = network.run(x.clone(), None);
            network.weights[i] = kept;
            y.data.iter().zip(&dy.data).map(|(y, dy)| f64::from(*y) * f64::from(*dy)).sum()
        };
        let mut off = 0;
        for i in (0..gradient.len()).step_by(3) {
            let slope = (loss(i, 1e-3) - loss(i, -1e-3)) / 2e-3;
            // A ReLU may lie within the change of a few.
            off += usize::from((slope - f64::from(gradient[i])).abs() > 2e-3 + 0.02 * slope.abs());
        }
        assert!(off * 25 < gradient.len() / 3, "{off} of {}", gradient.len() / 3);
        assert!(gradient.iter().filter(|g| **g != 0.0).count() > gradient.len() / 2);
    }

    #[test]
    fn a_shuffle_is_a_permutation_that_its_other_half_undoes() {
        let x = maps(12, 1);
        for groups in [1, 2, 3, 4, 6, 12] {
            let shuffled = shuffle(&x, groups);
            let sorted = |maps: &Maps| {
                let mut row = maps.data[..12].to_vec();
                row.sort_by(f32::total_cmp);
                row
            };
            assert_eq!(sorted(&shuffled), sorted(&x));
            assert_eq!(shuffle(&shuffled, 12 / groups), x);
            assert_eq!(groups == 1 || groups == 12, shuffled == x);
        }
    }

    #[test]
    fn groups_stay_apart_until_channels_are_shuffled() {
        let grouped = Op::Conv(Conv { groups: 3, ..Conv::plain(9, 9, 3, 1) });
        let reached = |middle: &[Op]| {
            let ops = [std::slice::from_ref(&grouped), middle, std::slice::from_ref(&grouped)].concat();
            let network = Network::new(ops, numbers(2 * 9 * 3 * 9, 3));
            let x = maps(9, 1);
            let mut other = x.clone();
            other.data.chunks_exact_mut(9).for_each(|row| row[0] += 1.0);
            let (one, two) = (network.run(x, None), network.run(other, None));
            (0..9).filter(|c| one.data.iter().skip(*c).step_by(9).ne(two.data.iter().skip(*c).step_by(9))).count()
        };
        assert_eq!((reached(&[]), reached(&[Op::Shuffle(3)])), (3, 9));
    }

    #[test]
    fn an_inverted_block_of_identities_doubles_and_an_open_gate_changes_nothing() {
        let mut eye = vec![0.0; 16];
        (0..4).for_each(|i| eye[5 * i] = 1.0);
        let mut delta = vec![0.0; 9 * 4];
        delta[16..20].fill(1.0);
        let pointwise = || Op::Conv(Conv::plain(4, 4, 1, 1));
        let ops = vec![Op::Skip(vec![pointwise(), Op::Conv(Conv::depthwise(4, 3, 1)), pointwise()])];
        let x = maps(4, 1);
        let y = Network::new(ops, [eye.clone(), delta, eye].concat()).run(x.clone(), None);
        y.data.iter().zip(&x.data).for_each(|(y, x)| assert!((y - 2.0 * x).abs() < 1e-6));
        let mut open = vec![0.0; 4 * 2 + 2 + 2 * 4 + 4];
        open[18..].fill(20.0);
        let y = Network::new(vec![Op::Excite(Excite { channels: 4, inner: 2 })], open).run(x.clone(), None);
        y.data.iter().zip(&x.data).for_each(|(y, x)| assert!((y - x).abs() < 1e-4));
    }

    #[test]
    fn a_folded_network_answers_as_the_one_it_was_made_of() {
        let (network, x) = (network(), maps(2, 1));
        let mut trace = Trace::default();
        let before = network.run(x.clone(), Some(&mut trace));
        let folded = super::super::fold(&network, &trace.moments);
        assert!(folded.weights.len() < network.weights.len());
        let after = folded.run(x, None);
        before.data.iter().zip(&after.data).for_each(|(a, b)| assert!((a - b).abs() < 1e-4, "{a} {b}"));
    }
}
