//! One lab in one page: carries out what its [`Course`] decides.

mod adjust;
mod launch;
mod results;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use lab_api::{Chart, DeviceChoice, DeviceKind, Request};
use leptos::html;
use leptos::prelude::*;
use web_sys::HtmlElement;

use crate::engine::Engine;
use crate::setting::Files;
use crate::{Adapter, Course, Effect, Input, LabData, Manifest, Setting, View, Wish, page};

/// Time a worker has to answer a cancellation, in milliseconds.
const PATIENCE_MS: i32 = 150;

/// What a lab in the page holds. Signals of it would be of many types, and each type is code in the WASM; so it stands in
/// cells, and two counters tell views and effects when to look again.
pub(crate) struct Inner {
    pub(crate) data: LabData,
    section: HtmlElement,
    root: String,
    course: RefCell<Course>,
    setting: RefCell<Setting>,
    problems: RefCell<Vec<(String, String)>>,
    /// `None` until the browser has answered.
    adapter: Cell<Option<Adapter>>,
    engines: RefCell<[Option<Engine>; 2]>,
    manifest: RefCell<Option<Manifest>>,
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
            adapter: Cell::new(None),
            engines: RefCell::default(),
            manifest: RefCell::default(),
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
        lab.look_for_gpu();
        lab
    }

    /// Asks the browser for an adapter, once, and not while the reader wants the CPU: to be asked alone wakes a GPU, and some drivers fail.
    fn look_for_gpu(self) {
        let inner = self.inner();
        if inner.adapter.get().is_some() || inner.setting.borrow().device == DeviceChoice::Cpu {
            return;
        }
        page::spawn(async move {
            self.inner().adapter.set(Some(page::adapter().await));
            self.tell(self.changed);
        });
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
        let inner = self.inner();
        inner.course.borrow().is_stale(&inner.setting.borrow())
    }

    pub(crate) fn inner(self) -> Rc<Inner> {
        self.inner.get_value()
    }

    pub(crate) fn start(self, wish: Wish) {
        let setting = self.inner().setting.borrow().clone();
        self.step(Input::Start { wish, setting });
    }

    pub(crate) fn cancel(self) {
        self.step(Input::Cancel);
    }

    pub(crate) fn reset(self) {
        let inner = self.inner();
        *inner.setting.borrow_mut() = Setting::default_of(&inner.data.params);
        inner.problems.borrow_mut().clear();
        self.look_for_gpu();
        self.accepted("");
        self.step(Input::Reset);
    }

    /// Tells the engines whether the page is hidden.
    pub(crate) fn tell_hidden(self) {
        let request = Request::Hidden { hidden: page::is_hidden() };
        for engine in self.inner().engines.borrow().iter().flatten() {
            // One that cannot be told fails by itself.
            let _ = engine.send(&request, &Files::new());
        }
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
            Effect::Clear => self.show("", Vec::new()),
            Effect::Plan { run_id, wish, device } => page::spawn(async move {
                self.step(match self.plan(wish, device).await {
                    Ok((targets, remark)) => Input::Planned { run_id, targets, remark },
                    Err(trouble) => Input::Unavailable { run_id, trouble },
                });
            }),
            Effect::Launch { run_id, kind, setting } => {
                // Whoever compares a result with a guess asks what it is the result of.
                let pairs = setting.pairs(&inner.data.lab, &inner.data.params);
                let address = page::address(&pairs, "").unwrap_or_default();
                let _ = inner.section.set_attribute("data-ran", &address);
                if let Err(trouble) = self.launch(run_id, kind, setting) {
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
}
