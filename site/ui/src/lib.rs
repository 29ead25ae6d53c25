//! The WASM entry of the page. `site/js/labs.js` loads it when a lab nears the view and calls [`mount`] for each section.

#![cfg(target_family = "wasm")]

use wasm_bindgen::prelude::wasm_bindgen;
use web_sys::HtmlElement;

/// Runs when the module is loaded. In development a defect of ours shows its words in the browser's console; readers need no
/// words there, and do without their weight.
#[wasm_bindgen(start)]
pub fn start() {
    #[cfg(debug_assertions)]
    console_error_panic_hook::set_once();
}

/// Brings one `section[data-lab]` to life.
#[wasm_bindgen]
pub fn mount(section: HtmlElement) {
    lab_ui::mount(section);
}
