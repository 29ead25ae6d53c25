//! How a run ends: with its result, or without one.

use lab_api::{DeviceKind, LabError, RunRecord};

use super::view::device_words;
use super::{Course, Effect, LIVE, Phase, View};

impl Course {
    /// A device has given its result: on to the next, or the result is whole.
    pub(super) fn done(&mut self, record: RunRecord, now_ms: f64) -> Vec<Effect> {
        let Some(run) = &mut self.run else { return Vec::new() };
        run.records.push(record);
        if run.targets.len() > 1 {
            run.targets.remove(0);
            self.view.stage.clear();
            // A fresh id: a late word of the first device must not count for the second.
            self.last_id += 1;
            run.id = self.last_id;
            return vec![Effect::Launch { run_id: run.id, kind: run.targets[0], setting: run.setting.clone() }];
        }
        let seconds = (now_ms - run.started_ms) / 1000.0;
        let took = lab_charts::format_value(seconds, "s");
        let device = run.device.as_ref().map(device_words).unwrap_or_default();
        let records = std::mem::take(&mut run.records);
        let remark = std::mem::take(&mut run.remark);
        let message = match records.len() {
            _ if self.view.message == LIVE => LIVE.to_owned(),
            1 => format!("Done in {took} on {device}. {remark}"),
            _ => format!("Done in {took} on both devices."),
        };
        self.run = None;
        self.view = View::of(Phase::Done, message);
        vec![Effect::Show(records)]
    }

    /// An engine broke, in a run or idle.
    pub(super) fn broke(&mut self, kind: DeviceKind, why: &str) -> Vec<Effect> {
        if self.target() == Some(kind) {
            let error = LabError::Engine { why: why.to_owned() };
            self.fail_with(&error, kind == DeviceKind::Webgpu);
        }
        // Idle or not: a broken engine is of no use to the next run.
        vec![Effect::Terminate(kind)]
    }

    /// The reader wants it to stop.
    pub(super) fn cancel(&mut self) -> Vec<Effect> {
        let Some(run) = &mut self.run else { return Vec::new() };
        let run_id = run.id;
        match run.targets.first().copied() {
            Some(kind) => {
                // The second device is not asked at all, even if the first was done before it heard of this.
                run.targets.truncate(1);
                self.view.message = "Cancelling.".to_owned();
                self.view.quiet = false;
                vec![Effect::AskToStop { run_id, kind }]
            }
            // Nothing was started yet.
            None => {
                self.stopped();
                Vec::new()
            }
        }
    }

    /// It has stopped.
    pub(super) fn stopped(&mut self) {
        self.run = None;
        self.view = View::of(Phase::Cancelled, "Cancelled.");
    }

    pub(super) fn fail_with(&mut self, error: &LabError, offer_cpu: bool) {
        self.fail(&format!("{} {}", sentence(&error.to_string()), error.remedy()), offer_cpu);
    }

    pub(super) fn fail(&mut self, words: &str, offer_cpu: bool) {
        self.run = None;
        self.view = View { offer_cpu, ..View::of(Phase::Failed, words) };
    }
}

/// With a capital first letter and one mark at its end: a question stays one.
fn sentence(words: &str) -> String {
    let words = words.trim().trim_end_matches('.');
    let stop = if words.ends_with('?') { "" } else { "." };
    let mut characters = words.chars();
    characters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(characters).chain(stop.chars()).collect())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{done, record, running, start, with_bits};
    use super::*;
    use crate::Input;
    use lab_api::Event;

    #[test]
    fn a_message_ends_with_one_mark() {
        assert_eq!(sentence("no such file"), "No such file.");
        assert_eq!(sentence("it is full. "), "It is full.");
        assert_eq!(sentence("did the download not finish?"), "Did the download not finish?");
        assert_eq!(sentence(""), "");
    }

    #[test]
    fn a_run_ends_with_its_result() {
        let mut course = running(&[DeviceKind::Cpu]);
        assert_eq!(course.view().phase, Phase::Running);
        course.step(Input::Said(Event::Progress { run_id: 1, stage: "training".into(), fraction: 0.5 }), 0.0);
        assert_eq!((course.view().stage.as_str(), course.view().fraction), ("training", Some(0.5)));
        let effects = course.step(done(1, DeviceKind::Cpu), 412.0);
        assert_eq!(effects, [Effect::Show(vec![*record(DeviceKind::Cpu)])]);
        assert_eq!(course.view().phase, Phase::Done);
        assert!(course.view().message.starts_with("Done in 0.412\u{a0}s on CPU (WASM SIMD)."));
    }

    #[test]
    fn cancel_is_asked_for_first_and_enforced_then() {
        let mut course = running(&[DeviceKind::Cpu]);
        let asked = [Effect::AskToStop { run_id: 1, kind: DeviceKind::Cpu }];
        assert_eq!(course.step(Input::Cancel, 0.0), asked);
        let mut polite = course.clone();
        let answer = Input::Said(Event::Failed { run_id: 1, error: LabError::Cancelled });
        assert_eq!(polite.step(answer, 0.0), []);
        assert_eq!(polite.view().phase, Phase::Cancelled);
        assert_eq!(polite.step(Input::CancelOverdue { run_id: 1 }, 0.0), []);
        assert_eq!(course.step(Input::CancelOverdue { run_id: 1 }, 0.0), [Effect::Terminate(DeviceKind::Cpu)]);
        assert_eq!(course.view().phase, Phase::Cancelled);
    }

    #[test]
    fn a_broken_engine_is_said_and_replaced() {
        let mut course = running(&[DeviceKind::Webgpu]);
        let broke = Input::Broke { kind: DeviceKind::Webgpu, why: "unreachable".into() };
        assert_eq!(course.step(broke, 0.0), [Effect::Terminate(DeviceKind::Webgpu)]);
        let view = course.view();
        assert_eq!(view.phase, Phase::Failed);
        assert!(view.offer_cpu && view.message.contains("unreachable") && view.message.contains("Press Run"));
        assert_eq!(course.step(start(8), 0.0).len(), 2);
    }

    #[test]
    fn an_idle_engine_that_breaks_is_replaced_in_silence() {
        let mut course = Course::default();
        let broke = Input::Broke { kind: DeviceKind::Cpu, why: "?".into() };
        assert_eq!(course.step(broke, 0.0), [Effect::Terminate(DeviceKind::Cpu)]);
        assert_eq!(course.view().phase, Phase::Ready);
    }

    #[test]
    fn both_devices_run_one_after_the_other() {
        let mut course = running(&[DeviceKind::Cpu, DeviceKind::Webgpu]);
        let next = course.step(done(1, DeviceKind::Cpu), 0.0);
        assert_eq!(next, [Effect::Launch { run_id: 2, kind: DeviceKind::Webgpu, setting: with_bits(8) }]);
        course.step(Input::Said(Event::Progress { run_id: 2, stage: "b".into(), fraction: 0.5 }), 0.0);
        assert_eq!(course.view().fraction, Some(0.75));
        let end = course.step(done(2, DeviceKind::Webgpu), 0.0);
        assert!(matches!(&end[..], [Effect::Show(records)] if records.len() == 2));
    }

    #[test]
    fn a_cancelled_comparison_does_not_go_on_to_the_second_device() {
        let mut course = running(&[DeviceKind::Cpu, DeviceKind::Webgpu]);
        course.step(Input::Cancel, 0.0);
        // The first was done before it heard of that: as in any run, its result counts.
        let effects = course.step(done(1, DeviceKind::Cpu), 0.0);
        assert_eq!(effects, [Effect::Show(vec![*record(DeviceKind::Cpu)])]);
        assert_eq!((course.view().phase, course.run_id()), (Phase::Done, None));
        assert_eq!(course.step(Input::CancelOverdue { run_id: 1 }, 0.0), []);
    }
}
