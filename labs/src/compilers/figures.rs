//! Charts and tables.

use lab_api::{Axis, BarSeries, Cell, Chart, ChartBody, LabError, Series, Span, Table};
use lab_kit::{
    graph::{Counts, Fuse, Graph, Kernel, Life, Op, Passes, Program, Strategy, bound, compile, height, plan},
    stats::median,
};

use super::{Model, Params, net, timing::Times};

/// Lines of a memory map.
const LINES: usize = 10;

fn chart(id: &str, title: &str, caption: &str, (x, y): (Axis, Axis), body: ChartBody) -> Chart {
    Chart { id: id.into(), title: title.into(), caption: caption.into(), x, y, body }
}

fn table(id: &str, title: &str, columns: &[&str], rows: Vec<Vec<Cell>>) -> Table {
    Table { id: id.into(), title: title.into(), columns: columns.iter().map(|c| (*c).to_owned()).collect(), rows }
}

/// Bytes in words: `0.98 MB`, `7.7 KB`.
pub(super) fn bytes(count: usize) -> String {
    if count < 100_000 { format!("{:.1} KB", count as f64 / 1e3) } else { format!("{:.2} MB", count as f64 / 1e6) }
}

/// What an operation is called, and its colour.
fn name(op: &Op) -> (&'static str, usize) {
    match op {
        Op::Product | Op::Convolution => ("product", 0),
        Op::Reduce(_) | Op::Pool => ("reduction", 2),
        Op::Unary(_) | Op::Binary(_) => ("elementwise", 1),
        _ => ("copy", 3),
    }
}

/// A memory map: lines are parts of the arena, the highest address above; in each, whichever buffer has most of it.
pub(super) fn map(id: &str, title: &str, caption: &str, program: &Program) -> Chart {
    let (steps, arena) = (program.kernels.len(), program.counts.arena.max(1));
    let edge = |line: usize| line * arena / LINES;
    let mut spans: Vec<Span> = Vec::new();
    for line in 0..LINES {
        let mut before: Option<usize> = None;
        for step in 0..steps {
            let within = |i: &usize| {
                let buffer = &program.buffers[*i];
                let (from, to) =
                    (buffer.offset.max(edge(line)), (buffer.offset + buffer.life.size).min(edge(line + 1)));
                let lives = buffer.life.first <= step && step <= buffer.life.last;
                if lives { to.saturating_sub(from) } else { 0 }
            };
            // A twentieth of the line, or it counts as free.
            let most = (0..program.buffers.len()).max_by_key(within).filter(|i| 20 * LINES * within(i) >= arena);
            if let Some(i) = most {
                if before != most {
                    let root = program.buffers[i].roots[0];
                    let (word, colour) = name(&program.graph.nodes[root].op);
                    let label = format!("{word}, {}", bytes(program.buffers[i].life.size));
                    spans.push(Span { lane: LINES - 1 - line, start: step as f64, end: step as f64, label, colour });
                }
                if let Some(span) = spans.last_mut() {
                    span.end = (step + 1) as f64;
                }
            }
            before = most;
        }
    }
    let lanes = (0..LINES).rev().map(|line| format!("from {}", bytes(edge(line)))).collect();
    let words = format!(
        "{caption} {} in all; products, elementwise results, reductions and copies have four colours.",
        bytes(arena)
    );
    chart(id, title, &words, (Axis::linear("Kernels run"), Axis::linear("Address")), ChartBody::Gantt { lanes, spans })
}

/// Passes as they join one after the other; in the words of the page.
pub(super) fn stages(params: &Params) -> Vec<(&'static str, Passes)> {
    let mut setting = Passes::NONE;
    let mut all = vec![("no pass", setting)];
    let mine = params.setting();
    let mut push = |name, change: &dyn Fn(&mut Passes)| {
        let before = setting;
        change(&mut setting);
        if setting != before {
            all.push((name, setting));
        }
    };
    push("plan", &|s| s.plan = mine.plan);
    push("fold", &|s| s.fold = mine.fold);
    push("cse", &|s| s.cse = mine.cse);
    push("dead", &|s| s.dead = mine.dead);
    for (name, level) in
        [("elementwise", Fuse::Elementwise), ("reductions", Fuse::Reductions), ("epilogues", Fuse::Epilogues)]
    {
        push(name, &|s| s.fuse = level.min(mine.fuse));
    }
    push("in place", &|s| s.in_place = mine.in_place);
    push("merge", &|s| s.merge = mine.merge);
    push("order", &|s| s.order = mine.order);
    all
}

/// The network pass by pass.
pub(super) fn passes(graph: &Graph, params: &Params) -> Result<Chart, LabError> {
    // All orders of many buffers are tried at the end alone.
    let light = |plan| if plan == Strategy::Exact { Strategy::BySize } else { plan };
    let mut counts: Vec<(&str, Counts)> = Vec::new();
    for (name, setting) in stages(params) {
        counts.push((name, compile(graph, Passes { plan: light(setting.plan), ..setting })?.counts));
    }
    let first = counts[0].1;
    let share = |name: &str, of: &dyn Fn(&Counts) -> usize| {
        let values = counts.iter().map(|(_, counts)| 100.0 * of(counts) as f64 / of(&first).max(1) as f64).collect();
        BarSeries { name: name.into(), values, intervals: Vec::new() }
    };
    Ok(chart(
        "passes",
        "What does each pass save?",
        "Each pass joins those to its left. Kernels, bytes moved and the arena, in per cent of the network without any pass. Some passes change nothing: look which.",
        (Axis::linear("Pass"), Axis { min: Some(0.0), ..Axis::linear("Left (%)") }),
        ChartBody::Bar {
            categories: counts.iter().map(|(name, _)| (*name).to_owned()).collect(),
            series: vec![
                share("kernels", &|c| c.kernels),
                share("bytes moved", &|c| c.traffic),
                share("memory", &|c| c.arena),
                share("arithmetic", &|c| c.flops),
            ],
        },
    ))
}

/// Memory over the length of the text, or the number of images.
pub(super) fn lengths(params: &Params) -> Result<Chart, LabError> {
    let images = matches!(params.model, Model::Cnn | Model::Mlp);
    let sizes: [u32; 7] = if images { [1, 2, 4, 8, 16, 32, 64] } else { [4, 8, 16, 32, 64, 128, 256] };
    let (mut mine, mut apart) = (Vec::new(), Vec::new());
    for size in sizes {
        let graph = net::graph(&Params { length: size, batch: size, ..params.clone() });
        let setting = params.setting();
        let plan = if setting.plan == Strategy::Exact { Strategy::BySize } else { setting.plan };
        mine.push([f64::from(size), compile(&graph, Passes { plan, ..setting })?.counts.arena as f64 / 1e6]);
        apart.push([f64::from(size), compile(&graph, Passes::NONE)?.counts.arena as f64 / 1e6]);
    }
    let line = |name: &str, points| Series { name: name.into(), points, band: Vec::new() };
    Ok(chart(
        "lengths",
        "How does memory grow?",
        "Your program against the network without reuse; both axes are logarithmic. Where the line bends upwards, tables of scores have taken over.",
        (Axis::log(if images { "Images" } else { "Tokens" }), Axis::log("Memory (MB)")),
        ChartBody::Line { series: vec![line("Without reuse", apart), line("Yours", mine)] },
    ))
}

/// Total time over the number of runs.
pub(super) fn paid(times: &Times) -> Chart {
    let far = times.paid_after().map_or(100.0, |n| (2.0 * n).clamp(10.0, 100_000.0)).ceil();
    let line = |name: &str, start: f64, step: f64| Series {
        name: name.into(),
        points: (0..=10).map(|i| [far * f64::from(i) / 10.0, start + far * f64::from(i) / 10.0 * step]).collect(),
        band: Vec::new(),
    };
    let step = |i: usize| median(&times.steps[i]);
    chart(
        "paid",
        "After how many runs has it paid?",
        "Time in all: compiling once, then so many runs at the median of those measured here. Where the lines cross, the compiler has earned its own time.",
        (Axis::linear("Runs"), Axis { min: Some(0.0), ..Axis::linear("Time in all (ms)") }),
        ChartBody::Line {
            series: vec![
                line("No compiler: a buffer for each result", 0.0, step(0)),
                line("The same kernels in one arena", median(&times.compiling[0]), step(1)),
                line("Yours", times.cost(), step(2)),
            ],
        },
    )
}

/// What the operations of a kernel are.
fn words(graph: &Graph, kernel: &Kernel) -> String {
    let word = |op: &Op| match op {
        Op::Unary(op) => format!("{op:?}").split('(').next().unwrap_or_default().to_lowercase(),
        Op::Binary(op) => format!("{op:?}").to_lowercase(),
        Op::Reduce(op) => format!("{op:?} of a row").to_lowercase(),
        Op::Write { .. } => "write".into(),
        op => format!("{op:?}").to_lowercase(),
    };
    kernel.nodes.iter().map(|id| word(&graph.nodes[*id].op)).collect::<Vec<_>>().join(", ")
}

/// The first kernels of a program: about one layer.
pub(super) fn kernels(program: &Program) -> Table {
    let row = |(i, kernel): (usize, &Kernel)| {
        let shape = kernel.nodes.last().map(|id| program.graph.nodes[*id].shape).unwrap_or_default();
        let shape = shape.into_iter().skip_while(|size| *size == 1).map(|size| size.to_string()).collect::<Vec<_>>();
        vec![
            Cell::from((i + 1) as f64),
            words(&program.graph, kernel).as_str().into(),
            shape.join(" × ").as_str().into(),
        ]
    };
    table(
        "kernels",
        "What does each kernel join? The first 16",
        &["Kernel", "Operations", "Result"],
        program.kernels.iter().enumerate().take(16).map(row).collect(),
    )
}

/// Each pass alone, and all but it.
pub(super) fn each_pass(graph: &Graph, params: &Params) -> Result<Table, LabError> {
    let all = Passes {
        fold: true,
        cse: true,
        dead: true,
        merge: true,
        fuse: Fuse::Epilogues,
        in_place: true,
        plan: Strategy::BySize,
        order: params.order,
    };
    let none = Passes { plan: Strategy::BySize, ..Passes::NONE };
    let changes: [(&str, [Passes; 2]); 6] = [
        ("fold", [Passes { fold: true, ..none }, Passes { fold: false, ..all }]),
        ("cse", [Passes { cse: true, ..none }, Passes { cse: false, ..all }]),
        ("dead", [Passes { dead: true, ..none }, Passes { dead: false, ..all }]),
        ("fuse", [Passes { fuse: Fuse::Epilogues, ..none }, Passes { fuse: Fuse::None, ..all }]),
        ("merge", [Passes { merge: true, ..none }, Passes { merge: false, ..all }]),
        ("in place", [Passes { in_place: true, ..none }, Passes { in_place: false, ..all }]),
    ];
    let of = |setting| compile(graph, setting).map(|program| program.counts);
    let mut rows = Vec::new();
    for (name, [alone, without]) in [("none of them, all of them", [none, all])].into_iter().chain(changes) {
        let (alone, without) = (of(alone)?, of(without)?);
        rows.push(vec![
            name.into(),
            Cell::from(alone.kernels as f64),
            bytes(alone.arena).as_str().into(),
            Cell::from(without.kernels as f64),
            bytes(without.arena).as_str().into(),
        ]);
    }
    let columns =
        ["Pass", "Kernels with it alone", "Arena with it alone", "Kernels with all but it", "Arena with all but it"];
    Ok(table("each", "Do gains add up? Each pass alone, and all but it", &columns, rows))
}

/// Six buffers to be placed by hand: A to F.
pub(super) fn six_lives() -> Vec<Life> {
    [(0, 3, 1), (3, 6, 2), (4, 4, 3), (0, 2, 4), (1, 3, 2), (3, 5, 2)]
        .map(|(first, last, size)| Life { first, last, size })
        .to_vec()
}

/// Their plans.
pub(super) fn six() -> Table {
    let lives = six_lives();
    let strategies = [Strategy::None, Strategy::InTime, Strategy::BySize, Strategy::Exact].map(|s| plan(&lives, s));
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    for (i, life) in lives.iter().enumerate() {
        let name = ["A", "B", "C", "D", "E", "F"][i];
        let mut row =
            vec![name.into(), format!("{} to {}", life.first, life.last).as_str().into(), Cell::from(life.size as f64)];
        row.extend(strategies.iter().map(|offsets| Cell::from(offsets[i] as f64)));
        rows.push(row);
    }
    let mut last = vec!["Height".into(), format!("at least {}", bound(&lives)).as_str().into(), "".into()];
    last.extend(strategies.iter().map(|offsets| Cell::from(height(&lives, offsets) as f64)));
    rows.push(last);
    table(
        "six",
        "Six buffers, and where four planners put them",
        &["Buffer", "Steps", "Size", "No reuse", "In time", "By size", "Best"],
        rows,
    )
}
