//! The widget as a whole, and how it comes into the page.

use leptos::prelude::*;
use wasm_bindgen::{JsCast, closure::Closure};
use web_sys::{Element, HtmlElement, MutationObserver, MutationObserverInit, ResizeObserver};

use crate::actions::Lab;
use crate::{LabData, Wish, controls, drawing, markup, page, status};

/// Brings a lab's section to life: reads its data, takes the place of the skeleton, sets `data-state` to `ready`. A section
/// without usable data says so and stays readable.
pub fn mount(section: HtmlElement) {
    let Some(place) = page::find(&section, "[data-lab-widget]") else {
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
            let words = format!("This lab cannot be started: {why}. Reload the page.");
            let words = lab_charts::escape(&words);
            place.set_inner_html(&format!("<p class=\"lab-message\" data-lab-message role=\"alert\">{words}</p>"));
        }
    }
}

fn read(section: &HtmlElement) -> Result<LabData, String> {
    let script = page::find(section, "script[data-lab-data]");
    let text = script.and_then(|script| script.text_content()).ok_or("its data are missing from the page")?;
    LabData::from_json(&text).map_err(|error| format!("its data cannot be read ({error})"))
}

/// One element with its markup, one listener for each kind of event, one effect that keeps it up to date. Views of typed
/// elements would be the usual way, and three times the WASM: every type of its own is code of its own.
fn widget(lab: Lab) -> impl IntoView {
    let inner = lab.inner();
    let html = markup::widget(&inner.data.lab, &inner.data.params);
    Effect::new(move |seen: Option<u32>| {
        let Some(area) = lab.root.get() else { return 0 };
        let changed = lab.changes();
        // Numbers count from 1. Progress leaves the controls alone.
        if seen != Some(changed) {
            let specs = &inner.data.params;
            lab.controls(|setting, problems, adapter| controls::show(specs, &area, setting, problems, adapter));
        }
        if seen.unwrap_or_default() == 0 {
            watch(lab, &area);
            drawing::watch(lab, &area);
        }
        let stale = lab.is_stale();
        lab.view(|view| status::show(&area, view, inner.data.live, stale));
        changed
    });
    view! {
        <div
            node_ref=lab.root
            inner_html=html
            on:input=move |event| controls::changed(lab, &event)
            on:change=move |event| controls::changed(lab, &event)
            on:click=move |event| pressed(lab, &event)
        ></div>
    }
}

/// A press of any button.
fn pressed(lab: Lab, event: &web_sys::MouseEvent) {
    let target = event.target().and_then(|target| target.dyn_into::<Element>().ok());
    let Some(button) = target.and_then(|target| target.closest("[data-action], [data-clear]").ok().flatten()) else {
        return;
    };
    if let Some(name) = button.get_attribute("data-clear") {
        lab.set_param(&name, "");
    }
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

/// Copies the link to this setting, and says so on the button for a moment.
fn copy(lab: Lab, button: Element) {
    let Some(address) = lab.address(true) else { return };
    page::spawn(async move {
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

/// Draws the charts again when the theme or the width changes, and tells the engines when the page goes out of view.
/// `area` is the whole widget.
fn watch(lab: Lab, area: &HtmlElement) {
    let repaint = Closure::<dyn FnMut()>::new(move || lab.repaint());
    let document = page::window().and_then(|w| w.document());
    if let Some(document) = &document {
        let turned = Closure::<dyn FnMut()>::new(move || lab.tell_hidden());
        let _ = document.add_event_listener_with_callback("visibilitychange", turned.as_ref().unchecked_ref());
        // Lives as long as the page.
        turned.forget();
    }
    let root = document.and_then(|d| d.document_element());
    if let (Some(root), Ok(observer)) = (root, MutationObserver::new(repaint.as_ref().unchecked_ref())) {
        let options = MutationObserverInit::new();
        options.set_attributes(true);
        options.set_attribute_filter(&js_sys::Array::of1(&"data-theme".into()));
        let _ = observer.observe_with_options(&root, &options);
    }
    // Lives as long as the page.
    repaint.forget();
    let mut width: i32 = 0;
    // In a live lab the place of results is no box of its own, and in a miniature the widget is none.
    let boxes: Vec<HtmlElement> = [Some(area.clone()), lab.results()].into_iter().flatten().collect();
    let observed = boxes.clone();
    let resized = Closure::<dyn FnMut()>::new(move || {
        // Its height changes with every result; only another width needs other pictures.
        let now: i32 = observed.iter().map(|place| place.client_width()).sum();
        if now != width {
            width = now;
            lab.repaint();
        }
    });
    if let Ok(observer) = ResizeObserver::new(resized.as_ref().unchecked_ref()) {
        boxes.iter().for_each(|place| observer.observe(place));
    }
    resized.forget();
}
