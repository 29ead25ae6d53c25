//! Learning paths as lists whose steps bear the names under which a browser keeps what its reader has read and run, so that
//! `site/js/progress.js` can say where the reader is.

use std::fmt::Write as _;

use super::{Catalogue, LearningPath, LinkTo, Method, PLANNED, is_label, level_word};
use crate::html::escape;

/// What a path asks of the book.
pub(crate) struct Steps<'a> {
    pub(crate) to: LinkTo<'a>,
    /// The title of what bears a label.
    pub(crate) title: &'a dyn Fn(&str) -> Option<String>,
    /// The id of the title of the page on which a label stands: under it a page counts as read.
    pub(crate) page: &'a dyn Fn(&str) -> Option<String>,
}

/// A learning path as an ordered list.
pub(crate) fn path(path: &LearningPath, catalogue: &Catalogue, steps: &Steps<'_>) -> String {
    format!(
        "<div class=\"path\" data-path-of=\"{id}\"><p class=\"path-words\"><strong>{title}.</strong> {words}</p>{STATE}{list}</div>",
        id = escape(&path.id),
        title = escape(&path.title),
        words = escape(&path.words),
        list = list(path, catalogue, steps)
    )
}

/// All paths: each in a few lines, its steps to unfold.
pub(crate) fn paths(catalogue: &Catalogue, steps: &Steps<'_>) -> String {
    let mut out = String::from("<div class=\"paths\">");
    for path in &catalogue.paths {
        let list = list(path, catalogue, steps);
        let count = list.matches("<li").count();
        // The link to the next step stands outside of what folds: a press on it is no press on the fold.
        let _ = write!(
            out,
            "<div class=\"path\" data-path-of=\"{id}\"><p class=\"path-words\"><strong>{title}.</strong> {words}</p>{STATE}<details><summary>The {count} steps<span class=\"hidden\"> of the path {title}</span></summary>{list}</details></div>",
            id = escape(&path.id),
            title = escape(&path.title),
            words = escape(&path.words),
        );
    }
    out.push_str("</div>");
    out
}

/// Where the script says how far the reader is: nothing without it.
const STATE: &str = "<p class=\"path-state\" data-path-state></p>";

fn list(path: &LearningPath, catalogue: &Catalogue, steps: &Steps<'_>) -> String {
    let mut out = format!("<ol class=\"learning-path\" data-path=\"{}\">", escape(&path.id));
    if path.steps.iter().any(|step| step == "all") {
        catalogue.methods.iter().for_each(|method| out += &step(method, steps));
    }
    for name in &path.steps {
        if is_label(name) {
            let link = (steps.title)(name).and_then(|title| (steps.to)(name, &title)).unwrap_or_default();
            let _ = write!(out, "<li{}>{link}</li>", kept(Some(name), None, steps));
        } else if let Some(method) = catalogue.methods.iter().find(|method| method.id == *name) {
            out += &step(method, steps);
        }
    }
    out.push_str("</ol>");
    out
}

/// One method of a path.
fn step(method: &Method, steps: &Steps<'_>) -> String {
    let chapter = method.chapter.as_deref().and_then(|chapter| (steps.to)(chapter, &method.name));
    let item = chapter.unwrap_or_else(|| format!("{} {PLANNED}", escape(&method.name)));
    let kept = kept(method.chapter.as_deref(), method.lab.as_deref(), steps);
    format!("<li{kept}>{item} <span class=\"path-level\">{}</span></li>", level_word(method.level))
}

/// The names under which a step's page and lab are kept.
fn kept(chapter: Option<&str>, lab: Option<&str>, steps: &Steps<'_>) -> String {
    let mut out = String::new();
    if let Some(page) = chapter.and_then(|chapter| (steps.page)(chapter)) {
        let _ = write!(out, " data-step-page=\"{}\"", escape(&page));
    }
    if let Some(lab) = lab {
        let _ = write!(out, " data-step-lab=\"{}\"", escape(lab));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_bears_the_page_and_the_lab_under_which_its_state_is_kept() {
        let catalogue = super::super::tests::real();
        let to = |label: &str, words: &str| Some(format!("<a href=\"#{label}\">{words}</a>"));
        let title = |label: &str| Some(format!("Title of {label}"));
        let page = |label: &str| Some(label.replace("sec-", "page-"));
        let steps = Steps { to: &to, title: &title, page: &page };
        let html = paths(&catalogue, &steps);
        assert_eq!(html.matches("<div class=\"path\" data-path-of=").count(), catalogue.paths.len());
        // Whatever can be pressed stands outside of the line that folds.
        assert!(
            html.split("<summary>").skip(1).all(|rest| !rest.split("</summary>").next().unwrap_or("<a").contains("<a"))
        );
        let strategist = catalogue.paths.iter().find(|path| path.id == "strategist").expect("a path");
        assert!(
            html.contains(&format!(
                "The {} steps<span class=\"hidden\"> of the path Strategist",
                strategist.steps.len()
            ))
        );
        assert_eq!(html.matches("data-path-state").count(), catalogue.paths.len());
        let kv =
            "<li data-step-page=\"page-kv-cache\" data-step-lab=\"kv-cache\"><a href=\"#sec-kv-cache\">KV cache</a>";
        assert!(html.contains(kv), "{html}");
        assert!(html.contains(
            "<li data-step-page=\"page-imperative\"><a href=\"#sec-imperative\">Title of sec-imperative</a></li>"
        ));
        // What is planned can be neither read nor run.
        let planned = catalogue.methods.iter().find(|method| method.chapter.is_none() && method.lab.is_none());
        if let Some(method) = planned {
            assert!(html.contains(&format!("<li>{} {PLANNED}", escape(&method.name))), "{}", method.id);
        }
    }
}
