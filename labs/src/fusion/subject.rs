//! The seven pairs with what they work on.

use lab_kit::{
    Context,
    fusion::{
        AdamWSetting, ChainStep, FusionPair, PassCounts, PassRoom, StripWeights, adamw_fused, adamw_separate, fused,
        gelu_fused, gelu_separate, norm_fused, norm_separate, rms_norm_fused, rms_norm_separate, separate,
        softmax_fused, softmax_separate, swiglu_fused, swiglu_separate,
    },
};
use rand::Rng;

use super::{Neighbours, Params};

/// Channels of the language model, and of its feed-forward network.
pub(super) const INPUTS: usize = 192;
pub(super) const OUTPUTS: usize = 576;
/// Rows of a product, at most.
const ROWS: usize = 256;
pub(super) const EPSILON: f32 = 1e-5;

/// Random numbers from -1 to 1.
pub(super) fn draw(count: usize, rng: &mut impl Rng) -> Vec<f32> {
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// Numbers of few bits between 0 and 1: a chain of cheap operations is exact on them.
pub(super) fn dyadic(count: usize, rng: &mut impl Rng) -> Vec<f32> {
    (0..count).map(|_| rng.random_range(0..256) as f32 / 256.0).collect()
}

/// A pair and its numbers.
pub(super) struct Case {
    pub(super) which: Neighbours,
    pub(super) pair: FusionPair,
    /// Numbers of the input.
    pub(super) n: usize,
    row: usize,
    step: ChainStep,
    length: usize,
    lanes: usize,
    x: Vec<f32>,
    z: Vec<f32>,
    gamma: Vec<f32>,
    weights: [StripWeights; 2],
    room: PassRoom,
    held: Vec<f32>,
    /// Results; of AdamW parameters and moments.
    pub(super) y: [Vec<f32>; 3],
}

impl Case {
    pub(super) fn new(which: Neighbours, params: &Params, cx: &Context) -> Self {
        let mut rng = cx.rng(which.id());
        let all = 1_usize << params.numbers;
        let row = params.row as usize;
        let product = matches!(which, Neighbours::NormProduct | Neighbours::ProductGelu);
        let n = match which {
            Neighbours::NormProduct | Neighbours::ProductGelu => INPUTS * (all / INPUTS).clamp(1, ROWS),
            Neighbours::Softmax | Neighbours::Norm => row * (all / row).max(1),
            _ => all,
        };
        let outputs = if product { n / INPUTS * OUTPUTS } else { n };
        let x = if which == Neighbours::Chain { dyadic(n, &mut rng) } else { draw(n, &mut rng) };
        let z = if which == Neighbours::Swiglu { draw(n, &mut rng) } else { Vec::new() };
        let (inputs, columns) = if product { (INPUTS, OUTPUTS) } else { (0, 0) };
        let w: Vec<f32> = draw(inputs * columns, &mut rng).iter().map(|w| w * 0.1).collect();
        let gamma = draw(if which == Neighbours::Norm { row } else { columns }, &mut rng);
        let weights = [StripWeights::new(&w, inputs, columns), StripWeights::folded(&w, &gamma[..inputs], columns)];
        let moments = which == Neighbours::Adamw;
        let room = match which {
            Neighbours::Chain => PassRoom::default(),
            // The product's norm works on the input, its finish on the output.
            Neighbours::NormProduct => PassRoom::new(n, n / INPUTS),
            _ => PassRoom::new(outputs, outputs / row.min(outputs)),
        };
        Self {
            which,
            pair: which.pair(params.length as usize),
            n,
            row,
            step: params.operation.step(),
            length: params.length as usize,
            lanes: params.lanes.count(),
            held: vec![0.0; if which == Neighbours::NormProduct { n } else { 0 }],
            y: [vec![0.0; outputs], vec![0.0; if moments { n } else { 0 }], vec![0.0; if moments { n } else { 0 }]],
            x,
            z,
            gamma,
            weights,
            room,
        }
    }

    pub(super) fn counts(&self) -> [PassCounts; 2] {
        self.pair.counts(self.n)
    }

    /// Bytes of results between operations that live at once.
    pub(super) fn temporaries(&self) -> usize {
        let numbers = match self.which {
            // Of two neighbours in a chain one is the result.
            Neighbours::Chain => self.n * usize::from(self.length > 1),
            Neighbours::NormProduct => 3 * self.n,
            Neighbours::ProductGelu => 3 * self.y[0].len(),
            Neighbours::Adamw => 3 * self.n,
            _ => 2 * self.n,
        };
        4 * numbers
    }

    pub(super) fn separate(&mut self) {
        let ([y, m, v], room, [plain, _]) = (&mut self.y, &mut self.room, &self.weights);
        match self.which {
            Neighbours::Chain => *y = separate(self.step, self.length, &self.x),
            Neighbours::Swiglu => swiglu_separate(&self.x, &self.z, room, y),
            Neighbours::Softmax => softmax_separate(&self.x, self.row, room, y),
            Neighbours::Norm => rms_norm_separate(&self.x, &self.gamma, EPSILON, room, y),
            Neighbours::NormProduct => {
                norm_separate(&self.x, &self.gamma[..INPUTS], EPSILON, plain, room, &mut self.held, y);
            }
            Neighbours::ProductGelu => gelu_separate(&self.x, plain, &self.gamma, room, y),
            Neighbours::Adamw => adamw_separate(AdamWSetting::first(1e-3, 0.01, 1e-5), &self.x, [y, m, v], room),
        }
    }

    pub(super) fn fused(&mut self) {
        let ([y, m, v], [plain, folded]) = (&mut self.y, &self.weights);
        match self.which {
            Neighbours::Chain => fused(self.step, self.length, self.lanes, &self.x, y),
            Neighbours::Swiglu => swiglu_fused(&self.x, &self.z, y),
            Neighbours::Softmax => softmax_fused(&self.x, self.row, y),
            Neighbours::Norm => rms_norm_fused(&self.x, &self.gamma, EPSILON, y),
            Neighbours::NormProduct => norm_fused(&self.x, EPSILON, folded, y),
            Neighbours::ProductGelu => gelu_fused(&self.x, plain, &self.gamma, y),
            Neighbours::Adamw => adamw_fused(AdamWSetting::first(1e-3, 0.01, 1e-5), &self.x, [y, m, v]),
        }
    }
}

/// The largest difference of the two ways over the largest result, in units of 2⁻²³: the spacing of floats at one.
pub(super) fn deviation(case: &mut Case) -> f64 {
    let begin = case.y.clone();
    case.separate();
    let one = std::mem::replace(&mut case.y, begin.clone());
    case.fused();
    let (one, other) = (one.iter().flatten(), case.y.iter().flatten());
    let most = one.clone().fold(0.0_f32, |most, x| most.max(x.abs()));
    let worst = one.zip(other).fold(0.0_f32, |worst, (a, b)| worst.max((a - b).abs()));
    case.y = begin;
    f64::from(worst / most.max(f32::MIN_POSITIVE)) * f64::from(1 << 23)
}
