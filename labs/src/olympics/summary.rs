//! Numbers, tables and notes of an entry.

use lab_api::{Family, Kind, LabError, Metric, Report, Table};
use lab_kit::{
    Context,
    measure::{EnergyAssumptions, Work},
    olympics::{EntryStep, all_round, format_line, gate, mean_of_ratios},
    report::{MetricExt, metric},
    stats::median,
};

use super::{Division, Entered, Event, Params, Workload, course::Numbers, figures};

const COUNTED: &str = "bytes and operations are counted";
const SUMS: &str =
    "sums of floats differ in their last bits between devices, and a weight may then round to the other side";

/// Bytes of the file that every entry is held against.
pub(super) fn baseline_file(bytes: f64) -> Metric {
    metric(Family::Memory, "baseline_bytes", "Baseline: file in FP32", bytes, "bytes").exact(0.0, COUNTED).lower()
}

/// What is known of the baseline alone.
pub(super) fn baseline(params: &Params, whole: &Numbers) -> Vec<Metric> {
    vec![
        baseline_file(whole.file),
        metric(
            Family::Time,
            "baseline_ms",
            &format!("Baseline: time of {}", each(params)),
            median(&whole.time.naive),
            "ms",
        )
        .lower()
        .measured(whole.time.naive.clone()),
    ]
}

fn each(params: &Params) -> &'static str {
    if params.subject == Entered::Language { "a token" } else { "an image" }
}

/// What the chosen steps need that the closed division does not allow, and whatever else a judge should know.
fn findings(params: &Params, steps: &[EntryStep]) -> Vec<String> {
    let mut found = Vec::new();
    if params.division == Division::Closed {
        let open = steps.iter().filter(|step| !step.is_closed());
        found.extend(open.map(|step| format!("“{}” belongs to the open division", step.line())));
    }
    found
}

/// The most that a step can bring to the time of one request, from what is counted: `None` where counts say nothing.
fn at_most(before: Work, after: Work, step: EntryStep) -> Option<f64> {
    let ratio = |a: u64, b: u64| a as f64 / b.max(1) as f64;
    match step {
        EntryStep::Entropy | EntryStep::Batch { .. } => Some(1.0),
        EntryStep::Draft { gamma } => Some(gamma as f64 + 1.0),
        _ => Some(ratio(before.flops, after.flops).max(ratio(before.bytes, after.bytes)).max(1.0)),
    }
}

/// Everything about the entry that the last of `line` is.
pub(super) fn report(params: &Params, steps: &[EntryStep], line: &[Numbers], cx: &Context) -> Result<Report, LabError> {
    let (Some(whole), Some(entry)) = (line.first(), line.last()) else {
        return Err(LabError::Engine { why: "an entry without a baseline".into() });
    };
    let mut report = Report { metrics: metrics(params, steps, (whole, entry), cx), ..Report::default() };
    report.metrics.extend(baseline(params, whole));
    if let Some(at) = steps.iter().position(|step| matches!(step, EntryStep::Quantize { .. })) {
        report.metrics.push(rounding(line, at));
    }
    report.charts.push(figures::waterfall(params, steps, line));
    report.charts.push(figures::quality(params, steps, line));
    report.tables.push(time_line(params, steps, line));
    report.tables.push(events(params, whole, entry, cx));
    report.tables.push(card(params, steps, entry));
    report.notes = notes(params, steps, line, cx);
    Ok(report)
}

/// Whether rounding made it faster, everything else as it was.
fn rounding(line: &[Numbers], at: usize) -> Metric {
    let of = |numbers: &Numbers| numbers.time.times();
    let ratio = of(&line[at + 1]) / of(&line[at]);
    metric(Family::Time, "rounding_speed", "Rounded weights: time before over after", ratio, "×")
        .higher()
        .baseline(1.0)
        .measured(vec![ratio])
        .help("The step that quantizes, where it stands in your order. Below 1 the rounded weights are slower.")
}

fn metrics(params: &Params, steps: &[EntryStep], (whole, entry): (&Numbers, &Numbers), cx: &Context) -> Vec<Metric> {
    let kind = |one: Metric| if entry.trained { Metric { kind: Kind::Trained, ..one } } else { one };
    let exact = |id: &str, label: &str, before: f64, after: f64, help: &str| {
        kind(
            metric(Family::Memory, id, label, before / after, "×")
                .higher()
                .baseline(1.0)
                .exact(0.01 * before / after, SUMS)
                .help(help),
        )
    };
    let measured = |id: &str, label: &str, of: &super::course::Beside, help: &str| {
        let (ratio, interval) = of.ratio(cx);
        metric(Family::Time, id, label, ratio, "×")
            .higher()
            .baseline(1.0)
            .interval(interval)
            .measured(of.ratios())
            .help(help)
    };
    let file = exact(
        "ratio_file",
        "Size: the file is smaller by",
        whole.file,
        entry.file,
        "Bytes of codes, scales and norms, without the file's head of names. The baseline is FP32; a file in FP16 would be 2.",
    );
    let memory = exact(
        "ratio_memory",
        "Feather: memory is smaller by",
        whole.memory,
        entry.memory,
        "Weights and cache while the last token is written. The baseline has no cache.",
    );
    let energy = exact(
        "ratio_energy",
        "Watt: energy is smaller by",
        whole.joules(),
        entry.joules(),
        EnergyAssumptions::FP32_DRAM.source,
    );
    let latency = measured(
        "ratio_latency",
        "Sprint: one request is faster by",
        &entry.time,
        "Time of the naive baseline over the entry's, turn by turn. Nobody ships that baseline: look at the ratio to FP32 with a cache, too.",
    );
    let throughput = measured(
        "ratio_throughput",
        "Crowd: many requests are faster by",
        &entry.crowd,
        "Tokens in a second, of all requests together, over the naive baseline's, which serves one after the other.",
    );
    let ratios = [&file, &latency, &throughput, &memory, &energy].map(|one| one.value);
    let round = all_round(&ratios);
    let samples: Vec<f64> = entry
        .time
        .ratios()
        .into_iter()
        .zip(entry.crowd.ratios().into_iter().cycle())
        .map(|(time, crowd)| all_round(&[ratios[0], time, crowd, ratios[3], ratios[4]]))
        .collect();
    let floor = params.floor.percent();
    let passes = gate(entry.upper(), floor) && findings(params, steps).is_empty();
    let (unit, name, better) = if params.subject == Entered::Language {
        ("%", "Bits per character", "bits")
    } else {
        ("points", "Right on unseen families", "%")
    };
    let of_event = match params.event {
        Event::AllRound => round,
        Event::Size => ratios[0],
        Event::Sprint => ratios[1],
        Event::Crowd => ratios[2],
        Event::Feather => ratios[3],
        Event::Watt => ratios[4],
    };
    let mut loss =
        metric(Family::Quality, "loss", "Quality lost", entry.loss, unit).lower().baseline(0.0).exact(0.5, SUMS).help(
            "Of the baseline's bits per character, or points of right answers, on the same text or images in pairs.",
        );
    loss.interval = entry.interval;
    let quality =
        metric(Family::Quality, "quality", name, entry.quality, better).baseline(whole.quality).exact(0.5, SUMS);
    let quality = if params.subject == Entered::Language { quality.lower() } else { quality.higher() };
    let tokens = params.text().tokens as f64;
    vec![
        file,
        latency,
        throughput,
        memory,
        energy,
        metric(Family::Scale, "all_round", "All-round", round, "×").higher().baseline(1.0).measured(samples).help("The geometric mean of the five ratios, each with the same weight. Quality is no part of it: it is a gate."),
        metric(Family::Scale, "event", "Your event", of_event, "×").higher().baseline(1.0).measured(vec![of_event]).detail(),
        kind(loss),
        kind(metric(Family::Quality, "gate_upper", "Upper end of what is lost", entry.upper(), unit).lower().baseline(floor).exact(0.5, SUMS)
            .help("The interval's upper end has to be within the floor, which stands as the baseline: a lucky short text passes nobody.")),
        metric(Family::Quality, "floor", "Floor", floor, unit).lower().exact(0.0, "a setting").detail(),
        kind(metric(Family::Quality, "ranked", "May be ranked", f64::from(u8::from(passes)), "").higher().exact(1.0, SUMS)
            .help("1: within the floor and the rules of the division. 0: shown, marked, and not ranked.")),
        metric(Family::Quality, "findings", "Violations of the division", findings(params, steps).len() as f64, "").lower().exact(0.0, "rules are fixed").detail(),
        kind(quality),
        kind(metric(Family::Quality, "agreement", "Same answers as the baseline", entry.agreement, "%").higher().baseline(100.0).exact(1.0, SUMS)
            .help("The likeliest next token, or the class.")),
        kind(metric(Family::Memory, "file_bytes", "File", entry.file, "bytes").lower().baseline(whole.file).exact(0.01 * entry.file, SUMS)),
        kind(metric(Family::Memory, "memory_bytes", "Memory", entry.memory, "bytes").lower().baseline(whole.memory).exact(0.01 * entry.memory, SUMS)),
        metric(Family::Time, "ms", &format!("Time of {}, one request", each(params)), entry.time.ms(), "ms").lower().baseline(median(&whole.time.own)).measured(entry.time.own.clone()),
        metric(Family::Time, "rate", &format!("{}s in a second, all requests", if params.subject == Entered::Language { "Token" } else { "Image" }), 1e3 / entry.crowd.ms(), "per s").higher()
            .baseline(1e3 / median(&whole.crowd.own))
            .measured(entry.crowd.own.iter().map(|ms| 1e3 / ms).collect()),
        kind(metric(Family::Utilization, "joules", &format!("Energy of {}", each(params)), 1e3 * entry.joules(), "mJ").lower().baseline(1e3 * whole.joules()).exact(0.01 * 1e3 * entry.joules(), COUNTED)
            .help("Operations and bytes that are counted, times what each took at 45 nm: an assumption, not a measurement.")),
        metric(Family::Scale, "mean_of_ratios", "The mean that nobody should take", mean_of_ratios(&ratios), "×").higher().measured(vec![mean_of_ratios(&ratios)]).detail()
            .help("Arithmetic: whoever is best at one thing wins, and another machine may turn the order round."),
        metric(Family::Scale, "tokens", "Tokens written for each request", if params.subject == Entered::Language { tokens } else { 0.0 }, "tokens").exact(0.0, "a setting").detail(),
    ]
}

/// A row a step.
fn time_line(params: &Params, steps: &[EntryStep], line: &[Numbers]) -> Table {
    let names = std::iter::once("baseline".to_owned()).chain(steps.iter().map(|step| step.words()));
    let floor = params.floor.percent();
    let row = |(i, (name, numbers)): (usize, (String, &Numbers))| {
        let most = if i == 0 { None } else { at_most(line[i - 1].work, numbers.work, steps[i - 1]) };
        vec![
            name.into(),
            round(numbers.file / 1e3).into(),
            round(numbers.memory / 1e3).into(),
            round(numbers.time.ms()).into(),
            most.map_or_else(|| "".into(), |most| round(most).into()),
            round(1e3 / numbers.crowd.ms()).into(),
            round(1e3 * numbers.joules()).into(),
            round(numbers.loss).into(),
            round(numbers.upper()).into(),
            if gate(numbers.upper(), floor) { "yes" } else { "no" }.into(),
        ]
    };
    figures::table(
        "steps",
        "The time line, step by step",
        &[
            "After",
            "File (kB)",
            "Memory (kB)",
            "Time, one request (ms)",
            "At most (×)",
            "All requests (per s)",
            "Energy (mJ)",
            "Lost",
            "Upper end",
            "Within the floor",
        ],
        names.zip(line).enumerate().map(row).collect(),
    )
}

/// Three digits.
fn round(x: f64) -> f64 {
    if x == 0.0 || !x.is_finite() {
        return 0.0;
    }
    let scale = 10_f64.powi(2 - x.abs().log10().floor() as i32);
    (x * scale).round() / scale
}

fn events(params: &Params, whole: &Numbers, entry: &Numbers, cx: &Context) -> Table {
    let ratio = |before: f64, after: f64| before / after;
    let row = |event: &str, what: &str, before: f64, after: f64, times: f64| {
        vec![event.into(), what.into(), round(before).into(), round(after).into(), round(times).into()]
    };
    let [time, crowd] = [&entry.time, &entry.crowd].map(|one| one.ratio(cx).0);
    let all = all_round(&[
        ratio(whole.file, entry.file),
        time,
        crowd,
        ratio(whole.memory, entry.memory),
        ratio(whole.joules(), entry.joules()),
    ]);
    figures::table(
        "events",
        "Six events",
        &["Event", "What is measured", "Baseline", "Entry", "Times as good"],
        vec![
            row("Size", "file (kB)", whole.file / 1e3, entry.file / 1e3, ratio(whole.file, entry.file)),
            row("Sprint", &format!("time of {} (ms)", each(params)), median(&entry.time.naive), entry.time.ms(), time),
            row("Crowd", "all requests (per s)", 1e3 / median(&entry.crowd.naive), 1e3 / entry.crowd.ms(), crowd),
            row("Feather", "memory (kB)", whole.memory / 1e3, entry.memory / 1e3, ratio(whole.memory, entry.memory)),
            row(
                "Watt",
                &format!("energy of {} (mJ)", each(params)),
                1e3 * whole.joules(),
                1e3 * entry.joules(),
                ratio(whole.joules(), entry.joules()),
            ),
            row("All-round", "geometric mean", 1.0, all, all),
        ],
    )
}

/// What a judge needs to repeat it, beside the run's own record.
fn card(params: &Params, steps: &[EntryStep], entry: &Numbers) -> Table {
    let division = if params.division == Division::Closed { "closed" } else { "open" };
    let found = findings(params, steps);
    let found = if found.is_empty() { "none".to_owned() } else { found.join("; ") };
    let written = match (params.subject, params.workload) {
        (Entered::Classifier, _) => "one image at a time; as many together as the batch says".to_owned(),
        (_, Workload::W3) => {
            "24 requests, 40 a second at random times, 16 to 128 tokens read, 16 to 96 written".to_owned()
        }
        _ => format!("{} tokens read, {} written", params.text().prompt, params.text().tokens),
    };
    let row = |what: &str, words: String| vec![what.into(), words.into()];
    figures::table(
        "card",
        "The card",
        &["Entry", "Stated"],
        vec![
            row("Division", division.to_owned()),
            row("Steps", format_line(steps)),
            row("Workload", written),
            row("Weights (SHA-256)", entry.fingerprint.clone()),
            row("Violations found", found),
            row("Energy assumed", EnergyAssumptions::FP32_DRAM.source.to_owned()),
        ],
    )
}

fn notes(params: &Params, steps: &[EntryStep], line: &[Numbers], cx: &Context) -> Vec<String> {
    let mut notes = Vec::new();
    let (Some(whole), Some(entry)) = (line.first(), line.last()) else { return notes };
    let floor = params.floor.percent();
    let found = findings(params, steps);
    let unit = if params.subject == Entered::Language { "%" } else { "points" };
    notes.push(if gate(entry.upper(), floor) {
        format!("Within the floor: the upper end of what is lost is {:.2} {unit}, of {floor} allowed.", entry.upper())
    } else {
        format!("Outside the floor: the upper end of what is lost is {:.2} {unit}, and {floor} are allowed. The entry is shown and not ranked.", entry.upper())
    });
    notes.extend(found.into_iter().map(|what| format!("Not ranked in the closed division: {what}.")));
    let (ratio, _) = entry.time.ratio(cx);
    notes.push(format!(
        "One request is {ratio:.1} times as fast as the naive baseline, and the file {:.1} times smaller.",
        whole.file / entry.file
    ));
    if params.subject == Entered::Language && steps.iter().any(|step| matches!(step, EntryStep::LowRank { .. })) {
        notes.push(
            "Factors have no packed product in this engine: they run as floats, and only the file is smaller.".into(),
        );
    }
    if params.subject == Entered::Classifier && steps.iter().any(|step| matches!(step, EntryStep::Quantize { .. })) {
        notes.push("Convolutions have no packed product in this engine: rounded weights run as floats, and only the file is smaller.".into());
    }
    if steps.iter().any(|step| matches!(step, EntryStep::Draft { .. }))
        && steps.iter().any(|step| matches!(step, EntryStep::Batch { .. }))
    {
        notes.push("Proposals serve the single request; the batch writes plainly.".into());
    }
    if steps.iter().any(|step| step.is_cache() && *step != (EntryStep::Cache { bits: 32 })) {
        notes.push(
            "A cache that gives something up runs on the processor, head by head, with weights as floats.".into(),
        );
    }
    notes
}
