//! One lab in one page: carries out what its [`Course`] decides.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use lab_api::{Chart, DeviceChoice, DeviceKind, Link, Report, Request, RunRecord, RunRequest};
use lab_charts::{ChartMode, compare_html, partial_html, run_html};
use leptos::html;
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use web_sys::HtmlElement;

use crate::canvas::paint;
use crate::engine::{Engine, Files, Heard};
use crate::page;
use crate::setting::instead;
use crate::{Adapter, Course, Effect, Input, LabData, Manifest, Setting, Trouble, View, choose};

/// Time a worker has to answer a cancellation, in milliseconds.
const PATIENCE_MS: i32 = 150;
/// Shortest time between two drawings of a partial report, in milliseconds.
const PARTIAL_MS: f64 = 400.0;

/// A live lab runs again this long after a control has changed, so that a slider in motion asks for a few runs a second, in
/// milliseconds.
const FOLLOW_MS: i32 = 120;

/// What a run was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// One run where the reader chose.
    Chosen,
    /// One run on the CPU, whatever was chosen.
    Cpu,
    /// A run on each device.
    Both,
}

/// What a lab in the page holds. Signals of it would be of many types, and each type is code in the WASM; so it stands in
/// cells, and two counters tell views and effects when to look again.
pub(crate) struct Inner {
    pub(crate) data: LabData,
    section: HtmlElement,
    root: String,
    course: RefCell<Course>,
    setting: RefCell<Setting>,
    problems: RefCell<Vec<(String, String)>>,
    files: RefCell<Files>,
    /// `None` until the browser has answered.
    adapter: Cell<Option<Adapter>>,
    /// The setting of the result that is shown.
    ran: RefCell<Option<Setting>>,
    engines: RefCell<[Option<Engine>; 2]>,
    manifest: RefCell<Option<Manifest>>,
    wish: Cell<Wish>,
    /// What stands on the canvases.
    charts: RefCell<Rc<Vec<Chart>>>,
    /// Counts what was shown, so that a slow drawing notices that it is out of date.
    shown: Cell<u32>,
    partial_ms: Cell<f64>,
    /// A live lab is about to run again.
    following: Cell<bool>,
}

/// A lab in the page: a handle that views and effects can hold.
#[derive(Clone, Copy)]
pub(crate) struct Lab {
    inner: StoredValue<Rc<Inner>, LocalStorage>,
    /// The course of the run went on.
    moved: RwSignal<u32>,
    /// The setting, its problems or the adapter changed.
    changed: RwSignal<u32>,
    /// The element that holds the widget.
    pub(crate) root: NodeRef<html::Div>,
}

/// The place of an engine.
fn place(kind: DeviceKind) -> usize {
    match kind {
        DeviceKind::Cpu => 0,
        DeviceKind::Webgpu => 1,
    }
}

impl Lab {
    pub(crate) fn new(data: LabData, section: HtmlElement) -> Self {
        let (setting, problems) = Setting::from_query(&data.lab, &data.params, &page::query());
        let inner = Inner {
            data,
            section,
            root: page::root().unwrap_or_default(),
            course: RefCell::default(),
            setting: RefCell::new(setting),
            problems: RefCell::new(problems),
            files: RefCell::default(),
            adapter: Cell::new(None),
            ran: RefCell::default(),
            engines: RefCell::default(),
            manifest: RefCell::default(),
            wish: Cell::new(Wish::Chosen),
            charts: RefCell::default(),
            shown: Cell::new(0),
            partial_ms: Cell::new(0.0),
            following: Cell::new(false),
        };
        let lab = Self {
            inner: StoredValue::new_local(Rc::new(inner)),
            moved: RwSignal::new(0),
            changed: RwSignal::new(1),
            root: NodeRef::new(),
        };
        lab.sync();
        page::spawn(async move {
            lab.inner().adapter.set(Some(page::adapter().await));
            lab.tell(lab.changed);
        });
        lab
    }

    fn tell(self, counter: RwSignal<u32>) {
        counter.set(counter.get_untracked().wrapping_add(1));
    }

    /// Reads the course; the caller is called again when it goes on.
    pub(crate) fn view<T>(self, read: impl FnOnce(&View) -> T) -> T {
        self.moved.track();
        read(self.inner().course.borrow().view())
    }

    /// A number that grows with every change of setting, problems or adapter; the caller is called again then.
    pub(crate) fn changes(self) -> u32 {
        self.changed.get()
    }

    /// Reads setting, problems and adapter.
    pub(crate) fn controls<T>(self, read: impl FnOnce(&Setting, &[(String, String)], Option<Adapter>) -> T) -> T {
        let inner = self.inner();
        read(&inner.setting.borrow(), &inner.problems.borrow(), inner.adapter.get())
    }

    /// Whether the result shown is of another setting than the present one.
    pub(crate) fn is_stale(self) -> bool {
        self.controls(|setting, _, _| self.inner().ran.borrow().as_ref().is_some_and(|ran| ran != setting))
    }

    pub(crate) fn inner(self) -> Rc<Inner> {
        self.inner.get_value()
    }

    // Controls.

    /// Takes a value from a control, or says beside it why not.
    pub(crate) fn set_param(self, name: &str, text: &str) {
        let inner = self.inner();
        let Some(spec) = inner.data.params.iter().find(|spec| spec.name == name) else { return };
        match spec.parse(text) {
            Ok(value) => {
                inner.setting.borrow_mut().values.insert(spec.name.clone(), value);
                self.accepted(name);
            }
            Err(why) => self.refused(name, &why),
        }
    }

    /// As [`Self::set_param`], for a file; without one the lab takes its own.
    pub(crate) fn set_file(self, name: &str, file: Option<web_sys::File>) {
        let words = file.as_ref().map(web_sys::File::name).unwrap_or_default();
        let inner = self.inner();
        inner.files.borrow_mut().retain(|(of, _)| of != name);
        inner.files.borrow_mut().extend(file.map(|file| (name.to_owned(), file)));
        self.set_param(name, &words);
    }

    /// As [`Self::set_param`], for the seed.
    pub(crate) fn set_seed(self, text: &str) {
        let link = Link::read(&[], [("seed", text)]);
        match link.problems.first() {
            None => {
                self.inner().setting.borrow_mut().seed = link.seed;
                self.accepted("seed");
            }
            Some(problem) => self.refused("seed", &problem.why),
        }
    }

    pub(crate) fn set_device(self, device: DeviceChoice) {
        self.inner().setting.borrow_mut().device = device;
        self.accepted("device");
    }

    /// The value of a control as text.
    pub(crate) fn text(self, name: &str) -> String {
        self.inner().setting.borrow().text(name)
    }

    fn accepted(self, name: &str) {
        self.inner().problems.borrow_mut().retain(|(of, _)| of != name);
        self.tell(self.changed);
        if let Some(address) = self.address(false) {
            page::replace_address(&address);
        }
        self.follow();
    }

    /// In a live lab that has run: runs again soon, if the result shown is not of the present setting then.
    fn follow(self) {
        let inner = self.inner();
        if !inner.data.live || inner.following.replace(true) {
            return;
        }
        page::spawn(async move {
            page::sleep(FOLLOW_MS).await;
            inner.following.set(false);
            if self.is_stale() {
                if inner.course.borrow().run_id().is_none() {
                    inner.wish.set(Wish::Chosen);
                }
                self.step(Input::Again);
            }
        });
    }

    fn refused(self, name: &str, why: &str) {
        let why = instead(why, &self.text(name));
        let inner = self.inner();
        inner.problems.borrow_mut().retain(|(of, _)| of != name);
        inner.problems.borrow_mut().push((name.to_owned(), why));
        self.tell(self.changed);
    }

    /// The address of this setting. Where everything is at its default it needs no query, unless it is `explicit`.
    pub(crate) fn address(self, explicit: bool) -> Option<String> {
        let inner = self.inner();
        let mut pairs = inner.setting.borrow().pairs(&inner.data.lab, &inner.data.params);
        if pairs.len() == 1 && !explicit {
            pairs.clear();
        }
        page::address(&pairs, &format!("lab-{}", inner.data.lab))
    }

    // The course of a run.

    pub(crate) fn start(self, wish: Wish) {
        let inner = self.inner();
        if inner.course.borrow().run_id().is_none() {
            inner.wish.set(wish);
        }
        self.step(Input::Start);
    }

    pub(crate) fn cancel(self) {
        self.step(Input::Cancel);
    }

    pub(crate) fn reset(self) {
        let inner = self.inner();
        *inner.setting.borrow_mut() = Setting::default_of(&inner.data.params);
        inner.problems.borrow_mut().clear();
        inner.files.borrow_mut().clear();
        self.accepted("");
        self.step(Input::Reset);
    }

    fn step(self, input: Input) {
        let inner = self.inner();
        let effects = inner.course.borrow_mut().step(input, page::now_ms());
        self.sync();
        for effect in effects {
            self.perform(effect);
        }
    }

    /// Shows the reader where the course is.
    fn sync(self) {
        let inner = self.inner();
        let word = inner.course.borrow().view().phase.word();
        let _ = inner.section.set_attribute("data-state", word);
        self.tell(self.moved);
    }

    fn perform(self, effect: Effect) {
        let inner = self.inner();
        match effect {
            Effect::Clear => {
                inner.ran.replace(None);
                self.show("", Vec::new());
            }
            Effect::Plan { run_id } => page::spawn(async move {
                self.step(match self.plan(inner.wish.get()).await {
                    Ok((targets, remark)) => Input::Planned { run_id, targets, remark },
                    Err(trouble) => Input::Unavailable { run_id, trouble },
                });
            }),
            Effect::Launch { run_id, kind } => {
                if let Err(trouble) = self.launch(run_id, kind) {
                    self.step(Input::Unavailable { run_id, trouble });
                }
            }
            Effect::AskToStop { run_id, kind } => {
                if let Some(engine) = &inner.engines.borrow()[place(kind)] {
                    // A worker that cannot be told is terminated below.
                    let _ = engine.send(&Request::Cancel, &Files::new());
                }
                page::spawn(async move {
                    page::sleep(PATIENCE_MS).await;
                    self.step(Input::CancelOverdue { run_id });
                });
            }
            Effect::Terminate(kind) => {
                let engine = inner.engines.borrow_mut()[place(kind)].take();
                // Dropping it drops the closure that may be calling us just now: let it return first.
                page::spawn(async move { drop(engine) });
            }
            Effect::ShowPartial(report) => self.show_partial(report),
            Effect::Show(records) => {
                self.show_result(records);
                // The controls may have gone on while it ran.
                self.follow();
            }
        }
    }

    /// Where to run. A live engine needs no network; else the manifest says which are built.
    async fn plan(self, wish: Wish) -> Result<(Vec<DeviceKind>, String), Trouble> {
        let inner = self.inner();
        let choice = match wish {
            Wish::Cpu => DeviceChoice::Cpu,
            Wish::Chosen | Wish::Both => inner.setting.borrow().device,
        };
        let adapter = match (wish, choice) {
            (Wish::Cpu, _) | (Wish::Chosen, DeviceChoice::Cpu) => Adapter::None,
            _ => page::adapter().await,
        };
        let lives = |kind| inner.engines.borrow()[place(kind)].is_some();
        let all = [DeviceKind::Cpu, DeviceKind::Webgpu];
        // What is already here is not asked for again, so that a second run works without a network.
        if !(lives(DeviceKind::Cpu) && (adapter == Adapter::None || lives(DeviceKind::Webgpu))) {
            let known = fetch_manifest(&inner.root).await;
            match known {
                Ok(manifest) => *inner.manifest.borrow_mut() = Some(manifest),
                Err(trouble) if !all.into_iter().any(lives) => return Err(trouble),
                Err(_) => {}
            }
        }
        let built = |kind| lives(kind) || inner.manifest.borrow().as_ref().is_some_and(|m| m.bundle(kind).is_some());
        if wish == Wish::Both {
            choose(DeviceChoice::Cpu, adapter, built)?;
            choose(DeviceChoice::Webgpu, adapter, built)?;
            return Ok((all.to_vec(), String::new()));
        }
        choose(choice, adapter, built).map(|(kind, remark)| (vec![kind], remark.to_owned()))
    }

    fn launch(self, run_id: u32, kind: DeviceKind) -> Result<(), Trouble> {
        let inner = self.inner();
        let on_gpu = kind == DeviceKind::Webgpu;
        let failed = |why: String| {
            Trouble::new(format!("The engine could not be started: {why}. Press Run to try again."), on_gpu)
        };
        if inner.engines.borrow()[place(kind)].is_none() {
            let entry = inner.manifest.borrow().as_ref().and_then(|m| m.bundle(kind)).map(|b| b.entry.clone());
            let entry = entry.ok_or_else(|| failed("it is not built".to_owned()))?;
            let hear = Rc::new(move |heard| match heard {
                Heard::Said(event) => self.step(Input::Said(event)),
                Heard::Broke(why) => self.step(Input::Broke { kind, why }),
            });
            let engine = Engine::start(&format!("{}{entry}", inner.root), hear).map_err(failed)?;
            inner.engines.borrow_mut()[place(kind)] = Some(engine);
        }
        let setting = inner.setting.borrow().clone();
        let request = RunRequest {
            run_id,
            lab: inner.data.lab.clone(),
            values: setting.values,
            seed: setting.seed,
            device: if on_gpu { DeviceChoice::Webgpu } else { DeviceChoice::Cpu },
            assets: inner.data.assets.clone(),
            root: inner.root.clone(),
        };
        inner.ran.replace(Some(inner.setting.borrow().clone()));
        match &inner.engines.borrow()[place(kind)] {
            Some(engine) => engine.send(&Request::Run(request), &inner.files.borrow()).map_err(failed),
            None => Err(failed("it is gone".to_owned())),
        }
    }

    // Results.

    fn show_partial(self, report: Report) {
        let inner = self.inner();
        let now = page::now_ms();
        if now - inner.partial_ms.get() < PARTIAL_MS {
            return;
        }
        inner.partial_ms.set(now);
        let html = partial_html(&inner.data.lab, &report, ChartMode::Canvas);
        self.show(&html, report.charts);
    }

    fn show_result(self, mut records: Vec<RunRecord>) {
        let inner = self.inner();
        let html = match &records[..] {
            [one] => run_html(one, inner.data.reference.as_ref(), ChartMode::Canvas),
            [cpu, gpu] => compare_html(cpu, gpu),
            _ => return,
        };
        let charts = if records.len() == 1 { std::mem::take(&mut records[0].report.charts) } else { Vec::new() };
        self.show(&html, charts);
    }

    /// Puts HTML of [`lab_charts`] (which escapes all text) into the place of results, and draws its charts.
    fn show(self, html: &str, charts: Vec<Chart>) {
        let inner = self.inner();
        *inner.charts.borrow_mut() = Rc::new(charts);
        if let Some(area) = self.results() {
            // What the reader has unfolded stays so: in a live lab the next result is a moment away.
            let open = page::find_all(&area, "details").into_iter().map(|e| e.has_attribute("open"));
            let open: Vec<bool> = open.collect();
            area.set_inner_html(html);
            for (details, open) in page::find_all(&area, "details").into_iter().zip(open) {
                let _ = details.toggle_attribute_with_force("open", open);
            }
        }
        self.repaint();
    }

    /// Where results stand.
    pub(crate) fn results(self) -> Option<HtmlElement> {
        let root: HtmlElement = self.root.get_untracked()?.into();
        Some(page::find(&root, ".lab-results-body")?.unchecked_into())
    }

    /// Draws all canvases anew: after new results, in another theme, at another width.
    pub(crate) fn repaint(self) {
        let inner = self.inner();
        let Some(area) = self.results() else { return };
        let mine = inner.shown.get().wrapping_add(1);
        inner.shown.set(mine);
        let charts = Rc::clone(&inner.charts.borrow());
        page::spawn(async move {
            paint(area, &charts, inner.data.live, || inner.shown.get() == mine).await;
        });
    }
}

async fn fetch_manifest(root: &str) -> Result<Manifest, Trouble> {
    let trouble = |why: String| {
        let words =
            format!("The engine could not be fetched ({why}). Check the connection, then press Run to try again.");
        Trouble::new(words, false)
    };
    let text = page::fetch_text(&format!("{root}pkg/manifest.json")).await.map_err(trouble)?;
    Manifest::from_json(&text).map_err(|error| trouble(format!("pkg/manifest.json: {error}")))
}
