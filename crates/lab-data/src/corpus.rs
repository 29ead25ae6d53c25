//! The corpus: technical English in three parts, split by document.

use lab_api::LabError;

use crate::gunzip;

/// A part of the corpus. No document stands in two of them, and no paragraph of one is nearly a paragraph of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// For training: ten times the size of the others. A page loads it where its lab trains on text.
    Train,
    /// For choices made while training.
    Validation,
    /// For every figure that is reported.
    Test,
}

impl Part {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Train, Self::Validation, Self::Test];

    /// Its name in the asset manifest.
    #[must_use]
    pub fn asset(self) -> &'static str {
        match self {
            Self::Train => "corpus/train.txt.gz",
            Self::Validation => "corpus/validation.txt.gz",
            Self::Test => "corpus/test.txt.gz",
        }
    }
}

/// One part of the corpus, read.
///
/// The text is printable ASCII and line feeds alone, so that bytes are characters. A document begins with its title,
/// `# Title`; a paragraph, list item or heading is one line, and a blank line stands between them. Code blocks and
/// tables were left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corpus {
    /// The text.
    pub text: String,
}

impl Corpus {
    /// More than any part holds, in bytes: a wrong file must not fill the memory.
    const LIMIT_BYTES: usize = 64 << 20;

    /// Reads a part.
    ///
    /// # Errors
    /// [`LabError::Asset`] when the file is cut off, altered, empty, or holds a character that the corpus does not.
    pub fn read(part: Part, gzip: &[u8]) -> Result<Self, LabError> {
        let fail = |why: String| LabError::Asset { name: part.asset().into(), why };
        let text = gunzip(part.asset(), gzip, Self::LIMIT_BYTES)?;
        if let Some(at) = text.iter().position(|byte| !is_of_corpus(*byte)) {
            let line = 1 + text[..at].iter().filter(|byte| **byte == b'\n').count();
            return Err(fail(format!("line {line} holds the byte {:#04x}, which is not printable ASCII", text[at])));
        }
        if text.is_empty() {
            return Err(fail("it holds no text".into()));
        }
        let text = String::from_utf8(text).map_err(|error| fail(error.to_string()))?;
        Ok(Self { text })
    }

    /// Its documents, in order, each beginning with its title.
    pub fn documents(&self) -> impl Iterator<Item = &str> {
        // Only a title stands after two blank lines.
        self.text.split(BETWEEN_DOCUMENTS)
    }

    /// The document in which each piece of the text begins, the pieces (tokens, say) being given in order by their lengths
    /// in bytes.
    pub fn document_of(&self, lengths: impl IntoIterator<Item = usize>) -> Vec<usize> {
        let mut ends = self.documents().scan(0, |at, document| {
            *at += document.len() + BETWEEN_DOCUMENTS.len();
            Some(*at)
        });
        let (mut at, mut document) = (0, 0);
        let mut end = ends.next().unwrap_or(usize::MAX);
        let mut of = Vec::new();
        for length in lengths {
            while at >= end {
                document += 1;
                end = ends.next().unwrap_or(usize::MAX);
            }
            of.push(document);
            at += length;
        }
        of
    }
}

/// What stands between two documents.
const BETWEEN_DOCUMENTS: &str = "\n\n\n";

/// Whether the corpus may hold this byte.
const fn is_of_corpus(byte: u8) -> bool {
    byte == b'\n' || (byte >= b' ' && byte <= b'~')
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::{Corpus, Part};

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text).expect("in memory");
        encoder.finish().expect("in memory")
    }

    #[test]
    fn documents_stand_apart() {
        let corpus = Corpus::read(Part::Test, &gzip(b"# A\n\nOne.\n\n\n# B\n\nTwo.\n")).expect("reads");
        assert_eq!(corpus.documents().collect::<Vec<_>>(), ["# A\n\nOne.", "# B\n\nTwo.\n"]);
        // The third piece, line feeds and a “#”, begins in the first document.
        assert_eq!(corpus.document_of([6, 3, 4, 9]), [0, 0, 0, 1]);
        assert_eq!(corpus.document_of([12, 1, 9]), [0, 1, 1]);
    }

    #[test]
    fn what_is_not_the_corpus_is_refused_by_name_and_line() {
        let error = Corpus::read(Part::Train, &gzip("a\nb\né".as_bytes())).expect_err("not ASCII").to_string();
        assert!(error.contains("corpus/train.txt.gz") && error.contains("line 3"), "{error}");
        assert!(Corpus::read(Part::Train, &gzip(b"")).is_err());
        assert!(Corpus::read(Part::Train, &gzip(b"abc")[..9]).is_err());
    }

    #[test]
    fn the_shipped_parts_are_read_and_apart() {
        let test = include_bytes!("../../../assets/corpus/test.txt.gz");
        let test = Corpus::read(Part::Test, test).expect("shipped");
        let validation = include_bytes!("../../../assets/corpus/validation.txt.gz");
        let validation = Corpus::read(Part::Validation, validation).expect("shipped");
        for corpus in [&test, &validation] {
            assert!((150_000..450_000).contains(&corpus.text.len()), "{}", corpus.text.len());
            assert!(corpus.documents().all(|document| document.starts_with("# ")));
        }
        let paragraphs: std::collections::HashSet<&str> =
            test.text.lines().filter(|line| line.len() > 60 && !line.starts_with('#')).collect();
        assert!(validation.text.lines().all(|line| !paragraphs.contains(line)));
    }
}
