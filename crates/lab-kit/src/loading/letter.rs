//! What passes between workers of a page: numbers, items, floats and words, so that an engine only has to move them.

use std::sync::Arc;

use super::{Alter, Answer, BatchMaker, ItemRows, KeptItems, LoadPlan, LoaderPlace, Made, Wanted};

/// One message.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Letter {
    /// What is said, in numbers.
    pub head: Vec<f64>,
    /// Items of a batch.
    pub items: Vec<u32>,
    /// A batch.
    pub values: Vec<f32>,
    /// Why nothing comes; empty where something does.
    pub why: String,
}

impl Letter {
    /// Says that a worker stops.
    #[must_use]
    pub fn failed(why: &str) -> Self {
        Self { why: why.into(), ..Self::default() }
    }

    fn at(&self, place: usize) -> f64 {
        self.head.get(place).copied().unwrap_or(0.0)
    }
}

impl LoadPlan {
    /// The plan without its data.
    #[must_use]
    pub fn letter(&self) -> Letter {
        let (kind, size) = match self.rows {
            ItemRows::Pictures(side) => (0.0, side),
            ItemRows::Tokens(row) => (1.0, row),
        };
        let kept = match self.kept {
            KeptItems::Nothing => -1.0,
            KeptItems::Decoded => 0.0,
            KeptItems::Altered(versions) => f64::from(versions),
        };
        let [low, high] = [self.seed as u32, (self.seed >> 32) as u32].map(f64::from);
        let head = vec![low, high, kind, size as f64, self.alter as u8 as f64, kept, f64::from(u8::from(self.slow))];
        Letter { head, ..Letter::default() }
    }
}

impl Wanted {
    /// The wish without its buffer.
    #[must_use]
    pub fn letter(&self) -> Letter {
        let copied = f64::from(u8::from(self.copied));
        let head = vec![self.number as f64, self.epoch as f64, f64::from(self.blank), copied];
        Letter { head, items: self.items.clone(), ..Letter::default() }
    }

    /// Whether a letter asks for a copy.
    #[must_use]
    pub fn is_copied(letter: &Letter) -> bool {
        letter.at(3) > 0.0
    }
}

impl Answer {
    /// What a worker, counted from 1, has written.
    #[must_use]
    pub fn of(worker: usize, letter: Letter) -> Self {
        if !letter.why.is_empty() {
            return Self::Failed { worker, why: letter.why };
        }
        let (number, hits) = (letter.at(0) as u64, letter.at(3) as u32);
        let span = [letter.at(1), letter.at(2)];
        Self::Made(Made { number, worker, values: letter.values, span, hits })
    }
}

/// A worker's side: reads letters and answers each.
#[derive(Debug)]
pub struct LetterBox(BatchMaker);

impl LetterBox {
    /// Reads a plan.
    ///
    /// # Errors
    /// Words, for a letter that is none.
    pub fn open(letter: &Letter, data: Vec<u8>) -> Result<Self, String> {
        let alter = [Alter::None, Alter::Shift, Alter::Affine, Alter::Elastic, Alter::Both].get(letter.at(4) as usize);
        let (Some(alter), 7) = (alter, letter.head.len()) else {
            return Err("the plan cannot be read".into());
        };
        let size = letter.at(3) as usize;
        let kept = match letter.at(5) {
            x if x < 0.0 => KeptItems::Nothing,
            0.0 => KeptItems::Decoded,
            versions => KeptItems::Altered(versions as u32),
        };
        Ok(Self(BatchMaker::new(LoadPlan {
            seed: letter.at(0) as u64 | (letter.at(1) as u64) << 32,
            rows: if letter.at(2) == 0.0 { ItemRows::Pictures(size) } else { ItemRows::Tokens(size) },
            alter: *alter,
            kept,
            slow: letter.at(6) > 0.0,
            data: Arc::new(data),
        })))
    }

    /// Makes what a letter asks for, into `buffer`; `clock` tells milliseconds.
    pub fn answer(&mut self, letter: &Letter, buffer: Vec<f32>, clock: &dyn Fn() -> f64) -> Letter {
        let mut wanted = Wanted {
            number: letter.at(0) as u64,
            epoch: letter.at(1) as u64,
            blank: letter.at(2) as u32,
            items: letter.items.clone(),
            copied: false,
            buffer,
        };
        let began = clock();
        match self.0.make(&mut wanted) {
            Ok((values, hits)) => {
                let head = vec![letter.at(0), began, clock(), f64::from(hits)];
                Letter { head, values, ..Letter::default() }
            }
            Err(why) => Letter::failed(&why),
        }
    }

    /// Where it is, for a worker that must tell why it stops.
    #[must_use]
    pub fn place(&self) -> LoaderPlace {
        self.0.place()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_survives_its_letter_and_strange_ones_are_refused() {
        for kept in [KeptItems::Nothing, KeptItems::Decoded, KeptItems::Altered(3)] {
            for (rows, alter) in [(ItemRows::Pictures(16), Alter::Both), (ItemRows::Tokens(3), Alter::None)] {
                let plan = LoadPlan { seed: u64::MAX - 5, rows, alter, kept, slow: true, data: Arc::new(vec![7; 256]) };
                let opened = LetterBox::open(&plan.letter(), vec![7; 256]).expect("a plan");
                assert_eq!(format!("{:?}", opened.0), format!("{:?}", BatchMaker::new(plan)));
            }
        }
        assert!(LetterBox::open(&Letter::default(), vec![]).is_err());
        let far = Letter { head: vec![0.0, 0.0, 0.0, 16.0, 9.0, 0.0, 0.0], ..Letter::default() };
        assert!(LetterBox::open(&far, vec![]).is_err());
    }

    #[test]
    fn an_item_that_is_not_there_is_an_answer_with_words() {
        let (rows, alter, kept) = (ItemRows::Pictures(16), Alter::None, KeptItems::Nothing);
        let plan = LoadPlan { seed: 1, rows, alter, kept, slow: false, data: Arc::new(vec![0; 256]) };
        let mut opened = LetterBox::open(&plan.letter(), plan.data.to_vec()).expect("a plan");
        let wanted = Wanted { number: 3, epoch: 2, items: vec![0, 5], ..Wanted::default() };
        let answer = Answer::of(2, opened.answer(&wanted.letter(), vec![], &|| 0.0));
        assert_eq!(answer, Answer::Failed { worker: 2, why: "epoch 2, item 5: there are 2".into() });
        assert_eq!(opened.place().to_string(), "epoch 2, item 5");
        assert!(!Wanted::is_copied(&wanted.letter()));
    }
}
