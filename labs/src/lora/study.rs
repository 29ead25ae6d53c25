//! Every method at several learning rates, over seeds: a seed draws the factors and the order of the text. All arms of a seed
//! read the same text in the same order.

use lab_api::{Axis, Cell, Chart, ChartBody, Family, Kind as MetricKind, LabError, Metric, Report, Series, Table};
use lab_kit::{
    Context,
    adapters::{
        Method as Kind, Nf4, Setting, Storage, Targets,
        many::{Pair as Factors, by_row, grouped},
        merge, merged_weights,
    },
    measure::samples,
    mlp::read,
    models::{KvCache, StateDict},
    report::{MetricExt, metric, thousands},
    stats::{median, median_interval},
};

use super::{
    Domain, Params,
    arm::Arm,
    judge::{Judged, LEVEL},
    material::{Material, is_stored, stored},
    merging::{self, moved, way},
};

const SEEDS: u64 = 3;
/// Arms beside the main comparison: one seed is enough for what is said of them.
const ONCE: [&str; 17] = [
    "full_c",
    "r2_b",
    "r16_b",
    "bottleneck_a",
    "bottleneck_b",
    "upper_full",
    "upper_r8",
    "bias_b",
    "norm_b",
    "head_a",
    "prompt_b",
    "prefix_b",
    "qv_b",
    "attention_b",
    "mlp_b",
    "r64_thin",
    "nf4_fast",
];
/// Windows of each text that judge.
const WINDOWS: usize = 24;
const STEPS: usize = 40;

struct Plan {
    id: &'static str,
    label: &'static str,
    method: Kind,
    rank: usize,
    scale: f32,
    targets: Targets,
    rate: f64,
    base: Storage,
    upper: bool,
}

fn plans() -> Vec<Plan> {
    let plan = |id, label, method, rank, rate| Plan {
        id,
        label,
        method,
        rank,
        scale: 2.0,
        targets: Targets::All,
        rate,
        base: Storage::Fp32,
        upper: false,
    };
    let lora = |id, label, rank, rate| plan(id, label, Kind::LowRank, rank, rate);
    let on = |id, label, targets, rate| Plan { targets, ..lora(id, label, 8, rate) };
    vec![
        plan("full_a", "All weights, rate 0.0003", Kind::Full, 1, 3e-4),
        plan("full_m", "All weights, rate 0.0006", Kind::Full, 1, 6e-4),
        plan("full_b", "All weights, rate 0.001", Kind::Full, 1, 1e-3),
        plan("full_c", "All weights, rate 0.002", Kind::Full, 1, 2e-3),
        lora("r64_a", "LoRA, rank 64, rate 0.001", 64, 1e-3),
        lora("r64_b", "LoRA, rank 64, rate 0.003", 64, 3e-3),
        lora("r8_a", "LoRA, rank 8, rate 0.003", 8, 3e-3),
        lora("r8_b", "LoRA, rank 8, rate 0.01", 8, 1e-2),
        lora("r1_a", "LoRA, rank 1, rate 0.01", 1, 1e-2),
        lora("r1_b", "LoRA, rank 1, rate 0.03", 1, 3e-2),
        lora("r2_b", "LoRA, rank 2, rate 0.01", 2, 1e-2),
        lora("r16_b", "LoRA, rank 16, rate 0.007", 16, 7e-3),
        plan("dora_a", "DoRA, rank 8, rate 0.003", Kind::Decomposed, 8, 3e-3),
        plan("bias_a", "Biases, rate 0.03", Kind::Bias, 1, 3e-2),
        plan("bias_b", "Biases, rate 0.1", Kind::Bias, 1, 1e-1),
        plan("norm_b", "Norm gains, rate 0.1", Kind::Norms, 1, 1e-1),
        plan("head_a", "Output matrix, rate 0.003", Kind::Head, 1, 3e-3),
        plan("prompt_b", "Prompt of 8 rows, rate 0.3", Kind::Prompt, 8, 3e-1),
        plan("prefix_b", "Prefix of 8 rows, rate 0.3", Kind::Prefix, 8, 3e-1),
        plan("bottleneck_a", "Bottlenecks of width 8, rate 0.003", Kind::Bottleneck, 8, 3e-3),
        plan("bottleneck_b", "Bottlenecks of width 8, rate 0.01", Kind::Bottleneck, 8, 1e-2),
        on("qv_b", "LoRA, rank 8, queries and values, rate 0.01", Targets::QueryValue, 1e-2),
        on("attention_b", "LoRA, rank 8, attention, rate 0.01", Targets::Attention, 1e-2),
        on("mlp_a", "LoRA, rank 8, feed-forward, rate 0.003", Targets::FeedForward, 3e-3),
        on("mlp_b", "LoRA, rank 8, feed-forward, rate 0.01", Targets::FeedForward, 1e-2),
        Plan { scale: 0.25, ..lora("r64_thin", "LoRA, rank 64, alpha / rank = 0.25, rate 0.001", 64, 1e-3) },
        Plan { base: Storage::Nf4, ..lora("nf4", "LoRA, rank 8, on an NF4 base, rate 0.003", 8, 3e-3) },
        Plan { base: Storage::Nf4, ..lora("nf4_fast", "LoRA, rank 8, on an NF4 base, rate 0.01", 8, 1e-2) },
        Plan { upper: true, ..plan("upper_full", "Upper case: all weights, rate 0.0006", Kind::Full, 1, 6e-4) },
        Plan { upper: true, ..lora("upper_r8", "Upper case: LoRA, rank 8, rate 0.003", 8, 3e-3) },
    ]
}

/// Values of the seeds by name, in the order in which they came.
#[derive(Default)]
struct Found(Vec<(String, String, &'static str, Vec<f64>)>);

impl Found {
    fn push(&mut self, id: &str, label: &str, unit: &'static str, value: f64) {
        match self.0.iter_mut().find(|(known, ..)| known == id) {
            Some((.., values)) => values.push(value),
            None => self.0.push((id.to_owned(), label.to_owned(), unit, vec![value])),
        }
    }

    fn losses(&mut self, id: &str, label: &str, judged: &Judged) {
        self.push(&format!("new_{id}"), &format!("{label}: new text"), "nats", judged.new_loss());
        self.push(&format!("old_{id}"), &format!("{label}: old text"), "nats", judged.old_loss());
    }

    fn values(&self, id: &str) -> &[f64] {
        self.0.iter().find(|(known, ..)| known == id).map_or(&[], |(.., values)| values)
    }

    fn median(&self, id: &str) -> f64 {
        median(self.values(id))
    }
}

pub(super) async fn run(cx: &mut Context) -> Result<Report, LabError> {
    let (seed_before, mut found, plans) = (cx.seed, Found::default(), plans());
    let mut materials = Vec::new();
    for domain in [Domain::Underscores, Domain::Upper] {
        materials.push(load(domain, cx).await?);
    }
    let mut numbers = vec![0; plans.len()];
    for seed in 0..SEEDS {
        cx.seed = seed;
        for (material, id) in materials.iter().zip(["before", "upper_before"]) {
            let before = Judged::of(&material.model(Storage::Fp32, &cx.device)?, material, cx).await?;
            found.losses(id, "Before", &before);
        }
        for (at, plan) in plans.iter().enumerate() {
            if seed > 0 && ONCE.contains(&plan.id) {
                continue;
            }
            let done = (seed as f64 + at as f64 / plans.len() as f64) / SEEDS as f64;
            cx.progress(&format!("Seed {seed}: {}", plan.label), done);
            numbers[at] = one(plan, &materials[usize::from(plan.upper)], &mut found, cx).await?;
        }
        compare(&mut found);
    }
    cx.seed = seed_before;
    served(&materials[0], &mut found, cx).await?;
    let over_seeds = |(id, label, unit, values): &(String, String, &'static str, Vec<f64>)| -> Metric {
        let family = if *unit == "ms" { Family::Time } else { Family::Quality };
        let mut all = metric(family, id, label, median(values), unit)
            .interval(median_interval(values, LEVEL, &mut cx.rng(id)))
            .measured(values.clone());
        if *unit != "ms" {
            all.kind = MetricKind::Trained;
        }
        all
    };
    let mut metrics: Vec<Metric> = found.0.iter().map(over_seeds).collect();
    for (plan, numbers) in plans.iter().zip(&numbers) {
        let label = format!("{}: numbers that learn", plan.label);
        metrics.push(metric(Family::Scale, &format!("numbers_{}", plan.id), &label, *numbers as f64, "numbers"));
    }
    Ok(Report {
        metrics,
        tables: vec![table(&plans, &numbers, &found)],
        charts: vec![forgetting(&found), by_numbers(&plans, &numbers, &found)],
        notes: Vec::new(),
    })
}

async fn load(domain: Domain, cx: &Context) -> Result<Material, LabError> {
    Material::load_with(&Params { domain, ..Params::default() }, WINDOWS, cx).await
}

/// Trains and judges one arm; gives back how many numbers learned.
async fn one(plan: &Plan, material: &Material, found: &mut Found, cx: &Context) -> Result<usize, LabError> {
    let setting = Setting { method: plan.method, rank: plan.rank, scale: plan.scale, targets: plan.targets };
    let mut arm = Arm::begin(plan.label.into(), setting, (plan.rate, STEPS), plan.base, material, cx)?;
    for _ in 0..STEPS {
        arm.advance(cx).await?;
    }
    found.losses(plan.id, plan.label, &Judged::of(&arm.model(), material, cx).await?);
    match plan.id {
        "nf4" => merges_of_nf4("", &arm, material, found, cx).await?,
        "nf4_fast" => merges_of_nf4("fast_", &arm, material, found, cx).await?,
        "r8_a" => merges_of_fp32(&arm, material, found, cx).await?,
        _ => {}
    }
    Ok(arm.numbers)
}

/// Five ways back from an adapter that learned on an NF4 base.
async fn merges_of_nf4(
    prefix: &str,
    arm: &Arm,
    material: &Material,
    found: &mut Found,
    cx: &Context,
) -> Result<(), LabError> {
    let base = stored(&material.weights, Storage::Nf4);
    let sum = merged_weights(&arm.model().weights().await?, &arm.setting)?;
    let original = moved(&material.weights, &base, &sum);
    for (id, label, from, sum, storage) in [
        ("base_bf16", "Merged into the NF4 base, kept in BF16", &base, &sum, Storage::Bf16),
        ("base_nf4", "Merged into the NF4 base, NF4 again", &base, &sum, Storage::Nf4),
        (
            "original_fp32",
            "Merged into the weights as shipped, kept in FP32",
            &material.weights,
            &original,
            Storage::Fp32,
        ),
        ("original_nf4", "Merged into the weights as shipped, then NF4", &material.weights, &original, Storage::Nf4),
    ] {
        let (id, label) = (format!("{prefix}{id}"), format!("{}: {label}", arm.name));
        let way = way(&label, from, sum, (material, storage), cx).await?;
        found.losses(&id, &label, &way.judged);
        found.push(&format!("kept_{id}"), &format!("{label}: share kept"), "%", 100.0 * way.kept);
    }
    found.push(
        &format!("{prefix}change"),
        &format!("{}: size of the change", arm.name),
        "%",
        100.0 * merging::relative(&base, &sum),
    );
    if !prefix.is_empty() {
        return Ok(());
    }
    let mut old_scales = sum.clone();
    for (name, weight) in material.weights.iter().filter(|(name, _)| is_stored(name)) {
        if let Some(place) = old_scales.get_mut(name) {
            place.values = Nf4::encode(&weight.values).again(&place.values).decode();
        }
    }
    let label = "Merged into the NF4 base, the old scales";
    let model = material.loaded(&old_scales, &cx.device)?;
    found.losses("base_old_scales", label, &Judged::of(&model, material, cx).await?);
    let alone = Judged::of(&material.loaded(&base, &cx.device)?, material, cx).await?;
    found.losses("nf4_before", "The NF4 base before", &alone);
    Ok(())
}

/// An adapter that learned in FP32, stored in fewer bits; and which share of a smaller change a grid would keep.
async fn merges_of_fp32(arm: &Arm, material: &Material, found: &mut Found, cx: &Context) -> Result<(), LabError> {
    let sum = merged_weights(&arm.model().weights().await?, &arm.setting)?;
    for (id, name, storage) in [
        ("fp16", "FP16", Storage::Fp16),
        ("bf16", "BF16", Storage::Bf16),
        ("int8", "INT8", Storage::Int8),
        ("int4", "INT4", Storage::Int4),
        ("stored_nf4", "NF4", Storage::Nf4),
    ] {
        let way = way(name, &material.weights, &sum, (material, storage), cx).await?;
        found.losses(&format!("merged_{id}"), &format!("Merged in FP32, stored in {name}"), &way.judged);
        let on_grid = stored(&material.weights, storage);
        for (per_mille, words) in [(1000, "whole"), (100, "a tenth"), (10, "a hundredth")] {
            let smaller = scaled(&material.weights, &sum, per_mille as f32 / 1000.0);
            let smaller = moved(&on_grid, &material.weights, &smaller);
            let kept = merging::kept(&on_grid, &smaller, storage);
            let label = format!("{name}: share kept of {words} change of weights on the grid");
            found.push(&format!("grid_{id}_{per_mille}"), &label, "%", 100.0 * kept);
        }
    }
    Ok(())
}

/// `base + share · (sum - base)`.
fn scaled(base: &StateDict, sum: &StateDict, share: f32) -> StateDict {
    let mut all = base.clone();
    for (name, weight) in sum.iter() {
        if let Some(place) = all.get_mut(name) {
            place.values.iter_mut().zip(&weight.values).for_each(|(w, sum)| *w += share * (sum - *w));
        }
    }
    all
}

/// Whether an arm ran in the last seed.
fn ran(found: &Found, id: &str) -> bool {
    found.values(&format!("new_{id}")).len() == found.values("new_before").len()
}

/// What the last seed says of methods beside each other.
fn compare(found: &mut Found) {
    let last = |found: &Found, id: &str| found.values(id).last().copied().unwrap_or_default();
    let before = last(found, "new_before");
    let mut curve = vec![[before, last(found, "old_before")]];
    for id in ["full_a", "full_m", "full_b"] {
        curve.push([last(found, &format!("new_{id}")), last(found, &format!("old_{id}"))]);
    }
    let gain = before - curve[3][0];
    for (id, label) in [
        ("r64_a", "LoRA, rank 64, lower rate"),
        ("r64_b", "LoRA, rank 64, higher rate"),
        ("r8_a", "LoRA, rank 8, lower rate"),
        ("r8_b", "LoRA, rank 8, higher rate"),
        ("r1_a", "LoRA, rank 1, lower rate"),
        ("r1_b", "LoRA, rank 1, higher rate"),
        ("mlp_a", "LoRA, rank 8, feed-forward, lower rate"),
        ("mlp_b", "LoRA, rank 8, feed-forward, higher rate"),
        ("bias_a", "Biases, lower rate"),
        ("bias_b", "Biases, higher rate"),
        ("norm_b", "Norm gains"),
        ("head_a", "Output matrix"),
        ("bottleneck_b", "Bottlenecks"),
        ("dora_a", "DoRA, rank 8"),
        ("prompt_b", "Prompt"),
        ("prefix_b", "Prefix"),
    ] {
        if !ran(found, id) {
            continue;
        }
        let (new, old) = (last(found, &format!("new_{id}")), last(found, &format!("old_{id}")));
        let full = old_at(new, &curve);
        found.push(
            &format!("forgot_{id}"),
            &format!("{label}: old loss beyond all weights at the same new loss"),
            "nats",
            old - full,
        );
        let share = 100.0 * (before - new) / gain;
        found.push(&format!("share_{id}"), &format!("{label}: share of the gain of all weights"), "%", share);
    }
    for (id, one, other, label) in [
        ("factor_qv", "new_qv_b", "new_r1_a", "Queries and values at rank 8, beyond all matrices at rank 1"),
        ("factor_mlp", "new_mlp_b", "new_attention_b", "Feed-forward beyond attention, rank 8"),
        ("thin", "new_r64_thin", "new_r64_a", "Rank 64: alpha / rank beyond alpha / root of the rank"),
        ("dora", "new_dora_a", "new_r8_a", "DoRA beyond LoRA, rank 8"),
        ("nf4_cost", "new_nf4", "new_r8_a", "NF4 base beyond FP32 base"),
        ("old_r8", "old_r8_b", "old_full_b", "Old text: rank 8 beyond all weights, highest rates"),
        ("new_r8", "new_r8_b", "new_full_b", "New text: rank 8 beyond all weights, highest rates"),
    ] {
        if !ran(found, &one[4..]) || !ran(found, &other[4..]) {
            continue;
        }
        let gap = last(found, one) - last(found, other);
        found.push(&format!("gap_{id}"), label, "nats", gap);
    }
}

/// The old loss of a line through points `[new, old]`, the highest new loss first, at a new loss; beyond its ends it goes on.
fn old_at(new: f64, line: &[[f64; 2]]) -> f64 {
    let piece = line.windows(2).find(|piece| new > piece[1][0]).or(line.windows(2).next_back());
    let Some([[x0, y0], [x1, y1]]) = piece else { return 0.0 };
    y0 + (y1 - y0) * (new - x0) / (x1 - x0)
}

/// Eight rows of a batch, with one to eight adapters of rank 8 among them: what their factors take beside the base, and what
/// merging one of them takes.
async fn served(material: &Material, found: &mut Found, cx: &Context) -> Result<(), LabError> {
    const ROWS: usize = 8;
    const RANK: usize = 8;
    let shapes: Vec<(usize, usize)> = material
        .config
        .shapes()
        .into_iter()
        .filter(|(name, _)| is_stored(name))
        .map(|(_, shape)| (shape[0], shape[1]))
        .collect();
    let x = vec![0.5_f32; ROWS * shapes.iter().map(|(m, n)| *m.max(n)).max().unwrap_or(0)];
    let factors = |(m, n): (usize, usize)| Factors { a: vec![0.01; RANK * n], b: vec![0.02; m * RANK] };
    let adapters: Vec<Vec<Factors>> = shapes.iter().map(|shape| (0..ROWS).map(|_| factors(*shape)).collect()).collect();
    for count in [1, 2, 4, 8] {
        let of_row: Vec<usize> = (0..ROWS).map(|row| row % count).collect();
        for (id, label, is_grouped) in [("rows", "row by row", false), ("grouped", "grouped", true)] {
            let mut y = x.clone();
            let all = samples(cx, 60.0, async || {
                for ((m, n), adapters) in shapes.iter().zip(&adapters) {
                    let (x, y) = (&x[..ROWS * n], &mut y[..ROWS * m]);
                    if is_grouped {
                        grouped(adapters, &of_row, x, y, (*m, *n));
                    } else {
                        by_row(adapters, &of_row, x, y, (*m, *n));
                    }
                    std::hint::black_box(&y);
                }
                Ok(())
            });
            for ms in all.await? {
                found.push(
                    &format!("serve_{id}_{count}"),
                    &format!("Factors of {count} adapters for 8 rows, {label}"),
                    "ms",
                    ms,
                );
            }
        }
    }
    let model = material.model(Storage::Fp32, &cx.device)?;
    let texts = [&material.old[0][..32]; ROWS];
    let mut cache = KvCache::new(&material.config, ROWS, 33, &cx.device)?;
    read(model.next(model.tokens(&texts, &cx.device)?, &mut cache)?).await?;
    let base = samples(cx, 150.0, async || {
        cache.truncate(32);
        let tokens = model.tokens(&[&material.old[0][..1]; ROWS], &cx.device)?;
        read(model.next(tokens, &mut cache)?).await.map(drop)
    });
    for ms in base.await? {
        found.push("serve_base", "The base: one token of 8 rows", "ms", ms);
    }
    let merging = samples(cx, 100.0, async || {
        for ((m, n), adapters) in shapes.iter().zip(&adapters) {
            std::hint::black_box(merge(&vec![0.0; m * n], &adapters[0].a, &adapters[0].b, 1.0, (*m, *n, RANK)));
        }
        Ok(())
    });
    for ms in merging.await? {
        found.push("merge_ms", "Merging one adapter of rank 8 into all matrices", "ms", ms);
    }
    Ok(())
}

fn table(plans: &[Plan], numbers: &[usize], found: &Found) -> Table {
    let of = |id: &str, what: &str| Cell::from(found.median(&format!("{what}_{id}")));
    let mut rows = vec![vec![Cell::from("Before"), "none".into(), of("before", "new"), of("before", "old")]];
    rows.extend(plans.iter().zip(numbers).map(|(plan, numbers)| {
        vec![Cell::from(plan.label), thousands(*numbers).into(), of(plan.id, "new"), of(plan.id, "old")]
    }));
    Table {
        id: "arms".into(),
        title: "Every arm, medians over seeds".into(),
        columns: ["Arm", "Numbers that learned", "New text (nats)", "Old text (nats)"].map(str::to_owned).to_vec(),
        rows,
    }
}

/// One line for each method, a point for each learning rate.
fn forgetting(found: &Found) -> Chart {
    let line = |(name, ids): (&str, &[&str])| Series {
        name: name.into(),
        points: ids.iter().map(|id| [found.median(&format!("old_{id}")), found.median(&format!("new_{id}"))]).collect(),
        band: Vec::new(),
    };
    let lines: [(&str, &[&str]); 6] = [
        ("All weights", &["before", "full_a", "full_m", "full_b"]),
        ("LoRA, rank 64", &["before", "r64_a", "r64_b"]),
        ("LoRA, rank 8", &["before", "r8_a", "r8_b"]),
        ("LoRA, rank 1", &["before", "r1_a", "r1_b"]),
        ("LoRA, rank 8, feed-forward", &["before", "mlp_a", "mlp_b"]),
        ("Biases", &["before", "bias_a", "bias_b"]),
    ];
    Chart {
        id: "forgetting".into(),
        title: "Who forgets least at the same learning?".into(),
        caption: "Losses on unseen text, medians over seeds. Each line begins at the model before; its points are learning rates, the lowest first. Lower lines are better.".into(),
        x: Axis::linear("Loss on the old text (nats)"),
        y: Axis::linear("Loss on the new text (nats)"),
        body: ChartBody::Line { series: lines.into_iter().map(line).collect() },
    }
}

fn by_numbers(plans: &[Plan], numbers: &[usize], found: &Found) -> Chart {
    let point = |id: &&str| {
        let at = plans.iter().position(|plan| plan.id == *id)?;
        Some([numbers[at] as f64, found.median(&format!("new_{id}"))])
    };
    let series = |name: &str, ids: &[&str]| Series {
        name: name.into(),
        points: ids.iter().filter_map(point).collect(),
        band: Vec::new(),
    };
    Chart {
        id: "numbers".into(),
        title: "How many numbers does a new habit need?".into(),
        caption: "Loss on the new text, each method at the better of its learning rates, medians over seeds.".into(),
        x: Axis::log("Numbers that learn"),
        y: Axis::linear("Loss on the new text (nats)"),
        body: ChartBody::Scatter {
            series: vec![
                series("All weights", &["full_b"]),
                series("LoRA, all matrices", &["r1_a", "r2_b", "r8_b", "r16_b", "r64_b"]),
                series("LoRA, some matrices", &["qv_b", "attention_b", "mlp_b"]),
                series("Norm gains, biases, output matrix", &["norm_b", "bias_b", "head_a"]),
                series("Prompt, prefix, bottlenecks", &["prompt_b", "prefix_b", "bottleneck_b"]),
            ],
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_twin_is_read_between_its_points_and_arms_are_named_once() {
        let line = [[4.0, 2.0], [3.0, 2.5], [2.0, 4.0]];
        let near = |new, old: f64| assert!((old_at(new, &line) - old).abs() < 1e-12, "{new}");
        near(4.0, 2.0);
        near(3.5, 2.25);
        near(2.5, 3.25);
        near(1.5, 4.75);
        let ids: std::collections::BTreeSet<&str> = plans().iter().map(|plan| plan.id).collect();
        assert_eq!(ids.len(), plans().len());
        assert!(ONCE.iter().all(|id| ids.contains(id)));
    }
}
