//! Questions: TOML in the source, a form in the page, answers folded for those without JavaScript.

use std::fmt::Write as _;

use serde::Deserialize;
use toml::Spanned;

use crate::html::escape;

/// A question as its author writes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Quiz {
    pub(crate) id: String,
    pub(crate) question: String,
    #[serde(default)]
    multiple: bool,
    #[serde(default)]
    options: Vec<Choice>,
    answer: Option<Spanned<f64>>,
    tolerance: Option<Spanned<f64>>,
    unit: Option<String>,
    feedback: Option<String>,
    wrong: Option<String>,
    /// `LAB.METRIC`: the answer is what the reader's own run of the lab found.
    pub(crate) metric: Option<String>,
    /// The controls of that run, as in a link; as the lab stands where it is not given.
    #[serde(default)]
    pub(crate) setting: String,
    /// How near an answer must come to the run's number, in per cent.
    percent: Option<f64>,
    /// Label of the section that a wrong answer leads back to.
    pub(crate) see: Option<String>,
    /// Answer and tolerance as they were written: no reader wants 0.00000000000003 for 3e-14.
    #[serde(skip)]
    written: [String; 2],
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Choice {
    text: String,
    #[serde(default)]
    correct: bool,
    feedback: String,
}

/// What is wrong with a question, and the text in it that shows where.
pub(crate) struct Mistake {
    pub(crate) message: String,
    /// Line within the block, from 0.
    pub(crate) line: usize,
}

impl Quiz {
    /// Reads and checks a question.
    ///
    /// # Errors
    /// The TOML reader's complaint, or the rule that is broken.
    pub(crate) fn parse(text: &str) -> Result<Self, Mistake> {
        let mut quiz: Self = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start.min(text.len()));
            let line = text[..at].matches('\n').count();
            Mistake {
                message: format!("this quiz does not parse ({})", error.message().lines().next().unwrap_or_default()),
                line,
            }
        })?;
        let as_written = |number: &Option<Spanned<f64>>| {
            number.as_ref().and_then(|number| text.get(number.span())).unwrap_or_default().trim().replace('_', ",")
        };
        quiz.written = [as_written(&quiz.answer), as_written(&quiz.tolerance)];
        quiz.check().map_err(|message| Mistake { message, line: 0 })?;
        Ok(quiz)
    }

    fn check(&self) -> Result<(), String> {
        let number = self.answer.is_some();
        if self.id.is_empty() || !self.id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            return Err("a quiz needs an id of letters, digits and hyphens".to_owned());
        }
        if self.question.trim().is_empty() {
            return Err("the question is empty".to_owned());
        }
        if let Some(metric) = &self.metric {
            let parts = metric.split_once('.').is_some_and(|(lab, name)| !lab.is_empty() && !name.is_empty());
            if !parts || number || !self.options.is_empty() || self.tolerance.is_some() {
                return Err("a question about the reader's run has metric = \"LAB.METRIC\" and percent, and neither options nor answer".to_owned());
            }
            if !self.percent.is_some_and(|percent| (0.0..=100.0).contains(&percent)) {
                return Err("say how near the answer must come: percent, from 0 to 100".to_owned());
            }
            return self.has_words();
        }
        if self.percent.is_some() || !self.setting.is_empty() {
            return Err("percent and setting belong to a question with a metric".to_owned());
        }
        if number != self.options.is_empty() {
            return Err("a quiz has either [[options]] or an answer".to_owned());
        }
        if number {
            let tolerance = *self.tolerance.as_ref().ok_or("a number needs its tolerance (0 for exact)")?.get_ref();
            let answer = self.answer.as_ref().map(|answer| *answer.get_ref());
            if !tolerance.is_finite() || tolerance < 0.0 || !answer.is_some_and(f64::is_finite) {
                return Err("answer and tolerance are finite numbers, the tolerance not negative".to_owned());
            }
            return self.has_words();
        }
        if self.tolerance.is_some() || self.unit.is_some() || self.feedback.is_some() || self.wrong.is_some() {
            return Err("tolerance, unit, feedback and wrong belong to a question with an answer; options have feedback of their own".to_owned());
        }
        if self.options.len() < 2 {
            return Err("a choice needs two options or more".to_owned());
        }
        if let Some(bare) =
            self.options.iter().find(|option| option.feedback.trim().is_empty() || option.text.trim().is_empty())
        {
            return Err(format!("every option needs its text and its feedback (“{}”)", bare.text));
        }
        match self.options.iter().filter(|option| option.correct).count() {
            0 => Err("no option is correct".to_owned()),
            n if n == self.options.len() && !self.multiple => Err("every option is correct".to_owned()),
            _ => Ok(()),
        }
    }

    fn has_words(&self) -> Result<(), String> {
        let missing = |words: &Option<String>| words.as_deref().unwrap_or_default().trim().is_empty();
        if missing(&self.feedback) || missing(&self.wrong) {
            return Err("a number needs feedback and wrong: what to say to a right and to a wrong answer".to_owned());
        }
        Ok(())
    }

    fn kind(&self) -> &'static str {
        if self.metric.is_some() {
            return "run";
        }
        let several = self.options.iter().filter(|option| option.correct).count() > 1;
        match (self.answer.is_some(), self.multiple || several) {
            (true, _) => "number",
            (false, true) => "multiple",
            (false, false) => "single",
        }
    }

    /// The form. `inline` and `block` turn Markdown into HTML; `unit` and `see` are those of the run's number and a link to the section
    /// to read again.
    pub(crate) fn html(
        &self,
        number: usize,
        (unit, see): (Option<&str>, Option<&str>),
        inline: &dyn Fn(&str) -> String,
        block: &dyn Fn(&str) -> String,
    ) -> String {
        let id = escape(&self.id);
        let kind = self.kind();
        let run = self.metric.as_deref().and_then(|metric| metric.split_once('.')).map_or_else(
            String::new,
            |(lab, metric)| {
                let percent = self.percent.unwrap_or_default();
                let setting = escape(&self.setting);
                format!(
                    " data-lab=\"{}\" data-of=\"{}\" data-setting=\"{setting}\" data-percent=\"{percent}\"",
                    escape(lab),
                    escape(metric)
                )
            },
        );
        let mut out = format!(
            "<form class=\"quiz\" id=\"quiz-{id}\" data-quiz=\"{id}\" data-kind=\"{kind}\"{run} novalidate><fieldset><legend class=\"quiz-question\"><span class=\"quiz-kicker\">Question {number}</span> {}</legend>",
            inline(&self.question)
        );
        if kind == "multiple" {
            out.push_str("<p class=\"quiz-hint\">Choose all that hold.</p>");
        }
        let mut answers = String::new();
        let unit = self.unit.as_deref().or(unit).map(escape).unwrap_or_default();
        if kind == "number" || kind == "run" {
            let _ = write!(
                out,
                "<p class=\"quiz-number\"><label>Your answer <input type=\"text\" inputmode=\"text\" autocomplete=\"off\" spellcheck=\"false\" name=\"quiz-{id}\"></label> <span class=\"quiz-unit\">{unit}</span></p>"
            );
        }
        if let (Some(answer), Some(tolerance)) = (&self.answer, &self.tolerance) {
            let (answer, tolerance) = (*answer.get_ref(), *tolerance.get_ref());
            let [answer_written, tolerance_written] = self.written.each_ref().map(|written| escape(written));
            let within = if tolerance == 0.0 { String::new() } else { format!(" (± {tolerance_written})") };
            let _ = write!(
                answers,
                "<ul data-answer=\"{answer}\" data-tolerance=\"{tolerance}\"><li data-correct=\"true\"><p class=\"quiz-verdict\">Right: {answer_written} {unit}{within}</p><div class=\"quiz-feedback\">{}</div></li><li data-correct=\"false\"><p class=\"quiz-verdict\">Otherwise</p><div class=\"quiz-feedback\">{}</div></li></ul>",
                block(self.feedback.as_deref().unwrap_or_default()),
                block(self.wrong.as_deref().unwrap_or_default())
            );
        } else if kind == "run" {
            let _ = write!(
                answers,
                "<ul><li data-correct=\"true\"><p class=\"quiz-verdict\">Right: what your own run found, within {} %</p><div class=\"quiz-feedback\">{}</div></li><li data-correct=\"false\"><p class=\"quiz-verdict\">Otherwise</p><div class=\"quiz-feedback\">{}</div></li></ul>",
                self.percent.unwrap_or_default(),
                block(self.feedback.as_deref().unwrap_or_default()),
                block(self.wrong.as_deref().unwrap_or_default())
            );
        } else {
            let input = if kind == "single" { "radio" } else { "checkbox" };
            out.push_str("<ul class=\"quiz-options\">");
            answers.push_str("<ul>");
            for (i, option) in self.options.iter().enumerate() {
                let text = inline(&option.text);
                let _ = write!(
                    out,
                    "<li><label><input type=\"{input}\" name=\"quiz-{id}\" value=\"{i}\"> <span>{text}</span></label></li>"
                );
                let verdict = if option.correct { "Right" } else { "Wrong" };
                let _ = write!(
                    answers,
                    "<li data-option=\"{i}\" data-correct=\"{}\"><p class=\"quiz-verdict\">{verdict}: {text}</p><div class=\"quiz-feedback\">{}</div></li>",
                    option.correct,
                    block(&option.feedback)
                );
            }
            out.push_str("</ul>");
            answers.push_str("</ul>");
        }
        if let Some(see) = see {
            let _ = write!(answers, "<p class=\"quiz-see\">Read again: {see}</p>");
        }
        let _ = write!(
            out,
            "</fieldset><p class=\"quiz-actions\" data-quiz-actions hidden><button type=\"submit\">Check</button> <span data-quiz-result role=\"status\" aria-live=\"polite\"></span></p><details class=\"quiz-answers\"><summary>Answers</summary>{answers}</details></form>"
        );
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(text: &str) -> String {
        Quiz::parse(text).err().map(|mistake| mistake.message).unwrap_or_default()
    }

    const TWO: &str =
        "id=\"q\"\nquestion=\"?\"\n[[options]]\ntext=\"a\"\ncorrect=true\nfeedback=\"f\"\n[[options]]\ntext=\"b\"\n";

    #[test]
    fn every_rule_has_its_words() {
        assert_eq!(complaint(&format!("{TWO}feedback=\"g\"\n")), "");
        assert!(complaint(TWO).contains("missing field `feedback`"));
        assert!(complaint(&format!("{TWO}feedback=\" \"\n")).contains("its feedback (“b”)"));
        assert!(complaint("id=\"q\"\nquestion=\"?\"\n").contains("either"));
        assert!(complaint("id=\"q\"\nquestion=\"?\"\nanswer=1\n").contains("tolerance"));
        assert!(
            complaint("id=\"q\"\nquestion=\"?\"\nanswer=1\ntolerance=-1\nfeedback=\"a\"\nwrong=\"b\"\n")
                .contains("negative")
        );
        assert!(
            complaint("id=\"q\"\nquestion=\"?\"\nanswer=nan\ntolerance=0\nfeedback=\"a\"\nwrong=\"b\"\n")
                .contains("finite")
        );
        assert!(complaint(&format!("{}feedback=\"g\"\n", TWO.replace("correct=true\n", ""))).contains("no option"));
        assert!(complaint("id=\"q q\"\nquestion=\"?\"\n").contains("id of letters"));
        assert_eq!(Quiz::parse("id=\"q\"\n\nqestion=\"?\"\n").err().map(|m| m.line), Some(2));
    }

    #[test]
    fn a_question_about_the_readers_run_names_it_and_gives_no_number_away() {
        let text = "id=\"q\"\nquestion=\"?\"\nmetric=\"levels.clipped\"\nsetting=\"bits=3\"\npercent=2\nfeedback=\"a\"\nwrong=\"b\"\n";
        let same = |text: &str| text.to_owned();
        let quiz = Quiz::parse(text).unwrap_or_else(|mistake| panic!("{}", mistake.message));
        let html = quiz.html(1, (Some("bytes"), Some("<a>S</a>")), &same, &same);
        let wanted = [
            "data-kind=\"run\" data-lab=\"levels\" data-of=\"clipped\" data-setting=\"bits=3\" data-percent=\"2\"",
            ">bytes<",
            "Read again: <a>S</a>",
        ];
        for words in wanted {
            assert!(html.contains(words), "{words}: {html}");
        }
        assert!(!html.contains("data-answer"));
        assert!(complaint(&text.replace("percent=2\n", "")).contains("percent"));
        assert!(complaint(&text.replace("levels.clipped", "levels")).contains("LAB.METRIC"));
        assert!(complaint(&format!("{TWO}feedback=\"g\"\n").replace("id=", "percent=2\nid=")).contains("belong to"));
    }

    #[test]
    fn a_number_is_shown_as_it_was_written_and_compared_as_a_number() {
        let html = |answer: &str, tolerance: &str| {
            let text = format!(
                "id=\"q\"\nquestion=\"?\"\nanswer = {answer}\ntolerance = {tolerance} # so\nunit=\"J\"\nfeedback=\"a\"\nwrong=\"b\"\n"
            );
            let same = |text: &str| text.to_owned();
            Quiz::parse(&text).unwrap_or_else(|m| panic!("{answer}: {}", m.message)).html(1, (None, None), &same, &same)
        };
        for (written, shown, value) in [
            ("3e-14", "3e-14", 3e-14),
            ("1152921504606846976", "1152921504606846976", 2_f64.powi(60)),
            ("1_000_000", "1,000,000", 1e6),
            ("0.50", "0.50", 0.5),
            ("-2", "-2", -2.0),
            ("6.02e23", "6.02e23", 6.02e23),
            ("500", "500", 500.0),
            ("1.0", "1.0", 1.0),
            ("+7", "+7", 7.0),
            ("0", "0", 0.0),
        ] {
            let html = html(written, "1e-15");
            assert!(html.contains(&format!("Right: {shown} J (± 1e-15)")), "{written}: {html}");
            let told =
                html.split_once("data-answer=\"").and_then(|(_, rest)| rest.split_once('"')).map(|(told, _)| told);
            assert_eq!(told.and_then(|told| told.parse().ok()), Some(value), "{written}");
        }
    }
}
