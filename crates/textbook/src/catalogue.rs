//! The catalogue of methods and the learning paths through it.

mod map;
mod paths;

pub(crate) use map::map;
pub(crate) use paths::{Steps, path, paths};

use std::{collections::BTreeMap, fmt::Write as _};

use serde::Deserialize;

use crate::{html::escape, problem::near};

/// `methods.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Catalogue {
    #[serde(default, rename = "method")]
    pub(crate) methods: Vec<Method>,
    #[serde(default, rename = "path")]
    pub(crate) paths: Vec<LearningPath>,
}

/// One method of the efficiency frontier.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Method {
    pub(crate) id: String,
    pub(crate) name: String,
    /// `training`, `after`, `measuring`.
    applied: Applied,
    /// `training`, `inference`, `both`, `insight`.
    saves: Saves,
    trade_off: String,
    tier: Tier,
    level: lab_api::Level,
    /// Label of the chapter or section; absent while it is planned.
    pub(crate) chapter: Option<String>,
    /// Lab id; absent while it is planned.
    pub(crate) lab: Option<String>,
    /// Further labs of the method, beside `lab`.
    #[serde(default)]
    pub(crate) more_labs: Vec<String>,
}

impl Method {
    /// Labels of all its labs, the main one first.
    pub(crate) fn lab_labels(&self) -> impl Iterator<Item = String> {
        self.lab.iter().chain(&self.more_labs).map(|lab| format!("lab-{lab}"))
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $word:literal, $shown:literal;)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
        enum $name { $(#[serde(rename = $word)] $variant,)+ }
        impl $name {
            const WORDS: &'static [&'static str] = &[$($word),+];
            fn word(self) -> &'static str { match self { $(Self::$variant => $word,)+ } }
            fn shown(self) -> &'static str { match self { $(Self::$variant => $shown,)+ } }
        }
    };
}

words! {
    /// When a method is applied.
    Applied { Training = "training", "during training"; After = "after", "after training"; Measuring = "measuring", "to measure"; }
}
words! {
    /// What it chiefly saves.
    Saves { Training = "training", "training time"; Inference = "inference", "inference time"; Both = "both", "both"; Insight = "insight", "(gives insight)"; }
}
words! {
    /// What it chiefly buys.
    Tier { Size = "size", "size"; Speed = "speed", "speed"; Insight = "insight", "insight"; }
}

/// A way through the book.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LearningPath {
    pub(crate) id: String,
    pub(crate) title: String,
    words: String,
    /// Method ids and labels of chapters (`sec-...`), in order; `all` is every method of the catalogue.
    pub(crate) steps: Vec<String>,
}

/// How a page turns a method's chapter and lab into links; `None` where the label does not exist.
pub(crate) type LinkTo<'a> = &'a dyn Fn(&str, &str) -> Option<String>;

const ATTRIBUTES: [&str; 5] = ["applied", "saves", "tier", "level", "lab"];

impl Catalogue {
    /// Reads what stands in the file; nothing is a catalogue without methods.
    ///
    /// # Errors
    /// `(line, message)` where it does not parse or contradicts itself.
    pub(crate) fn parse(text: &str) -> Result<Self, (usize, String)> {
        let line = |at: usize| 1 + text[..at.min(text.len())].matches('\n').count();
        let catalogue: Self = toml::from_str(text).map_err(|error| {
            let message = error.message().lines().next().unwrap_or_default();
            (error.span().map_or(1, |span| line(span.start)), format!("the catalogue does not parse ({message})"))
        })?;
        let mut seen = BTreeMap::new();
        for method in &catalogue.methods {
            let at = line(text.rfind(&format!("\"{}\"", method.id)).unwrap_or(0));
            if seen.insert(method.id.as_str(), ()).is_some() {
                return Err((at, format!("the method “{}” stands twice", method.id)));
            }
            if method.lab.is_none() && !method.more_labs.is_empty() {
                return Err((at, format!("the method “{}” has more_labs and no lab: name its main one", method.id)));
            }
        }
        for path in &catalogue.paths {
            for step in path.steps.iter().filter(|step| *step != "all" && !is_label(step)) {
                if !seen.contains_key(step.as_str()) {
                    let hint =
                        near(step, seen.keys().copied()).map_or_else(String::new, |n| format!("; did you mean “{n}”?"));
                    let at = line(text.find(&format!("id = \"{}\"", path.id)).unwrap_or(0));
                    return Err((at, format!("the path “{}” names “{step}”, which is no method{hint}", path.id)));
                }
            }
        }
        Ok(catalogue)
    }

    /// The methods that match `key=value ...`.
    ///
    /// # Errors
    /// `(offending text, message, nearest)`: an unknown key or value, or nothing that matches.
    pub(crate) fn filter(&self, args: &str) -> Result<Vec<&Method>, (String, String, Option<String>)> {
        let mut chosen: Vec<&Method> = self.methods.iter().collect();
        for part in args.split_whitespace() {
            let fail = |message: &str, nearest: Option<String>| Err((part.to_owned(), message.to_owned(), nearest));
            let Some((key, value)) = part.split_once('=') else {
                return fail("filters are written key=value", None);
            };
            let allowed: &[&str] = match key {
                "applied" => Applied::WORDS,
                "saves" => Saves::WORDS,
                "tier" => Tier::WORDS,
                "level" => &["beginner", "intermediate", "advanced"],
                "lab" => &["exists", "planned"],
                _ => return fail("no attribute of a method", near(key, ATTRIBUTES)),
            };
            if !allowed.contains(&value) {
                return fail(&format!("{key} is one of {}", allowed.join(", ")), near(value, allowed.iter().copied()));
            }
            chosen.retain(|method| attribute(method, key) == value);
        }
        if chosen.is_empty() {
            return Err((args.to_owned(), "no method of the catalogue matches".to_owned(), None));
        }
        Ok(chosen)
    }
}

pub(crate) fn level_word(level: lab_api::Level) -> &'static str {
    match level {
        lab_api::Level::Beginner => "beginner",
        lab_api::Level::Intermediate => "intermediate",
        lab_api::Level::Advanced => "advanced",
    }
}

const PLANNED: &str = "<span class=\"planned\">planned</span>";

fn link(label: Option<&str>, words: &str, to: LinkTo<'_>) -> String {
    label.and_then(|label| to(label, words)).unwrap_or_else(|| PLANNED.to_owned())
}

/// The table of some methods.
pub(crate) fn table(methods: &[&Method], to: LinkTo<'_>) -> String {
    let mut out = format!("<figure class=\"methods\" data-methods>{}", filters(methods));
    out.push_str(
        "<div class=\"table-wrapper\" tabindex=\"0\" role=\"region\" aria-label=\"Methods\"><table class=\"methods-table\"><thead><tr><th scope=\"col\">Method</th><th scope=\"col\">Applied</th><th scope=\"col\">Saves</th><th scope=\"col\">Trade-off</th><th scope=\"col\">Buys</th><th scope=\"col\">Level</th><th scope=\"col\">Chapter</th><th scope=\"col\">Lab</th></tr></thead><tbody>",
    );
    for method in methods {
        let mut lab_cell = link(method.lab_labels().next().as_deref(), "lab", to);
        for lab in method.lab_labels().skip(1) {
            let words = lab.trim_start_matches("lab-").replace('-', " ");
            let _ = write!(lab_cell, ", {}", link(Some(&lab), &words, to));
        }
        let _ = write!(
            out,
            "<tr data-method=\"{id}\" data-applied=\"{applied}\" data-saves=\"{saves}\" data-tier=\"{tier}\" data-level=\"{level}\" data-lab=\"{has_lab}\"><th scope=\"row\">{name}</th><td>{applied_shown}</td><td>{saves_shown}</td><td>{trade_off}</td><td>{tier_shown}</td><td>{level}</td><td>{chapter}</td><td>{lab_cell}</td></tr>",
            id = escape(&method.id),
            applied = method.applied.word(),
            saves = method.saves.word(),
            tier = method.tier.word(),
            level = level_word(method.level),
            has_lab = attribute(method, "lab"),
            name = escape(&method.name),
            applied_shown = method.applied.shown(),
            saves_shown = method.saves.shown(),
            trade_off = escape(&method.trade_off),
            tier_shown = method.tier.shown(),
            chapter = link(method.chapter.as_deref(), "chapter", to),
        );
    }
    out.push_str("</tbody></table></div></figure>");
    out
}

/// What a method says of an attribute that filters know.
fn attribute(method: &Method, key: &str) -> &'static str {
    match key {
        "applied" => method.applied.word(),
        "saves" => method.saves.word(),
        "tier" => method.tier.word(),
        "level" => level_word(method.level),
        _ if method.lab.is_some() => "exists",
        _ => "planned",
    }
}

/// A select for each column that tells enough rows apart.
fn filters(methods: &[&Method]) -> String {
    const WORTH_IT: usize = 6;
    if methods.len() < WORTH_IT {
        return String::new();
    }
    let mut out = String::from("<p class=\"methods-filter needs-js\">");
    for (key, title) in
        [("applied", "Applied"), ("saves", "Saves"), ("tier", "Buys"), ("level", "Level"), ("lab", "Lab")]
    {
        let mut values: Vec<&str> = Vec::new();
        for value in methods.iter().map(|method| attribute(method, key)) {
            if !values.contains(&value) {
                values.push(value);
            }
        }
        if values.len() < 2 {
            continue;
        }
        let _ =
            write!(out, "<label>{title} <select name=\"{key}\" autocomplete=\"off\"><option value=\"\">all</option>");
        for value in values {
            let _ = write!(out, "<option>{value}</option>");
        }
        out.push_str("</select></label> ");
    }
    out.push_str("<span role=\"status\"></span></p>");
    out
}

/// Whether a path's step names a chapter rather than a method.
pub(crate) fn is_label(step: &str) -> bool {
    step.starts_with("sec-")
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn real() -> Catalogue {
        Catalogue::parse(include_str!("../../../book/data/methods.toml")).expect("the shipped catalogue parses")
    }

    #[test]
    fn the_shipped_catalogue_is_whole() {
        let catalogue = real();
        let labs = [
            "profiling",
            "benchmarking",
            "quantization",
            "qat",
            "pruning",
            "distillation",
            "low-rank",
            "efficient-architectures",
            "moe",
            "ssm",
            "linear-attention",
            "early-exit",
            "nas",
            "automl",
            "kv-cache",
            "flash-attention",
            "speculative-decoding",
            "batching",
            "fusion",
            "compilers",
            "mixed-precision",
            "checkpointing",
            "gradient-accumulation",
            "optimizers",
            "lora",
            "lr-schedules",
            "data-loading",
            "pipeline-parallelism",
            "distributed-training",
            "scaling-laws",
            "roofline",
            "energy",
            "olympics",
        ];
        for lab in labs {
            assert!(catalogue.methods.iter().any(|method| method.id == lab), "{lab}");
        }
        assert!(catalogue.methods.len() >= labs.len());
        for path in ["beginner", "intermediate", "advanced", "size", "speed", "full"] {
            assert!(catalogue.paths.iter().any(|p| p.id == path), "{path}");
        }
    }

    #[test]
    fn every_lab_belongs_to_a_method_and_all_of_a_methods_labs_are_linked() {
        let catalogue = real();
        let mut named: Vec<String> = catalogue.methods.iter().flat_map(Method::lab_labels).collect();
        let folders = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../labs/src")).expect("labs");
        let mut labs: Vec<String> = folders
            .filter_map(|entry| entry.ok().filter(|entry| entry.path().join("lab.md").is_file()))
            .map(|entry| format!("lab-{}", entry.file_name().to_string_lossy().replace('_', "-")))
            .collect();
        named.sort();
        labs.sort();
        assert_eq!(named, labs, "labs of methods.toml against the folders");
        let to = |label: &str, words: &str| Some(format!("<a href=\"#{label}\">{words}</a>"));
        let pruning = catalogue.methods.iter().find(|method| method.id == "pruning").expect("stands there");
        let shown = table(&[pruning], &to);
        assert!(shown.contains("<a href=\"#lab-pruning\">lab</a>, <a href=\"#lab-lottery\">lottery</a>"), "{shown}");
        assert!(shown.contains("<a href=\"#lab-pruned-lm\">pruned lm</a>"), "{shown}");
    }

    #[test]
    fn further_labs_need_a_main_one() {
        let text = include_str!("../../../book/data/methods.toml").replace("lab = \"pruning\"\n", "");
        let (line, message) = Catalogue::parse(&text).expect_err("no main lab");
        assert!(line > 1 && message.contains("“pruning” has more_labs and no lab"), "{message}");
    }

    #[test]
    fn filters_choose_and_refuse() {
        let catalogue = real();
        let after = catalogue.filter("applied=after saves=inference").expect("some match");
        assert!(!after.is_empty() && after.len() < catalogue.methods.len());
        assert_eq!(catalogue.filter("aplied=after").expect_err("unknown").2.as_deref(), Some("applied"));
        assert_eq!(catalogue.filter("applied=aftr").expect_err("unknown").2.as_deref(), Some("after"));
        assert!(catalogue.filter("applied=measuring saves=training").is_err());
    }
}
