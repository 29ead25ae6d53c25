//! What keeps a trainer fed: workers, queue, cache, and the order of the data; what each brings, and what the model notices.

mod arms;
mod bench;
mod figures;
#[cfg(feature = "schema")]
mod study;
mod summary;
#[cfg(test)]
mod tests;

use lab_api::{BadParam, LabError, Report};
use lab_kit::{
    Context, Lab,
    loading::{Alter, Arrange, KeptItems},
};
use serde::{Deserialize, Serialize};

/// What a reader may change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Params {
    /// Model
    pub model: Fed,
    /// Images
    ///
    /// To train on: so many of each class, or all.
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "model", "is": ["mlp"]})))]
    pub images: Amount,
    /// Augmentation
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "model", "is": ["mlp"]})))]
    pub augment: Augment,
    /// Workers
    ///
    /// Loaders beside the trainer. Without one the trainer loads for itself.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 4)))]
    pub workers: u32,
    /// Depth
    ///
    /// Batches that may be asked for and not yet taken.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 16), extend("x-unit" = "batches")))]
    pub depth: u32,
    /// Batch
    #[cfg_attr(feature = "schema", schemars(range(min = 16, max = 256), extend("x-unit" = "items", "x-step" = 16)))]
    pub batch: u32,
    /// Order
    pub order: Ordered,
    /// Buffer
    ///
    /// Of the shuffle buffer.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 13944), extend("x-unit" = "items")))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "order", "is": ["buffer", "shards"]})))]
    pub buffer: u32,
    /// Shards
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 1024)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "order", "is": ["shards"]})))]
    pub shards: u32,
    /// Cache
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "model", "is": ["mlp"]})))]
    pub cache: Cached,
    /// Versions
    ///
    /// Of each image, that the cache keeps.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 16)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "cache", "is": ["augmented"]})))]
    pub variants: u32,
    /// Uses of a batch
    ///
    /// In a row: data echoing.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 8)))]
    pub echo: u32,
    /// Hand over
    pub hand_over: HandOver,
    /// Slow reads
    pub jitter: Slow,
    /// Steps that are timed
    ///
    /// Of each number of workers.
    #[cfg_attr(feature = "schema", schemars(range(min = 12, max = 480), extend("x-unit" = "steps", "x-step" = 12)))]
    pub steps: u32,
    /// Steps of the training
    ///
    /// That accuracy is measured after. 0 leaves it out.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 2180), extend("x-unit" = "steps", "x-step" = 109)))]
    #[cfg_attr(feature = "schema", schemars(extend("x-enabled-when" = {"param": "model", "is": ["mlp"]})))]
    pub trained: u32,
}

macro_rules! choice {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        pub enum $name { $($(#[$doc])* #[serde(rename = $word)] $variant,)* }
    };
}

choice! {
    /// What is trained.
    Fed {
        /// Glyph classifier
        Mlp = "mlp",
        /// Small language model (loads 0.1 MB)
        ///
        /// Its tokens lie ready: there is hardly anything to load.
        Lm = "lm",
    }
}

choice! {
    /// How many images.
    Amount {
        /// 470
        Few = "470",
        /// 1,410
        Some = "1410",
        /// All 13,944
        All = "all",
    }
}

choice! {
    /// What is done to an image.
    Augment {
        /// None
        None = "none",
        /// Shift
        Shift = "shift",
        /// Affine map
        Affine = "affine",
        /// Elastic field
        Elastic = "elastic",
        /// Elastic and affine
        Both = "both",
    }
}

choice! {
    /// In which order items come; in the file they lie class by class.
    Ordered {
        /// As it lies, class by class
        Sorted = "sorted",
        /// Shuffle buffer
        Buffer = "buffer",
        /// Shards in random order, then a buffer
        Shards = "shards",
        /// Permutation, anew each epoch
        Full = "full",
        /// One permutation for ever
        Fixed = "fixed",
        /// Permutation without a list
        Keyed = "keyed",
        /// With replacement
        Replaced = "replaced",
    }
}

choice! {
    /// What workers keep.
    Cached {
        /// None
        None = "none",
        /// Unpacked images
        Decoded = "decoded",
        /// Augmented images
        Augmented = "augmented",
    }
}

choice! {
    /// How a batch leaves its worker.
    HandOver {
        /// Transferred
        Transfer = "transfer",
        /// Copied
        Clone = "clone",
    }
}

choice! {
    /// Slow reads.
    Slow {
        /// None
        None = "none",
        /// One batch in a hundred takes twenty times as long (artificial)
        OnePercent = "one_percent",
    }
}

impl Default for Params {
    fn default() -> Self {
        Self {
            model: Fed::Mlp,
            images: Amount::All,
            augment: Augment::Affine,
            workers: 1,
            depth: 2,
            batch: 64,
            order: Ordered::Buffer,
            buffer: 512,
            shards: 64,
            cache: Cached::None,
            variants: 4,
            echo: 1,
            hand_over: HandOver::Transfer,
            jitter: Slow::None,
            steps: 120,
            trained: 1090,
        }
    }
}

impl Params {
    fn alter(&self) -> Alter {
        match self.augment {
            _ if self.model == Fed::Lm => Alter::None,
            Augment::None => Alter::None,
            Augment::Shift => Alter::Shift,
            Augment::Affine => Alter::Affine,
            Augment::Elastic => Alter::Elastic,
            Augment::Both => Alter::Both,
        }
    }

    fn kept(&self) -> KeptItems {
        match self.cache {
            _ if self.model == Fed::Lm => KeptItems::Nothing,
            Cached::None => KeptItems::Nothing,
            Cached::Decoded => KeptItems::Decoded,
            Cached::Augmented => KeptItems::Altered(self.variants),
        }
    }

    fn arrange(&self) -> Arrange {
        match self.order {
            Ordered::Sorted => Arrange::AsTheyLie,
            Ordered::Buffer => Arrange::Buffer(self.buffer as usize),
            Ordered::Shards => Arrange::Shards(self.shards as usize, self.buffer as usize),
            Ordered::Full => Arrange::Full,
            Ordered::Fixed => Arrange::Fixed,
            Ordered::Keyed => Arrange::Keyed,
            Ordered::Replaced => Arrange::Replaced,
        }
    }

    /// What the ranges cannot say.
    fn check(&self, items: usize) -> Result<(), LabError> {
        if self.order == Ordered::Shards && self.shards as usize > items {
            let why = format!("there are only {items} items to cut: take {items} shards or fewer");
            return Err(LabError::BadParam(BadParam { name: "shards".into(), why }));
        }
        Ok(())
    }
}

/// The lab.
pub struct DataLoading;

impl Lab for DataLoading {
    const ID: &'static str = "data-loading";
    type Params = Params;

    fn smoke() -> Params {
        Params { images: Amount::Few, batch: 16, buffer: 64, steps: 12, trained: 109, ..Params::default() }
    }

    async fn run(params: Params, cx: &mut Context) -> Result<Report, LabError> {
        let mut report = Report::default();
        cx.progress("Loading", 0.0);
        let bench = bench::Bench::load(&params, cx).await?;
        params.check(bench.items.len())?;
        report.metrics = summary::counted(&params, &bench);
        report.charts = vec![figures::depths(), figures::caches()];
        if bench.test.is_some() {
            report.tables = vec![figures::mixes(&params, &bench)];
        }
        report.notes = summary::notes(&params, &bench);
        cx.publish(&report)?;

        cx.progress("Timing stages", 0.1);
        let alone = arms::alone(&params, &bench, cx).await?;
        let pool = bench.pool(&params, summary::MOST.max(params.workers as usize), cx).await;
        cx.progress("Timing workers", 0.2);
        let arms = arms::all(&params, &bench, &pool, cx).await?;
        summary::timed(&mut report, &params, &alone, &arms, &pool, cx)?;
        summary::handed(&mut report, &pool, cx).await?;
        cx.publish(&report)?;

        if params.trained > 0 && params.model == Fed::Mlp {
            let yours = arms::quality(&params, params.arrange(), &bench, cx, 0.5).await?;
            let full = arms::quality(&arms::plain(&params), Arrange::Full, &bench, cx, 0.75).await?;
            summary::trained(&mut report, yours, full);
        }
        cx.progress("Done", 1.0);
        Ok(report)
    }

    #[cfg(feature = "schema")]
    async fn study(cx: &mut Context) -> Result<Option<Report>, LabError> {
        study::run(cx).await.map(Some)
    }
}
