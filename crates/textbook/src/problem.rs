//! What is wrong with the book: every problem of a build, each with its place and its remedy.

use std::{fmt, sync::Mutex};

use lab_api::nearest;

/// One mistake in a source file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// File, relative to the project's root.
    pub file: String,
    /// Line in that file, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
    /// The offending text, as it stands in the file.
    pub text: String,
    /// The nearest valid name, where one is near.
    pub nearest: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.file, self.line, self.message, self.text)?;
        match &self.nearest {
            Some(near) => write!(f, "; did you mean “{near}”?"),
            None => Ok(()),
        }
    }
}

/// All problems of one build, in order of file and line. The preprocessor's error: `downcast_ref` finds it behind mdBook's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.0 {
            writeln!(f, "{problem}")?;
        }
        match self.0.len() {
            1 => write!(f, "1 problem in the book"),
            n => write!(f, "{n} problems in the book"),
        }
    }
}

impl std::error::Error for Problems {}

/// Collects problems while a book is built.
#[derive(Debug, Default)]
pub(crate) struct Reporter(Mutex<Vec<Problem>>);

impl Reporter {
    pub(crate) fn report(&self, problem: Problem) {
        if let Ok(mut all) = self.0.lock() {
            all.push(problem);
        }
    }

    /// Ordered, each once; `None` if all is well.
    pub(crate) fn finish(self) -> Option<Problems> {
        let mut all = self.0.into_inner().unwrap_or_default();
        all.sort();
        all.dedup();
        if all.is_empty() { None } else { Some(Problems(all)) }
    }
}

/// The nearest of `names` to `word`, owned.
pub(crate) fn near<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(word, names).map(str::to_owned)
}
