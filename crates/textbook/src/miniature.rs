//! `{{#miniature LAB CONTROLS...}}`: a lab at its smallest, a few controls beside its first chart. It sleeps as a picture of the recorded
//! run; `site/js/mini.js` wakes it when a reader touches a control, and not before.

use lab_api::{ParamKind, ParamSpec, value_text};

use crate::{
    charts,
    html::{escape, one_line},
    page::Page,
    problem::near,
};

type Refused = (String, Option<String>);

impl Page<'_> {
    /// The miniature of a lab: `args` names the lab, then the controls that it offers; `words` say what to do.
    ///
    /// # Errors
    /// An unknown lab or control, a control that is neither a number nor a choice, or a lab without a chart.
    pub(crate) fn miniature(&self, args: &str, words: Option<&str>) -> Result<String, Refused> {
        let mut parts = args.split_whitespace();
        let id = parts.next().unwrap_or_default();
        self.known_lab(id)?;
        let plain = |message: String| (message, None);
        let lab = self.book.places.labs.lab(id).map_err(plain)?;
        let specs = &lab.reference.params;
        let mut offered = Vec::new();
        for name in parts {
            let spec = specs.iter().find(|spec| spec.name == name).ok_or_else(|| {
                (
                    format!("the lab has no such control ({name})"),
                    near(name, specs.iter().map(|spec| spec.name.as_str())),
                )
            })?;
            offered.push((name, control(spec).map_err(plain)?));
        }
        if offered.is_empty() {
            return Err(plain(
                "a miniature names the controls that it offers: {{#miniature levels outlier bits}}".into(),
            ));
        }
        let run = &lab.reference.default_run;
        let chart = run.report.charts.first().ok_or_else(|| plain("the lab draws no chart".into()))?;
        let picture = charts::svg(chart, &format!("mini-{id}")).map_err(plain)?;
        let link = self.link_to(&format!("lab-{id}"), &lab.meta.title);
        let whole = link.ok_or_else(|| plain("no page holds this lab: put {{#lab ...}} into a chapter".into()))?;
        let names: Vec<&str> = offered.iter().map(|(name, _)| *name).collect();
        let controls: String = offered.iter().map(|(_, html)| html.as_str()).collect();
        let note = run.report.notes.first().map_or_else(String::new, |note| format!("{} ", escape(note)));
        Ok(format!(
            "<section class=\"lab lab-mini\" id=\"mini-{id}\" data-mini=\"{id}\" data-offers=\"{offers}\" data-state=\"static\"{live} aria-labelledby=\"mini-{id}-head\">\
             <header class=\"lab-mini-head\"><p class=\"lab-mini-title\" id=\"mini-{id}-head\">{title}</p><p class=\"lab-mini-words\">{words}</p></header>\
             <div class=\"lab-mini-body\"><div class=\"lab-widget\" data-lab-widget>\
             <noscript><p class=\"lab-noscript\">Running this takes JavaScript. The picture is that of a recorded run.</p></noscript>\
             <form class=\"lab-mini-form needs-js\" method=\"dialog\" data-mini-form>{controls}<button type=\"submit\" class=\"primary\" data-action=\"wake\">Run it</button></form></div>\
             <figure class=\"lab-mini-picture\" data-source=\"reference\">{picture}<figcaption>{note}<span class=\"lab-mini-from\">From a recorded run.</span></figcaption></figure></div>\
             <p class=\"lab-mini-more\">All its controls and questions: {whole}.</p>\
             <script type=\"application/json\" data-lab-data>{data}</script></section>",
            offers = escape(&names.join(" ")),
            live = if lab.meta.live { " data-live" } else { "" },
            title = escape(&chart.title),
            words = escape(words.unwrap_or(&lab.meta.summary)),
            picture = one_line(&picture),
            data = self.lab_data(id, &lab)?,
        ))
    }
}

/// A control before the lab wakes: the browser's own, with the default.
fn control(spec: &ParamSpec) -> Result<String, String> {
    let (name, label) = (escape(&spec.name), escape(&spec.label));
    let default = escape(&value_text(&spec.default_value()));
    let slider = |min: String, max: String, step: String| {
        // “Bits 3 bits” says it twice.
        let unit = spec.unit.as_deref().filter(|unit| !unit.eq_ignore_ascii_case(&spec.label));
        let unit = unit.map_or_else(String::new, |unit| format!(" {}", escape(unit)));
        format!(
            "<label class=\"lab-mini-control\"><span>{label} <output>{default}</output>{unit}</span><input type=\"range\" name=\"{name}\" min=\"{min}\" max=\"{max}\" step=\"{step}\" value=\"{default}\" autocomplete=\"off\"></label>"
        )
    };
    match &spec.kind {
        ParamKind::Integer { min, max, step, .. } => Ok(slider(min.to_string(), max.to_string(), step.to_string())),
        ParamKind::Number { min, max, step, .. } => Ok(slider(min.to_string(), max.to_string(), step.to_string())),
        ParamKind::Choice { options, .. } => {
            let options: String = options
                .iter()
                .map(|option| {
                    let (value, shown) = (escape(&option.value), escape(&option.label));
                    let selected = if value == default { " selected" } else { "" };
                    format!("<option value=\"{value}\"{selected}>{shown}</option>")
                })
                .collect();
            Ok(format!(
                "<label class=\"lab-mini-control\"><span>{label}</span><select name=\"{name}\" autocomplete=\"off\">{options}</select></label>"
            ))
        }
        ParamKind::Bool { .. } | ParamKind::File { .. } | ParamKind::Drawing { .. } => {
            Err(format!("a miniature offers numbers and choices, and “{}” is neither", spec.name))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab_api::ChoiceOption;

    fn spec(kind: ParamKind) -> ParamSpec {
        ParamSpec {
            name: "x".into(),
            label: "An <x>".into(),
            help: String::new(),
            unit: Some("σ".into()),
            kind,
            enabled_when: None,
        }
    }

    #[test]
    fn a_control_is_at_its_default_before_the_lab_wakes() {
        let html =
            control(&spec(ParamKind::Number { default: 3.0, min: 1.0, max: 12.0, step: 0.5 })).expect("a slider");
        assert!(html.contains("An &lt;x&gt; <output>3</output> σ</span>"), "{html}");
        let mut bits = spec(ParamKind::Integer { default: 3, min: 2, max: 5, step: 1 });
        (bits.label, bits.unit) = ("Bits".into(), Some("bits".into()));
        assert!(control(&bits).expect("a slider").contains("Bits <output>3</output></span>"), "a unit is said once");
        assert!(html.contains("type=\"range\" name=\"x\" min=\"1\" max=\"12\" step=\"0.5\" value=\"3\""), "{html}");
        let options = ["a", "b"].map(|v| ChoiceOption { value: v.into(), label: v.into(), help: String::new() });
        let html =
            control(&spec(ParamKind::Choice { default: "b".into(), options: options.into() })).expect("a select");
        assert!(html.contains("<option value=\"b\" selected>b</option>"), "{html}");
        let why = control(&spec(ParamKind::Drawing { width: 2, height: 2 })).expect_err("no control");
        assert!(why.contains("“x”"), "{why}");
    }
}
