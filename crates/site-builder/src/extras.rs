//! What a site has beside its pages: map, robots, service worker, picture for social cards, where each lab lives.

use std::{collections::BTreeMap, path::Path};

use anyhow::Result;

use crate::{
    paths::{Paths, copy, files},
    sources,
};

/// Pages that no reader looks for.
const UNLISTED: &[&str] = &["404.html", "print.html", "toc.html"];

/// Writes everything; `base_url` is the absolute address of the book's root and ends in `/`.
///
/// # Errors
/// A file cannot be read or written.
pub(crate) fn install(paths: &Paths, out: &Path, base_url: Option<&str>) -> Result<()> {
    copy(&paths.site.join("sw.js"), &out.join("sw.js"))?;
    copy(&paths.site.join("social-card.png"), &out.join("social-card.png"))?;
    lab_index(out)?;
    let pages = pages(out)?;
    let mut robots = String::from("User-agent: *\nAllow: /\nDisallow: /print.html\n");
    if let Some(base) = base_url {
        let mut map = String::from(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<urlset xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\">\n",
        );
        for page in &pages {
            let address = page.strip_suffix("index.html").unwrap_or(page);
            map.push_str(&format!("<url><loc>{base}{address}</loc></url>\n"));
        }
        map.push_str("</urlset>\n");
        std::fs::write(out.join("sitemap.xml"), map)?;
        robots.push_str(&format!("Sitemap: {base}sitemap.xml\n"));
        // A social card is fetched from elsewhere and needs an absolute address, which no template can know.
        for page in &pages {
            let file = out.join(page);
            let html = std::fs::read_to_string(&file)?;
            let address = page.strip_suffix("index.html").unwrap_or(page);
            let meta = format!(
                "<meta property=\"og:url\" content=\"{base}{address}\"><link rel=\"canonical\" href=\"{base}{address}\">\
                 <meta property=\"og:image\" content=\"{base}social-card.png\"></head>"
            );
            std::fs::write(file, html.replacen("</head>", &meta, 1))?;
        }
    }
    std::fs::write(out.join("robots.txt"), robots)?;
    Ok(())
}

/// Writes `labs.json`: lab id to page, so that a link to a lab that stands elsewhere can be answered with its address; and `pages.json`:
/// the id of a page's title to its source, so that what is kept for a reader by that id finds a page that has moved.
///
/// # Errors
/// A page cannot be read.
pub(crate) fn lab_index(out: &Path) -> Result<()> {
    let pages = pages(out)?;
    std::fs::write(out.join("labs.json"), serde_json::to_string(&labs(out, &pages)?)?)?;
    std::fs::write(out.join("pages.json"), serde_json::to_string(&names(out, &pages)?)?)?;
    Ok(())
}

fn names(out: &Path, pages: &[String]) -> Result<BTreeMap<String, String>> {
    let mut names = BTreeMap::new();
    for page in pages {
        let html = std::fs::read_to_string(out.join(page))?;
        let after =
            |mark: &str| html.split_once(mark).and_then(|(_, rest)| rest.split_once('"')).map(|(value, _)| value);
        if let (Some(id), Some(path)) = (after("<h1 id=\""), after("data-toc data-path=\"")) {
            names.entry(id.to_owned()).or_insert_with(|| path.to_owned());
        }
    }
    Ok(names)
}

/// Addresses of the pages a reader may look for, relative to the root, in order.
pub(crate) fn pages(out: &Path) -> Result<Vec<String>> {
    let mut pages = Vec::new();
    for file in files(out)? {
        let address = file.strip_prefix(out)?.to_string_lossy().replace('\\', "/");
        let is_code = address.starts_with(&format!("{}/", sources::FOLDER));
        if address.ends_with(".html") && !UNLISTED.contains(&address.as_str()) && !is_code {
            pages.push(address);
        }
    }
    pages.sort();
    Ok(pages)
}

fn labs(out: &Path, pages: &[String]) -> Result<BTreeMap<String, String>> {
    const MARK: &str = "<section class=\"lab\" id=\"lab-";
    let mut labs = BTreeMap::new();
    for page in pages {
        let html = std::fs::read_to_string(out.join(page))?;
        for rest in html.split(MARK).skip(1) {
            if let Some((id, _)) = rest.split_once('"') {
                labs.entry(id.to_owned()).or_insert_with(|| page.clone());
            }
        }
    }
    Ok(labs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_lists_pages_and_the_index_finds_labs() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let (root, out) = (folder.path().join("work"), folder.path().join("out"));
        for place in [root.join("book"), root.join("site"), out.join("tactics")] {
            std::fs::create_dir_all(place).expect("made");
        }
        for file in ["book/book.toml", "site/sw.js", "site/social-card.png"] {
            std::fs::write(root.join(file), "").expect("written");
        }
        let page = "<head></head><nav data-toc data-path=\"tactics/kv.md\"></nav><h1 id=\"sec-kv\">K</h1><section class=\"lab\" id=\"lab-kv-cache\" data-lab=\"kv-cache\">";
        std::fs::write(out.join("tactics/kv.html"), page).expect("written");
        for other in ["index.html", "404.html", "print.html"] {
            std::fs::write(out.join(other), "<head></head>").expect("written");
        }
        let paths = Paths::new(&root).expect("a workspace");
        install(&paths, &out, Some("https://example.org/b/")).expect("installs");

        let read = |name: &str| std::fs::read_to_string(out.join(name)).expect("there");
        let map = read("sitemap.xml");
        assert!(map.contains("<loc>https://example.org/b/</loc>") && map.contains("/b/tactics/kv.html"), "{map}");
        assert!(!map.contains("404") && !map.contains("print"), "{map}");
        assert_eq!(read("pages.json"), r#"{"sec-kv":"tactics/kv.md"}"#);
        assert_eq!(read("labs.json"), r#"{"kv-cache":"tactics/kv.html"}"#);
        assert!(read("index.html").contains("content=\"https://example.org/b/social-card.png\""));
        assert!(read("robots.txt").contains("Sitemap: https://example.org/b/sitemap.xml"));
    }

    /// A WOFF2 names its tables at its beginning. STAT speaks of axes by names that a subset has not, and Firefox says so on every page.
    #[test]
    fn fonts_hold_no_table_that_browsers_discard() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../site/theme/fonts");
        let mut seen = 0;
        for file in files(&folder).expect("lists").iter().filter(|file| file.extension().is_some_and(|e| e == "woff2"))
        {
            let bytes = std::fs::read(file).expect("reads");
            assert!(!bytes[..bytes.len().min(512)].windows(4).any(|tag| tag == b"STAT"), "{}", file.display());
            seen += 1;
        }
        assert!(seen >= 4, "{seen}");
    }
}
