//! Photographs for people to look at; `cargo xtask screenshots` takes them. They assert nothing about looks.

use browser_tests::browser::{Gpu, Tab, with_browser};
use browser_tests::env;
use browser_tests::lab::{LabOnPage, RUN_SECONDS, labs_of};
use browser_tests::server::Fault;
use serde_json::json;

/// Pictures end here, in CSS pixels: a taller one is scaled down by most viewers until nothing can be read.
const TALLEST: f64 = 2600.0;

/// Stops the messages of a run for a while once it is half done, so that a picture of it can be taken.
const HOLD: &str = "{ const post = self.postMessage.bind(self); let until = 0;
    self.postMessage = (data, ...rest) => {
        const fraction = /\"fraction\":(0\\.[5-9])/.test(String(data));
        if (fraction && !until) { post(data, ...rest); until = Date.now() + 4000; return; }
        setTimeout(() => post(data, ...rest), Math.max(0, until - Date.now()));
    } }";

async fn photograph(tab: &Tab, name: &str, selector: Option<&str>) -> anyhow::Result<()> {
    // What sticks to the window's edge would stand in the middle of the picture.
    tab.script("window.scrollTo({top: 0, behavior: 'instant'})", &[]).await?;
    // Canvas and fonts settle.
    tokio::time::sleep(std::time::Duration::from_millis(400)).await;
    let file = env::screenshots()?.join(format!("{name}.png"));
    let body = "const r = (arguments[0] ? document.querySelector(arguments[0]) : document.documentElement).getBoundingClientRect();
                return [r.x + scrollX, r.y + scrollY, r.width, r.height]";
    let area = tab.script(body, &[json!(selector)]).await?;
    let (x, y, width, height): (f64, f64, f64, f64) = serde_json::from_value(area)?;
    let clip = json!({"x": x, "y": y, "width": width, "height": height.min(TALLEST), "scale": 1});
    let shot = tab.devtools("Page.captureScreenshot", json!({"captureBeyondViewport": true, "clip": clip})).await?;
    let text = shot["data"].as_str().unwrap_or_default();
    std::fs::write(&file, base64(text))?;
    eprintln!("{}", file.display());
    Ok(())
}

/// Decodes what the browser sends; a dependency for one screenshot would be too much.
fn base64(text: &str) -> Vec<u8> {
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits: Vec<u32> = text.chars().filter_map(|c| Some(alphabet.find(c)? as u32)).collect();
    let mut bytes = Vec::new();
    for four in digits.chunks(4) {
        let word = four.iter().enumerate().fold(0, |word, (index, digit)| word | digit << (18 - 6 * index));
        bytes.extend(&word.to_be_bytes()[1..four.len()]);
    }
    bytes
}

#[test]
fn base64_is_decoded() {
    assert_eq!(base64("aGVsbG8="), b"hello");
    assert_eq!(base64("aGVsbA=="), b"hell");
}

async fn states(tab: &Tab, lab: &LabOnPage, name: &str) -> anyhow::Result<()> {
    let section = format!("{} .lab-widget", lab.selector());
    let open = async || -> anyhow::Result<()> {
        tab.open(&lab.link(&[], 0, "cpu")).await?;
        lab.wake(tab).await
    };
    tab.server.break_files("worker.js", Fault::Prepended(HOLD.to_owned()));
    open().await?;
    photograph(tab, &format!("{name}-idle"), Some(&section)).await?;
    lab.press(tab, "run").await?;
    // The quickest are over at once.
    lab.reach(tab, &["running", "done"], 10.0).await?;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    photograph(tab, &format!("{name}-running"), Some(&section)).await?;
    lab.reach(tab, &["done", "failed"], RUN_SECONDS).await?;
    photograph(tab, &format!("{name}-done"), Some(&section)).await?;
    tab.server.break_files("assets/", Fault::FlippedByte);
    open().await?;
    lab.press(tab, "run").await?;
    // A lab without files cannot fail like this.
    lab.reach(tab, &["failed", "done"], RUN_SECONDS).await?;
    photograph(tab, &format!("{name}-failed"), Some(&section)).await?;
    tab.server.heal();
    Ok(())
}

#[tokio::test]
#[ignore = "takes pictures for people; run it with `cargo xtask screenshots`"]
async fn screenshots() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        // What the service worker keeps intact could not be shown broken.
        tab.bypass_service_worker().await?;
        // A picture beyond the window is taken without scroll bars: with them, everything would stand elsewhere.
        tab.devtools("Emulation.setScrollbarsHidden", json!({"hidden": true})).await?;
        let wanted = env::screenshots_of();
        for (width, height, wide) in [(1440, 1000, "wide"), (390, 844, "narrow")] {
            tab.resize(width, height).await?;
            for theme in ["light", "dark"] {
                tab.prefer(theme).await?;
                for page in tab.site.pages.keys().filter(|page| {
                    !page.ends_with("print.html") && !page.ends_with("toc.html") && !page.starts_with("code/")
                }) {
                    let name = page.trim_end_matches(".html").replace('/', "-");
                    if !name.contains(&wanted) {
                        continue;
                    }
                    tab.open(page).await?;
                    photograph(tab, &format!("page-{name}-{wide}-{theme}"), None).await?;
                }
                for lab in labs_of(&tab.site)?.into_iter().filter(|lab| lab.id.contains(&wanted)) {
                    states(tab, &lab, &format!("lab-{}-{wide}-{theme}", lab.id)).await?;
                }
            }
        }
        Ok(())
    })
    .await
}
