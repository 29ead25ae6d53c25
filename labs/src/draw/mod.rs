//! A letter, drawn by the reader or taken from a font that no training saw, and what three classifiers see in it at fewer bits.

mod conv;
mod figures;
mod letter;
mod networks;
mod prepare;

use lab_api::{Family, LabError, Metric, Report};
use lab_kit::{
    Context, Lab,
    choices::CoarseShare,
    data::Glyphs,
    report::{MetricExt, metric},
};
use serde::{Deserialize, Serialize};

use letter::Letter;
use networks::{Seen, WIDTHS, perplexity};
use prepare::Picture;

/// What a reader may change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params {
    /// Your drawing
    ///
    /// A letter or a digit. It is cut to its ink, scaled and centred as the letters of the data set are. While it is blank, the letter of a font is shown instead.
    #[cfg_attr(feature = "schema", schemars(extend("x-drawing" = [28, 28])))]
    pub drawing: String,
    /// Letter
    ///
    /// Taken from a font while the drawing is blank: nobody needs a pointer for this lab.
    pub letter: Letter,
    /// Font
    ///
    /// Number of the font family. No training has seen any of them.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 150)))]
    pub font: u32,
    /// Network
    ///
    /// Whose answers the bars show. All three are asked.
    pub network: Network,
    /// Scales
    ///
    /// How many weights share one scale. The grid is symmetric, activations stay FP32.
    pub granularity: CoarseShare,
    /// Temperature
    ///
    /// What the FP32 network's logits are divided by for the soft targets, as a student would be taught with. 1 leaves them as they are.
    #[cfg_attr(feature = "schema", schemars(range(min = 1.0, max = 20.0), extend("x-step" = 0.5)))]
    pub temperature: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            drawing: String::new(),
            letter: Letter::UpperG,
            font: 1,
            network: Network::Mlp,
            granularity: CoarseShare::Channel,
            temperature: 4.0,
        }
    }
}

/// Whose answers are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// MLP
    ///
    /// Three fully connected layers, 256-128-128-47.
    Mlp,
    /// Small
    ///
    /// Two convolutions of 8 and 16 channels, and a linear layer.
    Small,
    /// Teacher
    ///
    /// Three convolutions of 32, 64 and 128 channels, and a linear layer.
    Teacher,
}

/// The lab.
pub struct Draw;

impl Lab for Draw {
    const ID: &'static str = "draw";
    type Params = Params;

    fn smoke() -> Params {
        Params { letter: Letter::Digit7, granularity: CoarseShare::Tensor, ..Params::default() }
    }

    async fn run(params: Params, cx: &mut Context) -> Result<Report, LabError> {
        cx.progress("Looking at the letter", 0.0);
        cx.checkpoint().await?;
        let (picture, source) = subject(&params, cx).await?;
        let seen = networks::look(&picture.pixels, params.granularity.into(), cx).await?;
        let shown = &seen[params.network as usize];
        cx.progress("Done", 1.0);
        Ok(Report {
            metrics: metrics(&seen, shown, params.temperature),
            tables: vec![figures::answers(&seen)],
            charts: vec![
                figures::bars(shown),
                figures::picture(&picture),
                figures::confidence(&seen),
                figures::soft_targets(shown, params.temperature),
            ],
            notes: figures::notes(&seen, &source),
        })
    }
}

/// The picture, and where it comes from.
async fn subject(params: &Params, cx: &Context) -> Result<(Picture, String), LabError> {
    let drawn = prepare::of_drawing(&params.drawing)?;
    if let Some(picture) = drawn {
        return Ok((picture, "your drawing".to_owned()));
    }
    let glyphs = Glyphs::read(&cx.asset(Glyphs::ASSET).await?)?;
    cx.checkpoint().await?;
    prepare::of_font(&glyphs, params.letter, params.font as usize)
}

fn metrics(seen: &[Seen; 3], shown: &Seen, temperature: f64) -> Vec<Metric> {
    const SUMS: &str = "exponentials differ between platforms in their last digit";
    const EDGE: &str = "one answer may sit on the edge between two classes";
    let agree: usize = seen.iter().map(|network| network.agreeing()).sum();
    let asked = seen.len() * WIDTHS.len();
    let mut metrics = vec![
        metric(Family::Quality, "agreeing", &format!("Answers equal to those in FP32, of {asked}"), agree as f64, "")
            .higher()
            .exact(1.0, EDGE)
            .help("Three networks at 8, 4, 3 and 2 bits."),
        metric(Family::Quality, "confidence_fp32", "Probability of the answer in FP32", shown.confidence(0), "%")
            .exact(0.001, SUMS)
            .help(&format!("By the network shown ({}).", shown.name)),
    ];
    for (i, bits) in WIDTHS.iter().enumerate() {
        let label = format!("Largest shift at {bits} bits");
        let mut shift = metric(Family::Quality, &format!("shift_{bits}"), &label, shown.shift(i + 1), "points")
            .lower()
            .exact(0.001, SUMS);
        if i == 0 {
            shift = shift.help("How far the probability of any class moves, by the network shown.");
        }
        metrics.push(shift);
    }
    let soft = shown.soft_targets(temperature);
    metrics.push(
        metric(Family::Quality, "classes_soft", "Classes that the soft targets speak of", perplexity(&soft), "")
            .baseline(perplexity(&shown.probabilities[0]))
            .exact(0.001, SUMS)
            .help("The exponential of their entropy: 1 if all is on one class, 47 if every class gets as much. The baseline is temperature 1."),
    );
    for (i, bits) in WIDTHS.iter().enumerate() {
        let bytes = shown.bytes[i + 1] as f64;
        metrics.push(
            metric(Family::Memory, &format!("weight_bytes_{bits}"), &format!("Weights at {bits} bits"), bytes, "bytes")
                .baseline(shown.bytes[0] as f64)
                .lower()
                .exact(0.0, "the length of buffers"),
        );
    }
    metrics
}
