//! Reading without JavaScript: results, pictures and answers are in the page itself.

use browser_tests::browser::{Gpu, with_browser};
use browser_tests::lab::{labs_of, specimen};
use browser_tests::native;
use serde_json::{Value, json};

#[tokio::test]
async fn without_javascript_results_pictures_and_answers_of_quizzes_can_be_read() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        tab.devtools("Emulation.setScriptExecutionDisabled", json!({"value": true})).await?;
        let mut answers = 0;
        for lab in labs_of(&tab.site)? {
            tab.open(&lab.page).await?;
            anyhow::ensure!(lab.state(tab).await? == "static", "a script ran");
            let different = native::disagreements(&lab.reference, &lab.metrics(tab, "reference").await?);
            anyhow::ensure!(different.is_empty(), "{}: {}", lab.id, different.join("; "));
            // Folded where the lab asks for a guess first: anybody can unfold it.
            tab.script("document.querySelector(arguments[0] + ' details[data-source=reference]').open = true", &[json!(lab.selector())]).await?;
            let visible = |what: &str| {
                format!(
                    "return [...document.querySelectorAll(\"{} [data-source=reference] {what}\")]
                        .filter(e => {{ const b = e.getBoundingClientRect(); return b.width > 30 && b.height > 5 }}).length",
                    lab.selector()
                )
            };
            let count = async |what: &str| -> anyhow::Result<u64> {
                Ok(tab.script(&visible(what), &[]).await?.as_u64().unwrap_or_default())
            };
            let charts = lab.reference.report.charts.len() as u64;
            anyhow::ensure!(count("svg").await? >= charts, "{} shows {} of {charts} charts", lab.id, count("svg").await?);
            anyhow::ensure!(count("table").await? >= 1, "{} shows no table", lab.id);
            let words = tab.script("return document.querySelector(arguments[0])?.innerText ?? ''", &[json!(lab.selector())]).await?;
            let words = words.as_str().unwrap_or_default().to_lowercase();
            anyhow::ensure!(words.contains("javascript"), "{} does not say that running it takes JavaScript", lab.id);
            let body = "return [...document.querySelectorAll('.quiz details')].map(d => {
                const closed = d.querySelector(':scope > :not(summary)')?.checkVisibility() ?? false;
                d.querySelector('summary').click();
                const answer = d.querySelector(':scope > :not(summary)');
                return [closed, d.open, (answer?.textContent ?? '').trim().length] })";
            let found: Vec<(bool, bool, u64)> = serde_json::from_value(tab.script(body, &[]).await?)?;
            for (shown, opens, length) in &found {
                anyhow::ensure!(
                    !shown && *opens && *length > 10,
                    "{}: a folded answer does not unfold: {found:?}",
                    lab.page
                );
            }
            answers += found.len();
        }
        anyhow::ensure!(answers > 0, "no chapter with a lab holds a quiz with folded answers");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn without_javascript_the_whole_book_can_be_reached() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        tab.devtools("Emulation.setScriptExecutionDisabled", json!({"value": true})).await?;
        // As a reader goes: from the landing page to the contents, and from there to each page that holds a lab.
        let links = async |page: &str| -> anyhow::Result<String> {
            tab.open(page).await?;
            let body = "return [...document.querySelectorAll('a[href]')].map(a => new URL(a.href).pathname)";
            let links: Value = tab.script(body, &[]).await?;
            Ok(links.to_string())
        };
        anyhow::ensure!(
            links("index.html").await?.contains("toc.html"),
            "the landing page does not lead to the contents"
        );
        let contents = links("toc.html").await?;
        for lab in labs_of(&tab.site)? {
            anyhow::ensure!(contents.contains(&lab.page), "the contents have no link to {}", lab.page);
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn without_javascript_the_system_chooses_the_theme_and_paper_is_white() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        tab.devtools("Emulation.setScriptExecutionDisabled", json!({"value": true})).await?;
        let page = specimen(&tab.site)?.page;
        let colours = async |media: &str, theme: &str| -> anyhow::Result<(String, String)> {
            let features = json!([{"name": "prefers-color-scheme", "value": theme}]);
            tab.devtools("Emulation.setEmulatedMedia", json!({"media": media, "features": features})).await?;
            tab.open(&page).await?;
            let body = "const mark = document.querySelector('svg.chart [fill^=\"var(--series\"], svg.chart [stroke^=\"var(--series\"]');
                const style = getComputedStyle(mark), property = mark.matches('[fill^=\"var(--series\"]') ? 'fill' : 'stroke';
                return [getComputedStyle(document.body).backgroundColor, style[property]]";
            Ok(serde_json::from_value(tab.script(body, &[]).await?)?)
        };
        let (light, dark) = (colours("screen", "light").await?, colours("screen", "dark").await?);
        anyhow::ensure!(light.0 != dark.0, "both themes have the background {}", light.0);
        anyhow::ensure!(light.1 != dark.1, "a chart has the colour {} in both themes", light.1);
        let paper = colours("print", "dark").await?;
        anyhow::ensure!(paper.0 == "rgb(255, 255, 255)", "paper is {}", paper.0);
        anyhow::ensure!(paper.1 == light.1, "a chart on paper is {}, on a light screen {}", paper.1, light.1);
        Ok(())
    })
    .await
}
