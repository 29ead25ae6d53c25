//! A page for each source file that a chapter quotes, `code/<path>.html`: chapters stay small, and a reader opens the whole file in place
//! (`site/js/code.js`) or, without scripts, as a page of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use anyhow::{Context as _, Error, Result};
use textbook::Textbook;

use crate::extras::pages;

/// The folder of these pages.
pub(crate) const FOLDER: &str = "code";

/// Writes a page for each file that a page of `out` names in `data-file`.
///
/// # Errors
/// A page or a file cannot be read or written, or a page names what is no source file of the labs.
pub(crate) fn install(textbook: &Textbook, out: &Path) -> Result<()> {
    let mut quoted: BTreeMap<String, BTreeSet<(String, String)>> = BTreeMap::new();
    for page in pages(out)? {
        let html = std::fs::read_to_string(out.join(&page))?;
        let title = between(&html, "<title>", "</title>").unwrap_or(&page);
        for rest in html.split(" data-file=\"").skip(1) {
            let file = rest.split('"').next().unwrap_or_default().to_owned();
            quoted.entry(file).or_default().insert((page.clone(), title.to_owned()));
        }
    }
    let index = std::fs::read_to_string(out.join("index.html")).unwrap_or_default();
    textbook.warm_sources(quoted.keys().map(String::as_str));
    for (file, by) in &quoted {
        let lines = textbook.source_lines(file).map_err(Error::msg)?;
        let place = out.join(FOLDER).join(format!("{file}.html"));
        let folder = place.parent().with_context(|| format!("{file} names no file"))?;
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        std::fs::write(&place, page(&index, file, &lines, by))
            .with_context(|| format!("cannot write {}", place.display()))?;
    }
    Ok(())
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    Some(text.split_once(from)?.1.split_once(to)?.0)
}

/// What of the start page's head a page of code needs too: policy, theme, styles. The rest speaks of the start page.
const OF_THE_HEAD: [&str; 8] = [
    "<meta charset",
    "<meta http-equiv",
    "<meta name=\"viewport\"",
    "<meta name=\"book\"",
    "<meta name=\"color-scheme\"",
    "<script src",
    "<link rel=\"icon\"",
    "<link rel=\"stylesheet\"",
];

fn page(index: &str, file: &str, lines: &[String], by: &BTreeSet<(String, String)>) -> String {
    let root = "../".repeat(1 + file.matches('/').count());
    let head: String = between(index, "<head>", "</head>")
        .unwrap_or_default()
        .lines()
        .map(str::trim)
        .filter(|line| OF_THE_HEAD.iter().any(|start| line.starts_with(start)))
        .map(|line| {
            // Both are relative to the book's root, where the start page stands.
            let line = line.replace("href=\"", &format!("href=\"{root}"));
            format!("{}\n", line.replace("src=\"", &format!("src=\"{root}")))
        })
        .collect();
    let book = between(index, "<meta name=\"book\" content=\"", "\"").unwrap_or("The book");
    let by: Vec<String> = by
        .iter()
        .map(|(page, title)| {
            let title = title.strip_suffix(&format!(" - {book}")).unwrap_or(title);
            format!("<a href=\"{root}{page}\">{title}</a>")
        })
        .collect();
    let code: String =
        lines.iter().enumerate().map(|(i, line)| format!("<span id=\"L{}\">{line}\n</span>", i + 1)).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\" data-root=\"{root}\" data-book=\"{book}\">\n<head>\n{head}<meta name=\"robots\" content=\"noindex\">\n<title>{file} - {book}</title>\n</head>\n<body>\n\
         <header class=\"bar\"><a class=\"bar-title\" href=\"{root}index.html\">{book}</a></header>\n\
         <main class=\"text code-page\" id=\"content\">\n<h1>{file}</h1>\n<p>In the book: {}.</p>\n\
         <pre class=\"code whole\" tabindex=\"0\" role=\"region\" aria-label=\"{file}\"><code>{code}</code></pre>\n</main>\n</body>\n</html>\n",
        by.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(page: &str) -> (tempfile::TempDir, Textbook) {
        let folder = tempfile::tempdir().expect("temporary folder");
        let (source, out) = (folder.path().join("labs/src/one"), folder.path().join("out/tactics"));
        std::fs::create_dir_all(&source).expect("made");
        std::fs::create_dir_all(&out).expect("made");
        std::fs::write(source.join("mod.rs"), "// ANCHOR: a\nfn a<T>() {}\n// ANCHOR_END: a\n").expect("written");
        let index = "<html><head>\n<meta name=\"book\" content=\"Book\">\n<link rel=\"stylesheet\" href=\"site/a.css\">\n<link rel=\"next\" href=\"b.html\">\n</head>";
        std::fs::write(folder.path().join("out/index.html"), index).expect("written");
        std::fs::write(out.join("b.html"), page).expect("written");
        let textbook = Textbook::new(folder.path());
        (folder, textbook)
    }

    #[test]
    fn each_quoted_file_gets_one_page_with_a_line_for_each_anchor() {
        let link = "<a href=\"../code/labs/src/one/mod.rs.html#L1\" data-file=\"labs/src/one/mod.rs\">";
        let (folder, textbook) = site(&format!("<title>Rounding - Book</title>{link}{link}"));
        install(&textbook, &folder.path().join("out")).expect("installs");
        let page = std::fs::read_to_string(folder.path().join("out/code/labs/src/one/mod.rs.html")).expect("there");
        assert!(page.contains("data-root=\"../../../../\""), "{page}");
        assert!(
            page.contains("<link rel=\"stylesheet\" href=\"../../../../site/a.css\">")
                && !page.contains("rel=\"next\"")
        );
        assert_eq!(page.matches("<a href=\"../../../../tactics/b.html\">Rounding</a>").count(), 1, "{page}");
        assert!(page.contains("<span id=\"L1\">") && !page.contains("id=\"L2\"") && !page.contains("ANCHOR"), "{page}");
        assert!(page.contains("&lt;") && !page.contains("<T>"), "{page}");
        // It is no page that a reader looks for.
        assert_eq!(pages(&folder.path().join("out")).expect("lists"), ["index.html", "tactics/b.html"]);
    }

    #[test]
    fn what_is_no_source_of_the_labs_stops_the_build_by_name() {
        for file in ["Cargo.toml", "labs/src/../../secret", "labs/src/one/gone.rs", "/etc/hosts"] {
            let (folder, textbook) = site(&format!("<a data-file=\"{file}\">"));
            let error = install(&textbook, &folder.path().join("out")).expect_err(file).to_string();
            assert!(error.contains(file), "{error}");
        }
    }
}
