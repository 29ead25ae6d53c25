//! The parts of a transformer's pass that can be told apart.

/// A part of a forward pass, from the whole of it down to single operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "`Part::name` says what each is")]
pub enum Part {
    Pass,
    Mask,
    Embed,
    Block,
    Norm,
    Attention,
    Query,
    TurnQuery,
    Key,
    TurnKey,
    Value,
    Keep,
    Scores,
    Masking,
    Softmax,
    Mix,
    Join,
    Output,
    Residual,
    FeedForward,
    Gate,
    Silu,
    Up,
    Product,
    Down,
    LastNorm,
    Head,
    Read,
}

/// How finely a pass is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// The pass as a whole.
    Pass,
    /// Embedding, each transformer block, output layer.
    Block,
    /// In a block: norms, attention, feed-forward network, sums.
    Layer,
    /// Every operation.
    Operation,
}

impl Part {
    /// All of them, in the order of a pass.
    pub const ALL: [Self; 28] = [
        Self::Pass,
        Self::Mask,
        Self::Embed,
        Self::Block,
        Self::Norm,
        Self::Attention,
        Self::Query,
        Self::TurnQuery,
        Self::Key,
        Self::TurnKey,
        Self::Value,
        Self::Keep,
        Self::Scores,
        Self::Masking,
        Self::Softmax,
        Self::Mix,
        Self::Join,
        Self::Output,
        Self::Residual,
        Self::FeedForward,
        Self::Gate,
        Self::Silu,
        Self::Up,
        Self::Product,
        Self::Down,
        Self::LastNorm,
        Self::Head,
        Self::Read,
    ];

    /// What it is part of; the pass is part of itself.
    #[must_use]
    pub fn parent(self) -> Self {
        match self {
            Self::Pass | Self::Mask | Self::Embed | Self::Block | Self::LastNorm | Self::Head | Self::Read => {
                Self::Pass
            }
            Self::Norm | Self::Attention | Self::Residual | Self::FeedForward => Self::Block,
            Self::Gate | Self::Silu | Self::Up | Self::Product | Self::Down => Self::FeedForward,
            _ => Self::Attention,
        }
    }

    /// Whether it is made of other parts.
    #[must_use]
    pub fn has_parts(self) -> bool {
        matches!(self, Self::Pass | Self::Block | Self::Attention | Self::FeedForward)
    }

    /// From which depth on it is seen.
    #[must_use]
    pub fn depth(self) -> Depth {
        match (self, self.parent()) {
            (Self::Pass, _) => Depth::Pass,
            (_, Self::Pass) => Depth::Block,
            (_, Self::Block) => Depth::Layer,
            _ => Depth::Operation,
        }
    }

    /// Whether a look of this depth sees it and nothing within it: such parts do not overlap.
    #[must_use]
    pub fn is_leaf_at(self, depth: Depth) -> bool {
        self.depth() == depth || (self.depth() < depth && !self.has_parts())
    }

    /// Whether it is `other`, or lies within it.
    #[must_use]
    pub fn lies_in(self, other: Self) -> bool {
        let mut at = self;
        while at != other && at != Self::Pass {
            at = at.parent();
        }
        at == other
    }

    /// What the part is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "Whole pass",
            Self::Mask => "Making the mask",
            Self::Embed => "Embedding",
            Self::Block => "Blocks",
            Self::Norm => "Norms",
            Self::Attention => "Attention",
            Self::Query => "Matrix q",
            Self::TurnQuery => "Rotary positions, queries",
            Self::Key => "Matrix k",
            Self::TurnKey => "Rotary positions, keys",
            Self::Value => "Matrix v",
            Self::Keep => "Cache",
            Self::Scores => "Queries times keys",
            Self::Masking => "Adding the mask",
            Self::Softmax => "Softmax",
            Self::Mix => "Weights times values",
            Self::Join => "Heads side by side",
            Self::Output => "Matrix o",
            Self::Residual => "Residual sums",
            Self::FeedForward => "Feed-forward network",
            Self::Gate => "Gate matrix",
            Self::Silu => "SiLU",
            Self::Up => "Up matrix",
            Self::Product => "Gating product",
            Self::Down => "Down matrix",
            Self::LastNorm => "Last norm",
            Self::Head => "Output layer",
            Self::Read => "Reading the result",
        }
    }

    /// The kind of operation that it belongs to, for a picture with few bars.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::Query | Self::Key | Self::Value | Self::Output => "Matrices q, k, v, o",
            Self::Gate | Self::Up | Self::Down => "Feed-forward matrices",
            Self::Scores | Self::Mix => "Attention products",
            Self::TurnQuery | Self::TurnKey => "Rotary positions",
            Self::Mask | Self::Masking => "Mask",
            Self::Norm | Self::LastNorm => "Norms",
            Self::Silu | Self::Product => "SiLU and gating",
            Self::Embed | Self::Keep | Self::Join | Self::Read => "Moving rows",
            _ => self.name(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_stand_at_their_place_and_lie_in_each_other() {
        for (i, part) in Part::ALL.into_iter().enumerate() {
            assert_eq!(part as usize, i);
            assert!(part.lies_in(Part::Pass) && part.lies_in(part));
            assert!(part.parent().has_parts());
            // Every part belongs to exactly one leaf of every depth.
            for depth in [Depth::Pass, Depth::Block, Depth::Layer, Depth::Operation] {
                let leaves = Part::ALL.into_iter().filter(|leaf| leaf.is_leaf_at(depth) && part.lies_in(*leaf)).count();
                assert_eq!(leaves, usize::from(!part.has_parts() || part.depth() >= depth), "{part:?} {depth:?}");
            }
        }
        assert!(Part::Softmax.lies_in(Part::Attention) && Part::Softmax.lies_in(Part::Block));
        assert!(!Part::Softmax.lies_in(Part::FeedForward) && !Part::Head.lies_in(Part::Block));
        assert!(Part::Norm.is_leaf_at(Depth::Operation) && !Part::Attention.is_leaf_at(Depth::Operation));
    }
}
