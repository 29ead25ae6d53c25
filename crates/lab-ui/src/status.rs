//! Shows where the course of a run is: message, progress, which buttons count.

use wasm_bindgen::JsCast;
use web_sys::{Element, FocusOptions, HtmlElement};

use crate::page::{self, set_attribute, set_hidden, set_text};
use crate::{Phase, View};

const IDLE: &str = "Press Run: the lab computes on this device, and nothing leaves it.";
const IDLE_LIVE: &str = "Press Run: then the result follows the controls. Nothing leaves this device.";
const STALE: &str = "The controls have changed since this run began.";

/// Called whenever the course goes on, or the setting of the result shown is no longer the present one.
pub(crate) fn show(area: &HtmlElement, view: &View, live: bool, stale: bool) {
    let running = view.phase == Phase::Running && !view.quiet;
    let was_running = page::find(area, "[data-action=run]:disabled").is_some();
    // Asked before the pressed button is switched off: afterwards nothing has the focus.
    let move_focus = running != was_running && has_focus(area);
    let off = |condition: bool| condition.then_some("");
    set_attribute(area, "[data-action=run]", "disabled", off(running));
    set_attribute(area, "[data-action=compare]", "disabled", off(running));
    set_attribute(area, "[data-action=cancel]", "disabled", off(!running));
    set_hidden(area, "[data-action=run-cpu]", !view.offer_cpu);
    if move_focus {
        focus(area, if running { "[data-action=cancel]" } else { "[data-action=run]" });
    }
    let failed = view.phase == Phase::Failed;
    set_attribute(area, "[data-lab-message]", "role", Some(if failed { "alert" } else { "status" }));
    let idle = if live { IDLE_LIVE } else { IDLE };
    set_text(area, "[data-lab-message]", if view.phase == Phase::Ready { idle } else { &view.message });
    set_hidden(area, ".lab-progress", !running);
    set_text(area, ".lab-stage", &view.stage);
    // Without a value the bar says "going on", not "how far".
    let fraction = view.fraction.map(|share| ((share * 1000.0).round() / 1000.0).to_string());
    set_attribute(area, "progress", "value", fraction.as_deref());
    set_hidden(area, ".lab-results", !matches!(view.phase, Phase::Running | Phase::Done));
    set_text(area, ".lab-stale", if stale && !live && view.phase == Phase::Done { STALE } else { "" });
}

/// Whether the keyboard is at one of the buttons that start or stop a run.
fn has_focus(area: &Element) -> bool {
    page::active().is_some_and(|active| area.contains(Some(&active)) && active.has_attribute("data-action"))
}

/// A button that is switched off loses the keyboard's place: Run hands it to Cancel, and gets it back.
fn focus(area: &Element, selector: &str) {
    if let Some(button) = page::find(area, selector) {
        let options = FocusOptions::new();
        options.set_prevent_scroll(true);
        // Later, when no state of the course is borrowed: focus raises events.
        page::spawn(async move {
            let _ = button.unchecked_into::<HtmlElement>().focus_with_options(&options);
        });
    }
}
