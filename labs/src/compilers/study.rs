//! Every pass on every network, orders, planners on random buffers, random graphs against their eager twins, lengths, times by level, and
//! tuning.

use lab_api::{Family, LabError, Metric, Report};
use lab_kit::{
    Context,
    graph::{
        Fuse, Graph, Life, Memory, Order, Passes, Poison, Program, Strategy, bound, compile, height, plan, random,
        shuffled,
    },
    report::{MetricExt, metric},
    stats::{median, median_interval},
};
use rand::Rng;

use super::{Layout, Model, Params, figures, net, summary, timing};

const COUNTED: &str = "counted";
const MODELS: [(&str, &str, Model); 5] = [
    ("prefill", "Prefill", Model::LmPrefill),
    ("decode", "Decode", Model::LmDecode),
    ("cnn", "Glyph classifier", Model::Cnn),
    ("mlp", "Digit classifier", Model::Mlp),
    ("heads", "Attention by heads", Model::Heads),
];

const PLANNED: Passes = Passes { plan: Strategy::BySize, ..Passes::NONE };
const ALL: Passes = Passes {
    fold: true,
    cse: true,
    dead: true,
    merge: true,
    fuse: Fuse::Epilogues,
    order: Order::Given,
    plan: Strategy::BySize,
    in_place: true,
};

fn stages() -> [(&'static str, Passes); 13] {
    let fused = |fuse| Passes { fuse, ..PLANNED };
    [
        ("none", PLANNED),
        ("fold", Passes { fold: true, ..PLANNED }),
        ("cse", Passes { cse: true, ..PLANNED }),
        ("dead", Passes { dead: true, ..PLANNED }),
        ("elementwise", fused(Fuse::Elementwise)),
        ("reductions", fused(Fuse::Reductions)),
        ("epilogues", fused(Fuse::Epilogues)),
        ("fold_epilogues", Passes { fold: true, ..fused(Fuse::Epilogues) }),
        ("merge", Passes { merge: true, ..fused(Fuse::Epilogues) }),
        ("in_place", Passes { in_place: true, ..PLANNED }),
        ("all", ALL),
        ("unmerged", Passes { merge: false, ..ALL }),
        ("in_time", Passes { plan: Strategy::InTime, ..ALL }),
    ]
}

fn exact(family: Family, id: &str, label: &str, value: f64, unit: &str) -> Metric {
    metric(family, id, label, value, unit).exact(0.0, COUNTED)
}

fn params(model: Model) -> Params {
    Params { model, batch: 64, ..Params::default() }
}

pub(super) async fn run(cx: &mut Context) -> Result<Report, LabError> {
    let mut report = Report::default();
    passes(&mut report)?;
    subsets(&mut report)?;
    cx.checkpoint().await?;
    lengths(&mut report)?;
    orders(&mut report, cx).await?;
    planners(&mut report, cx);
    differential(&mut report, cx).await?;
    times(&mut report, cx).await?;
    tuning(&mut report, cx).await?;
    let graph = net::graph(&Params::default());
    let before = compile(&graph, Passes::NONE)?;
    let planned = compile(&graph, PLANNED)?;
    let after = compile(&graph, Passes { merge: false, ..ALL })?;
    let mut map = |id: &str, title: &str, caption: &str, program: &Program| {
        report.charts.push(figures::map(id, title, caption, program))
    };
    map("apart", "No reuse", "A place for each result: a staircase, and nearly all of it is empty.", &before);
    map("planned", "A plan, and no other pass", "The same kernels, the same results, other addresses.", &planned);
    map("fused", "All passes but merging", "Fewer results, and some in the place of those they are made from.", &after);
    report.charts.push(figures::passes(&graph, &Params::default())?);
    report.charts.push(figures::lengths(&Params::default())?);
    report.tables.push(figures::six());
    report.tables.push(figures::each_pass(&graph, &Params::default())?);
    Ok(report)
}

/// Counts of each stage of each network.
fn passes(report: &mut Report) -> Result<(), LabError> {
    for (id, name, model) in MODELS {
        let graph = net::graph(&params(model));
        for (stage, setting) in stages() {
            let counts = compile(&graph, setting)?.counts;
            let words = stage.replace('_', " ");
            let mut add = |family, what: &str, label: &str, value: f64, unit: &str| {
                report.metrics.push(
                    exact(family, &format!("{id}_{stage}_{what}"), &format!("{name}, {words}: {label}"), value, unit)
                        .lower(),
                );
            };
            add(Family::Utilization, "kernels", "kernels", counts.kernels as f64, "");
            add(Family::Scale, "traffic", "read and written", counts.traffic as f64 / 1e6, "MB");
            add(Family::Memory, "apart", "without reuse", counts.apart as f64 / 1e6, "MB");
            add(Family::Memory, "arena", "arena", counts.arena as f64 / 1e6, "MB");
            if ["none", "merge", "unmerged", "all"].contains(&stage) {
                add(Family::Scale, "flops", "arithmetic", counts.flops as f64 / 1e6, "MFLOP");
                add(Family::Scale, "distinct", "different kernels", counts.distinct as f64, "");
                add(Family::Scale, "nodes", "nodes", counts.nodes as f64, "");
            }
        }
        let counts = |stage: &str, what: &str| {
            report.metric(&format!("{id}_{stage}_{what}")).map_or(0.0, |metric| metric.value).max(1e-9)
        };
        let [plan, rest] =
            [counts("none", "apart") / counts("none", "arena"), counts("none", "arena") / counts("unmerged", "arena")];
        let whole = plan * rest;
        for (what, label, value) in [
            ("plan", "the plan alone", plan),
            ("rest", "all other passes together", rest),
            ("whole", "all of it", whole),
        ] {
            let label = format!("{name}: memory saved by {label}");
            report.metrics.push(exact(Family::Memory, &format!("{id}_saved_{what}"), &label, value, "×").higher());
        }
    }
    Ok(())
}

/// All 64 choices of six passes in prefill.
fn subsets(report: &mut Report) -> Result<(), LabError> {
    let graph = net::graph(&Params::default());
    let mut arenas = Vec::new();
    let mut kernels = Vec::new();
    for mask in 0..64_u32 {
        let on = |bit: u32| mask >> bit & 1 == 1;
        let fuse = if on(5) { Fuse::Epilogues } else { Fuse::None };
        let setting = Passes { fold: on(0), cse: on(1), dead: on(2), merge: on(3), in_place: on(4), fuse, ..PLANNED };
        let counts = compile(&graph, setting)?.counts;
        arenas.push(counts.arena as f64 / 1e6);
        kernels.push(counts.kernels as f64);
    }
    let [least, most] =
        [arenas.iter().copied().fold(f64::INFINITY, f64::min), arenas.iter().copied().fold(0.0, f64::max)];
    report.metrics.push(
        exact(Family::Memory, "subsets_least", "Prefill, 64 choices of passes: smallest arena", least, "MB")
            .baseline(most)
            .lower(),
    );
    // In how many choices a pass changes nothing.
    for (bit, name) in ["fold", "cse", "dead", "merge", "in_place", "fuse"].into_iter().enumerate() {
        let without = (0..64_usize).filter(|mask| mask >> bit & 1 == 0);
        let idle = |of: &[f64]| without.clone().filter(|mask| of[*mask] == of[mask | 1 << bit]).count() as f64;
        let worse = without.clone().filter(|mask| arenas[*mask] < arenas[mask | 1 << bit]).count() as f64;
        let label = format!("{}: choices of 32 in which it changes no number of kernels", name.replace('_', " "));
        report.metrics.push(exact(Family::Utilization, &format!("idle_{name}"), &label, idle(&kernels), ""));
        let label = format!("{}: choices of 32 in which it makes the arena larger", name.replace('_', " "));
        report.metrics.push(exact(Family::Memory, &format!("worse_{name}"), &label, worse, ""));
    }
    Ok(())
}

fn lengths(report: &mut Report) -> Result<(), LabError> {
    for length in [1, 16, 64, 128, 256] {
        let graph = net::graph(&Params { length, ..Params::default() });
        let all = compile(&graph, Passes { merge: false, ..ALL })?.counts;
        let apart = compile(&graph, Passes::NONE)?.counts.arena as f64 / 1e6;
        let label = format!("Prefill of {length}, all passes but merging: arena");
        report.metrics.push(
            exact(Family::Memory, &format!("arena_{length}"), &label, all.arena as f64 / 1e6, "MB")
                .lower()
                .baseline(apart),
        );
    }
    // Each length of 1 to 256 once: padded to the next power of two.
    let padded: u32 = (1..=256_u32).map(u32::next_power_of_two).sum();
    let tokens: u32 = (1..=256).sum();
    report.metrics.push(
        exact(
            Family::Scale,
            "padded",
            "Lengths 1 to 256, padded to powers of two: tokens computed",
            f64::from(padded) / f64::from(tokens),
            "×",
        )
        .lower()
        .baseline(1.0),
    );
    Ok(())
}

async fn orders(report: &mut Report, cx: &Context) -> Result<(), LabError> {
    for (id, name, model) in [("prefill", "Prefill", Model::LmPrefill), ("heads", "Attention by heads", Model::Heads)] {
        let graph = net::graph(&params(model));
        let setting = Passes { fuse: Fuse::Epilogues, ..PLANNED };
        for (order, word) in [
            (Order::Given, "given"),
            (Order::Depth, "depth"),
            (Order::Breadth, "breadth"),
            (Order::LeastMemory, "least"),
        ] {
            let arena = compile(&graph, Passes { order, ..setting })?.counts.arena as f64 / 1e6;
            let label = format!("{name}, order {word}: arena");
            report.metrics.push(exact(Family::Memory, &format!("order_{id}_{word}"), &label, arena, "MB").lower());
        }
        let mut rng = cx.rng("orders");
        let mut arenas = Vec::new();
        for _ in 0..200 {
            arenas.push(shuffled(&graph, setting, &mut rng)?.counts.arena as f64 / 1e6);
            cx.checkpoint().await?;
        }
        arenas.sort_by(f64::total_cmp);
        let ends =
            [("random", median(&arenas)), ("random_least", arenas[0]), ("random_most", arenas[arenas.len() - 1])];
        for (word, value) in ends {
            let label = format!(
                "{name}, 200 random orders: arena, {}",
                word.replace("random_", "").replace("random", "median")
            );
            report.metrics.push(exact(Family::Memory, &format!("order_{id}_{word}"), &label, value, "MB").lower());
        }
    }
    Ok(())
}

/// Random sets of six buffers.
const SETS: u32 = 2000;
/// Random graphs.
const GRAPHS: usize = 10_000;

/// Planners on random sets of six buffers.
fn planners(report: &mut Report, cx: &Context) {
    let mut rng = cx.rng("buffers");
    let (mut missed, mut met, mut won) = ([0.0; 2], 0.0, [0.0; 2]);
    for _ in 0..SETS {
        let life = |rng: &mut dyn rand::RngCore| {
            let first = rng.random_range(0..7);
            Life { first, last: rng.random_range(first..7), size: rng.random_range(1..5) }
        };
        let lives: Vec<Life> = (0..6).map(|_| life(&mut rng)).collect();
        let [time, size, best] =
            [Strategy::InTime, Strategy::BySize, Strategy::Exact].map(|s| height(&lives, &plan(&lives, s)));
        missed[0] += f64::from(u8::from(time > best));
        missed[1] += f64::from(u8::from(size > best));
        won[0] += f64::from(u8::from(time < size));
        won[1] += f64::from(u8::from(size < time));
        met += f64::from(u8::from(best == bound(&lives)));
    }
    let share = |count: f64| 100.0 * count / f64::from(SETS);
    for (id, label, value) in [
        ("missed_time", "Six random buffers: in time misses the best plan in", share(missed[0])),
        ("missed_size", "Six random buffers: by size misses the best plan in", share(missed[1])),
        ("won_time", "Six random buffers: in time beats by size in", share(won[0])),
        ("won_size", "Six random buffers: by size beats in time in", share(won[1])),
        ("met", "Six random buffers: the best plan meets the bound in", share(met)),
    ] {
        report.metrics.push(exact(Family::Memory, id, label, value, "%"));
    }
}

/// Random graphs under random settings against their eager twins, bit by bit, with freed memory poisoned.
async fn differential(report: &mut Report, cx: &Context) -> Result<(), LabError> {
    let (mut rng, mut wrong, mut nodes) = (cx.rng("graphs"), 0, 0);
    for round in 0..GRAPHS {
        let count = rng.random_range(3..30);
        let (graph, inputs, states) = random(&mut rng, count);
        nodes += graph.nodes.len();
        let mut flip = || rng.random_bool(0.5);
        let [fold, cse, dead, merge, in_place] = std::array::from_fn(|_| flip());
        let fuse = Fuse::ALL[rng.random_range(0..4)];
        let setting = Passes { fold, cse, dead, merge, in_place, fuse, ..PLANNED };
        let run = |setting, eager| outcome(&graph, (&inputs, &states), setting, eager);
        wrong += usize::from(run(setting, false)? != run(Passes::NONE, true)?);
        if round % 50 == 0 {
            cx.checkpoint().await?;
        }
    }
    report.metrics.push(
        exact(Family::Quality, "graphs_wrong", "Random graphs that gave another result", wrong as f64, "").lower(),
    );
    report
        .metrics
        .push(exact(Family::Quality, "graphs", "Random graphs compiled and compared", GRAPHS as f64, "").higher());
    report.metrics.push(exact(Family::Quality, "graphs_nodes", "Nodes in all of them", nodes as f64, "").higher());
    Ok(())
}

fn outcome(
    graph: &Graph,
    (inputs, states): (&[Vec<f32>], &[Vec<f32>]),
    setting: Passes,
    eager: bool,
) -> Result<Vec<Vec<f32>>, LabError> {
    let program = compile(graph, setting)?;
    let bound = program.bind(&mut |_, _| None, setting.cse, 0)?;
    let mut memory = Memory::new(&program, eager);
    memory.inputs = inputs.to_vec();
    memory.states.iter_mut().zip(states).for_each(|(place, values)| place.clone_from(values));
    Ok(program.run(&bound, &mut memory, Poison::Freed))
}

/// Times of each level.
async fn times(report: &mut Report, cx: &Context) -> Result<(), LabError> {
    let bare = Params {
        fold: false,
        cse: false,
        dead: false,
        merge: false,
        in_place: false,
        fuse: Fuse::None,
        layout: Layout::AsIs,
        ..Params::default()
    };
    let fused = |fuse| Params { fuse, ..bare.clone() };
    let levels = [
        ("elementwise", fused(Fuse::Elementwise)),
        ("reductions", fused(Fuse::Reductions)),
        ("epilogues", fused(Fuse::Epilogues)),
        ("packed", Params { layout: Layout::Chosen, ..fused(Fuse::Epilogues) }),
        ("dead", Params { dead: true, ..bare.clone() }),
        ("all", Params::default()),
        ("unmerged", Params { merge: false, ..Params::default() }),
    ];
    for (id, name, model) in MODELS {
        for (level, settings) in &levels {
            let one = Params { model, batch: 64, ..settings.clone() };
            if !matches!(model, Model::LmPrefill | Model::LmDecode) && ["dead", "unmerged", "packed"].contains(level) {
                continue;
            }
            cx.progress(&format!("Timing: {name}, {level}"), 0.5);
            let graph = net::graph(&one);
            let (none, yours) = (compile(&graph, Passes::NONE)?, compile(&graph, one.setting())?);
            let net = net::read(&one, graph, cx).await?;
            let found = timing::measure(&net, [&none, &yours], &one, cx).await?;
            let ratios: Vec<f64> = found.steps[0].iter().zip(&found.steps[2]).map(|(a, b)| a / b.max(1e-9)).collect();
            let label = format!("{name}, {level}: times as fast as without a compiler");
            report.metrics.push(
                metric(Family::Time, &format!("{id}_{level}_gain"), &label, median(&ratios), "×")
                    .higher()
                    .baseline(1.0)
                    .interval(median_interval(&ratios, 0.95, &mut cx.rng(level)))
                    .measured(ratios),
            );
            if ["all", "elementwise"].contains(level) {
                let mut alone = Report { metrics: summary::counted(&none, &yours), ..Report::default() };
                summary::timed(&mut alone, &found, &yours, cx);
                for kept in ["step_ms", "plan_gain", "compile_ms", "bind_ms", "deviation", "gflops", "paid"] {
                    if let Some(metric) = alone.metric(kept) {
                        let mut metric = metric.clone();
                        metric.id = format!("{id}_{level}_{kept}");
                        metric.label = format!("{name}, {level}: {}", metric.label);
                        metric.detail = false;
                        report.metrics.push(metric);
                    }
                }
                if *level == "all" && model == Model::LmPrefill {
                    report.charts.push(figures::paid(&found));
                }
            }
        }
    }
    Ok(())
}

async fn tuning(report: &mut Report, cx: &Context) -> Result<(), LabError> {
    for (id, name, model) in [MODELS[0], MODELS[2], MODELS[3]] {
        for tune in [1, 3, 7] {
            cx.progress(&format!("Tuning: {name}, {tune}"), 0.9);
            let one = Params { tune, ..params(model) };
            let graph = net::graph(&one);
            let yours = compile(&graph, one.setting())?;
            let net = net::read(&one, graph, cx).await?;
            let found = timing::tune(&net, &yours, &one, cx).await?;
            let label = format!("{name}, {tune} more tiles: the winner against the usual one, measured again");
            report.metrics.push(
                metric(Family::Time, &format!("tuned_{id}_{tune}"), &label, median(&found.confirmed), "×")
                    .higher()
                    .baseline(found.claimed)
                    .measured(found.confirmed),
            );
            let label = format!("{name}, {tune} more tiles: the search");
            report.metrics.push(
                metric(Family::Time, &format!("tune_ms_{id}_{tune}"), &label, found.spent, "ms")
                    .lower()
                    .measured(vec![found.spent]),
            );
        }
    }
    Ok(())
}
