//! TeX to MathML, when the book is built.

use std::{collections::HashMap, sync::Mutex};

use pulldown_latex::{Parser, ParserError, RenderConfig, Storage, config::DisplayMode, push_mathml};

use crate::html::escape;

/// Formulas already translated; the same few symbols recur on every page.
#[derive(Debug, Default)]
pub(crate) struct Formulas(Mutex<HashMap<(bool, String), Result<String, String>>>);

impl Formulas {
    /// MathML of a formula, its TeX source as the text alternative.
    ///
    /// # Errors
    /// What the TeX reader does not understand.
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

fn translate(tex: &str, display: bool) -> Result<String, String> {
    if tex.is_empty() {
        return Err("the formula is empty".to_owned());
    }
    let storage = Storage::new();
    let mut events: Vec<Result<_, ParserError>> = Vec::new();
    for event in Parser::new(tex, &storage) {
        match event {
            Ok(event) => events.push(Ok(event)),
            Err(error) => return Err(first_line(&error.to_string())),
        }
    }
    let display_mode = if display { DisplayMode::Block } else { DisplayMode::Inline };
    let config = RenderConfig { display_mode, ..RenderConfig::default() };
    let mut mathml = String::new();
    push_mathml(&mut mathml, events.into_iter(), config).map_err(|error| error.to_string())?;
    if mathml.contains("<merror") {
        return Err("the formula does not parse".to_owned());
    }
    // `64{,}121` is one number. As three elements the comma would be an operator, with room after it.
    let mathml = mathml.replace("</mn><mrow><mo>,</mo></mrow><mn>", ",");
    let alt = escape(&tex.split_whitespace().collect::<Vec<_>>().join(" "));
    let class = if display { "" } else { " class=\"math-inline\"" };
    Ok(mathml.replacen("<math", &format!("<math alttext=\"{alt}\"{class}"), 1))
}

fn first_line(error: &str) -> String {
    let line = error.trim_start_matches("parsing error: ").lines().next().unwrap_or_default();
    format!("the formula does not parse ({line})")
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
