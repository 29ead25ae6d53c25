//! The widget as a whole, and how it comes into the page.

use leptos::html;
use leptos::prelude::*;
use wasm_bindgen::{JsCast, closure::Closure};
use wasm_bindgen_futures::spawn_local;
use web_sys::{HtmlElement, MutationObserver, MutationObserverInit, ResizeObserver};

use crate::actions::{Lab, Wish};
use crate::controls::controls;
use crate::{Adapter, LabData, Phase, page};

/// Brings a lab's section to life: reads its data, takes the place of the skeleton, sets `data-state` to `ready`. A section
/// without usable data says so and stays readable.
pub fn mount(section: HtmlElement) {
    let Ok(Some(place)) = section.query_selector("[data-lab-widget]") else {
        let _ = section.set_attribute("data-state", "failed");
        return;
    };
    let place: HtmlElement = place.unchecked_into();
    match read(&section) {
        Ok(data) => {
            place.set_inner_html("");
            leptos::mount::mount_to(place, move || widget(Lab::new(data, section))).forget();
        }
        Err(why) => {
            let _ = section.set_attribute("data-state", "failed");
            place.set_inner_html("<p class=\"lab-message\" data-lab-message role=\"alert\"></p>");
            if let Ok(Some(message)) = place.query_selector("p") {
                let words =
                    format!("This lab cannot be started: {why}. Reload the page; the reference below is unaffected.");
                message.set_text_content(Some(&words));
            }
        }
    }
}

fn read(section: &HtmlElement) -> Result<LabData, String> {
    let script = section.query_selector("script[data-lab-data]").ok().flatten();
    let text = script.and_then(|script| script.text_content()).ok_or("its data are missing from the page")?;
    serde_json::from_str(&text).map_err(|error| format!("its data in the page cannot be read ({error})"))
}

fn widget(lab: Lab) -> impl IntoView {
    let (run, cancel) = (NodeRef::<html::Button>::new(), NodeRef::<html::Button>::new());
    keep_focus(lab, run, cancel);
    Effect::new(move |_| {
        if let Some(area) = lab.results.get() {
            watch(lab, &area);
        }
    });
    let running = move || lab.view.with(|view| view.phase == Phase::Running);
    let copied = RwSignal::new(String::new());
    view! {
        <form class="lab-form" novalidate on:submit=move |event| event.prevent_default()>
            {controls(lab)}
            {unknown(lab)}
            <div class="lab-actions">
                <button
                    type="button"
                    class="primary"
                    data-action="run"
                    node_ref=run
                    disabled=running
                    on:click=move |_| lab.start(Wish::Chosen)
                >
                    "Run"
                </button>
                <button
                    type="button"
                    data-action="cancel"
                    node_ref=cancel
                    disabled=move || !running()
                    on:click=move |_| lab.cancel()
                >
                    "Cancel"
                </button>
                <button type="button" data-action="reset" on:click=move |_| lab.reset()>"Reset"</button>
                <button type="button" data-action="link" on:click=move |_| copy(lab, copied)>"Copy link"</button>
                {move || {
                    let found = lab.adapter.get().is_some_and(|adapter| adapter != Adapter::None);
                    found
                        .then(|| {
                            view! {
                                <button
                                    type="button"
                                    data-action="compare"
                                    disabled=running
                                    on:click=move |_| lab.start(Wish::Both)
                                >
                                    "Run on both devices"
                                </button>
                            }
                        })
                }}
            </div>
            {status(lab)}
            <p class="visually-hidden" role="status">{move || copied.get()}</p>
        </form>
        {results(lab)}
    }
}

/// Message, progress, and the way out after a failure of the GPU.
fn status(lab: Lab) -> impl IntoView {
    let phase = Memo::new(move |_| lab.view.with(|view| view.phase));
    let message = Memo::new(move |_| lab.view.with(|view| view.message.clone()));
    let stage = Memo::new(move |_| lab.view.with(|view| view.stage.clone()));
    let fraction = Memo::new(move |_| lab.view.with(|view| view.fraction));
    let offer = Memo::new(move |_| lab.view.with(|view| view.offer_cpu));
    let idle = "Press Run: the lab computes on this device, and nothing leaves it.";
    view! {
        <div class="lab-status">
            <p
                class="lab-message"
                data-lab-message
                role=move || if phase.get() == Phase::Failed { "alert" } else { "status" }
            >
                {move || if phase.get() == Phase::Ready { idle.to_owned() } else { message.get() }}
            </p>
            {move || {
                (phase.get() == Phase::Running)
                    .then(|| {
                        // Without a value the bar says "going on", not "how far".
                        view! {
                            <div class="lab-progress">
                                <progress
                                    max="1"
                                    aria-label="Progress of the run"
                                    value=move || fraction.get().map(|f| format!("{f:.3}"))
                                ></progress>
                                <span class="lab-stage">{move || stage.get()}</span>
                            </div>
                        }
                    })
            }}
            {move || {
                offer
                    .get()
                    .then(|| {
                        view! {
                            <button type="button" data-action="run-cpu" on:click=move |_| lab.start(Wish::Cpu)>
                                "Run on the CPU"
                            </button>
                        }
                    })
            }}
        </div>
    }
}

/// What a link asked for that the lab does not have.
fn unknown(lab: Lab) -> impl IntoView {
    let names: Vec<String> = lab.inner().data.params.iter().map(|spec| spec.name.clone()).collect();
    let strangers = Memo::new(move |_| {
        lab.problems.with(|problems| {
            let strange = |name: &&String| !names.contains(name) && !matches!(name.as_str(), "seed" | "device");
            problems.iter().filter(|(name, _)| strange(name)).map(|(n, w)| (n.clone(), w.clone())).collect::<Vec<_>>()
        })
    });
    move || {
        let strangers = strangers.get();
        (!strangers.is_empty()).then(|| {
            let items = strangers
                .into_iter()
                .map(|(name, why)| {
                    view! { <li class="control-problem" data-problem=name.clone()>"“" {name.clone()} "” in the link: " {why}</li> }
                })
                .collect_view();
            view! { <ul class="lab-problems">{items}</ul> }
        })
    }
}

fn results(lab: Lab) -> impl IntoView {
    let phase = Memo::new(move |_| lab.view.with(|view| view.phase));
    let shown = move || matches!(phase.get(), Phase::Running | Phase::Done);
    let stale = Memo::new(move |_| {
        phase.get() == Phase::Done
            && lab.ran.with(|ran| ran.as_ref().is_some_and(|ran| lab.setting.with(|now| now != ran)))
    });
    let title = format!("{}-run-title", lab.inner().data.lab);
    let heading = title.clone();
    view! {
        <section class="lab-results" data-source="run" hidden=move || !shown() aria-labelledby=heading>
            <div class="lab-results-head">
                <h4 id=title>"Your run"</h4>
                <p class="lab-stale">
                    {move || if stale.get() { "The controls have changed since this run." } else { "" }}
                </p>
            </div>
            <div class="lab-results-body" node_ref=lab.results></div>
        </section>
    }
}

/// A pressed button that is switched off would lose the keyboard's place: Run hands it to Cancel, and gets it back.
fn keep_focus(lab: Lab, run: NodeRef<html::Button>, cancel: NodeRef<html::Button>) {
    let phase = Memo::new(move |_| lab.view.with(|view| view.phase));
    Effect::new(move |before: Option<Phase>| {
        let now = phase.get();
        let active = page::window().and_then(|w| w.document()).and_then(|d| d.active_element());
        let (Some(run), Some(cancel)) = (run.get(), cancel.get()) else { return now };
        let had = |button: &HtmlElement| {
            let lost = active.as_ref().is_none_or(|element| element.tag_name() == "BODY");
            lost || active.as_ref().is_some_and(|element| element.is_same_node(Some(button)))
        };
        let (from, to): (HtmlElement, HtmlElement) = match (before, now) {
            (Some(old), Phase::Running) if old != Phase::Running => (run.into(), cancel.into()),
            (Some(Phase::Running), new) if new != Phase::Running => (cancel.into(), run.into()),
            _ => return now,
        };
        if had(&from) {
            spawn_local(async move {
                page::next_frame().await;
                let options = web_sys::FocusOptions::new();
                options.set_prevent_scroll(true);
                let _ = to.focus_with_options(&options);
            });
        }
        now
    });
}

fn copy(lab: Lab, copied: RwSignal<String>) {
    let Some(address) = lab.address(true) else { return };
    spawn_local(async move {
        let words = if page::copy(&address).await {
            "Link copied.".to_owned()
        } else {
            page::replace_address(&address);
            "The browser keeps the clipboard from us: copy the link from the address bar.".to_owned()
        };
        copied.set(words);
        page::sleep(4000).await;
        copied.set(String::new());
    });
}

/// Draws the charts again when the theme or the width changes.
fn watch(lab: Lab, area: &HtmlElement) {
    let repaint = Closure::<dyn FnMut()>::new(move || lab.repaint());
    let root = page::window().and_then(|w| w.document()).and_then(|d| d.document_element());
    if let (Some(root), Ok(observer)) = (root, MutationObserver::new(repaint.as_ref().unchecked_ref())) {
        let options = MutationObserverInit::new();
        options.set_attributes(true);
        options.set_attribute_filter(&js_sys::Array::of1(&"data-theme".into()));
        let _ = observer.observe_with_options(&root, &options);
    }
    // Lives as long as the page.
    repaint.forget();
    let mut width = 0;
    let observed = area.clone();
    let resized = Closure::<dyn FnMut()>::new(move || {
        // Its height changes with every result; only another width needs other pictures.
        if observed.client_width() != width {
            width = observed.client_width();
            lab.repaint();
        }
    });
    if let Ok(observer) = ResizeObserver::new(resized.as_ref().unchecked_ref()) {
        observer.observe(area);
    }
    resized.forget();
}
