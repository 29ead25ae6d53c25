//! Shows what a run gives.

use std::rc::Rc;

use lab_api::{Chart, Report, RunRecord};
use lab_charts::{ChartMode, compare_html, partial_html, run_html};
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use web_sys::HtmlElement;

use super::Lab;
use crate::canvas::paint;
use crate::page;

/// Shortest time between two drawings of a partial report, in milliseconds.
const PARTIAL_MS: f64 = 400.0;

impl Lab {
    pub(super) fn show_partial(self, report: Report) {
        let inner = self.inner();
        let now = page::now_ms();
        if now - inner.partial_ms.get() < PARTIAL_MS {
            return;
        }
        inner.partial_ms.set(now);
        let html = partial_html(&inner.data.lab, &report, ChartMode::Canvas);
        self.show(&html, report.charts);
    }

    pub(super) fn show_result(self, mut records: Vec<RunRecord>) {
        let inner = self.inner();
        let html = match &records[..] {
            [one] => run_html(one, inner.data.reference.as_ref(), ChartMode::Canvas),
            [cpu, gpu] => compare_html(cpu, gpu),
            _ => return,
        };
        let charts = if records.len() == 1 { std::mem::take(&mut records[0].report.charts) } else { Vec::new() };
        self.show(&html, charts);
    }

    /// Puts HTML of [`lab_charts`] (which escapes all text) into the place of results, and draws its charts.
    pub(super) fn show(self, html: &str, charts: Vec<Chart>) {
        let inner = self.inner();
        *inner.charts.borrow_mut() = Rc::new(charts);
        if let Some(area) = self.results() {
            // What the reader has unfolded stays so: in a live lab the next result is a moment away.
            let open = page::find_all(&area, "details[open]");
            area.set_inner_html(html);
            for details in open {
                page::set_attribute(&area, &("#".to_owned() + &details.id()), "open", Some(""));
            }
        }
        self.repaint();
    }

    /// Where results stand.
    pub(crate) fn results(self) -> Option<HtmlElement> {
        let root: HtmlElement = self.root.get_untracked()?.into();
        Some(page::find(&root, ".lab-results-body")?.unchecked_into())
    }

    /// Draws all canvases anew: after new results, in another theme, at another width.
    pub(crate) fn repaint(self) {
        let inner = self.inner();
        let Some(area) = self.results() else { return };
        let mine = inner.shown.get().wrapping_add(1);
        inner.shown.set(mine);
        let charts = Rc::clone(&inner.charts.borrow());
        page::spawn(async move {
            paint(area, &charts, inner.data.live, || inner.shown.get() == mine).await;
        });
    }
}
