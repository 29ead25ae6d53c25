//! A lab in the page, through the contract of ARCHITECTURE.md and nothing else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::Context as _;
use lab_api::{ParamKind, ParamSpec, Reference, RunRecord};
use scraper::{Html, Selector};
use serde_json::{Value, json};
use thirtyfour::prelude::*;

use crate::browser::Tab;
use crate::dist::Site;

/// How long an engine may take to load and run its default case in a test, in seconds: five times the budget.
pub const RUN_SECONDS: f64 = 75.0;

/// A lab as the built page describes it.
#[derive(Debug, Clone)]
pub struct LabOnPage {
    /// The page that holds it.
    pub page: String,
    /// Its id.
    pub id: String,
    /// Its parameters.
    pub params: Vec<ParamSpec>,
    /// The committed default run.
    pub reference: RunRecord,
    /// What it was made from.
    pub source_hash: String,
}

/// Every lab of the site, from the data block of its section; read once.
///
/// # Errors
/// A page cannot be read, or a data block does not hold what it should.
pub fn labs_of(site: &Site) -> anyhow::Result<Vec<LabOnPage>> {
    static LABS: Mutex<BTreeMap<PathBuf, Vec<LabOnPage>>> = Mutex::new(BTreeMap::new());
    let mut known = LABS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(labs) = known.get(&site.root) {
        return Ok(labs.clone());
    }
    let labs = read_labs(site)?;
    known.insert(site.root.clone(), labs.clone());
    Ok(labs)
}

fn read_labs(site: &Site) -> anyhow::Result<Vec<LabOnPage>> {
    let section = Selector::parse("section[data-lab]").expect("a constant that parses");
    let data = Selector::parse("script[data-lab-data]").expect("a constant that parses");
    let mut labs = Vec::new();
    for page in site.pages.keys().filter(|page| !page.ends_with("print.html") && !page.starts_with("code/")) {
        let html = Html::parse_document(&String::from_utf8_lossy(&site.bytes(page)?));
        for section in html.select(&section) {
            let id = section.value().attr("data-lab").unwrap_or_default().to_owned();
            let block =
                section.select(&data).next().with_context(|| format!("lab {id} of {page} has no data block"))?;
            let value: Value = serde_json::from_str(&block.text().collect::<String>())
                .with_context(|| format!("the data block of lab {id} in {page} is not valid"))?;
            let params = serde_json::from_value(value["params"].clone()).context("params of the data block")?;
            let Reference { default_run: reference, source_hash, .. } =
                committed(&id).with_context(|| format!("the reference of {id}"))?;
            labs.push(LabOnPage { page: page.clone(), id, params, reference, source_hash });
        }
    }
    anyhow::ensure!(!labs.is_empty(), "no page of the site holds a lab");
    Ok(labs)
}

/// The default run as it is committed: the data block holds only what stands beside a reader's run.
fn committed(id: &str) -> anyhow::Result<Reference> {
    let labs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../labs/src");
    let text = std::fs::read_to_string(labs.join(id.replace('-', "_")).join("reference.json"))?;
    Ok(serde_json::from_str(&text)?)
}

/// The lab on which is tried what holds for any lab: it reads its files before it shows a number, trains, and lasts seconds
/// as it stands. Its [`brief`](LabOnPage::brief) setting does the same in fewer.
///
/// # Errors
/// As [`labs_of`], or the lab is gone.
pub fn specimen(site: &Site) -> anyhow::Result<LabOnPage> {
    let lab = labs_of(site)?.into_iter().find(|lab| lab.id == "qat");
    lab.context("no page holds the lab qat; name another specimen in crates/browser-tests/src/lab.rs")
}

/// What makes a run of the [`specimen`] short.
const BRIEF: (&str, &str) = ("epochs", "1");

/// How long a run is small, natively.
const SMALL_SECONDS: f64 = 4.0;

/// How many settings are tried for one with which a run stays small.
const OTHERS: usize = 3;

impl LabOnPage {
    /// The address of the specimen's shortest training.
    #[must_use]
    pub fn brief(&self, device: &str) -> String {
        self.link(&[(BRIEF.0.to_owned(), BRIEF.1.to_owned())], 0, device)
    }

    /// The address of a setting, relative to the site's root.
    #[must_use]
    pub fn link(&self, pairs: &[(String, String)], seed: u64, device: &str) -> String {
        let mut link = format!("{}?lab={}", self.page, self.id);
        for (name, value) in pairs {
            link.push_str(&format!("&{name}={value}"));
        }
        format!("{link}&seed={seed}&device={device}")
    }

    /// A setting that differs from the default: the second option of the first choice, or a number one step away.
    #[must_use]
    pub fn other_setting(&self) -> Vec<(String, String)> {
        self.other_settings().map(|(name, _, other)| (name, other)).next().into_iter().collect()
    }

    /// The small case with one setting turned away from its default, run natively under this seed: the first of the settings
    /// that the small case leaves at their defaults, with which the lab agrees to run, and which leaves it small (another model
    /// may take ten times as long, and a minute in a browser on a busy machine). Settings and record.
    ///
    /// # Errors
    /// The small case does not run natively.
    pub fn small_other_run(&self, seed: u64) -> anyhow::Result<(Vec<(String, String)>, RunRecord)> {
        let start = std::time::Instant::now();
        let (_, small) = crate::native::smoke(&self.id)?;
        // A small case that takes as long itself, on this machine, gets no smaller.
        let is_small = start.elapsed().as_secs_f64() < SMALL_SECONDS;
        for (name, default, other) in self.other_settings().filter(|_| is_small).take(OTHERS) {
            let mut settings = small.clone();
            let Some((_, value)) = settings.iter_mut().find(|(set, value)| *set == name && *value == default) else {
                continue;
            };
            *value = other;
            // Not every setting goes with the small case: a lab may refuse it.
            if let Ok(Some(record)) = crate::native::run_within(&self.id, &settings, seed, SMALL_SECONDS) {
                return Ok((settings, record));
            }
            println!("{}: not small with {name} changed", self.id);
        }
        let record = crate::native::run(&self.id, &small, seed)?;
        Ok((small, record))
    }

    /// Name, default and another value of each choice and number that is always there.
    fn other_settings(&self) -> impl Iterator<Item = (String, String, String)> + '_ {
        self.params.iter().filter(|spec| spec.enabled_when.is_none()).filter_map(|spec| {
            let (default, other) = match &spec.kind {
                ParamKind::Choice { default, options } => {
                    (default.clone(), options.iter().find(|option| option.value != *default)?.value.clone())
                }
                ParamKind::Integer { default, min, max, step } => {
                    (default.to_string(), if default + step <= *max { default + step } else { *min }.to_string())
                }
                _ => return None,
            };
            Some((spec.name.clone(), default, other))
        })
    }

    /// The default of a parameter as its control holds it; empty where there is none.
    #[must_use]
    pub fn default_text(&self, param: &str) -> String {
        let spec = self.params.iter().find(|spec| spec.name == param);
        spec.map_or_else(String::new, |spec| lab_api::value_text(&spec.default_value()))
    }

    /// The section in the page.
    #[must_use]
    pub fn selector(&self) -> String {
        format!("section[data-lab='{}']", self.id)
    }

    /// Scrolls the lab into view and waits until its controls can be used.
    ///
    /// # Errors
    /// They cannot within 20 s.
    pub async fn wake(&self, tab: &Tab) -> anyhow::Result<()> {
        let scroll = "document.querySelector(arguments[0]).querySelector('.lab-widget').scrollIntoView({block: 'center', behavior: 'instant'})";
        tab.script(scroll, &[json!(self.selector())]).await?;
        let selector = self.selector();
        let usable = format!(
            "document.querySelector(\"{selector}\").dataset.state === 'ready' && \
             document.querySelector(\"{selector} [data-action=run]:not([disabled])\")"
        );
        tab.wait(&format!("a usable lab {}", self.id), 20.0, &usable).await
    }

    /// Its `data-state`.
    ///
    /// # Errors
    /// It is not in the page.
    pub async fn state(&self, tab: &Tab) -> anyhow::Result<String> {
        let state =
            tab.script("return document.querySelector(arguments[0]).dataset.state", &[json!(self.selector())]).await?;
        Ok(state.as_str().unwrap_or_default().to_owned())
    }

    /// Waits for one of these states.
    ///
    /// # Errors
    /// None comes in time.
    pub async fn reach(&self, tab: &Tab, states: &[&str], seconds: f64) -> anyhow::Result<()> {
        let condition =
            format!("{}.includes(document.querySelector(\"{}\").dataset.state)", json!(states), self.selector());
        tab.wait(&format!("{} of lab {}", states.join(" or "), self.id), seconds, &condition).await
    }

    /// Presses a button as a reader does.
    ///
    /// # Errors
    /// It is not there or cannot be pressed.
    pub async fn press(&self, tab: &Tab, action: &str) -> anyhow::Result<()> {
        let button = tab.driver.find(By::Css(format!("{} [data-action={action}]", self.selector()))).await?;
        // Pages scroll smoothly; a click must not hit what passes by.
        let scroll = "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})";
        tab.script(scroll, &[button.to_json()?]).await?;
        button.click().await.map_err(|error| {
            let words = error.to_string();
            let words = words.split("Stacktrace").next().unwrap_or_default().trim();
            anyhow::anyhow!("the button {action} of lab {} cannot be pressed: {words}", self.id)
        })
    }

    /// Runs it and waits for the result.
    ///
    /// # Errors
    /// It fails, or takes five times as long as it may.
    pub async fn run(&self, tab: &Tab) -> anyhow::Result<()> {
        self.press(tab, "run").await?;
        self.reach(tab, &["done", "failed"], RUN_SECONDS).await?;
        let state = self.state(tab).await?;
        anyhow::ensure!(state == "done", "lab {} failed: {}", self.id, self.message(tab).await?);
        Ok(())
    }

    /// The words for the reader.
    ///
    /// # Errors
    /// The page cannot be asked.
    pub async fn message(&self, tab: &Tab) -> anyhow::Result<String> {
        let body = "return [...document.querySelector(arguments[0]).querySelectorAll('[data-lab-message]')]\
                    .map(e => e.textContent.trim()).join(' ').trim()";
        let text = tab.script(body, &[json!(self.selector())]).await?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Whether the words for the reader are announced as an alert.
    ///
    /// # Errors
    /// The page cannot be asked.
    pub async fn is_alert(&self, tab: &Tab) -> anyhow::Result<bool> {
        let body =
            "return Boolean(document.querySelector(arguments[0]).querySelector('[data-lab-message][role=alert]'))";
        Ok(tab.script(body, &[json!(self.selector())]).await? == Value::Bool(true))
    }

    /// The numbers shown, by source: `run` or `reference`.
    ///
    /// # Errors
    /// One of them is no number.
    pub async fn metrics(&self, tab: &Tab, source: &str) -> anyhow::Result<Vec<(String, f64)>> {
        let body = "return [...document.querySelectorAll(arguments[0])].map(e => [e.dataset.metric, e.dataset.value])";
        let selector = format!("{} [data-source={source}] [data-metric][data-value]", self.selector());
        let shown = tab.script(body, &[json!(selector)]).await?;
        let pairs: Vec<(String, String)> = serde_json::from_value(shown)?;
        pairs
            .into_iter()
            .map(|(id, text)| {
                let number = text.parse::<f64>().with_context(|| format!("{id} shows “{text}”, which is no number"))?;
                Ok((id, number))
            })
            .collect()
    }

    /// What it says it ran on.
    ///
    /// # Errors
    /// The page cannot be asked.
    pub async fn device(&self, tab: &Tab) -> anyhow::Result<String> {
        let body = "return document.querySelector(arguments[0])?.textContent ?? ''";
        let text = tab.script(body, &[json!(format!("{} [data-source=run] [data-device]", self.selector()))]).await?;
        Ok(text.as_str().unwrap_or_default().trim().to_owned())
    }

    /// The value of a control, whatever kind it is.
    ///
    /// # Errors
    /// There is no such control.
    pub async fn control(&self, tab: &Tab, name: &str) -> anyhow::Result<String> {
        let body = "const all = [...document.querySelectorAll(arguments[0])];
            if (!all.length) throw new Error('no control');
            const chosen = all.find(e => e.type === 'radio' && e.checked) ?? all[0];
            return chosen.type === 'checkbox' ? String(chosen.checked) : chosen.value";
        let value = tab.script(body, &[json!(format!("{} [name='{name}']", self.selector()))]).await?;
        Ok(value.as_str().unwrap_or_default().to_owned())
    }
}
