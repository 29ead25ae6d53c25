//! The list of what is cited.

use std::fmt::Write as _;

use crate::{
    book::Book,
    html::{escape, one_line},
};

/// Every cited work with links back to each place, as seen from the chapter `at`.
pub(crate) fn list(book: &Book<'_>, at: usize) -> String {
    let cited = book.cited.borrow();
    let mut works: Vec<_> = book.works.iter().filter(|(key, _)| cited.contains_key(*key)).collect();
    works.sort_by_key(|(_, work)| work.position);
    let mut out = String::from("<ol class=\"bibliography\">");
    for (key, work) in works {
        let _ = write!(
            out,
            "<li id=\"ref-{key}\" class=\"bib-entry\"><span class=\"bib-text\">{}</span> <span class=\"bib-backlinks\">Cited in ",
            one_line(&work.full)
        );
        let mut last = None;
        for (i, place) in cited.get(key).into_iter().flatten().enumerate() {
            let Some(chapter) = book.register.chapters.get(place.chapter) else { continue };
            let href = book.register.address(at, place.chapter, &place.anchor);
            let title = escape(&chapter.title);
            // The first place in a chapter bears its name, the others count.
            let (words, comma) = if last == Some(place.chapter) {
                (format!("again ({})", place.anchor.rsplit('-').next().unwrap_or_default()), ", ")
            } else {
                (
                    chapter.number.as_ref().map_or_else(|| title.clone(), |number| format!("{number} {title}")),
                    if i == 0 { "" } else { "; " },
                )
            };
            let _ = write!(out, "{comma}<a href=\"{href}\">{words}</a>");
            last = Some(place.chapter);
        }
        out.push_str(".</span></li>");
    }
    out.push_str("</ol>");
    out
}
