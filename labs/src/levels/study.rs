//! The lab's weights drawn again and again: what holds for the draw on the page, and what for most draws.

use lab_api::{Axis, Cell, Chart, ChartBody, Family, Metric, Report, Series, Table};
use lab_kit::{
    Context,
    choices::Placement,
    report::{MetricExt, metric},
    rng,
    stats::{median, median_interval},
};

use super::{
    Params, Range,
    snap::{Snap, grid, weights},
};

/// Draws of the weights; the first is the one on the page.
const DRAWS: u64 = 201;
const LEVEL: f64 = 0.95;
const OUTLIERS: [u32; 3] = [3, 6, 12];
const SCHEMES: [(Placement, &str); 2] = [(Placement::Symmetric, "symmetric"), (Placement::Affine, "affine")];
const RANGES: [(Range, &str); 3] = [(Range::MinMax, "min_max"), (Range::Mse, "mse"), (Range::Hand, "hand")];

/// One setting on every draw.
struct Arm {
    id: String,
    words: String,
    /// Of each draw, dB.
    sqnr_db: Vec<f64>,
    /// On the page: the outermost level in σ, and how many weights became zero.
    reach: f64,
    zeros: usize,
}

pub(super) fn run(cx: &Context) -> Report {
    let mut arms = Vec::new();
    for outlier in OUTLIERS {
        for (scheme, scheme_word) in SCHEMES {
            for (range, range_word) in RANGES {
                let params = Params { scheme, range, outlier: f64::from(outlier), ..Params::default() };
                let words = format!(
                    "outlier {outlier} σ, {scheme_word}, {}",
                    match range {
                        Range::MinMax => "min-max",
                        Range::Mse => "least squared error",
                        Range::Hand => "by hand, scale 0.6",
                    }
                );
                arms.push(Arm::of(&params, format!("{scheme_word}_{range_word}_{outlier}"), words));
            }
        }
    }
    report(&arms, cx)
}

impl Arm {
    fn of(params: &Params, id: String, words: String) -> Self {
        let snap = |seed| {
            let weights = weights(params.outlier as f32, &mut rng(seed, "weights"));
            Snap::of(&weights, grid(params, params.bits, &weights), params.bits, params.scheme.into())
        };
        let shown = snap(0);
        Self {
            id,
            words,
            sqnr_db: (0..DRAWS).map(|seed| snap(seed).sqnr_db()).collect(),
            reach: f64::from(shown.grid.value(shown.grid.highest)),
            zeros: shown.rounded().filter(|value| *value == 0.0).count(),
        }
    }
}

/// Draws in which the first is the better one.
fn ahead(first: &Arm, second: &Arm) -> f64 {
    let pairs = first.sqnr_db.iter().zip(&second.sqnr_db);
    pairs.filter(|(first, second)| first > second).count() as f64
}

fn report(arms: &[Arm], cx: &Context) -> Report {
    let mut report = Report::default();
    let quality = |id: String, label: String, value: f64, unit: &str| metric(Family::Quality, &id, &label, value, unit);
    let middle = |arm: &Arm| median_interval(&arm.sqnr_db, LEVEL, &mut cx.rng(&arm.id));
    for arm in arms {
        let Arm { id, words, .. } = arm;
        let metrics: [Metric; 4] = [
            quality(format!("sqnr_{id}"), format!("SQNR of the page's draw: {words}"), arm.sqnr_db[0], "dB").higher(),
            quality(format!("median_{id}"), format!("SQNR, median of draws: {words}"), median(&arm.sqnr_db), "dB")
                .higher()
                .interval(middle(arm)),
            quality(format!("reach_{id}"), format!("Outermost level: {words}"), arm.reach, "σ"),
            quality(format!("zeros_{id}"), format!("Weights that became zero: {words}"), arm.zeros as f64, "").lower(),
        ];
        report.metrics.extend(metrics);
    }
    let find = |id: &str| arms.iter().find(|arm| arm.id == id);
    let shares = [
        ("affine_ahead_3", "affine_min_max_3", "symmetric_min_max_3", "the affine grid is ahead at 3 σ"),
        ("affine_ahead_12", "affine_min_max_12", "symmetric_min_max_12", "the affine grid is ahead at 12 σ"),
        ("rises", "symmetric_min_max_12", "symmetric_min_max_6", "the SQNR is higher at 12 σ than at 6 σ"),
        ("search_ahead_6", "symmetric_mse_6", "symmetric_min_max_6", "the search is ahead of min-max at 6 σ"),
    ];
    for (id, first, second, words) in shares {
        if let (Some(first), Some(second)) = (find(first), find(second)) {
            report.metrics.push(quality(
                id.into(),
                format!("Draws, of {DRAWS}, in which {words}"),
                ahead(first, second),
                "",
            ));
        }
    }
    let columns =
        ["Setting", "SQNR on the page (dB)", "Median of draws (dB)", "95 % from", "95 % to", "Reach (σ)", "Zeros"];
    let row = |arm: &Arm| {
        let interval = middle(arm);
        let numbers = [arm.sqnr_db[0], median(&arm.sqnr_db), interval.low, interval.high, arm.reach, arm.zeros as f64];
        std::iter::once(Cell::from(arm.words.as_str())).chain(numbers.map(Cell::from)).collect()
    };
    report.tables.push(Table {
        id: "arms".into(),
        title: format!("The page's draw and {DRAWS} draws, 3 bits"),
        columns: columns.map(str::to_owned).to_vec(),
        rows: arms.iter().map(row).collect(),
    });
    let line = |(scheme, range, name): (&str, &str, &str)| {
        let found = OUTLIERS
            .iter()
            .filter_map(|outlier| find(&format!("{scheme}_{range}_{outlier}")).map(|arm| (outlier, arm)));
        let found: Vec<(&u32, &Arm)> = found.collect();
        Series {
            name: name.into(),
            points: found.iter().map(|(outlier, arm)| [f64::from(**outlier), median(&arm.sqnr_db)]).collect(),
            band: found.iter().map(|(_, arm)| middle(arm)).map(|interval| [interval.low, interval.high]).collect(),
        }
    };
    report.charts.push(Chart {
        id: "outliers".into(),
        title: "What does an outlier do to the ratio?".into(),
        caption: format!("Median over {DRAWS} draws at 3 bits against the size of the outlier. Bands are 95 % intervals of the median."),
        x: Axis::linear("Outlier (σ)"),
        y: Axis::linear("SQNR (dB)"),
        body: ChartBody::Line {
            series: [
                ("symmetric", "min_max", "Symmetric, min-max"),
                ("symmetric", "mse", "Symmetric, least squared error"),
                ("affine", "min_max", "Affine, min-max"),
                ("symmetric", "hand", "By hand, 0.6 σ"),
            ]
            .map(line)
            .to_vec(),
        },
    });
    report
}
