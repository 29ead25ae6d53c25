//! Charts on their canvases, in the colours of the page, sharp on every screen.

use lab_api::Chart;
use lab_charts::{Colour, Palette, draw, natural_height};
use plotters_canvas::CanvasBackend;
use wasm_bindgen::JsCast;
use web_sys::{CanvasRenderingContext2d, HtmlCanvasElement, HtmlElement};

use crate::page;

/// Draws every chart that has a canvas in `area`, one per frame, until `current` says that something newer is to be drawn.
/// `at_once`: before the browser shows the page again, so that a chart that follows a slider does not flicker.
pub(crate) async fn paint(area: HtmlElement, charts: &[Chart], at_once: bool, current: impl Fn() -> bool) {
    for canvas in page::find_all(&area, "canvas[data-chart]") {
        if !at_once {
            page::next_frame().await;
        }
        if !current() {
            return;
        }
        let Ok(canvas) = canvas.dyn_into::<HtmlCanvasElement>() else { continue };
        let id = canvas.get_attribute("data-chart").unwrap_or_default();
        if let Some(chart) = charts.iter().find(|chart| chart.id == id)
            && let Err(why) = paint_one(&canvas, chart)
        {
            // The table below holds the data; here at least the reason.
            let _ = canvas.set_attribute("title", &why);
        }
    }
}

fn paint_one(canvas: &HtmlCanvasElement, chart: &Chart) -> Result<(), String> {
    let width = f64::from(canvas.client_width());
    if width < 1.0 {
        return Ok(());
    }
    let window = page::window().ok_or("no window")?;
    let style = window.get_computed_style(canvas).ok().flatten().ok_or("no style")?;
    let ratio = window.device_pixel_ratio().max(1.0);
    // Also clears it.
    canvas.set_width((width * ratio).round() as u32);
    canvas.set_height((natural_height(chart, width) * ratio).round() as u32);
    let palette = palette(&|name| style.get_property_value(name).unwrap_or_default()).ok_or("no canvas")?;
    let font = style.get_property_value("font-family").unwrap_or_else(|_| "sans-serif".to_owned());
    let mut backend = CanvasBackend::with_canvas_object(canvas.clone()).ok_or("no canvas")?;
    draw(&mut backend, chart, &palette, &font, ratio).map_err(|error| error.to_string())
}

/// The page's colours as numbers. A property may hold any CSS colour: one pixel tells what the browser makes of it.
fn palette(property: &dyn Fn(&str) -> String) -> Option<Palette> {
    let document = page::window()?.document()?;
    let probe: HtmlCanvasElement = document.create_element("canvas").ok()?.dyn_into().ok()?;
    probe.set_width(1);
    probe.set_height(1);
    // Kept in memory: the pixel is read back at once.
    let options = js_sys::Object::new();
    js_sys::Reflect::set(&options, &"willReadFrequently".into(), &true.into()).ok()?;
    let context = probe.get_context_with_context_options("2d", &options).ok()??;
    let context: CanvasRenderingContext2d = context.dyn_into().ok()?;
    Some(Palette::read(|name| resolve(&context, property(name).trim())))
}

fn resolve(context: &CanvasRenderingContext2d, css: &str) -> Colour {
    context.set_fill_style_str("#808080");
    context.set_fill_style_str(css);
    context.fill_rect(0.0, 0.0, 1.0, 1.0);
    let pixel = context.get_image_data(0.0, 0.0, 1.0, 1.0).map(|image| image.data().0).unwrap_or_default();
    match pixel[..] {
        [red, green, blue, ..] => (red, green, blue),
        _ => (128, 128, 128),
    }
}
