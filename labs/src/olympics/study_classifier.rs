//! The classifier: entries of both divisions, three seeds where something is trained.

use lab_api::{Cell, Family, LabError, Report};
use lab_kit::{
    Context,
    report::{MetricExt, metric},
    stats::median,
};

use super::{
    figures,
    glyphs::Glyphs,
    study::{exact, steps, timed, trained},
    study_pairs::SEEDS,
};

pub(super) async fn run(report: &mut Report, cx: &mut Context) -> Result<(), LabError> {
    let mut rows = Vec::new();
    let mut glyphs = Glyphs::load(3, cx).await?.thorough(150.0);
    let whole = glyphs.numbers(&[], cx).await?;
    report.metrics.push(
        exact(Family::Quality, "glyph_right", "Classifier: right on unseen families", whole.quality, "%").higher(),
    );
    for (id, words, line) in [
        ("int4", "4 bits, coded", "quantize:4,channel>entropy"),
        ("levels11", "11 levels, coded", "quantize:11levels,channel>entropy"),
        ("int3", "3 bits, coded", "quantize:3,channel>entropy"),
        ("prune25", "prune 25 %", "prune:25"),
        ("small", "small model, 4 bits, coded", "student>quantize:4,channel>entropy"),
        ("exit", "exit at 90 %", "exit:90"),
        ("exit_batch", "exit at 90 %, batch of 64", "exit:90>batch:64"),
        ("batch", "batch of 64", "batch:64"),
    ] {
        let numbers = glyphs.numbers(&steps(line)?, cx).await?;
        let file = whole.file / numbers.file;
        let mut loss = exact(
            Family::Quality,
            &format!("glyph_loss_{id}"),
            &format!("Classifier, {words}: points lost"),
            numbers.loss,
            "points",
        )
        .lower();
        loss.interval = numbers.interval;
        report.metrics.push(loss);
        report.metrics.push(
            exact(
                Family::Memory,
                &format!("glyph_file_{id}"),
                &format!("Classifier, {words}: file smaller by"),
                file,
                "×",
            )
            .higher(),
        );
        report.metrics.push(
            timed(
                &format!("glyph_time_{id}"),
                &format!("Classifier, {words}: one image faster by"),
                &numbers.time.ratios(),
                "×",
            )
            .higher(),
        );
        report.metrics.push(
            timed(
                &format!("glyph_crowd_{id}"),
                &format!("Classifier, {words}: all images faster by"),
                &numbers.crowd.ratios(),
                "×",
            )
            .higher(),
        );
        rows.push(row(words, file, numbers.loss, numbers.upper()));
    }
    let seed = cx.seed;
    for (id, words, line) in [
        ("pruned", "prune 25 %, train, 4 bits, coded", "prune:25>recover:60>quantize:4,channel>entropy"),
        ("fought", "4 bits, prune 25 %, train", "quantize:4,channel>prune:25>recover:60>entropy"),
    ] {
        let (mut losses, mut uppers, mut files, mut times) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for number in 0..SEEDS {
            cx.seed = number;
            glyphs.forget();
            let numbers = glyphs.numbers(&steps(line)?, cx).await?;
            losses.push(numbers.loss);
            uppers.push(numbers.upper());
            files.push(whole.file / numbers.file);
            times.extend(numbers.time.ratios());
        }
        cx.seed = seed;
        let one = |family, id: &str, label: &str, values: &[f64], unit: &str| {
            trained(metric(family, id, label, median(values), unit).measured(values.to_vec()))
        };
        report.metrics.push(
            one(
                Family::Quality,
                &format!("glyph_loss_{id}"),
                &format!("Classifier, {words}: points lost"),
                &losses,
                "points",
            )
            .lower(),
        );
        report.metrics.push(
            one(
                Family::Quality,
                &format!("glyph_upper_{id}"),
                &format!("Classifier, {words}: upper end"),
                &uppers,
                "points",
            )
            .lower(),
        );
        report.metrics.push(
            one(
                Family::Memory,
                &format!("glyph_file_{id}"),
                &format!("Classifier, {words}: file smaller by"),
                &files,
                "×",
            )
            .higher(),
        );
        report.metrics.push(
            timed(&format!("glyph_time_{id}"), &format!("Classifier, {words}: one image faster by"), &times, "×")
                .higher(),
        );
        rows.push(row(words, median(&files), median(&losses), median(&uppers)));
    }
    report.tables.push(figures::table(
        "classifier",
        "Entries of the classifier",
        &["Steps", "File (×)", "Points lost", "Upper end (points)"],
        rows,
    ));
    Ok(())
}

fn row(words: &str, file: f64, loss: f64, upper: f64) -> Vec<Cell> {
    let round = |x: f64| Cell::Number((100.0 * x).round() / 100.0);
    vec![words.into(), round(file), round(loss), round(upper)]
}
