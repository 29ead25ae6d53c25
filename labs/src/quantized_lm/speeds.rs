//! What 8-bit activations change in the times: 4 bits in groups of 32, as in the lab.

use lab_api::{LabError, Metric, Report};
use lab_kit::{
    Context,
    quant::{Activations, Remedy},
};

use super::{Params, model::Source, prepared::Prepared, speed::Speed, width};

/// Speed-ups that are told for both.
const TOLD: [&str; 3] = ["decode_speedup", "prefill_speedup", "speedup_wide"];

/// Adds each speed-up with activations in FP32 (`_fp32`) and in 8 bits (`_int8`), one after another on the same machine.
pub(super) async fn run(source: &Source, cx: &mut Context, report: &mut Report) -> Result<(), LabError> {
    let fp32 = source.fp32(cx)?;
    let prepared = Prepared::new(source, source.flows(false, cx).await?, Remedy::Nothing, cx).await?;
    for (activations, word) in [(Activations::Fp32, "fp32"), (Activations::Dynamic, "int8")] {
        cx.progress("Timing with 8-bit activations and without", 0.99);
        let mut settings = Params::default().settings();
        settings.activations = activations;
        let packed = source.pack(&settings, &prepared, cx).await?;
        let speed = Speed::measure(&fp32, &packed, source, cx).await?;
        let widths = width::measure(&settings, cx).await?;
        let all = speed.metrics(cx).into_iter().chain(width::metrics(&widths, cx));
        let told = all.filter(|metric| TOLD.contains(&metric.id.as_str()));
        report.metrics.extend(told.map(|metric| Metric {
            id: format!("{}_{word}", metric.id),
            label: format!("{}, activations {}", metric.label, word.to_uppercase()),
            ..metric
        }));
    }
    Ok(())
}
