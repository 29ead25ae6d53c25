//! A chart as the page shows it: heading, picture, and its data as a table to unfold.

use lab_api::Chart;

use crate::{escape, natural_height, table_html};

/// Width charts are designed for, in logical pixels: half a wide text column, or a phone.
pub const WIDTH: u32 = 380;

/// What takes the place of the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChartMode {
    /// An `<svg>` element. Made when the book is built; on the page the canvas draws.
    #[cfg(not(target_family = "wasm"))]
    Svg,
    /// An empty `<canvas data-chart=ID>` in the chart's proportions, for [`crate::draw`].
    Canvas,
}

/// A `<figure>`; `id` is unique in the page. A chart that cannot be drawn says so in its place and keeps its table.
#[must_use]
pub fn figure_html(chart: &Chart, id: &str, mode: ChartMode) -> String {
    let id = escape(id);
    let height = natural_height(chart, f64::from(WIDTH)).round() as u32;
    let picture = match mode {
        #[cfg(not(target_family = "wasm"))]
        ChartMode::Svg => match crate::svg_with_id(chart, &id, WIDTH, height) {
            Ok(svg) => svg,
            Err(error) => format!("<p class=\"lab-note\">{}</p>", escape(&error.to_string())),
        },
        ChartMode::Canvas => format!(
            "<canvas class=\"chart\" data-chart=\"{}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\" \
             aria-labelledby=\"{id}-title {id}-caption\"></canvas>",
            escape(&chart.id)
        ),
    };
    // The SVG has titles of its own; ids stay apart.
    let kind = match mode {
        #[cfg(not(target_family = "wasm"))]
        ChartMode::Svg => "head",
        ChartMode::Canvas => "title",
    };
    let (title, caption) = (escape(&chart.title), escape(&chart.caption));
    let table = table_html(&chart.table());
    let words = format!("Data<span class=\"visually-hidden\"> of {title}</span>");
    let data = fold_html("data", &id, &words, &table);
    format!(
        "<figure class=\"lab-figure\"><figcaption><strong id=\"{id}-{kind}\">{title}</strong> \
         <span id=\"{id}-caption\">{caption}</span></figcaption>{picture}\
         {data}</figure>"
    )
}

/// Unfolded on demand; `id` keeps it open when the next result takes its place. Takes HTML.
pub(crate) fn fold_html(class: &str, id: &str, summary: &str, content: &str) -> String {
    format!("<details class=\"lab-{class}\" id=\"{id}-{class}\"><summary>{summary}</summary>{content}</details>")
}
