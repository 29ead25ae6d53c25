//! What a service leaves behind in a year, where, when a one-off cost pays, and what growth makes of a saving: arithmetic alone.

mod figures;
#[cfg(feature = "schema")]
mod study;

use lab_api::{Family, LabError, Metric, Report};
use lab_kit::{
    Context, Lab,
    measure::footprint::{
        Embodied, Footprint as Year, GRIDS, JOULES_PER_WH, Site, break_even_uses, footprint, rebound,
    },
    report::{MetricExt, metric},
};
use serde::{Deserialize, Serialize};

/// What a reader may change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params {
    /// Energy of a use
    ///
    /// Of the computers, before the building. 0.22 Wh is what Google reports for a median prompt in 2025, without the overhead of the building.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.001, max = 1000.0), extend("x-unit" = "Wh", "x-step" = 0.001)))]
    pub watt_hours: f64,
    /// Uses a day
    pub uses: Uses,
    /// Overhead of the building
    ///
    /// Energy at the plug over that of the computers (PUE).
    #[cfg_attr(feature = "schema", schemars(range(min = 1.0, max = 2.5), extend("x-unit" = "×", "x-step" = 0.01)))]
    pub overhead: f64,
    /// Grid
    ///
    /// Place in the table of ten countries, from the cleanest (1, Norway) over the United States (5) to the dirtiest (10, India).
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 10)))]
    pub grid: u32,
    /// Making the machines
    ///
    /// Grams of CO2 equivalent laid to each use.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 10.0), extend("x-unit" = "g", "x-step" = 0.001)))]
    pub embodied_grams: f64,
    /// Water on site
    ///
    /// Litres evaporated for a kilowatt-hour of the computers.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 10.0), extend("x-unit" = "L/kWh", "x-step" = 0.01)))]
    pub litres_on_site: f64,
    /// Water at the source
    ///
    /// Litres consumed in generating a kilowatt-hour. It depends on the power plants.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 10.0), extend("x-unit" = "L/kWh", "x-step" = 0.1)))]
    pub litres_at_source: f64,
    /// Price of a kilowatt-hour
    ///
    /// In your currency: an example until you enter yours.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 2.0), extend("x-step" = 0.01)))]
    pub price: f64,
    /// A technique saves
    ///
    /// So many times less energy for each use.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.5, max = 50.0), extend("x-unit" = "×", "x-step" = 0.1)))]
    pub gain: f64,
    /// It costs once
    ///
    /// Energy of training, search or distillation.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 100_000.0), extend("x-unit" = "kWh", "x-step" = 10.0)))]
    pub once_kwh: f64,
    /// Use grows in a year
    #[cfg_attr(feature = "schema", schemars(range(min = 0.5, max = 50.0), extend("x-unit" = "×", "x-step" = 0.1)))]
    pub growth: f64,
}

/// How often a service is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Uses {
    /// 2 thousand
    #[serde(rename = "2e3")]
    Few,
    /// 100 thousand
    #[serde(rename = "1e5")]
    Some,
    /// 1 million
    #[serde(rename = "1e6")]
    Million,
    /// 100 million
    #[serde(rename = "1e8")]
    Many,
    /// 1 billion
    #[serde(rename = "1e9")]
    Billion,
}

impl Uses {
    fn a_day(self) -> f64 {
        match self {
            Self::Few => 2e3,
            Self::Some => 1e5,
            Self::Million => 1e6,
            Self::Many => 1e8,
            Self::Billion => 1e9,
        }
    }
}

impl Default for Params {
    fn default() -> Self {
        Self {
            watt_hours: 0.22,
            uses: Uses::Million,
            overhead: 1.09,
            grid: 5,
            embodied_grams: 0.0,
            litres_on_site: 1.18,
            litres_at_source: 0.0,
            price: 0.1,
            gain: 4.0,
            once_kwh: 20_000.0,
            growth: 2.0,
        }
    }
}

impl Params {
    fn grid(&self) -> (&'static str, f64) {
        GRIDS[(self.grid.clamp(1, 10) - 1) as usize]
    }

    fn site(&self, grams_per_kwh: f64) -> Site {
        Site {
            overhead: self.overhead,
            grams_per_kwh,
            price_per_kwh: self.price,
            litres_on_site: self.litres_on_site,
            litres_at_source: self.litres_at_source,
        }
    }

    /// A year of it on a grid, machines included.
    fn year(&self, grams_per_kwh: f64) -> Year {
        let uses = 365.0 * self.uses.a_day();
        let nothing = Embodied { kilograms: 0.0, years: 1.0, busy_share: 1.0 };
        let whole = footprint(uses * self.watt_hours * JOULES_PER_WH, 0.0, &self.site(grams_per_kwh), &nothing);
        Year { embodied_grams: uses * self.embodied_grams, ..whole }
    }

    /// Uses after which the technique has paid.
    fn break_even(&self) -> Option<f64> {
        let at_plug = self.watt_hours * self.overhead;
        break_even_uses(1e3 * self.once_kwh, at_plug, at_plug / self.gain)
    }
}

/// The lab.
pub struct Footprint;

impl Lab for Footprint {
    const ID: &'static str = "footprint";
    type Params = Params;

    async fn run(params: Params, cx: &mut Context) -> Result<Report, LabError> {
        cx.checkpoint().await?;
        Ok(Report {
            metrics: metrics(&params),
            tables: vec![figures::grids(&params)],
            charts: vec![figures::moved(&params), figures::years(&params)],
            notes: notes(&params),
        })
    }

    #[cfg(feature = "schema")]
    async fn study(cx: &mut Context) -> Result<Option<Report>, LabError> {
        let _ = cx;
        Ok(Some(study::run()))
    }
}

fn metrics(params: &Params) -> Vec<Metric> {
    const SAME: &str = "products of the same numbers on every device";
    let number = |family: Family, id: &str, label: &str, value: f64, unit: &str| {
        metric(family, id, label, value, unit).exact(1e-9 * (1.0 + value.abs()), SAME)
    };
    let year = params.year(params.grid().1);
    let total = rebound(params.gain, params.growth);
    let mut metrics = vec![
        number(Family::Scale, "mwh", "Energy of a year", 1e-3 * year.kwh, "MWh").lower().help("At the plug."),
        number(Family::Scale, "tonnes", "Carbon of a year", 1e-6 * year.grams(), "t")
            .lower()
            .help("CO2 equivalent, location-based, with what was entered for making the machines."),
        number(Family::Scale, "water", "Water of a year", 1e-3 * year.litres, "m³")
            .lower()
            .help("On site and at the source. A cubic metre is not the same in a wet and in a dry place."),
        number(Family::Scale, "bill", "Bill of a day", year.cost / 365.0, "")
            .lower()
            .help("Energy alone, in the currency of the price."),
        number(Family::Scale, "after_year", "Next year's total over this year's", total, "×").lower().help(
            "Growth of use over the gain of the technique: above 1 the total rises although each use takes less.",
        ),
    ];
    if let Some(uses) = params.break_even() {
        metrics.push(
            number(
                Family::Time,
                "pays_days",
                "Days until the one-off cost has paid",
                uses / params.uses.a_day(),
                "days",
            )
            .lower()
            .help("At today's number of uses."),
        );
        metrics.push(number(Family::Time, "pays_uses", "Uses until then", uses, "").detail().lower());
    }
    metrics
}

fn notes(params: &Params) -> Vec<String> {
    let mut notes = Vec::new();
    let (name, grams) = params.grid();
    notes.push(format!("Grid: {name}, {grams} g for a kilowatt-hour, average of 2023."));
    if params.break_even().is_none() {
        notes.push("The technique saves nothing, so that what it costs once is never paid back.".into());
    }
    let total = rebound(params.gain, params.growth);
    notes.push(if total > 1.0 {
        format!("Growth eats the saving: with {} times the use the total rises to {total:.2} times.", params.growth)
    } else {
        format!(
            "The total falls to {:.0} % in a year; use may grow {} times before nothing is left of the saving.",
            100.0 * total,
            params.gain
        )
    });
    let year = params.year(grams);
    if params.embodied_grams > 0.0 {
        notes.push(format!(
            "Making the machines is {:.0} % of the carbon here.",
            100.0 * year.embodied_grams / year.grams()
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use lab_kit::testing::{FakeClock, context, ready};

    use super::*;

    fn run(params: Params) -> Report {
        let mut cx = context(std::rc::Rc::new(FakeClock::new(0.1)));
        let report = ready(Footprint::run(params, &mut cx)).expect("runs");
        report.check().expect("sound");
        report
    }

    fn value(report: &Report, id: &str) -> f64 {
        report.metric(id).expect("reported").value
    }

    #[test]
    fn the_chapters_example() {
        let report = run(Params::default());
        // 0.22 Wh times 1.09 are 0.24; a million a day: 88 MWh and 32 t a year, 24 a day.
        assert!((value(&report, "mwh") - 87.5).abs() < 0.2);
        assert!((value(&report, "tonnes") - 32.3).abs() < 0.1);
        assert!((value(&report, "bill") - 24.0).abs() < 0.05);
        assert!((value(&report, "water") / 365.0 - 0.26).abs() < 0.001);
        // A quarter of the energy after 20 MWh: 111 days.
        assert!((value(&report, "pays_days") - 111.0).abs() < 0.5);
        assert_eq!(value(&report, "after_year"), 0.5);
    }

    #[test]
    fn what_saves_nothing_never_pays() {
        let report = run(Params { gain: 1.0, ..Params::default() });
        assert!(report.metric("pays_days").is_none());
        assert!(report.notes.iter().any(|note| note.contains("never paid back")));
    }

    #[test]
    fn a_dirtier_grid_raises_carbon_alone() {
        let (clean, dirty) =
            (run(Params { grid: 1, ..Params::default() }), run(Params { grid: 8, ..Params::default() }));
        assert!((value(&dirty, "tonnes") / value(&clean, "tonnes") - 662.0 / 30.0).abs() < 1e-9);
        assert_eq!(value(&dirty, "mwh"), value(&clean, "mwh"));
    }
}
