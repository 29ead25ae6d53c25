//! A loader that keeps a trainer fed: what makes a batch ([`BatchMaker`]), in which order items come ([`BatchSequence`]), workers behind a
//! [`LoaderPort`], batches by number ([`Reorder`], [`Feed`]), what a queue can do ([`steps_per_second`], [`simulate_queue`]), what caches
//! hit ([`hits`]), and what collating wastes ([`padding`]).
//!
//! Natively workers are threads. In the page an engine installs a way to start them ([`install`]); where there is none, batches are
//! made in line.

mod caching;
mod feed;
mod letter;
mod maker;
mod order;
mod padding;
mod pool;
mod queue;
mod reorder;
#[cfg(not(target_family = "wasm"))]
mod threads;

pub use lab_kernels::augment::{Dice, pack as pack_pictures};

pub use caching::{Replacement, hits};
pub use feed::Feed;
pub use letter::{Letter, LetterBox};
pub use maker::{Alter, BatchMaker, ItemRows, KeptItems, LoadPlan, LoaderPlace, Made, Wanted};
pub use order::{Arrange, BatchSequence, class_mix, keyed, shuffle_buffer};
pub use padding::padding;
pub use pool::{Answer, LoaderPool, LoaderPort, Spawner, install};
pub use queue::{Jitter, exponential_queue, simulate_queue, steps_per_second};
pub use reorder::{AsTheyCome, Reorder};
