//! The fixture book: the HTML that readers get of each directive, through mdBook's own renderer.

mod common;

use std::path::Path;

use mdbook_driver::MDBook;
use textbook::Textbook;

/// Builds the fixture and returns the folder of pages.
fn build() -> tempfile::TempDir {
    let root = common::fixture();
    let out = tempfile::tempdir().expect("a folder");
    let mut book = MDBook::load(root.join("book")).expect("the fixture loads");
    book.config.build.build_dir = out.path().to_owned();
    // The program of the same name is not called: the library is.
    book.config.set("preprocessor", toml_table()).expect("sets");
    let mut book = MDBook::load_with_config(root.join("book"), book.config).expect("loads again");
    book.with_preprocessor(Textbook::new(&root));
    book.build().expect("the fixture builds");
    out
}

fn toml_table() -> std::collections::BTreeMap<String, String> {
    std::collections::BTreeMap::new()
}

/// What stands in `<main>`, one element a line where that is harmless.
fn main_of(out: &Path, page: &str) -> String {
    let html = std::fs::read_to_string(out.join(page)).expect("the page exists");
    let start = html.find("<main>").expect("a main element") + 6;
    let end = html.find("</main>").expect("its end");
    let main = without_report(html[start..end].trim());
    main.replace("><", ">\n<").replace("> <", ">\n <")
}

/// The inside of a lab's report is the business of `lab-charts`: that it is there, with its numbers, is ours.
fn without_report(main: &str) -> String {
    let Some(start) = main.find("<div class=\"lab-report\">") else { return main.to_owned() };
    let end = start + main[start..].find("<div class=\"lab-words\">").expect("words after the result");
    assert!(
        main[start..end].contains("data-metric=\"weight_bytes\" data-value=\"26624\""),
        "the reference shows its numbers"
    );
    format!("{}(report)</div>{}", &main[..start], without_picture(&main[end..]))
}

/// So is the picture of a miniature, once it is there with its title.
fn without_picture(main: &str) -> String {
    let Some(start) = main.find("<svg class=\"chart\"") else { return main.to_owned() };
    let end = start + main[start..].find("</svg>").expect("its end");
    assert!(main[start..end].contains("What does a &lt;bit&gt; buy?</title>"), "the picture says what it shows");
    format!("{}(picture){}", &main[..start], &main[end + 6..])
}

#[test]
fn every_directive_as_readers_get_it() {
    let out = build();
    let pages = [
        "preface",
        "strategy/choosing",
        "tactics/references",
        "tactics/figures",
        "tactics/maths",
        "tactics/citations",
        "tactics/callouts",
        "tactics/code",
        "tactics/lab",
        "tactics/quizzes",
        "tactics/diagrams",
        "tactics/catalogue",
        "tactics/inert",
        "glossary",
        "bibliography",
    ];
    for page in pages {
        let main = main_of(out.path(), &format!("{page}.html"));
        insta::assert_snapshot!(page.replace('/', "-"), main);
    }
}

#[test]
fn no_id_stands_twice_on_a_page_and_every_link_leads_somewhere() {
    let out = build();
    let mut pages = std::collections::BTreeMap::new();
    collect(out.path(), out.path(), &mut pages);
    pages.retain(|name, _| !["print.html", "toc.html", "404.html"].contains(&name.as_str()));
    assert!(pages.len() > 14, "{:?}", pages.keys());
    let mut links = 0;
    for (name, html) in &pages {
        let mut ids = attributes(html, " id=\"");
        let count = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), count, "{name} has an id twice");
        for href in attributes(html, " href=\"") {
            if href.contains("://") || href.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = href.split_once('#').unwrap_or((href.as_str(), ""));
            let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
            let target = if path.is_empty() { name.clone() } else { normal(&format!("{folder}/{path}")) };
            // Pages of source files are the site builder's.
            if !target.ends_with(".html") || target.starts_with("code/") {
                continue;
            }
            let found = pages.get(&target);
            assert!(found.is_some() || target == "print.html", "{name}: {href} leads to {target}");
            if let (Some(html), false) = (found, anchor.is_empty()) {
                assert!(attributes(html, " id=\"").iter().any(|id| id == anchor), "{name}: {href} has no such anchor");
                links += 1;
            }
        }
    }
    assert!(links > 60, "{links} links were checked");
}

fn attributes(html: &str, start: &str) -> Vec<String> {
    // What a script holds as data is no markup.
    let mut text = String::new();
    for (i, part) in html.split("<script").enumerate() {
        text.push_str(if i == 0 { part } else { part.split_once("</script>").map_or("", |(_, rest)| rest) });
    }
    text.split(start).skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect()
}

fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    parts.join("/")
}

fn collect(root: &Path, folder: &Path, pages: &mut std::collections::BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(root, &path, pages);
        } else if path.extension().is_some_and(|extension| extension == "html") {
            let name = path.strip_prefix(root).expect("inside").to_string_lossy().replace('\\', "/");
            pages.insert(name, std::fs::read_to_string(&path).expect("reads"));
        }
    }
}

#[test]
fn the_program_gives_the_same_chapters_as_the_library() {
    use mdbook_preprocessor::{PreprocessorContext, book::Book};
    use std::{
        io::Write as _,
        process::{Command, Stdio},
    };

    let root = common::fixture();
    let by_library = common::preprocess(&root, &Textbook::new(&root)).expect("no problems");
    let loaded = MDBook::load(root.join("book")).expect("loads");
    let context = PreprocessorContext::new(root.join("book"), loaded.config.clone(), "html".to_owned());
    let input = serde_json::to_vec(&(context, &loaded.book)).expect("serializes");
    let mut child = Command::new(env!("CARGO_BIN_EXE_mdbook-textbook"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    child.stdin.take().expect("a pipe").write_all(&input).expect("writes");
    let output = child.wait_with_output().expect("ends");
    assert!(output.status.success());
    let by_program: Book = serde_json::from_slice(&output.stdout).expect("a book");
    assert_eq!(by_program, by_library);
    assert_ne!(by_program, loaded.book);
}
