//! One head of attention in six ways: what each holds, moves and takes, and how far each is from the formula.

mod device;
mod figures;
mod measure;
#[cfg(feature = "schema")]
mod study;
mod summary;
mod ways;

use lab_api::{DeviceKind, LabError, Report};
use lab_kit::{Context, Lab};
use serde::{Deserialize, Serialize};

use ways::{Case, Setting};

/// What a reader may change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params {
    /// Tokens
    ///
    /// Queries, and as many keys: the longest text of the charts. Beyond 2,048 a run takes many seconds.
    #[cfg_attr(feature = "schema", schemars(range(min = 32, max = 4096), extend("x-unit" = "tokens")))]
    pub tokens: u32,
    /// Channels of the head
    ///
    /// Numbers of a query, a key and a value. The book's language model has 32.
    #[cfg_attr(feature = "schema", schemars(range(min = 8, max = 128), extend("x-step" = 8)))]
    pub head_channels: u32,
    /// Queries of a tile
    ///
    /// Also the rows of a chunk.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 512)))]
    pub block_rows: u32,
    /// Keys of a tile
    #[cfg_attr(feature = "schema", schemars(range(min = 8, max = 512), extend("x-step" = 8)))]
    pub block_columns: u32,
    /// Causal
    ///
    /// A token sees itself and what came before, as in a language model; otherwise all tokens see all.
    pub causal: bool,
    /// Window
    ///
    /// How far the one way looks that leaves keys out.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 4096), extend("x-unit" = "tokens")))]
    pub window: u32,
    /// Scores
    ///
    /// How large the scores are before the softmax.
    pub inputs: Scores,
}

/// How large scores are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Scores {
    /// Ordinary
    ///
    /// Of a standard deviation of 1: every query looks at many keys.
    Ordinary,
    /// Peaked
    ///
    /// Eight times as large: a few keys take nearly all the weight.
    Peaked,
    /// Too large to exponentiate
    ///
    /// A hundred times as large: the exponential of such a score is no number in FP32.
    Huge,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            tokens: 1024,
            head_channels: 32,
            block_rows: 64,
            block_columns: 64,
            causal: true,
            window: 128,
            inputs: Scores::Ordinary,
        }
    }
}

impl Params {
    fn setting(&self) -> Setting {
        Setting {
            channels: self.head_channels as usize,
            rows: self.block_rows as usize,
            columns: self.block_columns as usize,
            causal: self.causal,
            window: self.window as usize,
            strength: match self.inputs {
                Scores::Ordinary => 1.0,
                Scores::Peaked => 8.0,
                Scores::Huge => 100.0,
            },
        }
    }
}

/// The lab.
pub struct FlashAttention;

impl Lab for FlashAttention {
    const ID: &'static str = "flash-attention";
    type Params = Params;

    fn smoke() -> Params {
        Params { tokens: 37, head_channels: 8, block_rows: 5, block_columns: 8, window: 9, ..Params::default() }
    }

    async fn run(params: Params, cx: &mut Context) -> Result<Report, LabError> {
        let (setting, tokens) = (params.setting(), params.tokens as usize);
        let mut report = Report::default();
        cx.progress("Comparing every way with the formula", 0.0);
        let case = Case::draw(tokens, &setting, cx);
        let errors = measure::errors(&case, cx).await?;
        cx.progress("Counting bytes", 0.1);
        let lengths = measure::lengths(tokens);
        let peaks = measure::peaks(&lengths, &setting, cx).await?;
        let traffic = measure::traffic(&case, cx).await?;
        report.metrics.extend(summary::memory(&peaks, &traffic, &case));
        report.metrics.extend(summary::quality(&errors));
        report.charts.extend(figures::peaks(&peaks));
        report.charts.push(figures::traffic(&traffic, &case));
        cx.publish(&report)?;

        cx.progress("Timing every way in turn", 0.2);
        let rounds = if tokens > 1024 { 3 } else { 7 };
        let times = measure::times(&lengths, &setting, rounds, cx).await?;
        cx.progress("Timing tiles of other sizes", 0.7);
        let tiles = measure::tiles(&Case::draw(tokens.min(1024), &setting, cx), cx).await?;
        cx.progress("Timing the backward pass", 0.85);
        let backward = measure::backward(&Case::draw(tokens.min(512), &setting, cx), cx).await?;
        let decode = measure::decode(&case, cx).await?;
        report.metrics.extend(summary::times(&times, &backward, &decode, &case, cx));
        report.charts.insert(usize::from(!peaks.is_empty()), figures::times(&times));
        report.charts.push(figures::tiles(&tiles));
        report.tables.push(figures::table(&times, &peaks, &errors));
        if cx.device_info.kind == DeviceKind::Webgpu {
            cx.progress("Running the kernel of the GPU", 0.95);
            report.metrics.extend(device::run(&case, cx).await?);
            report.notes.push(
                "The six ways ran on the processor, whatever device was chosen. The kernel of the GPU has numbers of its own."
                    .into(),
            );
        }
        cx.progress("Done", 1.0);
        Ok(report)
    }

    #[cfg(feature = "schema")]
    async fn study(cx: &mut Context) -> Result<Option<Report>, LabError> {
        study::run(cx).await.map(Some)
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use lab_kit::testing::{FakeClock, context, ready};

    use super::*;

    fn run(params: Params) -> Report {
        let mut cx = context(Rc::new(FakeClock::real()));
        let report = ready(FlashAttention::run(params, &mut cx)).expect("runs");
        report.check().expect("sound");
        report
    }

    fn value(report: &Report, id: &str) -> f64 {
        report.metric(id).expect("reported").value
    }

    #[test]
    fn ways_agree_with_the_formula_and_bytes_are_counted() {
        let report = run(FlashAttention::smoke());
        for id in ["error_tiled", "error_chunked", "gradient_error"] {
            assert!((1e-9..1e-5).contains(&value(&report, id)), "{id}: {}", value(&report, id));
        }
        assert!(value(&report, "window_change") > 1e-3);
        // 37 tokens in eight tiles of queries, each against tiles of eight keys up to its own last token.
        let keys: usize = (0..8_usize).map(|block| (5 * block + 5).min(37).next_multiple_of(8).min(37)).sum();
        assert_eq!(value(&report, "traffic_tiled"), (4 * (2 * 37 * 8 + 2 * keys * 8)) as f64);
        assert_eq!(value(&report, "saved_bytes"), 4.0 * 37.0);
    }

    #[test]
    fn huge_scores_stay_numbers_and_a_wide_window_changes_nothing() {
        let params = Params { inputs: Scores::Huge, window: 64, causal: false, ..FlashAttention::smoke() };
        let report = run(params);
        assert!(value(&report, "error_tiled") < 1e-3);
        assert!(value(&report, "window_change") < 1e-3);
    }
}
