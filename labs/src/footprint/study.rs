//! The worked examples of the chapter, by the code that the calculator runs.

use lab_api::{Family, Metric, Report};
use lab_kit::{
    measure::footprint::{Embodied, JOULES_PER_KWH, ServedPrompt, Site, break_even_uses, footprint, rebound},
    report::{MetricExt, metric},
};

/// BLOOM's training, in kWh: 1,082,990 GPU-hours at 0.4 kW, and what stood ready meanwhile (Luccioni et al., 2023).
const BLOOM_KWH: [f64; 2] = [1_082_990.0 * 0.4, 256_646.0];
/// Tonnes laid to making the machines: the total less the two above.
const BLOOM_MADE: f64 = 11.2;

pub(super) fn run() -> Report {
    let mut report = Report::default();
    let mut add = |id: String, label: String, value: f64, unit: &str| {
        let number: Metric = metric(Family::Scale, &id, &label, value, unit);
        report.metrics.push(number.exact(1e-6 * (1.0 + value.abs()), "products of the same numbers"));
    };
    let nothing = Embodied { kilograms: 0.0, years: 1.0, busy_share: 1.0 };
    for (id, name, grams) in [
        ("france", "France", 57.0),
        ("norway", "Norway", 30.0),
        ("us", "United States", 369.0),
        ("poland", "Poland", 662.0),
    ] {
        let site = Site {
            overhead: 1.0,
            grams_per_kwh: grams,
            price_per_kwh: 0.0,
            litres_on_site: 0.0,
            litres_at_source: 0.0,
        };
        let [dynamic, idle] = BLOOM_KWH.map(|kwh| 1e-6 * footprint(kwh * JOULES_PER_KWH, 0.0, &site, &nothing).grams());
        let total = dynamic + idle + BLOOM_MADE;
        add(format!("bloom_dynamic_{id}"), format!("BLOOM in {name}: computing"), dynamic, "t");
        add(format!("bloom_idle_{id}"), format!("BLOOM in {name}: standing ready"), idle, "t");
        add(format!("bloom_{id}"), format!("BLOOM in {name}: all"), total, "t");
        add(
            format!("bloom_made_{id}"),
            format!("BLOOM in {name}: share of the machines"),
            100.0 * BLOOM_MADE / total,
            "%",
        );
    }
    for batch in [1.0, 8.0, 64.0] {
        let prompt = ServedPrompt { active_billions: 70.0, billions: 70.0, tokens: 300.0, batch, overhead: 1.2 };
        let [gpus, server, plug] = prompt.watt_hours();
        add(format!("prompt_gpus_{batch}"), format!("70B, 300 tokens, batch {batch}: GPUs"), gpus, "Wh");
        add(
            format!("prompt_server_{batch}"),
            format!("70B, 300 tokens, batch {batch}: rest of the server"),
            server,
            "Wh",
        );
        add(format!("prompt_{batch}"), format!("70B, 300 tokens, batch {batch}: at the plug"), plug, "Wh");
    }
    let uses = break_even_uses(20e6, 0.24, 0.06).unwrap_or(0.0);
    add("student_uses".into(), "Prompts until a student has paid".into(), 1e-6 * uses, "million");
    add("student_days".into(), "Days at a million a day".into(), uses / 1e6, "days");
    add("student_years".into(), "Years at two thousand a day".into(), uses / 2e3 / 365.0, "years");
    for growth in [2.0, 33.0, 50.0] {
        add(
            format!("rebound_{growth}"),
            format!("Total after a gain of 33 and growth of {growth}"),
            100.0 * rebound(33.0, growth),
            "%",
        );
    }
    report
}
