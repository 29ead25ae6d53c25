//! What a reader foretells before a run: forms in the page, which its script compares with the reader's own numbers.

use std::fmt::Write as _;

use lab_api::{Link, Prediction};

use crate::{html::escape, labs::Lab, problem::near};

/// Most questions before a run.
const MOST: usize = 3;

/// The questions of a lab. `inline` turns Markdown into HTML. Buttons wait for the page's script.
///
/// # Errors
/// A sentence that names the question and what is wrong with it.
pub(crate) fn forms(id: &str, lab: &Lab, inline: &dyn Fn(&str) -> String) -> Result<String, String> {
    let all = &lab.meta.predict;
    if all.len() > MOST {
        return Err(format!("lab.md asks for {} predictions; readers make {MOST} at most", all.len()));
    }
    let mut html = String::new();
    for (i, prediction) in all.iter().enumerate() {
        let wrong = |why: String| format!("[[predict]] on “{}” in lab.md: {why}", prediction.metric);
        if all[..i].iter().any(|other| other.metric == prediction.metric) {
            return Err(wrong("a metric is asked for once".to_owned()));
        }
        html += &form(id, lab, prediction, inline).map_err(wrong)?;
    }
    if html.is_empty() {
        return Ok(html);
    }
    Ok(format!("<div class=\"quiz lab-predict\">{html}</div>"))
}

fn form(id: &str, lab: &Lab, prediction: &Prediction, inline: &dyn Fn(&str) -> String) -> Result<String, String> {
    let metrics = &lab.reference.default_run.report.metrics;
    let known = |name: &str| {
        let (id, part) = name.split_once('.').unwrap_or((name, ""));
        metrics
            .iter()
            .any(|metric| metric.id == id && (part.is_empty() || part == "baseline" && metric.baseline.is_some()))
    };
    let Some(metric) = metrics.iter().find(|metric| metric.id == prediction.metric) else {
        let near = near(&prediction.metric, metrics.iter().map(|metric| metric.id.as_str()));
        return Err(format!(
            "the reference has no such metric{}",
            near.map_or_else(String::new, |near| format!("; did you mean {near}?"))
        ));
    };
    if let Some(strange) = placeholders(&prediction.because).find(|name| !known(name)) {
        return Err(format!("“because” names {{{strange}}}, which the reference has not"));
    }
    let pairs: Vec<(&str, &str)> = prediction.setting.split('&').filter_map(|pair| pair.split_once('=')).collect();
    let asked = [vec![("lab", id)], pairs].concat();
    let link = Link::read(&lab.reference.params, &asked);
    if let Some(problem) = link.problems.first() {
        return Err(format!("its setting is refused ({}: {})", problem.name, problem.why));
    }
    let name = escape(&format!("predict-{id}-{}", prediction.metric));
    let unit = escape(&metric.unit);
    let control = match (prediction.min, prediction.max) {
        (Some(min), Some(max)) if prediction.choices.is_empty() => {
            let default = prediction.setting.is_empty();
            if min >= max || default && !(min..=max).contains(&metric.value) {
                return Err(format!("the bounds {min} to {max} do not hold the reference's {}", metric.value));
            }
            format!(
                "<p class=\"quiz-number\"><label>Your guess <input type=\"text\" inputmode=\"decimal\" autocomplete=\"off\" name=\"{name}\" data-min=\"{min}\" data-max=\"{max}\"></label> \
                 <span class=\"quiz-unit\">{unit}</span> <span class=\"quiz-hint\">{min} to {max}</span></p>"
            )
        }
        (None, None) => choices(&name, prediction)?,
        _ => return Err("it has either min and max, or choices".to_owned()),
    };
    let mut more = String::new();
    if !prediction.setting.is_empty() {
        let _ = write!(more, " data-setting=\"{}\"", escape(&prediction.setting));
    }
    Ok(format!(
        "<form data-predict=\"{}\"{more} data-because=\"{}\" novalidate><fieldset><legend class=\"quiz-question\">{}</legend>{control}</fieldset>\
         <p class=\"quiz-actions\"><button type=\"submit\" data-action=\"commit\" disabled>Keep my guess</button> <button type=\"button\" data-action=\"skip\" disabled>Skip</button> \
         <span class=\"quiz-hint\" data-predict-says role=\"status\"></span></p></form>",
        escape(&prediction.metric),
        escape(&prediction.because),
        inline(&prediction.question),
    ))
}

/// Radio buttons; each knows up to which value it is right.
fn choices(name: &str, prediction: &Prediction) -> Result<String, String> {
    let (Some((last, others)), true) = (prediction.choices.split_last(), prediction.choices.len() > 1) else {
        return Err("a choice needs two answers or more".to_owned());
    };
    let ends: Vec<f64> = others.iter().filter_map(|choice| choice.to).collect();
    if ends.len() != others.len() || last.to.is_some() || !ends.is_sorted_by(|a, b| a < b) {
        return Err("its choices go from the least value to the largest, each with “to”, the last without".to_owned());
    }
    let mut html = "<ul class=\"quiz-options\">".to_owned();
    for choice in &prediction.choices {
        let to = choice.to.map_or_else(String::new, |to| format!(" data-to=\"{to}\""));
        let label = escape(&choice.label);
        let _ = write!(
            html,
            "<li><label><input type=\"radio\" name=\"{name}\" value=\"{label}\"{to}><span>{label}</span></label></li>"
        );
    }
    Ok(html + "</ul>")
}

/// Names between braces.
fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    text.split('{').skip(1).filter_map(|rest| rest.split_once('}').map(|(name, _)| name))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::labs::Labs;

    /// The sample lab with these questions in its front matter.
    fn asked(front: &str) -> Result<String, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixture");
        let mut lab = Labs { root }.lab("sample-lab").expect("the sample reads");
        let questions: toml::Table = toml::from_str(front).expect("TOML");
        let questions = questions.get("predict").cloned().expect("questions");
        lab.meta.predict = questions.try_into().expect("questions of the right form");
        forms("sample-lab", &lab, &|text| escape(text))
    }

    const NUMBER: &str = "[[predict]]\nmetric = \"accuracy\"\nquestion = \"How <many>?\"\nmin = 0\nmax = 100\n\
                          because = \"Before it was {accuracy.baseline}.\"\n";
    const CHOICE: &str = "[[predict]]\nmetric = \"weight_bytes\"\nquestion = \"How much?\"\nsetting = \"bits=4\"\n\
                          choices = [{ label = \"a\", to = 1 }, { label = \"b\", to = 2.5 }, { label = \"c\" }]\nbecause = \"So.\"\n";

    #[test]
    fn a_question_becomes_a_form_that_knows_what_answers_it() {
        let html = asked(&[NUMBER, CHOICE].concat()).expect("right");
        assert!(html.contains("data-predict=\"accuracy\"") && html.contains("How &lt;many&gt;?"), "{html}");
        assert!(html.contains("data-min=\"0\" data-max=\"100\""), "{html}");
        assert!(html.contains("data-setting=\"bits=4\"") && html.contains("value=\"b\" data-to=\"2.5\""), "{html}");
        assert_eq!(html.matches("type=\"radio\"").count(), 3);
        assert_eq!(html.matches("data-action=\"commit\"").count(), 2);
    }

    #[test]
    fn a_question_that_no_run_answers_is_refused_in_words() {
        let why = |front: &str| asked(front).expect_err("refused");
        assert!(why(&NUMBER.replace("\"accuracy\"", "\"acuracy\"")).contains("did you mean accuracy"));
        assert!(why(&NUMBER.replace("max = 100", "max = 90")).contains("do not hold the reference's 97.25"));
        assert!(why(&NUMBER.replace("max = 100\n", "")).contains("either min and max, or choices"));
        assert!(why(&NUMBER.replace("{accuracy.baseline}", "{loss}")).contains("names {loss}"));
        assert!(why(&NUMBER.repeat(2)).contains("asked for once"));
        assert!(why(&NUMBER.repeat(4)).contains("at most"));
        assert!(why(&CHOICE.replace("bits=4", "bits=5")).contains("its setting is refused (bits"));
        assert!(why(&CHOICE.replace("to = 2.5", "to = 0.5")).contains("from the least value to the largest"));
        assert!(why(&CHOICE.replace("label = \"c\"", "label = \"c\", to = 4")).contains("the last without"));
    }
}
