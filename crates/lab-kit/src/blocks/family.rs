//! The kinds of block, and the network that is built of one of them.

use lab_layers::blocks::{Conv, Excite, Norm, Op};

/// Channels after the first layer.
const STEM: usize = 8;
/// The stages' widths, in halves of the first one's.
const WIDTHS: [usize; 3] = [2, 3, 4];

/// What a network's blocks are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// A window over all channels.
    Plain,
    /// A window over each channel alone, then a mix of channels in each place (Howard et al., 2017, arXiv:1704.04861).
    Separable,
    /// Widened, a window over each channel alone, narrowed without ReLU, and added to what came in where shapes allow (Sandler
    /// et al., 2018, arXiv:1801.04381). As there, one more mix of channels widens before the mean over places.
    Inverted,
    /// Squeezed to a quarter, then half of the outputs from a mix of channels and half from a window over them (Iandola et
    /// al., 2016, arXiv:1602.07360).
    Fire,
    /// A window over the channels of a group, then channels interleaved.
    Grouped,
    /// Narrowed in groups, interleaved, a window over each channel alone, widened in groups (Zhang et al., 2018,
    /// arXiv:1707.01083).
    ShuffleUnit,
    /// A row of a window, then a column.
    Spatial,
    /// Narrowed to a quarter, a window over all channels, widened (He et al., 2016, arXiv:1512.03385).
    Bottleneck,
    /// A window over each channel alone and nothing else: channels meet in the first and the last layer only.
    Depthwise,
}

impl Family {
    /// All of them, the plain one first.
    pub const ALL: [Self; 9] = [
        Self::Plain,
        Self::Separable,
        Self::Inverted,
        Self::Fire,
        Self::Grouped,
        Self::ShuffleUnit,
        Self::Spatial,
        Self::Bottleneck,
        Self::Depthwise,
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Separable => "depthwise-separable",
            Self::Inverted => "inverted bottleneck",
            Self::Fire => "fire",
            Self::Grouped => "grouped",
            Self::ShuffleUnit => "shuffle unit",
            Self::Spatial => "row, then column",
            Self::Bottleneck => "bottleneck",
            Self::Depthwise => "depthwise alone",
        }
    }
}

/// What may be changed of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Side of the windows; odd.
    pub kernel: usize,
    /// How many times an inverted bottleneck widens.
    pub expansion: usize,
    /// Groups of grouped convolutions; divides 8.
    pub groups: usize,
    /// Whether channels are interleaved after a grouped convolution.
    pub shuffle: bool,
    /// Whether each block ends in a squeeze and excitation.
    pub excite: bool,
    /// Whether an inverted bottleneck narrows without a ReLU.
    pub linear: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { kernel: 3, expansion: 4, groups: 4, shuffle: true, excite: false, linear: true }
    }
}

/// A network: a first layer of 8 channels, three stages that halve the sides and grow in width, the mean over all places, and
/// one output for each class. Every convolution is followed by a batch normalization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Its blocks.
    pub family: Family,
    /// Channels of the first stage, about; the others have one and a half times and twice as many.
    pub width: usize,
    /// Blocks of each stage.
    pub blocks: [usize; 3],
    /// Side of the images.
    pub side: usize,
    /// Of its blocks.
    pub options: Options,
}

impl Shape {
    /// One block a stage, on images of 16 × 16.
    #[must_use]
    pub fn new(family: Family, width: usize, options: Options) -> Self {
        Self { family, width, blocks: [1; 3], side: 16, options }
    }

    /// Widths come in multiples of this.
    #[must_use]
    pub fn grain(&self) -> usize {
        match self.family {
            Family::Grouped => self.options.groups.max(2),
            Family::ShuffleUnit => (4 * self.options.groups).max(4),
            Family::Fire | Family::Bottleneck => 4,
            Family::Depthwise | Family::Inverted => 1,
            _ => 2,
        }
    }

    /// Channels of the three stages.
    #[must_use]
    pub fn widths(&self) -> [usize; 3] {
        let grain = self.grain();
        let round = |halves: usize| ((self.width * halves + grain) / (2 * grain)).max(1) * grain;
        if self.family == Family::Depthwise { [self.width.max(1); 3] } else { WIDTHS.map(round) }
    }

    // ANCHOR: network
    /// Its layers.
    #[must_use]
    pub fn ops(&self, classes: usize) -> Vec<Op> {
        let widths = self.widths();
        let mut channels = if self.family == Family::Depthwise { widths[0] } else { STEM };
        let mut ops = normed(Conv::plain(1, channels, 3, 1), true);
        for (width, blocks) in widths.into_iter().zip(self.blocks) {
            for number in 0..blocks {
                let stride = if number == 0 { 2 } else { 1 };
                ops.extend(self.block(channels, width, stride));
                channels = width;
            }
        }
        if self.family == Family::Inverted {
            ops.extend(normed(Conv::plain(channels, self.options.expansion * channels, 1, 1), true));
            channels *= self.options.expansion;
        }
        ops.push(Op::Mean);
        ops.push(Op::Conv(Conv { bias: true, ..Conv::plain(channels, classes, 1, 1) }));
        ops
    }
    // ANCHOR_END: network

    // ANCHOR: block
    /// One block from `c` channels to `n`.
    #[must_use]
    pub fn block(&self, c: usize, n: usize, stride: usize) -> Vec<Op> {
        let Options { kernel, expansion, groups, shuffle, excite, linear } = self.options;
        let mix = |from, to, relu| normed(Conv::plain(from, to, 1, 1), relu);
        let mix_in_groups = |from, to, relu| normed(Conv { groups, ..Conv::plain(from, to, 1, 1) }, relu);
        let window = |from, to, stride| normed(Conv::plain(from, to, kernel, stride), true);
        let each = |channels, relu| normed(Conv::depthwise(channels, kernel, stride), relu);
        let same = c == n && stride == 1;
        let (quarter, wide) = ((n / 4).max(1), expansion * c);
        let mut ops = match self.family {
            Family::Plain => window(c, n, stride),
            Family::Separable => [each(c, true), mix(c, n, true)].concat(),
            Family::Inverted => [mix(c, wide, true), each(wide, true), mix(wide, n, !linear)].concat(),
            Family::Fire => {
                let half = n / 2;
                let one = normed(Conv::plain(quarter, half, 1, stride), true);
                [mix(c, quarter, true), vec![Op::Join(one, window(quarter, n - half, stride))]].concat()
            }
            Family::Grouped => normed(Conv { groups, ..Conv::plain(c, n, kernel, stride) }, true),
            Family::ShuffleUnit => [
                mix_in_groups(c, quarter, true),
                if shuffle { vec![Op::Shuffle(groups)] } else { Vec::new() },
                each(quarter, false),
                mix_in_groups(quarter, n, !same),
            ]
            .concat(),
            Family::Spatial => {
                let row = Conv { kernel: [1, kernel], stride: [1, stride], ..Conv::plain(c, n, kernel, 1) };
                let column = Conv { kernel: [kernel, 1], stride: [stride, 1], ..Conv::plain(n, n, kernel, 1) };
                [normed(row, true), normed(column, true)].concat()
            }
            Family::Bottleneck => {
                [mix(c, quarter, true), window(quarter, quarter, stride), mix(quarter, n, !same)].concat()
            }
            Family::Depthwise => each(c, true),
        };
        if excite {
            ops.push(Op::Excite(Excite { channels: n, inner: quarter }));
        }
        let adds = matches!(self.family, Family::Inverted | Family::ShuffleUnit | Family::Bottleneck);
        if adds && same {
            ops = vec![Op::Skip(ops)];
        }
        if self.family == Family::Grouped && shuffle && groups > 1 {
            ops.push(Op::Shuffle(groups));
        }
        ops
    }
    // ANCHOR_END: block
}

fn normed(conv: Conv, relu: bool) -> Vec<Op> {
    vec![Op::Conv(conv), Op::Norm(Norm { channels: conv.outputs, relu })]
}
