//! Sizes as they travel, against `budgets.toml`.

use std::collections::BTreeSet;
use std::io::Write as _;

use anyhow::Context as _;
use flate2::{Compression, write::GzEncoder};

use crate::dist::{Site, css_addresses, join};

/// `budgets.toml`.
#[derive(Debug)]
pub struct Budgets(toml::Table);

impl Budgets {
    /// Reads the text of `budgets.toml`.
    ///
    /// # Errors
    /// It is no TOML.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        Ok(Self(text.parse().context("budgets.toml is not valid")?))
    }

    /// Reads it from the workspace.
    ///
    /// # Errors
    /// The file is missing or no TOML.
    pub fn load() -> anyhow::Result<Self> {
        let file = crate::env::workspace().join("budgets.toml");
        Self::parse(&std::fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?)
    }

    /// The limit of a budget.
    ///
    /// # Errors
    /// There is no such budget.
    pub fn limit(&self, name: &str) -> anyhow::Result<f64> {
        self.number(name, "limit")
    }

    fn number(&self, name: &str, key: &str) -> anyhow::Result<f64> {
        let value = self.0.get(name).and_then(|budget| budget.get(key));
        let number = value.and_then(|value| value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64)));
        number.with_context(|| format!("budgets.toml has no [{name}] with a number {key}"))
    }

    /// A sentence if `value` is above the limit of `name`.
    ///
    /// # Errors
    /// There is no such budget.
    pub fn exceeded(&self, name: &str, what: &str, value: f64, unit: &str) -> anyhow::Result<Option<String>> {
        let limit = self.limit(name)?;
        let sentence = || {
            format!(
                "{what} is {value:.1} {unit}, above the limit of {limit} {unit} ([{name}] in budgets.toml); make it smaller."
            )
        };
        Ok((value > limit).then(sentence))
    }

    /// A sentence if the labs that are newer than the record in `[one_more_lab]` cost more each than it allows, or if the record
    /// knows of more labs than there are. `engine_kb` is what the engine for the CPU weighs with all `labs`.
    ///
    /// # Errors
    /// There is no such record.
    pub fn dear_labs(&self, labs: usize, engine_kb: f64) -> anyhow::Result<Option<String>> {
        const NAME: &str = "one_more_lab";
        let newer = labs as f64 - self.number(NAME, "labs")?;
        if newer < 0.0 {
            return Ok(Some(format!(
                "[{NAME}] in budgets.toml records more than the {labs} labs that there are; record this engine ({engine_kb:.1} KB)."
            )));
        }
        if newer == 0.0 {
            return Ok(None);
        }
        let each = (engine_kb - self.number(NAME, "engine_cpu")?) / newer;
        self.exceeded(NAME, &format!("each of the {newer} newest labs in the engine"), each, "KB")
    }
}

/// Size after gzip, as a static host sends it.
///
/// # Errors
/// Never in practice: it writes to memory.
pub fn gzip_bytes(bytes: &[u8]) -> anyhow::Result<usize> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?.len())
}

/// Files that a first visit of a page fetches before a lab nears the view: the page, its styles and scripts with what they
/// import at once, its pictures, and every font its styles name.
///
/// # Errors
/// A file cannot be read.
pub fn first_visit(site: &Site, page: &str) -> anyhow::Result<BTreeSet<String>> {
    let facts = site.pages.get(page).with_context(|| format!("the site has no page {page}"))?;
    let mut files: BTreeSet<String> = [page.to_owned()].into();
    let mut queue: Vec<String> = facts.resources.iter().filter_map(|resource| join(page, resource).ok()).collect();
    while let Some(file) = queue.pop() {
        if site.files.binary_search(&file).is_err() || !files.insert(file.clone()) {
            continue;
        }
        if file.ends_with(".css") {
            let text = String::from_utf8_lossy(&site.bytes(&file)?).into_owned();
            queue.extend(css_addresses(&text).filter_map(|address| join(&file, address).ok()));
        } else if file.ends_with(".js") {
            let text = String::from_utf8_lossy(&site.bytes(&file)?).into_owned();
            queue.extend(static_imports(&text).filter_map(|address| join(&file, address).ok()));
        }
    }
    Ok(files)
}

/// Sum of the gzip sizes of files; fonts and pictures that are compressed already count as they are.
///
/// # Errors
/// A file cannot be read.
pub fn weight_kb(site: &Site, files: &BTreeSet<String>) -> anyhow::Result<f64> {
    let mut total = 0;
    for file in files {
        let bytes = site.bytes(file)?;
        let packed = [".woff2", ".png", ".jpg", ".webp", ".avif"].iter().any(|extension| file.ends_with(extension));
        total += if packed { bytes.len() } else { gzip_bytes(&bytes)? };
    }
    Ok(total as f64 / 1000.0)
}

/// `import ... from './x.js'` and `import './x.js'`; `import(...)` is fetched later.
fn static_imports(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.split(['\n', ';']).map(str::trim_start);
    lines.filter(|line| line.starts_with("import") && !line.starts_with("import(")).filter_map(|line| {
        let quote = line.find(['"', '\''])?;
        line[quote + 1..].split(['"', '\'']).next()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_can_be_exceeded() {
        let budgets = Budgets::parse("[page]\nlimit = 150\ngoal = 100").expect("valid");
        assert_eq!(budgets.exceeded("page", "index.html", 149.9, "KB").expect("known"), None);
        let sentence = budgets.exceeded("page", "index.html", 150.1, "KB").expect("known").expect("exceeded");
        assert!(sentence.contains("index.html is 150.1 KB, above the limit of 150 KB"), "{sentence}");
        assert!(budgets.limit("pgae").is_err());
    }

    #[test]
    fn labs_newer_than_the_record_are_counted_one_by_one() {
        let budgets = Budgets::parse("[one_more_lab]\nlimit = 25\nlabs = 6\nengine_cpu = 1000.0").expect("valid");
        let dear = |labs, kb| budgets.dear_labs(labs, kb).expect("a record");
        assert_eq!(dear(6, 1100.0), None, "no lab is newer");
        assert_eq!((dear(7, 1025.0), dear(8, 1050.0)), (None, None));
        let sentence = dear(8, 1051.0).expect("too dear");
        assert!(sentence.contains("2 newest labs in the engine is 25.5 KB, above the limit of 25 KB"), "{sentence}");
        assert!(dear(5, 900.0).expect("a stale record").contains("record this engine (900.0 KB)"));
    }

    #[test]
    fn imports_at_load_time_count_and_later_ones_do_not() {
        let text = "import a from './a.js';import \"./b.js\"\nconst c = await import('./c.js');";
        assert_eq!(static_imports(text).collect::<Vec<_>>(), ["./a.js", "./b.js"]);
    }

    #[test]
    fn a_first_visit_follows_styles_and_scripts() {
        let folder = std::env::temp_dir().join(format!("budgets-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("p")).expect("temporary folder");
        let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("writes");
        write("p/a.html", "<link rel=stylesheet href=../a.css><script src=../a.js></script>");
        write("a.css", "@font-face{src:url(f.woff2)}");
        write("a.js", "import './b.js';\nimport('./late.js')");
        write("b.js", "");
        write("late.js", "");
        write("f.woff2", "1234567890");
        let site = Site::read(&folder).expect("readable");
        let files = first_visit(&site, "p/a.html").expect("readable");
        std::fs::remove_dir_all(&folder).expect("temporary folder");
        assert_eq!(files, ["a.css", "a.js", "b.js", "f.woff2", "p/a.html"].map(String::from).into());
    }
}
