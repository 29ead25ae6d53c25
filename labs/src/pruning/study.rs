//! Scores without training; schedules, rates, masks, patterns and controls with training; filters of the convolutional
//! network. A seed draws the examples, the order of the images, random masks and new weights.

use lab_api::{Axis, Cell, Chart, ChartBody, Family, Kind, LabError, Metric, Report, Series, Table};
use lab_kit::{
    Context,
    prune::Network,
    report::{MetricExt, metric},
    stats::{median, median_interval},
};

use super::{
    Equal, Model, Params, RateSchedule, Schedule, ScoreImages, Scores, Thresholds, Unit,
    arms::{self, Plan},
    choose::Choice,
    cut,
    material::Material,
    scan,
};

const SEEDS: u64 = 10;
const LEVEL: f64 = 0.95;
/// Images that judge what is not trained.
const FEW: usize = 700;

/// Where a trained arm starts.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Start {
    /// The shipped weights under the chosen masks.
    Pruned,
    /// New weights under the chosen masks.
    NewUnderMask,
    /// A narrower network from new weights.
    Small(Equal),
    /// The shipped weights, nothing pruned.
    Dense,
    /// The shipped convolutional network with channels removed.
    Filters,
    /// The same widths from new weights.
    FiltersNew,
}

struct Arm {
    id: String,
    words: String,
    start: Start,
    choice: Choice,
    plan: Plan,
}

fn choice(unit: Unit, score: Scores, threshold: Thresholds) -> Choice {
    Choice { unit, score, threshold, budget: Vec::new() }
}

fn arms() -> Vec<Arm> {
    let default = Params::default();
    let plan = |sparsity| Plan { sparsity, ..default.plan() };
    let magnitude = choice(Unit::Weights, Scores::Magnitude, Thresholds::Global);
    let mut all = Vec::new();
    let mut arm = |id: &str, words: &str, start: Start, choice: &Choice, plan: Plan| {
        all.push(Arm { id: id.into(), words: words.into(), start, choice: choice.clone(), plan });
    };
    arm("dense", "nothing pruned", Start::Dense, &magnitude, plan(0.0));
    for (s, id) in [(0.8, "80"), (0.9, "90"), (0.95, "95"), (0.98, "98")] {
        arm(&format!("magnitude_{id}"), &format!("magnitude, one cut, {id} %"), Start::Pruned, &magnitude, plan(s));
    }
    for (s, id) in [(0.9, "90"), (0.95, "95"), (0.98, "98")] {
        let gradual = Plan { schedule: Schedule::Gradual, ..plan(s) };
        arm(&format!("gradual_{id}"), &format!("magnitude, gradual, {id} %"), Start::Pruned, &magnitude, gradual);
    }
    let rounds = Plan { schedule: Schedule::Iterative, ..plan(0.9) };
    arm("rounds_90", "magnitude, 5 rounds, rate anew, 90 %", Start::Pruned, &magnitude, rounds);
    let trap = Plan { rate_schedule: RateSchedule::OneCosine, ..rounds };
    arm("rounds_one_cosine_90", "magnitude, 5 rounds, one cosine, 90 %", Start::Pruned, &magnitude, trap);
    let slower = Plan { learning_rate: 1e-3, ..plan(0.9) };
    arm("slow_90", "magnitude, one cut, 90 %, rate 0.001", Start::Pruned, &magnitude, slower);
    let random = choice(Unit::Weights, Scores::Random, Thresholds::Global);
    arm("random_90", "random mask, 90 %", Start::Pruned, &random, plan(0.9));
    arm("new_90", "magnitude's mask on new weights, 90 %", Start::NewUnderMask, &magnitude, plan(0.9));
    let layerwise = choice(Unit::Weights, Scores::Magnitude, Thresholds::Layerwise);
    arm("layerwise_90", "magnitude, layer by layer, 90 %", Start::Pruned, &layerwise, plan(0.9));
    arm(
        "small_90",
        "narrow and dense, as many weights as at 90 %",
        Start::Small(Equal::Weights),
        &magnitude,
        plan(0.9),
    );
    arm(
        "small_bytes_90",
        "narrow and dense, as many bytes as at 90 %",
        Start::Small(Equal::Bytes),
        &magnitude,
        plan(0.9),
    );
    for (unit, s, id, words) in [
        (Unit::BlocksTall, 0.5, "tall_50", "blocks 16 × 1, 50 %"),
        (Unit::BlocksTall, 0.8, "tall_80", "blocks 16 × 1, 80 %"),
        (Unit::BlocksWide, 0.8, "wide_80", "blocks 1 × 16, 80 %"),
    ] {
        arm(id, words, Start::Pruned, &choice(unit, Scores::Magnitude, Thresholds::Global), plan(s));
    }
    let two = choice(Unit::TwoOfFour, Scores::Magnitude, Thresholds::Global);
    arm("two_of_four", "two of every four", Start::Pruned, &two, plan(0.5));
    arm("magnitude_50", "magnitude, one cut, 50 %", Start::Pruned, &magnitude, plan(0.5));
    for (steps, id) in [(50, "50"), (150, "150")] {
        let short = Plan { steps, learning_rate: 5e-3, ..plan(0.75) };
        let l1 = choice(Unit::Filters, Scores::Magnitude, Thresholds::Global);
        arm(
            &format!("filters_l1_{id}"),
            &format!("a quarter of the filters by L1, {id} steps"),
            Start::Filters,
            &l1,
            short,
        );
        if steps == 50 {
            let random = choice(Unit::Filters, Scores::Random, Thresholds::Global);
            arm("filters_random_50", "a quarter of the filters at random, 50 steps", Start::Filters, &random, short);
        }
        arm(
            &format!("filters_new_{id}"),
            &format!("the same widths from new weights, {id} steps"),
            Start::FiltersNew,
            &l1,
            short,
        );
    }
    all
}

/// Scores without training: name, score, images, threshold.
fn scores() -> Vec<(&'static str, &'static str, Scores, ScoreImages, Thresholds)> {
    use ScoreImages::{Learned, Shifted};
    use Thresholds::{Erk, Global, Layerwise, Scan};
    vec![
        ("random", "random", Scores::Random, Shifted, Global),
        ("magnitude", "magnitude", Scores::Magnitude, Shifted, Global),
        ("layerwise", "magnitude, layer by layer", Scores::Magnitude, Shifted, Layerwise),
        ("erk", "magnitude, by size (ERK)", Scores::Magnitude, Shifted, Erk),
        ("scan", "magnitude, from the scan", Scores::Magnitude, Shifted, Scan),
        ("activation", "weight × input", Scores::Activation, Shifted, Global),
        ("gradient_learned", "weight × gradient, images as trained on", Scores::Gradient, Learned, Global),
        ("gradient", "weight × gradient, images shifted", Scores::Gradient, Shifted, Global),
        ("fisher_learned", "weight² × gradient², images as trained on", Scores::Fisher, Learned, Global),
        ("fisher", "weight² × gradient², images shifted", Scores::Fisher, Shifted, Global),
    ]
}

const CUTS: [f64; 5] = [0.3, 0.5, 0.7, 0.8, 0.9];
const FILTER_SCORES: [(&str, Scores); 4] =
    [("random", Scores::Random), ("l1", Scores::Magnitude), ("taylor", Scores::Gradient), ("median", Scores::Median)];
const FILTER_SHARES: [(f64, &str); 3] = [(0.25, "75"), (0.5, "50"), (0.75, "25")];

/// Accuracies over the seeds, in per cent.
#[derive(Default)]
struct Found {
    arms: Vec<Vec<f64>>,
    /// For each score and each cut.
    cuts: Vec<Vec<Vec<f64>>>,
    /// For each filter score and each share.
    filters: Vec<Vec<Vec<f64>>>,
    /// As shipped, fully connected and convolutional: on all images that judge, and on the few.
    shipped: [f64; 2],
    few: [f64; 2],
    kept: Vec<f64>,
}

pub(super) async fn run(cx: &mut Context) -> Result<Report, LabError> {
    let (arms, scores, seed_before) = (arms(), scores(), cx.seed);
    let mut found = Found {
        arms: vec![Vec::new(); arms.len()],
        cuts: vec![vec![Vec::new(); CUTS.len()]; scores.len()],
        filters: vec![vec![Vec::new(); FILTER_SHARES.len()]; FILTER_SCORES.len()],
        kept: vec![0.0; arms.len()],
        ..Found::default()
    };
    for seed in 0..SEEDS {
        cx.seed = seed;
        let mut mlp = Material::load(Model::Mlp, ScoreImages::Shifted, cx).await?;
        let cnn = Material::load(Model::Cnn, ScoreImages::Shifted, cx).await?;
        for (i, (arm, values)) in arms.iter().zip(&mut found.arms).enumerate() {
            cx.progress(
                &format!("Seed {seed}: {}", arm.words),
                (seed as f64 + i as f64 / arms.len() as f64) / SEEDS as f64,
            );
            let material = if matches!(arm.start, Start::Filters | Start::FiltersNew) { &cnn } else { &mlp };
            let (accuracy, kept) = train(arm, material, cx).await?;
            values.push(accuracy);
            found.kept[i] = kept;
        }
        for from in [ScoreImages::Shifted, ScoreImages::Learned] {
            mlp.score_on(from, cx).await?;
            for ((_, _, score, _, threshold), values) in
                scores.iter().zip(&mut found.cuts).filter(|((.., images, _), _)| *images == from)
            {
                untrained(*score, *threshold, &mlp, values, cx).await?;
            }
        }
        filters(seed, &cnn, &mut found.filters, cx).await?;
        if seed == 0 {
            for (i, material) in [&mlp, &cnn].into_iter().enumerate() {
                found.shipped[i] = material.accuracy(&material.network, usize::MAX, cx).await?;
                found.few[i] = material.accuracy(&material.network, FEW, cx).await?;
            }
        }
    }
    cx.seed = seed_before;
    Ok(report(&arms, &scores, &found, cx))
}

/// Accuracy on all images that judge, and how many weights are left.
async fn train(arm: &Arm, material: &Material, cx: &Context) -> Result<(f64, f64), LabError> {
    let network = &material.network;
    let fresh = |architecture| Network::init(architecture, &mut cx.rng("new weights"));
    let (start, masked) = match arm.start {
        Start::Pruned => (network.clone(), Some(&arm.choice)),
        Start::Dense => (network.clone(), None),
        Start::Filters => (cut(&arm.choice, material, arm.plan.sparsity, cx).await?.0, None),
        Start::FiltersNew => (fresh(&cut(&arm.choice, material, arm.plan.sparsity, cx).await?.0.architecture), None),
        Start::Small(equal) => {
            let kept =
                network.architecture.weights() - (arm.plan.sparsity * network.architecture.weights() as f64) as usize;
            (fresh(&arms::narrower(&network.architecture, arms::allowance(kept, equal))), None)
        }
        Start::NewUnderMask => {
            // The masks of the shipped weights, at once; then the new ones under them.
            let masks = arm.choice.masks(network, material, arm.plan.sparsity, cx)?;
            let fresh = fresh(&network.architecture).masked(&masks);
            let trained = arms::train_masked(&fresh, &masks, &arm.plan, material, cx).await?;
            let kept = trained.non_zero().iter().sum::<usize>() as f64;
            return Ok((material.accuracy(&trained, usize::MAX, cx).await?, kept));
        }
    };
    let path = arms::train(&start, masked, &arm.plan, material, cx).await?;
    let Some((_, trained)) = path.last() else { return Ok((0.0, 0.0)) };
    let kept = trained.non_zero().iter().sum::<usize>() as f64;
    Ok((material.accuracy(trained, usize::MAX, cx).await?, kept))
}

async fn untrained(
    score: Scores,
    threshold: Thresholds,
    material: &Material,
    values: &mut [Vec<f64>],
    cx: &Context,
) -> Result<(), LabError> {
    let mut one = choice(Unit::Weights, score, threshold);
    let found = if threshold == Thresholds::Scan { Some(scan::run(&one, material, cx).await?) } else { None };
    for (sparsity, values) in CUTS.into_iter().zip(values) {
        if let Some(found) = &found {
            one.budget = found.budget(&material.network.shapes(), sparsity);
        }
        let (network, _) = cut(&one, material, sparsity, cx).await?;
        values.push(material.accuracy(&network, FEW, cx).await?);
    }
    Ok(())
}

/// Filters removed without training. All but the random choice depend on the weights, Taylor's on the examples as well.
async fn filters(seed: u64, material: &Material, values: &mut [Vec<Vec<f64>>], cx: &Context) -> Result<(), LabError> {
    for ((_, score), values) in FILTER_SCORES.iter().zip(values) {
        let fixed = matches!(score, Scores::Magnitude | Scores::Median);
        if seed > 0 && fixed {
            continue;
        }
        for ((share, _), values) in FILTER_SHARES.iter().zip(values) {
            let (network, _) = cut(&choice(Unit::Filters, *score, Thresholds::Global), material, *share, cx).await?;
            values.push(material.accuracy(&network, FEW, cx).await?);
        }
    }
    Ok(())
}

fn over_seeds(id: &str, label: &str, unit: &str, values: &[f64], cx: &Context) -> Metric {
    let mut all = metric(Family::Quality, id, label, median(values), unit)
        .interval(median_interval(values, LEVEL, &mut cx.rng(id)))
        .measured(values.to_vec())
        .higher();
    all.kind = Kind::Trained;
    all
}

fn report(
    arms: &[Arm],
    scores: &[(&str, &str, Scores, ScoreImages, Thresholds)],
    found: &Found,
    cx: &Context,
) -> Report {
    let mut metrics = Vec::new();
    let of = |id: &str| arms.iter().position(|arm| arm.id == id).map_or(&[][..], |i| &found.arms[i]);
    for (arm, values) in arms.iter().zip(&found.arms) {
        let shipped = found.shipped[usize::from(matches!(arm.start, Start::Filters | Start::FiltersNew))];
        metrics.push(over_seeds(&arm.id, &format!("Accuracy: {}", arm.words), "%", values, cx).baseline(shipped));
    }
    for (id, one, other, words) in [
        ("gap_dense", "magnitude_90", "dense", "Pruned by 90 % minus dense with the same training"),
        ("gap_random", "magnitude_90", "random_90", "Magnitude's mask minus a random one, 90 %"),
        ("gap_new", "magnitude_90", "new_90", "Inherited weights minus new ones under magnitude's mask, 90 %"),
        ("gap_small", "magnitude_90", "small_90", "Pruned by 90 % minus narrow, as many weights"),
        ("gap_small_bytes", "magnitude_90", "small_bytes_90", "Pruned by 90 % minus narrow, as many bytes"),
        ("gap_rate", "magnitude_90", "slow_90", "Rate 0.01 minus rate 0.001, 90 %"),
        ("gap_gradual_90", "gradual_90", "magnitude_90", "Gradual minus one cut, 90 %"),
        ("gap_gradual_95", "gradual_95", "magnitude_95", "Gradual minus one cut, 95 %"),
        ("gap_gradual_98", "gradual_98", "magnitude_98", "Gradual minus one cut, 98 %"),
        ("gap_cosine", "rounds_one_cosine_90", "rounds_90", "Rounds under one cosine minus rate anew, 90 %"),
        ("gap_two_of_four", "two_of_four", "magnitude_50", "Two of four minus single weights, 50 %"),
        ("gap_tall_80", "tall_80", "magnitude_80", "Blocks 16 × 1 minus single weights, 80 %"),
        ("gap_filters_50", "filters_l1_50", "filters_new_50", "Inherited filters minus new ones, 50 steps"),
        ("gap_filters_150", "filters_l1_150", "filters_new_150", "Inherited filters minus new ones, 150 steps"),
        ("gap_filters_random", "filters_l1_50", "filters_random_50", "Filters by L1 minus random ones, 50 steps"),
    ] {
        let values: Vec<f64> = of(one).iter().zip(of(other)).map(|(a, b)| a - b).collect();
        metrics.push(over_seeds(id, words, "points", &values, cx));
    }
    let mut cut_rows = Vec::new();
    for ((id, words, ..), cuts) in scores.iter().zip(&found.cuts) {
        for (sparsity, values) in CUTS.iter().zip(cuts) {
            let share = format!("{:.0}", 100.0 * sparsity);
            let label = format!("Without training: {words}, {share} %");
            metrics.push(over_seeds(&format!("cut_{id}_{share}"), &label, "%", values, cx).baseline(found.few[0]));
        }
        let numbers = cuts.iter().map(|values| Cell::from(median(values)));
        cut_rows.push(std::iter::once(Cell::from(*words)).chain(numbers).collect());
    }
    let mut filter_rows = Vec::new();
    for ((id, _), shares) in FILTER_SCORES.iter().zip(&found.filters) {
        for ((_, kept), values) in FILTER_SHARES.iter().zip(shares) {
            let label = format!("Filters removed without training: {id}, {kept} % kept");
            metrics
                .push(over_seeds(&format!("cut_filters_{id}_{kept}"), &label, "%", values, cx).baseline(found.few[1]));
        }
        let numbers = shares.iter().map(|values| Cell::from(median(values)));
        filter_rows.push(std::iter::once(Cell::from(*id)).chain(numbers).collect());
    }
    let rows = arms.iter().zip(&found.arms).zip(&found.kept).map(|((arm, values), kept)| {
        let interval = median_interval(values, LEVEL, &mut cx.rng(&arm.id));
        let numbers = [*kept, f64::from(arm.plan.steps as u32), median(values), interval.low, interval.high];
        std::iter::once(Cell::from(arm.words.clone())).chain(numbers.map(Cell::from)).collect()
    });
    let table = |id: &str, title: &str, columns: &[&str], rows: Vec<Vec<Cell>>| Table {
        id: id.into(),
        title: title.into(),
        columns: columns.iter().map(|c| (*c).to_owned()).collect(),
        rows,
    };
    let tables = vec![
        table(
            "arms",
            "Every trained arm, median of ten seeds",
            &["Arm", "Weights", "Steps", "Accuracy (%)", "95 % from", "95 % to"],
            rows.collect(),
        ),
        table(
            "cuts",
            "Accuracy without training (%)",
            &["Score", "30 % gone", "50 %", "70 %", "80 %", "90 %"],
            cut_rows,
        ),
        table(
            "filters",
            "Filters removed without training: accuracy (%)",
            &["Score", "75 % kept", "50 % kept", "25 % kept"],
            filter_rows,
        ),
    ];
    Report { metrics, tables, charts: vec![picture(arms, found, cx)], notes: Vec::new() }
}

/// The picture of the chapter: accuracy against weights kept, with and without training.
fn picture(arms: &[Arm], found: &Found, cx: &Context) -> Chart {
    let cuts = |i: usize| -> Vec<[f64; 2]> {
        let points = CUTS.iter().zip(&found.cuts[i]).map(|(s, values)| [100.0 * (1.0 - s), median(values)]);
        std::iter::once([100.0, found.few[0]]).chain(points).collect()
    };
    let trained: Vec<(f64, &Vec<f64>)> =
        ["magnitude_50", "magnitude_80", "magnitude_90", "magnitude_95", "magnitude_98"]
            .iter()
            .filter_map(|id| arms.iter().position(|arm| arm.id == *id))
            .map(|i| (100.0 * (1.0 - arms[i].plan.sparsity), &found.arms[i]))
            .collect();
    let band = |values: &[f64]| {
        let interval = median_interval(values, LEVEL, &mut cx.rng("picture"));
        [interval.low, interval.high]
    };
    Chart {
        id: "picture".into(),
        title: "How many weights can go?".into(),
        caption: "Median accuracy of ten seeds on images of unseen font families against the share of weights kept. Bands are \
                  95 % intervals."
            .into(),
        x: Axis::log("Weights kept (%)"),
        y: Axis { min: Some(0.0), max: Some(100.0), ..Axis::linear("Accuracy (%)") },
        body: ChartBody::Line {
            series: vec![
                Series { name: "Random, not trained".into(), points: cuts(0), band: vec![] },
                Series { name: "Magnitude, not trained".into(), points: cuts(1), band: vec![] },
                Series {
                    name: "Magnitude, trained for 400 steps".into(),
                    points: trained.iter().map(|(kept, values)| [*kept, median(values)]).collect(),
                    band: trained.iter().map(|(_, values)| band(values)).collect(),
                },
            ],
        },
    }
}

#[cfg(test)]
mod tests {
    use lab_api::Reference;

    /// The default run is the first seed of arms of the study: a training that went elsewhere shows in one of them.
    #[test]
    fn the_default_run_lies_among_the_seeds_of_the_study() {
        let reference: Reference = serde_json::from_str(include_str!("reference.json")).expect("a reference");
        let study = reference.study.expect("a study");
        for (shown, studied) in [
            ("accuracy", "magnitude_90"),
            ("accuracy_random", "random_90"),
            ("accuracy_small", "small_90"),
            ("accuracy_dense", "dense"),
        ] {
            let value = reference.default_run.report.metric(shown).expect("reported").value;
            let seeds = &study.report.metric(studied).expect("studied").samples;
            let (low, high) =
                seeds.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), s| (low.min(*s), high.max(*s)));
            assert!((low - 1e-9..=high + 1e-9).contains(&value), "{shown} {value}, seeds {low} to {high}");
        }
    }
}
