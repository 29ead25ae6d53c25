//! What 8-bit activations change in the times: 4 bits in groups of 32, as in the lab.

use std::collections::BTreeMap;

use lab_api::{LabError, Metric, Report};
use lab_kit::{
    Context,
    quant::{Activations, Remedy},
    stats::{median, median_interval},
};

use super::{Params, model::Source, prepared::Prepared, speed::Speed, width};

/// Speed-ups that are told for both.
const TOLD: [&str; 3] = ["decode_speedup", "prefill_speedup", "speedup_wide"];
/// Each packs anew: where buffers come to lie stays the same within a round and decides as much as all else.
const ROUNDS: usize = 11;
/// Confidence of the intervals.
const LEVEL: f64 = 0.95;

/// Adds each speed-up with activations in FP32 (`_fp32`) and in 8 bits (`_int8`), in turn on the same machine: medians over
/// rounds, whose scatter is wider than that of the turns of one.
pub(super) async fn run(source: &Source, cx: &mut Context, report: &mut Report) -> Result<(), LabError> {
    let prepared = Prepared::new(source, source.flows(false, cx).await?, Remedy::Nothing, cx).await?;
    let mut found: BTreeMap<String, Vec<Metric>> = BTreeMap::new();
    for round in 0..ROUNDS {
        cx.progress("Timing with 8-bit activations and without", 0.95 + 0.05 * round as f64 / ROUNDS as f64);
        for (activations, word) in [(Activations::Fp32, "fp32"), (Activations::Dynamic, "int8")] {
            let mut settings = Params::default().settings();
            settings.activations = activations;
            let (fp32, packed) = (source.fp32(cx)?, source.pack(&settings, &prepared, cx).await?);
            let speed = Speed::measure(&fp32, &packed, source, cx).await?;
            let widths = width::measure(&settings, cx).await?;
            for metric in speed.metrics(cx).into_iter().chain(width::metrics(&widths, cx)) {
                if TOLD.contains(&metric.id.as_str()) {
                    let label = format!("{}, activations {}", metric.label, word.to_uppercase());
                    let id = format!("{}_{word}", metric.id);
                    found.entry(id.clone()).or_default().push(Metric { id, label, ..metric });
                }
            }
        }
    }
    for (id, mut rounds) in found {
        let samples: Vec<f64> = rounds.iter().map(|metric| metric.value).collect();
        let interval = Some(median_interval(&samples, LEVEL, &mut cx.rng(&id)));
        report.metrics.extend(rounds.pop().map(|one| Metric { value: median(&samples), interval, samples, ..one }));
    }
    Ok(())
}
