//! Kinds of block at four sizes, their switches, and ways to grow, over three seeds: a seed draws the first weights and the
//! order of the images, so that all networks of a seed see the same images in the same order. All unseen images judge.

use lab_api::{Axis, Cell, Family as Group, Kind, LabError, Metric, Report};
use lab_kit::{
    Context,
    blocks::{Budget, Family, Options, Shape, Totals, Way, solve, totals},
    report::{MetricExt, metric},
    stats::{median, median_interval, ratio_interval},
    training::Order,
    two_cores::jobs_on_two_cores,
};

use super::{
    arms::{Arm, BATCH, CLASSES, Plan, Planned, Race, Task, batch},
    figures, measure,
};

const SEEDS: u64 = 3;
const STEPS: usize = 200;
const RATE: f64 = 0.03;
const SIZES: [usize; 4] = [100, 200, 400, 800];
const LEVEL: f64 = 0.95;

/// A network of the study.
struct Subject {
    id: String,
    words: String,
    series: &'static str,
    shape: Shape,
    /// The id of what it is held against.
    against: String,
}

fn subjects() -> Vec<Subject> {
    let mut all = Vec::new();
    let plain = Options::default();
    let at = |family, options, blocks: usize, size: usize| {
        solve(Shape { blocks: [blocks; 3], ..Shape::new(family, 2, options) }, Budget::Madds(1000 * size), CLASSES)
    };
    let mut add = |id: &str, words: &str, series, shape, against: &str| {
        all.push(Subject { id: id.into(), words: words.into(), series, shape, against: against.into() });
    };
    for size in SIZES {
        let against = format!("plain_{size}");
        for (id, family) in [("plain", Family::Plain), ("separable", Family::Separable), ("grouped", Family::Grouped)] {
            let words = format!("{}, {size} thousand", family.name());
            add(&format!("{id}_{size}"), &words, family.name(), at(family, plain, 1, size), &against);
        }
    }
    for (id, family) in [
        ("inverted", Family::Inverted),
        ("fire", Family::Fire),
        ("shuffle_unit", Family::ShuffleUnit),
        ("spatial", Family::Spatial),
        ("bottleneck", Family::Bottleneck),
        ("depthwise", Family::Depthwise),
    ] {
        add(id, family.name(), family.name(), at(family, plain, 1, 200), "plain_200");
    }
    let apart = Options { shuffle: false, ..plain };
    add("apart", "grouped, not interleaved", "", at(Family::Grouped, apart, 1, 200), "grouped_200");
    // Equal widths, so that both project to as many channels.
    let inverted = at(Family::Inverted, plain, 1, 200);
    let options = Options { linear: false, ..plain };
    add("relu", "inverted bottleneck, with ReLU", "", Shape { options, ..inverted }, "inverted");
    let twice = Options { expansion: 2, ..plain };
    add("twice", "inverted bottleneck, widened twice", "", at(Family::Inverted, twice, 1, 200), "inverted");
    let gates = Options { excite: true, ..plain };
    add("gates", "depthwise-separable, squeeze-excite", "", at(Family::Separable, gates, 1, 200), "separable_200");
    let large = at(Family::Plain, plain, 1, 800);
    let width = Shape { family: Family::Separable, ..large };
    add("width", "depthwise-separable, plain's widths at 800 thousand", "", width, "plain_800");
    for (id, family) in [("plain", Family::Plain), ("inverted", Family::Inverted)] {
        let words = format!("{}, two blocks a stage", family.name());
        add(&format!("{id}_deep"), &words, "", at(family, plain, 2, 200), "plain_200");
    }
    for (way, id) in
        [(Way::Depth, "grow_depth"), (Way::Resolution, "grow_resolution"), (Way::Compound, "grow_compound")]
    {
        let words = format!("plain, 100 thousand doubled by {}", way.name());
        add(id, &words, "", way.scale((Family::Plain, plain), 100_000, 2.0, CLASSES), "plain_200");
    }
    all
}

/// What a network did in each seed.
#[derive(Debug, Clone, Default)]
struct Found {
    accuracy: Vec<f64>,
    loss: Vec<f64>,
}

fn train(shape: Shape, seed: u64, task: &Task) -> (f64, f64) {
    let mut arm = Arm::new(Planned { name: String::new(), series: String::new(), shape }, seed);
    let mut order = Order::new(task.train.len(), BATCH, seed);
    for step in 0..STEPS {
        let (pixels, labels) = batch(task, &mut order, step);
        arm.advance((&pixels, &labels), (step, STEPS), RATE);
    }
    let network = arm.finish(task);
    let right = arm.read(&network, &task.test);
    (100.0 * right.iter().sum::<f64>() / right.len().max(1) as f64, arm.late())
}

/// All networks under all seeds.
fn train_all(subjects: &[Subject], task: &Task) -> Result<Vec<Found>, LabError> {
    let jobs: Vec<(usize, u64)> = (0..SEEDS).flat_map(|seed| (0..subjects.len()).map(move |i| (i, seed))).collect();
    let done = jobs_on_two_cores(jobs.len(), |i| Ok(train(subjects[jobs[i].0].shape, jobs[i].1, task)))?;
    let mut all = vec![Found::default(); subjects.len()];
    for ((subject, _), (accuracy, loss)) in jobs.iter().zip(done) {
        all[*subject].accuracy.push(accuracy);
        all[*subject].loss.push(loss);
    }
    Ok(all)
}

fn over_seeds(family: Group, id: &str, label: &str, unit: &str, values: &[f64], cx: &Context) -> Metric {
    let mut all = metric(family, id, label, median(values), unit)
        .interval(median_interval(values, LEVEL, &mut cx.rng(id)))
        .measured(values.to_vec());
    all.kind = Kind::Trained;
    all
}

pub(super) async fn run(cx: &mut Context) -> Result<Report, LabError> {
    let task = Task::load(cx).await?;
    let subjects = subjects();
    cx.progress("Training", 0.05);
    let found = train_all(&subjects, &task)?;
    cx.checkpoint().await?;
    cx.progress("Timing", 0.8);
    let of = |id: &str| subjects.iter().position(|subject| subject.id == id).unwrap_or(0);
    // The two that the layers' times are taken of.
    let pair = ["plain_200", "separable_200"].map(|id| {
        let subject = &subjects[of(id)];
        Planned { name: subject.words.clone(), series: String::new(), shape: subject.shape }
    });
    let race = Race::new(Plan { all: pair.to_vec(), baseline: 0, chosen: 1 }, &task, cx)?;
    let shapes: Vec<Shape> = subjects.iter().map(|subject| subject.shape).collect();
    let times = measure::shapes(&shapes, &race, cx).await?;
    let layers = measure::Times::of(&race, &race.judge(50, cx).await?, cx).await?;
    let pairs = measure::pairs(cx).await?;

    let mut report = Report::default();
    let counts: Vec<Totals> = shapes.iter().map(|shape| totals(&shape.ops(CLASSES), shape.side)).collect();
    for (i, (subject, own)) in subjects.iter().zip(&found).enumerate() {
        let base = &found[of(&subject.against)];
        let gap: Vec<f64> = own.accuracy.iter().zip(&base.accuracy).map(|(own, base)| own - base).collect();
        let (id, words) = (&subject.id, &subject.words);
        let mut add = |metric: Metric| report.metrics.push(metric);
        let label = |what: &str| format!("{what}: {words}");
        add(over_seeds(
            Group::Quality,
            &format!("accuracy_{id}"),
            &label("Right on unseen fonts"),
            "%",
            &own.accuracy,
            cx,
        ));
        add(over_seeds(
            Group::Quality,
            &format!("gap_{id}"),
            &label("Right beyond what it is held against"),
            "points",
            &gap,
            cx,
        ));
        add(over_seeds(Group::Quality, &format!("loss_{id}"), &label("Training loss"), "nats", &own.loss, cx));
        for (what, name, value) in [
            ("madds", "Multiply-adds", counts[i].madds),
            ("weights", "Weights", counts[i].weights),
            ("activations", "Numbers between layers", counts[i].activations),
        ] {
            add(metric(Group::Scale, &format!("{what}_{id}"), &label(name), value as f64, "").exact(0.0, "counted"));
        }
        for (what, name, ms, images) in [
            ("one", "One image, alone", &times[i][0], 1.0),
            ("many", "One image of 64", &times[i][1], measure::MANY as f64),
        ] {
            let us: Vec<f64> = ms.iter().map(|ms| 1e3 * ms / images).collect();
            let id = format!("{what}_{id}");
            let interval = median_interval(&us, LEVEL, &mut cx.rng(&id));
            add(metric(Group::Time, &id, &label(name), median(&us), "µs").interval(interval).measured(us));
        }
    }
    let (large, width) = (of("plain_800"), of("width"));
    let mut ratio = |id: &str, label: &str, slow: &[f64], fast: &[f64]| {
        let ratios: Vec<f64> = slow.iter().zip(fast).map(|(slow, fast)| slow / fast.max(f64::MIN_POSITIVE)).collect();
        report.metrics.push(
            metric(Group::Time, id, label, median(slow) / median(fast).max(f64::MIN_POSITIVE), "×")
                .interval(ratio_interval(slow, fast, LEVEL, &mut cx.rng(id)))
                .measured(ratios),
        );
    };
    let words = "Time saved at equal widths, 800 thousand";
    ratio("width_speed", words, &times[large][0], &times[width][0]);
    ratio("width_speed_many", &format!("{words}, 64 images"), &times[large][1], &times[width][1]);
    for (channels, slow, fast) in &pairs {
        let label = format!("Time of a plain layer over that of a separable one, {channels} channels");
        ratio(&format!("pair_{channels}"), &label, slow, fast);
    }
    let work = counts[large].madds as f64 / counts[width].madds.max(1) as f64;
    report.metrics.push(
        metric(Group::Scale, "width_work", "Multiply-adds saved at equal widths, 800 thousand", work, "×")
            .exact(1e-9, "counted"),
    );
    for (name, rate) in ["plain", "grouped", "depthwise", "pointwise", "wide"].iter().zip(layers.rates()) {
        let label = format!("Arithmetic of a layer: {name}");
        report
            .metrics
            .push(metric(Group::Utilization, &format!("rate_{name}"), &label, median(&rate), "GFLOP/s").measured(rate));
    }
    for (name, madds, time) in layers.shares() {
        let id = match name {
            "3×3" => "plain",
            "1×1" => "pointwise",
            _ => "depthwise",
        };
        let label = format!("Share of the separable network's multiply-adds: {name}");
        report.metrics.push(metric(Group::Scale, &format!("share_{id}"), &label, madds, "%").exact(1e-9, "counted"));
        let label = format!("Share of its layers' time: {name}");
        report.metrics.push(metric(Group::Time, &format!("time_{id}"), &label, time, "%").measured(vec![time]));
    }
    pictures(&mut report, (&subjects, &found, &counts, &times));
    Ok(report)
}

type All<'a> = (&'a [Subject], &'a [Found], &'a [Totals], &'a [[Vec<f64>; 2]]);

fn pictures(report: &mut Report, (subjects, found, counts, times): All<'_>) {
    let us =
        |i: usize, which: usize| 1e3 * median(&times[i][which]) / if which == 0 { 1.0 } else { measure::MANY as f64 };
    let lines = |x: &dyn Fn(usize) -> f64| {
        let of = |i: usize| (subjects[i].series, x(i), median(&found[i].accuracy));
        let all: Vec<_> = (0..subjects.len()).filter(|i| !subjects[*i].series.is_empty()).map(of).collect();
        figures::grouped(&all)
    };
    let right = || Axis::linear("Right on unseen fonts (%)");
    report.charts.push(figures::chart(
        "work",
        "How much is read for so much arithmetic?",
        "Medians over three seeds.",
        (Axis::log("Multiply-adds for an image, in thousands"), right()),
        lines(&|i| 1e-3 * counts[i].madds as f64),
    ));
    report.charts.push(figures::chart(
        "time",
        "How much is read in so much time?",
        "The same networks over the time of one image.",
        (Axis::log("Microseconds for one image"), right()),
        lines(&|i| us(i, 0)),
    ));
    let rows = subjects.iter().enumerate().map(|(i, subject)| {
        let rounded = |x: f64| Cell::from((100.0 * x).round() / 100.0);
        vec![
            Cell::from(subject.words.as_str()),
            Cell::from(figures::widths(&subject.shape)),
            Cell::from(counts[i].madds as f64),
            Cell::from(counts[i].weights as f64),
            Cell::from(counts[i].activations as f64),
            rounded(median(&found[i].accuracy)),
            rounded(median(&found[i].loss)),
            rounded(us(i, 0)),
            rounded(us(i, 1)),
        ]
    });
    let columns = [
        "Network",
        "Widths",
        "Multiply-adds",
        "Weights",
        "Activations",
        "Right (%)",
        "Training loss (nats)",
        "One image (µs)",
        "One of 64 (µs)",
    ];
    report.tables.push(figures::table("networks", "Every network", &columns, rows.collect()));
}
