//! Reading a prompt with the dense model and with the pruned one, as this book's engine multiplies: zeros included.

use lab_api::{Family, LabError, Metric};
use lab_kit::{
    Context,
    measure::{Pair, side_by_side},
    mlp::read,
    models::Transformer,
    report::{MetricExt, metric},
    stats::{median, median_interval},
};

use super::model::{CALIBRATION, Weights};

const LEVEL: f64 = 0.95;

/// Times of both, and what they multiply.
pub(super) struct Speed {
    /// Milliseconds of a prompt of 128 tokens.
    pub(super) prefill: Pair,
    /// Multiplications by a weight of a matrix for each token: dense, pruned as executed, pruned and not zero.
    counts: [usize; 3],
}

impl Speed {
    pub(super) async fn measure(
        (dense, pruned): (&Weights, &Weights),
        text: &[u32],
        cx: &Context,
    ) -> Result<Self, LabError> {
        let prompt = &text[..CALIBRATION];
        let (one, other) = (dense.model(cx)?, pruned.model(cx)?);
        let step = async |model: &Transformer| {
            let logits = model.forward(model.tokens(&[prompt], &cx.device)?);
            read(logits.narrow(1, 0, 1).narrow(2, 0, 1)).await.map(|logit| drop(std::hint::black_box(logit)))
        };
        let prefill = side_by_side(cx, 300.0, async || step(&one).await, async || step(&other).await).await?;
        let head = dense.config.vocabulary * dense.config.channels;
        let ((whole, _), (executed, kept)) = (dense.count(), pruned.count());
        Ok(Self { prefill, counts: [whole, executed, kept].map(|count| count + head) })
    }

    pub(super) fn metrics(&self, cx: &Context) -> Vec<Metric> {
        let [whole, executed, kept] = self.counts.map(|count| count as f64);
        let (ratio, interval) = self.prefill.ratio(LEVEL, &mut cx.rng("prefill"));
        let rate = |ms: &f64, count: f64| 2e-6 * count * CALIBRATION as f64 / ms.max(f64::MIN_POSITIVE);
        vec![
            metric(Family::Time, "prefill_ms", "Prefill, 128 tokens", median(&self.prefill.second), "ms")
                .detail()
                .lower()
                .baseline(median(&self.prefill.first))
                .interval(median_interval(&self.prefill.second, LEVEL, &mut cx.rng("pruned")))
                .measured(self.prefill.second.clone())
                .help("The pruned model as this book's engine executes it. The baseline is the dense model, turn by turn."),
            metric(Family::Time, "prefill_speedup", "Speed-up of prefill", ratio, "×")
                .higher()
                .baseline(1.0)
                .interval(interval)
                .measured(self.prefill.ratios())
                .help("Zeros in a dense matrix are multiplied like any other number, so that only what was really removed saves time here."),
            metric(Family::Scale, "executed", "Multiplications a token", executed, "")
                .lower()
                .baseline(whole)
                .exact(0.0, "weights are counted")
                .help("By weights of the layers and of the output, zeros included."),
            metric(Family::Utilization, "useful", "Useful share of the multiplications", 100.0 * kept / executed, "%")
                .higher()
                .baseline(100.0)
                .exact(0.1, "a few weights of equal score may fall on the other side of the cut")
                .help("Those by a weight that is not zero."),
            metric(Family::Utilization, "useful_gflops", "Useful arithmetic, prefill", rate(&median(&self.prefill.second), kept), "GFLOP/s")
                .detail()
                .higher()
                .baseline(rate(&median(&self.prefill.first), whole))
                .measured(self.prefill.second.iter().map(|ms| rate(ms, kept)).collect()),
        ]
    }

    /// Speed-up and its interval, in words.
    pub(super) fn words(&self, cx: &Context) -> String {
        let (ratio, interval) = self.prefill.ratio(LEVEL, &mut cx.rng("prefill"));
        if interval.low > 1.0 {
            format!("reads a prompt {ratio:.2} times as fast")
        } else if interval.high < 1.0 {
            format!("takes {:.2} times as long for a prompt", 1.0 / ratio)
        } else {
            "takes as long for a prompt, within what can be measured here".into()
        }
    }
}
