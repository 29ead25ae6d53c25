//! Everything again and again: which shares repeat, what each depth of looking costs, and how far promises were kept.

use std::{collections::BTreeMap, time::Duration};

use lab_api::{Axis, BarSeries, Cell, Chart, ChartBody, Family, LabError, Report, Series, Table};
use lab_kit::{
    Context,
    mlp::read,
    profile::{Depth, NoProbe, Part, mean_interval, sampling},
    report::{MetricExt, metric},
    stats::{median, median_interval},
};

use super::{
    experiment, figures,
    settings::{Change, Clock, Granularity, Params, Phase},
    subject::{Plan, Source, is_product},
    summary,
};

/// Rounds; each measures everything anew.
const ROUNDS: usize = 8;
const LEVEL: f64 = 0.95;
/// Milliseconds of two variants side by side.
const PAIR_MS: f64 = 220.0;
const DEPTHS: [(Granularity, &str); 4] = [
    (Granularity::Pass, "pass"),
    (Granularity::Block, "block"),
    (Granularity::Layer, "layer"),
    (Granularity::Operation, "operation"),
];
const PHASES: [(Phase, &str, u32); 2] = [(Phase::Prefill, "prefill", 24), (Phase::Decode, "decode", 400)];

/// Values by name, one for each round, with what they are.
#[derive(Default)]
struct Found(BTreeMap<String, (Family, String, &'static str, Vec<f64>)>);

impl Found {
    fn add(&mut self, family: Family, id: &str, label: &str, unit: &'static str, value: f64) {
        self.0.entry(id.into()).or_insert_with(|| (family, label.into(), unit, Vec::new())).3.push(value);
    }

    fn values(&self, id: &str) -> &[f64] {
        self.0.get(id).map_or(&[], |(.., values)| values)
    }

    fn middle(&self, id: &str) -> f64 {
        median(self.values(id))
    }
}

/// A name's words as an id.
fn slug(name: &str) -> String {
    let kept = name.to_lowercase().replace(['-', ' '], "_");
    kept.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

/// The settings' own name of a change.
fn change_id(change: Change) -> String {
    slug(change.name())
}

pub(super) async fn run(cx: &mut Context) -> Result<Report, LabError> {
    let source = Source::load(cx).await?;
    let mut found = Found::default();
    for round in 0..ROUNDS {
        cx.progress("Measuring again", round as f64 / ROUNDS as f64);
        for (phase, word, passes) in PHASES {
            let params = Params { phase, passes, change: Change::None, ..Params::default() };
            of_phase(&source, &params, word, &mut found, cx).await?;
        }
        let sweep = experiment::sweep(&source, &Params::default(), cx).await?;
        if let Some([a, b, c]) = summary::fitted(&sweep) {
            found.add(Family::Scale, "per_pass_us", "Fit: a pass without tokens", "µs", 1e3 * a);
            found.add(Family::Scale, "per_token_us", "Fit: each token", "µs", 1e3 * b);
            found.add(Family::Scale, "per_pair_ns", "Fit: each pair of tokens", "ns", 1e6 * c);
        }
        for (n, ms) in &sweep {
            found.add(Family::Scale, &format!("prefill_{n}_ms"), &format!("Prefill of {n} tokens"), "ms", median(ms));
        }
        off(&mut found, cx);
    }
    for tokens in [128, 256] {
        let params = Params { tokens, ..Params::default() };
        if let Some(memory) = experiment::memory(&source, &params, cx).await? {
            let label = format!("Most that lives at once, {tokens} tokens");
            found.add(Family::Memory, &format!("peak_{tokens}_bytes"), &label, "bytes", memory.peak_bytes as f64);
        }
    }
    Ok(report(&found, cx))
}

/// What a probe costs that does nothing.
fn off(found: &mut Found, cx: &Context) {
    let mut nobody = NoProbe;
    let probe: &mut dyn lab_kit::profile::Probe = std::hint::black_box(&mut nobody);
    let start = cx.now_ms();
    for _ in 0..1_000_000 {
        probe.enter(std::hint::black_box(Part::Norm));
        probe.leave(std::hint::black_box(Part::Norm));
    }
    // Milliseconds of a million are nanoseconds of one.
    found.add(Family::Time, "off_ns", "A span whose probe does nothing", "ns", cx.now_ms() - start);
}

async fn of_phase(
    source: &Source,
    params: &Params,
    word: &str,
    found: &mut Found,
    cx: &Context,
) -> Result<(), LabError> {
    let (time, percent) = (Family::Time, "%");
    let plan = Plan::of(params)?;
    let add_mean = |found: &mut Found, id: &str, label: &str, samples: &[f64]| {
        found.add(
            time,
            &format!("{word}_{id}"),
            &format!("{label}, {word}"),
            percent,
            100.0 * mean_interval(samples).0,
        );
    };
    for (granularity, name) in DEPTHS {
        let params = Params { granularity, ..params.clone() };
        let pair = experiment::cost(source, &params, PAIR_MS, cx).await?;
        let label = format!("Slower for being watched around every {name}, {word}");
        found.add(time, &format!("{word}_watching_{name}"), &label, percent, summary::slower(&pair, cx).0);
        if granularity == Granularity::Pass {
            found.add(
                time,
                &format!("{word}_ms"),
                &format!("A pass that nobody watches, {word}"),
                "ms",
                median(&pair.first),
            );
            continue;
        }
        let watched = experiment::watch(source, &plan, &params, cx).await?;
        add_mean(
            found,
            &format!("closure_{name}"),
            &format!("Spans around every {name} add up to"),
            &watched.profile.closure(),
        );
    }
    let watched = experiment::watch(source, &plan, params, cx).await?;
    let profile = &watched.profile;
    add_mean(found, "products_time", "Matrix products: share of the time", &profile.share(&is_product));
    let pass = mean_interval(&profile.pass_ms).0;
    let start = mean_interval(&watched.hollow.pass_ms).0;
    found.add(
        time,
        &format!("{word}_start"),
        &format!("Starting the operations, {word}"),
        percent,
        100.0 * start / pass,
    );
    found.add(time, &format!("{word}_start_us"), &format!("The hollow twin, {word}"), "µs", 1e3 * start);
    let all = plan.work(Part::Pass).flops as f64;
    for kind in figures::kinds(&watched, &plan) {
        let id = slug(kind.name);
        add_mean(
            found,
            &format!("time_{id}"),
            &format!("{}: share of the time", kind.name),
            &profile.share(&|part| part.kind() == kind.name),
        );
        let label = format!("{}: share of the operations, {word}", kind.name);
        found.add(Family::Utilization, &format!("{word}_flops_{id}"), &label, percent, 100.0 * kind.flops / all);
    }
    for change in Change::ALL {
        let params = Params { change, ..params.clone() };
        let pair = experiment::change(source, &params, PAIR_MS, cx).await?;
        let id = change_id(change);
        if let Some(promise) = summary::promise(&watched, &params) {
            add_mean(found, &format!("promised_{id}"), &format!("Promised without {}", change.name()), &promise);
        }
        let label = format!("Saved without {}, {word}", change.name());
        found.add(time, &format!("{word}_saved_{id}"), &label, percent, -summary::slower(&pair, cx).0);
    }
    let alone = experiment::alone(&plan, cx).await?;
    if let Some(ratio) = summary::alone(&alone, &watched) {
        found.add(
            time,
            &format!("{word}_alone"),
            &format!("Operations alone over where they stand, {word}"),
            "×",
            ratio.value,
        );
    }
    for (clock, name) in [(Clock::Tenth, "tenth"), (Clock::One, "one")] {
        let params = Params { clock, passes: 5 * params.passes.max(100), ..params.clone() };
        // Only where passes are short enough for that many.
        if params.phase == Phase::Decode {
            let coarse = experiment::watch(source, &plan, &params, cx).await?;
            for part in [Part::Silu, Part::Softmax, Part::Down] {
                let us = |profile: &lab_kit::profile::Profile| 1e3 * mean_interval(&profile.ms(&|seen| seen == part)).0;
                let id = slug(part.name());
                let label = format!("{} a pass, clock of {} ms", part.name(), clock.step_ms());
                found.add(time, &format!("{name}_{id}_us"), &label, "µs", us(&coarse.profile));
                if clock == Clock::Tenth {
                    found.add(
                        time,
                        &format!("own_{id}_us"),
                        &format!("{} a pass, own clock", part.name()),
                        "µs",
                        us(profile),
                    );
                }
            }
        }
    }
    let mut subject = source.subject(params.phase, params.tokens as usize, cx)?;
    let start = cx.now_ms();
    let period = Duration::from_micros(500);
    let (done, seen) = sampling::sample(Depth::Operation, period, cx.rng("looks"), |probe| {
        while cx.now_ms() - start < 400.0 {
            subject.pass(probe)?;
        }
        Ok::<_, LabError>(())
    });
    done?;
    read(subject.plain()?).await?;
    let (share, _) = sampling::share(&seen, &is_product);
    found.add(
        time,
        &format!("{word}_sampled"),
        &format!("Products: share of looks from another thread, {word}"),
        percent,
        100.0 * share,
    );
    Ok(())
}

fn report(found: &Found, cx: &Context) -> Report {
    let mut report = Report::default();
    let mut rows = Vec::new();
    for (id, (family, label, unit, values)) in &found.0 {
        let interval = median_interval(values, LEVEL, &mut cx.rng(id));
        report
            .metrics
            .push(metric(*family, id, label, median(values), unit).interval(interval).measured(values.clone()));
        rows.push(vec![
            Cell::from(label.as_str()),
            Cell::from(*unit),
            Cell::from(median(values)),
            Cell::from(interval.low),
            Cell::from(interval.high),
        ]);
    }
    report.tables.push(Table {
        id: "rounds".into(),
        title: format!("Median of {ROUNDS} rounds, with its 95 % interval"),
        columns: ["Quantity", "Unit", "Median", "From", "To"].map(str::to_owned).to_vec(),
        rows,
    });
    let ends = |id: &str| {
        let interval = median_interval(found.values(id), LEVEL, &mut cx.rng(id));
        [interval.low, interval.high]
    };
    for (_, word, _) in PHASES {
        let prefix = format!("{word}_time_");
        let mut kinds: Vec<&str> = found.0.keys().filter_map(|id| id.strip_prefix(&prefix)).collect();
        kinds.sort_by(|a, b| found.middle(&format!("{prefix}{b}")).total_cmp(&found.middle(&format!("{prefix}{a}"))));
        let series = |name: &str, what: &str, band: bool| {
            let ids = || kinds.iter().map(|kind| format!("{word}_{what}_{kind}"));
            BarSeries {
                name: name.into(),
                values: ids().map(|id| found.middle(&id)).collect(),
                intervals: if band { ids().map(|id| ends(&id)).collect() } else { vec![] },
            }
        };
        let name = |kind: &&str| {
            Part::ALL.iter().map(|part| part.kind()).find(|name| slug(name) == **kind).unwrap_or(kind).to_owned()
        };
        report.charts.push(Chart {
            id: format!("{word}_kinds"),
            title: format!("Operations and time in {word}"),
            caption: format!("Each kind's share of the operations counted and of the time of a pass, median of {ROUNDS} rounds. What starting takes lies in the bars of time."),
            x: Axis::linear("Kind of operation"),
            y: Axis::linear("Share (%)"),
            body: ChartBody::Bar {
                categories: kinds.iter().map(name).collect(),
                series: vec![series("Share of the operations", "flops", false), series("Share of the time", "time", true)],
            },
        });
    }
    let watching = |word: &str| {
        let ids = || DEPTHS.iter().map(|(_, name)| format!("{word}_watching_{name}"));
        BarSeries {
            name: word.into(),
            values: ids().map(|id| found.middle(&id)).collect(),
            intervals: ids().map(|id| ends(&id)).collect(),
        }
    };
    report.charts.push(Chart {
        id: "watching".into(),
        title: "What does a closer look cost?".into(),
        caption: "How much slower a pass gets when the clock is read around the pass, every block, every layer, every operation.".into(),
        x: Axis::linear("Where the clock is read"),
        y: Axis::linear("Slower (%)"),
        body: ChartBody::Bar {
            categories: DEPTHS.iter().map(|(_, name)| (*name).to_owned()).collect(),
            series: PHASES.iter().map(|(_, word, _)| watching(word)).collect(),
        },
    });
    let audit = |word: &str| Series {
        name: word.into(),
        points: Change::ALL
            .iter()
            .map(|change| {
                let of = |what: &str| found.middle(&format!("{word}_{what}_{}", change_id(*change)));
                [of("promised"), of("saved")]
            })
            .collect(),
        band: vec![],
    };
    let most = PHASES.iter().flat_map(|(_, word, _)| audit(word).points).flatten().fold(1.0, f64::max);
    let kept = Series { name: "Promise kept".into(), points: vec![[0.0, 0.0], [most, most]], band: vec![] };
    report.charts.push(Chart {
        id: "audit".into(),
        title: "Did the pass get shorter by what the profile promised?".into(),
        caption: "Each point is a part that was taken away: along, its share of the time in the profile; up, what the pass without it saved. On the diagonal the promise was kept.".into(),
        x: Axis::linear("Promised (%)"),
        y: Axis::linear("Saved (%)"),
        body: ChartBody::Scatter { series: vec![kept, audit("prefill"), audit("decode")] },
    });
    report
}
