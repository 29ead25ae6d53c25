//! Charts of a page, made lighter: what they show stays, what says it takes fewer bytes.
//!
//! A dashed line is drawn as hundreds of elements, and a table beside a chart holds all seventeen digits of a number that is
//! read to three. On a page with six charts both are a tenth of what a first visit fetches.

use std::fmt::Write as _;
use std::sync::LazyLock;

use regex::{Captures, Regex};

/// Digits of a number in a table beside a chart: enough to draw it again.
const DIGITS: usize = 7;

static LINE: LazyLock<Regex> = LazyLock::new(|| {
    let line = r#"<line ([^>]*?) ?x1="(-?\d+)" y1="(-?\d+)" x2="(-?\d+)" y2="(-?\d+)" ?/>"#;
    let polyline = r#"<polyline fill="none" ([^>]*?) ?points="([^"]*)" ?/>"#;
    Regex::new(&format!(r"(?:{line}|{polyline})\s*")).expect("a constant that parses")
});

static NUMBER: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"<td class="num" data-value="(-?\d+\.\d+)">"#).expect("a constant that parses"));

/// The same figures: lines of one style that follow each other are one path, numbers of tables have seven digits.
pub(crate) fn lighter(html: &str) -> String {
    let short = NUMBER.replace_all(html, |found: &Captures<'_>| match found[1].parse::<f64>() {
        Ok(number) => format!("<td class=\"num\" data-value=\"{}\">", rounded(number)),
        Err(_) => found[0].to_owned(),
    });
    joined(&short)
}

fn rounded(number: f64) -> f64 {
    format!("{number:.*e}", DIGITS - 1).parse().unwrap_or(number)
}

fn joined(html: &str) -> String {
    let mut out = String::with_capacity(html.len());
    let mut end = 0;
    let mut open: Option<Outline<'_>> = None;
    for found in LINE.captures_iter(html) {
        let whole = found.get(0).expect("the whole match");
        let group = |at: usize| found.get(at).map_or("", |part| part.as_str());
        let (style, points) = if found.get(1).is_some() {
            (group(1), vec![(group(2), group(3)), (group(4), group(5))])
        } else {
            (group(6), group(7).split_whitespace().filter_map(|point| point.split_once(',')).collect())
        };
        let points = points.into_iter().map(|(x, y)| Some((x.parse().ok()?, y.parse().ok()?)));
        let points: Option<Vec<(i64, i64)>> = points.collect();
        if !open.as_ref().is_some_and(|outline| outline.style == style && whole.start() == end) {
            close(&mut out, open.take());
            out.push_str(&html[end..whole.start()]);
        }
        match points {
            // Where translucent lines cross, one path would be paler than two.
            Some(points) if !style.contains("opacity") => {
                open.get_or_insert_with(|| Outline { style, path: String::new(), at: None }).add(&points);
            }
            _ => {
                close(&mut out, open.take());
                out.push_str(whole.as_str());
            }
        }
        end = whole.end();
    }
    close(&mut out, open);
    out.push_str(&html[end..]);
    out
}

/// A path that is being collected: after its first point all are told by their distance from the one before, in fewer digits.
struct Outline<'a> {
    style: &'a str,
    path: String,
    at: Option<(i64, i64)>,
}

impl Outline<'_> {
    fn add(&mut self, points: &[(i64, i64)]) {
        for (i, &(x, y)) in points.iter().enumerate() {
            let _ = match (self.at, i) {
                (None, _) => write!(self.path, "M{x} {y}"),
                (Some((from_x, from_y)), 0) => write!(self.path, "m{} {}", x - from_x, y - from_y),
                (Some((from_x, from_y)), _) => write!(self.path, "l{} {}", x - from_x, y - from_y),
            };
            self.at = Some((x, y));
        }
    }
}

fn close(out: &mut String, outline: Option<Outline<'_>>) {
    if let Some(Outline { style, path, .. }) = outline {
        let _ = writeln!(out, "<path fill=\"none\" {style} d=\"{}\"/>", path.replace(" -", "-"));
    }
}

#[cfg(test)]
mod tests {
    use lab_api::{Axis, Chart, ChartBody, Series};

    use super::*;

    #[test]
    fn dashes_of_one_line_become_one_path() {
        let dashes = "<svg><line stroke=\"a\" stroke-width=\"7\" x1=\"0\" y1=\"1\" x2=\"2\" y2=\"-3\" />\n\
                      <polyline fill=\"none\" stroke=\"a\" stroke-width=\"7\" points=\"4,5 6,7 8,9 \" />\n\
                      <line stroke=\"b\" stroke-width=\"7\" x1=\"0\" y1=\"0\" x2=\"9\" y2=\"9\" /></svg>";
        assert_eq!(
            lighter(dashes),
            "<svg><path fill=\"none\" stroke=\"a\" stroke-width=\"7\" d=\"M0 1l2-4m2 8l2 2l2 2\"/>\n\
             <path fill=\"none\" stroke=\"b\" stroke-width=\"7\" d=\"M0 0l9 9\"/>\n</svg>"
        );
    }

    #[test]
    fn what_lies_between_keeps_its_place_and_translucent_lines_stay() {
        let dashes = "<line stroke=\"a\" x1=\"0\" y1=\"0\" x2=\"1\" y2=\"1\" /><text>one</text>\
                      <line stroke=\"a\" x1=\"2\" y1=\"2\" x2=\"3\" y2=\"3\" />two";
        assert_eq!(
            lighter(dashes),
            "<path fill=\"none\" stroke=\"a\" d=\"M0 0l1 1\"/>\n<text>one</text><path fill=\"none\" stroke=\"a\" d=\"M2 2l1 1\"/>\ntwo"
        );
        let pale = "<line opacity=\"0.5\" stroke=\"a\" x1=\"0\" y1=\"0\" x2=\"1\" y2=\"1\" /> rest";
        assert_eq!(lighter(pale), pale);
    }

    #[test]
    fn numbers_of_tables_are_short_and_metrics_whole() {
        let cells = "<td class=\"num\" data-value=\"0.015810768154019383\">0.0158</td><td class=\"num\" data-value=\"106496\">106,496</td>\
                     <span data-metric=\"a\" data-value=\"0.015810768154019383\">0.0158</span>";
        let light = cells.replacen("0.015810768154019383", "0.01581077", 1);
        assert_eq!(lighter(cells), light);
    }

    #[test]
    fn every_chart_that_is_drawn_gets_lighter_and_loses_no_line() {
        let series = (0..5).map(|i| Series {
            name: i.to_string(),
            points: (0..40).map(|x| [f64::from(x), f64::from(x * i)]).collect(),
            band: Vec::new(),
        });
        let chart = Chart {
            id: "c".into(),
            title: "t".into(),
            caption: "c".into(),
            x: Axis::linear("x"),
            y: Axis::linear("y"),
            body: ChartBody::Line { series: series.collect() },
        };
        let drawn = lab_charts::svg_with_id(&chart, "id", 400, 300).expect("drawn");
        let light = lighter(&drawn);
        assert!(light.len() * 3 < drawn.len() * 2, "{} of {}", light.len(), drawn.len());
        let strokes = |svg: &str| -> usize {
            let polylines = svg.split("points=\"").skip(1).filter_map(|rest| rest.split('"').next());
            let points: usize = polylines.map(|points| points.split_whitespace().count() - 1).sum();
            points + svg.matches("<line ").count()
        };
        let of_paths: usize = light
            .split(" d=\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .map(|d| d.matches('l').count())
            .sum();
        assert_eq!(strokes(&drawn), of_paths + strokes(&light));
    }
}
