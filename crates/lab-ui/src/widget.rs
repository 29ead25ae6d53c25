//! The widget as a whole, and how it comes into the page.

use leptos::html;
use leptos::prelude::*;
use wasm_bindgen::{JsCast, closure::Closure};
use wasm_bindgen_futures::spawn_local;
use web_sys::{Element, FocusOptions, HtmlElement, MutationObserver, MutationObserverInit, ResizeObserver};

use crate::actions::{Lab, Wish};
use crate::{Adapter, LabData, Phase, controls, markup, page};

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
            let words =
                format!("This lab cannot be started: {why}. Reload the page; the reference below is unaffected.");
            let words = lab_charts::escape(&words);
            place.set_inner_html(&format!("<p class=\"lab-message\" data-lab-message role=\"alert\">{words}</p>"));
        }
    }
}

fn read(section: &HtmlElement) -> Result<LabData, String> {
    let script = section.query_selector("script[data-lab-data]").ok().flatten();
    let text = script.and_then(|script| script.text_content()).ok_or("its data are missing from the page")?;
    LabData::from_json(&text).map_err(|error| format!("its data in the page cannot be read ({error})"))
}

/// Signals instead of closures, and one listener at the form instead of one per element: each type of its own that a view
/// holds is code of its own in the WASM.
fn widget(lab: Lab) -> impl IntoView {
    let controls_area = NodeRef::<html::Div>::new();
    let buttons = NodeRef::<html::Div>::new();
    let inner = lab.inner();
    let (id, specs) = (inner.data.lab.clone(), inner.data.params.clone());
    let controls_html = markup::controls(&id, &specs);
    let run_title = format!("{id}-run-title");
    let heading = run_title.clone();
    let names: Vec<String> = specs.iter().map(|spec| spec.name.clone()).collect();

    Effect::new(move |_| {
        let (problems, adapter) = (lab.problems.get(), lab.adapter.get());
        let setting = lab.setting.get();
        if let Some(area) = controls_area.get() {
            controls::show(&specs, &area, &setting, &problems, adapter);
        }
    });
    Effect::new(move |_| {
        if let Some(area) = lab.results.get() {
            watch(lab, &area);
        }
    });
    keep_focus(lab, buttons);

    let phase = move || lab.view.with(|view| view.phase);
    let running = Signal::derive(move || phase() == Phase::Running);
    let idle = Signal::derive(move || phase() != Phase::Running);
    let message = Signal::derive(move || {
        lab.view.with(|view| match view.phase {
            Phase::Ready => "Press Run: the lab computes on this device, and nothing leaves it.".to_owned(),
            _ => view.message.clone(),
        })
    });
    let role = Signal::derive(move || if phase() == Phase::Failed { "alert" } else { "status" }.to_owned());
    let stage = Signal::derive(move || lab.view.with(|view| view.stage.clone()));
    // Without a value the bar says "going on", not "how far".
    let fraction = Signal::derive(move || lab.view.with(|view| view.fraction.map(|share| format!("{share:.3}"))));
    let no_offer = Signal::derive(move || lab.view.with(|view| !view.offer_cpu));
    let alone = Signal::derive(move || lab.adapter.get().is_none_or(|adapter| adapter == Adapter::None));
    let no_results = Signal::derive(move || !matches!(phase(), Phase::Running | Phase::Done));
    let stale = Signal::derive(move || {
        let changed = lab.ran.with(|ran| ran.as_ref().is_some_and(|ran| lab.setting.with(|now| now != ran)));
        if phase() == Phase::Done && changed { "The controls have changed since this run." } else { "" }.to_owned()
    });
    let strangers = Signal::derive(move || lab.problems.with(|problems| unknown(problems, &names)));

    view! {
        <form
            class="lab-form"
            novalidate
            on:submit=move |event| event.prevent_default()
            on:input=move |event| controls::changed(lab, &event)
            on:change=move |event| controls::changed(lab, &event)
            on:click=move |event| pressed(lab, &event)
        >
            <div class="lab-controls" node_ref=controls_area inner_html=controls_html></div>
            <ul class="lab-problems" inner_html=strangers></ul>
            <div class="lab-actions" node_ref=buttons>
                <button type="button" class="primary" data-action="run" disabled=running>"Run"</button>
                <button type="button" data-action="cancel" disabled=idle>"Cancel"</button>
                <button type="button" data-action="reset">"Reset"</button>
                <button type="button" data-action="link">"Copy link"</button>
                <button type="button" data-action="compare" disabled=running hidden=alone>"Run on both devices"</button>
            </div>
            <div class="lab-status">
                <p class="lab-message" data-lab-message role=role>{message}</p>
                <div class="lab-progress" hidden=idle>
                    <progress max="1" aria-label="Progress of the run" value=fraction></progress>
                    <span class="lab-stage">{stage}</span>
                </div>
                <button type="button" data-action="run-cpu" hidden=no_offer>"Run on the CPU"</button>
            </div>
        </form>
        <section class="lab-results" data-source="run" hidden=no_results aria-labelledby=heading>
            <div class="lab-results-head">
                <h4 id=run_title>"Your run"</h4>
                <p class="lab-stale" role="status">{stale}</p>
            </div>
            <div class="lab-results-body" node_ref=lab.results></div>
        </section>
    }
}

/// What a link asked for that the lab does not have.
fn unknown(problems: &[(String, String)], names: &[String]) -> String {
    let strange = |name: &String| !names.contains(name) && name != "seed" && name != "device";
    let items = problems.iter().filter(|(name, _)| strange(name)).map(|(name, why)| {
        let (name, why) = (lab_charts::escape(name), lab_charts::escape(why));
        format!("<li class=\"control-problem\" data-problem=\"{name}\">“{name}” in the link: {why}</li>")
    });
    items.collect()
}

/// A press of any button.
fn pressed(lab: Lab, event: &web_sys::MouseEvent) {
    let target = event.target().and_then(|target| target.dyn_into::<Element>().ok());
    let Some(button) = target.and_then(|target| target.closest("[data-action]").ok().flatten()) else { return };
    match button.get_attribute("data-action").unwrap_or_default().as_str() {
        "run" => lab.start(Wish::Chosen),
        "run-cpu" => lab.start(Wish::Cpu),
        "compare" => lab.start(Wish::Both),
        "cancel" => lab.cancel(),
        "reset" => lab.reset(),
        "link" => copy(lab, button),
        _ => {}
    }
}

/// A pressed button that is switched off would lose the keyboard's place: Run hands it to Cancel, and gets it back.
fn keep_focus(lab: Lab, buttons: NodeRef<html::Div>) {
    Effect::new(move |before: Option<bool>| {
        let now = lab.view.with(|view| view.phase == Phase::Running);
        let Some(area) = buttons.get() else { return now };
        if before.is_some_and(|before| before != now) {
            // Read before the frame in which the pressed button is switched off.
            let active = page::window().and_then(|w| w.document()).and_then(|d| d.active_element());
            let ours = active.is_none_or(|active| active.tag_name() == "BODY" || area.contains(Some(&active)));
            let to = area.query_selector(if now { "[data-action=cancel]" } else { "[data-action=run]" });
            if let (true, Ok(Some(to))) = (ours, to) {
                spawn_local(async move {
                    page::next_frame().await;
                    let options = FocusOptions::new();
                    options.set_prevent_scroll(true);
                    let _ = to.unchecked_into::<HtmlElement>().focus_with_options(&options);
                });
            }
        }
        now
    });
}

/// Copies the link to this setting, and says so on the button for a moment.
fn copy(lab: Lab, button: Element) {
    let Some(address) = lab.address(true) else { return };
    spawn_local(async move {
        let words = if page::copy(&address).await {
            "Link copied"
        } else {
            // The browser keeps the clipboard to itself; the address bar has the link too.
            page::replace_address(&address);
            "Copy it from the address bar"
        };
        button.set_text_content(Some(words));
        page::sleep(2500).await;
        button.set_text_content(Some("Copy link"));
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
