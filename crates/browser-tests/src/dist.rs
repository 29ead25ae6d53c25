//! The built site as files: every link leads somewhere, nothing comes from elsewhere.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::html::{self, Page};

/// The built site: all files, and the pages among them read.
#[derive(Debug)]
pub struct Site {
    /// Its folder.
    pub root: PathBuf,
    /// Every file, relative to the root, with `/`.
    pub files: Vec<String>,
    /// The pages among them.
    pub pages: BTreeMap<String, Page>,
}

impl Site {
    /// Reads a built site.
    ///
    /// # Errors
    /// The folder or a page of it cannot be read, or it holds no page at all.
    pub fn read(root: &Path) -> anyhow::Result<Self> {
        let mut files = Vec::new();
        let mut folders = vec![root.to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).with_context(|| format!("{} cannot be read", folder.display()))? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(root)?.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>();
                    files.push(name.join("/"));
                }
            }
        }
        files.sort();
        let mut pages = BTreeMap::new();
        for file in files.iter().filter(|file| file.ends_with(".html")) {
            pages.insert(file.clone(), html::read(&std::fs::read_to_string(root.join(file))?));
        }
        anyhow::ensure!(!pages.is_empty(), "{} holds no page; build it with `cargo xtask build`", root.display());
        Ok(Self { root: root.to_path_buf(), files, pages })
    }

    /// The bytes of a file.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn bytes(&self, file: &str) -> anyhow::Result<Vec<u8>> {
        std::fs::read(self.root.join(file)).with_context(|| format!("{file} of the site cannot be read"))
    }

    fn has(&self, file: &str) -> bool {
        self.files.binary_search_by(|known| known.as_str().cmp(file)).is_ok()
    }

    /// Links, images, scripts and styles that lead nowhere, each as a sentence.
    #[must_use]
    pub fn broken_links(&self) -> Vec<String> {
        let mut broken = Vec::new();
        for (name, page) in &self.pages {
            for target in page.links.iter().chain(&page.resources) {
                if is_external(target) || target.starts_with("data:") || target.starts_with("mailto:") {
                    continue;
                }
                if let Err(why) = self.resolve(name, target) {
                    broken.push(format!("{name} refers to “{target}”, but {why}."));
                }
            }
        }
        broken
    }

    /// Whether `target`, written in the page `from`, leads to a file and an anchor of the site.
    fn resolve(&self, from: &str, target: &str) -> Result<(), String> {
        if target.starts_with('/') && from != "404.html" {
            return Err("it begins at the host's root, so it breaks under a sub-path".to_owned());
        }
        let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
        let path = path.split('?').next().unwrap_or_default();
        let mut file = match path {
            "" => from.to_owned(),
            // Only 404.html gets here. Its host may serve the site under a sub-path: what follows must be ours.
            path if path.starts_with('/') => self.below_host(path),
            path => join(from, path)?,
        };
        if file.is_empty() || file.ends_with('/') {
            file.push_str("index.html");
        }
        if !self.has(&file) {
            return Err(format!("the site has no file {file}"));
        }
        let anchor = percent_decoded(anchor);
        match self.pages.get(&file) {
            Some(page) if !anchor.is_empty() && !page.anchors.contains(&anchor) => {
                Err(format!("{file} has no anchor “{anchor}”"))
            }
            _ => Ok(()),
        }
    }

    /// The file that an absolute path means, wherever the host keeps the site.
    fn below_host(&self, path: &str) -> String {
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let mut tails = (0..parts.len()).map(|skip| parts[skip..].join("/"));
        tails.find(|tail| self.has(tail)).unwrap_or_else(|| parts.join("/"))
    }

    /// What a strict security policy would block, and what would come from another origin: each as a sentence.
    #[must_use]
    pub fn policy_violations(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (name, page) in &self.pages {
            if page.inline_scripts > 0 {
                found.push(format!("{name} holds {} inline scripts; move them into files.", page.inline_scripts));
            }
            for handler in &page.handlers {
                found.push(format!("{name} holds the inline handler “{handler}”; add the listener in a script."));
            }
            for resource in page.resources.iter().filter(|resource| is_external(resource)) {
                found.push(format!("{name} fetches {resource} from another origin; ship the file with the site."));
            }
        }
        for style in self.files.iter().filter(|file| file.ends_with(".css")) {
            let text = String::from_utf8_lossy(&self.bytes(style).unwrap_or_default()).into_owned();
            for address in css_addresses(&text).filter(|address| is_external(address)) {
                found.push(format!("{style} fetches {address} from another origin; ship the file with the site."));
            }
        }
        found
    }
}

fn is_external(target: &str) -> bool {
    let scheme = target.split(':').next().unwrap_or_default().to_lowercase();
    target.starts_with("//")
        || (target.contains(':') && ["http", "https", "ftp", "ws", "wss"].contains(&scheme.as_str()))
}

/// `a/b.html` + `../c.css` = `c.css`.
pub(crate) fn join(from: &str, path: &str) -> Result<String, String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "." => {}
            ".." => {
                parts.pop().ok_or("it climbs above the site's root")?;
            }
            part => parts.push(part),
        }
    }
    Ok(percent_decoded(&parts.join("/")).replace("//", "/"))
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match code.filter(|_| first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What `url(...)` names in a style sheet.
pub(crate) fn css_addresses(text: &str) -> impl Iterator<Item = &str> {
    let after = text.split("url(").skip(1);
    after.filter_map(|rest| rest.split(')').next()).map(|address| address.trim_matches(['"', '\'', ' ']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(pages: &[(&str, &str)], others: &[&str]) -> Site {
        let mut files: Vec<String> = pages.iter().map(|(name, _)| (*name).to_owned()).collect();
        files.extend(others.iter().map(|name| (*name).to_owned()));
        files.sort();
        let pages = pages.iter().map(|(name, text)| ((*name).to_owned(), html::read(text))).collect();
        Site { root: PathBuf::new(), files, pages }
    }

    #[test]
    fn every_way_of_leading_nowhere_is_found() {
        let text =
            "<a href='b.html#here'></a><a href='../index.html'></a><img src='c%20d.svg'><a href='https://x.org/'></a>";
        let good = site(&[("p/a.html", text), ("p/b.html", "<h2 id=here>"), ("index.html", "")], &["p/c d.svg"]);
        assert_eq!(good.broken_links(), [""; 0]);
        for (text, why) in [
            ("<a href='gone.html'>", "no file p/gone.html"),
            ("<a href='#gone'>", "no anchor"),
            ("<img src='gone.png'>", "no file"),
            ("<script src='gone.js'></script>", "no file"),
            ("<a href='/index.html'>", "sub-path"),
            ("<a href='../../up.html'>", "above"),
        ] {
            let broken = site(&[("p/a.html", text), ("index.html", "")], &[]).broken_links();
            assert!(broken.len() == 1 && broken[0].contains(why), "{text}: {broken:?}");
        }
    }

    #[test]
    fn the_page_for_missing_pages_names_files_from_the_host_and_they_must_exist() {
        let with = |text: &str| site(&[("404.html", text), ("p/a.html", "")], &[]).broken_links();
        assert_eq!(with("<a href='/p/a.html'></a><a href='/book/p/a.html'>"), [""; 0]);
        assert_eq!(with("<a href='/p/gone.html'>").len(), 1);
    }

    #[test]
    fn what_the_policy_forbids_is_found() {
        for text in [
            "<script>x()</script>",
            "<p onclick='x()'>",
            "<img src='https://x.org/a.png'>",
            "<link rel=stylesheet href='//x.org/a.css'>",
        ] {
            assert_eq!(site(&[("a.html", text)], &[]).policy_violations().len(), 1, "{text}");
        }
        let fine = "<a href='https://x.org/'>x</a><link rel=canonical href='https://x.org/'><script src=a.js></script>";
        assert_eq!(site(&[("a.html", fine)], &[]).policy_violations(), [""; 0]);
    }

    #[test]
    fn addresses_in_styles_are_read() {
        let all: Vec<&str> = css_addresses("a{src:url('f.woff2')}b{c:url(https://x.org/d)}").collect();
        assert_eq!(all, ["f.woff2", "https://x.org/d"]);
    }
}
