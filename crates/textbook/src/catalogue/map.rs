//! The map of all methods: when each is applied, what it saves, what it buys, and whether its chapter is written. Lists under headings
//! of their own, which a style sheet lays out as a grid: so it reads in any width, aloud, and without any style.

use std::fmt::Write as _;

use super::{Applied, Catalogue, LinkTo, Method, Saves, Tier};
use crate::html::escape;

/// The rows of the map, and what is said of each.
const ROWS: [(Applied, &str); 3] =
    [(Applied::Training, "During training"), (Applied::After, "After training"), (Applied::Measuring, "To measure")];

/// The cells of a row, in order.
const CELLS: [(Saves, &str); 4] = [
    (Saves::Training, "saves training time"),
    (Saves::Inference, "saves inference time"),
    (Saves::Both, "saves both"),
    (Saves::Insight, "saves nothing itself: shows where to save"),
];

/// What a method buys: its mark, and the words for it.
const TIERS: [(Tier, &str, &str); 3] =
    [(Tier::Size, "■", "size"), (Tier::Speed, "▲", "speed"), (Tier::Insight, "○", "insight")];

/// Every method of the catalogue once. A method whose chapter exists is a link to it.
pub(crate) fn map(catalogue: &Catalogue, to: LinkTo<'_>) -> String {
    let methods = &catalogue.methods;
    let written = methods.iter().filter(|method| chapter(method, to).is_some()).count();
    let mut out = String::from("<figure class=\"map\" data-map>");
    for (applied, title) in ROWS {
        let row: Vec<&Method> = methods.iter().filter(|method| method.applied == applied).collect();
        if row.is_empty() {
            continue;
        }
        let word = applied.word();
        let _ = write!(
            out,
            "<section class=\"map-row\" data-applied=\"{word}\" aria-labelledby=\"map-{word}\"><p class=\"map-when\" id=\"map-{word}\">{title}</p>"
        );
        for (saves, saves_words) in CELLS {
            let cell: Vec<&&Method> = row.iter().filter(|method| method.saves == saves).collect();
            if cell.is_empty() {
                continue;
            }
            let id = format!("map-{word}-{}", saves.word());
            let _ = write!(
                out,
                "<div class=\"map-cell\" data-saves=\"{}\"><p class=\"map-saves\" id=\"{id}\">{saves_words}</p><ul aria-labelledby=\"map-{word} {id}\">",
                saves.word()
            );
            cell.iter().for_each(|method| out += &item(method, to));
            out.push_str("</ul></div>");
        }
        out.push_str("</section>");
    }
    let marks: Vec<String> = TIERS
        .iter()
        .filter(|(tier, ..)| methods.iter().any(|method| method.tier == *tier))
        .map(|(tier, mark, words)| {
            format!(
                "<span class=\"glue\"><span class=\"map-tier\" data-tier=\"{}\" aria-hidden=\"true\">{mark}</span> {words}</span>",
                tier.word()
            )
        })
        .collect();
    let all = methods.len();
    let planned = if written < all { "; those with a dashed edge are planned" } else { "" };
    let _ = write!(
        out,
        "<figcaption>{written} of {all} methods have their chapter{planned}. What each chiefly buys: {}.</figcaption></figure>",
        marks.join(", ")
    );
    out
}

fn chapter(method: &Method, to: LinkTo<'_>) -> Option<String> {
    method.chapter.as_deref().and_then(|chapter| to(chapter, &method.name))
}

fn item(method: &Method, to: LinkTo<'_>) -> String {
    let (_, mark, buys) = TIERS.iter().find(|(tier, ..)| *tier == method.tier).copied().unwrap_or(TIERS[0]);
    let link = chapter(method, to);
    let state = if link.is_some() { "written" } else { "planned" };
    let name = link.unwrap_or_else(|| format!("<span>{}</span>", escape(&method.name)));
    let hidden = if state == "planned" { ", planned" } else { "" };
    format!(
        "<li data-method=\"{}\" data-chapter=\"{state}\"><span class=\"map-tier\" data-tier=\"{}\" aria-hidden=\"true\">{mark}</span> {name}<span class=\"hidden\">, buys {buys}{hidden}</span></li>",
        escape(&method.id),
        method.tier.word(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_of_the_shipped_catalogue_stands_once_where_it_belongs() {
        let catalogue = super::super::tests::real();
        let to = |label: &str, words: &str| Some(format!("<a href=\"#{label}\">{}</a>", escape(words)));
        let html = map(&catalogue, &to);
        for method in &catalogue.methods {
            let start = html.find(&format!("<li data-method=\"{}\"", method.id)).expect(&method.id);
            assert_eq!(html.matches(&format!("<li data-method=\"{}\"", method.id)).count(), 1, "{}", method.id);
            let before = &html[..start];
            let last = |name: &str| {
                let at = before.rfind(&format!(" {name}=\"")).expect("a place") + name.len() + 3;
                before[at..].split('"').next().unwrap_or_default()
            };
            assert_eq!(last("data-applied"), method.applied.word(), "{}", method.id);
            assert_eq!(last("data-saves"), method.saves.word(), "{}", method.id);
            let own = html[start..].split("</li>").next().unwrap_or_default();
            assert_eq!(own.contains("<a href"), method.chapter.is_some(), "{own}");
            assert_eq!(own.contains("data-chapter=\"planned\""), method.chapter.is_none(), "{own}");
        }
    }

    #[test]
    fn what_is_written_is_counted_and_what_leads_nowhere_is_planned() {
        let method = |id: &str, chapter: &str| {
            format!(
                "[[method]]\nid = \"{id}\"\nname = \"{id} & co\"\napplied = \"after\"\nsaves = \"both\"\ntrade_off = \"x\"\ntier = \"size\"\nlevel = \"beginner\"\n{chapter}"
            )
        };
        let text = method("a", "chapter = \"sec-a\"\n") + &method("b", "chapter = \"sec-gone\"\n") + &method("c", "");
        let catalogue = Catalogue::parse(&text).expect("parses");
        let to = |label: &str, words: &str| (label == "sec-a").then(|| format!("<a href=\"a\">{}</a>", escape(words)));
        let html = map(&catalogue, &to);
        assert!(html.contains("1 of 3 methods have their chapter; those with a dashed edge are planned."), "{html}");
        assert_eq!(html.matches("data-chapter=\"planned\"").count(), 2);
        assert!(html.contains("a &amp; co") && !html.contains("data-applied=\"training\""), "{html}");
        assert!(html.contains("■") && !html.contains("▲"), "only marks in use are explained: {html}");
    }
}
