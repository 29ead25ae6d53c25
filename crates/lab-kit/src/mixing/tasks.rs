//! Tasks for small layers of any length: recall, copying, induction, and text letter by letter.

use lab_layers::mixers::block::Batch;
use rand::{Rng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use super::Recall;

/// Letters that are told apart: printable ASCII, the end of a line, all else.
const LETTERS: usize = 97;
/// Tokens that are copied, and how many kinds of them there are.
const COPIED: usize = 4;
const COPIED_KINDS: usize = 8;

/// What a layer is to learn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Pairs of key and value, asked for by their keys.
    Recall(Recall),
    /// Four tokens among blanks, to be said in order when their marks come (selective copying, Gu and Dao, 2023, arXiv:2312.00752).
    Copy {
        /// Tokens before the marks.
        tokens: usize,
        /// Whether the four always stand in the same places: then nothing has to be chosen.
        fixed: bool,
    },
    /// Random tokens, a special one among them twice: what followed it the first time is to be said (Olsson et al., 2022,
    /// arXiv:2209.11895).
    Induction {
        /// Tokens.
        tokens: usize,
        /// Different tokens beside the special one.
        kinds: usize,
    },
    /// The next letter.
    Text {
        /// As bytes.
        text: Vec<u8>,
        /// Letters of an example.
        tokens: usize,
    },
}

impl Task {
    /// Different tokens.
    #[must_use]
    pub fn vocabulary(&self) -> usize {
        match self {
            Self::Recall(recall) => recall.vocabulary(),
            Self::Copy { .. } => COPIED_KINDS + 2,
            Self::Induction { kinds, .. } => kinds + 1,
            Self::Text { .. } => LETTERS,
        }
    }

    /// Different answers.
    #[must_use]
    pub fn outputs(&self) -> usize {
        match self {
            Self::Recall(recall) => recall.kinds,
            Self::Copy { .. } => COPIED_KINDS,
            Self::Induction { kinds, .. } => *kinds,
            Self::Text { .. } => LETTERS,
        }
    }

    /// Tokens of an example.
    #[must_use]
    pub fn tokens(&self) -> usize {
        match self {
            Self::Recall(recall) => recall.tokens,
            Self::Copy { tokens, .. } => tokens + COPIED,
            Self::Induction { tokens, .. } | Self::Text { tokens, .. } => *tokens,
        }
    }

    // ANCHOR: tasks
    /// So many examples; and how many pairs the example of each answer holds, 1 where there are none.
    #[must_use]
    pub fn batch(&self, examples: usize, rng: &mut ChaCha8Rng) -> (Batch, Vec<usize>) {
        if let Self::Recall(recall) = self {
            return recall.batch(examples, rng);
        }
        let mut batch = Batch::default();
        for first in (0..examples).map(|example| example * self.tokens()) {
            match self {
                Self::Recall(_) => {}
                Self::Copy { tokens, fixed } => {
                    let mut places: Vec<usize> = (0..COPIED).map(|i| (2 * i + 1) * tokens / (2 * COPIED)).collect();
                    if !fixed {
                        places = (0..*tokens).collect();
                        places.shuffle(rng);
                        places.truncate(COPIED);
                        places.sort_unstable();
                    }
                    batch.tokens.extend(std::iter::repeat_n(0, *tokens));
                    batch.tokens.extend([COPIED_KINDS + 1; COPIED]);
                    for (i, place) in places.into_iter().enumerate() {
                        let kind = rng.random_range(0..COPIED_KINDS);
                        batch.tokens[first + place] = 1 + kind;
                        batch.targets.push((first + tokens + i, kind));
                    }
                }
                Self::Induction { tokens, kinds } => {
                    batch.tokens.extend((0..*tokens).map(|_| rng.random_range(1..=*kinds)));
                    let special = first + rng.random_range(0..tokens - 2);
                    batch.tokens[special] = 0;
                    batch.tokens[first + tokens - 1] = 0;
                    batch.targets.push((first + tokens - 1, batch.tokens[special + 1] - 1));
                }
                Self::Text { text, tokens } => {
                    let from = rng.random_range(0..text.len() - tokens);
                    let letters = text[from..=from + tokens].iter().map(|byte| match byte {
                        b' '..=b'~' => usize::from(byte - b' '),
                        b'\n' => LETTERS - 2,
                        _ => LETTERS - 1,
                    });
                    let letters: Vec<usize> = letters.collect();
                    batch.tokens.extend(&letters[..*tokens]);
                    batch.targets.extend(letters[1..].iter().enumerate().map(|(i, next)| (first + i, *next)));
                }
            }
        }
        let held = vec![1; batch.targets.len()];
        (batch, held)
    }
    // ANCHOR_END: tasks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_what_stood_in_the_text() {
        let mut rng = crate::rng(0, "tasks");
        for fixed in [false, true] {
            let task = Task::Copy { tokens: 24, fixed };
            let (batch, _) = task.batch(5, &mut rng);
            assert_eq!((batch.tokens.len(), batch.targets.len()), (5 * task.tokens(), 20));
            for example in 0..5 {
                let tokens = &batch.tokens[example * 28..][..28];
                let data: Vec<usize> = tokens[..24].iter().filter(|t| **t > 0).map(|t| t - 1).collect();
                let answers: Vec<usize> = batch.targets[4 * example..][..4].iter().map(|(_, kind)| *kind).collect();
                assert_eq!(data, answers);
                assert!(tokens[24..].iter().all(|t| *t == task.vocabulary() - 1));
                assert_eq!(batch.targets[4 * example].0, example * 28 + 24);
            }
        }
        let task = Task::Induction { tokens: 20, kinds: 6 };
        let (batch, held) = task.batch(50, &mut rng);
        assert_eq!(held.len(), 50);
        for (tokens, (row, answer)) in batch.tokens.chunks_exact(20).zip(&batch.targets) {
            let special = tokens.iter().position(|t| *t == 0).expect("stands there");
            assert_eq!((tokens[special + 1], row % 20, tokens[19]), (answer + 1, 19, 0));
        }
        let task = Task::Text { text: b"ab\ncd\xc3e~ ".to_vec(), tokens: 8 };
        let (batch, _) = task.batch(1, &mut rng);
        assert_eq!(batch.targets.len(), 8);
        assert!(batch.tokens.iter().skip(1).zip(&batch.targets).all(|(next, (_, class))| next == class));
        assert!(batch.tokens.iter().all(|t| *t < task.vocabulary()));
    }
}
