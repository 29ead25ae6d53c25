//! What a budget of operations buys under three published scaling laws: closed forms alone.

mod figures;
#[cfg(feature = "schema")]
mod study;

use lab_api::{Family, LabError, Metric, Report};
use lab_kit::{
    Context, Lab,
    report::{MetricExt, metric},
    scaling::{Allocation as Split, Law, effective, serve_aware},
};
use serde::{Deserialize, Serialize};

/// How fast repeated text loses its worth, in epochs (Muennighoff et al., 2023, arXiv:2305.16264).
const R_STAR: f64 = 15.39;

/// A published law.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Published {
    /// Refit (2024)
    ///
    /// Besiroglu et al.: fitted anew to points read off the published figure.
    Refit,
    /// As printed (2022)
    ///
    /// Hoffmann et al., with the constants of the paper.
    Printed,
    /// Before rounding (2022)
    ///
    /// The same fit, with the digits that its source file holds.
    Unrounded,
}

impl Published {
    /// All of them.
    const ALL: [Self; 3] = [Self::Refit, Self::Printed, Self::Unrounded];

    fn law(self) -> Law {
        match self {
            Self::Refit => Law::REFIT,
            Self::Printed => Law::PRINTED,
            Self::Unrounded => Law::UNROUNDED,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Refit => "Refit (2024)",
            Self::Printed => "As printed (2022)",
            Self::Unrounded => "Before rounding (2022)",
        }
    }
}

/// What a reader may change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params {
    /// Devices
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 200_000)))]
    pub devices: u32,
    /// Days of training
    #[cfg_attr(feature = "schema", schemars(range(min = 0.1, max = 1000.0), extend("x-unit" = "days", "x-step" = 0.1)))]
    pub days: f64,
    /// Peak of a device
    ///
    /// In the precision that you train in. An A100 has 312 in BF16, an H100 989, a TPU v4 275.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.01, max = 10_000.0), extend("x-unit" = "TFLOP/s", "x-step" = 0.01)))]
    pub peak: f64,
    /// Share of it that is reached
    ///
    /// Measure it. From 30 to 50 is usual for large trainings.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 100), extend("x-unit" = "%")))]
    pub reached: u32,
    /// Law
    pub law: Published,
    /// Tokens you own
    ///
    /// Different ones. 0: as many as you need.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 100_000.0), extend("x-unit" = "billion", "x-step" = 0.1)))]
    pub unique: f64,
    /// Tokens you serve
    ///
    /// 0: training is all that you pay for.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 1_000_000.0), extend("x-unit" = "billion", "x-step" = 1.0)))]
    pub served: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { devices: 16, days: 14.0, peak: 312.0, reached: 40, law: Published::Refit, unique: 0.0, served: 0.0 }
    }
}

impl Params {
    /// Operations that the devices do in the time.
    fn flops(&self) -> f64 {
        f64::from(self.devices) * self.days * 86_400.0 * self.peak * 1e12 * f64::from(self.reached) / 100.0
    }
}

/// The lab.
pub struct Allocation;

impl Lab for Allocation {
    const ID: &'static str = "allocation";
    type Params = Params;

    async fn run(params: Params, cx: &mut Context) -> Result<Report, LabError> {
        cx.checkpoint().await?;
        let (flops, law) = (params.flops(), params.law.law());
        let best = law.optimal(flops);
        let mut report = Report {
            metrics: metrics(&law, flops, &best),
            tables: vec![figures::laws(flops)],
            charts: vec![figures::bowl(&law, flops, &best)],
            notes: vec![first_note(flops, &best)],
        };
        text(params.unique * 1e9, &best, &mut report);
        serving(&law, params.served * 1e9, &best, &mut report);
        Ok(report)
    }

    #[cfg(feature = "schema")]
    async fn study(cx: &mut Context) -> Result<Option<Report>, LabError> {
        let _ = cx;
        Ok(Some(study::run()))
    }
}

/// A number that is the same on every device, in its unit.
fn number(family: Family, id: &str, label: &str, value: f64, unit: &str) -> Metric {
    metric(family, id, label, value, unit).exact(1e-6 * (1e-3 + value.abs()), "a closed form of the same numbers")
}

fn metrics(law: &Law, flops: f64, best: &Split) -> Vec<Metric> {
    let off = |factor: f64| law.loss(best.n * factor, best.d / factor) - best.loss;
    vec![
        number(Family::Scale, "flops", "Operations of the budget", flops / 1e21, "10²¹")
            .help("Devices times seconds times the rate that they reach."),
        number(Family::Memory, "weights", "Best size", best.n / 1e9, "billion")
            .help("Weights of the network that ends at the least loss."),
        number(Family::Scale, "tokens", "It reads", best.d / 1e9, "billion tokens"),
        number(Family::Scale, "ratio", "Tokens for each weight", best.d / best.n, ""),
        number(Family::Quality, "loss", "Loss foretold there", best.loss, "nats")
            .lower()
            .help("Of the authors' text and tokens: compare it with other settings, not with yours."),
        number(Family::Quality, "half", "Half the size costs", off(0.5), "nats").lower(),
        number(Family::Quality, "twice", "Twice the size costs", off(2.0), "nats").lower(),
        number(Family::Quality, "more", "Twice the budget brings", best.loss - law.optimal(2.0 * flops).loss, "nats")
            .higher()
            .help("With the best size for it."),
    ]
}

fn first_note(flops: f64, best: &Split) -> String {
    format!(
        "{} operations are best spent on {} weights that read {} tokens, {:.2} for each weight.",
        figures::power(flops),
        figures::count(best.n),
        figures::count(best.d),
        best.d / best.n
    )
}

/// What it means that only `unique` tokens differ; 0: not asked.
fn text(unique: f64, best: &Split, report: &mut Report) {
    if unique <= 0.0 {
        return;
    }
    let (epochs, worth) = (best.d / unique, effective(unique, best.d, R_STAR));
    report.metrics.extend([
        number(Family::Scale, "epochs", "Readings of your text", epochs, "").lower(),
        number(Family::Scale, "worth", "Worth in fresh tokens", worth / 1e9, "billion").higher(),
    ]);
    report.notes.push(if epochs <= 1.0 {
        "Your text is enough: none of it is read twice.".into()
    } else {
        let beyond = if epochs > 4.0 {
            " Beyond four readings, clean and collect text instead of enlarging the network."
        } else {
            ""
        };
        format!(
            "You read your text {epochs:.1} times, for the worth of {} fresh tokens.{beyond}",
            figures::count(worth)
        )
    });
}

/// The cheapest size when `served` tokens follow; 0: not asked.
fn serving(law: &Law, served: f64, best: &Split, report: &mut Report) {
    if served <= 0.0 {
        return;
    }
    let Some((n, d)) = serve_aware(law, best.loss, served, best.n) else { return };
    let cost = |n: f64, d: f64| 6.0 * n * d + 2.0 * n * served;
    let saved = 100.0 * (1.0 - cost(n, d) / cost(best.n, best.d));
    report.metrics.extend([
        number(Family::Memory, "serve_weights", "Cheapest size with serving", n / 1e9, "billion"),
        number(Family::Scale, "serve_tokens", "It reads", d / 1e9, "billion tokens"),
        number(Family::Scale, "serve_saved", "Operations saved in all", saved, "%")
            .higher()
            .help("Training and serving together, at the same loss, against the best size for training alone."),
    ]);
    report.notes.push(format!(
        "For the same loss, training and serving together are cheapest at {} weights on {} tokens.",
        figures::count(n),
        figures::count(d)
    ));
}

#[cfg(test)]
mod tests {
    use lab_kit::testing::{FakeClock, context, ready};

    use super::*;

    fn run(params: Params) -> Report {
        let mut cx = context(std::rc::Rc::new(FakeClock::new(0.1)));
        let report = ready(Allocation::run(params, &mut cx)).expect("runs");
        report.check().expect("sound");
        report
    }

    fn value(report: &Report, id: &str) -> f64 {
        report.metric(id).expect("reported").value
    }

    /// Chinchilla's budget, 5.88e23, whatever buys it.
    fn chinchilla(law: Published) -> Params {
        Params {
            devices: 10_000,
            days: 5.88e23 / (1e4 * 86_400.0 * 3e14),
            peak: 300.0,
            reached: 100,
            law,
            ..Params::default()
        }
    }

    #[test]
    fn one_budget_under_three_laws() {
        // By hand, in the brief: billions of weights and of tokens.
        for (law, weights, tokens) in
            [(Published::Refit, 73.0, 1340.0), (Published::Printed, 32.5, 3020.0), (Published::Unrounded, 40.7, 2410.0)]
        {
            let report = run(chinchilla(law));
            assert!((value(&report, "weights") / weights - 1.0).abs() < 0.005, "{law:?}");
            assert!((value(&report, "tokens") / tokens - 1.0).abs() < 0.005, "{law:?}");
        }
        let report = run(chinchilla(Published::Refit));
        assert!((value(&report, "more") - 0.018).abs() < 5e-4 && (value(&report, "half") - 0.005).abs() < 5e-4);
    }

    #[test]
    fn the_bowl_has_its_lowest_place_at_the_best_size() {
        let params = Params::default();
        let (law, flops) = (params.law.law(), params.flops());
        let best = law.optimal(flops);
        for factor in [0.25, 0.5, 0.9, 1.1, 2.0, 4.0] {
            assert!(law.loss(best.n * factor, best.d / factor) > best.loss, "{factor}");
        }
    }

    #[test]
    fn short_text_and_serving_are_told() {
        let short = run(Params { unique: 5.0, ..Params::default() });
        assert!(value(&short, "epochs") > 4.0 && value(&short, "worth") < value(&short, "tokens"));
        assert!(short.notes.iter().any(|note| note.contains("clean and collect")));
        let enough = run(Params { unique: 1e5, ..Params::default() });
        assert_eq!(value(&enough, "worth"), value(&enough, "tokens"));
        let served = run(Params { served: 1e4, ..Params::default() });
        assert!(value(&served, "serve_weights") < value(&served, "weights"));
        assert!(value(&served, "serve_saved") > 0.0);
        assert!(run(Params::default()).metric("serve_weights").is_none());
    }

    #[test]
    fn corners_give_sound_reports() {
        for (devices, days, peak, reached) in [(1, 0.1, 0.01, 1), (200_000, 1000.0, 10_000.0, 100)] {
            for law in Published::ALL {
                run(Params { devices, days, peak, reached, law, unique: 0.1, served: 1e6 });
            }
        }
    }
}
