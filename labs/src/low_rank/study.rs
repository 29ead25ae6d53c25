//! Every method, choice and form: the classifier over ten seeds, which draw examples, directions and the order of images; the language
//! model and the convolutional one on more text and images, with intervals over windows and font families.

use lab_api::{Axis, Cell, Chart, ChartBody, Family, Interval, Kind, LabError, Metric, Report, Series, Table};
use lab_kit::{
    Context,
    linalg::break_even,
    report::{MetricExt, metric},
    stats::{median, median_interval},
};

use super::{
    Choice, Form, Layers, Method, Model, Params, Start, Store,
    layer::Piece,
    summary::stored,
    task::{Judged, LEVEL, Plan, Task},
    timing::square_pair,
};

const SEEDS: u64 = 10;
/// Windows of text that judge the language model here, and those for one matrix at a time.
const WINDOWS: usize = 40;
const WINDOWS_ALONE: usize = 12;
/// Steps of training afterwards.
const STEPS: usize = 200;
const LANGUAGE_STEPS: usize = 60;
const METHODS: [(Method, &str, &str); 5] = [
    (Method::Plain, "plain", "weights alone"),
    (Method::Diagonal, "diagonal", "inputs, each for itself"),
    (Method::Whitened, "whitened", "inputs, together"),
    (Method::TwoSided, "two_sided", "inputs and gradients"),
    (Method::Random, "random", "random directions"),
];

/// Values of one arm, a number for each seed, or one with an interval.
struct Line {
    id: String,
    words: String,
    unit: &'static str,
    higher: bool,
    trained: bool,
    stored: f64,
    values: Vec<f64>,
    interval: Option<Interval>,
    baseline: Option<f64>,
}

#[derive(Default)]
struct Lines(Vec<Line>);

impl Lines {
    /// One more seed of an accuracy.
    fn seed(&mut self, id: &str, words: &str, (stored, trained): (f64, bool), value: f64) {
        match self.0.iter_mut().find(|line| line.id == id) {
            Some(line) => line.values.push(value),
            None => self.0.push(Line {
                id: id.into(),
                words: words.into(),
                unit: "%",
                higher: true,
                trained,
                stored,
                values: vec![value],
                interval: None,
                baseline: None,
            }),
        }
    }

    /// A change of something judged once.
    fn change(
        &mut self,
        id: &str,
        words: &str,
        unit: &'static str,
        (stored, trained): (f64, bool),
        change: &Judged,
        cx: &Context,
    ) {
        self.0.push(Line {
            id: id.into(),
            words: words.into(),
            unit,
            higher: unit != "nats",
            trained,
            stored,
            values: vec![change.mean()],
            interval: Some(change.interval(cx)),
            baseline: None,
        });
    }

    fn value(&self, id: &str) -> Option<f64> {
        self.0.iter().find(|line| line.id == id).map(|line| median(&line.values))
    }
}

fn percent(share: f64) -> usize {
    (100.0 * share).round() as usize
}

pub(super) async fn run(cx: &mut Context) -> Result<Report, LabError> {
    let mut report = Report::default();
    let (mut mlp, mut lm, mut cnn) = (Lines::default(), Lines::default(), Lines::default());
    classifier(&mut mlp, cx).await?;
    language(&mut lm, cx).await?;
    kernels(&mut cnn, cx).await?;
    for (lines, id, title) in [
        (&mlp, "mlp", "Glyph classifier, median of ten seeds"),
        (&lm, "language", "Language model: rise of the loss"),
        (&cnn, "cnn", "Third kernel of the convolutional classifier: change of accuracy"),
    ] {
        report.metrics.extend(lines.0.iter().map(|line| line.metric(cx)));
        report.tables.push(lines.table(id, title, cx));
    }
    report.charts = vec![curves(&mlp, "mlp", true), curves(&lm, "lm", false)];
    squares(&mut report, cx).await?;
    Ok(report)
}

impl Line {
    fn spread(&self, cx: &Context) -> Option<Interval> {
        let many = self.values.len() > 1;
        self.interval.or_else(|| many.then(|| median_interval(&self.values, LEVEL, &mut cx.rng(&self.id))))
    }

    fn metric(&self, cx: &Context) -> Metric {
        let mut one = metric(Family::Quality, &self.id, &self.words, median(&self.values), self.unit);
        one.interval = self.spread(cx);
        one.baseline = self.baseline;
        if self.values.len() > 1 {
            one = one.measured(self.values.clone());
        }
        one.kind = if self.trained { Kind::Trained } else { Kind::Exact };
        if self.higher { one.higher() } else { one.lower() }
    }
}

impl Lines {
    fn table(&self, id: &str, title: &str, cx: &Context) -> Table {
        let unit = self.0.first().map_or("", |line| line.unit);
        let columns = [
            "Arm".to_owned(),
            "Numbers stored (%)".into(),
            format!("Value ({unit})"),
            "95 % from".into(),
            "95 % to".into(),
        ];
        let row = |line: &Line| {
            let value = median(&line.values);
            let Interval { low, high, .. } =
                line.spread(cx).unwrap_or(Interval { low: value, high: value, level: LEVEL });
            std::iter::once(Cell::from(line.words.clone()))
                .chain([100.0 * line.stored, value, low, high].map(Cell::from))
                .collect()
        };
        Table { id: id.into(), title: title.into(), columns: columns.to_vec(), rows: self.0.iter().map(row).collect() }
    }
}

fn share_of(task: &Task, pieces: &[Piece], store: Store) -> f64 {
    stored(task, pieces, store) as f64 / task.numbers() as f64
}

/// A plan with nothing but the directions.
async fn plan(task: &Task, params: &Params, cx: &Context) -> Result<Plan, LabError> {
    task.plan(params, cx).await
}

async fn classifier(lines: &mut Lines, cx: &mut Context) -> Result<(), LabError> {
    let before = cx.seed;
    for seed in 0..SEEDS {
        cx.seed = seed;
        cx.progress(&format!("Classifier, seed {seed}"), 0.5 * seed as f64 / SEEDS as f64);
        let default = Params::default();
        let task = Task::load(&default, cx).await?;
        let whole = vec![Piece::Dense; 3];
        if seed == 0 {
            lines.seed("mlp_dense", "Dense, as shipped", (1.0, false), task.dense(&default, cx).await?.mean());
            let rounded: Vec<(Piece, usize)> = task.layers().iter().map(|layer| Piece::Dense.rounded(layer)).collect();
            let bytes: usize = rounded.iter().map(|(_, bytes)| bytes).sum();
            let pieces: Vec<Piece> = rounded.into_iter().map(|(piece, _)| piece).collect();
            let judged = task.judge(&pieces, &default, cx).await?;
            lines.seed("mlp_int4", "4 bits", (bytes as f64 / 4.0 / task.numbers() as f64, false), judged.mean());
        }
        for (method, id, words) in METHODS {
            let params = Params { method, ..default.clone() };
            let plan = plan(&task, &params, cx).await?;
            for share in [1.0, 0.5, 0.25] {
                let pieces = task.pieces(&plan, &plan.parts, &params, share, cx)?;
                let held = share_of(&task, &pieces, Store::Plain);
                let at = percent(share);
                let judged = task.judge(&pieces, &params, cx).await?;
                lines.seed(&format!("mlp_{id}_{at}"), &format!("{words}, {at} %"), (held, false), judged.mean());
                if share < 1.0 && matches!(method, Method::Plain | Method::Whitened | Method::Random) {
                    let judged = task.tune(&pieces, STEPS, cx).await?;
                    let words = format!("{words}, {at} %, {STEPS} steps");
                    lines.seed(&format!("mlp_tuned_{id}_{at}"), &words, (held, true), judged.mean());
                }
            }
            if matches!(method, Method::Plain | Method::Whitened | Method::TwoSided) {
                for (choice, name, told) in
                    [(Choice::Budget, "budget", "one budget"), (Choice::Sensitivity, "measured", "measured")]
                {
                    if choice == Choice::Sensitivity && method != Method::Whitened {
                        continue;
                    }
                    let params = Params { choice, ..params.clone() };
                    let plan = self::plan(&task, &params, cx).await?;
                    for share in [0.5, 0.25] {
                        let pieces = task.pieces(&plan, &plan.parts, &params, share, cx)?;
                        let held = share_of(&task, &pieces, Store::Plain);
                        let judged = task.judge(&pieces, &params, cx).await?;
                        let at = percent(share);
                        let words = format!("{words}, {at} %, ranks: {told}");
                        lines.seed(&format!("mlp_{name}_{id}_{at}"), &words, (held, false), judged.mean());
                    }
                }
            }
        }
        let control = task.tune(&whole, STEPS, cx).await?;
        lines.seed("mlp_control", &format!("Dense, {STEPS} steps more"), (1.0, true), control.mean());
        let scratch_params = Params { start: Start::Scratch, method: Method::Plain, ..default.clone() };
        let scratch = Task::load(&scratch_params, cx).await?;
        let scratch_plan = plan(&scratch, &scratch_params, cx).await?;
        for share in [0.5, 0.25] {
            let pieces = scratch.pieces(&scratch_plan, &scratch_plan.parts, &scratch_params, share, cx)?;
            let (held, at) = (share_of(&scratch, &pieces, Store::Plain), percent(share));
            let judged = scratch.tune(&pieces, 0, cx).await?;
            let words = format!("Factors from scratch, {at} %, 1,000 steps");
            lines.seed(&format!("mlp_scratch_{at}"), &words, (held, true), judged.mean());
            let numbers = stored(&scratch, &pieces, Store::Plain) + task.parameters() - task.numbers();
            let (_, _, judged) = task.small(numbers, cx).await?;
            let words = format!("Narrow dense network, {at} %, 1,000 steps from scratch");
            lines.seed(&format!("mlp_narrow_{at}"), &words, (held, true), judged.mean());
        }
    }
    cx.seed = before;
    let dense = lines.value("mlp_dense");
    let control = lines.value("mlp_control");
    for line in lines.0.iter_mut().filter(|line| line.id != "mlp_dense") {
        line.baseline = if line.id.contains("tuned") { control } else { dense };
    }
    Ok(())
}

async fn language(lines: &mut Lines, cx: &Context) -> Result<(), LabError> {
    let base = Params { model: Model::Language, ..Params::default() };
    let mut task = Task::load(&base, cx).await?;
    if let Task::Language(language) = &mut task {
        language.windows = WINDOWS;
    }
    let count = task.layers().len();
    let dense = task.dense(&base, cx).await?;
    lines.0.push(Line {
        id: "lm_dense".into(),
        words: "Dense: loss itself".into(),
        unit: "nats",
        higher: false,
        trained: false,
        stored: 1.0,
        values: vec![dense.mean()],
        interval: Some(dense.interval(cx)),
        baseline: None,
    });
    let (mut pieces, mut bytes) = (Vec::new(), 0);
    for layer in task.layers() {
        let (piece, more) = Piece::Dense.rounded(layer);
        bytes += more;
        pieces.push(piece);
    }
    let held = bytes as f64 / 4.0 / task.numbers() as f64;
    let change = task.judge(&pieces, &base, cx).await?.since(&dense);
    lines.change("lm_int4", "4 bits, not factored", "nats", (held, false), &change, cx);
    let (_, numbers, small) = task.small(0, cx).await?;
    let held = numbers as f64 / task.parameters() as f64;
    lines.change("lm_draft", "The draft model", "nats", (held, false), &small.since(&dense), cx);

    let mut aware = None;
    for (method, id, words) in METHODS {
        cx.progress(&format!("Language model: {words}"), 0.6);
        let params = Params { method, ..base.clone() };
        let plan = plan(&task, &params, cx).await?;
        let shares: &[f64] = if method == Method::Random { &[1.0, 0.5] } else { &[1.0, 0.9, 0.8, 0.7, 0.5] };
        for share in shares {
            let pieces = task.pieces(&plan, &plan.parts, &params, *share, cx)?;
            let held = share_of(&task, &pieces, Store::Plain);
            let change = task.judge(&pieces, &params, cx).await?.since(&dense);
            let at = percent(*share);
            lines.change(&format!("lm_{id}_{at}"), &format!("{words}, {at} %"), "nats", (held, false), &change, cx);
        }
        if matches!(method, Method::Whitened | Method::TwoSided) {
            let params = Params { choice: Choice::Budget, ..params };
            for share in [0.9, 0.8, 0.7, 0.5] {
                let pieces = task.pieces(&plan, &plan.parts, &params, share, cx)?;
                let held = share_of(&task, &pieces, Store::Plain);
                let left = pieces.iter().filter(|piece| matches!(piece, Piece::Dense)).count();
                let change = task.judge(&pieces, &params, cx).await?.since(&dense);
                let at = percent(share);
                let words = format!("{words}, one budget, {at} %, {left} matrices dense");
                lines.change(&format!("lm_budget_{id}_{at}"), &words, "nats", (held, false), &change, cx);
            }
        }
        if method == Method::Whitened {
            let gauge = Params { store: Store::Gauge, ..base.clone() };
            let pieces = task.pieces(&plan, &plan.parts, &gauge, 1.0, cx)?;
            let held = share_of(&task, &pieces, Store::Gauge);
            let change = task.judge(&pieces, &gauge, cx).await?.since(&dense);
            lines.change(
                "lm_gauge_100",
                "inputs, together, at break-even, as a gauge",
                "nats",
                (held, false),
                &change,
                cx,
            );
            let energy = Params { choice: Choice::Energy, energy: 0.9, ..base.clone() };
            let pieces = task.pieces(&plan, &plan.parts, &energy, 1.0, cx)?;
            let held = share_of(&task, &pieces, Store::Plain);
            let change = task.judge(&pieces, &energy, cx).await?.since(&dense);
            lines.change(
                "lm_energy_90",
                "inputs, together, 90 % of the energy each",
                "nats",
                (held, false),
                &change,
                cx,
            );
            aware = Some(plan);
        }
    }
    let Some(plan) = aware else { return Ok(()) };

    cx.progress("Language model: parts and single matrices", 0.7);
    let names: Vec<String> = task.layers().iter().map(|layer| layer.name.clone()).collect();
    type Wanted<'a> = &'a dyn Fn(&str) -> bool;
    type InPart = fn(&str) -> bool;
    type RankOf<'a> = &'a dyn Fn(f64) -> usize;
    let only = |wanted: Wanted<'_>, rank: RankOf<'_>| -> Vec<Piece> {
        let piece = |(i, name): (usize, &String)| {
            let weight = &task.layers()[i].weight;
            let most = break_even(weight.rows, weight.columns);
            if wanted(name) { Piece::Pair(plan.parts[i].truncate(rank(most).max(1))) } else { Piece::Dense }
        };
        names.iter().enumerate().map(piece).collect()
    };
    let parts: [(Layers, &str, InPart); 3] = [
        (Layers::Attention, "attention", |name| name.contains("self_attn")),
        (Layers::Mlp, "mlp", |name| name.contains(".mlp.")),
        (Layers::Head, "head", |name| name.starts_with("lm_head")),
    ];
    for (_, id, wanted) in parts {
        for share in [0.9, 0.7, 0.5] {
            let pieces = only(&wanted, &|most| (share * most) as usize);
            let held = share_of(&task, &pieces, Store::Plain);
            let change = task.judge(&pieces, &base, cx).await?.since(&dense);
            let at = percent(share);
            let words = format!("Only {id}, {at} % of its numbers");
            lines.change(&format!("lm_only_{id}_{at}"), &words, "nats", (held, false), &change, cx);
        }
    }
    for rank in [32, 16, 8, 4] {
        let pieces = only(&|name| name.contains("k_proj"), &|_| rank);
        let change = task.judge(&pieces, &base, cx).await?.since(&dense);
        let held = share_of(&task, &pieces, Store::Plain);
        lines.change(
            &format!("lm_keys_{rank}"),
            &format!("Only keys, rank {rank} of 64"),
            "nats",
            (held, false),
            &change,
            cx,
        );
    }
    if let Task::Language(language) = &mut task {
        language.windows = WINDOWS_ALONE;
    }
    let few = task.dense(&base, cx).await?;
    let mut sum = Judged { values: vec![0.0; few.values.len()], groups: few.groups.clone() };
    let mut head = 0.0;
    for i in 0..count {
        let mut pieces = vec![Piece::Dense; count];
        let weight = &task.layers()[i].weight;
        let rank = (0.5 * break_even(weight.rows, weight.columns)) as usize;
        pieces[i] = Piece::Pair(plan.parts[i].truncate(rank));
        let alone = task.judge(&pieces, &base, cx).await?.since(&few);
        if names[i].starts_with("lm_head") {
            head = alone.mean();
        }
        sum.values.iter_mut().zip(&alone.values).for_each(|(sum, value)| *sum += value);
    }
    lines.change("lm_alone_sum", "Each matrix alone at 50 %, all 29 rises added", "nats", (0.5, false), &sum, cx);
    let pieces = task.pieces(&plan, &plan.parts, &base, 0.5, cx)?;
    let together = task.judge(&pieces, &base, cx).await?.since(&few);
    lines.change("lm_together", "All 29 at 50 %, on the same windows", "nats", (0.5, false), &together, cx);
    let kept = |parts: &[lab_kit::linalg::Weighted]| {
        let at = names.iter().position(|name| name.starts_with("lm_head")).unwrap_or(0);
        let gains = &parts[at].gains;
        100.0 * gains.first().copied().unwrap_or(0.0) / gains.iter().sum::<f64>().max(f64::MIN_POSITIVE)
    };
    for (id, words, value, unit) in [
        ("lm_head_alone", "Output layer alone at 50 %: rise", head, "nats"),
        ("lm_head_first", "Output layer: energy of its first direction, weights", kept(&plan.plain), "%"),
        ("lm_head_first_aware", "Output layer: the same, weights times inputs", kept(&plan.parts), "%"),
    ] {
        lines.0.push(Line {
            id: id.into(),
            words: words.into(),
            unit,
            higher: false,
            trained: false,
            stored: 1.0,
            values: vec![value],
            interval: None,
            baseline: None,
        });
    }
    if let Task::Language(language) = &mut task {
        language.windows = WINDOWS;
    }
    cx.progress("Language model: training", 0.75);
    let whole = vec![Piece::Dense; count];
    let control = task.tune(&whole, LANGUAGE_STEPS, cx).await?;
    let words = format!("Dense, {LANGUAGE_STEPS} steps more");
    lines.change("lm_control", &words, "nats", (1.0, true), &control.since(&dense), cx);
    for (parts, id, share) in
        [(&plan.parts, "whitened", 0.7), (&plan.parts, "whitened", 0.5), (&plan.plain, "plain", 0.5)]
    {
        let pieces = task.pieces(&plan, parts, &base, share, cx)?;
        let held = share_of(&task, &pieces, Store::Plain);
        let change = task.tune(&pieces, LANGUAGE_STEPS, cx).await?.since(&dense);
        let at = percent(share);
        let words = format!("{id}, {at} %, {LANGUAGE_STEPS} steps");
        lines.change(&format!("lm_tuned_{id}_{at}"), &words, "nats", (held, true), &change, cx);
    }
    Ok(())
}

async fn kernels(lines: &mut Lines, cx: &Context) -> Result<(), LabError> {
    let base = Params { model: Model::Cnn, calibration: 8192, ..Params::default() };
    let task = Task::load(&base, cx).await?;
    let dense = task.dense(&base, cx).await?;
    let plan = plan(&task, &base, cx).await?;
    lines.0.push(Line {
        id: "cnn_dense".into(),
        words: "Dense: accuracy itself".into(),
        unit: "%",
        higher: true,
        trained: false,
        stored: 1.0,
        values: vec![dense.mean()],
        interval: Some(dense.interval(cx)),
        baseline: None,
    });
    let control = task.tune(&[Piece::Dense], STEPS, cx).await?;
    lines.change(
        "cnn_control",
        &format!("Dense, {STEPS} steps more"),
        "points",
        (1.0, true),
        &control.since(&dense),
        cx,
    );
    let forms: [(Form, &str, bool); 5] = [
        (Form::Channel, "channel", false),
        (Form::Channel, "channel_aware", true),
        (Form::Spatial, "spatial", false),
        (Form::Tucker, "tucker", false),
        (Form::Cp, "cp", false),
    ];
    for (form, id, aware) in forms {
        for share in [0.6, 0.35, 0.17, 0.09] {
            cx.progress(&format!("Kernel: {id}"), 0.9);
            let params = Params { form, ..base.clone() };
            let parts = if aware { &plan.parts } else { &plan.plain };
            let pieces = task.pieces(&plan, parts, &params, share, cx)?;
            let held = share_of(&task, &pieces, Store::Plain);
            let change = task.judge(&pieces, &params, cx).await?.since(&dense);
            let at = percent(share);
            lines.change(&format!("cnn_{id}_{at}"), &format!("{id}, {at} %"), "points", (held, false), &change, cx);
            if at == 17 && id != "channel" {
                let change = task.tune(&pieces, STEPS, cx).await?.since(&dense);
                let words = format!("{id}, {at} %, {STEPS} steps");
                lines.change(&format!("cnn_tuned_{id}_{at}"), &words, "points", (held, true), &change, cx);
            }
        }
    }
    Ok(())
}

/// Two thin products against one square one.
async fn squares(report: &mut Report, cx: &Context) -> Result<(), LabError> {
    cx.progress("Timing", 0.97);
    for rows in [1, 128] {
        for share in [0.25, 0.5, 0.75, 1.0] {
            let pair = square_pair(rows, share, cx).await?;
            let id = format!("square_{rows}_{}", percent(share));
            let (ratio, interval) = pair.ratio(LEVEL, &mut cx.rng(&id));
            let words = format!("Time of two factors over one matrix of 192 x 192: {} %, {rows} rows", percent(share));
            report.metrics.push(
                metric(Family::Time, &id, &words, ratio, "×")
                    .lower()
                    .baseline(1.0)
                    .interval(interval)
                    .measured(pair.ratios()),
            );
        }
    }
    Ok(())
}

/// Quality against what is stored, by method.
fn curves(lines: &Lines, prefix: &str, higher: bool) -> Chart {
    let points = |id: &str| -> Vec<[f64; 2]> {
        let mut all: Vec<[f64; 2]> = [1.0, 0.9, 0.8, 0.7, 0.5, 0.25]
            .iter()
            .filter_map(|share| {
                let wanted = format!("{prefix}_{id}_{}", percent(*share));
                let line = lines.0.iter().find(|line| line.id == wanted)?;
                Some([100.0 * line.stored, median(&line.values)])
            })
            .collect();
        all.sort_by(|a, b| a[0].total_cmp(&b[0]));
        all
    };
    let line = |name: &str, points| Series { name: name.into(), points, band: vec![] };
    let int4 = lines.0.iter().find(|line| line.id == format!("{prefix}_int4"));
    let dense = if higher { lines.value(&format!("{prefix}_dense")).unwrap_or(0.0) } else { 0.0 };
    let mut series = vec![line("Dense", vec![[15.0, dense], [100.0, dense]])];
    series.push(line("Weights alone", points("plain")));
    series.push(line("Inputs, together", points("whitened")));
    series.push(line(
        if higher { "Weights alone, trained on" } else { "Inputs and gradients, one budget" },
        points(if higher { "tuned_plain" } else { "budget_two_sided" }),
    ));
    if higher {
        series.push(line("Narrow dense network", points("narrow")));
    }
    series.extend(int4.map(|one| line("4 bits", vec![[100.0 * one.stored, median(&one.values)]])));
    let (title, y) = if higher {
        ("Glyph classifier: what is left", "Accuracy (%)")
    } else {
        ("Language model: what is lost", "Rise of the loss (nats per token)")
    };
    Chart {
        id: format!("{prefix}_methods"),
        title: title.into(),
        caption: "Against the numbers stored, in per cent of the matrices'; for 4 bits against the bytes. At 100 % nothing is saved.".into(),
        x: Axis::linear("Stored (%)"),
        y: Axis::linear(y),
        body: ChartBody::Line { series },
    }
}
