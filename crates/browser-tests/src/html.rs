//! What one page of the built site refers to, and what it must not hold.

use std::collections::BTreeSet;

use scraper::{Html, Selector};

/// A page, reduced to what the rules ask about.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Page {
    /// Targets of links, as written.
    pub links: Vec<String>,
    /// Everything the browser fetches by itself: images, scripts, styles, preloads, icons.
    pub resources: Vec<String>,
    /// The part of [`Page::resources`] that is code or style.
    pub code: Vec<String>,
    /// Values of `id` and of `name` on anchors.
    pub anchors: BTreeSet<String>,
    /// Scripts with content that a browser would run.
    pub inline_scripts: usize,
    /// Attributes such as `onclick`, and links to `javascript:`.
    pub handlers: Vec<String>,
    /// Value of `<html data-root>`.
    pub root: String,
}

/// Reads a page.
///
/// # Panics
/// Never: the selectors are constants that parse.
#[must_use]
pub fn read(text: &str) -> Page {
    let html = Html::parse_document(text);
    let mut page = Page::default();
    let all = Selector::parse("*").expect("a constant that parses");
    for element in html.select(&all) {
        let tag = element.value();
        let name = tag.name();
        if let Some(id) = tag.attr("id") {
            page.anchors.insert(id.to_owned());
        }
        let attribute = |key: &str| tag.attr(key).map(str::to_owned);
        match name {
            "html" => page.root = attribute("data-root").unwrap_or_default(),
            "a" => {
                page.anchors.extend(attribute("name"));
                page.links.extend(attribute("href"));
            }
            "link" => {
                let rel = tag.attr("rel").unwrap_or_default();
                let href = attribute("href");
                if ["stylesheet", "modulepreload", "preload"].contains(&rel) {
                    page.code.extend(href.clone());
                }
                // `prefetch` is the browser's idle time, `canonical` and the like are addresses for machines.
                if ["stylesheet", "modulepreload", "preload", "icon", "manifest"].contains(&rel) {
                    page.resources.extend(href);
                }
            }
            "script" => match attribute("src") {
                Some(src) => {
                    page.code.push(src.clone());
                    page.resources.push(src);
                }
                None if !tag.attr("type").is_some_and(|kind| kind.ends_with("json")) => page.inline_scripts += 1,
                None => {}
            },
            "img" | "source" | "iframe" | "video" | "audio" | "embed" => page.resources.extend(attribute("src")),
            "object" => page.resources.extend(attribute("data")),
            _ => {}
        }
        page.handlers
            .extend(tag.attrs().filter(|(key, _)| key.starts_with("on")).map(|(key, _)| format!("{name} {key}")));
        let scripted = |value: &str| value.trim_start().to_lowercase().starts_with("javascript:");
        page.handlers.extend(attribute("href").filter(|href| scripted(href)));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_links_and_anchors_are_told_apart() {
        let page = read(
            "<html data-root='../'><link rel=stylesheet href=a.css><script src=b.js></script><script>run()</script>\
             <script type='application/json'>{}</script><h1 id=top onclick='x()'>T</h1><a href='c.html#d' name=e>c</a>\
             <img src=f.svg><a href='javascript:g()'>g</a></html>",
        );
        assert_eq!(page.root, "../");
        assert_eq!(page.code, ["a.css", "b.js"]);
        assert_eq!(page.resources, ["a.css", "b.js", "f.svg"]);
        assert_eq!(page.inline_scripts, 1);
        assert_eq!(page.handlers, ["h1 onclick", "javascript:g()"]);
        assert_eq!(page.links[0], "c.html#d");
        assert!(page.anchors.contains("top") && page.anchors.contains("e"));
    }
}
