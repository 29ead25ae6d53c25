//! What is measured.

use lab_api::{Family, LabError, Metric};
use lab_kit::{
    Context,
    measure::{Pair, in_turns, peak_bytes, samples, side_by_side},
    mlp::read,
    profile::{CountProbe, MemoryProbe, NoProbe, Part, Probe, Profile, SpanProbe, Without, alone::Alone, profile},
    report::{MetricExt, metric},
    stats::median,
};

use super::{
    settings::{Change, Params, Phase},
    subject::{Plan, Source, Subject},
};

/// Milliseconds for the passes that are watched.
const WATCH_MS: f64 = 700.0;
/// Milliseconds for two variants side by side, and for single ones; 0 where the reader says how many passes.
pub(super) fn budget(params: &Params, ms: f64) -> f64 {
    if params.passes > 0 { 0.0 } else { ms }
}

/// The profile, and what starting the operations takes.
pub(super) struct Watched {
    pub(super) profile: Profile,
    pub(super) hollow: Profile,
    /// Parts in the order of a pass.
    pub(super) order: Vec<Part>,
    /// Step of the clock that the spans were read from.
    pub(super) step_ms: f64,
}

pub(super) async fn watch(source: &Source, plan: &Plan, params: &Params, cx: &Context) -> Result<Watched, LabError> {
    let depth = params.granularity.depth();
    let mut subject = source.subject(params.phase, plan.sizes[1], cx)?;
    let mut twin = source.hollow(params.phase, cx)?;
    let mut count = CountProbe::default();
    subject.logits(&mut count)?;
    let passes = params.passes as usize;
    let look = (depth, params.clock.step_ms());
    let watch = async |subject: &mut Subject, budget: f64| {
        profile(cx, look, (passes, budget), &mut |probe: &mut dyn Probe| subject.pass(probe)).await
    };
    let profile = watch(&mut subject, WATCH_MS).await?;
    let hollow = watch(&mut twin, 0.3 * WATCH_MS).await?;
    Ok(Watched { profile, hollow, order: count.order, step_ms: params.clock.step_ms().max(cx.clock_step_ms()) })
}

/// Two passes side by side, each under its probe.
async fn against(
    (first, second): (&mut Subject, &mut Subject),
    (one, other): (&mut dyn Probe, &mut dyn Probe),
    budget_ms: f64,
    cx: &Context,
) -> Result<Pair, LabError> {
    async fn pass(subject: &mut Subject, probe: &mut dyn Probe) -> Result<(), LabError> {
        probe.enter(Part::Pass);
        let y = subject.pass(probe)?;
        probe.enter(Part::Read);
        read(y).await?;
        probe.leave(Part::Read);
        probe.leave(Part::Pass);
        Ok(())
    }
    side_by_side(cx, budget_ms, async || pass(first, one).await, async || pass(second, other).await).await
}

/// The pass without and with somebody who watches.
pub(super) async fn cost(source: &Source, params: &Params, budget_ms: f64, cx: &Context) -> Result<Pair, LabError> {
    let n = params.tokens as usize;
    let (mut plain, mut watched) = (source.subject(params.phase, n, cx)?, source.subject(params.phase, n, cx)?);
    let mut probe = SpanProbe::new(cx, params.granularity.depth(), 0.0);
    against((&mut plain, &mut watched), (&mut NoProbe, &mut probe), budget_ms, cx).await
}

/// The pass as it is and without what is taken away.
pub(super) async fn change(source: &Source, params: &Params, budget_ms: f64, cx: &Context) -> Result<Pair, LabError> {
    let n = params.tokens as usize;
    let (mut intact, mut changed) = (source.subject(params.phase, n, cx)?, source.subject(params.phase, n, cx)?);
    changed.last = params.change == Change::LastLogits;
    against((&mut intact, &mut changed), (&mut NoProbe, &mut Without(params.change.parts())), budget_ms, cx).await
}

/// What is left of the answers: for an optimization the largest difference in the last row, for a part that is gone the loss.
pub(super) async fn quality(source: &Source, params: &Params, cx: &Context) -> Result<Option<Metric>, LabError> {
    let n = params.tokens as usize;
    let mut subject = source.subject(Phase::Prefill, n, cx)?;
    let intact = read(subject.logits(&mut NoProbe)?).await?;
    let vocabulary = intact.len() / n;
    if params.change == Change::LastLogits {
        subject.last = true;
        let last = read(subject.logits(&mut NoProbe)?).await?;
        let apart = last.iter().zip(&intact[intact.len() - vocabulary..]).map(|(a, b)| f64::from((a - b).abs()));
        return Ok(Some(
            metric(
                Family::Quality,
                "last_row_difference",
                "Largest change of a logit in the last row",
                apart.fold(0.0, f64::max),
                "",
            )
            .lower()
            .exact(1e-3, "sums of 192 products in another order")
            .help("Logits of the last token, made alone and made with all others. The answer is the same."),
        ));
    }
    let changed = read(subject.logits(&mut Without(params.change.parts()))?).await?;
    let told = &source.text[1..=n];
    let [before, after] = [&intact, &changed].map(|logits| nats(logits, told));
    Ok((before.is_finite() && after.is_finite()).then(|| {
        metric(Family::Quality, "loss", &format!("Loss without {}", params.change.name()), after, "nats")
            .lower()
            .baseline(before)
            .exact(0.02 + 0.05 * after.abs(), "a broken model doubles small differences in every layer")
            .help("Mean surprise at each next token of a text that the model has never seen; the baseline is the intact model. A uniform guess costs 6.9.")
    }))
}

/// Mean of `-ln p` of the tokens that follow.
pub(super) fn nats(logits: &[f32], told: &[u32]) -> f64 {
    let vocabulary = logits.len() / told.len().max(1);
    let rows = logits.chunks_exact(vocabulary.max(1)).zip(told);
    let sum: f64 = rows
        .map(|(row, told)| {
            let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = row.iter().map(|x| f64::from(x - largest).exp()).sum();
            sum.ln() - f64::from(row.get(*told as usize).copied().unwrap_or(largest) - largest)
        })
        .sum();
    sum / told.len().max(1) as f64
}

/// Milliseconds a pass of each operation done alone.
pub(super) async fn alone(plan: &Plan, cx: &Context) -> Result<Vec<(Part, Vec<f64>)>, LabError> {
    let [t, s, _] = plan.sizes;
    let alone = Alone::new(&plan.config, [t, s], &mut cx.rng("inputs"), &cx.device);
    let parts: Vec<Part> = Part::ALL.into_iter().filter(|part| plan.calls(*part) > 0 && alone.once(*part)).collect();
    let ms = in_turns(cx, parts.len(), 5, |i| {
        alone.once(parts[i]);
    })
    .await?;
    let a_pass = |(part, ms): (&Part, Vec<f64>)| {
        let calls = plan.calls(*part) as f64;
        (*part, ms.into_iter().map(|ms| calls * ms).collect())
    };
    Ok(parts.iter().zip(ms).map(a_pass).collect())
}

/// The memory of a pass.
pub(super) struct Memory {
    /// The part that begins or ends, and the bytes that live beyond those before the pass.
    pub(super) points: Vec<(Part, f64)>,
    /// The most that lived at once, between two looks too.
    pub(super) peak_bytes: usize,
}

/// `None` where the host does not count.
pub(super) async fn memory(source: &Source, params: &Params, cx: &Context) -> Result<Option<Memory>, LabError> {
    let mut subject = source.subject(params.phase, params.tokens as usize, cx)?;
    // What is made once and kept is no part of a pass.
    read(subject.plain()?).await?;
    let mut probe = MemoryProbe::new(cx);
    probe.note(Part::Pass);
    let ((), peak) = peak_bytes(cx, async || {
        let y = subject.logits(&mut probe)?;
        drop(y);
        Ok(())
    })
    .await?;
    probe.note(Part::Pass);
    let (Some(peak_bytes), Some((_, before))) = (peak, probe.points.first().copied()) else { return Ok(None) };
    let points = probe.points.iter().map(|(part, bytes)| (*part, *bytes as f64 - before as f64)).collect();
    Ok(Some(Memory { points, peak_bytes }))
}

/// Milliseconds of the prompt when the device is waited for after every block.
pub(super) async fn blocks(source: &Source, params: &Params, cx: &Context) -> Result<Option<Vec<f64>>, LabError> {
    if params.phase == Phase::Decode {
        return Ok(None);
    }
    let subject = source.subject(params.phase, params.tokens as usize, cx)?;
    samples(cx, budget(params, 300.0), async || subject.in_blocks().await).await.map(Some)
}

/// Milliseconds of a pass at several lengths.
pub(super) async fn sweep(source: &Source, params: &Params, cx: &Context) -> Result<Vec<(usize, Vec<f64>)>, LabError> {
    let n = params.tokens as usize;
    let lengths = [n / 8, n / 4, n / 2, n, (2 * n).min(source.model.config().context)];
    // Where few passes are asked for, three lengths have to do.
    let skipped = if params.passes > 0 { 2 } else { 0 };
    let mut found: Vec<(usize, Vec<f64>)> = Vec::new();
    for length in lengths.into_iter().skip(skipped) {
        if found.last().is_some_and(|(last, _)| *last == length) {
            continue;
        }
        let mut subject = source.subject(params.phase, length, cx)?;
        let ms = samples(cx, budget(params, 100.0), async || read(subject.plain()?).await.map(drop)).await?;
        found.push((length, ms));
    }
    Ok(found)
}

/// The middle of the samples at this length.
pub(super) fn at(sweep: &[(usize, Vec<f64>)], length: usize) -> Option<f64> {
    sweep.iter().find(|(found, _)| *found == length).map(|(_, ms)| median(ms))
}
