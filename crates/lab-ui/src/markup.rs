//! The controls as HTML, made from the parameters. Plain text: each typed view of a framework costs the page's WASM more
//! than all of these together. What changes later is set by `controls`.

use std::fmt::Write as _;

use lab_api::{ChoiceOption, DeviceChoice, ParamKind, ParamSpec};
use lab_charts::escape;

/// So many characters fit into a row of segments.
const SEGMENTS: usize = 30;

/// The id of a part of a control, unique in the page.
pub(crate) fn id(lab: &str, name: &str, part: &str) -> String {
    escape(&format!("{lab}-{name}-{part}"))
}

/// The line under a control: what values it takes.
pub(crate) fn hint(spec: &ParamSpec) -> String {
    let unit = spec.unit.as_ref().map_or_else(String::new, |unit| format!(" {unit}"));
    match &spec.kind {
        ParamKind::Integer { min, max, .. } => format!("{min} to {max}{unit}"),
        ParamKind::Number { min, max, .. } => format!("{min} to {max}{unit}"),
        ParamKind::File { .. } => "It stays on this device.".to_owned(),
        ParamKind::Drawing { .. } => "Mouse, finger or pen.".to_owned(),
        ParamKind::Bool { .. } | ParamKind::Choice { .. } => String::new(),
    }
}

/// The whole widget, idle. What changes later is set by `controls` and `status`. The form groups radio buttons of equal names on
/// pages with several labs; its method `dialog` keeps the Enter key from leaving the page.
pub(crate) fn widget(lab: &str, specs: &[ParamSpec]) -> String {
    let (controls, title) = (controls(lab, specs), id(lab, "run", "title"));
    let button = |action: &str, more: &str, words: &str| {
        format!("<button type=\"button\" data-action=\"{action}\"{more}>{words}</button>")
    };
    let actions = button("run", " class=\"primary\"", "Run")
        + &button("cancel", " disabled", "Cancel")
        + &button("reset", "", "Reset")
        + &button("link", "", "Copy link")
        + &button("compare", " hidden", "Run on both devices");
    let on_cpu = button("run-cpu", " hidden", "Run on the CPU");
    format!(
        "<form class=\"lab-form\" method=\"dialog\" novalidate><div class=\"lab-controls\">{controls}</div><ul class=\"lab-problems\"></ul>\
         <div class=\"lab-actions\">{actions}</div>\
         <div class=\"lab-status\"><p class=\"lab-message\" data-lab-message role=\"status\"></p>\
         <div class=\"lab-progress\" hidden><progress max=\"1\" aria-label=\"Progress of the run\"></progress>\
         <span class=\"lab-stage\"></span></div>{on_cpu}</div></form>\
         <section class=\"lab-results\" data-source=\"run\" hidden aria-labelledby=\"{title}\"><div class=\"lab-results-head\">\
         <h4 id=\"{title}\">Your run</h4><p class=\"lab-stale\" role=\"status\"></p></div>\
         <div class=\"lab-results-body\"></div></section>"
    )
}

/// A cell per parameter, then device and seed.
fn controls(lab: &str, specs: &[ParamSpec]) -> String {
    let mut html: String = specs.iter().map(|spec| param(lab, spec)).collect();
    let option = |choice: DeviceChoice, label: &str, help: &str| ChoiceOption {
        value: choice.word().to_owned(),
        label: label.to_owned(),
        help: help.to_owned(),
    };
    let devices = [
        option(DeviceChoice::Auto, "Auto", "the GPU where the browser offers one, else the CPU."),
        option(DeviceChoice::Webgpu, "WebGPU", "the GPU, or a software adapter, correct and slow."),
        option(DeviceChoice::Cpu, "CPU", "the processor, often faster for small models."),
    ];
    let words = "Where it runs. Results agree, times do not.";
    html.push_str(&cell(lab, "device", "Device", words, &devices, &segments(lab, "device", &devices)));
    let words = "Chance follows from it: same seed, same result.";
    let seed = format!(
        "<div class=\"control-row\"><input type=\"number\" class=\"wide\" name=\"seed\" min=\"0\" max=\"{}\" step=\"1\"{}></div>",
        1_u64 << 53,
        described(lab, "seed")
    );
    html.push_str(&cell(lab, "seed", "Seed", words, &[], &seed));
    html
}

fn described(lab: &str, name: &str) -> String {
    format!(" aria-labelledby=\"{}\" aria-describedby=\"{}\"", id(lab, name, "label"), id(lab, name, "note"))
}

fn param(lab: &str, spec: &ParamSpec) -> String {
    let name = escape(&spec.name);
    match &spec.kind {
        ParamKind::Choice { options, .. } => {
            let letters: usize = options.iter().map(|option| option.label.chars().count() + 3).sum();
            let control = if options.len() <= 4 && letters <= SEGMENTS {
                segments(lab, &spec.name, options)
            } else {
                select(lab, &spec.name, options)
            };
            cell(lab, &spec.name, &spec.label, &spec.help, options, &control)
        }
        ParamKind::Integer { min, max, step, .. } => {
            let control = number(lab, spec, &min.to_string(), &max.to_string(), &step.to_string());
            cell(lab, &spec.name, &spec.label, &spec.help, &[], &control)
        }
        ParamKind::Number { min, max, step, .. } => {
            let control = number(lab, spec, &min.to_string(), &max.to_string(), &step.to_string());
            cell(lab, &spec.name, &spec.label, &spec.help, &[], &control)
        }
        ParamKind::Bool { .. } => {
            let control = format!(
                "<label class=\"switch\"><input type=\"checkbox\" name=\"{name}\"{}><span>on</span></label>",
                described(lab, &spec.name)
            );
            cell(lab, &spec.name, &spec.label, &spec.help, &[], &control)
        }
        ParamKind::File { accept } => {
            let (accept, words) = (escape(accept), described(lab, &spec.name));
            let control = format!("<input type=\"file\" name=\"{name}\" accept=\"{accept}\"{words}>");
            cell(lab, &spec.name, &spec.label, &spec.help, &[], &control)
        }
        ParamKind::Drawing { width, height } => {
            let control = format!(
                "<div class=\"drawing\"><canvas data-drawing=\"{name}\" width=\"{width}\" height=\"{height}\" role=\"img\"{}></canvas>\
                 <button type=\"button\" data-clear=\"{name}\">Clear</button></div>",
                described(lab, &spec.name)
            );
            cell(lab, &spec.name, &spec.label, &spec.help, &[], &control)
        }
    }
}

/// Label with its help, control, and a line for a hint or a problem.
fn cell(lab: &str, name: &str, label: &str, help: &str, options: &[ChoiceOption], control: &str) -> String {
    let (label, name_safe) = (escape(label), escape(name));
    let mut entries = String::new();
    if !help.is_empty() {
        let _ = write!(entries, "<p>{}</p>", escape(help));
    }
    for option in options.iter().filter(|option| !option.help.is_empty()) {
        let _ = write!(entries, "<p><strong>{}:</strong> {}</p>", escape(&option.label), escape(&option.help));
    }
    let help = if entries.is_empty() {
        String::new()
    } else {
        let help_id = id(lab, name, "help");
        format!(
            "<button type=\"button\" class=\"control-help\" popovertarget=\"{help_id}\" aria-label=\"About {label}\">?</button>\
             <div class=\"control-popover\" popover id=\"{help_id}\">{entries}</div>"
        )
    };
    format!(
        "<div class=\"control\" data-control=\"{name_safe}\"><div class=\"control-label\"><span id=\"{}\">{label}</span>{help}</div>\
         {control}<div class=\"control-note\" id=\"{}\" aria-live=\"polite\"></div></div>",
        id(lab, name, "label"),
        id(lab, name, "note")
    )
}

/// A row of radio buttons that look like one.
fn segments(lab: &str, name: &str, options: &[ChoiceOption]) -> String {
    let mut html = format!("<div class=\"segments\" role=\"radiogroup\"{}>", described(lab, name));
    for option in options {
        let _ = write!(
            html,
            "<label><input type=\"radio\" name=\"{}\" value=\"{}\"><span>{}</span></label>",
            escape(name),
            escape(&option.value),
            escape(&option.label)
        );
    }
    html + "</div>"
}

fn select(lab: &str, name: &str, options: &[ChoiceOption]) -> String {
    let mut html = format!("<select name=\"{}\"{}>", escape(name), described(lab, name));
    for option in options {
        let _ = write!(html, "<option value=\"{}\">{}</option>", escape(&option.value), escape(&option.label));
    }
    html + "</select>"
}

/// A slider and a field for the same number; the field bears the name.
fn number(lab: &str, spec: &ParamSpec, min: &str, max: &str, step: &str) -> String {
    let (name, label) = (escape(&spec.name), escape(&spec.label));
    let range = format!("min=\"{min}\" max=\"{max}\" step=\"{step}\"");
    format!(
        "<div class=\"control-row\"><input type=\"range\" data-slides=\"{name}\" aria-label=\"{label}, slider\" {range}>\
         <input type=\"number\" name=\"{name}\" {range}{}></div>",
        described(lab, &spec.name)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str, kind: ParamKind) -> ParamSpec {
        let help = "What <it> does.".to_owned();
        ParamSpec { name: name.into(), label: format!("The {name}"), help, unit: None, kind, enabled_when: None }
    }

    fn options(count: usize, label: &str) -> Vec<ChoiceOption> {
        (0..count)
            .map(|i| ChoiceOption { value: format!("v{i}"), label: format!("{label}{i}"), help: String::new() })
            .collect()
    }

    #[test]
    fn each_control_bears_its_name_and_its_label() {
        let specs = [
            spec("few", ParamKind::Choice { default: "v0".into(), options: options(3, "o") }),
            spec("many", ParamKind::Choice { default: "v0".into(), options: options(9, "o") }),
            spec("long", ParamKind::Choice { default: "v0".into(), options: options(3, "a rather long word ") }),
            spec("whole", ParamKind::Integer { default: 1, min: 0, max: 9, step: 1 }),
            spec("real", ParamKind::Number { default: 0.5, min: 0.0, max: 1.0, step: 0.1 }),
            spec("flag", ParamKind::Bool { default: true }),
            spec("weights", ParamKind::File { accept: ".bin".into() }),
            spec("picture", ParamKind::Drawing { width: 28, height: 20 }),
        ];
        let html = widget("lab", &specs);
        assert_eq!(html.matches("type=\"radio\" name=\"few\"").count(), 3);
        assert_eq!(html.matches("type=\"radio\" name=\"device\"").count(), 3);
        assert!(html.contains("<select name=\"many\"") && html.contains("<select name=\"long\""));
        assert!(html.contains("type=\"number\" name=\"whole\" min=\"0\" max=\"9\" step=\"1\""));
        assert!(html.contains("type=\"checkbox\" name=\"flag\""));
        assert!(html.contains("type=\"file\" name=\"weights\" accept=\".bin\""));
        assert!(html.contains("data-drawing=\"picture\" width=\"28\" height=\"20\""));
        assert!(html.contains("data-clear=\"picture\""));
        for action in ["run", "cancel", "reset", "link", "compare", "run-cpu"] {
            assert_eq!(html.matches(&format!("data-action=\"{action}\"")).count(), 1, "{action}");
        }
        assert_eq!(html.matches("data-control=").count(), specs.len() + 2);
        // Whatever describes or labels a control is there.
        for part in html.split("aria-labelledby=\"").skip(1) {
            let target = part.split('"').next().unwrap_or_default();
            assert!(html.contains(&format!("id=\"{target}\"")), "{target}");
        }
        assert!(html.contains("What &lt;it&gt; does.") && !html.contains("<it>"));
    }

    #[test]
    fn ranges_are_told() {
        let mut spec = spec("group_size", ParamKind::Integer { default: 32, min: 8, max: 128, step: 8 });
        spec.unit = Some("weights".into());
        assert_eq!(hint(&spec), "8 to 128 weights");
    }
}
