//! What the formula reader hands on unread: words in operators and in text. And what to write instead of what it does not know.

use std::sync::LazyLock;

use regex::Regex;

/// Marks an operator that was written with a star: it is a word even if it is of one letter.
const WORD: char = '\u{2060}';
/// Signs that TeX would read, where the author wants to see them; `shown` turns them back.
const MEANT: [(char, char); 4] = [('\\', '\u{e000}'), ('{', '\u{e001}'), ('}', '\u{e002}'), ('$', '\u{e003}')];

static STARRED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\\operatorname\s*\*\s*\{").expect("a constant pattern"));
static COMMAND: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\\([A-Za-z]+)").expect("a constant pattern"));
static ENVIRONMENT: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\\begin\s*\{([^{}]*)\}").expect("a constant pattern"));
static WORDS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"<(?:mi|mtext)\b[^>]*>([^<]{2,})<").expect("a constant pattern"));

/// `\operatorname*{x}` as `\mathop{x}`, which takes its limits below.
pub(crate) fn with_starred_operators(tex: &str) -> String {
    STARRED.replace_all(tex, format!("\\mathop{{{WORD}")).into_owned()
}

/// A sign as `unread` passes it.
fn meant(c: char) -> char {
    MEANT.iter().find(|(sign, _)| *sign == c).map_or(c, |(_, hidden)| *hidden)
}

/// The signs that were meant, again.
pub(crate) fn shown(mathml: &str) -> String {
    MEANT.iter().fold(mathml.to_owned(), |text, (sign, hidden)| text.replace(*hidden, &sign.to_string()))
}

/// Words of a built formula that are still TeX.
pub(crate) fn unread(mathml: &str) -> Option<&str> {
    let mut words = WORDS.captures_iter(mathml).filter_map(|found| found.get(1)).map(|m| m.as_str());
    words.find(|words| words.contains(['\\', '{', '}', '$']))
}

/// Commands that the reader takes without setting what they say, or in another form than people write, and what to write instead.
const DROPPED: &[(&str, &str)] = &[
    ("newcommand", "what it stands for, where it is used"),
    ("renewcommand", "what it stands for, where it is used"),
    ("providecommand", "what it stands for, where it is used"),
    ("sideset", r"what stands beside the sign after it, as in \sum^{*}"),
];

/// The first command that would be lost, and what to write.
pub(crate) fn dropped(tex: &str) -> Option<String> {
    let mut names = COMMAND.captures_iter(tex).filter_map(|found| found.get(1)).map(|m| m.as_str());
    let (name, instead) = names.find_map(|name| DROPPED.iter().find(|(known, _)| *known == name))?;
    Some(format!("\\{name} is not read here: write {instead}"))
}

/// One sign or command of TeX.
enum Token<'a> {
    Sign(char),
    Command(&'a str),
}

/// Parts of some TeX: signs, and commands without their backslash (of letters, with the space after them, or of one sign).
fn tokens(tex: &str) -> Vec<Token<'_>> {
    let mut all = Vec::new();
    let mut rest = tex;
    while let Some(c) = rest.chars().next() {
        if c != '\\' {
            all.push(Token::Sign(c));
            rest = &rest[c.len_utf8()..];
            continue;
        }
        let after = &rest[1..];
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let end = if letters > 0 { letters } else { after.chars().next().map_or(0, char::len_utf8) };
        all.push(Token::Command(&after[..end]));
        rest = &after[end..];
        if letters > 0 {
            rest = rest.trim_start();
        }
    }
    all
}

/// The space that a command stands for.
fn space(command: &str) -> Option<&'static str> {
    Some(match command {
        "," | ":" | "thinspace" => "\u{2009}",
        ";" | " " | "enspace" | "space" => " ",
        "quad" | "qquad" => "\u{2003}",
        "!" | "-" | "relax" => "",
        _ => return None,
    })
}

/// The inside of `\operatorname` and `\mathop` as words, fit for HTML.
///
/// # Errors
/// What is no word.
pub(crate) fn operator_words(inside: &str) -> Result<String, String> {
    let mut out = String::new();
    let inside_shown = inside.trim_start_matches(WORD);
    let no_word = |what: &str| {
        let remedy = match what.trim_start_matches('\\') {
            "mathbb" | "mathbf" | "mathcal" | "mathsf" | "boldsymbol" => {
                format!(": write \\underset{{…}}{{{inside_shown}}}")
            }
            "arg" | "max" | "min" | "sup" | "inf" | "lim" | "log" | "exp" => {
                format!(": write {} without its backslash", what.trim_start_matches('\\'))
            }
            _ => ": write a sign with limits as \\underset{…}{…}".to_owned(),
        };
        Err(format!("an operator is a word, and “{what}” in “{inside_shown}” is none{remedy}"))
    };
    for token in tokens(inside) {
        match token {
            Token::Sign(WORD | '{' | '}') => {}
            Token::Sign('~') => out.push('\u{a0}'),
            Token::Sign(c @ ('_' | '^' | '$' | '&' | '#' | '%' | '<' | '>')) => return no_word(&c.to_string()),
            Token::Sign(c) => out.push(c),
            // Letters of an operator are upright anyway.
            Token::Command("mathrm" | "rm" | "text" | "textrm" | "mathup" | "textup" | "mbox") => {}
            Token::Command(sign @ ("_" | "%" | "#")) => out.push_str(sign),
            Token::Command(command) => match space(command) {
                Some(space) => out.push_str(space),
                None => return no_word(&format!("\\{command}")),
            },
        }
    }
    Ok(out)
}

/// The inside of `\text`, parted at its formulas: `true` for a formula.
///
/// # Errors
/// A formula that does not end.
pub(crate) fn text_and_formulas(inside: &str) -> Result<Vec<(bool, &str)>, String> {
    let mut parts = Vec::new();
    let (mut start, mut is_formula, mut escaped) = (0, false, false);
    for (at, c) in inside.char_indices() {
        if c == '$' && !escaped {
            if at > start {
                parts.push((is_formula, &inside[start..at]));
            }
            (start, is_formula) = (at + 1, !is_formula);
        }
        escaped = c == '\\' && !escaped;
    }
    if is_formula {
        return Err(format!("the $ in “{inside}” is not closed"));
    }
    if start < inside.len() {
        parts.push((false, &inside[start..]));
    }
    Ok(parts)
}

/// Text within a formula as readers see it.
///
/// # Errors
/// A command that is not read there.
pub(crate) fn text_words(inside: &str) -> Result<String, String> {
    let mut out = String::new();
    for token in tokens(inside) {
        match token {
            Token::Sign('{' | '}') => {}
            Token::Sign('~') => out.push('\u{a0}'),
            Token::Sign(c) => out.push(c),
            Token::Command(sign @ ("_" | "%" | "#" | "&")) => out.push_str(sign),
            Token::Command(sign @ ("{" | "}" | "$")) => out.extend(sign.chars().map(meant)),
            Token::Command("textbackslash") => out.push(meant('\\')),
            Token::Command("ldots" | "dots" | "textellipsis") => out.push('…'),
            Token::Command(command) => match space(command) {
                Some(space) => out.push_str(space),
                None if command == "\\" => {
                    return Err("\\\\ within \\text is not read: write \\textbackslash for the sign, or end the \\text before it".to_owned());
                }
                None if command.chars().all(|c| c.is_ascii_punctuation()) => {
                    return Err(format!("\\{command} within \\text is not read: write the letter itself (é, ñ, ü)"));
                }
                None if SIZES.contains(&command) => {
                    return Err(format!("\\{command} within \\text is not read: leave it out"));
                }
                None if command.starts_with("text") || command == "emph" => {
                    return Err(format!(
                        "\\{command} within \\text is not read: write it by itself, beside \\text{{…}}"
                    ));
                }
                None => return Err(format!("\\{command} within \\text is not read: write $\\{command}$ there")),
            },
        }
    }
    Ok(out)
}

/// Sizes and shapes of text, of which a formula has one.
const SIZES: &[&str] = &[
    "tiny",
    "scriptsize",
    "footnotesize",
    "small",
    "normalsize",
    "large",
    "Large",
    "huge",
    "bf",
    "it",
    "rm",
    "sf",
    "tt",
    "em",
];

/// What other tools know and this reader does not, and what says the same here.
const INSTEAD: &[(&str, &str)] = &[
    ("argmin", r"\operatorname*{arg\,min}"),
    ("argmax", r"\operatorname*{arg\,max}"),
    ("bm", r"\boldsymbol"),
    ("pmb", r"\boldsymbol"),
    ("boldmath", r"\boldsymbol"),
    ("mathbbm", r"\mathbb"),
    ("mathds", r"\mathbb"),
    ("mathscr", r"\mathcal"),
    ("tag", "a label after the formula, $$ {#eq-…}, which numbers it"),
    ("label", "a label after the formula, $$ {#eq-…}"),
    ("ref", "@eq-… in the text"),
    ("eqref", "@eq-… in the text"),
    ("cref", "@eq-… in the text"),
    ("cite", "[@key] in the text"),
    ("nonumber", "nothing: a formula without a label has no number"),
    ("notag", "nothing: a formula without a label has no number"),
    ("nicefrac", r"\tfrac{a}{b} or a / b"),
    ("sfrac", r"\tfrac{a}{b} or a / b"),
    ("SI", r"the number and \ \text{ms}"),
    ("si", r"\text{ms}"),
    ("qty", r"the number and \ \text{ms}"),
    ("unit", r"\text{ms}"),
    ("num", "the number alone"),
    ("mbox", r"\text"),
    ("hbox", r"\text"),
    ("textnormal", r"\text"),
    ("textup", r"\text"),
    ("emph", r"\textit"),
    ("boxed", "the formula without its box"),
    ("phantom", r"a space: \quad or \;"),
    ("hphantom", r"a space: \quad or \;"),
    ("vphantom", "nothing, or a larger bracket: \\bigl( … \\bigr)"),
    ("unicode", "the character itself"),
    ("DeclareMathOperator", r"\operatorname{…} where it is used"),
    ("ensuremath", "what stands in it"),
    ("abs", r"\lvert … \rvert"),
    ("norm", r"\lVert … \rVert"),
    ("N", r"\mathbb{N}"),
    ("R", r"\mathbb{R}"),
    ("E", r"\mathbb{E}"),
    ("KL", r"\operatorname{KL}"),
    ("softmax", r"\operatorname{softmax}"),
    ("sign", r"\operatorname{sign}"),
    ("tr", r"\operatorname{tr}"),
    ("rank", r"\operatorname{rank}"),
    ("diag", r"\operatorname{diag}"),
    ("Tr", r"\operatorname{Tr}"),
    ("Var", r"\operatorname{Var}"),
    ("Cov", r"\operatorname{Cov}"),
    ("ReLU", r"\operatorname{ReLU}"),
    ("sigmoid", r"\operatorname{sigmoid}"),
    ("Z", r"\mathbb{Z}"),
    ("Q", r"\mathbb{Q}"),
    ("C", r"\mathbb{C}"),
    ("Prob", r"\mathbb{P}"),
    ("Expect", r"\mathbb{E}"),
    ("operatornamewithlimits", r"\operatorname*"),
    ("mod", r"\bmod or \pmod{n}"),
    ("textsc", r"\text"),
    ("textasciitilde", r"\sim"),
    ("textmu", r"\text{µ}"),
    ("upmu", r"\mu, or the unit as \text{µs}"),
    ("ce", r"\text{H}_2\text{O}"),
    ("href", "[words](address) in the text"),
    ("url", "[words](address) in the text"),
    ("includegraphics", "![caption](file) in the text"),
    ("verb", r"`…` in the text, or \texttt{…}"),
    ("prescript", r"{}_a^b X"),
    ("bcancel", "the formula without its line"),
    ("xcancel", "the formula without its line"),
    ("smash", "the formula without it"),
    ("mathrlap", "the formula without it"),
    ("mathllap", "the formula without it"),
    ("llap", "the formula without it"),
    ("raisebox", "the formula without it"),
    ("rule", "the formula without it"),
    ("hfill", r"\quad"),
    ("hline", r"it within array, after \\"),
    ("textquotedblleft", "“"),
    ("vcenter", "the formula without it"),
    ("mathchoice", "one of the four"),
    ("newline", r"\\ within aligned"),
    ("par", "two formulas"),
    ("small", "the formula without it"),
    ("large", "the formula without it"),
    ("footnotesize", "the formula without it"),
];

/// Commands that are read, of which a slip of the keyboard may have been meant for one.
const KNOWN: &[&str] = &[
    "alpha",
    "beta",
    "gamma",
    "delta",
    "epsilon",
    "varepsilon",
    "zeta",
    "eta",
    "theta",
    "iota",
    "kappa",
    "lambda",
    "mu",
    "nu",
    "xi",
    "pi",
    "rho",
    "sigma",
    "tau",
    "upsilon",
    "phi",
    "varphi",
    "chi",
    "psi",
    "omega",
    "Gamma",
    "Delta",
    "Theta",
    "Lambda",
    "Sigma",
    "Phi",
    "Psi",
    "Omega",
    "frac",
    "tfrac",
    "dfrac",
    "sqrt",
    "sum",
    "prod",
    "int",
    "partial",
    "nabla",
    "infty",
    "cdot",
    "cdots",
    "ldots",
    "vdots",
    "ddots",
    "times",
    "approx",
    "equiv",
    "propto",
    "leq",
    "geq",
    "neq",
    "subset",
    "subseteq",
    "setminus",
    "forall",
    "exists",
    "rightarrow",
    "leftarrow",
    "Rightarrow",
    "mapsto",
    "operatorname",
    "mathrm",
    "mathbf",
    "mathbb",
    "mathcal",
    "boldsymbol",
    "text",
    "textbf",
    "texttt",
    "overline",
    "underline",
    "widehat",
    "tilde",
    "hat",
    "bar",
    "vec",
    "left",
    "right",
    "lfloor",
    "rfloor",
    "lceil",
    "rceil",
    "lVert",
    "rVert",
    "lvert",
    "rvert",
    "langle",
    "rangle",
    "underbrace",
    "overbrace",
    "underset",
    "overset",
    "binom",
    "quad",
    "qquad",
    "log",
    "exp",
    "max",
    "min",
    "odot",
    "oplus",
    "otimes",
    "circ",
];

/// Environments that are read.
const ENVIRONMENTS: &[&str] = &[
    "aligned",
    "align",
    "align*",
    "gather",
    "gather*",
    "gathered",
    "split",
    "multline",
    "equation",
    "equation*",
    "cases",
    "rcases",
    "matrix",
    "pmatrix",
    "bmatrix",
    "Bmatrix",
    "vmatrix",
    "Vmatrix",
    "smallmatrix",
    "array",
    "alignat",
    "alignedat",
];

/// A slip of one or two keys.
fn slip<'a>(word: &str, names: &[&'a str]) -> Option<&'a str> {
    let limit = if word.chars().count() < 5 { 1 } else { 2 };
    let near = names.iter().map(|name| (distance(word, name), *name)).min_by_key(|(distance, _)| *distance);
    near.filter(|(distance, _)| *distance <= limit).map(|(_, name)| name)
}

/// Keys between two words: letters put in, left out, replaced, or two swapped.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let same = usize::from(a[i - 1] != b[j - 1]);
                let mut least = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + same);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    least = least.min(rows[i - 2][j - 2] + 1);
                }
                least
            };
        }
    }
    rows[a.len()][b.len()]
}

/// The first command that is not known, and what to write instead.
pub(crate) fn unknown_command(tex: &str, is_unknown: impl Fn(&str) -> bool) -> Option<String> {
    let mut names = COMMAND.captures_iter(tex).filter_map(|found| found.get(1)).map(|m| m.as_str());
    let name = names.find(|name| !KNOWN.contains(name) && is_unknown(name))?;
    let instead = INSTEAD.iter().find(|(known, _)| *known == name).map(|(_, instead)| format!(": write {instead}"));
    let instead = instead.or_else(|| slip(name, KNOWN).map(|near| format!(": did you mean \\{near}?")));
    Some(format!("\\{name} is unknown here{}", instead.unwrap_or_default()))
}

/// Whether a command belongs to formulas, in this reader or in others.
pub(crate) fn is_of_formulas(name: &str) -> bool {
    name.len() > 1 && (KNOWN.contains(&name) || INSTEAD.iter().any(|(known, _)| *known == name))
}

/// The first environment that is not known, and those that are.
pub(crate) fn unknown_environment(tex: &str) -> Option<String> {
    let mut names = ENVIRONMENT.captures_iter(tex).filter_map(|found| found.get(1)).map(|m| m.as_str());
    let name = names.find(|name| !ENVIRONMENTS.contains(name))?;
    let near = slip(name, ENVIRONMENTS).unwrap_or("aligned");
    Some(format!("there is no environment “{name}”: write {near}"))
}

#[cfg(test)]
mod tests {
    use pulldown_latex::{Parser, Storage};

    use super::*;

    #[test]
    fn what_is_called_known_is_read_and_what_has_a_substitute_is_not() {
        let complaint = |tex: &str| {
            let storage = Storage::new();
            Parser::new(tex, &storage).find_map(Result::err).map(|error| error.to_string()).unwrap_or_default()
        };
        for name in KNOWN {
            let complaint = complaint(&format!("\\{name} "));
            assert!(!complaint.contains("unknown primitive"), "\\{name}: {complaint}");
        }
        for (name, _) in INSTEAD {
            let complaint = complaint(&format!("\\{name} "));
            assert!(complaint.contains("unknown primitive"), "\\{name} is read: {complaint}");
        }
        for name in ENVIRONMENTS {
            let complaint = complaint(&format!("\\begin{{{name}}}x\\end{{{name}}}"));
            assert!(!complaint.contains("environment"), "{name}: {complaint}");
        }
    }

    #[test]
    fn slips_are_counted_in_keys() {
        assert_eq!((distance("alhpa", "alpha"), distance("", "ab"), distance("a", "b")), (1, 2, 1));
        assert_eq!(slip("sgima", KNOWN), Some("sigma"));
        assert_eq!(slip("nosuch", KNOWN), None);
    }

    #[test]
    fn text_is_parted_at_its_formulas() {
        assert_eq!(text_and_formulas("a $x$ b").expect("closed"), [(false, "a "), (true, "x"), (false, " b")]);
        assert_eq!(text_and_formulas(r"\$3").expect("no formula"), [(false, r"\$3")]);
        assert!(text_and_formulas("a $x").is_err());
    }
}
