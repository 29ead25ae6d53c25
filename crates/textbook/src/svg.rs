//! SVG put into a page: ids of its own, a text alternative, nothing from elsewhere.

use std::sync::LazyLock;

use regex::Regex;

use crate::html::{escape, one_line};

static PROLOGUE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?s)<\?xml.*?\?>|<!DOCTYPE.*?>|<!--.*?-->").expect("a constant pattern"));
static ID: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#"(\s)id="([^"]+)""#).expect("a constant pattern"));
static USE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r##"url\(["']?#([^)"']+)["']?\)|((?:xlink:)?href)="#([^"]+)"|(aria-(?:labelledby|describedby))="([^"]+)""##,
    )
    .expect("a constant pattern")
});
static STYLE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?s)(<style[^>]*>)(.*?)(</style>)").expect("a constant pattern"));
static STYLE_ID: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"#([A-Za-z][\w-]*)").expect("a constant pattern"));
static FORBIDDEN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"(?i)<script|\son\w+\s*=|(?:href|src)="(?:https?:)?//|@import|url\(["']?(?:https?:)?//"#)
        .expect("a constant pattern")
});
static ROOT: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?s)<svg\b([^>]*)>").expect("a constant pattern"));
static ROLE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"\s(?:role|aria-[a-z]+)="[^"]*""#).expect("a constant pattern"));
static VIEW_BOX: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"viewBox="\s*[-\d.]+[\s,]+[-\d.]+[\s,]+([\d.]+)[\s,]+([\d.]+)\s*""#).expect("a constant pattern")
});
static LENGTH: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"\s(width|height)="([\d.]+)(?:px)?""#).expect("a constant pattern"));

/// An SVG file as part of a page, on one line. `scope` is put before each id, so that pictures on a page do not meet.
///
/// # Errors
/// No `<svg>` element, or something that a page must not hold (scripts, event handlers, addresses of other origins).
pub(crate) fn embed(svg: &str, scope: &str, alt: &str) -> Result<String, String> {
    let svg = PROLOGUE.replace_all(svg, "");
    if let Some(found) = FORBIDDEN.find(&svg) {
        return Err(format!("the picture holds {}, which a page must not", found.as_str().trim()));
    }
    let root = ROOT.captures(&svg).ok_or("the file holds no <svg> element")?;
    let attributes = ROLE.replace_all(&root[1], "");
    let size = if LENGTH.is_match(&attributes) {
        String::new()
    } else {
        size_of(&svg).map_or_else(String::new, |(w, h)| format!(" width=\"{w}\" height=\"{h}\""))
    };
    let head = format!("<svg{attributes}{size} role=\"img\" aria-label=\"{}\">", escape(alt));
    let range = root.get(0).map_or(0..0, |m| m.range());
    let svg = format!("{}{head}{}", &svg[..range.start], &svg[range.end..]);
    let ids: Vec<String> = ID.captures_iter(&svg).map(|found| found[2].to_owned()).collect();
    let svg = ID.replace_all(&svg, format!("${{1}}id=\"{scope}-${{2}}\""));
    let svg = USE.replace_all(&svg, |found: &regex::Captures<'_>| {
        if let Some(id) = found.get(1) {
            format!("url(#{scope}-{})", id.as_str())
        } else if let (Some(name), Some(id)) = (found.get(2), found.get(3)) {
            format!("{}=\"#{scope}-{}\"", name.as_str(), id.as_str())
        } else {
            let name = found.get(4).map_or("", |m| m.as_str());
            let to: Vec<_> = found[5].split_whitespace().map(|id| format!("{scope}-{id}")).collect();
            format!("{name}=\"{}\"", to.join(" "))
        }
    });
    let svg = STYLE.replace_all(&svg, |found: &regex::Captures<'_>| {
        let rules = STYLE_ID.replace_all(&found[2], |id: &regex::Captures<'_>| {
            if ids.iter().any(|known| *known == id[1]) { format!("#{scope}-{}", &id[1]) } else { id[0].to_owned() }
        });
        format!("{}{rules}{}", &found[1], &found[3])
    });
    Ok(one_line(&svg))
}

/// Width and height in CSS pixels, from the attributes or the view box.
pub(crate) fn size_of(svg: &str) -> Option<(f64, f64)> {
    let root = &ROOT.captures(svg)?[0];
    let mut size = [None, None];
    for found in LENGTH.captures_iter(root) {
        size[usize::from(&found[1] == "height")] = found[2].parse().ok();
    }
    if let [Some(width), Some(height)] = size {
        return Some((width, height));
    }
    let found = VIEW_BOX.captures(root)?;
    Some((found[1].parse().ok()?, found[2].parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SVG: &str = "<?xml version=\"1.0\"?>\n<svg xmlns=\"x\" id=\"d\" viewBox=\"0 0 40 20\" role=\"graphics\">\n\n<style>#d .n { fill: #fff; }</style><marker id=\"m\"/><path marker-end=\"url(#m)\"/><use href=\"#m\"/></svg>";

    #[test]
    fn ids_are_scoped_and_the_picture_speaks() {
        let html = embed(SVG, "fig-x", "A \"line\"").expect("embeds");
        assert!(html.starts_with("<svg xmlns=\"x\" id=\"fig-x-d\" viewBox=\"0 0 40 20\" width=\"40\" height=\"20\" role=\"img\" aria-label=\"A &quot;line&quot;\">"), "{html}");
        assert!(html.contains("#fig-x-d .n { fill: #fff; }"), "{html}");
        assert!(html.contains("url(#fig-x-m)") && html.contains("href=\"#fig-x-m\""), "{html}");
        assert!(!html.contains('\n'));
    }

    #[test]
    fn what_reaches_out_is_refused() {
        for bad in ["<svg><script/></svg>", "<svg onload=\"x\"/>", "<svg><image href=\"https://x/y\"/></svg>", "<p/>"] {
            assert!(embed(bad, "s", "a").is_err(), "{bad}");
        }
    }
}
