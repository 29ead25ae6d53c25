//! From a chart description ([`lab_api::Chart`]) to a picture, and from a report to HTML.
//!
//! One drawing code serves the book (SVG, made when the book is built, see [`svg`]) and the running widget (canvas, see
//! [`draw`]): it is generic over plotters' `DrawingBackend`. Numbers are formatted here and nowhere else
//! ([`format_number`], [`format_value`]), and the static reference and a live run share their HTML ([`report_html`],
//! [`run_html`], [`compare_html`]), so that both look alike.
//!
//! Colours are the page's custom properties. The SVG carries `var(--series-1)` and the like; the canvas gets a
//! [`Palette`] read from the page. No series is told apart by colour alone: dashes, markers and hatching differ too.

mod axis;
mod bars;
mod draw;
mod escape;
mod figure;
mod frame;
mod gantt;
mod grid;
mod heatmap;
mod lines;
mod mark;
mod number;
mod number_line;
mod palette;
mod pen;
mod report;
#[cfg(not(target_family = "wasm"))]
mod svg;
mod table;
mod tokens;

pub use draw::{ChartError, draw, natural_height};
pub use escape::escape;
pub use figure::{ChartMode, WIDTH, figure_html};
pub use number::{Difference, Verdict, difference, format_number, format_value};
pub use palette::{Colour, Ink, Palette};
pub use report::{compare_html, partial_html, report_html, run_html};
#[cfg(not(target_family = "wasm"))]
pub use svg::{svg, svg_file, svg_with_id};
pub use table::table_html;
