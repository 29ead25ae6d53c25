//! What stands in a formatted work for markup that the formatter would not keep.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use crate::html::text_of;

/// Stands for the authors who are not named.
pub(super) const OTHERS: char = '\u{e014}';
/// Around a number: the formula of that number.
pub(super) const FORMULA: [char; 2] = ['\u{e010}', '\u{e011}'];
/// Begins and ends of what TeX sets in another face.
pub(super) const FACES: [(char, &str); 8] = [
    ('\u{e015}', "<em>"),
    ('\u{e016}', "</em>"),
    ('\u{e017}', "<strong>"),
    ('\u{e018}', "</strong>"),
    ('\u{e019}', "<code>"),
    ('\u{e01a}', "</code>"),
    (LESS, "&lt;"),
    (MORE, "&gt;"),
];
/// The signs `<` and `>`, which the formatter hands on as markup.
pub(super) const LESS: char = '\u{e01b}';
pub(super) const MORE: char = '\u{e01c}';

static UNNAMED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(&format!(r"(?:,?\s*(?:and|&amp;|&)\s*|,\s*|\s+)?{OTHERS},?")).expect("a constant pattern")
});
static NUMBER: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(&format!("{}(\\d+){}", FORMULA[0], FORMULA[1])).expect("a constant pattern"));

/// Marks in formatted works, and the HTML that they stand for.
#[derive(Debug, Default)]
pub(crate) struct Marks(pub(super) Vec<String>);

impl Marks {
    /// A formatted work with everything in place of its marks.
    pub(crate) fn html(&self, text: &str) -> String {
        let mut out = UNNAMED.replace_all(text, " et al.").into_owned();
        out = NUMBER.replace_all(&out, |found: &Captures<'_>| self.formula(&found[1]).to_owned()).into_owned();
        for (mark, tag) in FACES {
            out = out.replace(mark, tag);
        }
        out.replace("et al..", "et al.")
    }

    /// The same as words.
    pub(crate) fn plain(&self, text: &str) -> String {
        let mut out = UNNAMED.replace_all(text, " et al.").into_owned();
        out = NUMBER.replace_all(&out, |found: &Captures<'_>| text_of(self.formula(&found[1]))).into_owned();
        // The comma before a year was taken with the name.
        let year = out.find(" et al. ").filter(|_| text.contains(OTHERS)).map(|at| at + " et al.".len());
        if let Some(at) = year {
            out.insert(at, ',');
        }
        let out = out.replace(LESS, "<").replace(MORE, ">");
        out.replace(|c| FACES.iter().any(|(mark, _)| *mark == c), "").trim_start().to_owned()
    }

    fn formula(&self, number: &str) -> &str {
        number.parse().ok().and_then(|at: usize| self.0.get(at)).map_or("", String::as_str)
    }
}
