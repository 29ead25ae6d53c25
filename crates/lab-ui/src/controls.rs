//! Keeps the controls in the page and the setting the same, both ways.

use std::fmt::Write as _;

use lab_api::{DeviceChoice, ParamSpec};
use wasm_bindgen::JsCast;
use web_sys::{Element, Event, HtmlElement, HtmlInputElement, HtmlSelectElement};

use crate::actions::Lab;
use crate::{Adapter, Setting, drawing, markup, page};

/// Takes what the reader did to a control. Listens at the form, for all of them.
pub(crate) fn changed(lab: Lab, event: &Event) {
    let Some(target) = event.target().and_then(|target| target.dyn_into::<Element>().ok()) else { return };
    let (name, value) = if let Some(input) = target.dyn_ref::<HtmlInputElement>() {
        if let Some(files) = input.files() {
            return lab.set_file(&input.name(), files.get(0));
        }
        let value = match input.type_().as_str() {
            "checkbox" => input.checked().to_string(),
            _ => input.value(),
        };
        let slides = input.get_attribute("data-slides");
        (slides.unwrap_or_else(|| input.name()), value)
    } else if let Some(select) = target.dyn_ref::<HtmlSelectElement>() {
        (select.name(), select.value())
    } else {
        return;
    };
    match name.as_str() {
        "seed" => lab.set_seed(&value),
        "device" => {
            if let Ok(choice) = DeviceChoice::parse(&value) {
                lab.set_device(choice);
            }
        }
        name => lab.set_param(name, &value),
    }
    // A field that is left with an impossible number shows the one that counts.
    if event.type_() == "change"
        && let Some(input) = target.dyn_ref::<HtmlInputElement>()
        && input.type_() == "number"
    {
        input.set_value(&lab.text(&name));
    }
}

/// Shows a setting, its problems and what became of `auto`. Called whenever one of them changes.
pub(crate) fn show(
    specs: &[ParamSpec],
    area: &HtmlElement,
    setting: &Setting,
    problems: &[(String, String)],
    adapter: Option<Adapter>,
) {
    for spec in specs {
        show_one(area, &spec.name, &setting.text(&spec.name), setting.enabled(spec), problems, &markup::hint(spec));
    }
    let device = match adapter {
        None => "",
        Some(Adapter::Real) => "auto takes the GPU",
        Some(Adapter::Software) => "auto takes the CPU: software GPU",
        Some(Adapter::None) => "auto takes the CPU: no WebGPU",
    };
    show_one(area, "device", setting.device.word(), true, problems, device);
    show_one(area, "seed", &setting.seed.to_string(), true, problems, "any whole number");
    unknown(area, specs, problems);
    // Nobody has asked for an adapter while the reader wants the CPU: pressing the button asks.
    let found = adapter.map_or_else(
        || setting.device == lab_api::DeviceChoice::Cpu && page::may_have_gpu(),
        |adapter| adapter != Adapter::None,
    );
    page::set_hidden(area, "[data-action=compare]", !found);
}

/// What a link asked for that the lab does not have.
fn unknown(area: &HtmlElement, specs: &[ParamSpec], problems: &[(String, String)]) {
    let mut items = String::new();
    for (name, why) in problems {
        if name != "seed" && name != "device" && specs.iter().all(|spec| spec.name != *name) {
            let (name, why) = (lab_charts::escape(name), lab_charts::escape(why));
            let _ =
                write!(items, "<li class=\"control-problem\" data-problem=\"{name}\">“{name}” in the link: {why}</li>");
        }
    }
    if let Some(list) = page::find(area, ".lab-problems") {
        list.set_inner_html(&items);
    }
}

fn show_one(area: &HtmlElement, name: &str, text: &str, enabled: bool, problems: &[(String, String)], hint: &str) {
    let problem = problems.iter().find(|(of, _)| of == name).map(|(_, why)| why.as_str());
    let Some(cell) = page::find(area, &format!("[data-control=\"{name}\"]")) else { return };
    let _ = cell.class_list().toggle_with_force("off", !enabled);
    drawing::show(&cell, text);
    for node in page::find_all(&cell, "input, select") {
        if let Some(select) = node.dyn_ref::<HtmlSelectElement>() {
            select.set_value(text);
            select.set_disabled(!enabled);
        } else if let Some(input) = node.dyn_ref::<HtmlInputElement>() {
            input.set_disabled(!enabled);
            match input.type_().as_str() {
                // No page may name a file; it can only forget one.
                "file" if text.is_empty() => input.set_value(""),
                "file" => {}
                "radio" => input.set_checked(input.value() == text),
                "checkbox" => {
                    input.set_checked(text == "true");
                    if let Some(word) = input.next_element_sibling() {
                        word.set_text_content(Some(if text == "true" { "on" } else { "off" }));
                    }
                }
                kind => {
                    let _ = match problem {
                        Some(_) if kind == "number" => input.set_attribute("aria-invalid", "true"),
                        _ => input.remove_attribute("aria-invalid"),
                    };
                    // What is being typed stays as it is until it is left; see `changed`. "1e2" and "100" are one number.
                    let typing = problem.is_some() || input.value_as_number() == js_sys::parse_float(text);
                    if !(kind == "number" && typing && is_active(input)) {
                        input.set_value(text);
                    }
                }
            }
        }
    }
    let Some(note) = page::find(&cell, ".control-note") else { return };
    let (class, words) = problem.map_or(("control-hint", hint), |why| ("control-problem", why));
    // Left alone where it is the same: a live region speaks at every change.
    if note.text_content().as_deref() == Some(words) {
        return;
    }
    let data =
        if problem.is_some() { format!(" data-problem=\"{}\"", lab_charts::escape(name)) } else { String::new() };
    note.set_inner_html(&format!("<p class=\"{class}\"{data}>{}</p>", lab_charts::escape(words)));
}

fn is_active(element: &Element) -> bool {
    page::active().is_some_and(|active| active.is_same_node(Some(element)))
}
