//! Every draft at three temperatures, four lengths and three kinds of text; costs in several rounds; and the rules on trial.

use lab_api::{Axis, Cell, Chart, ChartBody, Family, LabError, Metric, Report, Series, Table};
use lab_kit::{
    Context,
    measure::Pair,
    report::{MetricExt, metric},
    speculative::{How, Rule, expected_tokens},
    stats::{cluster_ratio_bootstrap, median, median_interval},
};

use super::{
    Params, Text, Verdict, Who,
    clock::{self, Costs},
    judge::{self, Accepted},
    material::{Material, Written},
    summary::{self, Count, batch_cost, compare, of, predicted},
};

const LEVEL: f64 = 0.95;
const PROMPTS: usize = 12;
const TOKENS: usize = 64;
/// Rounds of each timing: everything is set up anew.
const ROUNDS: usize = 3;

/// A temperature as it stands in the name of a number.
fn tenths(temperature: f64) -> u32 {
    (10.0 * temperature).round() as u32
}

fn id(who: Who) -> &'static str {
    match who {
        Who::Draft => "draft",
        Who::Lookup => "lookup",
        Who::Table => "table",
        Who::Early => "early",
        Who::Packed => "packed",
        Who::Chance => "chance",
    }
}

/// Tokens for each pass with an interval over prompts, and the counts behind it.
fn tokens_per_pass(name: &str, label: &str, written: &[Written], cx: &Context) -> Metric {
    let each: Vec<Count> = written.iter().map(|one| Count::of(std::slice::from_ref(one))).collect();
    let tokens: Vec<f64> = each.iter().map(|count| count.tokens).collect();
    let passes: Vec<f64> = each.iter().map(|count| count.passes).collect();
    let groups: Vec<usize> = (0..each.len()).collect();
    let all = Count::of(written);
    let interval = cluster_ratio_bootstrap(&tokens, &passes, &groups, LEVEL, &mut cx.rng(name));
    metric(Family::Scale, name, label, all.tokens / all.passes, "tokens")
        .higher()
        .baseline(1.0)
        .interval(interval)
        .exact(0.5, "a near tie that falls to the other side changes all of the text after it")
}

pub(super) async fn run(cx: &mut Context) -> Result<Report, LabError> {
    let mut report = Report::default();
    cx.progress("Loading", 0.0);
    let material = Material::load(cx).await?;
    let (mut lines, mut greedy, mut same_texts) = (Vec::new(), Vec::new(), summary::Same { different: 0, ties: 0 });
    let mut rows = Vec::new();
    let mut compared = 0;
    for (text, word) in [(Text::Prose, "prose"), (Text::Repetitive, "repetitive"), (Text::Shuffled, "shuffled")] {
        let prompts = material.prompts(text, PROMPTS, cx);
        let temperatures: &[f64] = if text == Text::Prose { &[0.0, 0.7, 1.0] } else { &[0.0] };
        for temperature in temperatures.iter().copied() {
            cx.progress(&format!("{word}, temperature {temperature}"), 0.2);
            let how = How { gamma: 4, temperature, rule: Rule::Exact };
            let plain = material.write(None, how, (&prompts, TOKENS), cx).await?;
            let accepted = judge::accepted(&material, (&prompts, &plain), temperature, cx).await?;
            let place = format!("{word}_{}", tenths(temperature));
            for found in &accepted {
                let who = found.who;
                let name = format!("{}_{place}", id(who));
                let words = format!("{}, {word}, temperature {temperature}", who.name());
                let written = material.write(Some(who), how, (&prompts, TOKENS), cx).await?;
                let measured =
                    tokens_per_pass(&format!("tokens_{name}"), &format!("Tokens for each pass: {words}"), &written, cx);
                let expected = found.proposes * expected_tokens(found.alpha, how.gamma) + 1.0 - found.proposes;
                rows.push(vec![
                    Cell::from(words.as_str()),
                    Cell::from(100.0 * found.proposes),
                    Cell::from(100.0 * found.alpha),
                    Cell::from(expected),
                    Cell::from(measured.value),
                ]);
                report.metrics.extend([
                    metric(
                        Family::Scale,
                        &format!("accepted_{name}"),
                        &format!("Accepted: {words}"),
                        100.0 * found.alpha,
                        "%",
                    )
                    .higher()
                    .exact(8.0, "a near tie changes all of the text after it"),
                    metric(
                        Family::Scale,
                        &format!("proposes_{name}"),
                        &format!("Proposes at: {words}"),
                        100.0 * found.proposes,
                        "%",
                    )
                    .exact(8.0, "a near tie changes all of the text after it"),
                    metric(
                        Family::Scale,
                        &format!("expected_{name}"),
                        &format!("Expected: {words}"),
                        expected,
                        "tokens",
                    )
                    .exact(0.5, "a near tie changes all of the text after it"),
                    measured,
                ]);
                if temperature == 0.0 {
                    let same = compare(&material, &prompts, [&plain, &written], cx).await?;
                    same_texts.different += same.different;
                    same_texts.ties += same.ties;
                    compared += prompts.len();
                }
                if who == Who::Draft && text == Text::Prose {
                    lines.push(lengths(&material, &prompts, temperature, &mut report, cx).await?);
                    let by_place = positions(&written, how.gamma);
                    report.metrics.extend(by_place.iter().enumerate().map(|(i, share)| {
                        metric(
                            Family::Scale,
                            &format!("place_{}_{place}", i + 1),
                            &format!("Accepted at place {} if all before were: {words}", i + 1),
                            100.0 * share,
                            "%",
                        )
                        .exact(15.0, "a near tie changes all of the text after it")
                    }));
                }
            }
            if text == Text::Prose && temperature == 0.0 {
                greedy = accepted;
            }
        }
    }
    report.metrics.extend([
        metric(
            Family::Quality,
            "different",
            "Greedy texts that differ from plain decoding",
            same_texts.different as f64,
            "texts",
        )
        .lower()
        .exact(0.0, "equal tokens are equal on every device"),
        metric(Family::Quality, "ties", "Greedy texts that part at a near tie", same_texts.ties as f64, "texts")
            .lower()
            .exact(5.0, "sums in another order"),
        metric(Family::Quality, "compared", "Greedy texts compared", compared as f64, "texts").exact(0.0, "counted"),
    ]);
    report.tables.push(Table {
        id: "arms".into(),
        title: format!("Accepted tokens, and what a pass yields at γ = 4: {PROMPTS} texts of {TOKENS} tokens"),
        columns: ["Arm", "Proposes (%)", "Accepted (%)", "Tokens for each pass, expected", "Measured"]
            .map(str::to_owned)
            .to_vec(),
        rows,
    });
    report.charts.push(Chart {
        id: "lengths".into(),
        title: "What do longer proposals yield?".into(),
        caption: "Tokens for each pass with the small model as draft, measured (bands: 95 %).".into(),
        x: Axis::linear("Tokens proposed in a round, γ"),
        y: Axis { min: Some(0.0), ..Axis::linear("Tokens for each pass") },
        body: ChartBody::Line { series: lines },
    });
    rules(&material, &mut report, cx).await?;
    timed(&material, &greedy, &mut report, cx).await?;
    Ok(report)
}

/// The small model with more and more proposals.
async fn lengths(
    material: &Material,
    prompts: &[Vec<u32>],
    temperature: f64,
    report: &mut Report,
    cx: &Context,
) -> Result<Series, LabError> {
    let mut line = Series { name: format!("Temperature {temperature}"), points: Vec::new(), band: Vec::new() };
    let t = tenths(temperature);
    for gamma in [1, 2, 8] {
        let how = How { gamma, temperature, rule: Rule::Exact };
        let written = material.write(Some(Who::Draft), how, (prompts, TOKENS), cx).await?;
        let label = format!("Tokens for each pass: small model, γ = {gamma}, temperature {temperature}");
        let found = tokens_per_pass(&format!("tokens_draft_gamma_{gamma}_{t}"), &label, &written, cx);
        line.points.push([gamma as f64, found.value]);
        line.band.extend(found.interval.as_ref().map(|interval| [interval.low, interval.high]));
        let flops = material.flops(Who::Draft, 96);
        report.metrics.push(
            metric(
                Family::Utilization,
                &format!("arithmetic_gamma_{gamma}_{t}"),
                &format!("Operations for each token that is kept: γ = {gamma}, temperature {temperature}"),
                Count::of(&written).arithmetic(flops),
                "×",
            )
            .lower()
            .baseline(1.0)
            .exact(0.6, "a near tie changes all of the text after it"),
        );
        report.metrics.push(found);
    }
    Ok(line)
}

/// Share that is accepted at each place of a proposal, of the rounds that got there.
fn positions(written: &[Written], gamma: usize) -> Vec<f64> {
    let rounds = || written.iter().flat_map(|written| &written.rounds);
    let share = |i: usize| {
        let there = rounds().filter(|round| round.accepted >= i && round.proposed > i).count();
        rounds().filter(|round| round.accepted > i).count() as f64 / there.max(1) as f64
    };
    (0..gamma).map(share).collect()
}

/// The three rules before the same judges.
async fn rules(material: &Material, report: &mut Report, cx: &Context) -> Result<(), LabError> {
    let prompts = material.prompts(Text::Prose, PROMPTS, cx);
    for (verdict, name) in
        [(Verdict::Exact, "exact"), (Verdict::Unsubtracted, "unsubtracted"), (Verdict::Threshold, "threshold")]
    {
        cx.progress(&format!("The rule on trial: {name}"), 0.6);
        let found = judge::unchanged(material, (Who::Draft, verdict.rule()), &prompts, 1.0, cx).await?;
        let why = "probabilities are sums of singles in another order";
        report.metrics.extend([
            metric(
                Family::Quality,
                &format!("distance_{name}"),
                &format!("Distance from the model's law: {name}"),
                100.0 * found.distance,
                "%",
            )
            .lower()
            .baseline(100.0 * found.unchecked)
            .exact(if verdict == Verdict::Exact { 1e-7 } else { 0.5 }, why),
            metric(
                Family::Quality,
                &format!("p_value_{name}"),
                &format!("Chance of tokens so far off: {name}"),
                100.0 * found.test.p_value,
                "%",
            )
            .exact(10.0, why),
            metric(Family::Quality, &format!("statistic_{name}"), &format!("χ²: {name}"), found.test.statistic, "")
                .exact(0.1 * found.test.statistic, why),
            metric(
                Family::Quality,
                &format!("freedom_{name}"),
                &format!("Degrees of freedom: {name}"),
                found.test.freedom as f64,
                "",
            )
            .exact(5.0, why),
        ]);
    }
    Ok(())
}

/// All samples of both.
fn add(all: &mut Pair, found: &Pair) {
    all.first.extend(&found.first);
    all.second.extend(&found.second);
}

/// The middle of the rounds, with its interval and each of them.
fn over_rounds(family: Family, name: &str, label: &str, unit: &str, rounds: &[f64], cx: &Context) -> Metric {
    metric(family, name, label, median(rounds), unit)
        .interval(median_interval(rounds, LEVEL, &mut cx.rng(name)))
        .measured(rounds.to_vec())
}

/// Costs on this device, and whole texts.
async fn timed(material: &Material, greedy: &[Accepted], report: &mut Report, cx: &Context) -> Result<(), LabError> {
    let params = Params::default();
    let at = (params.gamma as usize, 0.0);
    let prompts = material.prompts(Text::Prose, 2, cx);
    let mut costs = Costs { passes: Vec::new(), drafts: Vec::new(), gamma: at.0 };
    let mut rounds: Vec<Costs> = Vec::new();
    let mut together: Vec<(usize, Vec<f64>)> = Vec::new();
    let mut whole: Vec<(Who, usize, Pair)> = Vec::new();
    for round in 0..ROUNDS {
        cx.progress(&format!("On the clock, round {}", round + 1), 0.7 + 0.05 * round as f64);
        let found = Costs::measure(material, &prompts[0], at, false, cx).await?;
        for (k, pair) in &found.passes {
            match costs.passes.iter_mut().find(|(other, _)| other == k) {
                Some((_, all)) => add(all, pair),
                None => costs.passes.push((*k, pair.clone())),
            }
        }
        for (who, pair) in &found.drafts {
            match costs.drafts.iter_mut().find(|(other, _)| other == who) {
                Some((_, all)) => add(all, pair),
                None => costs.drafts.push((*who, pair.clone())),
            }
        }
        rounds.push(found);
        for (batch, found) in clock::batches(material, &prompts[0], at, false, cx).await? {
            match together.iter_mut().find(|(other, _)| *other == batch) {
                Some((_, all)) => all.push(batch_cost(&found)),
                None => together.push((batch, vec![batch_cost(&found)])),
            }
        }
        for who in Who::ALL {
            for gamma in [1, 2, 4] {
                let how = How { gamma, ..params.how() };
                let found = clock::texts(material, (who, how), (&prompts, TOKENS), 200.0, cx).await?;
                match whole.iter_mut().find(|(other, length, _)| (*other, *length) == (who, gamma)) {
                    Some((_, _, all)) => add(all, &found),
                    None => whole.push((who, gamma, found)),
                }
            }
        }
    }
    for (k, _) in &costs.passes {
        let each: Vec<f64> = rounds.iter().map(|round| round.pass(*k)).collect();
        let label = format!("A pass of {k} tokens");
        let found = over_rounds(Family::Time, &format!("pass_{k}"), &label, "steps", &each, cx);
        report.metrics.push(found.lower().baseline(*k as f64));
    }
    for (batch, each) in &together {
        let label = format!("A pass that checks 4 proposals, {batch} requests");
        report
            .metrics
            .push(over_rounds(Family::Scale, &format!("pass_batch_{batch}"), &label, "steps", each, cx).lower());
    }
    for who in Who::ALL {
        let (draft, _) = costs.draft(who);
        let turns: Vec<f64> = rounds.iter().map(|round| round.draft(who).0).collect();
        let [of_draft, of_target] = material.flops(who, 64);
        let (now, (best, fastest)) = predicted(&costs, of(greedy, who), who, at.0);
        let one = |name: &str, label: &str, value: f64, unit: &str| {
            metric(Family::Time, &format!("{name}_{}", id(who)), &format!("{label}: {}", who.name()), value, unit)
        };
        report.metrics.extend([
            one("cost", "A proposed token", draft, "steps").lower().baseline(of_draft / of_target).measured(turns),
            one("predicted", "Speed-up at γ = 4, predicted", now, "×").higher().measured(vec![now]),
            one("best_gamma", "The best γ", best as f64, "tokens").measured(vec![best as f64]),
            one("best_speedup", "Speed-up there, predicted", fastest, "×").higher().measured(vec![fastest]),
            metric(
                Family::Memory,
                &format!("bytes_{}", id(who)),
                &format!("Memory of the draft: {}", who.name()),
                material.added_bytes(who) as f64,
                "bytes",
            )
            .lower()
            .exact(0.0, "bytes are counted"),
        ]);
    }
    for (who, gamma, pair) in &whole {
        let name = format!("speedup_{}_{gamma}", id(*who));
        let (ratio, interval) = pair.ratio(LEVEL, &mut cx.rng(&name));
        report.metrics.push(
            metric(Family::Time, &name, &format!("Speed-up of whole texts, γ = {gamma}: {}", who.name()), ratio, "×")
                .higher()
                .baseline(1.0)
                .interval(interval)
                .measured(pair.ratios()),
        );
    }
    Ok(())
}
