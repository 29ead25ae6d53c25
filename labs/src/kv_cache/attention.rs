//! One step's attention alone, over caches longer than the model's context: numbers are drawn, since time and bytes hang on
//! shapes alone. Heads as in the language model, computed on the processor.

use lab_api::{Axis, Chart, ChartBody, Family, LabError, Metric, Series};
use lab_kit::{
    Context,
    cache::{Grid, HeadCache, Setting, Turns},
    measure::samples,
    models::LanguageModel,
    report::{MetricExt, metric},
    stats::{median, median_interval},
};
use rand::Rng;

use super::judge::LEVEL;

const LENGTHS: [usize; 4] = [256, 1024, 4096, 8192];
/// Query heads.
const QUERIES: usize = 6;

/// Milliseconds of a layer's attention for one token, by length.
pub(super) struct Curve {
    name: String,
    /// Tokens, bytes read, samples.
    points: Vec<(usize, usize, Vec<f64>)>,
}

/// All that were timed: six heads of keys, two, one; two packed.
pub(super) struct Attention(Vec<Curve>);

pub(super) async fn measure(setting: &Setting, long: bool, cx: &Context) -> Result<Attention, LabError> {
    let lengths = if long { &LENGTHS[..] } else { &LENGTHS[..1] };
    let mut curves: Vec<Curve> = Vec::new();
    for heads in [6, 2, 1] {
        curves.push(curve(heads, Setting::FULL, lengths, cx).await?);
    }
    let mut grid = Setting { residual: 0, keys: setting.keys, values: setting.values, ..Setting::FULL };
    if grid.keys.bits == 32 {
        // Somebody who rounds nothing sees what rounding would do.
        grid = Setting { residual: 0, ..Setting::kivi(4, 0) };
    }
    curves.push(curve(2, grid, lengths, cx).await?);
    Ok(Attention(curves))
}

async fn curve(heads: usize, setting: Setting, lengths: &[usize], cx: &Context) -> Result<Curve, LabError> {
    let config = LanguageModel::full().config;
    let (d, longest) = (config.head_channels(), lengths.iter().copied().max().unwrap_or(1));
    let turns = Turns::new(&config, longest + 1, 1.0);
    let mut rng = cx.rng("rows");
    let mut draw = |n: usize| -> Vec<f32> { (0..n).map(|_| rng.random_range(-1.0..1.0)).collect() };
    let queries = draw(QUERIES * d);
    // Every head is given the same rows, at its own place in memory.
    let rows = [draw(longest * d), draw(longest * d)];
    let mut points = Vec::new();
    let mut caches = vec![HeadCache::new(setting, d, cx.rng("lots")); heads];
    let mut out = vec![0.0; QUERIES * d];
    for length in lengths {
        for cache in &mut caches {
            for i in cache.len()..*length {
                cache.push(i, &rows[0][i * d..(i + 1) * d], &rows[1][i * d..(i + 1) * d], &turns);
            }
            cx.checkpoint().await?;
        }
        let bytes = caches.iter().map(HeadCache::bytes).sum();
        let group = QUERIES / heads * d;
        let took = samples(cx, 12.0, async || {
            for (cache, (query, out)) in caches.iter_mut().zip(queries.chunks(group).zip(out.chunks_mut(group))) {
                cache.attend(query, out, &turns);
            }
            std::hint::black_box(&out);
            Ok(())
        });
        points.push((*length, bytes, took.await?));
    }
    let Grid { bits, .. } = setting.keys;
    let name = match (heads, bits) {
        (6, _) => "6 heads (MHA), FP32".into(),
        (1, _) => "1 head (MQA), FP32".into(),
        (_, 32) => "2 heads (GQA), FP32".into(),
        (_, bits) => format!("2 heads (GQA), {bits} bits"),
    };
    Ok(Curve { name, points })
}

impl Attention {
    pub(super) fn metrics(&self, cx: &Context) -> Vec<Metric> {
        let last = |i: usize| self.0.get(i).and_then(|curve| curve.points.last());
        let (Some(six), Some(two), Some(one), Some(packed)) = (last(0), last(1), last(2), last(3)) else {
            return Vec::new();
        };
        let ratio = |id: &str, label: &str, (a, b): (&[f64], &[f64]), help: &str| {
            let value = median(a) / median(b).max(f64::MIN_POSITIVE);
            metric(Family::Scale, id, label, value, "×").higher().baseline(1.0).measured(vec![value]).help(help)
        };
        let rate = |(_, bytes, ms): &(usize, usize, Vec<f64>)| 1e-6 * *bytes as f64 / median(ms).max(1e-9);
        vec![
            ratio(
                "heads_speedup",
                "Attention, one head instead of six",
                (&six.2, &one.2),
                "Time of one layer's attention for one token over the longest cache that was timed, on the processor.",
            ),
            ratio(
                "packed_speedup",
                "Attention, packed instead of FP32",
                (&two.2, &packed.2),
                "The same with two heads. Each row is unpacked when it is read; below 1 that takes longer than the bytes save.",
            ),
            metric(Family::Time, "attention_ms", "Attention over the longest cache, two heads", median(&two.2), "ms")
                .detail()
                .lower()
                .interval(median_interval(&two.2, LEVEL, &mut cx.rng("attention")))
                .measured(two.2.clone()),
            metric(Family::Utilization, "attention_gb_s", "Cache read by attention, packed", rate(packed), "GB/s")
                .detail()
                .higher()
                .baseline(rate(two))
                .measured(packed.2.iter().map(|ms| 1e-6 * packed.1 as f64 / ms.max(1e-9)).collect())
                .help("The baseline is FP32. Fewer bytes a second and less time, or as much of it: the unpacking is what takes it."),
        ]
    }

    pub(super) fn chart(&self) -> Chart {
        let line = |curve: &Curve| Series {
            name: curve.name.clone(),
            points: curve.points.iter().map(|(n, _, ms)| [*n as f64, median(ms).max(1e-5)]).collect(),
            band: vec![],
        };
        Chart {
            id: "attention".into(),
            title: "What does attention cost when the cache grows?".into(),
            caption: "One layer, one token, six heads of queries, on the processor. Numbers are drawn: time hangs on shapes alone.".into(),
            x: Axis::log("Tokens in the cache"),
            y: Axis::log("Time (ms)"),
            body: ChartBody::Line { series: self.0.iter().map(line).collect() },
        }
    }
}
