//! Where the time of a language model's pass goes, what looking costs, and whether the profile's promise holds when the part that it
//! blames is really taken away.

mod experiment;
mod figures;
mod settings;
#[cfg(feature = "schema")]
mod study;
mod subject;
mod summary;
#[cfg(test)]
mod tests;

use lab_api::{DeviceKind, LabError, Report};
use lab_kit::{Context, Lab};

pub use settings::Params;
use settings::{Change, Method};
use subject::Source;

/// The lab.
pub struct Profiling;

impl Lab for Profiling {
    const ID: &'static str = "profiling";
    type Params = Params;

    fn smoke() -> Params {
        Params { tokens: 16, passes: 10, ..Params::default() }
    }

    async fn run(params: Params, cx: &mut Context) -> Result<Report, LabError> {
        let cpu = cx.device_info.kind == DeviceKind::Cpu;
        params.check(cpu)?;
        let mut report = Report::default();
        // What paper knows comes at once.
        let plan = subject::Plan::of(&params)?;
        cx.progress("Counting", 0.0);
        report.metrics = summary::counts(&plan, &params);
        cx.publish(&report)?;

        cx.progress("Loading the model", 0.05);
        let source = Source::load(cx).await?;
        cx.progress("Watching passes", 0.15);
        let watched = experiment::watch(&source, &plan, &params, cx).await?;
        report.metrics.extend(summary::profile(&watched, &plan));
        report.charts.push(figures::shares(&watched, &plan));
        report.charts.extend(figures::block(&watched));
        cx.publish(&report)?;

        cx.progress("What does watching cost?", 0.4);
        let budget = experiment::budget(&params, 500.0);
        let cost = experiment::cost(&source, &params, budget, cx).await?;
        report.metrics.extend(summary::cost(&cost, &plan, cx));
        let alone = match params.method {
            Method::Alone => Some(experiment::alone(&plan, cx).await?),
            Method::InSitu => None,
        };
        report.metrics.extend(alone.as_ref().and_then(|alone| summary::alone(alone, &watched)));
        report.tables.push(figures::operations(&watched, &plan, alone.as_deref()));
        cx.publish(&report)?;

        if params.change != Change::None {
            cx.progress("Taking the part away", 0.6);
            let pair = experiment::change(&source, &params, budget, cx).await?;
            report.metrics.extend(summary::change(&pair, &watched, &params, cx));
            report.metrics.extend(experiment::quality(&source, &params, cx).await?);
        }
        cx.progress("What lives in memory?", 0.75);
        let memory = if cpu { experiment::memory(&source, &params, cx).await? } else { None };
        report.metrics.extend(summary::memory(memory.as_ref()));
        report.charts.extend(memory.as_ref().map(figures::timeline));
        if !cpu {
            cx.progress("Waiting after every block", 0.8);
            report
                .metrics
                .extend(experiment::blocks(&source, &params, cx).await?.map(|ms| summary::blocks(&ms, &cost)));
        }
        cx.progress("Longer and shorter", 0.85);
        let sweep = experiment::sweep(&source, &params, cx).await?;
        report.metrics.extend(summary::scale(&sweep, &params));
        report.charts.push(figures::scale(&sweep, &params));
        if cpu {
            report.metrics.push(summary::roof(lab_kit::measure::peak_gflops(cx, 60.0).await?, &cost, &plan));
        }
        report.notes = summary::notes(&watched, &params, cpu, memory.is_some());
        cx.progress("Done", 1.0);
        Ok(report)
    }

    #[cfg(feature = "schema")]
    async fn study(cx: &mut Context) -> Result<Option<Report>, LabError> {
        study::run(cx).await.map(Some)
    }
}
