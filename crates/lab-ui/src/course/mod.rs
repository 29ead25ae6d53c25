//! The course of a run, from the press of a button to its result, as a machine without a page: inputs go in, what the
//! reader sees and what is to be done come out.

mod end;
mod step;
mod view;

use lab_api::{DeviceInfo, DeviceKind, Event, LabError, RunRecord};

pub use step::{Effect, Input};
use view::device_words;
pub use view::{Phase, View};

use crate::{Setting, Wish};

/// A run that is going on.
#[derive(Debug, Clone)]
struct Run {
    id: u32,
    /// The controls when it was asked for: every device runs with these, so that results can be compared.
    setting: Setting,
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
    /// The setting of the run that was launched last, which is that of the result shown.
    ran: Option<Setting>,
}

impl Default for Course {
    fn default() -> Self {
        Self { view: View::of(Phase::Ready, ""), run: None, last_id: 0, ran: None }
    }
}

/// Said when a second run is asked for.
const BUSY: &str = "A run is going on. Cancel it, or wait.";
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

    /// Whether the result shown is of another setting than the present one.
    #[must_use]
    pub fn is_stale(&self, present: &Setting) -> bool {
        self.ran.as_ref().is_some_and(|ran| ran != present)
    }

    /// One step. `now_ms` is any clock that does not jump.
    pub fn step(&mut self, input: Input, now_ms: f64) -> Vec<Effect> {
        match input {
            Input::Start { .. } if self.run.is_some() => {
                self.say(BUSY);
                Vec::new()
            }
            // Whoever asks looks again when the present run is over.
            Input::Again(_) if self.run.is_some() => Vec::new(),
            Input::Start { wish, setting } => {
                self.ran = None;
                let plan = self.start(wish, setting, now_ms);
                vec![Effect::Clear, plan]
            }
            Input::Again(setting) => {
                let plan = self.start(Wish::Chosen, setting, now_ms);
                self.view.quiet = true;
                self.view.message = LIVE.to_owned();
                vec![plan]
            }
            Input::Planned { run_id, targets, remark } if self.run_id() == Some(run_id) => {
                let (Some(run), Some(kind)) = (&mut self.run, targets.first().copied()) else { return Vec::new() };
                run.targets = targets;
                run.remark = remark;
                let setting = run.setting.clone();
                self.ran = Some(setting.clone());
                self.say("Starting the engine.");
                vec![Effect::Launch { run_id, kind, setting }]
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
                *self = Self { last_id: self.last_id, ..Self::default() };
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

    /// A new run; where it takes place is still to be decided.
    fn start(&mut self, wish: Wish, setting: Setting, now_ms: f64) -> Effect {
        self.last_id += 1;
        let (run_id, device) = (self.last_id, setting.device);
        self.run = Some(Run {
            id: run_id,
            setting,
            targets: vec![],
            remark: String::new(),
            device: None,
            records: vec![],
            started_ms: now_ms,
        });
        self.view = View::of(Phase::Running, "Looking for the engine.");
        Effect::Plan { run_id, wish, device }
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab_api::{DeviceChoice, Environment, Report};

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

    pub(super) fn record(kind: DeviceKind) -> Box<RunRecord> {
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

    /// The controls at this number of bits.
    pub(super) fn with_bits(bits: u8) -> Setting {
        let mut setting = Setting::default_of(&[]);
        setting.values.insert("bits".into(), bits.into());
        setting
    }

    pub(super) fn start(bits: u8) -> Input {
        Input::Start { wish: Wish::Chosen, setting: with_bits(bits) }
    }

    pub(super) fn plan(run_id: u32) -> Effect {
        Effect::Plan { run_id, wish: Wish::Chosen, device: DeviceChoice::Auto }
    }

    pub(super) fn planned(run_id: u32, targets: &[DeviceKind]) -> Input {
        Input::Planned { run_id, targets: targets.to_vec(), remark: String::new() }
    }

    pub(super) fn done(run_id: u32, kind: DeviceKind) -> Input {
        Input::Said(Event::Done { run_id, record: record(kind) })
    }

    /// A course that runs with 8 bits on these devices.
    pub(super) fn running(targets: &[DeviceKind]) -> Course {
        let mut course = Course::default();
        assert_eq!(course.step(start(8), 0.0), [Effect::Clear, plan(1)]);
        let launch = Effect::Launch { run_id: 1, kind: targets[0], setting: with_bits(8) };
        assert_eq!(course.step(planned(1, targets), 0.0), [launch]);
        let started = Event::Started { run_id: 1, device: device(targets[0]) };
        course.step(Input::Said(started), 0.0);
        course
    }

    #[test]
    fn a_second_run_is_refused_while_the_first_goes_on() {
        let mut course = running(&[DeviceKind::Cpu]);
        assert_eq!(course.step(start(8), 0.0), []);
        assert_eq!((course.view().phase, course.view().message.as_str()), (Phase::Running, BUSY));
        assert_eq!(course.run_id(), Some(1));
    }

    #[test]
    fn late_words_of_an_earlier_run_change_nothing() {
        let mut course = running(&[DeviceKind::Cpu]);
        course.step(Input::Cancel, 0.0);
        course.step(Input::CancelOverdue { run_id: 1 }, 0.0);
        course.step(start(8), 0.0);
        assert_eq!(course.step(done(1, DeviceKind::Cpu), 0.0), []);
        assert_eq!((course.view().phase, course.run_id()), (Phase::Running, Some(2)));
    }

    #[test]
    fn controls_that_move_during_a_run_change_neither_it_nor_those_that_follow() {
        let mut asked = with_bits(8);
        (asked.seed, asked.device) = (7, DeviceChoice::Cpu);
        asked.take_file("weights", Some("a handle".into()));
        let mut course = Course::default();
        let both = Input::Start { wish: Wish::Both, setting: asked.clone() };
        let plan = Effect::Plan { run_id: 1, wish: Wish::Both, device: DeviceChoice::Cpu };
        assert_eq!(course.step(both, 0.0), [Effect::Clear, plan]);
        // The reader moves a control and presses Run, before it is known where to run and then in mid-run.
        for (next, run_id, kind) in [
            (planned(1, &[DeviceKind::Cpu, DeviceKind::Webgpu]), 1, DeviceKind::Cpu),
            (done(1, DeviceKind::Cpu), 2, DeviceKind::Webgpu),
        ] {
            assert_eq!(course.step(Input::Again(with_bits(4)), 0.0), []);
            assert_eq!(course.step(start(4), 0.0), []);
            assert_eq!(course.step(next, 0.0), [Effect::Launch { run_id, kind, setting: asked.clone() }]);
        }
        course.step(done(2, DeviceKind::Webgpu), 0.0);
        assert_eq!(course.view().phase, Phase::Done);
        assert!(course.is_stale(&with_bits(4)), "the result is of the setting before");
        assert!(!course.is_stale(&asked), "the controls are back where they were");
        let mut other = asked.clone();
        other.take_file("weights", Some("a handle of another file of this name".into()));
        assert!(course.is_stale(&other));
        other = Setting { seed: 8, ..asked };
        assert!(course.is_stale(&other));
    }

    #[test]
    fn what_shows_no_result_is_not_out_of_date() {
        let mut course = running(&[DeviceKind::Cpu]);
        course.step(done(1, DeviceKind::Cpu), 0.0);
        assert!(course.is_stale(&with_bits(4)));
        let mut again = course.clone();
        again.step(start(4), 0.0);
        assert!(!again.is_stale(&with_bits(3)), "the old result is cleared, and the new run not begun");
        course.step(Input::Reset, 0.0);
        assert!(!course.is_stale(&with_bits(4)));
    }

    #[test]
    fn a_live_run_keeps_the_old_result_and_its_peace() {
        let mut course = running(&[DeviceKind::Cpu]);
        course.step(done(1, DeviceKind::Cpu), 10.0);
        assert_eq!(course.step(Input::Again(with_bits(4)), 20.0), [plan(2)]);
        assert!(course.view().quiet && course.view().phase == Phase::Running);
        // A change in mid-run starts nothing; a press of Run neither.
        assert_eq!(course.step(Input::Again(with_bits(3)), 21.0), []);
        assert_eq!(course.step(start(3), 21.0), []);
        let launch = Effect::Launch { run_id: 2, kind: DeviceKind::Cpu, setting: with_bits(4) };
        assert_eq!(course.step(planned(2, &[DeviceKind::Cpu]), 22.0), [launch]);
        course.step(Input::Said(Event::Started { run_id: 2, device: device(DeviceKind::Cpu) }), 23.0);
        let partial = Event::Partial { run_id: 2, report: Report::default() };
        assert_eq!(course.step(Input::Said(partial), 24.0), []);
        let words = course.view().message.clone();
        let end = course.step(done(2, DeviceKind::Cpu), 30.0);
        assert!(matches!(&end[..], [Effect::Show(_)]));
        // Whoever follows the controls sees that they have gone on.
        assert!(course.is_stale(&with_bits(3)) && !course.is_stale(&with_bits(4)));
        assert_eq!((course.view().phase, &course.view().message), (Phase::Done, &words));
    }

    #[test]
    fn a_live_run_that_takes_long_shows_how_far_it_is() {
        let mut course = Course::default();
        course.step(Input::Again(with_bits(8)), 0.0);
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
