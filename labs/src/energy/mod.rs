//! What a run takes in joules, and what that is in carbon, water and money: what of it is measured, and what is assumed.

mod assumed;
mod estimate;
mod figures;
#[cfg(feature = "schema")]
mod study;
mod subject;
mod summary;

use lab_api::{BadParam, LabError, Report};
use lab_kit::{Context, Lab, choices::Width};
use serde::{Deserialize, Serialize};

use assumed::Grid;
use subject::Subject;

/// What a reader may change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params {
    /// Work
    ///
    /// Writing token by token, or reading a prompt of 128 tokens at once.
    pub work: Work,
    /// Bits of a weight
    ///
    /// Of the model that is compared with FP32; groups of 32 weights share a scale.
    pub bits: Width,
    /// Requests at once
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 16)))]
    pub batch: u32,
    /// Watts at work
    ///
    /// Of the whole device. An assumption until you have read a meter: a phone takes some 3, a laptop 15, a desktop 65, an accelerator 700.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.5, max = 1000.0), extend("x-unit" = "W", "x-step" = 0.5)))]
    pub device_watts: f64,
    /// Watts at idle
    ///
    /// What the device takes while it waits. An assumption as well.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 1000.0), extend("x-unit" = "W", "x-step" = 0.5)))]
    pub idle_watts: f64,
    /// Watts at work, packed
    ///
    /// If a meter showed you other watts for the packed model, enter them; 0 takes those above.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 1000.0), extend("x-unit" = "W", "x-step" = 0.5)))]
    pub packed_watts: f64,
    /// Overhead of the building
    ///
    /// Energy at the plug over that of the computers (PUE). 1 at home.
    #[cfg_attr(feature = "schema", schemars(range(min = 1.0, max = 2.5), extend("x-unit" = "×", "x-step" = 0.01)))]
    pub overhead: f64,
    /// Grid
    ///
    /// Average of the year 2023 over a country, location-based (Our World in Data, as CodeCarbon ships it).
    pub grid: Grid,
    /// Own grid
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 1500.0), extend("x-unit" = "g/kWh", "x-step" = 1.0)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "grid", "is": ["own"]})))]
    pub grams_per_kwh: f64,
    /// Making the device
    ///
    /// Kilograms of CO2 equivalent before it was first switched on. An assumption.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 10_000.0), extend("x-unit" = "kg", "x-step" = 10.0)))]
    pub embodied_kg: f64,
    /// Years in use
    #[cfg_attr(feature = "schema", schemars(range(min = 1.0, max = 10.0), extend("x-unit" = "years", "x-step" = 0.5)))]
    pub years: f64,
    /// Share of that time at work
    ///
    /// The hours of waiting are laid to the work.
    #[cfg_attr(feature = "schema", schemars(range(min = 1.0, max = 100.0), extend("x-unit" = "%", "x-step" = 1.0)))]
    pub busy: f64,
    /// Replies a day
    ///
    /// Of 256 tokens each: when has inference cost as much as training?
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 100_000)))]
    pub replies_a_day: u32,
    /// Minutes of steady load
    ///
    /// For a meter at the plug: after the run the device goes on writing for so long. Read the watts before and during it, and enter both above.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 10), extend("x-unit" = "minutes")))]
    pub meter_minutes: u32,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            work: Work::Decode,
            bits: Width::Four,
            batch: 1,
            device_watts: 15.0,
            idle_watts: 5.0,
            packed_watts: 0.0,
            overhead: 1.0,
            grid: Grid::UnitedStates,
            grams_per_kwh: 400.0,
            embodied_kg: 200.0,
            years: 4.0,
            busy: 10.0,
            replies_a_day: 100,
            meter_minutes: 0,
        }
    }
}

/// What the model does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Decode
    ///
    /// One token a step, after 128 others.
    Decode,
    /// Prefill
    ///
    /// A prompt of 128 tokens at once.
    Prefill,
}

impl Params {
    /// What the ranges of the controls cannot say.
    fn check(&self) -> Result<(), LabError> {
        let packed = if self.packed_watts > 0.0 { self.packed_watts } else { self.device_watts };
        if self.idle_watts > self.device_watts.min(packed) {
            let why = format!(
                "{} W at idle are more than at work: the machine would gain by working. Enter {} W or less",
                self.idle_watts,
                self.device_watts.min(packed)
            );
            return Err(LabError::BadParam(BadParam { name: "idle_watts".into(), why }));
        }
        Ok(())
    }
}

/// The lab.
pub struct Energy;

impl Lab for Energy {
    const ID: &'static str = "energy";
    type Params = Params;

    async fn run(params: Params, cx: &mut Context) -> Result<Report, LabError> {
        params.check()?;
        let mut report = Report::default();
        cx.progress("Loading the language model", 0.0);
        let subject = Subject::load(params.bits, cx).await?;
        cx.progress("Timing both models, turn by turn", 0.1);
        let run = subject.time(params.work, params.batch as usize, cx).await?;
        report.metrics.extend(summary::energy(&run, &params, cx));
        report.charts.push(figures::methods(&run, &params));
        report.tables.push(figures::ledger(&run, &params));
        cx.publish(&report)?;

        cx.progress("Joules of a token as requests come together", 0.4);
        let batches = subject.batches(cx).await?;
        report.charts.push(figures::batches(&batches, &params));
        report.metrics.extend(summary::batches(&batches, &params));
        cx.progress("Training, a few steps", 0.7);
        let training = subject.training_ms_per_token(cx).await?;
        report.metrics.extend(summary::amortized(&run, &training, &params));
        cx.progress("Which input matters?", 0.95);
        let band = estimate::Band::of(&run, &params, cx);
        report.metrics.extend(summary::carbon(&run, &band, &params));
        report.charts.insert(0, figures::tornado(&band));
        report.notes = summary::notes(&run, &band, &params);
        if params.meter_minutes > 0 {
            cx.publish(&report)?;
            subject.load_for(params.meter_minutes, params.work, params.batch as usize, cx).await?;
        }
        cx.progress("Done", 1.0);
        Ok(report)
    }

    #[cfg(feature = "schema")]
    async fn study(cx: &mut Context) -> Result<Option<Report>, LabError> {
        study::run(cx).await.map(Some)
    }
}
