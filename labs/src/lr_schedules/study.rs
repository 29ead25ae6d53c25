//! Every schedule tuned on a seed of its own and judged over others, in runs of two lengths, with two optimizers and on two tasks;
//! warm-ups, cool-downs and floors; and what is seen of the updates.

mod fields;
mod sweeps;
mod trainings;

use lab_api::{Family, Kind, LabError, Metric, Report};
use lab_kit::{
    Context,
    report::metric,
    stats::{median, median_interval},
    tuning::{Learned, Task},
};

use super::{Params, arms};
use fields::{FIELDS, Tune};

/// The seed that tunes.
const TUNING: u64 = 100;

/// A number that every seed has: its median, with an interval.
fn over_seeds(family: Family, id: &str, label: &str, unit: &str, values: &[f64], cx: &Context) -> Metric {
    use lab_kit::report::MetricExt;
    let one = metric(family, id, label, median(values), unit)
        .interval(median_interval(values, 0.95, &mut cx.rng(id)))
        .measured(values.to_vec());
    Metric { kind: Kind::Trained, ..one }
}

fn trained(family: Family, id: &str, label: &str, value: f64, unit: &str) -> Metric {
    Metric { kind: Kind::Trained, ..metric(family, id, label, value, unit) }
}

pub(super) async fn run(cx: &mut Context) -> Result<Report, LabError> {
    let mut report = Report::default();
    let params = Params { steps: 300, batch: 64, ..Params::default() };
    let every: Vec<arms::Arm> = FIELDS[0].ids.iter().filter_map(|id| arms::arm(id, &params)).collect();
    super::summary::counted(&mut report, &params, &every);
    let letters = Task::load(Learned::Glyphs, params.width as usize, cx).await?;
    let tokens = Task::load(Learned::Tokens, params.width as usize, cx).await?;
    let mut tuned: Vec<Tune> = Vec::new();
    for (done, field) in FIELDS.iter().enumerate() {
        cx.progress(field.words, 0.02 + 0.16 * done as f64);
        let task = if field.task == Learned::Glyphs { &letters } else { &tokens };
        let found = field.tune(task)?;
        field.race(&mut report, task, &found, cx)?;
        tuned.push(found);
    }
    cx.progress("Warm-ups, cool-downs, floors", 0.7);
    sweeps::warmups(&mut report, &letters, cx)?;
    sweeps::cooldowns(&mut report, &letters, tuned[0].peak("wsd_sqrt"), cx)?;
    sweeps::floors(&mut report, &letters, &tuned[0], cx)?;
    sweeps::plateau(&mut report, &letters, cx)?;
    cx.progress("Stopping early", 0.85);
    sweeps::stops(&mut report, &letters, &tuned[1], cx).await?;
    sweeps::dynamics(&mut report, &letters, tuned[0].peak("wsd_sqrt"), cx).await?;
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_knows_its_schedules_and_has_the_line_among_them() {
        for field in &FIELDS {
            let params = field.params();
            assert!(field.ids.contains(&"linear"), "{}", field.id);
            assert!(field.ids.iter().all(|id| arms::arm(id, &params).is_some()), "{}", field.id);
        }
    }
}
