//! Steps and the line they are written in: `quantize:4,channel,gptq>entropy>cache:32`.

use lab_api::{LabError, nearest};

/// What is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntrySubject {
    /// The language model.
    Language,
    /// The classifier of glyphs.
    Glyphs,
}

impl EntrySubject {
    fn words(self) -> &'static str {
        match self {
            Self::Language => "the language model",
            Self::Glyphs => "the classifier",
        }
    }
}

/// One step towards an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryStep {
    /// The small model that the book ships takes the place of the large one.
    Student,
    /// So many per cent of the units of every feed-forward network, or of the channels of every convolution, are removed.
    Prune {
        /// Per cent.
        percent: u32,
    },
    /// The matrices of every feed-forward network become two factors.
    LowRank {
        /// Width of the middle.
        rank: usize,
    },
    /// All weights are trained for a little while, as they are now.
    Recover {
        /// Steps of training.
        steps: usize,
    },
    /// Every matrix is rounded to a symmetric grid.
    Quantize {
        /// An odd number: as many below zero as above. 15 are what 4 bits hold.
        levels: usize,
        /// Weights of a row that share a scale; 0 for the whole row.
        group: usize,
        /// Whether each column's error is made up for by the columns still to come (GPTQ).
        compensated: bool,
    },
    /// The codes in the file are written with fewer bits where they are frequent.
    Entropy,
    /// Keys and values of past tokens are kept, in so many bits a number: 32, 8 or 4.
    Cache {
        /// Bits.
        bits: usize,
    },
    /// Those of the newest tokens alone are kept.
    Window {
        /// How many.
        tokens: usize,
    },
    /// The small model proposes tokens, the model checks them together.
    Draft {
        /// Tokens of a proposal.
        gamma: usize,
    },
    /// The small classifier answers where it is certain enough; the large one is asked about the rest.
    Exit {
        /// How certain, in per cent.
        percent: u32,
    },
    /// So many requests are computed together.
    Batch {
        /// How many at most.
        rows: usize,
    },
}

/// Words that a line may hold, and an example of each.
const WORDS: [(&str, &str); 11] = [
    ("student", "student"),
    ("prune", "prune:25"),
    ("low_rank", "low_rank:96"),
    ("recover", "recover:24"),
    ("quantize", "quantize:4,channel,gptq"),
    ("entropy", "entropy"),
    ("cache", "cache:32"),
    ("window", "window:64"),
    ("draft", "draft:3"),
    ("exit", "exit:90"),
    ("batch", "batch:8"),
];

impl EntryStep {
    /// The word that a line names it by.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Student => "student",
            Self::Prune { .. } => "prune",
            Self::LowRank { .. } => "low_rank",
            Self::Recover { .. } => "recover",
            Self::Quantize { .. } => "quantize",
            Self::Entropy => "entropy",
            Self::Cache { .. } => "cache",
            Self::Window { .. } => "window",
            Self::Draft { .. } => "draft",
            Self::Exit { .. } => "exit",
            Self::Batch { .. } => "batch",
        }
    }

    /// What it says in a line.
    #[must_use]
    pub fn line(self) -> String {
        let word = self.word();
        match self {
            Self::Student | Self::Entropy => word.to_owned(),
            Self::Prune { percent: n } | Self::Exit { percent: n } => format!("{word}:{n}"),
            Self::LowRank { rank: n }
            | Self::Recover { steps: n }
            | Self::Cache { bits: n }
            | Self::Window { tokens: n }
            | Self::Draft { gamma: n }
            | Self::Batch { rows: n } => format!("{word}:{n}"),
            Self::Quantize { levels, group, compensated } => {
                let width = if (levels + 1).is_power_of_two() {
                    (levels + 1).ilog2().to_string()
                } else {
                    format!("{levels}levels")
                };
                let share = if group == 0 { "channel".to_owned() } else { group.to_string() };
                format!("{word}:{width},{share}{}", if compensated { ",gptq" } else { "" })
            }
        }
    }

    /// The same for a reader.
    #[must_use]
    pub fn words(self) -> String {
        match self {
            Self::Student => "small model".to_owned(),
            Self::Prune { percent } => format!("prune {percent} %"),
            Self::LowRank { rank } => format!("rank {rank}"),
            Self::Recover { steps } => format!("train {steps} steps"),
            Self::Quantize { levels, group, compensated } => {
                let width = if (levels + 1).is_power_of_two() {
                    format!("{} bits", (levels + 1).ilog2())
                } else {
                    format!("{levels} levels")
                };
                let share = if group == 0 { String::new() } else { format!(", groups of {group}") };
                format!("{width}{share}{}", if compensated { ", GPTQ" } else { "" })
            }
            Self::Entropy => "entropy code".to_owned(),
            Self::Cache { bits: 32 } => "cache".to_owned(),
            Self::Cache { bits } => format!("cache in {bits} bits"),
            Self::Window { tokens } => format!("window of {tokens}"),
            Self::Draft { gamma } => format!("draft {gamma}"),
            Self::Exit { percent } => format!("exit at {percent} %"),
            Self::Batch { rows } => format!("batch of {rows}"),
        }
    }

    /// Whether it changes the weights, so that quality has to be looked at again.
    #[must_use]
    pub fn changes_weights(self) -> bool {
        matches!(
            self,
            Self::Student | Self::Prune { .. } | Self::LowRank { .. } | Self::Recover { .. } | Self::Quantize { .. }
        )
    }

    /// Whether an entry of the closed division may take it: the shipped weights, nothing trained, nothing removed.
    #[must_use]
    pub fn is_closed(self) -> bool {
        !matches!(
            self,
            Self::Student | Self::Prune { .. } | Self::LowRank { .. } | Self::Recover { .. } | Self::Exit { .. }
        )
    }

    /// Whether it keeps keys and values of past tokens.
    #[must_use]
    pub fn is_cache(self) -> bool {
        matches!(self, Self::Cache { .. } | Self::Window { .. })
    }

    /// Two steps of one kind stand in each other's way.
    fn kind(self) -> &'static str {
        if self.is_cache() { "cache" } else { self.word() }
    }

    fn fits(self, subject: EntrySubject) -> Result<(), String> {
        let language = matches!(self, Self::LowRank { .. } | Self::Draft { .. }) || self.is_cache();
        match subject {
            EntrySubject::Glyphs if self.is_cache() || matches!(self, Self::Draft { .. }) => {
                Err(format!("{} writes no tokens: “{}” needs the language model", subject.words(), self.word()))
            }
            EntrySubject::Glyphs if matches!(self, Self::Quantize { compensated: true, .. }) => {
                Err("GPTQ needs to know what flows into each matrix, which is recorded for the language model alone: take the nearest rounding".to_owned())
            }
            EntrySubject::Glyphs if language => {
                Err(format!("“{}” is for the feed-forward networks of the language model", self.word()))
            }
            EntrySubject::Language if matches!(self, Self::Exit { .. }) => {
                Err("“exit” needs the classifier: a token that leaves early has no keys in the layers above".to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// The steps of a line, in its order; of an empty one none.
///
/// # Errors
/// [`LabError::Refused`] for a word that is not known, with the nearest, and for a number that cannot be.
pub fn parse_line(line: &str) -> Result<Vec<EntryStep>, LabError> {
    let line = line.trim();
    if line.is_empty() { Ok(Vec::new()) } else { line.split('>').map(|part| parse(part.trim())).collect() }
}

/// The line of these steps.
#[must_use]
pub fn format_line(steps: &[EntryStep]) -> String {
    steps.iter().map(|step| step.line()).collect::<Vec<_>>().join(">")
}

fn parse(part: &str) -> Result<EntryStep, LabError> {
    let (word, rest) = part.split_once(':').unwrap_or((part, ""));
    let Some((_, example)) = WORDS.iter().find(|(known, _)| *known == word) else {
        let near = nearest(word, WORDS.iter().map(|(known, _)| *known));
        let hint = near.map_or_else(String::new, |near| format!("; did you mean “{near}”?"));
        return Err(LabError::Refused { why: format!("there is no step “{word}”{hint}") });
    };
    let bad = || LabError::Refused { why: format!("“{part}” is no step: write for example “{example}”") };
    let number = |text: &str, least: usize, most: usize| {
        text.parse::<usize>().ok().filter(|n| (least..=most).contains(n)).ok_or_else(bad)
    };
    let percent = || number(rest, 1, 99).map(|n| n as u32);
    Ok(match word {
        "student" | "entropy" if !rest.is_empty() => return Err(bad()),
        "student" => EntryStep::Student,
        "entropy" => EntryStep::Entropy,
        "prune" => EntryStep::Prune { percent: percent()? },
        "exit" => EntryStep::Exit { percent: percent()? },
        "low_rank" => EntryStep::LowRank { rank: number(rest, 1, 1024)? },
        "recover" => EntryStep::Recover { steps: number(rest, 1, 1000)? },
        "cache" => {
            EntryStep::Cache { bits: number(rest, 4, 32).ok().filter(|n| [4, 8, 32].contains(n)).ok_or_else(bad)? }
        }
        "window" => EntryStep::Window { tokens: number(rest, 4, 256)? },
        "draft" => EntryStep::Draft { gamma: number(rest, 1, 16)? },
        "batch" => EntryStep::Batch { rows: number(rest, 2, 64)? },
        _ => {
            let mut parts = rest.split(',');
            let (width, share) = (parts.next().unwrap_or(""), parts.next().unwrap_or("channel"));
            let levels = match width.strip_suffix("levels") {
                Some(levels) => number(levels, 3, 255)?,
                None => (1 << number(width, 2, 8)?) - 1,
            };
            let group = if share == "channel" { 0 } else { number(share, 8, 576)? };
            let compensated = match parts.next() {
                None => false,
                Some("gptq") => true,
                Some(_) => return Err(bad()),
            };
            if levels % 2 == 0 || parts.next().is_some() {
                return Err(bad());
            }
            EntryStep::Quantize { levels, group, compensated }
        }
    })
}

/// Refuses an order of steps that cannot be computed. What is merely unwise passes: that is for the lab to measure.
///
/// # Errors
/// The place of the offender, from 0, and a sentence with the remedy.
pub fn check(steps: &[EntryStep], subject: EntrySubject) -> Result<(), (usize, String)> {
    for (at, step) in steps.iter().enumerate() {
        let before = &steps[..at];
        let refuse = |why: &str| Err((at, why.to_owned()));
        step.fits(subject).map_err(|why| (at, why))?;
        if before.iter().any(|other| other.kind() == step.kind()) {
            return Err((at, format!("a second step of the kind “{}”: take one of them out", step.kind())));
        }
        let has = |of: fn(&EntryStep) -> bool| before.iter().any(of);
        match step {
            EntryStep::Student if has(|step| step.changes_weights()) => {
                return refuse("the small model would throw away what the steps before it did: let it come first");
            }
            EntryStep::Entropy if !has(|step| matches!(step, EntryStep::Quantize { .. })) => {
                return refuse("there are no codes to write shorter yet: let a step that quantizes come before");
            }
            EntryStep::Draft { .. } if !has(|step| step.is_cache()) => {
                return refuse("checking proposals needs the cache: let it come before");
            }
            EntryStep::Draft { .. } if has(|step| matches!(step, EntryStep::Student)) => {
                return refuse("the small model cannot draft for itself");
            }
            EntryStep::Exit { .. } if has(|step| matches!(step, EntryStep::Student)) => {
                return refuse("the small classifier cannot be asked before itself");
            }
            EntryStep::Prune { .. } if has(|step| matches!(step, EntryStep::LowRank { .. })) => {
                return refuse("units cannot be taken out of factors: prune before the step that factors");
            }
            EntryStep::LowRank { .. } if has(|step| matches!(step, EntryStep::Student)) => {
                return refuse("the small model's matrices are narrower than that rank");
            }
            EntryStep::Prune { .. } if has(|step| matches!(step, EntryStep::Quantize { group: 1.., .. })) => {
                return refuse(
                    "groups of columns cannot lose single columns: prune first, or let whole channels share a scale",
                );
            }
            _ => {}
        }
        let plain = |step: &EntryStep| !step.is_cache() || *step == EntryStep::Cache { bits: 32 };
        let small = steps[..=at].iter().any(|step| !plain(step));
        if small && steps[..=at].iter().any(|step| matches!(step, EntryStep::Batch { .. } | EntryStep::Draft { .. })) {
            return refuse("a cache that gives something up holds one text at a time here: take cache:32 beside it");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_and_its_steps_are_the_same() {
        for line in [
            "",
            "quantize:4,channel,gptq>entropy>cache:32",
            "quantize:11levels,channel,gptq>entropy>cache:32>batch:8",
            "student>quantize:8,channel>entropy>window:64",
            "prune:25>low_rank:96>recover:24>quantize:3,32>cache:32>draft:3",
            "exit:90>batch:64",
        ] {
            assert_eq!(format_line(&parse_line(line).expect("known")), line);
        }
        assert_eq!(
            parse_line(" quantize:4 > entropy ").expect("known"),
            [EntryStep::Quantize { levels: 15, group: 0, compensated: false }, EntryStep::Entropy]
        );
    }

    #[test]
    fn what_is_no_step_is_refused_with_the_nearest() {
        let why = |line: &str| parse_line(line).expect_err("refused").to_string();
        assert!(why("quantise:4").contains("did you mean “quantize”"));
        assert!(why("quantize:9,channel").contains("quantize:4,channel,gptq"));
        for line in
            ["quantize:10levels,channel", "quantize:4,channel,now", "cache:16", "entropy:2", "draft:0", "entropy>"]
        {
            assert!(parse_line(line).is_err(), "{line}");
        }
    }

    #[test]
    fn orders_that_cannot_be_are_refused_at_their_place() {
        let found = |line: &str, subject| check(&parse_line(line).expect("known"), subject);
        for (line, at, word) in [
            ("entropy>quantize:4,channel", 0, "no codes"),
            ("quantize:4,channel>entropy>quantize:3,channel", 2, "second"),
            ("draft:3", 0, "cache"),
            ("cache:32>window:64", 1, "second"),
            ("cache:8>batch:8", 1, "one text at a time"),
            ("quantize:4,channel>student", 1, "first"),
            ("exit:90", 0, "keys in the layers above"),
            ("quantize:4,32>prune:25", 1, "groups"),
            ("low_rank:96>prune:25", 1, "factors"),
        ] {
            let (place, why) = found(line, EntrySubject::Language).expect_err(line);
            assert!(place == at && why.contains(word), "{line}: {place} {why}");
        }
        let (_, why) = found("cache:32", EntrySubject::Glyphs).expect_err("refused");
        assert_eq!(why, "the classifier writes no tokens: “cache” needs the language model");
        // Unwise, and allowed.
        for line in ["quantize:4,channel>prune:25", "quantize:4,channel>recover:24", "batch:8", "quantize:4,32>entropy"]
        {
            assert_eq!(found(line, EntrySubject::Language), Ok(()));
        }
        assert_eq!(
            found("prune:50>recover:120>quantize:4,channel>entropy>exit:90>batch:64", EntrySubject::Glyphs),
            Ok(())
        );
    }
}
