//! What a run found, in numbers.

use lab_api::{Family, Interval, LabError, Metric};
use lab_kit::{
    Context,
    report::{MetricExt, metric},
    serving::{Log, Request, Shape, Step, quantile, quantile_interval, time_line},
    stats::median,
};

use super::{
    Params, Policy,
    server::{CONTEXT, Measured, PAIR_BYTES, ROWS, Served},
};

/// Requests of a point of the time line, for each that is really served.
const LINE: usize = 25;
/// All policies, as the charts name them.
pub(super) const POLICIES: [(Policy, &str); 5] = [
    (Policy::One, "One after the other"),
    (Policy::Static, "Static"),
    (Policy::Dynamic, "Dynamic"),
    (Policy::Continuous, "Continuous"),
    (Policy::Chunked, "Prompts in pieces"),
];
/// Loads of the time line, as shares of what one after the other can serve.
const LOADS: [f64; 9] = [0.2, 0.4, 0.6, 0.8, 0.9, 1.1, 1.3, 1.6, 2.0];

pub(super) fn name(policy: Policy) -> &'static str {
    POLICIES.iter().find(|known| known.0 == policy).map_or("", |known| known.1)
}

/// A policy on the time line: requests in a second, and the 99th percentile of the time to the first token.
pub(super) type Knee = (&'static str, Vec<[f64; 2]>);

/// Serves requests on the time line, at measured costs.
pub(super) fn simulate(
    requests: &[Request],
    params: &Params,
    policy: Policy,
    measured: &Measured,
) -> Result<Log, LabError> {
    time_line(requests, params.rules(policy), &|step: &Step| measured.costs.ms(Shape::of(step)))
}

/// Requests in a second that a policy serves when all are there at once.
pub(super) fn capacity(params: &Params, policy: Policy, measured: &Measured, cx: &Context) -> Result<f64, LabError> {
    let mut requests = params.draw(300, 1.0, "capacity", cx);
    requests.iter_mut().for_each(|request| request.arrival_ms = 0.0);
    let log = simulate(&requests, params, policy, measured)?;
    Ok(1e3 * requests.len() as f64 / log.end_ms.max(f64::MIN_POSITIVE))
}

/// Every policy at every load that it can bear.
pub(super) async fn knees(params: &Params, measured: &Measured, one: f64, cx: &Context) -> Result<Vec<Knee>, LabError> {
    let mut found = Vec::new();
    for (policy, name) in POLICIES {
        let params = Params { budget: params.budget.max(params.max_batch), ..params.clone() };
        let most = capacity(&params, policy, measured, cx)?;
        let mut points = Vec::new();
        for load in LOADS {
            // Close to what it can serve at most, the wait depends on how long one looks.
            if load * one < 0.97 * most {
                let requests = params.draw(LINE * params.requests as usize, load * one, "line", cx);
                let log = simulate(&requests, &params, policy, measured)?;
                points.push([load * one, quantile(&log.first_tokens(), 0.99)]);
            }
            cx.checkpoint().await?;
        }
        found.push((name, points));
    }
    Ok(found)
}

/// What steps take.
pub(super) fn steps(measured: &Measured) -> Vec<Metric> {
    let rate = |i: usize, ms: f64| 1e3 * ROWS[i] as f64 / ms.max(f64::MIN_POSITIVE);
    let of = |i: usize| measured.rows[i].iter().map(|ms| rate(i, *ms)).collect::<Vec<f64>>();
    let (one, eight) = (of(0), of(3));
    let gain = median(&eight) / median(&one).max(f64::MIN_POSITIVE);
    let gains = one.iter().zip(&eight).map(|(one, eight)| eight / one.max(f64::MIN_POSITIVE)).collect();
    vec![
        metric(Family::Scale, "batch_gain", "Tokens a second, 8 sequences in a step over 1", gain, "×")
            .higher()
            .measured(gains)
            .help("Steps alone, without prompts and without waiting."),
        metric(Family::Time, "step_ms", "Time of a step that writes for 8 sequences", median(&measured.rows[3]), "ms")
            .detail()
            .baseline(median(&measured.rows[0]))
            .measured(measured.rows[3].clone())
            .help("160 tokens in each. The baseline writes for one. Each user of the batch waits as long for a token."),
        metric(Family::Time, "prompt_ms", "Time to read a prompt of 128 tokens", measured.costs.prefill[5].1, "ms")
            .detail()
            .measured(vec![measured.costs.prefill[5].1])
            .help("Whoever writes meanwhile waits so long, unless prompts are read in pieces."),
    ]
}

/// What requests that were really served saw.
pub(super) fn live(
    one: &Served,
    chosen: &Served,
    requests: &[Request],
    measured: &Measured,
    params: &Params,
) -> Vec<Metric> {
    let first = [&one.log, &chosen.log].map(Log::first_tokens);
    let each = [&one.log, &chosen.log]
        .map(|log| log.traces.iter().filter_map(|trace| trace.per_token_ms()).collect::<Vec<f64>>());
    let gap = [&one.log, &chosen.log].map(|log| log.gaps().into_iter().fold(0.0, f64::max));
    let same = one.texts.iter().zip(&chosen.texts).filter(|(a, b)| a == b).count();
    let percent = |part: usize, whole: usize| 100.0 * part as f64 / whole.max(1) as f64;
    let rules = params.rules(params.policy);
    let lengths: usize = requests.iter().map(|request| request.prompt + request.output).sum();
    let mean = lengths.div_ceil(requests.len().max(1));
    let fit = rules.pages / rules.reserve.unwrap_or(mean).div_ceil(rules.page).max(1);
    let held = chosen.log.mean_tokens / (chosen.log.mean_pages * rules.page as f64).max(f64::MIN_POSITIVE);
    let useful = chosen.log.tokens - chosen.log.traces.len();
    let rows = chosen.log.rows as f64 / chosen.log.writing.max(1) as f64;
    let error = 100.0 * off(chosen, measured);
    vec![
        metric(
            Family::Time,
            "tokens_per_s",
            "Tokens a second, all requests together",
            chosen.log.tokens_per_second(),
            "tokens/s",
        )
        .higher()
        .baseline(one.log.tokens_per_second())
        .measured(vec![chosen.log.tokens_per_second()])
        .help("Really served. The baseline serves the same requests one after the other."),
        metric(Family::Time, "first_ms", "Time to the first token, the middle request", median(&first[1]), "ms")
            .lower()
            .baseline(median(&first[0]))
            .measured(first[1].clone())
            .help("From the arrival of the request on, waiting included."),
        metric(Family::Time, "each_ms", "Time for each further token, the middle request", median(&each[1]), "ms")
            .lower()
            .baseline(median(&each[0]))
            .measured(each[1].clone())
            .help("Of a request's tokens on average: what a reader sees as the speed of writing."),
        metric(Family::Time, "gap_ms", "Longest wait between two tokens", gap[1], "ms")
            .lower()
            .baseline(gap[0])
            .measured(vec![gap[1]])
            .help("Of all requests: here somebody's answer stood still."),
        metric(Family::Memory, "fit", "Sequences that the pool holds", fit as f64, "")
            .higher()
            .baseline((rules.pages / CONTEXT.div_ceil(rules.page)) as f64)
            .exact(1.0, "lengths are drawn by the seed; one may round the other way on another device")
            .help("Each as long as the mean request. The baseline sets the most aside for each."),
        metric(Family::Memory, "held", "Share of the memory given out that holds a token", 100.0 * held.min(1.0), "%")
            .higher()
            .measured(vec![100.0 * held.min(1.0)])
            .help("Over the time of the steps."),
        metric(Family::Memory, "token_bytes", "Keys and values of a token", PAIR_BYTES as f64, "bytes")
            .detail()
            .exact(0.0, "two, times 4 layers, 2 heads, 32 channels and 4 bytes"),
        metric(
            Family::Quality,
            "same",
            "Answers that are the same as when served alone",
            percent(same, requests.len()),
            "%",
        )
        .higher()
        .exact(
            // Each answer has some forty choices; one in thousands is close enough to a tie.
            (100.0 / requests.len().max(1) as f64).max(10.0),
            "sums in another order may decide a near tie between two tokens, and the rest of the answer with it",
        )
        .help("Token by token. Batching changes who waits, and not what is written."),
        metric(Family::Quality, "predicted", "How far the time line is off, all steps together", error, "%")
            .lower()
            .measured(vec![error])
            .help("What the steps of the real run took, against what the timed steps foretell for the same sizes."),
        metric(Family::Utilization, "rows", "Sequences in a step that writes, on average", rows, "")
            .measured(vec![rows])
            .help("A step could hold as many as you allowed."),
        metric(
            Family::Utilization,
            "useful",
            "Share of these whose token somebody wanted",
            percent(useful, chosen.log.rows),
            "%",
        )
        .higher()
        .measured(vec![percent(useful, chosen.log.rows)])
        .help("In a static batch those who are done are computed on until the longest is."),
        metric(
            Family::Utilization,
            "busy",
            "Share of the time in which the device works",
            100.0 * chosen.log.busy_ms / chosen.log.end_ms.max(f64::MIN_POSITIVE),
            "%",
        )
        .detail()
        .baseline(100.0 * one.log.busy_ms / one.log.end_ms.max(f64::MIN_POSITIVE))
        .measured(vec![100.0 * chosen.log.busy_ms / chosen.log.end_ms.max(f64::MIN_POSITIVE)]),
    ]
}

/// By which share the time line misses the work that was really done. The order of steps is the real one, so that the question
/// is what steps take and not which follow.
pub(super) fn off(served: &Served, measured: &Measured) -> f64 {
    let real: f64 = served.steps.iter().map(|step| step.1).sum();
    let predicted: f64 = served.steps.iter().map(|step| measured.costs.ms(step.0)).sum();
    (predicted / real.max(f64::MIN_POSITIVE) - 1.0).abs()
}

/// What many requests would see, on the time line.
pub(super) fn line(
    params: &Params,
    measured: &Measured,
    (rate, one): (f64, f64),
    cx: &Context,
) -> Result<Vec<Metric>, LabError> {
    let most = capacity(params, params.policy, measured, cx)?;
    let mut metrics = vec![
        metric(Family::Scale, "capacity", "Requests a second that the policy can serve", most, "requests/s")
            .higher()
            .baseline(one)
            .measured(vec![most])
            .help("On a time line with the measured times of steps, when there is always somebody who waits."),
    ];
    if rate < 0.97 * most {
        let log = simulate(
            &params.draw(2 * LINE * params.requests as usize, rate, "line", cx),
            params,
            params.policy,
            measured,
        )?;
        let (first, gaps) = (log.first_tokens(), log.gaps());
        let mut late = metric(
            Family::Time,
            "first_p99_ms",
            "Time to the first token, 99 of 100 requests",
            quantile(&first, 0.99),
            "ms",
        )
        .lower()
        .measured(vec![quantile(&first, 0.99)])
        .help("At your load, on the time line, with 50 times as many requests as were really served.");
        if let Some((low, high)) = quantile_interval(&first, 0.99) {
            late = late.interval(Interval { low, high, level: 0.95 });
        }
        metrics.push(late);
        metrics.push(
            metric(Family::Time, "gap_p99_ms", "Wait between two tokens, 99 of 100", quantile(&gaps, 0.99), "ms")
                .detail()
                .lower()
                .measured(vec![quantile(&gaps, 0.99)])
                .help("Likewise."),
        );
    }
    Ok(metrics)
}

/// What this run calls for.
pub(super) fn notes(one: &Served, chosen: &Served, params: &Params) -> Vec<String> {
    let mut notes = vec![
        "The requests of the first two charts were really served by the model on your device; time in which nobody was there was skipped. The chart of the load is a time line with the times of steps that were measured here.".to_owned(),
    ];
    if params.load >= 100 {
        notes.push("At this load requests come faster than one after the other can serve them: the baseline's queue grows for as long as they come, and its waits say more about the number of requests than about the policy.".into());
    }
    if chosen.log.preemptions > 0 {
        notes.push(format!(
            "{} times a sequence had to give its pages back, and its tokens were read again.",
            chosen.log.preemptions
        ));
    }
    let parted = one.texts.iter().zip(&chosen.texts).filter(|(a, b)| a != b).count();
    if parted > 0 {
        notes.push(format!(
            "{parted} of the answers parted from what is written alone, where two tokens were nearly tied."
        ));
    }
    notes
}
