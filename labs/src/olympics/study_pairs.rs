//! Which steps compose and which fight, pair by pair; and tricks that win without being better.

use lab_api::{Cell, Family, LabError, Report};
use lab_kit::{
    Context,
    measure::side_by_side,
    mlp::read,
    models::KvCache,
    olympics::{CALIBRATION, CodedMatrix, EntryStep, ScoredEntry, cached_generate, encode, spread_windows},
    quant::packed_len,
    report::{MetricExt, metric},
    speculative::{expected_tokens, speedup},
    testing::{FakeClock, context, ready},
    two_cores::jobs_on_two_cores,
};

use super::{
    figures,
    language::Language,
    study::{SUMS, exact, steps, timed, trained},
};

/// Seeds of what is trained.
pub(super) const SEEDS: u64 = 3;

pub(super) async fn run(report: &mut Report, language: &mut Language, cx: &Context) -> Result<(), LabError> {
    orders(report, language, cx).await?;
    recovered(report, language, cx).await?;
    sparse(report, language, cx).await?;
    drafts(report, language, cx).await?;
    tricks(report, language, cx).await
}

/// The same steps in two orders, and pairs at their bytes.
async fn orders(report: &mut Report, language: &mut Language, cx: &Context) -> Result<(), LabError> {
    let whole = language.numbers(&[], cx).await?;
    let mut rows = Vec::new();
    for (id, words, line) in [
        ("prune_quantize", "prune, then round", "prune:25>quantize:4,channel,gptq>entropy"),
        ("quantize_prune", "round, then prune", "quantize:4,channel,gptq>prune:25>entropy"),
        ("rank_quantize", "factor, then round", "low_rank:96>quantize:4,channel,gptq>entropy"),
        ("quantize_rank", "round, then factor", "quantize:4,channel,gptq>low_rank:96>entropy"),
        ("groups_coded", "groups of 32, coded", "quantize:4,32>entropy"),
        ("channel_coded", "whole channels, coded", "quantize:4,channel>entropy"),
        ("cache_batch", "cache and batch", "cache:32>batch:16"),
        ("cache8", "cache in 8 bits", "cache:8"),
        ("rounded_cache", "rounded, with a cache", "quantize:4,channel,gptq>cache:32"),
    ] {
        let numbers = language.numbers(&steps(line)?, cx).await?;
        let (file, memory) = (whole.file / numbers.file, whole.memory / numbers.memory);
        let mut loss =
            exact(Family::Quality, &format!("pair_loss_{id}"), &format!("{words}: bits lost"), numbers.loss, "%")
                .lower();
        loss.interval = numbers.interval;
        report.metrics.push(loss);
        report.metrics.push(
            exact(Family::Memory, &format!("pair_file_{id}"), &format!("{words}: file smaller by"), file, "×").higher(),
        );
        report.metrics.push(
            exact(Family::Memory, &format!("pair_memory_{id}"), &format!("{words}: memory smaller by"), memory, "×")
                .higher(),
        );
        report.metrics.push(
            timed(&format!("pair_time_{id}"), &format!("{words}: one request faster by"), &numbers.time.ratios(), "×")
                .higher(),
        );
        let round = |x: f64| Cell::Number((100.0 * x).round() / 100.0);
        rows.push(vec![words.into(), round(file), round(memory), round(numbers.loss), round(numbers.upper())]);
    }
    report.tables.push(figures::table(
        "pairs",
        "Pairs of steps",
        &["Steps", "File (×)", "Memory (×)", "Bits lost (%)", "Upper end (%)"],
        rows,
    ));
    Ok(())
}

/// Pruned models that were trained a little, then rounded: three seeds, two at a time.
async fn recovered(report: &mut Report, language: &mut Language, cx: &Context) -> Result<(), LabError> {
    let whole = language.numbers(&[], cx).await?;
    let lines = ["prune:25>recover:32", "prune:25>recover:32>quantize:4,channel,gptq"];
    let material = &language.material;
    let found = jobs_on_two_cores(SEEDS as usize, |seed| {
        let mut own = context(std::rc::Rc::new(FakeClock::real()));
        own.seed = seed as u64;
        let mut entry = ScoredEntry::language(material);
        let mut both = Vec::new();
        for step in steps(lines[1])? {
            entry = ready(entry.step_language(step, material, &own))?;
            if !matches!(step, EntryStep::Prune { .. }) {
                both.push(entry.clone());
            }
        }
        Ok(both)
    })?;
    for (which, (id, words)) in
        [("recovered", "prune, train 32 steps"), ("recovered_rounded", "prune, train 32 steps, round")]
            .iter()
            .enumerate()
    {
        let (mut losses, mut files) = (Vec::new(), Vec::new());
        for entries in &found {
            let numbers = language.judged(&entries[which], cx).await?;
            losses.push(numbers.loss);
            files.push(whole.file / entries[which].stored.file_bytes(true) as f64);
        }
        let middle = lab_kit::stats::median(&losses);
        report.metrics.push(trained(
            metric(Family::Quality, &format!("pair_loss_{id}"), &format!("{words}: bits lost"), middle, "%")
                .lower()
                .measured(losses),
        ));
        report.metrics.push(trained(
            metric(
                Family::Memory,
                &format!("pair_file_{id}"),
                &format!("{words}, coded: file smaller by"),
                lab_kit::stats::median(&files),
                "×",
            )
            .higher()
            .measured(files),
        ));
    }
    Ok(())
}

/// Half of the weights at zero, and 4 bits for the others: in a bitmap, and under the coder.
async fn sparse(report: &mut Report, language: &mut Language, cx: &Context) -> Result<(), LabError> {
    let mut entry = ScoredEntry::language(&language.material);
    let (mut bitmap, mut coded, mut count) = (0, 0, 0);
    let names: Vec<String> =
        entry.stored.state.iter().filter(|(_, w)| w.shape.len() == 2).map(|(name, _)| name.to_owned()).collect();
    for name in names {
        let Some(weight) = entry.stored.state.get(&name) else { continue };
        let columns = weight.shape[1];
        let mut values = weight.values.clone();
        if name.contains(".layers.") {
            for row in values.chunks_mut(columns) {
                let mut sizes: Vec<f32> = row.iter().map(|w| w.abs()).collect();
                sizes.sort_by(f32::total_cmp);
                let least = sizes[columns / 2];
                row.iter_mut().filter(|w| w.abs() < least).for_each(|w| *w = 0.0);
            }
        }
        let matrix = CodedMatrix::quantize(&values, columns, (15, 0), None);
        if name.contains(".layers.") {
            let kept = values.iter().filter(|w| **w != 0.0).count();
            bitmap += packed_len(kept, 4) + values.len() / 8;
            coded += encode(&matrix.codes, matrix.bits).len();
            count += values.len();
        }
        entry.stored.put(&name, matrix);
    }
    let bits = |bytes: usize| 8.0 * bytes as f64 / count.max(1) as f64;
    let loss = language.judged(&entry, cx).await?.loss;
    report.metrics.push(
        exact(
            Family::Memory,
            "sparse_bitmap",
            "Half at zero, 4 bits for the rest, in a bitmap",
            bits(bitmap),
            "bits a weight",
        )
        .lower(),
    );
    report.metrics.push(
        exact(Family::Memory, "sparse_coded", "Half at zero, 4 bits for the rest, coded", bits(coded), "bits a weight")
            .lower(),
    );
    report
        .metrics
        .push(exact(Family::Quality, "sparse_loss", "Half at zero, 4 bits for the rest: bits lost", loss, "%").lower());
    Ok(())
}

/// What proposals bring to one request and to eight.
async fn drafts(report: &mut Report, language: &mut Language, cx: &Context) -> Result<(), LabError> {
    for (id, words, line) in [
        ("fp32", "FP32", "cache:32>draft:3"),
        ("packed", "11 levels", "quantize:11levels,channel,gptq>cache:32>draft:3"),
    ] {
        let list = steps(line)?;
        let drafted = language.numbers(&list, cx).await?;
        let plain = language.numbers(&list[..list.len() - 1], cx).await?;
        let gain = drafted.time.times() / plain.time.times();
        report.metrics.push(
            timed(&format!("draft_gain_{id}"), &format!("{words}: draft of 3 over plain decoding"), &[gain], "×")
                .higher(),
        );
        let accepted = language.accepted(&list).unwrap_or(0.0);
        report.metrics.push(
            exact(
                Family::Quality,
                &format!("accepted_{id}"),
                &format!("{words}: proposals accepted"),
                100.0 * accepted,
                "%",
            )
            .higher(),
        );
    }
    // A pass that checks three proposals of each, over a pass of one token each.
    let whole = language.weights(&[], cx).await?;
    let model = &whole.model;
    for rows in [1, 8] {
        let mut cache = KvCache::new(model.config(), rows, 80, &cx.device)?;
        let text: Vec<u32> = language.material.text[..80].to_vec();
        model.next(model.tokens(&vec![&text[..64]; rows], &cx.device)?, &mut cache)?;
        let mut other = cache.clone();
        let pass = async |cache: &mut KvCache, count: usize| -> Result<(), LabError> {
            cache.truncate(64);
            let all = vec![&text[64..64 + count]; rows];
            drop(std::hint::black_box(read(model.extend(model.tokens(&all, &cx.device)?, cache)?).await?));
            Ok(())
        };
        let pair =
            side_by_side(cx, 300.0, async || pass(&mut cache, 4).await, async || pass(&mut other, 1).await).await?;
        report.metrics.push(
            timed(
                &format!("check_{rows}"),
                &format!("Checking 3 proposals for {rows} at once costs passes of one token"),
                &pair.ratios(),
                "×",
            )
            .lower(),
        );
    }
    let alpha = report.metric("accepted_fp32").map_or(0.0, |one| one.value / 100.0);
    report.metrics.push(
        exact(
            Family::Scale,
            "expected_tokens",
            "Tokens a round, were every proposal accepted as often",
            expected_tokens(alpha, 3),
            "tokens",
        )
        .higher(),
    );
    for rows in [1, 8] {
        let check = report.metric(&format!("check_{rows}")).map_or(1.0, |one| one.value);
        report.metrics.push(
            timed(
                &format!("draft_free_{rows}"),
                &format!("If proposals cost nothing: gain for {rows} at once"),
                &[speedup((alpha, 1.0), 3, 0.0, check)],
                "×",
            )
            .higher(),
        );
    }
    // The text does not change.
    let prompt = language.material.text[500..532].to_vec();
    let plain = cached_generate(model, (&prompt, 48), &cx.device, async || Ok(())).await?;
    let same = language.drafted_text(&prompt, 48, cx).await?.iter().zip(&plain).filter(|(a, b)| a == b).count();
    report.metrics.push(
        exact(Family::Quality, "draft_same", "Tokens that drafting left unchanged, of 48", same as f64, "tokens")
            .higher(),
    );
    Ok(())
}

/// Ways to look better.
async fn tricks(report: &mut Report, language: &mut Language, cx: &Context) -> Result<(), LabError> {
    let list = steps("quantize:9levels,channel,gptq")?;
    let honest = language.numbers(&list, cx).await?;
    let own = std::mem::take(&mut language.material.calibration);
    let windows = language.judging();
    language.material.calibration = spread_windows(&windows.concat(), own.len(), CALIBRATION);
    let entry = ScoredEntry::language(&language.material).step_language(list[0], &language.material, cx).await?;
    let cheat = language.judged(&entry, cx).await?;
    // More of the honest text, while it is at hand.
    language.material.calibration = spread_windows(&language.material.text, 32, CALIBRATION);
    let entry = ScoredEntry::language(&language.material).step_language(list[0], &language.material, cx).await?;
    let more = language.judged(&entry, cx).await?;
    language.material.calibration = own;
    report.metrics.push(
        exact(Family::Quality, "honest_loss", "9 levels, calibrated on other text: bits lost", honest.loss, "%")
            .lower(),
    );
    report.metrics.push(
        exact(
            Family::Quality,
            "cheat_loss",
            "9 levels, calibrated on the text that judges: bits lost",
            cheat.loss,
            "%",
        )
        .lower(),
    );
    report.metrics.push(
        exact(
            Family::Quality,
            "more_loss",
            "9 levels, calibrated on four times as much other text: bits lost",
            more.loss,
            "%",
        )
        .lower(),
    );
    let two = language.few(2, &list, cx).await?;
    report.metrics.push(
        metric(Family::Quality, "few_loss", "9 levels, judged by 2 windows: bits lost", two.loss, "%")
            .lower()
            .exact(1.0, SUMS),
    );
    report.metrics.push(
        metric(Family::Quality, "few_upper", "9 levels, judged by 2 windows: upper end", two.upper(), "%")
            .lower()
            .exact(3.0, SUMS),
    );
    let cached = language.numbers(&steps("cache:32")?, cx).await?.time;
    let best = cached.ratios().into_iter().fold(0.0, f64::max);
    report.metrics.push(timed("best_of_many", "Cache: the best of all samples", &[best], "×").higher());
    report.metrics.push(timed("median_of_many", "Cache: the median of all samples", &cached.ratios(), "×").higher());
    Ok(())
}
