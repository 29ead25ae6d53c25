//! TeX to MathML, when the book is built.

use std::{collections::HashMap, sync::Mutex};

use pulldown_latex::{
    Event, Parser, ParserError, RenderConfig, Storage,
    config::DisplayMode,
    event::{Content, Grouping, StateChange},
    push_mathml,
};

use crate::{
    html::{escape, text_of},
    tex,
};

/// Formulas already translated; the same few symbols recur on every page.
#[derive(Debug, Default)]
pub(crate) struct Formulas(Mutex<HashMap<(bool, String), Result<String, String>>>);

impl Formulas {
    /// MathML of a formula, its TeX source as the text alternative.
    ///
    /// # Errors
    /// What the TeX reader does not understand, and what to write instead.
    pub(crate) fn render(&self, tex: &str, display: bool) -> Result<String, String> {
        let key = (display, tex.to_owned());
        if let Ok(known) = self.0.lock()
            && let Some(result) = known.get(&key)
        {
            return result.clone();
        }
        let result = translate(tex.trim(), display);
        if let Ok(mut known) = self.0.lock() {
            known.insert(key, result.clone());
        }
        result
    }
}

/// A formula as the words of a title, where no markup may stand: `ξ` for `\xi`. A formula of more than signs in a row stays TeX.
pub(crate) fn words(tex: &str) -> String {
    let Ok(mathml) = translate(tex.trim(), false) else { return tex.to_owned() };
    let flat = ["<mfrac", "<msub", "<msup", "<munder", "<mover", "<msqrt", "<mroot", "<mtable"];
    if flat.iter().any(|tag| mathml.contains(tag)) {
        return tex.to_owned();
    }
    text_of(&mathml.replace("alttext", "data-tex").replace("<math", "<i").replace("</math", "</i"))
}

fn translate(tex: &str, display: bool) -> Result<String, String> {
    if tex.is_empty() {
        return Err("the formula is empty".to_owned());
    }
    if tex.len() > 1 && tex.starts_with('`') && tex.ends_with('`') {
        return Err("the formula would print its backticks: write it between $ alone".to_owned());
    }
    if let Some(dropped) = tex::dropped(tex) {
        return Err(format!("the formula does not parse ({dropped})"));
    }
    let source = tex::with_starred_operators(tex);
    let storage = Storage::new();
    let mut steps = Vec::new();
    read(&source, &storage, &mut steps)?;
    let events = steps.iter().map(|step| Ok::<_, ParserError>(step.event()));
    let display_mode = if display { DisplayMode::Block } else { DisplayMode::Inline };
    let config = RenderConfig { display_mode, ..RenderConfig::default() };
    let mut mathml = String::new();
    push_mathml(&mut mathml, events, config).map_err(|error| error.to_string())?;
    if mathml.contains("<merror") {
        return Err("the formula does not parse".to_owned());
    }
    if let Some(rest) = tex::unread(&mathml) {
        return Err(format!("the formula would print its own source (“{rest}”)"));
    }
    // A line through more than one sign is a style that MathML has not.
    if mathml.contains("mop-negated") {
        return Err(
            "the formula does not parse (a line is drawn through one sign: write \\not before it, as in \\not=)"
                .to_owned(),
        );
    }
    let mathml = tex::shown(&mathml);
    // The renderer runs two attributes together, which Markdown takes for text, and ends a text that is only a space on another.
    let mathml = mathml.replace("\"minsize=", "\" minsize=").replace(">&nbsp;&nbsp;</mtext>", ">&nbsp;</mtext>");
    // `64{,}121` is one number. As three elements the comma would be an operator, with room after it.
    let mathml = mathml.replace("</mn><mrow><mo>,</mo></mrow><mn>", ",");
    let alt = escape(&tex.split_whitespace().collect::<Vec<_>>().join(" "));
    let class = if display { "" } else { " class=\"math-inline\"" };
    Ok(mathml.replacen("<math", &format!("<math alttext=\"{alt}\"{class}"), 1))
}

/// What the renderer is given: an event of the parser, or one whose words are read by us.
enum Step<'a> {
    Event(Event<'a>),
    Text(String),
    Operator(String),
}

impl Step<'_> {
    fn event(&self) -> Event<'_> {
        match self {
            Self::Event(event) => event.clone(),
            Self::Text(words) => Event::Content(Content::Text(words)),
            Self::Operator(words) => Event::Content(Content::Function(words)),
        }
    }
}

/// Parses, and reads what the parser hands on unread: the insides of `\text` and `\operatorname`.
fn read<'a>(source: &'a str, storage: &'a Storage, steps: &mut Vec<Step<'a>>) -> Result<(), String> {
    let broken = |why: String| format!("the formula does not parse ({why})");
    for event in Parser::new(source, storage) {
        let event = event.map_err(|error| broken(complaint(source, &error)))?;
        match event {
            // The parser's mu is the micro sign, which browsers set upright and no search for the letter finds.
            Event::Content(Content::Ordinary { content: '\u{b5}', stretchy }) => {
                steps.push(Step::Event(Event::Content(Content::Ordinary { content: 'μ', stretchy })));
            }
            Event::Content(Content::Function(inside)) => {
                steps.push(Step::Operator(tex::operator_words(inside).map_err(broken)?));
            }
            // The parser's space is an entity, whose letters the renderer would escape, or set in bold.
            Event::Content(Content::Text("&nbsp;")) => steps.push(Step::Text("\u{a0}".to_owned())),
            Event::Content(Content::Text(inside)) if inside.contains('$') => {
                let parts = tex::text_and_formulas(inside).map_err(broken)?;
                steps.push(Step::Event(Event::Begin(Grouping::Normal)));
                for (is_formula, part) in parts {
                    if !is_formula {
                        steps.push(Step::Text(tex::text_words(part).map_err(broken)?));
                        continue;
                    }
                    steps.push(Step::Event(Event::Begin(Grouping::Normal)));
                    // What stands around may be bold; a formula within it is a formula.
                    steps.push(Step::Event(Event::StateChange(StateChange::Font(None))));
                    read(part, storage, steps)?;
                    steps.push(Step::Event(Event::End));
                }
                steps.push(Step::Event(Event::End));
            }
            Event::Content(Content::Text(inside)) => {
                steps.push(Step::Text(tex::text_words(inside).map_err(broken)?));
            }
            event => steps.push(Step::Event(event)),
        }
    }
    Ok(())
}

/// The parser's complaint with the command that it is about and what to write instead.
fn complaint(source: &str, error: &ParserError) -> String {
    let error = error.to_string();
    let line = error.trim_start_matches("parsing error: ").lines().next().unwrap_or_default();
    let is_unknown = |name: &str| {
        let storage = Storage::new();
        let first = Parser::new(&format!("\\{name} "), &storage).find_map(Result::err);
        first.is_some_and(|error| error.to_string().contains("unknown primitive"))
    };
    let named = if ["new line command not allowed", "alignment not allowed"].iter().any(|words| line.contains(words)) {
        Some(format!("{line}: write lines within \\begin{{aligned}} … \\end{{aligned}}"))
    } else if line.contains("environment") {
        tex::unknown_environment(source)
    } else if line.contains("unknown primitive") {
        tex::unknown_command(source, is_unknown)
    } else {
        None
    };
    named.unwrap_or_else(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mathml(tex: &str) -> String {
        Formulas::default().render(tex, true).unwrap_or_else(|error| panic!("{tex}: {error}"))
    }

    fn refused(tex: &str) -> String {
        Formulas::default().render(tex, true).expect_err(tex)
    }

    #[test]
    fn a_formula_becomes_mathml_with_its_source_beside_it() {
        let html = Formulas::default().render(r"\frac{a}{b} < \hat w", false).expect("parses");
        assert!(html.starts_with("<math alttext=\"\\frac{a}{b} &lt; \\hat w\" class=\"math-inline\""), "{html}");
        assert!(html.contains("<mfrac>"), "{html}");
    }

    #[test]
    fn thousands_are_parted_within_a_number_and_lists_are_not_joined() {
        let html = Formulas::default().render("3{,}833{,}856 + (4, 5)", false).expect("parses");
        assert!(html.contains("<mn>3,833,856</mn>") && html.contains("<mn>4</mn><mo>,</mo><mn>5</mn>"), "{html}");
    }

    #[test]
    fn what_does_not_parse_is_refused() {
        let formulas = Formulas::default();
        for bad in [r"\frac{a}", r"\nosuchmacro x", r"{a", r"\begin{nosuch}x\end{nosuch}", "", r"\left( x"] {
            assert!(formulas.render(bad, true).is_err(), "{bad}");
        }
    }

    #[test]
    fn operators_of_any_spelling_are_set_as_words_with_their_limits_below() {
        for tex in [
            r"\operatorname*{arg\,min}_{v} \lVert w - v \rVert",
            r"\operatorname* {arg\,min}_v x",
            r"\mathop{\mathrm{arg\,min}}_v x",
            r"\mathop{\rm arg\,min}\limits_v x",
            r"\operatorname{arg\,min}\limits_{v} x",
            r"\operatorname*{\mathrm{arg}\,\mathrm{min}}_{v} x",
            r"\operatorname*{\text{arg\,min}}_{v} x",
        ] {
            let html = mathml(tex);
            assert!(html.contains("<munder><mi>arg\u{2009}min</mi>"), "{tex}: {html}");
        }
        assert!(mathml(r"\mathop{\mathrm{max}}\limits_{x} f(x)").contains("<munder><mi>max</mi>"));
        assert!(mathml(r"\operatorname*{E}_{x} f").contains("<munder><mi mathvariant=\"normal\">E</mi>"));
        // In a line, limits stand beside.
        let inline = Formulas::default().render(r"\operatorname*{argmax}_j p_j", false).expect("parses");
        assert!(inline.contains("<msub><mi>argmax</mi>"), "{inline}");
    }

    #[test]
    fn text_holds_formulas_and_escaped_signs() {
        let html = mathml(r"f = \begin{cases} x & \text{where $x > 0$} \\ 0 & \text{otherwise} \end{cases}");
        assert!(html.contains("where&nbsp;</mtext>") && html.contains("<mo>></mo>"), "{html}");
        let seen = html.split_once('>').map_or("", |(_, rest)| rest);
        assert!(!seen.contains('$'), "{html}");
        assert!(mathml(r"\text{5\% of \$3, a\_b \& \{c\}~d}").contains("5% of $3, a_b &amp; {c}\u{a0}d"));
        // Each letter in its typewriter form, the line as it is.
        assert!(mathml(r"\texttt{w\_q}").contains("𝚠_𝚚"));
        assert!(mathml(r"\text{a {b} c}").contains("a b c"));
        assert!(mathml(r"\text{if $a$ and $b$}").matches("<mi>").count() == 2);
    }

    #[test]
    fn a_space_and_a_sized_bracket_are_set_as_such() {
        for tex in [r"a\ b", "a~b", r"\mathbf{a\ b}", r"13.6\ \text{ms}", r"a\text{ }b", r"\color{blue} a\ b"] {
            let html = mathml(tex);
            assert!(html.contains(">&nbsp;</mtext>") && !html.contains("&amp;"), "{tex}: {html}");
        }
        for tex in [r"\bigl( x \bigr)", r"\Big\| x \Big\|", r"\left( x \middle| y \right)", r"\bigg[ x \bigg]"] {
            let html = mathml(tex);
            assert!(html.contains("stretchy=\"true\" minsize=\"") && !html.contains("\"minsize"), "{tex}: {html}");
        }
    }

    #[test]
    fn mu_is_the_greek_letter() {
        let html = mathml(r"\mu_B + \sigma_B");
        assert!(html.contains("<mi>\u{3bc}</mi>") && !html.contains('\u{b5}'), "{html}");
    }

    #[test]
    fn braces_and_dollars_that_are_meant_stay() {
        assert!(mathml(r"\{x\} \cup \{\$\}").contains("<mi>$</mi>"));
        assert!(mathml(r"A \setminus B, \backslash").contains('∖'));
        assert!(mathml(r"\left\{ x \right\}").contains("{</mo>"));
    }

    #[test]
    fn what_would_print_its_source_is_refused_with_what_works() {
        for (tex, offender, remedy) in [
            (r"\operatorname{sg\sum x}", r"\sum", "a word"),
            (r"\mathop{\sum\sum}_x", r"\sum", "a word"),
            (r"\operatorname{f_x}", "_", "a word"),
            (r"\text{a \textbf{b}}", r"\textbf", "by itself"),
            (r"\text{a \alpha}", r"\alpha", r"$\alpha$"),
            (r"\text{only $x}", "$", "not closed"),
            (r"\bm{w}", r"\bm", r"\boldsymbol"),
            (r"\argmin_x", r"\argmin", r"\operatorname*{arg\,min}"),
            (r"x \tag{1}", r"\tag", "{#eq-"),
            (r"x \label{eq:x}", r"\label", "{#eq-"),
            (r"\nicefrac{1}{2}", r"\nicefrac", r"\tfrac"),
            (r"\SI{3}{ms}", r"\SI", r"\text{ms}"),
            (r"\mathbbm{1}", r"\mathbbm", r"\mathbb"),
            (r"\mbox{a}", r"\mbox", r"\text"),
            (r"\alhpa", r"\alhpa", r"\alpha"),
            (r"\epslion + 1", r"\epslion", r"\epsilon"),
            (r"\begin{eqnarray} x \end{eqnarray}", "eqnarray", "aligned"),
            (r"\begin{alinged} x \end{alinged}", "alinged", "aligned"),
            (r"\newcommand{\vv}{\mathbf{v}} \vv", r"\newcommand", "where it is used"),
            (r"\renewcommand\vv{x} \vv", r"\renewcommand", "where it is used"),
            (r"\sideset{}{^*}\sum x", r"\sideset", r"\sum^{"),
            (r"\cancel{x + y}", "through one sign", r"\not"),
            (r"\not{ab}", "through one sign", r"\not"),
            (r"\operatorname*{\mathbb{E}}_{x} f", r"\mathbb", r"\underset{…}{\mathbb{E}}"),
            (r"\mathop{\boldsymbol{w}}_x", r"\boldsymbol", r"\underset{…}{\boldsymbol{w}}"),
            (r"\mathop{\arg\max}_x", r"\arg", "without its backslash"),
            (r"\operatorname*{arg\min}_x", r"\min", "without its backslash"),
            (r"\text{caf\'e}", r"\'", "the letter itself"),
            (r"\texttt{C:\\dir}", r"\\ within", r"\textbackslash"),
            (r"\text{\small a}", r"\small", "leave it out"),
            (r"a \mod n", r"\mod", r"\bmod"),
            (r"\ce{H2O}", r"\ce", r"\text{H}_2"),
            (r"\href{x}{y}", r"\href", "[words](address)"),
            (r"\textsc{Abc}", r"\textsc", r"\text"),
            (r"\operatornamewithlimits{argmin}_x", r"\operatornamewithlimits", r"\operatorname*"),
            (r"\Var X", r"\Var", r"\operatorname{Var}"),
            (r"\ReLU(x)", r"\ReLU", r"\operatorname{ReLU}"),
            (r"\smash{x}", r"\smash", "without it"),
            (r"\prescript{1}{2}X", r"\prescript", r"{}_a^b X"),
            (r"10\,\upmu\text{s}", r"\upmu", r"\text{µs}"),
            ("`a + b`", "backticks", "between $ alone"),
            (r"a \\ b", "new line command not allowed", r"\begin{aligned}"),
            (r"a &= b", "alignment not allowed", r"\begin{aligned}"),
            (r"\operatorname{\mu}", r"\mu", r"\underset"),
        ] {
            let error = refused(tex);
            assert!(error.contains(offender) && error.contains(remedy), "{tex}: {error}");
        }
    }

    #[test]
    fn a_title_says_a_letter_and_leaves_a_fraction_in_tex() {
        assert_eq!(words(r"\xi"), "ξ");
        assert_eq!(words(r"a \le b"), "a≤b");
        assert_eq!(words(r"\frac{a}{b}"), r"\frac{a}{b}");
        assert_eq!(words(r"T^2"), "T^2");
    }
}
