//! Steps timed in rounds, all policies really served with several seeds, and a time line where many requests are needed.

use lab_api::{Axis, Better, Chart, ChartBody, Family, LabError, Report, Series};
use lab_kit::{
    Context,
    report::{MetricExt, metric},
    serving::{Log, Trace, pollaczek_khinchine, quantile},
    stats::{median, median_interval},
};

use super::{
    Coming, Memory, Order, PageSize, Params, Policy, Share,
    server::{Measured, ROWS, Server},
    summary::{self, POLICIES, capacity, simulate},
};

const LEVEL: f64 = 0.95;
/// Rounds of timing, and seeds of arrivals and lengths.
const ROUNDS: usize = 5;
/// Requests of a time line.
const LINE: usize = 4000;
/// Requests that are really served.
const LIVE: usize = 32;

const WORDS: [&str; 5] = ["one", "static", "dynamic", "continuous", "chunked"];
const SHARES: [(Share, &str); 3] = [(Share::Short, "short"), (Share::Even, "even"), (Share::Long, "long")];

/// The report, and what all parts need.
struct Study<'a> {
    cx: &'a Context,
    report: Report,
    measured: Measured,
    /// Requests a second of one after the other, even prompts.
    one: f64,
}

impl Study<'_> {
    fn tell(&mut self, (family, better): (Family, Better), id: &str, label: &str, unit: &str, samples: Vec<f64>) {
        let interval = median_interval(&samples, LEVEL, &mut self.cx.rng(id));
        let mut told = metric(family, id, label, median(&samples), unit).interval(interval).measured(samples);
        told.better = better;
        self.report.metrics.push(told);
    }

    /// A number of the time line of so many requests, for each seed.
    fn line(&self, params: &Params, policy: Policy, rate: f64, of: impl Fn(&Log) -> f64) -> Result<Vec<f64>, LabError> {
        let one = |seed: usize| {
            let requests = params.draw(LINE, rate, &format!("line {seed}"), self.cx);
            Ok(of(&simulate(&requests, params, policy, &self.measured)?))
        };
        (0..ROUNDS).map(one).collect()
    }

    /// Requests a second when somebody always waits, for each seed.
    fn most(&self, params: &Params, policy: Policy) -> Result<Vec<f64>, LabError> {
        let one = |seed: usize| {
            let mut requests = params.draw(600, 1.0, &format!("most {seed}"), self.cx);
            requests.iter_mut().for_each(|request| request.arrival_ms = 0.0);
            Ok(6e5 / simulate(&requests, params, policy, &self.measured)?.end_ms)
        };
        (0..ROUNDS).map(one).collect()
    }

    fn chart(
        &mut self,
        id: &str,
        title: &str,
        caption: &str,
        (x, y): (Axis, Axis),
        lines: Vec<(String, Vec<[f64; 2]>)>,
    ) {
        let series = lines.into_iter().map(|(name, points)| Series { name, points, band: vec![] }).collect();
        let (id, title, caption) = (id.into(), title.into(), caption.into());
        self.report.charts.push(Chart { id, title, caption, x, y, body: ChartBody::Line { series } });
    }
}

const FAST: (Family, Better) = (Family::Time, Better::Lower);
const MANY: (Family, Better) = (Family::Scale, Better::Higher);

pub(super) async fn run(cx: &mut Context) -> Result<Report, LabError> {
    let mut server = Server::load(cx).await?;
    let params = Params::default();
    let mut rounds = Vec::new();
    for round in 0..ROUNDS {
        cx.progress("Timing steps", 0.1 * round as f64 / ROUNDS as f64);
        rounds.push(server.measure(16, 80.0, cx).await?);
    }
    let measured = middle(&rounds);
    let one = capacity(&params, Policy::One, &measured, cx)?;
    let cx = &*cx;
    let mut study = Study { cx, report: Report::default(), measured, one };
    steps(&mut study, &rounds);
    cx.progress("Serving for real", 0.2);
    live(&mut study, &mut server, &params).await?;
    cx.progress("The time line: loads", 0.5);
    loads(&mut study, &params)?;
    cx.progress("The time line: shares, batches, waits", 0.7);
    shares(&mut study, &params)?;
    knobs(&mut study, &params)?;
    cx.progress("The time line: memory", 0.85);
    memory(&mut study, &params)?;
    theory(&mut study, &params)?;
    Ok(study.report)
}

/// The middle of each cost over the rounds.
fn middle(rounds: &[Measured]) -> Measured {
    let of = |pick: &dyn Fn(&Measured) -> f64| median(&rounds.iter().map(pick).collect::<Vec<_>>());
    let mut measured = rounds[0].clone();
    for i in 0..measured.costs.decode.len() {
        measured.costs.decode[i].1 = [0, 1].map(|which| of(&|round| round.costs.decode[i].1[which]));
    }
    for i in 0..measured.costs.prefill.len() {
        measured.costs.prefill[i].1 = of(&|round| round.costs.prefill[i].1);
    }
    measured.costs.shared_ms = of(&|round| round.costs.shared_ms);
    measured.costs.past_ms = of(&|round| round.costs.past_ms);
    measured
}

fn steps(study: &mut Study, rounds: &[Measured]) {
    for (i, rows) in ROWS.into_iter().enumerate() {
        let ms: Vec<f64> = rounds.iter().map(|round| round.costs.decode[i].1[1]).collect();
        let rates = ms.iter().map(|ms| 1e3 * rows as f64 / ms).collect();
        let gains =
            rounds.iter().map(|round| rows as f64 * round.costs.decode[0].1[1] / round.costs.decode[i].1[1]).collect();
        study.tell(FAST, &format!("step_{rows}"), &format!("Time of a step that writes for {rows}"), "ms", ms);
        study.tell(MANY, &format!("rate_{rows}"), &format!("Tokens a second, {rows} in a step"), "tokens/s", rates);
        study.tell(MANY, &format!("gain_{rows}"), &format!("Tokens a second, {rows} in a step over 1"), "×", gains);
    }
    for i in 1..rounds[0].costs.prefill.len() {
        let tokens = rounds[0].costs.prefill[i].0;
        let ms = rounds.iter().map(|round| round.costs.prefill[i].1).collect();
        study.tell(FAST, &format!("prompt_{tokens}"), &format!("Time to read a prompt of {tokens} tokens"), "ms", ms);
    }
    let shared = rounds.iter().map(|round| round.costs.shared_ms).collect();
    study.tell(FAST, "shared", "Spared by reading and writing in one step", "ms", shared);
}

/// Numbers of a policy that was really served: id, label, unit.
const LIVE_TOLD: [((Family, Better), &str, &str, &str); 6] = [
    (MANY, "tokens", "Tokens a second", "tokens/s"),
    (FAST, "first", "Time to the first token, the middle request", "ms"),
    (FAST, "each", "Time for each further token, the middle request", "ms"),
    (FAST, "gap", "Wait between two tokens, 99 of 100", "ms"),
    ((Family::Quality, Better::Lower), "off", "How far the time line is off, the middle request", "%"),
    ((Family::Quality, Better::Lower), "work_off", "How far it is off, work of all steps", "%"),
];

async fn live(study: &mut Study<'_>, server: &mut Server, params: &Params) -> Result<(), LabError> {
    for load in [80_u32, 150] {
        let mut found = vec![vec![Vec::new(); LIVE_TOLD.len()]; POLICIES.len()];
        let mut same = vec![0; POLICIES.len()];
        for seed in 0..3 {
            let rate = study.one * f64::from(load) / 100.0;
            let requests = params.draw(LIVE, rate, &format!("live {seed}"), study.cx);
            let mut alone = Vec::new();
            for (i, (policy, _)) in POLICIES.into_iter().enumerate() {
                let served = server.serve(&requests, params.rules(policy), study.cx).await?;
                let told = simulate(&requests, params, policy, &study.measured)?;
                let whole = |log: &Log| median(&log.traces.iter().map(Trace::whole_ms).collect::<Vec<_>>());
                let each: Vec<f64> = served.log.traces.iter().filter_map(Trace::per_token_ms).collect();
                let values = [
                    served.log.tokens_per_second(),
                    median(&served.log.first_tokens()),
                    median(&each),
                    quantile(&served.log.gaps(), 0.99),
                    100.0 * (whole(&told) / whole(&served.log) - 1.0).abs(),
                    100.0 * summary::off(&served, &study.measured),
                ];
                found[i].iter_mut().zip(values).for_each(|(all, value)| all.push(value));
                if alone.is_empty() {
                    alone.clone_from(&served.texts);
                }
                same[i] += alone.iter().zip(&served.texts).filter(|(a, b)| a == b).count();
            }
        }
        for (i, ((_, name), word)) in POLICIES.into_iter().zip(WORDS).enumerate() {
            for (samples, (kind, what, label, unit)) in found[i].iter().zip(LIVE_TOLD) {
                let label = format!("{label}: {name}, load of {load} %, really served");
                study.tell(kind, &format!("live_{what}_{word}_{load}"), &label, unit, samples.clone());
            }
            let label = format!("Answers of {} that are the same as alone: {name}, load of {load} %", 3 * LIVE);
            let kind = (Family::Quality, Better::Higher);
            study.tell(kind, &format!("same_{word}_{load}"), &label, "", vec![same[i] as f64]);
        }
    }
    Ok(())
}

fn loads(study: &mut Study, params: &Params) -> Result<(), LabError> {
    let mut lines = Vec::new();
    for ((policy, name), word) in POLICIES.into_iter().zip(WORDS) {
        let most = study.most(params, policy)?;
        let top = median(&most);
        study.tell(MANY, &format!("most_{word}"), &format!("Requests a second at most: {name}"), "requests/s", most);
        let mut points = Vec::new();
        for load in [20_u32, 50, 80, 95, 110, 130, 150, 180, 220] {
            let rate = study.one * f64::from(load) / 100.0;
            if rate > 0.97 * top {
                continue;
            }
            let late = study.line(params, policy, rate, |log| quantile(&log.first_tokens(), 0.99))?;
            points.push([rate, median(&late)]);
            let label = format!("Time to the first token, 99 of 100: {name}, load of {load} %");
            study.tell(FAST, &format!("p99_{word}_{load}"), &label, "ms", late);
            if load == 50 || load == 80 {
                let middle = study.line(params, policy, rate, |log| quantile(&log.first_tokens(), 0.5))?;
                let label = format!("Time to the first token, the middle request: {name}, load of {load} %");
                study.tell(FAST, &format!("p50_{word}_{load}"), &label, "ms", middle);
                let gaps = study.line(params, policy, rate, |log| quantile(&log.gaps(), 0.99))?;
                let label = format!("Wait between two tokens, 99 of 100: {name}, load of {load} %");
                study.tell(FAST, &format!("gap99_{word}_{load}"), &label, "ms", gaps);
            }
        }
        lines.push((name.to_owned(), points));
    }
    let caption = format!(
        "Time to the first token that 99 of 100 requests do not exceed, {LINE} requests and {ROUNDS} seeds for each point, on a time line with measured times of steps."
    );
    let axes = (Axis::linear("Load (requests/s)"), Axis::log("Time to the first token, 99 of 100 (ms)"));
    study.chart("knees", "How much load can each policy bear?", &caption, axes, lines);
    Ok(())
}

fn shares(study: &mut Study, params: &Params) -> Result<(), LabError> {
    for (prompts, share) in SHARES {
        let params = Params { prompts, ..params.clone() };
        let one = study.most(&params, Policy::One)?;
        for ((policy, name), word) in POLICIES.into_iter().zip(WORDS).skip(1) {
            let gain = study.most(&params, policy)?.iter().zip(&one).map(|(most, one)| most / one).collect();
            let label = format!("Requests a second over one after the other: {name}, prompts {share}");
            study.tell(MANY, &format!("share_{share}_{word}"), &label, "×", gain);
        }
    }
    Ok(())
}

fn knobs(study: &mut Study, params: &Params) -> Result<(), LabError> {
    let mut points = Vec::new();
    for max_batch in [1_u32, 2, 4, 8, 16] {
        let params = Params { max_batch, pool_kib: 8192, ..params.clone() };
        let most = study.most(&params, Policy::Continuous)?;
        points.push([f64::from(max_batch), median(&most)]);
        study.tell(
            MANY,
            &format!("batch_{max_batch}"),
            &format!("Requests a second at most, continuous, {max_batch} in a step"),
            "requests/s",
            most,
        );
        let each = study.line(&params, Policy::Continuous, 0.9 * study.one, |log| {
            median(&log.traces.iter().filter_map(Trace::per_token_ms).collect::<Vec<_>>())
        })?;
        study.tell(
            FAST,
            &format!("batch_each_{max_batch}"),
            &format!("Time for each further token at a load of 90 %, {max_batch} in a step"),
            "ms",
            each,
        );
    }
    for delay in [0_u32, 20, 100, 500] {
        let params = Params { delay_ms: f64::from(delay), ..params.clone() };
        let first = study.line(&params, Policy::Dynamic, 0.3 * study.one, |log| quantile(&log.first_tokens(), 0.5))?;
        study.tell(
            FAST,
            &format!("delay_{delay}"),
            &format!("Time to the first token, the middle request, a wait of {delay} ms, load of 30 %"),
            "ms",
            first,
        );
    }
    let mut trade = Vec::new();
    for budget in [8_u32, 16, 32, 64, 128] {
        let params = Params { budget, prompts: Share::Long, ..params.clone() };
        let rate = 0.8 * median(&study.most(&params, Policy::Continuous)?);
        let first = study.line(&params, Policy::Chunked, rate, |log| quantile(&log.first_tokens(), 0.99))?;
        let gap = study.line(&params, Policy::Chunked, rate, |log| quantile(&log.gaps(), 0.99))?;
        trade.push([median(&gap), median(&first)]);
        study.tell(
            FAST,
            &format!("budget_first_{budget}"),
            &format!("Time to the first token, 99 of 100, {budget} tokens in a step, long prompts"),
            "ms",
            first,
        );
        study.tell(
            FAST,
            &format!("budget_gap_{budget}"),
            &format!("Wait between two tokens, 99 of 100, {budget} tokens in a step, long prompts"),
            "ms",
            gap,
        );
    }
    let params_long = Params { prompts: Share::Long, ..params.clone() };
    let rate = 0.8 * median(&study.most(&params_long, Policy::Continuous)?);
    let first = study.line(&params_long, Policy::Continuous, rate, |log| quantile(&log.first_tokens(), 0.99))?;
    let gap = study.line(&params_long, Policy::Continuous, rate, |log| quantile(&log.gaps(), 0.99))?;
    let whole = vec![[median(&gap), median(&first)]];
    study.tell(
        FAST,
        "budget_first_whole",
        "Time to the first token, 99 of 100, prompts read whole, long prompts",
        "ms",
        first,
    );
    study.tell(
        FAST,
        "budget_gap_whole",
        "Wait between two tokens, 99 of 100, prompts read whole, long prompts",
        "ms",
        gap,
    );
    let axes =
        (Axis::log("Wait between two tokens, 99 of 100 (ms)"), Axis::log("Time to the first token, 99 of 100 (ms)"));
    let lines =
        vec![("Prompts whole".to_owned(), whole), ("In pieces: 8, 16, 32, 64, 128 tokens in a step".to_owned(), trade)];
    study.chart(
        "budget",
        "Who shall wait: those who read or those who write?",
        "Long prompts at 80 % of what continuous batching can serve.",
        axes,
        lines,
    );
    let most = median(&study.most(params, Policy::Continuous)?);
    for (order, word) in [(Order::Fifo, "fifo"), (Order::Shortest, "shortest"), (Order::Aged, "aged")] {
        let params = Params { order, ..params.clone() };
        let whole = |log: &Log| log.traces.iter().map(Trace::whole_ms).collect::<Vec<f64>>();
        let middle = study.line(&params, Policy::Continuous, 0.95 * most, |log| median(&whole(log)))?;
        let worst = study.line(&params, Policy::Continuous, 0.95 * most, |log| quantile(&whole(log), 0.999))?;
        study.tell(
            FAST,
            &format!("order_p50_{word}"),
            &format!("Arrival to last token, the middle request, order {word}"),
            "ms",
            middle,
        );
        study.tell(
            FAST,
            &format!("order_p999_{word}"),
            &format!("Arrival to last token, 999 of 1,000, order {word}"),
            "ms",
            worst,
        );
    }
    for (arrivals, word) in [(Coming::Regular, "regular"), (Coming::Poisson, "poisson"), (Coming::Bursts, "bursts")] {
        let params = Params { arrivals, ..params.clone() };
        for (policy, name) in [(Policy::One, "one"), (Policy::Continuous, "continuous")] {
            let late = study.line(&params, policy, 0.7 * study.one, |log| quantile(&log.first_tokens(), 0.99))?;
            study.tell(
                FAST,
                &format!("coming_{word}_{name}"),
                &format!("Time to the first token, 99 of 100, arrivals {word}, {name}, load of 70 %"),
                "ms",
                late,
            );
        }
    }
    Ok(())
}

fn memory(study: &mut Study, params: &Params) -> Result<(), LabError> {
    let ways = [
        (Memory::Reserved, PageSize::Sixteen, "reserved"),
        (Memory::Paged, PageSize::SixtyFour, "page_64"),
        (Memory::Paged, PageSize::Sixteen, "page_16"),
        (Memory::Paged, PageSize::One, "page_1"),
    ];
    let mut lines = Vec::new();
    for (memory, page, word) in ways {
        let mut points = Vec::new();
        for pool_kib in [512_u32, 1024, 2048, 4096] {
            let params = Params { memory, page, pool_kib, ..params.clone() };
            let most = study.most(&params, Policy::Continuous)?;
            points.push([f64::from(pool_kib), median(&most)]);
            study.tell(
                MANY,
                &format!("pool_{pool_kib}_{word}"),
                &format!("Requests a second at most, {pool_kib} KiB, {word}"),
                "requests/s",
                most,
            );
        }
        let params = Params { memory, page, pool_kib: 1024, ..params.clone() };
        let size = params.rules(Policy::Continuous).page as f64;
        let held = study.line(&params, Policy::Continuous, 0.9 * study.one, |log| {
            100.0 * log.mean_tokens / (log.mean_pages * size)
        })?;
        study.tell(
            (Family::Memory, Better::Higher),
            &format!("held_{word}"),
            &format!("Share of memory given out that holds a token, {word}"),
            "%",
            held,
        );
        let again = study
            .line(&params, Policy::Continuous, 0.9 * study.one, |log| 100.0 * log.preemptions as f64 / LINE as f64)?;
        study.tell(
            (Family::Memory, Better::Lower),
            &format!("again_{word}"),
            &format!("Sequences that begin again, of 100 requests, 1 MiB, {word}"),
            "",
            again,
        );
        lines.push((word.replace('_', " of "), points));
    }
    let axes = (Axis::log("Pool (KiB)"), Axis::linear("Requests a second at most"));
    study.chart(
        "pools",
        "What does a page save?",
        "Continuous batching of up to eight, on a time line; the smaller the pool, the more a reservation costs.",
        axes,
        lines,
    );
    Ok(())
}

/// Does the time line know what queueing theory knows?
fn theory(study: &mut Study, params: &Params) -> Result<(), LabError> {
    for load in [50_u32, 80] {
        let rate = study.one * f64::from(load) / 100.0;
        let mut ratios = Vec::new();
        for seed in 0..ROUNDS {
            let requests = params.draw(5 * LINE, rate, &format!("theory {seed}"), study.cx);
            let log = simulate(&requests, params, Policy::One, &study.measured)?;
            let service: Vec<f64> = log
                .traces
                .iter()
                .map(|trace| trace.tokens_ms.last().copied().unwrap_or(0.0) - trace.begin_ms)
                .collect();
            let waits: f64 = log.traces.iter().map(|trace| trace.begin_ms - trace.arrival_ms).sum();
            let wait = waits / requests.len() as f64;
            ratios.push(wait / pollaczek_khinchine(1e-3 * rate, &service).unwrap_or(f64::MAX));
        }
        let kind = (Family::Quality, Better::Neutral);
        study.tell(
            kind,
            &format!("theory_{load}"),
            &format!("Mean wait over Pollaczek and Khinchine's, one after the other, load of {load} %"),
            "×",
            ratios,
        );
    }
    Ok(())
}
