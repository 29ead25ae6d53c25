//! One control per parameter, and those every lab has: device and seed. All cells are of one height (see `lab.css`).

use lab_api::{ChoiceOption, DeviceChoice, ParamKind, ParamSpec};
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use web_sys::HtmlInputElement;

use crate::Adapter;
use crate::actions::Lab;

/// So many characters fit into a row of segments.
const SEGMENTS: usize = 30;

/// All controls of a lab.
pub(crate) fn controls(lab: Lab) -> impl IntoView {
    let specs = lab.inner().data.params.clone();
    let params = specs.into_iter().map(|spec| param(lab, spec)).collect_view();
    view! { <div class="lab-controls">{params} {device(lab)} {seed(lab)}</div> }
}

/// Ids are unique in the page.
fn id(lab: Lab, name: &str, part: &str) -> String {
    format!("{}-{name}-{part}", lab.inner.with_value(|inner| inner.data.lab.clone()))
}

fn param(lab: Lab, spec: ParamSpec) -> AnyView {
    let enabled = {
        let spec = spec.clone();
        Memo::new(move |_| lab.setting.with(|setting| setting.enabled(&spec)))
    };
    let name = spec.name.clone();
    match spec.kind.clone() {
        ParamKind::Choice { options, .. } => {
            let letters: usize = options.iter().map(|option| option.label.chars().count() + 3).sum();
            let chosen = spec.clone();
            let set = move |value: &str| lab.set_param(&chosen, value);
            let control = if options.len() <= 4 && letters <= SEGMENTS {
                segments(lab, &name, options.clone(), enabled, set).into_any()
            } else {
                select(lab, &name, options.clone(), enabled, set).into_any()
            };
            cell(lab, &spec, &options, "", enabled, control)
        }
        ParamKind::Integer { min, max, step, .. } => {
            let hint = hint(&min.to_string(), &max.to_string(), spec.unit.as_deref());
            let control = number(lab, &spec, min as f64, max as f64, step as f64, enabled).into_any();
            cell(lab, &spec, &[], &hint, enabled, control)
        }
        ParamKind::Number { min, max, step, .. } => {
            let hint = hint(&min.to_string(), &max.to_string(), spec.unit.as_deref());
            let control = number(lab, &spec, min, max, step, enabled).into_any();
            cell(lab, &spec, &[], &hint, enabled, control)
        }
        ParamKind::Bool { .. } => {
            let control = checkbox(lab, &spec, enabled).into_any();
            cell(lab, &spec, &[], "", enabled, control)
        }
    }
}

fn hint(min: &str, max: &str, unit: Option<&str>) -> String {
    format!("{min} to {max}{}", unit.map_or_else(String::new, |unit| format!(" {unit}")))
}

/// Label, control, and a line for a hint or a problem.
fn cell(
    lab: Lab,
    spec: &ParamSpec,
    options: &[ChoiceOption],
    hint: &str,
    enabled: Memo<bool>,
    control: AnyView,
) -> AnyView {
    let mut help: Vec<(String, String)> = Vec::new();
    if !spec.help.is_empty() {
        help.push((String::new(), spec.help.clone()));
    }
    help.extend(options.iter().filter(|o| !o.help.is_empty()).map(|o| (o.label.clone(), o.help.clone())));
    frame(lab, &spec.name, &spec.label, help, hint.to_owned().into(), enabled.into(), control)
}

fn frame(
    lab: Lab,
    name: &str,
    label: &str,
    help: Vec<(String, String)>,
    hint: Signal<String>,
    enabled: Signal<bool>,
    control: AnyView,
) -> AnyView {
    let (label_id, note_id, help_id) = (id(lab, name, "label"), id(lab, name, "note"), id(lab, name, "help"));
    let about = format!("About {label}");
    let key = name.to_owned();
    let problem = Memo::new(move |_| lab.problems.with(|problems| problems.get(&key).cloned()));
    let key = name.to_owned();
    let note = move || match problem.get() {
        Some(why) => view! { <p class="control-problem" data-problem=key.clone()>{why}</p> }.into_any(),
        None => view! { <p class="control-hint">{move || hint.get()}</p> }.into_any(),
    };
    let help = (!help.is_empty()).then(|| {
        let entries = help
            .into_iter()
            .map(|(term, words)| {
                let term = (!term.is_empty()).then(|| view! { <strong>{term} ": "</strong> });
                view! { <p>{term}{words}</p> }
            })
            .collect_view();
        view! {
            <button type="button" class="control-help" popovertarget=help_id.clone() aria-label=about>"?"</button>
            <div class="control-popover" popover="auto" id=help_id>{entries}</div>
        }
    });
    view! {
        <div class="control" class:off=move || !enabled.get()>
            <div class="control-label"><span id=label_id>{label.to_owned()}</span>{help}</div>
            {control}
            <div class="control-note" id=note_id aria-live="polite">{note}</div>
        </div>
    }
    .into_any()
}

/// A row of radio buttons that look like one.
fn segments(
    lab: Lab,
    name: &str,
    options: Vec<ChoiceOption>,
    enabled: Memo<bool>,
    set: impl Fn(&str) + Clone + Send + 'static,
) -> impl IntoView {
    let labels = options
        .into_iter()
        .map(|option| {
            let (set, value, key, mine) = (set.clone(), option.value.clone(), name.to_owned(), option.value.clone());
            view! {
                <label>
                    <input
                        type="radio"
                        name=name.to_owned()
                        value=option.value
                        prop:checked=move || lab.text(&key) == mine
                        disabled=move || !enabled.get()
                        on:change=move |_| set(&value)
                    />
                    <span>{option.label}</span>
                </label>
            }
        })
        .collect_view();
    view! {
        <div
            class="segments"
            role="radiogroup"
            aria-labelledby=id(lab, name, "label")
            aria-describedby=id(lab, name, "note")
        >
            {labels}
        </div>
    }
}

fn select(
    lab: Lab,
    name: &str,
    options: Vec<ChoiceOption>,
    enabled: Memo<bool>,
    set: impl Fn(&str) + Send + 'static,
) -> impl IntoView {
    let key = name.to_owned();
    let choices = options
        .into_iter()
        .map(|option| {
            let (key, value) = (key.clone(), option.value.clone());
            view! { <option value=option.value selected=move || lab.text(&key) == value>{option.label}</option> }
        })
        .collect_view();
    let key = name.to_owned();
    view! {
        <select
            name=name.to_owned()
            aria-labelledby=id(lab, name, "label")
            aria-describedby=id(lab, name, "note")
            disabled=move || !enabled.get()
            prop:value=move || lab.text(&key)
            on:change=move |event| set(&event_target_value(&event))
        >
            {choices}
        </select>
    }
}

/// A slider and a field for the same number; the field bears the name.
fn number(lab: Lab, spec: &ParamSpec, min: f64, max: f64, step: f64, enabled: Memo<bool>) -> impl IntoView {
    let name = spec.name.clone();
    let (slid, typed) = (spec.clone(), spec.clone());
    let text = {
        let name = name.clone();
        move || lab.text(&name)
    };
    let wrong = {
        let name = name.clone();
        move || lab.problems.with(|problems| problems.contains_key(&name)).then_some("true")
    };
    let back = {
        let name = name.clone();
        move |event: web_sys::Event| restore(lab, &name, &event)
    };
    view! {
        <div class="control-row">
            <input
                type="range"
                aria-label=format!("{}, slider", spec.label)
                min=min
                max=max
                step=step
                disabled=move || !enabled.get()
                prop:value=text.clone()
                on:input=move |event| lab.set_param(&slid, &event_target_value(&event))
            />
            <input
                type="number"
                name=name.clone()
                aria-labelledby=id(lab, &name, "label")
                aria-describedby=id(lab, &name, "note")
                aria-invalid=wrong
                min=min
                max=max
                step=step
                disabled=move || !enabled.get()
                prop:value=text
                on:input=move |event| lab.set_param(&typed, &event_target_value(&event))
                on:change=back
            />
        </div>
    }
}

/// After an impossible number was left standing: shows the one that counts.
fn restore(lab: Lab, name: &str, event: &web_sys::Event) {
    let input = event.target().and_then(|target| target.dyn_into::<HtmlInputElement>().ok());
    if let Some(input) = input {
        input.set_value(&untrack(|| lab.text(name)));
    }
}

fn checkbox(lab: Lab, spec: &ParamSpec, enabled: Memo<bool>) -> impl IntoView {
    let name = spec.name.clone();
    let (key, shown, set) = (name.clone(), name.clone(), spec.clone());
    view! {
        <label class="switch">
            <input
                type="checkbox"
                name=name.clone()
                aria-labelledby=id(lab, &name, "label")
                aria-describedby=id(lab, &name, "note")
                disabled=move || !enabled.get()
                prop:checked=move || lab.text(&key) == "true"
                on:change=move |event| lab.set_param(&set, if event_target_checked(&event) { "true" } else { "false" })
            />
            <span>{move || if lab.text(&shown) == "true" { "on" } else { "off" }}</span>
        </label>
    }
}

fn device(lab: Lab) -> AnyView {
    let labels = DeviceChoice::ALL
        .into_iter()
        .map(|choice| {
            let label = match choice {
                DeviceChoice::Auto => "Auto",
                DeviceChoice::Webgpu => "WebGPU",
                DeviceChoice::Cpu => "CPU",
            };
            view! {
                <label>
                    <input
                        type="radio"
                        name="device"
                        value=choice.word()
                        prop:checked=move || lab.setting.with(|setting| setting.device) == choice
                        on:change=move |_| lab.set_device(choice)
                    />
                    <span>{label}</span>
                </label>
            }
        })
        .collect_view();
    let control = view! {
        <div
            class="segments"
            role="radiogroup"
            aria-labelledby=id(lab, "device", "label")
            aria-describedby=id(lab, "device", "note")
        >
            {labels}
        </div>
    };
    let hint = Signal::derive(move || {
        match lab.adapter.get() {
            None => "",
            Some(Adapter::Real) => "auto takes the GPU",
            Some(Adapter::Software) => "auto takes the CPU: software GPU",
            Some(Adapter::None) => "auto takes the CPU: no WebGPU",
        }
        .to_owned()
    });
    let help = vec![
        (String::new(), "Where the lab runs. The results agree; the time does not.".to_owned()),
        ("Auto".into(), "the GPU where the browser offers one, else the CPU.".into()),
        ("WebGPU".into(), "the GPU, or the browser's software adapter, which is correct and slow.".into()),
        ("CPU".into(), "the processor, with SIMD. Small models often run faster here.".into()),
    ];
    frame(lab, "device", "Device", help, hint, Signal::stored(true), control.into_any())
}

fn seed(lab: Lab) -> AnyView {
    let control = view! {
        <div class="control-row">
            <input
                type="number"
                name="seed"
                class="wide"
                min="0"
                max=1_u64 << 53
                step="1"
                aria-labelledby=id(lab, "seed", "label")
                aria-describedby=id(lab, "seed", "note")
                aria-invalid=move || lab.problems.with(|problems| problems.contains_key("seed")).then_some("true")
                prop:value=move || lab.text("seed")
                on:input=move |event| lab.set_seed(&event_target_value(&event))
                on:change=move |event| restore(lab, "seed", &event)
            />
        </div>
    };
    let help = vec![(
        String::new(),
        "Every random choice of a run follows from this number: the same seed gives the same result.".to_owned(),
    )];
    frame(
        lab,
        "seed",
        "Seed",
        help,
        Signal::stored("any whole number".to_owned()),
        Signal::stored(true),
        control.into_any(),
    )
}
