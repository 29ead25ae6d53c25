//! What a compiler that sees the whole graph saves: kernels, bytes, memory, time; and after how many runs it has paid.

mod figures;
mod net;
#[cfg(feature = "schema")]
mod study;
mod summary;
#[cfg(test)]
mod tests;
mod timing;

use lab_api::{LabError, Report};
use lab_kit::{
    Context, Lab,
    graph::{Fuse, Order, Passes, Strategy, compile},
};
use serde::{Deserialize, Serialize};

/// What a reader may change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params {
    /// Network
    pub model: Model,
    /// Fold factors into weights
    pub fold: bool,
    /// Merge equal operations (CSE)
    pub cse: bool,
    /// Remove what no output needs
    ///
    /// Dead operations, and rows of which nobody reads the result.
    pub dead: bool,
    /// Fuse
    pub fuse: Fuse,
    /// One product for all that read the same rows
    ///
    /// Queries, keys and values in one; gate and up in one.
    pub merge: bool,
    /// Weights of products
    pub layout: Layout,
    /// Order of the kernels
    pub order: Order,
    /// Plan of the memory
    pub plan: Strategy,
    /// Results may overwrite inputs
    pub in_place: bool,
    /// Tokens
    ///
    /// Read at once, or read before the one token of a decoding step.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 256), extend("x-unit" = "tokens")))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "model", "is": ["lm_prefill", "lm_decode", "heads"]})))]
    pub length: u32,
    /// Images
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 64), extend("x-unit" = "images")))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "model", "is": ["cnn", "mlp"]})))]
    pub batch: u32,
    /// Tiles tried
    ///
    /// Shapes of a product's tile that are timed beside the usual one; the fastest is taken.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 7)))]
    pub tune: u32,
}

/// What is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Model {
    /// Language model reads a text (loads 4 MB)
    LmPrefill,
    /// Language model writes a token (loads 4 MB)
    LmDecode,
    /// Attention, head by head (loads 4 MB)
    Heads,
    /// Glyph classifier (loads 0.3 MB)
    Cnn,
    /// Digit classifier
    Mlp,
}

/// How weights of products lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// As they are, packed in each run
    AsIs,
    /// Packed once, before any run
    Chosen,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            model: Model::LmPrefill,
            fold: true,
            cse: true,
            dead: true,
            fuse: Fuse::Epilogues,
            merge: true,
            layout: Layout::Chosen,
            order: Order::Given,
            plan: Strategy::BySize,
            in_place: true,
            length: 128,
            batch: 16,
            tune: 0,
        }
    }
}

impl Params {
    fn setting(&self) -> Passes {
        Passes {
            fold: self.fold,
            cse: self.cse,
            dead: self.dead,
            merge: self.merge,
            fuse: self.fuse,
            order: self.order,
            plan: self.plan,
            in_place: self.in_place,
        }
    }
}

/// The lab.
pub struct Compilers;

impl Lab for Compilers {
    const ID: &'static str = "compilers";
    type Params = Params;

    fn smoke() -> Params {
        Params { model: Model::Mlp, batch: 4, ..Params::default() }
    }

    async fn run(params: Params, cx: &mut Context) -> Result<Report, LabError> {
        let mut report = Report::default();
        let graph = net::graph(&params);
        let [none, yours] = [Passes::NONE, params.setting()].map(|setting| compile(&graph, setting));
        let (none, yours) = (none?, yours?);
        report.metrics = summary::counted(&none, &yours);
        report.charts = vec![
            figures::map(
                "map",
                "Where does each result lie?",
                "Your program: time to the right, addresses upwards. A bar is a result from the kernel that writes it to the last that reads it; a large one covers several lines.",
                &yours,
            ),
            figures::map(
                "before",
                "And without reuse?",
                "The same network with a kernel and a place for each operation: a staircase. Nearly all of it is empty at any time.",
                &none,
            ),
            figures::passes(&graph, &params)?,
            figures::lengths(&params)?,
        ];
        report.tables = vec![figures::kernels(&yours), figures::each_pass(&graph, &params)?, figures::six()];
        report.notes = summary::notes(&params, &yours);
        cx.publish(&report)?;

        cx.progress("Reading weights", 0.05);
        let net = net::read(&params, graph, cx).await?;
        cx.progress("Timing", 0.1);
        let times = timing::measure(&net, [&none, &yours], &params, cx).await?;
        summary::timed(&mut report, &times, &yours, cx);
        report.charts.insert(1, figures::paid(&times));
        if params.tune > 0 {
            cx.progress("Tuning", 0.7);
            let tuned = timing::tune(&net, &yours, &params, cx).await?;
            summary::tuned(&mut report, &tuned, &times, cx);
        }
        cx.progress("Done", 1.0);
        Ok(report)
    }

    #[cfg(feature = "schema")]
    async fn study(cx: &mut Context) -> Result<Option<Report>, LabError> {
        study::run(cx).await.map(Some)
    }
}
