//! Charts as SVG in the page's colours: responsive, titled, and without a literal colour except in pictures.

use lab_api::{Chart, ChartBody};
use plotters_svg::SVGBackend;

use crate::draw::draw_with;
use crate::palette::themed;
use crate::pen::Pen;
use crate::{ChartError, Palette, WIDTH, escape, natural_height};

/// Backends count whole pixels; four of them make a logical one, so that curves stay smooth when enlarged.
const SCALE: f64 = 4.0;

/// Width of a name under bars, in logical pixels.
const NAME: u32 = 96;

/// The chart as an `<svg>` element of these proportions, as wide as its container. Its ids follow from the chart's;
/// see [`svg_with_id`] where a page holds several charts of one id.
///
/// # Errors
/// [`ChartError`] where the data do not fit each other or there is no room.
pub fn svg(chart: &Chart, width_px: u32, height_px: u32) -> Result<String, ChartError> {
    svg_with_id(chart, &format!("chart-{}", chart.id), width_px, height_px)
}

/// As [`svg`], with ids that begin with `id`.
///
/// # Errors
/// As [`svg`].
pub fn svg_with_id(chart: &Chart, id: &str, width_px: u32, height_px: u32) -> Result<String, ChartError> {
    let size = (width_px * SCALE as u32, height_px * SCALE as u32);
    let palette = Palette::sentinel();
    let mut drawn = String::new();
    {
        let mut backend = SVGBackend::with_string(&mut drawn, size);
        draw_with(&mut Pen::new(&mut backend, &palette, "inherit", SCALE, 1.24), chart)?;
    }
    // From here on only the marks: the element itself is ours.
    let marks = drawn.split_once('>').map_or("", |(_, rest)| rest).trim();
    let marks = marks.strip_suffix("</svg>").unwrap_or(marks);
    // What browsers take for granted, on thousands of marks.
    let marks = [" opacity=\"1\"", " stroke=\"none\"", " font-family=\"inherit\""]
        .iter()
        .fold(themed(marks), |text, noise| text.replace(noise, ""));
    let (id, title, caption) = (escape(id), escape(&chart.title), escape(&chart.caption));
    let (width, height) = size;
    Ok(format!(
        "<svg class=\"chart\" viewBox=\"0 0 {width} {height}\" width=\"{width_px}\" height=\"{height_px}\" role=\"img\" \
         aria-labelledby=\"{id}-title {id}-desc\"><title id=\"{id}-title\">{title}</title>\
         <desc id=\"{id}-desc\">{caption}</desc>\n{marks}</svg>"
    ))
}

/// The chart as a file of its own, in the light colours of the page's style sheet `tokens`, wide enough for the names under
/// its bars.
///
/// # Errors
/// As [`svg`].
pub fn svg_file(chart: &Chart, tokens: &str) -> Result<String, ChartError> {
    let names = match &chart.body {
        ChartBody::Bar { categories, .. } => categories.len() as u32,
        _ => 0,
    };
    let width = WIDTH.max(NAME * names);
    let element = svg(chart, width, natural_height(chart, f64::from(width)).round() as u32)?;
    let colours: String = tokens.lines().filter_map(light).collect();
    let style = format!("<style>svg {{ {colours}background: var(--bg); font-family: system-ui, sans-serif; }}</style>");
    let (head, marks) = element.split_once('>').unwrap_or((&element, ""));
    let head = head.replacen("<svg", "<svg xmlns=\"http://www.w3.org/2000/svg\"", 1);
    Ok(format!("{head}>{style}{marks}\n"))
}

/// The light one of the two colours that a line of the style sheet gives to a property.
fn light(line: &str) -> Option<String> {
    let (name, colours) = line.trim().split_once(": var(--light, ")?;
    let (colour, _) = colours.split_once(')')?;
    Some(format!("{name}: {colour}; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::samples;

    fn drawn(chart: &Chart) -> String {
        svg(chart, WIDTH, natural_height(chart, f64::from(WIDTH)) as u32).expect("the sample is sound")
    }

    #[test]
    fn every_kind_is_drawn_in_the_colours_of_the_page() {
        for chart in samples::all() {
            let svg = drawn(&chart);
            assert!(svg.contains("role=\"img\"") && svg.contains("<title"), "{}", chart.id);
            assert!(svg.matches("var(--").count() > 3, "{}: too little was drawn", chart.id);
            assert!(!svg.contains("#FE0"), "{}: a sentinel was left", chart.id);
            let pictures = matches!(chart.body, lab_api::ChartBody::ImageGrid { .. });
            assert!(pictures || !svg.contains("=\"#"), "{}: a literal colour", chart.id);
            assert!(!svg.contains("NaN") && !svg.contains("nothing to show"), "{}", chart.id);
        }
    }

    #[test]
    fn each_series_and_category_is_named() {
        let all = samples::all();
        let bar = all.iter().find(|c| c.id == "bar").expect("present");
        let svg = drawn(bar);
        for word in ["FP32", "INT8", "layer 1", "SQNR (dB)"] {
            assert!(svg.contains(word), "{word} is missing");
        }
    }

    #[test]
    fn an_interval_moves_its_whisker() {
        let mut chart = samples::all().into_iter().find(|c| c.id == "bar").expect("present");
        let before = drawn(&chart);
        if let lab_api::ChartBody::Bar { series, .. } = &mut chart.body {
            series[1].intervals[0] = [30.0, 44.0];
        }
        assert_ne!(before, drawn(&chart));
    }

    #[test]
    fn a_file_brings_the_colours_it_draws_with() {
        let tokens = include_str!("../../../site/styles/tokens.css");
        for chart in samples::all() {
            let file = svg_file(&chart, tokens).expect("the sample is sound");
            assert!(file.starts_with("<svg xmlns="), "{}", chart.id);
            let (_, used) = file.split_once("</style>").expect("styled");
            for name in used.split("var(").skip(1).filter_map(|rest| rest.split([')', ',']).next()) {
                assert!(file.contains(&format!("{name}: #")), "{}: {name} has no colour", chart.id);
            }
            for dark in tokens.split("var(--dark, ").skip(1).filter_map(|rest| rest.split(')').next()) {
                assert!(!file.contains(dark), "{}: {dark} is a colour of the dark theme", chart.id);
            }
        }
    }

    #[test]
    fn words_are_escaped() {
        let mut chart = samples::all().remove(0);
        chart.title = "<script>".into();
        chart.y.label = "<b>".into();
        let svg = drawn(&chart);
        assert!(!svg.contains("<script>") && !svg.contains("<b>"));
    }

    #[test]
    fn parts_that_do_not_fit_are_named() {
        let mut chart = samples::all().into_iter().find(|c| c.id == "bar").expect("present");
        if let lab_api::ChartBody::Bar { series, .. } = &mut chart.body {
            series[0].values.pop();
        }
        let error = svg(&chart, 400, 240).expect_err("refused").to_string();
        assert_eq!(error, "chart “bar”: series “FP32” has 2 values where 3 belong");
        let line = samples::all().remove(0);
        assert!(matches!(svg(&line, 50, 20), Err(ChartError::TooSmall { .. })));
    }

    #[test]
    fn the_bar_chart_as_a_whole() {
        let chart = samples::all().into_iter().find(|c| c.id == "bar").expect("present");
        insta::assert_snapshot!(drawn(&chart));
    }
}
