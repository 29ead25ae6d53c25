//! Paper to draw on: a canvas, and the pointer over it.

use std::cell::{Cell, RefCell};

use lab_api::drawing::{LEVELS, levels, text};
use wasm_bindgen::{Clamped, JsCast, closure::Closure};
use web_sys::{CanvasRenderingContext2d, Element, HtmlCanvasElement, ImageData, PointerEvent};

use crate::actions::Lab;
use crate::{brush, page};

/// Shows the picture of `words` on the paper in `cell`, if there is one.
pub(crate) fn show(cell: &Element, words: &str) {
    if let Some(paper) = page::find(cell, "[data-drawing]").and_then(|paper| paper.dyn_into().ok()) {
        paint(&paper, &picture(&paper, words));
    }
}

/// What the words say; a blank sheet where they are none.
fn picture(paper: &HtmlCanvasElement, words: &str) -> Vec<u8> {
    levels(words, paper.width(), paper.height()).unwrap_or_default()
}

fn paint(paper: &HtmlCanvasElement, levels: &[u8]) {
    let mut pixels = Vec::with_capacity(4 * levels.len());
    for level in levels {
        let grey = 255 / (LEVELS - 1) * level;
        pixels.extend([grey, grey, grey, 255]);
    }
    let context = paper.get_context("2d").ok().flatten().and_then(|c| c.dyn_into::<CanvasRenderingContext2d>().ok());
    if let (Some(context), Ok(image)) = (context, ImageData::new_with_u8_clamped_array(Clamped(&pixels), paper.width()))
    {
        let _ = context.put_image_data(&image, 0.0, 0.0);
    }
}

/// Lets the reader draw on every paper in `area`. A stroke counts when it ends: until then nothing else of the page moves.
pub(crate) fn watch(lab: Lab, area: &Element) {
    for paper in page::find_all(area, "[data-drawing]") {
        let name = paper.get_attribute("data-drawing").unwrap_or_default();
        let Ok(sheet) = paper.clone().dyn_into::<HtmlCanvasElement>() else { continue };
        let (last, ink) = (Cell::new(None), RefCell::new(Vec::new()));
        let moved = Closure::<dyn FnMut(PointerEvent)>::new(move |event: PointerEvent| {
            let share = |at: i32, of: i32, pixels: u32| f64::from(at) / f64::from(of.max(1)) * f64::from(pixels);
            let at = [
                share(event.offset_x(), sheet.client_width(), sheet.width()),
                share(event.offset_y(), sheet.client_height(), sheet.height()),
            ];
            match (event.type_().as_str(), last.get()) {
                ("pointerdown", None) if event.button() == 0 => {
                    // Neither selects words nor begins to drag; and what leaves the paper still belongs to the stroke.
                    event.prevent_default();
                    let _ = sheet.set_pointer_capture(event.pointer_id());
                    *ink.borrow_mut() = picture(&sheet, &lab.text(&name));
                    last.set(Some((event.pointer_id(), at)));
                }
                (kind, Some((pointer, from))) if pointer == event.pointer_id() => {
                    last.set((kind == "pointermove").then_some((pointer, at)));
                    // A stroke that the browser took away ended where it last was.
                    let to = if kind == "pointercancel" { from } else { at };
                    brush::stroke(&mut ink.borrow_mut(), sheet.width() as usize, from, to);
                    paint(&sheet, &ink.borrow());
                    if kind != "pointermove" {
                        lab.set_param(&name, &text(&ink.borrow()));
                    }
                }
                _ => {}
            }
        });
        for kind in ["pointerdown", "pointermove", "pointerup", "pointercancel"] {
            let _ = paper.add_event_listener_with_callback(kind, moved.as_ref().unchecked_ref());
        }
        // Lives as long as the page.
        moved.forget();
    }
}
