//! The course of a run, from the press of a button to its result, as a machine without a page: inputs go in, what the
//! reader sees and what is to be done come out.

mod step;
mod view;

use lab_api::{DeviceInfo, DeviceKind, Event, LabError, RunRecord};

pub use step::{Effect, Input};
pub use view::{Phase, View};

/// A run that is going on.
#[derive(Debug, Clone)]
struct Run {
    id: u32,
    /// Where it runs now, and where it still has to; empty while that is being decided.
    targets: Vec<DeviceKind>,
    remark: String,
    device: Option<DeviceInfo>,
    records: Vec<RunRecord>,
    started_ms: f64,
}

/// The machine.
#[derive(Debug, Clone)]
pub struct Course {
    view: View,
    run: Option<Run>,
    last_id: u32,
}

impl Default for Course {
    fn default() -> Self {
        Self { view: View::of(Phase::Ready, ""), run: None, last_id: 0 }
    }
}

/// Said when a second run is asked for.
const BUSY: &str = "A run is going on. Cancel it first, or wait for its result.";
/// Said by a live lab. One sentence for all results: a live region must not speak at every move of a slider.
const LIVE: &str = "The result follows the controls.";
/// A run of a live lab that takes longer shows its progress and can be cancelled, in milliseconds.
const QUIET_MS: f64 = 500.0;

impl Course {
    /// What the reader sees.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The run that is going on.
    #[must_use]
    pub fn run_id(&self) -> Option<u32> {
        self.run.as_ref().map(|run| run.id)
    }

    /// One step. `now_ms` is any clock that does not jump.
    pub fn step(&mut self, input: Input, now_ms: f64) -> Vec<Effect> {
        match input {
            Input::Start if self.run.is_some() => {
                self.say(BUSY);
                Vec::new()
            }
            // Whoever asks looks again when the present run is over.
            Input::Again if self.run.is_some() => Vec::new(),
            Input::Start | Input::Again => self.start(input == Input::Again, now_ms),
            Input::Planned { run_id, targets, remark } if self.run_id() == Some(run_id) => {
                let Some(kind) = targets.first().copied() else { return Vec::new() };
                if let Some(run) = &mut self.run {
                    run.targets = targets;
                    run.remark = remark;
                }
                self.say("Starting the engine.");
                vec![Effect::Launch { run_id, kind }]
            }
            Input::Unavailable { run_id, trouble } if self.run_id() == Some(run_id) => {
                self.fail(&trouble.words, trouble.offer_cpu);
                Vec::new()
            }
            Input::Said(event) => self.hear(event, now_ms),
            Input::Broke { kind, why } => self.broke(kind, &why),
            Input::Cancel => self.cancel(),
            Input::CancelOverdue { run_id } if self.run_id() == Some(run_id) => {
                let kind = self.target();
                self.stopped();
                kind.map(Effect::Terminate).into_iter().collect()
            }
            Input::Reset => {
                let kind = self.target();
                self.run = None;
                self.view = Self::default().view;
                kind.map(Effect::Terminate).into_iter().chain([Effect::Clear]).collect()
            }
            // Of an earlier run.
            Input::Planned { .. } | Input::Unavailable { .. } | Input::CancelOverdue { .. } => Vec::new(),
        }
    }

    fn target(&self) -> Option<DeviceKind> {
        self.run.as_ref().and_then(|run| run.targets.first().copied())
    }

    /// Changes the message, unless this is a run that is not spoken of.
    fn say(&mut self, words: &str) {
        if !self.view.quiet {
            self.view.message = words.to_owned();
        }
    }

    fn start(&mut self, quiet: bool, now_ms: f64) -> Vec<Effect> {
        self.last_id += 1;
        let run_id = self.last_id;
        self.run = Some(Run {
            id: run_id,
            targets: vec![],
            remark: String::new(),
            device: None,
            records: vec![],
            started_ms: now_ms,
        });
        if quiet {
            self.view = View { quiet, ..View::of(Phase::Running, LIVE) };
            return vec![Effect::Plan { run_id }];
        }
        self.view = View::of(Phase::Running, "Looking for the engine.");
        vec![Effect::Clear, Effect::Plan { run_id }]
    }

    fn hear(&mut self, event: Event, now_ms: f64) -> Vec<Effect> {
        let current = self.run_id();
        // Answers of earlier runs are late, not wrong. Id 0 is an engine that could not even read its request.
        let ours = |run_id: u32| current == Some(run_id) || (run_id == 0 && current.is_some());
        match event {
            Event::Ready => Vec::new(),
            Event::Started { run_id, device } if ours(run_id) => {
                if let Some(run) = &mut self.run {
                    let words = format!("Running on {}. {}", device_words(&device), run.remark);
                    run.device = Some(device);
                    self.say(&words);
                }
                Vec::new()
            }
            Event::Progress { run_id, stage, fraction } if ours(run_id) => {
                self.view.stage = stage;
                self.view.quiet &= self.run.as_ref().is_some_and(|run| now_ms - run.started_ms < QUIET_MS);
                self.view.fraction = fraction.is_finite().then(|| self.overall(fraction));
                Vec::new()
            }
            // The result of before is worth more than half of the next.
            Event::Partial { run_id, report } if ours(run_id) && self.view.message != LIVE => {
                vec![Effect::ShowPartial(report)]
            }
            Event::Done { run_id, record } if ours(run_id) => self.done(*record, now_ms),
            Event::Failed { run_id, error } if ours(run_id) => {
                if error == LabError::Cancelled {
                    self.stopped();
                    return Vec::new();
                }
                let on_gpu = self.target() == Some(DeviceKind::Webgpu);
                self.fail_with(&error, on_gpu);
                // A GPU that failed once cannot be trusted to be the same afterwards.
                if on_gpu { vec![Effect::Terminate(DeviceKind::Webgpu)] } else { Vec::new() }
            }
            _ => Vec::new(),
        }
    }

    /// The share of the whole, where two devices are run one after the other.
    fn overall(&self, fraction: f64) -> f64 {
        let Some(run) = &self.run else { return fraction };
        let all = run.records.len() + run.targets.len();
        (run.records.len() as f64 + fraction) / all.max(1) as f64
    }

    fn done(&mut self, record: RunRecord, now_ms: f64) -> Vec<Effect> {
        let Some(run) = &mut self.run else { return Vec::new() };
        run.records.push(record);
        if run.targets.len() > 1 {
            run.targets.remove(0);
            self.view.stage.clear();
            // A fresh id: a late word of the first device must not count for the second.
            self.last_id += 1;
            run.id = self.last_id;
            return vec![Effect::Launch { run_id: run.id, kind: run.targets[0] }];
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

    fn broke(&mut self, kind: DeviceKind, why: &str) -> Vec<Effect> {
        if self.target() == Some(kind) {
            let error = LabError::Engine { why: why.to_owned() };
            self.fail_with(&error, kind == DeviceKind::Webgpu);
        }
        // Idle or not: a broken engine is of no use to the next run.
        vec![Effect::Terminate(kind)]
    }

    fn cancel(&mut self) -> Vec<Effect> {
        let Some(run_id) = self.run_id() else { return Vec::new() };
        match self.target() {
            Some(kind) => {
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

    fn stopped(&mut self) {
        self.run = None;
        self.view = View::of(Phase::Cancelled, "Cancelled. Press Run to start again.");
    }

    fn fail_with(&mut self, error: &LabError, offer_cpu: bool) {
        self.fail(&format!("{}. {}", sentence(&error.to_string()), error.remedy()), offer_cpu);
    }

    fn fail(&mut self, words: &str, offer_cpu: bool) {
        self.run = None;
        self.view = View { offer_cpu, ..View::of(Phase::Failed, words) };
    }
}

fn device_words(device: &DeviceInfo) -> String {
    if device.software_adapter { format!("{} (software adapter)", device.name) } else { device.name.clone() }
}

/// With a capital first letter and without a mark at its end.
fn sentence(words: &str) -> String {
    let words = words.trim().trim_end_matches(['.', '?']);
    let mut characters = words.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab_api::{Environment, Report};

    fn device(kind: DeviceKind) -> DeviceInfo {
        let name = if kind == DeviceKind::Cpu { "CPU (WASM SIMD)" } else { "SwiftShader" };
        DeviceInfo {
            kind,
            name: name.into(),
            vendor: String::new(),
            architecture: String::new(),
            software_adapter: kind == DeviceKind::Webgpu,
        }
    }

    fn record(kind: DeviceKind) -> Box<RunRecord> {
        Box::new(RunRecord {
            lab: "x".into(),
            params: Default::default(),
            seed: 0,
            environment: Environment {
                device: device(kind),
                host: "browser".into(),
                platform: String::new(),
                cores: 2,
                engine_version: "0".into(),
                clock_step_ms: 0.1,
            },
            report: Report::default(),
        })
    }

    /// A course that runs on these devices.
    fn running(targets: &[DeviceKind]) -> Course {
        let mut course = Course::default();
        assert_eq!(course.step(Input::Start, 0.0), [Effect::Clear, Effect::Plan { run_id: 1 }]);
        let planned = Input::Planned { run_id: 1, targets: targets.to_vec(), remark: String::new() };
        assert_eq!(course.step(planned, 0.0), [Effect::Launch { run_id: 1, kind: targets[0] }]);
        let started = Event::Started { run_id: 1, device: device(targets[0]) };
        course.step(Input::Said(started), 0.0);
        course
    }

    #[test]
    fn a_run_ends_with_its_result() {
        let mut course = running(&[DeviceKind::Cpu]);
        assert_eq!(course.view().phase, Phase::Running);
        course.step(Input::Said(Event::Progress { run_id: 1, stage: "training".into(), fraction: 0.5 }), 0.0);
        assert_eq!((course.view().stage.as_str(), course.view().fraction), ("training", Some(0.5)));
        let effects = course.step(Input::Said(Event::Done { run_id: 1, record: record(DeviceKind::Cpu) }), 412.0);
        assert_eq!(effects, [Effect::Show(vec![*record(DeviceKind::Cpu)])]);
        assert_eq!(course.view().phase, Phase::Done);
        assert!(course.view().message.starts_with("Done in 0.412\u{202f}s on CPU (WASM SIMD)."));
    }

    #[test]
    fn a_second_run_is_refused_while_the_first_goes_on() {
        let mut course = running(&[DeviceKind::Cpu]);
        assert_eq!(course.step(Input::Start, 0.0), []);
        assert_eq!((course.view().phase, course.view().message.as_str()), (Phase::Running, BUSY));
        assert_eq!(course.run_id(), Some(1));
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
    fn late_words_of_an_earlier_run_change_nothing() {
        let mut course = running(&[DeviceKind::Cpu]);
        course.step(Input::Cancel, 0.0);
        course.step(Input::CancelOverdue { run_id: 1 }, 0.0);
        course.step(Input::Start, 0.0);
        let late = Event::Done { run_id: 1, record: record(DeviceKind::Cpu) };
        assert_eq!(course.step(Input::Said(late), 0.0), []);
        assert_eq!((course.view().phase, course.run_id()), (Phase::Running, Some(2)));
    }

    #[test]
    fn a_broken_engine_is_said_and_replaced() {
        let mut course = running(&[DeviceKind::Webgpu]);
        let broke = Input::Broke { kind: DeviceKind::Webgpu, why: "unreachable".into() };
        assert_eq!(course.step(broke, 0.0), [Effect::Terminate(DeviceKind::Webgpu)]);
        let view = course.view();
        assert_eq!(view.phase, Phase::Failed);
        assert!(view.offer_cpu && view.message.contains("unreachable") && view.message.contains("Press Run"));
        assert_eq!(course.step(Input::Start, 0.0).len(), 2);
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
        let next = course.step(Input::Said(Event::Done { run_id: 1, record: record(DeviceKind::Cpu) }), 0.0);
        assert_eq!(next, [Effect::Launch { run_id: 2, kind: DeviceKind::Webgpu }]);
        course.step(Input::Said(Event::Progress { run_id: 2, stage: "b".into(), fraction: 0.5 }), 0.0);
        assert_eq!(course.view().fraction, Some(0.75));
        let end = course.step(Input::Said(Event::Done { run_id: 2, record: record(DeviceKind::Webgpu) }), 0.0);
        assert!(matches!(&end[..], [Effect::Show(records)] if records.len() == 2));
    }

    #[test]
    fn a_live_run_keeps_the_old_result_and_its_peace() {
        let mut course = running(&[DeviceKind::Cpu]);
        course.step(Input::Said(Event::Done { run_id: 1, record: record(DeviceKind::Cpu) }), 10.0);
        assert_eq!(course.step(Input::Again, 20.0), [Effect::Plan { run_id: 2 }]);
        assert!(course.view().quiet && course.view().phase == Phase::Running);
        // A change in mid-run starts nothing; a press of Run neither.
        assert_eq!(course.step(Input::Again, 21.0), []);
        assert_eq!(course.step(Input::Start, 21.0), []);
        let planned = Input::Planned { run_id: 2, targets: vec![DeviceKind::Cpu], remark: String::new() };
        course.step(planned, 22.0);
        course.step(Input::Said(Event::Started { run_id: 2, device: device(DeviceKind::Cpu) }), 23.0);
        let partial = Event::Partial { run_id: 2, report: Report::default() };
        assert_eq!(course.step(Input::Said(partial), 24.0), []);
        let words = course.view().message.clone();
        let end = course.step(Input::Said(Event::Done { run_id: 2, record: record(DeviceKind::Cpu) }), 30.0);
        assert!(matches!(&end[..], [Effect::Show(_)]));
        assert_eq!((course.view().phase, &course.view().message), (Phase::Done, &words));
    }

    #[test]
    fn a_live_run_that_takes_long_shows_how_far_it_is() {
        let mut course = Course::default();
        course.step(Input::Again, 0.0);
        let progress = |fraction| Input::Said(Event::Progress { run_id: 1, stage: "s".into(), fraction });
        course.step(progress(0.1), 100.0);
        assert!(course.view().quiet);
        course.step(progress(0.2), 900.0);
        assert!(!course.view().quiet);
        // It fails as loudly as any.
        let error = LabError::Device { why: "lost".into() };
        course.step(Input::Said(Event::Failed { run_id: 1, error }), 950.0);
        assert!(course.view().phase == Phase::Failed && course.view().message.contains("lost"));
    }

    #[test]
    fn reset_in_mid_run_stops_the_engine() {
        let mut course = running(&[DeviceKind::Cpu]);
        let effects = course.step(Input::Reset, 0.0);
        assert_eq!(effects, [Effect::Terminate(DeviceKind::Cpu), Effect::Clear]);
        assert_eq!(course.view(), Course::default().view());
    }
}
