//! The six ways, and one head for them to work on.

use lab_kit::{
    Context,
    attention::{Blocks, Head, Inputs, Output, Sight, Traffic, chunked, eager, one_table, tiled},
};
use rand::Rng;

/// What a reader has set, but for the length.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting {
    pub(super) channels: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) causal: bool,
    pub(super) window: usize,
    /// Standard deviation of the scores.
    pub(super) strength: f32,
}

impl Setting {
    pub(super) fn sight(&self) -> Sight {
        Sight { causal: self.causal, window: None }
    }

    pub(super) fn blocks(&self) -> Blocks {
        Blocks { rows: self.rows, columns: self.columns, skip: true }
    }
}

/// One head's inputs, and a gradient of its output.
pub(super) struct Case {
    pub(super) head: Head,
    pub(super) setting: Setting,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    pub(super) d_output: Vec<f32>,
}

impl Case {
    /// Independent numbers of variance 1: a score, a sum of `D` products over √D, has variance 1 as well.
    pub(super) fn draw(tokens: usize, setting: &Setting, cx: &Context) -> Self {
        let mut rng = cx.rng("attention");
        let side = 3f32.sqrt();
        let mut draw = |size: f32| -> Vec<f32> {
            (0..tokens * setting.channels).map(|_| size * rng.random_range(-side..side)).collect()
        };
        Self {
            head: Head::square(tokens, setting.channels),
            setting: *setting,
            q: draw(setting.strength),
            k: draw(1.0),
            v: draw(1.0),
            d_output: draw(1.0),
        }
    }

    pub(super) fn inputs(&self) -> Inputs<'_> {
        Inputs { q: &self.q, k: &self.k, v: &self.v }
    }
}

/// A way to compute attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Eager,
    OneTable,
    Chunked,
    /// Tiles, those of the future too: a control for what the triangle alone brings.
    AllTiles,
    Tiled,
    Window,
}

impl Way {
    pub(super) const ALL: [Self; 6] =
        [Self::Eager, Self::OneTable, Self::Chunked, Self::AllTiles, Self::Tiled, Self::Window];

    pub(super) fn id(self) -> &'static str {
        match self {
            Self::Eager => "eager",
            Self::OneTable => "one_table",
            Self::Chunked => "chunked",
            Self::AllTiles => "all_tiles",
            Self::Tiled => "tiled",
            Self::Window => "window",
        }
    }

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Eager => "A table for each step",
            Self::OneTable => "One table",
            Self::Chunked => "Chunks of queries",
            Self::AllTiles => "Tiles, future not skipped",
            Self::Tiled => "Tiles",
            Self::Window => "Tiles in a window",
        }
    }

    pub(super) fn run(self, case: &Case) -> Output {
        let (inputs, head, sight, blocks) = (case.inputs(), case.head, case.setting.sight(), case.setting.blocks());
        let traffic = &mut Traffic::default();
        match self {
            Self::Eager => eager(inputs, head, sight),
            Self::OneTable => one_table(inputs, head, sight, traffic),
            Self::Chunked => chunked(inputs, head, sight, blocks),
            Self::AllTiles => tiled(inputs, head, sight, Blocks { skip: false, ..blocks }, traffic),
            Self::Tiled => tiled(inputs, head, sight, blocks, traffic),
            Self::Window => {
                let sight = Sight { window: Some(case.setting.window), ..sight };
                tiled(inputs, head, sight, blocks, traffic)
            }
        }
    }
}
