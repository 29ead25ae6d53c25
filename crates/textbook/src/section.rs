//! A lab's place in the page, and single numbers of it in the prose.

use lab_api::{Kind, ParamKind, ParamSpec, RunRecord, validate};
use pulldown_cmark::{Event, Tag};
use serde_json::json;

use crate::{
    anchors,
    catalogue::level_word,
    charts,
    html::{escape, one_line},
    labs::{Lab, Labs},
    page::Page,
    predict,
    problem::near,
    source::{Edit, Source, apply},
};

type Refused = (String, Option<String>);

impl Labs {
    /// The title of a lab, where its `lab.md` can be read.
    pub(crate) fn title(&self, id: &str) -> Option<String> {
        self.words(id).ok().map(|(meta, ..)| meta.title)
    }
}

impl Page<'_> {
    pub(super) fn known_lab(&self, id: &str) -> Result<(), Refused> {
        if self.book.lab_ids.iter().any(|known| known == id) {
            return Ok(());
        }
        Err(("there is no such lab in labs/src".into(), near(id, self.book.lab_ids.iter().map(String::as_str))))
    }

    /// `lab.metric` as a number with its unit.
    pub(crate) fn value(&self, path: &str) -> Result<String, Refused> {
        let Some((lab, metric)) = path.split_once('.') else {
            return Err(("a value is written lab.metric".into(), None));
        };
        self.known_lab(lab)?;
        let reference = self.book.reference(lab).map_err(|message| (message, None))?;
        let Some((value, unit)) = reference.value(metric) else {
            let known = reference.value_paths();
            let nearest = near(metric, known.iter().map(String::as_str)).map(|near| format!("{lab}.{near}"));
            return Err(("the lab's reference has no such value".into(), nearest));
        };
        let words = charts::format_value(value, unit);
        let (lab, metric) = (escape(lab), escape(metric));
        Ok(format!(
            "<data class=\"value\" value=\"{value}\" data-lab=\"{lab}\" data-metric=\"{metric}\">{}</data>",
            escape(&words)
        ))
    }

    /// `{{#lab id}}`.
    pub(crate) fn lab_section(&self, id: &str, number: Option<&str>) -> Result<String, Refused> {
        self.known_lab(id)?;
        let plain = |message: String| (message, None);
        let labs = &self.book.places.labs;
        let lab = labs.lab(id).map_err(plain)?;
        let predictions = predict::forms(id, &lab, &|text| self.inline(text, &lab_file(id), 1)).map_err(plain)?;
        let [guess, before, after] = self.lab_words(id, &lab);
        // What to do with the controls stands beside them, or below where there is no room: controls and result come first.
        let steps = if before.trim().is_empty() {
            before
        } else {
            format!("<div class=\"lab-words lab-steps\" id=\"lab-{id}-steps\">{before}</div>")
        };
        let after = if after.is_empty() { after } else { format!("<div class=\"lab-words\">{after}</div>") };
        let meta = &lab.meta;
        let data = self.lab_data(id, &lab)?;
        let number = number.map_or_else(String::new, |number| format!(" {number}"));
        let minutes = if meta.minutes == 1 { "1 minute".to_owned() } else { format!("{} minutes", meta.minutes) };
        // One place for each control that means something at first, device and seed included: nothing moves when the real ones come.
        let mut skeleton = String::new();
        let defaults = validate(&lab.reference.params, []).values;
        let shown = |spec: &&ParamSpec| spec.enabled_when.as_ref().is_none_or(|condition| condition.holds(&defaults));
        for spec in lab.reference.params.iter().filter(shown) {
            let paper = if matches!(spec.kind, ParamKind::Drawing { .. }) { " paper" } else { "" };
            skeleton += &format!("<div class=\"control-skeleton{paper}\"></div>");
        }
        let without = without(&lab).map_err(plain)?;
        skeleton += &"<div class=\"control-skeleton\"></div>".repeat(2 - meta.without.len().min(2));
        Ok(format!(
            "<section class=\"lab\" id=\"lab-{id}\" data-lab=\"{id}\" data-state=\"static\"{live}{without} aria-labelledby=\"lab-{id}-title\">\
             <header class=\"lab-head\"><p class=\"lab-kicker\">Lab{number}</p><h3 id=\"lab-{id}-title\">{title}</h3><p class=\"lab-meta\">{minutes} · {level}</p><p class=\"lab-summary\">{summary}</p></header>\
             <div class=\"lab-words\">{guess}{predictions}</div>\
             <div class=\"lab-bench\"><div class=\"lab-widget\" id=\"lab-{id}-controls\" data-lab-widget><noscript><p class=\"lab-noscript\">Running this lab takes JavaScript. Below stands the result of a reference run; on the command line, <code>cargo xtask lab run {id}</code> runs it.</p></noscript><div class=\"lab-controls\" aria-hidden=\"true\">{skeleton}</div><div class=\"lab-actions-skeleton\" aria-hidden=\"true\"></div></div>{steps}</div>\
             <details class=\"lab-reference\" data-source=\"reference\"{open}><summary><h4>Reference result</h4>{hint}</summary>{report}</details>\
             {after}{source}\
             <script type=\"application/json\" data-lab-data>{data}</script></section>",
            // No answer before the guess.
            open = if predictions.is_empty() { " open" } else { "" },
            hint = if predictions.is_empty() {
                ""
            } else {
                " <small>of a recorded run; it answers the questions above</small>"
            },
            live = if meta.live { " data-live" } else { "" },
            title = escape(&meta.title),
            level = level_word(meta.level),
            summary = self.inline(&meta.summary, &lab_file(id), 1),
            report = one_line(&charts::report_html(&lab.reference.default_run)),
            source = self.lab_source(id),
        ))
    }

    /// Where the code stands that Run starts; nothing for a lab whose code is not here.
    fn lab_source(&self, id: &str) -> String {
        let file = format!("{}/{}/mod.rs", crate::labs::FOLDER, id.replace('-', "_"));
        let text = std::fs::read_to_string(self.book.places.labs.root.join(&file)).unwrap_or_default();
        anchors::function(&text, "async fn run(").map_or_else(String::new, |lines| {
            format!(
                "<div class=\"lab-source\"><p>What runs when you press Run: {}</p></div>",
                self.file_link(&file, lines)
            )
        })
    }

    /// What a lab's widget reads from the page, as JSON that may stand in a script element.
    pub(crate) fn lab_data(&self, id: &str, lab: &Lab) -> Result<String, Refused> {
        let meta = &lab.meta;
        let assets = self.book.places.labs.assets(&meta.assets).map_err(|message| (message, None))?;
        let data = json!({
            "lab": id,
            "title": meta.title,
            "params": lab.reference.params,
            "assets": assets,
            "live": meta.live,
            "reference": beside_a_run(&lab.reference.default_run),
        });
        // A tag within the data would end the script element.
        Ok(data.to_string().replace('<', "\\u003c"))
    }

    /// The words up to the second heading, where a guess belongs; the steps beside controls and result; and those after them: from the
    /// heading “Validate” on.
    fn lab_words(&self, id: &str, lab: &Lab) -> [String; 3] {
        let file = lab_file(id);
        let source = Source::new(&file, lab.words_line, &lab.words);
        let mut edits = Vec::new();
        let (mut validate, mut headings) = (None, Vec::new());
        for (i, (event, range)) in source.events.iter().enumerate() {
            let Event::Start(Tag::Heading { level, .. }) = event else { continue };
            let inside = source.events[i + 1..].iter().take_while(|(_, inner)| inner.start < range.end);
            let words: String = inside
                .filter_map(|(e, _)| if let Event::Text(t) | Event::Code(t) = e { Some(&**t) } else { None })
                .collect();
            if words.trim().eq_ignore_ascii_case("validate") && validate.is_none() {
                validate = Some(range.start);
            }
            headings.push(range.start);
            // The lab's own title is of level 3.
            let level = (*level as u8).clamp(2, 4) + 2;
            let end = range.start + source.text[range.clone()].trim_end().len();
            let words = escape(words.trim());
            let slug = crate::html::slug(&words);
            edits.push(Edit {
                range: range.start..end,
                text: format!("<h{level} id=\"lab-{id}-{slug}\">{words}</h{level}>\n"),
            });
        }
        let at = validate.unwrap_or(source.text.len());
        let measure = headings.get(1).copied().unwrap_or(at).min(at);
        let ends = [0, measure, at, source.text.len()];
        let mut edits = edits.into_iter().peekable();
        std::array::from_fn(|i| {
            let (start, end) = (ends[i], ends[i + 1]);
            let own = std::iter::from_fn(|| edits.next_if(|edit| edit.range.start < end));
            let own = own.map(|edit| Edit { range: edit.range.start - start..edit.range.end - start, text: edit.text });
            let text = apply(&source.text[start..end], own.collect());
            self.fragment(&text, &file, source.line(start))
        })
    }
}

/// What of a reference stands beside a reader's run: values that are the same on all machines. The page holds the rest as HTML already.
fn beside_a_run(reference: &RunRecord) -> RunRecord {
    let mut lean = reference.clone();
    lean.report.metrics.retain(|metric| metric.kind != Kind::Measured);
    for metric in &mut lean.report.metrics {
        metric.help = String::new();
    }
    lean.report.tables = Vec::new();
    lean.report.charts = Vec::new();
    lean.report.notes = Vec::new();
    lean
}

/// Says in the section which of the common controls it goes without. A number that differs from run to run needs them.
fn without(lab: &Lab) -> Result<String, String> {
    let words: Vec<&str> = lab.meta.without.iter().map(|control| control.word()).collect();
    let varies = lab.reference.default_run.report.metrics.iter().find(|metric| metric.kind != Kind::Exact);
    match (words.is_empty(), varies) {
        (true, _) => Ok(String::new()),
        (false, None) => Ok(format!(" data-without=\"{}\"", words.join(" "))),
        (false, Some(metric)) => Err(format!(
            "its lab.md goes without {}, but its number “{}” is not exact: strike `without`",
            words.join(" and "),
            metric.id
        )),
    }
}

fn lab_file(id: &str) -> String {
    format!("labs/src/{}/lab.md", id.replace('-', "_"))
}
