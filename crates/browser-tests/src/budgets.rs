//! Sizes as they travel, against `budgets.toml`.

use std::collections::BTreeSet;
use std::io::Write as _;

use anyhow::Context as _;
use flate2::{Compression, write::GzEncoder};

use crate::dist::{Site, css_addresses, join};

/// Every section of `budgets.toml`, and the test that holds the site to it: a budget that nobody reads protects nobody.
const SECTIONS: [(&str, &str); 14] = [
    ("first_visit", "crates/browser-tests/tests/built_site.rs"),
    ("page_wasm", "crates/browser-tests/tests/built_site.rs"),
    ("engine_cpu", "crates/browser-tests/tests/built_site.rs"),
    (ONE_MORE_LAB, "crates/browser-tests/tests/built_site.rs"),
    ("engine_gpu", "crates/browser-tests/tests/built_site.rs"),
    ("first_number", "crates/browser-tests/tests/browser/labs.rs"),
    ("default_run", "crates/browser-tests/tests/browser/labs.rs"),
    ("smoke_run_software_adapter", "crates/browser-tests/tests/browser/webgpu.rs"),
    ("longest_task", "crates/browser-tests/tests/browser/labs.rs"),
    ("prose_edit", "crates/site-builder/tests/edit.rs"),
    ("widget_usable", "crates/browser-tests/tests/browser/labs.rs"),
    ("thousand_runs", "crates/browser-tests/tests/browser/kept.rs"),
    ("many_tensors", "crates/browser-tests/tests/browser/inputs.rs"),
    ("layout_shift", "crates/browser-tests/tests/browser/labs.rs"),
];

/// The section that also holds a record, in keys of its own.
const ONE_MORE_LAB: &str = "one_more_lab";
const RECORD: [&str; 2] = ["labs", "engine_cpu"];
/// Sections of engines, and the key that says by how much each lab beyond those of the record may raise their limit.
const ENGINES: [&str; 2] = ["engine_cpu", "engine_gpu"];
const EACH_FURTHER_LAB: &str = "each_further_lab";

/// How many times a limit of time tests tolerate: other programs run beside them. `cargo xtask bench` tolerates none.
const TOLERANCE: f64 = 5.0;

/// `budgets.toml`.
#[derive(Debug)]
pub struct Budgets(toml::Table);

impl Budgets {
    /// Reads the text of `budgets.toml`.
    ///
    /// # Errors
    /// It is no TOML; or, all at once: sections or keys that are unknown or missing, and goals that lie above their limits.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let budgets = Self(text.parse().context("budgets.toml is not valid")?);
        let problems = budgets.problems();
        anyhow::ensure!(problems.is_empty(), "{}", problems.join("\n"));
        Ok(budgets)
    }

    /// Reads it from the workspace.
    ///
    /// # Errors
    /// The file is missing, or as [`Budgets::parse`].
    pub fn load() -> anyhow::Result<Self> {
        let file = crate::env::workspace().join("budgets.toml");
        Self::parse(&std::fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?)
    }

    fn problems(&self) -> Vec<String> {
        let known = SECTIONS.map(|(name, _)| name);
        let mut problems = Vec::new();
        for (name, section) in self.0.iter().filter(|(name, _)| !known.contains(&name.as_str())) {
            let hint = lab_api::nearest(name, known).map_or_else(
                || "no test reads it: add it to SECTIONS in crates/browser-tests/src/budgets.rs with the test that does".to_owned(),
                |near| format!("did you mean [{near}]?"),
            );
            let what = if section.is_table() { format!("budget [{name}]") } else { format!("key {name}") };
            problems.push(format!("budgets.toml knows no {what}; {hint}"));
        }
        for name in known {
            let Some(section) = self.0.get(name).and_then(toml::Value::as_table) else {
                problems
                    .push(format!("budgets.toml lacks the section [{name}]; write it with its limit and its goal."));
                continue;
            };
            let record = match name {
                ONE_MORE_LAB => &RECORD[..],
                engine if ENGINES.contains(&engine) => &[EACH_FURTHER_LAB][..],
                _ => &[],
            };
            let keys: Vec<&str> = ["limit", "goal"].into_iter().chain(record.iter().copied()).collect();
            for key in section.keys().filter(|key| !keys.contains(&key.as_str())) {
                problems.push(format!("[{name}] in budgets.toml knows no key {key}; it has {}.", keys.join(", ")));
            }
            problems.extend(keys.iter().filter_map(|key| Some(self.number(name, key).err()?.to_string())));
            if let (Ok(limit), Ok(goal)) = (self.number(name, "limit"), self.number(name, "goal"))
                && goal > limit
            {
                problems.push(format!(
                    "[{name}] in budgets.toml has a goal of {goal} above its limit of {limit}, so it is reached already; lower the goal."
                ));
            }
        }
        problems
    }

    /// The limit of a budget.
    ///
    /// # Errors
    /// There is no such budget.
    pub fn limit(&self, name: &str) -> anyhow::Result<f64> {
        self.number(name, "limit")
    }

    /// How long a test waits for what has a limit of time, in the unit of the limit.
    ///
    /// # Errors
    /// There is no such budget.
    pub fn patience(&self, name: &str) -> anyhow::Result<f64> {
        Ok(TOLERANCE * self.limit(name)?)
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

    /// A sentence if an engine of so many labs is above its limit, which every lab beyond those of the record raises.
    ///
    /// # Errors
    /// There is no such budget.
    pub fn engine(&self, name: &str, what: &str, labs: usize, engine_kb: f64) -> anyhow::Result<Option<String>> {
        let further = (labs as f64 - self.number(ONE_MORE_LAB, RECORD[0])?).max(0.0);
        let limit = self.limit(name)? + further * self.number(name, EACH_FURTHER_LAB)?;
        let sentence = || {
            format!(
                "{what} is {engine_kb:.1} KB, above the limit of {limit} KB for {labs} labs ([{name}] in budgets.toml); make it smaller."
            )
        };
        Ok((engine_kb > limit).then(sentence))
    }

    /// A sentence if a time is above what tests tolerate of the limit of `name`.
    ///
    /// # Errors
    /// There is no such budget.
    pub fn late(&self, name: &str, what: &str, time: f64, unit: &str) -> anyhow::Result<Option<String>> {
        let (limit, patience) = (self.limit(name)?, self.patience(name)?);
        let sentence = || {
            format!(
                "{what} takes {time:.1} {unit}, above {TOLERANCE} times the limit of {limit} {unit} ([{name}] in budgets.toml); make it faster."
            )
        };
        Ok((time > patience).then(sentence))
    }

    /// A sentence if the labs that are newer than the record in `[one_more_lab]` cost more each than it allows, or if the record
    /// knows of more labs than there are. `engine_kb` is what the engine for the CPU weighs with all `labs`.
    ///
    /// # Errors
    /// There is no such record.
    pub fn one_more_lab(&self, labs: usize, engine_kb: f64) -> anyhow::Result<Option<String>> {
        const NAME: &str = ONE_MORE_LAB;
        let newer = labs as f64 - self.number(NAME, RECORD[0])?;
        if newer < 0.0 {
            return Ok(Some(format!(
                "[{NAME}] in budgets.toml records more than the {labs} labs that there are; record this engine ({engine_kb:.1} KB)."
            )));
        }
        if newer == 0.0 {
            return Ok(None);
        }
        let each = (engine_kb - self.number(NAME, RECORD[1])?) / newer;
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

    /// The committed file with one thing in it changed.
    fn with(from: &str, to: &str) -> anyhow::Result<Budgets> {
        let text = include_str!("../../../budgets.toml");
        assert!(text.contains(from), "budgets.toml holds no {from}");
        Budgets::parse(&text.replace(from, to))
    }

    fn refused(from: &str, to: &str) -> String {
        with(from, to).expect_err("refused").to_string()
    }

    #[test]
    fn a_budget_can_be_exceeded() {
        let budgets = with("[first_visit]", "[first_visit]").expect("valid");
        let limit = budgets.limit("first_visit").expect("known");
        let exceeded = |value| budgets.exceeded("first_visit", "index.html", value, "KB").expect("known");
        assert_eq!(exceeded(limit), None);
        let sentence = exceeded(limit + 0.1).expect("exceeded");
        assert!(sentence.contains(&format!("index.html is {limit}.1 KB, above the limit of {limit} KB")), "{sentence}");
        assert!(budgets.limit("first_vist").is_err());
        let late = |time| budgets.late("longest_task", "it", time, "ms").expect("known");
        let limit = budgets.limit("longest_task").expect("known");
        assert!(
            late(5.0 * limit).is_none() && late(5.0 * limit + 1.0).expect("late").contains("above 5 times the limit")
        );
    }

    #[test]
    fn the_file_holds_all_budgets_and_no_others() {
        assert!(refused("[engine_gpu]", "[engine_gpo]").contains("no budget [engine_gpo]; did you mean [engine_gpu]?"));
        assert!(refused("[engine_gpu]", "[engine_gpo]").contains("lacks the section [engine_gpu]"));
        assert!(refused("[first_visit]", "[zzz]\nlimit = 1\ngoal = 1\n[first_visit]").contains("no test reads it"));
        assert!(refused("[first_visit]", "x = 1\n[first_visit]").contains("knows no key x"));
        assert!(
            refused("[prose_edit]", "[prose_edit]\nlimits = 1")
                .contains("[prose_edit] in budgets.toml knows no key limits")
        );
        assert!(refused("engine_cpu = ", "# ").contains("no [one_more_lab] with a number engine_cpu"));
    }

    #[test]
    fn a_goal_above_its_limit_is_refused() {
        let mut table: toml::Table = include_str!("../../../budgets.toml").parse().expect("TOML");
        table["prose_edit"]["limit"] = 0.1.into();
        table["prose_edit"]["goal"] = 0.5.into();
        let error = Budgets::parse(&table.to_string()).expect_err("refused").to_string();
        assert!(error.starts_with("[prose_edit] in budgets.toml has a goal of 0.5 above its limit of 0.1"), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }

    #[test]
    fn every_budget_is_read_by_its_test() {
        for (name, file) in SECTIONS {
            let text = std::fs::read_to_string(crate::env::workspace().join(file)).expect("the test's file");
            let read = text.contains(&format!("\"{name}\"")) || text.contains(&format!("budgets.{name}("));
            assert!(read, "{file} does not read the budget [{name}]");
        }
        let budgets = Budgets::load().expect("valid");
        assert_eq!(budgets.patience("default_run").expect("known"), crate::lab::RUN_SECONDS, "lab::RUN_SECONDS");
    }

    #[test]
    fn labs_newer_than_the_record_are_counted_one_by_one() {
        let record = with("[one_more_lab]", "[one_more_lab]").expect("valid");
        let number = |key| record.number(ONE_MORE_LAB, key).expect("a record");
        let (labs, engine_kb, limit) = (number("labs") as usize, number("engine_cpu"), number("limit"));
        let dear = |newer: usize, kb: f64| record.one_more_lab(labs + newer, engine_kb + kb).expect("a record");
        assert_eq!(dear(0, 100.0), None, "no lab is newer");
        assert_eq!((dear(1, limit), dear(2, 2.0 * limit)), (None, None));
        let sentence = dear(2, 2.0 * limit + 1.0).expect("too dear");
        let each = limit + 0.5;
        assert!(
            sentence.contains(&format!("2 newest labs in the engine is {each:.1} KB, above the limit of {limit} KB")),
            "{sentence}"
        );
        let stale = record.one_more_lab(labs - 1, 900.0).expect("a record").expect("stale");
        assert!(stale.contains("record this engine (900.0 KB)"), "{stale}");
    }

    #[test]
    fn each_further_lab_raises_the_limit_of_an_engine() {
        let budgets = with("[engine_cpu]", "[engine_cpu]").expect("valid");
        let number = |section, key| budgets.number(section, key).expect("known");
        let labs = number(ONE_MORE_LAB, "labs") as usize;
        let (limit, each) = (number("engine_cpu", "limit"), number("engine_cpu", EACH_FURTHER_LAB));
        let engine = |labs, kb| budgets.engine("engine_cpu", "it", labs, kb).expect("known");
        assert_eq!(
            (engine(labs, limit), engine(labs + 2, limit + 2.0 * each), engine(labs - 1, limit)),
            (None, None, None)
        );
        let sentence = engine(labs + 2, limit + 2.0 * each + 1.0).expect("exceeded");
        assert!(sentence.contains(&format!("for {} labs ([engine_cpu]", labs + 2)), "{sentence}");
        assert!(
            refused("each_further_lab = 24", "each = 24").contains("[engine_gpu] in budgets.toml knows no key each")
        );
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
