//! Every page: accessible in both themes, quiet in the console, still while it loads.

use anyhow::Context as _;
use browser_tests::browser::{Gpu, Tab, with_browser};
use browser_tests::budgets::Budgets;
use browser_tests::env;
use browser_tests::lab::{labs_of, specimen};
use serde_json::{Value, json};

/// All pages but those made of all others; of the pages of source files, which are of one kind, one.
fn pages(tab: &Tab) -> Vec<String> {
    let all =
        tab.site.pages.keys().filter(|page| !page.ends_with("print.html") && !page.ends_with("toc.html")).cloned();
    let (code, mut pages): (Vec<String>, Vec<String>) = all.partition(|page| page.starts_with("code/"));
    pages.extend(code.into_iter().take(1));
    pages
}

/// Violations of the accessibility rules, each with the element, of the page or of what is under a selector: all rules in the
/// theme that is shown, then in the other theme the one that themes bear on, contrast.
pub(crate) async fn violations(tab: &Tab, axe: &str, of: Option<&str>, first: &str) -> anyhow::Result<Vec<String>> {
    tab.script(axe, &[]).await?;
    let tags = json!(["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]);
    let other = if first == "light" { "dark" } else { "light" };
    let mut all = Vec::new();
    for (theme, rules) in [(first, tags), (other, json!(["color-contrast"]))] {
        tab.prefer(theme).await?;
        let follows = format!("document.documentElement.dataset.theme === '{theme}'");
        tab.wait(&format!("the theme {theme}"), 2.0, &follows).await?;
        // Colours fade over; what is measured on the way is no colour of either theme.
        tokio::time::sleep(std::time::Duration::from_millis(600)).await;
        let body = "const [of, rules, done] = arguments;
            axe.run(of ? document.querySelector(of) : document, {runOnly: rules})
                .then(r => done(r.violations.flatMap(v => v.nodes.slice(0, 3).map(n =>
                    `${v.id}: ${v.help}: ${n.html.slice(0, 160)} ${n.any.map(c => c.message).join('; ')}`))), e => done([String(e)]))";
        let found: Vec<String> = tab.driver.execute_async(body, vec![json!(of), rules]).await?.convert()?;
        all.extend(found.into_iter().map(|found| format!("({theme}) {found}")));
    }
    Ok(all)
}

#[tokio::test]
async fn every_page_is_accessible_in_both_themes() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        let source = std::fs::read_to_string(env::axe()?)?;
        let mut all = Vec::new();
        for (page, theme) in pages(tab).iter().zip(["light", "dark"].into_iter().cycle()) {
            tab.prefer(theme).await?;
            tab.open(page).await?;
            let shown = tab.script("return document.documentElement.dataset.theme", &[]).await?;
            anyhow::ensure!(shown == json!(theme), "{page} shows the theme {shown} to a reader who prefers {theme}");
            all.extend(violations(tab, &source, None, theme).await?.into_iter().map(|found| format!("{page} {found}")));
        }
        anyhow::ensure!(all.is_empty(), "{}", all.join("\n"));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn no_page_logs_an_error_or_breaks_the_policy() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        let mut all = Vec::new();
        for page in pages(tab) {
            tab.open(&page).await?;
            // To the end and back, so that everything that wakes on sight has woken.
            tab.script("window.scrollTo(0, document.body.scrollHeight)", &[]).await?;
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            all.extend(tab.problems().await?.into_iter().map(|problem| format!("{page}: {problem}")));
        }
        anyhow::ensure!(all.is_empty(), "{}", all.join("\n"));
        let foreign: Vec<String> = tab.server.requests().into_iter().filter(|path| path.contains("://")).collect();
        anyhow::ensure!(foreign.is_empty(), "{foreign:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_page_fetches_no_wasm_before_a_lab_nears_the_view() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        let with_labs: Vec<String> = labs_of(&tab.site)?.into_iter().map(|lab| lab.page).collect();
        for page in pages(tab).into_iter().filter(|page| !with_labs.contains(page)) {
            tab.open(&page).await?;
            tab.script("window.scrollTo(0, document.body.scrollHeight)", &[]).await?;
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            let early: Vec<String> = tab.server.requests().into_iter().filter(|path| path.ends_with(".wasm")).collect();
            anyhow::ensure!(early.is_empty(), "{page} fetched {early:?}");
        }
        let lab = specimen(&tab.site)?;
        tab.open(&lab.page).await?;
        lab.wake(tab).await?;
        let fetched = tab.server.requests();
        anyhow::ensure!(
            fetched.iter().any(|path| path.ends_with("ui_bg.wasm")),
            "the check above could not have failed"
        );
        anyhow::ensure!(!fetched.iter().any(|path| path.ends_with("cpu_bg.wasm")), "an engine came before Run");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn nothing_moves_while_a_page_loads_and_a_lab_wakes() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        let limit = Budgets::load()?.limit("layout_shift")?;
        let observe = "window.shift = 0; window.shifts = [];
            new PerformanceObserver(list => { for (const entry of list.getEntries()) {
                window.shift += entry.value;
                window.shifts.push(entry.sources.map(s => (s.node?.outerHTML ?? s.node?.textContent ?? '').slice(0, 90)));
            } }).observe({type: 'layout-shift', buffered: true});";
        tab.before_each_page(observe).await?;
        for width in [1440, 390] {
            tab.resize(width, 900).await?;
            for lab in labs_of(&tab.site)? {
                tab.open(&lab.page).await?;
                tokio::time::sleep(std::time::Duration::from_millis(700)).await;
                lab.wake(tab).await?;
                tokio::time::sleep(std::time::Duration::from_millis(700)).await;
                let shift = tab.script("return window.shift", &[]).await?;
                let shift = shift.as_f64().context("the observer runs")?;
                let moved = tab.script("return window.shifts", &[]).await?;
                anyhow::ensure!(shift <= limit, "{} at {width} px shifts by {shift:.3}: {moved}", lab.page);
            }
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn nothing_is_wider_than_a_phone() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        tab.resize(390, 844).await?;
        let mut wide = Vec::new();
        for page in pages(tab) {
            tab.open(&page).await?;
            let width = tab.script("return document.documentElement.scrollWidth", &[]).await?;
            if width != json!(390) {
                wide.push(format!("{page} is {width} px wide on a phone of 390"));
            }
        }
        anyhow::ensure!(wide.is_empty(), "{}", wide.join("\n"));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_theme_can_be_chosen_and_is_kept() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        tab.prefer("light").await?;
        tab.open("index.html").await?;
        let background = "return getComputedStyle(document.body).backgroundColor";
        let light = tab.script(background, &[]).await?;
        let toggle =
            "const b = document.querySelector('[data-action=theme], [data-theme-toggle], button[aria-label*=heme]');
                      if (!b) return 'no button'; b.click(); return document.documentElement.dataset.theme";
        let theme = tab.script(toggle, &[]).await?;
        anyhow::ensure!(theme == json!("dark"), "pressing the theme's button gives {theme}");
        tab.open("index.html").await?;
        let kept = tab.script("return document.documentElement.dataset.theme", &[]).await?;
        anyhow::ensure!(kept == json!("dark"), "the choice is forgotten: {kept}");
        anyhow::ensure!(tab.script(background, &[]).await? != light, "both themes have the background {light}");
        let value: Value = tab.script("return localStorage.length", &[]).await?;
        anyhow::ensure!(value != json!(0), "the choice is stored nowhere");
        Ok(())
    })
    .await
}
