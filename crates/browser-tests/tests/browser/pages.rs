//! Every page: accessible in both themes, quiet in the console, no wider than a phone.

use browser_tests::browser::{Gpu, Tab, with_browser};
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
/// first of the themes, and in the others the one that themes bear on, contrast.
pub(crate) async fn violations(tab: &Tab, axe: &str, of: Option<&str>, themes: &[&str]) -> anyhow::Result<Vec<String>> {
    // Colours fade over; what is measured on the way is no colour of either theme.
    let at_once = "const sheet = new CSSStyleSheet();
        sheet.replaceSync('*, *::before, *::after { transition: none !important; animation: none !important; }');
        document.adoptedStyleSheets = [sheet];";
    tab.script(at_once, &[]).await?;
    tab.script(axe, &[]).await?;
    let all_rules = json!(["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]);
    let mut all = Vec::new();
    for (i, theme) in themes.iter().enumerate() {
        let rules = if i == 0 { all_rules.clone() } else { json!(["color-contrast"]) };
        tab.prefer(theme).await?;
        let follows = format!("document.documentElement.dataset.theme === '{theme}'");
        tab.wait(&format!("the theme {theme}"), 2.0, &follows).await?;
        // A row of a table is like the next: five of each are looked at.
        let body = "const [of, rules, done] = arguments;
            axe.run({include: [[of]], exclude: [['tbody tr:nth-child(n+6)']]}, {runOnly: rules, resultTypes: ['violations']})
                .then(r => done(r.violations.flatMap(v => v.nodes.slice(0, 3).map(n =>
                    `${v.id}: ${v.help}: ${n.html.slice(0, 160)} ${n.any.map(c => c.message).join('; ')}`))), e => done([String(e)]))";
        let found: Vec<String> =
            tab.driver.execute_async(body, vec![json!(of.unwrap_or("html")), rules]).await?.convert()?;
        all.extend(found.into_iter().map(|found| format!("({theme}) {found}")));
    }
    Ok(all)
}

/// What every page must be, on one visit: accessible in both themes, quiet in the console, no wider than a phone. Half of them, every
/// second one: so two cores have a browser each.
async fn pages_are_sound(half: usize) -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        let source = std::fs::read_to_string(env::axe()?)?;
        let with_labs: Vec<String> = labs_of(&tab.site)?.into_iter().map(|lab| lab.page).collect();
        let mut all = Vec::new();
        // Those without a lab first: none of them may fetch what labs need.
        let (last, first): (Vec<_>, Vec<_>) = pages(tab).into_iter().partition(|page| with_labs.contains(page));
        for (i, page) in first.iter().chain(&last).enumerate().skip(half).step_by(2) {
            let themes = if i % 4 < 2 { ["light", "dark"] } else { ["dark", "light"] };
            let theme = themes[0];
            tab.prefer(theme).await?;
            tab.open(page).await?;
            let shown = tab.script("return document.documentElement.dataset.theme", &[]).await?;
            anyhow::ensure!(shown == json!(theme), "{page} shows the theme {shown} to a reader who prefers {theme}");
            all.extend(
                violations(tab, &source, None, &themes).await?.into_iter().map(|found| format!("{page} {found}")),
            );
            tab.resize(390, 844).await?;
            let width = tab.script("return document.documentElement.scrollWidth", &[]).await?;
            tab.devtools("Emulation.clearDeviceMetricsOverride", json!({})).await?;
            if width != json!(390) {
                all.push(format!("{page} is {width} px wide on a phone of 390"));
            }
            // To the end and back, so that everything that wakes on sight has woken.
            tab.script("window.scrollTo(0, document.body.scrollHeight)", &[]).await?;
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            all.extend(tab.problems().await?.into_iter().map(|problem| format!("{page}: {problem}")));
            if !with_labs.contains(page) {
                let early = tab.server.requests().into_iter().filter(|path| path.ends_with(".wasm"));
                all.extend(early.map(|path| format!("{page} fetched {path}")));
            }
        }
        anyhow::ensure!(all.is_empty(), "{}", all.join("\n"));
        let foreign: Vec<String> = tab.server.requests().into_iter().filter(|path| path.contains("://")).collect();
        anyhow::ensure!(foreign.is_empty(), "{foreign:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn every_page_is_accessible_quiet_and_fits_a_phone_first_half() -> anyhow::Result<()> {
    pages_are_sound(0).await
}

#[tokio::test]
async fn every_page_is_accessible_quiet_and_fits_a_phone_second_half() -> anyhow::Result<()> {
    pages_are_sound(1).await
}

#[tokio::test]
async fn a_page_fetches_no_wasm_before_a_lab_nears_the_view() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        let lab = specimen(&tab.site)?;
        tab.open(&lab.page).await?;
        lab.wake(tab).await?;
        let fetched = tab.server.requests();
        anyhow::ensure!(
            fetched.iter().any(|path| path.ends_with("ui_bg.wasm")),
            "a lab in sight fetches no WASM: the check of pages without a lab could not have failed"
        );
        anyhow::ensure!(!fetched.iter().any(|path| path.ends_with("cpu_bg.wasm")), "an engine came before Run");
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
