//! A setting is a link, and a link may come from anybody.

use browser_tests::browser::{Gpu, with_browser};
use browser_tests::lab::{labs_of, specimen};
use serde_json::json;

#[tokio::test]
async fn refused_values_are_told_beside_their_control_and_replaced() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        // What runs after a refused link is the setting of the controls, which are looked at here: one lab shows that it runs.
        let runs = specimen(&tab.site)?.id;
        for lab in labs_of(&tab.site)? {
            let param = lab.params.first().expect("a lab has parameters").name.clone();
            let hostile =
                [(param.clone(), "%3Cimg%20src=x%20onerror=alert(1)%3E".to_owned()), ("nonsense".into(), "1".into())];
            let mut link = lab.link(&hostile, 0, "toaster");
            link = link.replace("seed=0", "seed=-1");
            tab.open(&link).await?;
            lab.wake(tab).await?;
            for name in [param.as_str(), "seed", "device"] {
                let body = "return document.querySelector(arguments[0])?.textContent ?? ''";
                let problem = format!("{} [data-problem='{name}']", lab.selector());
                let words = tab.script(body, &[json!(problem)]).await?;
                anyhow::ensure!(
                    words.as_str().is_some_and(|text| text.len() > 10),
                    "{}: no word about {name}: {words}",
                    lab.id
                );
            }
            let unknown = "return document.body.innerText.includes('nonsense')";
            anyhow::ensure!(tab.script(unknown, &[]).await? == json!(true), "the unknown parameter is not named");
            anyhow::ensure!(lab.control(tab, "seed").await? == "0" && lab.control(tab, "device").await? == "auto");
            let injected = tab.script("return document.querySelectorAll('img[src=x]').length", &[]).await?;
            anyhow::ensure!(injected == json!(0), "the link's text became part of the page");
            let default = lab.default_text(&param);
            // Files and drawings have none.
            anyhow::ensure!(
                default.is_empty() || lab.control(tab, &param).await? == default,
                "{}: {param} is not back at “{default}”",
                lab.id
            );
            if lab.id == runs {
                lab.run(tab).await?;
            }
            let problems = tab.problems().await?;
            anyhow::ensure!(problems.is_empty(), "{problems:?}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_link_to_a_lab_that_is_not_here_is_told() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        let lab = specimen(&tab.site)?;
        for name in ["no-such-lab", "%3Cimg%20src=x%3E", "__proto__", ""] {
            tab.open(&format!("{}?lab={name}&bits=4", lab.page)).await?;
            tab.wait("a word about the lab", 5.0, "document.querySelector('[data-page-message]')?.textContent.trim()")
                .await?;
            let injected = tab.script("return document.querySelectorAll('img[src=x]').length", &[]).await?;
            anyhow::ensure!(injected == json!(0), "the link's text became part of the page");
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            let words = tab.script("return document.querySelector('[data-page-message]').textContent", &[]).await?;
            let elsewhere = words.as_str().is_some_and(|words| words.contains("another page"));
            anyhow::ensure!(!elsewhere, "“{name}” is no lab, yet the page says it stands elsewhere: {words}");
            lab.wake(tab).await?;
            let problems = tab.problems().await?;
            anyhow::ensure!(problems.is_empty(), "{problems:?}");
        }
        Ok(())
    })
    .await
}
