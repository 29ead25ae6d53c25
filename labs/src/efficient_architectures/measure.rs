//! Time: of whole networks for one image and for many, and of single layers.

use std::hint::black_box;

use lab_api::LabError;
use lab_kit::{
    Context,
    blocks::{Conv, Layer, Maps, Network, Shape, count},
    measure::in_turns,
    stats::median,
};

use super::arms::{Arm, CLASSES, Judged, Planned, Race};

/// Images of a large batch.
pub(super) const MANY: usize = 64;
/// Images of a single layer's batch.
const LAYER: usize = 16;
const ROUNDS: usize = 5;
/// Kinds of layer that are timed alone: name, and 32 channels to 32 at 16 × 16 but for the last.
pub(super) const KINDS: [&str; 5] = ["3×3", "3×3 in 4 groups", "depthwise 3×3", "1×1", "1×1, 128 channels"];

/// Something to be timed.
enum Job {
    Network(Network, Maps),
    Layer(Conv, Vec<f32>, Maps),
}

/// Milliseconds: each entry holds the samples of one subject; sample `i` of all was taken in one round.
pub(super) struct Times {
    /// Of each arm, one image.
    pub(super) one: Vec<Vec<f64>>,
    /// Of each arm, [`MANY`] images.
    pub(super) many: Vec<Vec<f64>>,
    /// Of the plain network's widths with the chosen block: one image, many images.
    pub(super) twin: [Vec<f64>; 2],
    /// Of each of [`KINDS`].
    pub(super) kinds: Vec<Vec<f64>>,
    /// Of the layers of the chosen network, each alone, on [`LAYER`] images.
    pub(super) layers: Vec<(Layer, Vec<f64>)>,
}

/// The chosen block at the baseline's widths, one of its blocks a stage.
pub(super) fn twin(race: &Race<'_>) -> Shape {
    let (base, chosen) = (race.arms[race.baseline].planned.shape, race.arms[race.chosen].planned.shape);
    Shape { width: base.width, blocks: base.blocks, side: base.side, ..chosen }
}

/// The layers that [`KINDS`] names.
pub(super) fn kinds() -> [Conv; 5] {
    let plain = Conv::plain(32, 32, 3, 1);
    [
        plain,
        Conv { groups: 4, ..plain },
        Conv::depthwise(32, 3, 1),
        Conv::plain(32, 32, 1, 1),
        Conv::plain(128, 128, 1, 1),
    ]
}

fn ones(batch: usize, [height, width]: [usize; 2], channels: usize) -> Maps {
    let maps = Maps::zeros(batch, height, width, channels);
    Maps { data: vec![0.5; maps.data.len()], ..maps }
}

fn layer(conv: Conv, size: [usize; 2]) -> Job {
    Job::Layer(conv, vec![0.01; conv.weights()], ones(LAYER, size, conv.inputs))
}

/// Operations of a kind's layer in one call.
pub(super) fn kind_flops(conv: &Conv) -> f64 {
    2.0 * (LAYER * 16 * 16 * conv.kernel_len()) as f64
}

/// Times everything in turns.
async fn time(jobs: &[Job], cx: &Context) -> Result<Vec<Vec<f64>>, LabError> {
    let panels: Vec<_> = jobs
        .iter()
        .map(|job| if let Job::Layer(conv, weights, _) = job { conv.pack(weights) } else { Vec::new() })
        .collect();
    let call = |i: usize| match &jobs[i] {
        Job::Network(network, x) => {
            black_box(network.run(black_box(x.clone()), None));
        }
        Job::Layer(conv, weights, x) => {
            black_box(conv.forward(weights, &panels[i], black_box(x)));
        }
    };
    in_turns(cx, jobs.len(), ROUNDS, call).await
}

/// A finished network of this shape that has learned nothing: time does not depend on what the weights are.
fn fresh(shape: Shape, race: &Race<'_>) -> Network {
    Arm::new(Planned { name: String::new(), series: String::new(), shape }, 0).finish(race.task)
}

/// A network for one image, and for many.
fn both(network: &Network, side: usize) -> [Job; 2] {
    [1, MANY].map(|batch| Job::Network(network.clone(), ones(batch, [side; 2], 1)))
}

/// Milliseconds of networks of these shapes for one image and for many.
#[cfg(feature = "schema")]
pub(super) async fn shapes(shapes: &[Shape], race: &Race<'_>, cx: &Context) -> Result<Vec<[Vec<f64>; 2]>, LabError> {
    let jobs: Vec<Job> = shapes.iter().flat_map(|shape| both(&fresh(*shape, race), shape.side)).collect();
    let times = time(&jobs, cx).await?;
    Ok(times.chunks_exact(2).map(|pair| [pair[0].clone(), pair[1].clone()]).collect())
}

/// Milliseconds of a plain layer and of a separable one in its place, on maps of 16 × 16, by channels.
#[cfg(feature = "schema")]
pub(super) async fn pairs(cx: &Context) -> Result<Vec<(usize, Vec<f64>, Vec<f64>)>, LabError> {
    let channels = [8, 32, 128];
    let jobs: Vec<Job> = channels
        .iter()
        .flat_map(|c| [Conv::plain(*c, *c, 3, 1), Conv::depthwise(*c, 3, 1), Conv::plain(*c, *c, 1, 1)])
        .map(|conv| layer(conv, [16, 16]))
        .collect();
    let times = time(&jobs, cx).await?;
    let sum = |of: &[Vec<f64>]| of[1].iter().zip(&of[2]).map(|(each, mix)| each + mix).collect();
    Ok(channels.into_iter().zip(times.chunks_exact(3)).map(|(c, of)| (c, of[0].clone(), sum(of))).collect())
}

impl Times {
    pub(super) async fn of(race: &Race<'_>, judged: &[Judged], cx: &Context) -> Result<Self, LabError> {
        let chosen = &race.arms[race.chosen].planned.shape;
        let twin = twin(race);
        let mut jobs: Vec<Job> = Vec::new();
        for (arm, judged) in race.arms.iter().zip(judged) {
            jobs.extend(both(&judged.network, arm.side()));
        }
        jobs.extend(both(&fresh(twin, race), twin.side));
        let layers: Vec<Layer> =
            count(&chosen.ops(CLASSES), chosen.side).into_iter().filter(|layer| layer.conv.is_some()).collect();
        jobs.extend(kinds().map(|conv| layer(conv, [16, 16])));
        jobs.extend(layers.iter().filter_map(|of| of.conv.map(|conv| layer(Conv { bias: true, ..conv }, of.size))));
        let mut times = time(&jobs, cx).await?.into_iter();
        let (mut one, mut many) = (Vec::new(), Vec::new());
        for _ in 0..=race.arms.len() {
            one.push(times.next().unwrap_or_default());
            many.push(times.next().unwrap_or_default());
        }
        let twins = [one.pop().unwrap_or_default(), many.pop().unwrap_or_default()];
        let kinds = times.by_ref().take(KINDS.len()).collect();
        Ok(Self { one, many, twin: twins, kinds, layers: layers.into_iter().zip(times).collect() })
    }

    /// Microseconds for an image.
    pub(super) fn us(&self, arm: usize) -> [Vec<f64>; 2] {
        let per = |samples: &[f64], images: f64| samples.iter().map(|ms| 1e3 * ms / images).collect();
        [per(&self.one[arm], 1.0), per(&self.many[arm], MANY as f64)]
    }

    /// GFLOP/s of each of [`KINDS`].
    pub(super) fn rates(&self) -> Vec<Vec<f64>> {
        let of = |(conv, ms): (&Conv, &Vec<f64>)| {
            ms.iter().map(|ms| 1e-6 * kind_flops(conv) / ms.max(f64::MIN_POSITIVE)).collect()
        };
        kinds().iter().zip(&self.kinds).map(of).collect()
    }

    /// For each kind of layer of the chosen network: its share of multiply-adds and of time, in per cent.
    pub(super) fn shares(&self) -> Vec<(&'static str, f64, f64)> {
        let madds: usize = self.layers.iter().map(|(layer, _)| layer.madds).sum();
        let ms: f64 = self.layers.iter().map(|(_, ms)| median(ms)).sum();
        let mut all = Vec::new();
        for kind in lab_kit::blocks::Kind::ALL {
            let of = || self.layers.iter().filter(move |(layer, _)| layer.kind == kind);
            if of().next().is_some() {
                let own: usize = of().map(|(layer, _)| layer.madds).sum();
                let own_ms: f64 = of().map(|(_, ms)| median(ms)).sum();
                all.push((
                    kind.name(),
                    100.0 * own as f64 / madds.max(1) as f64,
                    100.0 * own_ms / ms.max(f64::MIN_POSITIVE),
                ));
            }
        }
        all
    }
}
