//! What may lose, at several sizes, and products rung by rung.

use lab_api::{Family, LabError, Report};
use lab_kit::{
    Context,
    fusion::ChainStep,
    report::{MetricExt, metric},
    stats::{median, median_interval},
};

use super::{losing, study::ns, summary};

pub(super) async fn run(report: &mut Report, cx: &Context) -> Result<(), LabError> {
    cx.progress("Timing what may lose", 0.8);
    let mut bouts = Vec::new();
    for power in [12, 20] {
        for (step, name) in [(ChainStep::Cheap, "cheap"), (ChainStep::Exp, "exp")] {
            for length in [1, 4, 8, 16] {
                bouts.push(losing::recompute(step, name, length, power, 9, cx).await?);
            }
        }
    }
    for outputs in [576, 1024] {
        bouts.push(losing::prologue(outputs, 15, cx).await?);
    }
    bouts.push(losing::own_product(15, cx).await?);
    for bout in &bouts {
        let label = format!("{}: gain", bout.id.replace('_', " "));
        report.metrics.push(summary::gain(&bout.id, &label, bout.gains(), cx));
    }
    let mut shown = bouts.split_off(8);
    for (rows, row) in [(768, 128), (4096, 1024)] {
        let all = losing::softmaxes(rows, row, 15, cx).await?;
        let each = |ms: &[f64]| ms.iter().map(|ms| 1e6 * ms / (rows * row) as f64).collect::<Vec<f64>>();
        let label = format!("Softmax of {rows} × {row}: separate, time a number");
        report.metrics.push(ns(&format!("softmax_separate_{row}"), &label, &each(&all[0].ms[0]), cx));
        for bout in all {
            let label = format!("{}, {rows} × {row}", bout.name);
            report.metrics.push(ns(&bout.id, &format!("{label}: time a number"), &each(&bout.ms[1]), cx));
            report.metrics.push(summary::gain(
                &format!("{}_gain", bout.id),
                &format!("{label}: gain"),
                bout.gains(),
                cx,
            ));
            if row == 1024 {
                shown.push(bout);
            }
        }
    }
    report.charts.push(losing::chart(&shown));
    for width in [64, 128, 256, 512] {
        cx.progress(&format!("Timing products of {width}"), 0.9);
        let rates = losing::ladder(width, 7, cx).await?;
        for rate in &rates {
            report.metrics.push(
                metric(
                    Family::Utilization,
                    &format!("{}_{width}", rate.id),
                    &format!("Product of {width}: {}", rate.name),
                    median(&rate.gflops),
                    "GFLOP/s",
                )
                .higher()
                .interval(median_interval(&rate.gflops, 0.95, &mut cx.rng(&rate.id)))
                .measured(rate.gflops.clone()),
            );
        }
        if width == 256 {
            report.charts.push(losing::ladder_chart(&rates));
        }
    }
    Ok(())
}
