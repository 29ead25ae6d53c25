//! A metric in a row of a table: its words, its numbers, what they mean.

use lab_api::{Family, Kind, Metric};
use std::fmt::Write as _;

use crate::escape;
use crate::figure::fold_html;
use crate::number::{Verdict, difference, format_number};

/// Adds the families of these metrics to those seen before, in the order in which they are named first.
pub(super) fn families(metrics: &[Metric], seen: &mut Vec<Family>) {
    for metric in metrics {
        if !seen.contains(&metric.family) {
            seen.push(metric.family);
        }
    }
}

/// What opens the rows of details, above a table that has some. They stay in their families: under a fold of their own they
/// would need a second table, whose columns stand elsewhere.
pub(super) fn more_html(metrics: &[Metric], id: &str) -> String {
    if metrics.iter().any(|metric| metric.detail) { fold_html("more", id, "All numbers", "") } else { String::new() }
}

fn detail_class(detail: bool) -> &'static str {
    if detail { " detail" } else { "" }
}

/// The head of a family, a detail where all it holds are details.
pub(super) fn family_html(family: Family, columns: usize, metrics: &[Metric]) -> String {
    let detail = detail_class(metrics.iter().all(|metric| metric.detail || metric.family != family));
    let word = match family {
        Family::Time => "Time",
        Family::Memory => "Memory",
        Family::Quality => "Quality",
        Family::Scale => "Scale",
        Family::Utilization => "Utilization",
    };
    format!("<tbody><tr class=\"family{detail}\"><th scope=\"rowgroup\" colspan=\"{columns}\">{word}</th></tr>")
}

/// `caption` and `heads` are words of ours.
pub(super) fn head_html(caption: &str, heads: &[&str]) -> String {
    let mut html = format!(
        "<div class=\"lab-scroll\" tabindex=\"0\" role=\"group\" aria-label=\"{caption}\"><table class=\"lab-metrics\"><caption class=\"visually-hidden\">{caption}</caption><thead><tr>"
    );
    for (i, head) in heads.iter().enumerate() {
        let class = if i == 0 { "" } else { " class=\"num\"" };
        let _ = write!(html, "<th scope=\"col\"{class}>{head}</th>");
    }
    html.push_str("</tr></thead>");
    html
}

pub(super) fn label_html(metric: &Metric) -> String {
    format!("<tr class=\"metric{}\"><th scope=\"row\">{}</th>", detail_class(metric.detail), escape(&metric.label))
}

/// What the number means, in a row of its own: beside five columns of numbers there is no room for a sentence.
pub(super) fn help_html(metric: &Metric, columns: usize) -> String {
    if metric.help.is_empty() {
        return String::new();
    }
    let detail = detail_class(metric.detail);
    format!("<tr class=\"help{detail}\"><td colspan=\"{columns}\">{}</td></tr>", escape(&metric.help))
}

/// Number and unit; the unit steps back.
fn number_html(value: f64, unit: &str) -> String {
    let number = format_number(value, unit);
    let space = if unit == "×" { "" } else { "\u{a0}" };
    if unit.is_empty() { number } else { format!("{number}{space}<span class=\"unit\">{}</span>", escape(unit)) }
}

pub(super) fn value_html(head: &str, metric: &Metric, more: &str) -> String {
    let samples = match (metric.kind, metric.samples.len()) {
        (Kind::Measured, n) if n > 1 => format!("<span class=\"samples\">median of {n}</span>"),
        _ => String::new(),
    };
    format!(
        "<td class=\"num value\" data-label=\"{head}\"><span data-metric=\"{}\" data-value=\"{}\"{more}>{}</span>{samples}{}</td>",
        escape(&metric.id),
        metric.value,
        number_html(metric.value, &metric.unit),
        interval_html(metric)
    )
}

pub(super) fn optional_html(head: &str, metric: &Metric, part: &str, value: Option<f64>, more: &str) -> String {
    match value {
        Some(value) => format!(
            "<td class=\"num\" data-label=\"{head}\"><span data-metric=\"{}.{part}\" data-value=\"{value}\">{}</span></td>",
            escape(&metric.id),
            number_html(value, &metric.unit)
        ),
        None => empty_html(head, more),
    }
}

/// A cell where there is no number.
pub(super) fn empty_html(head: &str, more: &str) -> String {
    format!("<td class=\"num empty\" data-label=\"{head}\"{more}>–</td>")
}

pub(super) fn class_of(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Better => " good",
        Verdict::Worse => " bad",
        Verdict::Same | Verdict::Unclear | Verdict::Neutral => "",
    }
}

pub(super) fn difference_html(metric: &Metric) -> String {
    let Some(difference) = difference(metric) else {
        return empty_html("Difference", "");
    };
    let (id, class, word) = (escape(&metric.id), class_of(difference.verdict), difference.verdict.word());
    let number = format!(
        "<span data-metric=\"{id}.difference\" data-value=\"{}\">{}</span>",
        difference.value,
        escape(&difference.text)
    );
    let content = match difference.verdict {
        Verdict::Neutral => number,
        Verdict::Same => format!("<span data-metric=\"{id}.difference\" data-value=\"0\">{word}</span>"),
        Verdict::Better | Verdict::Worse | Verdict::Unclear => {
            format!("{number} <span class=\"verdict\">{word}</span>")
        }
    };
    format!("<td class=\"num{class}\" data-label=\"Difference\">{content}</td>")
}

/// Under the number, because a column of its own leaves too little for the others.
fn interval_html(metric: &Metric) -> String {
    let Some(interval) = metric.interval else { return String::new() };
    let id = escape(&metric.id);
    let end = |part: &str, value: f64| {
        let text = format_number(value, &metric.unit);
        format!("<span data-metric=\"{id}.{part}\" data-value=\"{value}\">{text}</span>")
    };
    format!(
        "<span class=\"interval\">{}\u{a0}%: {}\u{a0}to\u{a0}{}</span>",
        (interval.level * 100.0).round(),
        end("low", interval.low),
        end("high", interval.high)
    )
}
