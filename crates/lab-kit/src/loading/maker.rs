//! What makes a batch, wherever it runs.

use std::{
    fmt::{self, Display},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use lab_kernels::augment::{self, Dice};

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemRows {
    /// Pictures of this side, two pixels a byte.
    Pictures(usize),
    /// So many tokens in a row of a text, each two bytes, the lower first; the rows overlap.
    Tokens(usize),
}

/// What is done to a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alter {
    /// Nothing.
    None,
    /// Two whole pixels at most, in either direction.
    Shift,
    /// A random affine map.
    Affine,
    /// A random smooth field of moves.
    Elastic,
    /// The field, then the map.
    Both,
}

/// What a maker keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptItems {
    /// Nothing.
    Nothing,
    /// Unpacked pictures.
    Decoded,
    /// So many altered versions of each picture, taken in turn by epoch.
    Altered(u32),
}

/// All that decides what a batch holds.
#[derive(Debug, Clone)]
pub struct LoadPlan {
    /// Seed of all that is random.
    pub seed: u64,
    /// What an item is.
    pub rows: ItemRows,
    /// What is done to it.
    pub alter: Alter,
    /// What is kept of it.
    pub kept: KeptItems,
    /// One batch in a hundred is made twenty times: an artificial slow read.
    pub slow: bool,
    /// Items, packed.
    pub data: Arc<Vec<u8>>,
}

/// A batch that is wanted.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Wanted {
    /// Its number, and whose it is.
    pub number: u64,
    /// Its epoch.
    pub epoch: u64,
    /// Its items, by their place in the data. None asks for `blank` zeros: what moving them takes can be timed.
    pub items: Vec<u32>,
    /// See `items`.
    pub blank: u32,
    /// Hand over a copy, and throw the original away.
    pub copied: bool,
    /// An empty buffer, to be filled.
    pub buffer: Vec<f32>,
}

/// A batch that was made.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Made {
    /// Its number.
    pub number: u64,
    /// Who made it, from 1; 0 is the trainer itself.
    pub worker: usize,
    /// Its items, one after the other.
    pub values: Vec<f32>,
    /// When that began and ended, in milliseconds.
    pub span: [f64; 2],
    /// Items that were kept from before.
    pub hits: u32,
}

/// Where a maker is, for who must tell that it stopped there: `epoch 3, item 17`.
#[derive(Debug, Clone, Default)]
pub struct LoaderPlace(Arc<AtomicU64>);

impl LoaderPlace {
    /// At an item of an epoch.
    pub(super) fn set(&self, epoch: u64, item: u32) {
        self.0.store((epoch << 32 | u64::from(item)) + 1, Ordering::Relaxed);
    }
}

impl Display for LoaderPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.load(Ordering::Relaxed).checked_sub(1) {
            Some(at) => write!(f, "epoch {}, item {}", at >> 32, at & 0xffff_ffff),
            None => write!(f, "before the first item"),
        }
    }
}

/// Makes batches. Two makers with one plan make the same ones.
#[derive(Debug)]
pub struct BatchMaker {
    plan: LoadPlan,
    /// Kept pictures in 255 levels, by version and place.
    kept: Vec<Option<Box<[u8]>>>,
    picture: [Vec<f32>; 2],
    at: LoaderPlace,
}

impl BatchMaker {
    /// One that has kept nothing yet.
    #[must_use]
    pub fn new(plan: LoadPlan) -> Self {
        Self { plan, kept: Vec::new(), picture: [Vec::new(), Vec::new()], at: LoaderPlace::default() }
    }

    /// Items of the data.
    #[must_use]
    pub fn items(&self) -> usize {
        match self.plan.rows {
            ItemRows::Pictures(side) => 2 * self.plan.data.len() / (side * side).max(1),
            ItemRows::Tokens(row) => (self.plan.data.len() / 2 + 1).saturating_sub(row),
        }
    }

    /// Numbers of an item.
    #[must_use]
    pub fn width(&self) -> usize {
        match self.plan.rows {
            ItemRows::Pictures(side) => side * side,
            ItemRows::Tokens(row) => row,
        }
    }

    /// Where it is now, and later.
    #[must_use]
    pub fn place(&self) -> LoaderPlace {
        self.at.clone()
    }

    /// Bytes of the pictures that are kept.
    #[must_use]
    pub fn kept_bytes(&self) -> usize {
        self.kept.iter().flatten().map(|one| one.len()).sum()
    }

    // ANCHOR: make
    /// Collates a batch: items one after the other into the buffer. Gives it with the number of those that were kept from before.
    ///
    /// # Errors
    /// Words, for an item that the data does not hold.
    pub fn make(&mut self, wanted: &mut Wanted) -> Result<(Vec<f32>, u32), String> {
        let mut values = std::mem::take(&mut wanted.buffer);
        let (count, width) = (self.items(), self.width());
        values.resize(if wanted.items.is_empty() { wanted.blank as usize } else { wanted.items.len() * width }, 0.0);
        // Chosen by the number: whoever makes a slow batch, it is slow.
        let slow = self.plan.slow && Dice::new(self.plan.seed, wanted.number & 0xffff_ffff, 0).below(100) == 0;
        let mut hits = 0;
        for _ in 0..if slow { 20 } else { 1 } {
            hits = 0;
            for (item, out) in wanted.items.iter().zip(values.chunks_exact_mut(width.max(1))) {
                self.at.set(wanted.epoch, *item);
                if *item as usize >= count {
                    return Err(format!("{}: there are {count}", self.at));
                }
                hits += u32::from(self.row(*item as usize, wanted.epoch, out));
            }
        }
        Ok((values, hits))
    }
    // ANCHOR_END: make

    /// One item; whether it was kept from before.
    fn row(&mut self, item: usize, epoch: u64, out: &mut [f32]) -> bool {
        let ItemRows::Pictures(side) = self.plan.rows else {
            let tokens = self.plan.data[2 * item..].chunks_exact(2);
            out.iter_mut().zip(tokens).for_each(|(to, two)| *to = f32::from(u16::from_le_bytes([two[0], two[1]])));
            return false;
        };
        let bytes = out.len() / 2;
        let version = match self.plan.kept {
            KeptItems::Nothing => {
                augment::unpack(&self.plan.data[item * bytes..(item + 1) * bytes], out);
                self.alter(side, epoch, item, out);
                return false;
            }
            KeptItems::Decoded => 0,
            KeptItems::Altered(versions) => epoch % u64::from(versions.max(1)),
        };
        let place = version as usize * self.items() + item;
        if self.kept.len() <= place {
            self.kept.resize(place + 1, None);
        }
        let decoded = self.plan.kept == KeptItems::Decoded;
        let hit = self.kept[place].is_some();
        if !hit {
            augment::unpack(&self.plan.data[item * bytes..(item + 1) * bytes], out);
            if !decoded {
                self.alter(side, version, item, out);
            }
            self.kept[place] = Some(out.iter().map(|x| (255.0 * x).round() as u8).collect());
        }
        // Read back in either case: a batch holds the same numbers whether it was kept or not.
        let kept = self.kept[place].iter().flatten();
        out.iter_mut().zip(kept).for_each(|(to, level)| *to = f32::from(*level) / 255.0);
        if decoded {
            self.alter(side, epoch, item, out);
        }
        hit
    }

    // ANCHOR: alter
    /// Alters a picture in place. Its random numbers are those of epoch and item, never those of a worker.
    fn alter(&mut self, side: usize, epoch: u64, item: usize, out: &mut [f32]) {
        let mut dice = Dice::new(self.plan.seed, epoch, item as u64);
        let [from, half] = &mut self.picture;
        from.clear();
        from.extend_from_slice(out);
        match self.plan.alter {
            Alter::None => {}
            Alter::Shift => {
                let mut by = || dice.below(5) as isize - 2;
                augment::shift(from, side, (by(), by()), out);
            }
            Alter::Affine => augment::affine(from, side, &augment::draw_affine(&mut dice), out),
            Alter::Elastic => augment::elastic(from, side, &augment::draw_field(&mut dice, side), out),
            Alter::Both => {
                half.resize(out.len(), 0.0);
                augment::elastic(from, side, &augment::draw_field(&mut dice, side), half);
                augment::affine(half, side, &augment::draw_affine(&mut dice), out);
            }
        }
    }
    // ANCHOR_END: alter
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn plan(alter: Alter, kept: KeptItems) -> LoadPlan {
        let mut dice = Dice::new(1, 2, 3);
        let data = (0..40 * 128).map(|_| dice.word() as u8).collect();
        LoadPlan { seed: 5, rows: ItemRows::Pictures(16), alter, kept, slow: false, data: Arc::new(data) }
    }

    fn batch(maker: &mut BatchMaker, epoch: u64, items: &[u32]) -> (Vec<f32>, u32) {
        maker.make(&mut Wanted { epoch, items: items.to_vec(), ..Wanted::default() }).expect("there")
    }

    #[test]
    fn an_item_is_the_same_in_any_batch_of_any_maker() {
        for alter in [Alter::None, Alter::Shift, Alter::Affine, Alter::Elastic, Alter::Both] {
            for kept in [KeptItems::Nothing, KeptItems::Decoded, KeptItems::Altered(2)] {
                let (mut one, mut other) = (BatchMaker::new(plan(alter, kept)), BatchMaker::new(plan(alter, kept)));
                let together = batch(&mut one, 3, &[4, 9, 11]).0;
                let alone = batch(&mut other, 3, &[9]).0;
                assert_eq!(together[256..512], alone[..], "{alter:?} {kept:?}");
                // Again, now from what was kept.
                assert_eq!(batch(&mut one, 3, &[9]), (alone, u32::from(kept != KeptItems::Nothing)));
            }
        }
    }

    #[test]
    fn versions_come_round_and_what_is_decoded_is_altered_anew() {
        let mut maker = BatchMaker::new(plan(Alter::Affine, KeptItems::Altered(2)));
        let versions: Vec<_> = (0..4).map(|epoch| batch(&mut maker, epoch, &[7])).collect();
        assert_ne!(versions[0].0, versions[1].0);
        assert_eq!((&versions[0].0, &versions[1].0), (&versions[2].0, &versions[3].0));
        assert_eq!(versions.iter().map(|one| one.1).collect::<Vec<_>>(), [0, 0, 1, 1]);
        assert_eq!(maker.kept_bytes(), 512);
        let mut fresh = BatchMaker::new(plan(Alter::Affine, KeptItems::Nothing));
        let mut decoded = BatchMaker::new(plan(Alter::Affine, KeptItems::Decoded));
        for epoch in 0..3 {
            let (one, other) = (batch(&mut fresh, epoch, &[7]).0, batch(&mut decoded, epoch, &[7]).0);
            assert!(one.iter().zip(&other).all(|(a, b)| (a - b).abs() < 1e-6));
        }
    }

    #[test]
    fn tokens_overlap_a_strange_item_is_named_and_blanks_are_zeros() {
        let data = [1_u16, 2, 300, 4].iter().flat_map(|token| token.to_le_bytes()).collect();
        let rows = ItemRows::Tokens(3);
        let plan = LoadPlan { rows, data: Arc::new(data), ..plan(Alter::None, KeptItems::Nothing) };
        let mut maker = BatchMaker::new(plan);
        assert_eq!((maker.items(), maker.width()), (2, 3));
        assert_eq!(batch(&mut maker, 0, &[1, 0]).0, [2.0, 300.0, 4.0, 1.0, 2.0, 300.0]);
        let why = maker.make(&mut Wanted { epoch: 8, items: vec![2], ..Wanted::default() }).expect_err("none such");
        assert_eq!(
            (why.as_str(), maker.place().to_string().as_str()),
            ("epoch 8, item 2: there are 2", "epoch 8, item 2")
        );
        let blank = maker.make(&mut Wanted { blank: 5, ..Wanted::default() }).expect("blank");
        assert_eq!(blank, (vec![0.0; 5], 0));
    }
}
