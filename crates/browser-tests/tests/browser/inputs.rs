//! What a reader brings along: files and drawings. And labs that follow their controls.

use std::path::PathBuf;

use anyhow::Context as _;
use browser_tests::browser::{Gpu, Tab, with_browser};
use browser_tests::budgets::Budgets;
use browser_tests::lab::{LabOnPage, RUN_SECONDS, labs_of};
use browser_tests::native;
use browser_tests::server::Fault;
use serde_json::json;
use thirtyfour::prelude::*;

/// The lab that the page shows under this id.
fn lab(tab: &Tab, id: &str) -> anyhow::Result<LabOnPage> {
    labs_of(&tab.site)?.into_iter().find(|lab| lab.id == id).with_context(|| format!("no page holds the lab {id}"))
}

async fn opened(tab: &Tab, id: &str) -> anyhow::Result<LabOnPage> {
    let lab = lab(tab, id)?;
    tab.open(&lab.link(&[], 0, "cpu")).await?;
    lab.wake(tab).await?;
    Ok(lab)
}

/// A safetensors file with one matrix of 6 rows, one of its weights an outlier, in BF16.
fn weights() -> Vec<u8> {
    let numbers: Vec<f32> =
        (0..6 * 40).map(|i| if i == 77 { 9.0 } else { ((i * 37) % 101) as f32 / 100.0 - 0.5 }).collect();
    let data: Vec<u8> = numbers.iter().flat_map(|x| (x.to_bits() >> 16).to_le_bytes()[..2].to_vec()).collect();
    let header =
        json!({"body.weight": {"dtype": "BF16", "shape": [6, 40], "data_offsets": [0, data.len()]}}).to_string();
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()
}

/// A safetensors file with so many matrices of 8 rows of 16 in F32, as models with many adapters or experts have them.
fn many(tensors: usize) -> Vec<u8> {
    const BYTES: usize = 8 * 16 * 4;
    let entry = |i: usize| {
        let place = json!({"dtype": "F32", "shape": [8, 16], "data_offsets": [i * BYTES, (i + 1) * BYTES]});
        (format!("layers.{i}.weight"), place)
    };
    let header = serde_json::Value::Object((0..tensors).map(entry).collect()).to_string();
    let numbers = (0..tensors * BYTES / 4).flat_map(|i| ((i * 37 % 101) as f32 / 100.0 - 0.5).to_le_bytes());
    [(header.len() as u64).to_le_bytes().to_vec(), header.into_bytes(), numbers.collect()].concat()
}

/// Gives the lab a file as a reader does.
async fn bring(tab: &Tab, lab: &LabOnPage, name: &str, bytes: &[u8]) -> anyhow::Result<PathBuf> {
    let path = std::env::temp_dir().join(format!("browser-test-{}-{name}", std::process::id()));
    std::fs::write(&path, bytes)?;
    let input = tab.driver.find(By::Css(format!("{} input[type=file]", lab.selector()))).await?;
    input.send_keys(path.to_string_lossy().into_owned()).await?;
    Ok(path)
}

/// The value shown for a metric of the run.
async fn metric(tab: &Tab, lab: &LabOnPage, id: &str) -> anyhow::Result<f64> {
    let shown = lab.metrics(tab, "run").await?;
    shown.into_iter().find(|(name, _)| name == id).map(|(_, value)| value).with_context(|| format!("no {id} is shown"))
}

#[tokio::test]
async fn a_file_is_read_on_the_device_and_agrees_with_the_command_line() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        let lab = opened(tab, "inspect").await?;
        let path = bring(tab, &lab, "a.safetensors", &weights()).await?;
        let before = tab.server.requests().len();
        lab.run(tab).await?;
        let record = native::run(&lab.id, &[("file".to_owned(), path.to_string_lossy().into_owned())], 0)?;
        let different = native::disagreements(&record, &lab.metrics(tab, "run").await?);
        anyhow::ensure!(different.is_empty(), "{}", different.join("; "));
        let text = "return document.querySelector(arguments[0]).textContent";
        let shown = tab.script(text, &[json!(format!("{} [data-source=run]", lab.selector()))]).await?;
        anyhow::ensure!(shown.as_str().is_some_and(|shown| shown.contains("body.weight")), "the tensor is not shown");
        // The book's own weights were not needed, nothing was sent, and the address does not tell the file.
        let asked = tab.server.requests()[before..].join(" ");
        anyhow::ensure!(!asked.contains("language/"), "{asked}");
        let address = tab.script("return location.href", &[]).await?;
        anyhow::ensure!(!address.to_string().contains("safetensors"), "{address}");
        std::fs::remove_file(path)?;
        Ok(())
    })
    .await
}

/// From the press of Run to the whole list; the best of three, since a busy machine is no fault of the page.
#[tokio::test]
async fn three_thousand_tensors_are_read_in_a_moment() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        let budgets = Budgets::load()?;
        let lab = opened(tab, "inspect").await?;
        let path = bring(tab, &lab, "many.safetensors", &many(3000)).await?;
        let mut best = f64::INFINITY;
        for _ in 0..3 {
            let begun = std::time::Instant::now();
            lab.run(tab).await?;
            best = best.min(begun.elapsed().as_secs_f64());
        }
        println!("3,000 tensors take {best:.2} s");
        // A byte for each of 128 weights and four for the scale of each of 8 rows.
        anyhow::ensure!(metric(tab, &lab, "bytes_8").await? == 3000.0 * 160.0, "not all tensors are counted");
        let late = budgets.late("many_tensors", "a file of 3,000 tensors", best, "s")?;
        anyhow::ensure!(late.is_none(), "{late:?}");
        std::fs::remove_file(path)?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_broken_file_is_named_and_another_one_can_be_taken() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        let lab = opened(tab, "inspect").await?;
        let whole = weights();
        let cases: [(&str, &[u8], &str); 3] = [
            ("cut.safetensors", &whole[..whole.len() - 9], "cut short"),
            ("page.safetensors", b"<html>not found</html>", "no safetensors file"),
            ("empty.safetensors", b"", "no safetensors file"),
        ];
        for (name, bytes, words) in cases {
            bring(tab, &lab, name, bytes).await?;
            lab.press(tab, "run").await?;
            lab.reach(tab, &["failed"], RUN_SECONDS).await?;
            let message = lab.message(tab).await?;
            let named = message.contains(words) && message.contains(name) && message.contains("Choose another file");
            anyhow::ensure!(named && lab.is_alert(tab).await?, "{name}: {message}");
        }
        bring(tab, &lab, "whole.safetensors", &whole).await?;
        lab.run(tab).await?;
        // Reset takes the lab's own weights again.
        lab.press(tab, "reset").await?;
        lab.run(tab).await?;
        let different = native::disagreements(&lab.reference, &lab.metrics(tab, "run").await?);
        anyhow::ensure!(different.is_empty(), "{}", different.join("; "));
        let problems = tab.problems().await?;
        anyhow::ensure!(problems.is_empty(), "{problems:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_letter_is_drawn_with_the_pointer_and_stands_in_the_link() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        let lab = opened(tab, "draw").await?;
        lab.run(tab).await?;
        let font = metric(tab, &lab, "confidence_fp32").await?;
        let paper = tab.driver.find(By::Css(format!("{} [data-drawing]", lab.selector()))).await?;
        tab.script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", &[paper.to_json()?]).await?;
        // An L: down, then to the right.
        let pen = tab.driver.action_chain().move_to_element_center(&paper).move_by_offset(-40, -70).click_and_hold();
        pen.move_by_offset(0, 70).move_by_offset(0, 60).move_by_offset(70, 0).release().perform().await?;
        let changed = |value: f64| {
            let shown = format!("{} [data-source=run] [data-metric=confidence_fp32]", lab.selector());
            format!("Math.abs((document.querySelector(\"{shown}\")?.dataset.value ?? {value}) - {value}) > 1e-9")
        };
        tab.wait("a result for the drawing", 10.0, &changed(font)).await?;
        let query = tab.script("return new URLSearchParams(location.search).get('drawing')", &[]).await?;
        let drawing = query.as_str().context("the address holds the drawing")?.to_owned();
        let drawn = lab.metrics(tab, "run").await?;
        let record = native::run(&lab.id, &[("drawing".to_owned(), drawing.clone())], 0)?;
        let different = native::disagreements(&record, &drawn);
        anyhow::ensure!(different.is_empty(), "{}", different.join("; "));
        // Whoever opens the link sees the same paper.
        let ink = "const c = document.querySelector(arguments[0]);
                   return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.filter((v, i) => i % 4 == 0 && v > 0).length";
        let paper = json!(format!("{} [data-drawing]", lab.selector()));
        let inked = tab.script(ink, std::slice::from_ref(&paper)).await?;
        tab.open(&lab.link(&[("drawing".to_owned(), drawing)], 0, "cpu")).await?;
        lab.wake(tab).await?;
        anyhow::ensure!(tab.script(ink, std::slice::from_ref(&paper)).await? == inked, "the link brings another drawing");
        anyhow::ensure!(inked.as_u64().is_some_and(|count| count > 20), "{inked} pixels are inked");
        lab.run(tab).await?;
        let mine = metric(tab, &lab, "confidence_fp32").await?;
        let clear = tab.driver.find(By::Css(format!("{} [data-clear]", lab.selector()))).await?;
        // A driver does not scroll to what lies in the window, if under the bar.
        tab.script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", &[clear.to_json()?]).await?;
        clear.click().await?;
        tab.wait("the letter of the font again", 10.0, &changed(mine)).await?;
        anyhow::ensure!(tab.script(ink, &[paper]).await? == json!(0), "the paper is not blank");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_live_lab_follows_its_controls_in_silence_and_in_place() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        let lab = opened(tab, "levels").await?;
        lab.run(tab).await?;
        let before = metric(tab, &lab, "scale").await?;
        // Notes every word of the live region, and every moment in which the result is gone or lower than it was.
        let watch = "const section = document.querySelector(arguments[0]);
            const body = section.querySelector('.lab-widget'), message = section.querySelector('[data-lab-message]');
            window.seen = { words: 0, lowest: Infinity };
            new MutationObserver(() => window.seen.words++).observe(message, {childList: true, characterData: true, subtree: true});
            const look = () => { window.seen.lowest = Math.min(window.seen.lowest, body.offsetHeight); requestAnimationFrame(look); };
            window.height = body.offsetHeight;
            section.querySelector('.lab-data').open = true;
            window.height = body.offsetHeight;
            look();
            const slider = section.querySelector('[data-slides=outlier]');
            const values = [3.5, 4, 5, 6, 8, 10, 12];
            const step = () => { if (!values.length) return;
                slider.value = values.shift(); slider.dispatchEvent(new Event('input', {bubbles: true})); setTimeout(step, 60); };
            step();";
        tab.script(watch, &[json!(lab.selector())]).await?;
        let scale = format!("{} [data-source=run] [data-metric=scale]", lab.selector());
        let expected = format!("document.querySelector(\"{scale}\").dataset.value > {}", 3.9 * before);
        tab.wait("the result of the last value", 10.0, &expected).await?;
        lab.reach(tab, &["done"], 5.0).await?;
        let seen = tab.script("return [window.seen.words, window.seen.lowest, window.height]", &[]).await?;
        let (words, lowest, height): (u32, f64, f64) = serde_json::from_value(seen)?;
        anyhow::ensure!(words <= 2, "the live region spoke {words} times");
        // A sentence more or less may take a line.
        anyhow::ensure!(lowest > height - 60.0, "the result shrank from {height} to {lowest} pixels");
        let record = native::run(&lab.id, &[("outlier".to_owned(), "12".to_owned())], 0)?;
        let different = native::disagreements(&record, &lab.metrics(tab, "run").await?);
        anyhow::ensure!(different.is_empty(), "{}", different.join("; "));
        Ok(())
    })
    .await
}

/// The picture that a slider changes is in view with it: beside it, or above it on a phone.
#[tokio::test]
async fn the_picture_of_a_live_lab_stays_in_view_while_a_control_moves() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        for (width, height) in [(1366, 768), (390, 844)] {
            tab.resize(width, height).await?;
            for (id, control) in [("levels", "outlier"), ("draw", "font")] {
                let lab = opened(tab, id).await?;
                lab.run(tab).await?;
                let look = "const section = document.querySelector(arguments[0]), control = section.querySelector(`[data-control=${arguments[1]}]`);
                    control.scrollIntoView({ block: 'end', behavior: 'instant' });
                    const box = (element) => { const { top, bottom } = element.getBoundingClientRect(); return [top, bottom]; };
                    const picture = box(section.querySelector('[data-source=run] .lab-figure canvas'));
                    return [...picture, ...box(control), innerHeight, document.querySelector('.bar').getBoundingClientRect().bottom]";
                let found = tab.script(look, &[json!(lab.selector()), json!(control)]).await?;
                let [top, bottom, above, below, window, bar]: [f64; 6] = serde_json::from_value(found)?;
                let words = format!("{id} at {width} x {height}: the picture {top} to {bottom}, {control} {above} to {below}, the view {bar} to {window}");
                // Pixels are rounded.
                anyhow::ensure!(top >= bar - 1.0 && bottom <= window + 1.0, "out of view: {words}");
                anyhow::ensure!(above >= bar - 1.0 && below <= window + 1.0, "out of view: {words}");
                // On a phone nothing lies over the control.
                anyhow::ensure!(width > 1000 || above >= bottom, "covered: {words}");
            }
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_live_lab_whose_engine_breaks_says_so_and_goes_on() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        tab.bypass_service_worker().await?;
        let lab = opened(tab, "draw").await?;
        lab.run(tab).await?;
        tab.server.break_files("teacher", Fault::Missing);
        let letter = format!("{} select[name=letter]", lab.selector());
        let choose = "const s = document.querySelector(arguments[0]); s.value = arguments[1];
                      s.dispatchEvent(new Event('change', {bubbles: true}))";
        tab.devtools("Network.clearBrowserCache", json!({})).await?;
        tab.script(choose, &[json!(letter), json!("A")]).await?;
        lab.reach(tab, &["failed"], 20.0).await?;
        anyhow::ensure!(lab.is_alert(tab).await?, "the failure is not announced");
        tab.server.heal();
        tab.script(choose, &[json!(letter), json!("B")]).await?;
        lab.reach(tab, &["done"], 20.0).await
    })
    .await
}
