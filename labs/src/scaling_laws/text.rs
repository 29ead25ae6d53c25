//! Characters to learn from and to be judged by.

use lab_api::LabError;
use lab_kit::{
    Context,
    burn::tensor::{Device, Int, Tensor, TensorData},
    data::{Corpus, Part},
    rng,
};
use rand::{Rng, seq::SliceRandom};

/// Symbols: 95 printable ones and the line feed.
pub(super) const SYMBOLS: usize = 96;
/// Characters that the network sees before the one it foretells.
pub(super) const BEFORE: usize = 16;

/// Both parts of the corpus as numbers of symbols.
pub(super) struct Text {
    train: Vec<u8>,
    judge: Vec<u8>,
    /// Places of [`Text::judge`] whose character is foretold: the same for every network and seed.
    judged: Vec<u32>,
}

fn symbols(text: &str) -> Vec<u8> {
    text.bytes().map(|byte| if byte == b'\n' { 95 } else { byte.saturating_sub(b' ').min(94) }).collect()
}

/// So many places of `text`, drawn by `rng`: none comes twice, and they come from everywhere.
fn places(text: &[u8], count: usize, rng: &mut impl Rng) -> Vec<u32> {
    let mut all: Vec<u32> = (BEFORE as u32..text.len() as u32).collect();
    let count = count.min(all.len());
    all.partial_shuffle(rng, count).0.to_vec()
}

impl Text {
    /// The training part to learn from; `judged` places of the test part to be judged by.
    pub(super) async fn load(judged: usize, cx: &Context) -> Result<Self, LabError> {
        let train = symbols(&Corpus::read(Part::Train, &cx.asset(Part::Train.asset()).await?)?.text);
        let judge = symbols(&Corpus::read(Part::Test, &cx.asset(Part::Test.asset()).await?)?.text);
        let judged = places(&judge, judged, &mut rng(0, "judged"));
        Ok(Self { train, judge, judged })
    }

    /// Characters that can be foretold.
    pub(super) fn characters(&self) -> usize {
        self.train.len() - BEFORE
    }

    /// The order in which trainings of one sweep read: all of them begin with the same places.
    pub(super) fn order(&self, count: usize, rng: &mut impl Rng) -> Vec<u32> {
        places(&self.train, count, rng)
    }

    /// Contexts `[places, BEFORE]` and targets `[places]` of places to learn from.
    pub(super) fn batch(&self, places: impl ExactSizeIterator<Item = u32>, device: &Device) -> Batch {
        batch(&self.train, places, device)
    }

    /// The same of all that judges, some at a time.
    pub(super) fn to_judge<'a>(&'a self, device: &'a Device) -> impl Iterator<Item = (usize, Batch)> + 'a {
        let chunks = self.judged.chunks(1024);
        chunks.map(move |places| (places.len(), batch(&self.judge, places.iter().copied(), device)))
    }
}

/// Contexts and targets.
pub(super) type Batch = (Tensor<2, Int>, Tensor<1, Int>);

fn batch(text: &[u8], places: impl ExactSizeIterator<Item = u32>, device: &Device) -> Batch {
    let count = places.len();
    let (mut contexts, mut targets) = (Vec::with_capacity(count * BEFORE), Vec::with_capacity(count));
    for place in places {
        let place = place as usize;
        contexts.extend(text[place - BEFORE..place].iter().map(|symbol| i32::from(*symbol)));
        targets.push(i32::from(text[place]));
    }
    let contexts = Tensor::from_data(TensorData::new(contexts, [count, BEFORE]), device);
    (contexts, Tensor::from_data(TensorData::new(targets, [count]), device))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_once_and_from_everywhere() {
        let text = vec![0; 5000];
        let mut drawn = places(&text, 1000, &mut rng(0, "t"));
        assert!(drawn.iter().all(|p| (BEFORE..5000).contains(&(*p as usize))));
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(drawn.len(), 1000);
        assert!(drawn[100] < 1000 && drawn[900] > 4000);
        assert_eq!(places(&text, 9999, &mut rng(0, "t")).len(), 5000 - BEFORE);
        assert_eq!(places(&text, 10, &mut rng(1, "t")), places(&text, 10, &mut rng(1, "t")));
        assert_ne!(places(&text, 10, &mut rng(1, "t")), places(&text, 10, &mut rng(2, "t")));
    }

    #[test]
    fn every_character_of_the_corpus_is_a_symbol_of_its_own() {
        let all: String = (b' '..=b'~').map(char::from).chain(['\n']).collect();
        let mut numbers = symbols(&all);
        assert_eq!(numbers.len(), SYMBOLS);
        numbers.dedup();
        assert_eq!((numbers.len(), numbers[0], numbers[95]), (SYMBOLS, 0, 95));
    }
}
