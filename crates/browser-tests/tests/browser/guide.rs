//! The decision guide: a link sets it, choices leave rows out, slips are told, and without JavaScript all of it can be read.

use browser_tests::browser::{Gpu, with_browser};
use serde_json::json;

const PAGE: &str = "strategy/choosing.html";

/// Techniques that can be seen, in order.
const SHOWN: &str =
    "return [...document.querySelectorAll('.guide-group tr[data-row]')].filter(row => row.checkVisibility())
    .map(row => row.dataset.technique).join(' ')";

#[tokio::test]
async fn a_link_sets_the_guide_and_a_choice_changes_the_link() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        tab.open(&format!("{PAGE}?binds=memory&when=after&model=lm&hardware=phone&quality=close")).await?;
        tab.wait("techniques", 5.0, "document.querySelector('[data-guide-says]')?.textContent.trim()").await?;
        let shown = tab.script(SHOWN, &[]).await?;
        anyhow::ensure!(shown.as_str().is_some_and(|ids| ids.starts_with("quantization ")), "shown are {shown}");
        let body = "const field = document.querySelector('.guide [name=quality]'); field.value = 'exact';
            field.dispatchEvent(new Event('change', { bubbles: true }));
            return [location.search.includes('quality=exact'), document.querySelector('[data-guide-says]').textContent]";
        let after = tab.script(body, &[]).await?;
        anyhow::ensure!(after == json!([true, "No techniques fit."]), "after the choice: {after}");
        let note = tab.script("return document.querySelector('[data-guide-notes]').open", &[]).await?;
        anyhow::ensure!(note == json!(true), "nothing fits, and no note says so");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_a_link_asks_in_vain_is_told() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        tab.open(&format!("{PAGE}?binds=memry&hardwares=phone")).await?;
        tab.wait("a word about the guide", 5.0, "document.querySelector('[data-page-message]')?.textContent.trim()")
            .await?;
        let words = tab.script("return document.querySelector('[data-page-message]').textContent", &[]).await?;
        let words = words.as_str().unwrap_or_default();
        anyhow::ensure!(words.contains("memry") && words.contains("hardwares"), "it says: {words}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn without_javascript_every_row_unfolds() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        tab.devtools("Emulation.setScriptExecutionDisabled", json!({"value": true})).await?;
        tab.open(PAGE).await?;
        let body = "for (const part of document.querySelectorAll('.guide details')) part.querySelector('summary').click();
            const rows = [...document.querySelectorAll('.guide [data-row]')];
            return [rows.length > 60, rows.every(row => row.checkVisibility()), document.querySelector('.guide-form').checkVisibility()]";
        let found = tab.script(body, &[]).await?;
        anyhow::ensure!(found == json!([true, true, false]), "rows, all seen, form: {found}");
        Ok(())
    })
    .await
}
