//! What a forward pass calls on its way.

use burn::tensor::Tensor;

use super::{Depth, Event, Part};
use crate::Context;

// ANCHOR: probe
/// Watches a forward pass. Everything has a default that does nothing, so a probe says only what it wants to know.
pub trait Probe {
    /// A part begins.
    fn enter(&mut self, _part: Part) {}
    /// It ends.
    fn leave(&mut self, _part: Part) {}
    /// Whether a part shall run at all: a norm, rotary positions, a softmax or SiLU that does not run hands on what it was given.
    fn runs(&self, _part: Part) -> bool {
        true
    }
    /// The matrices of these names (within their layer) are about to be given this input, `[B, T, inputs]`.
    fn given(&mut self, _names: &[&str], _input: &Tensor<3>) {}
}

/// Nobody watches.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProbe;

impl Probe for NoProbe {}
// ANCHOR_END: probe

/// Does a part under a probe's eyes.
#[inline]
pub(crate) fn span<T>(probe: &mut dyn Probe, part: Part, call: impl FnOnce() -> T) -> T {
    probe.enter(part);
    let result = call();
    probe.leave(part);
    result
}

// ANCHOR: clock
/// Reads the clock at both ends of the parts that a look of this depth tells apart, and of the pass.
pub struct SpanProbe<'a> {
    cx: &'a Context,
    depth: Depth,
    step_ms: f64,
    /// What happened since the pass began.
    pub events: Vec<Event>,
}

impl<'a> SpanProbe<'a> {
    /// A probe that reads the run's clock, rounded down to steps of `step_ms`; 0 leaves it as it is.
    #[must_use]
    pub fn new(cx: &'a Context, depth: Depth, step_ms: f64) -> Self {
        // Room for a pass, so that no buffer grows inside of a span.
        Self { cx, depth, step_ms, events: Vec::with_capacity(1024) }
    }

    /// What its clock shows.
    #[must_use]
    pub fn now_ms(&self) -> f64 {
        let now = self.cx.now_ms();
        if self.step_ms > 0.0 { (now / self.step_ms).floor() * self.step_ms } else { now }
    }

    fn read(&mut self, part: Part, enters: bool) {
        if part == Part::Pass || part.is_leaf_at(self.depth) {
            if part == Part::Pass && enters {
                self.events.clear();
            }
            let at_ms = self.now_ms();
            self.events.push(Event { part, enters, at_ms });
        }
    }
}

impl Probe for SpanProbe<'_> {
    fn enter(&mut self, part: Part) {
        self.read(part, true);
    }
    fn leave(&mut self, part: Part) {
        self.read(part, false);
    }
}
// ANCHOR_END: clock

/// Counts how often each part runs, and keeps their order.
#[derive(Debug, Clone, Default)]
pub struct CountProbe {
    /// Parts in the order in which they began.
    pub order: Vec<Part>,
}

impl CountProbe {
    /// How often a part ran.
    #[must_use]
    pub fn calls(&self, part: Part) -> u64 {
        self.order.iter().filter(|seen| **seen == part).count() as u64
    }
}

impl Probe for CountProbe {
    fn enter(&mut self, part: Part) {
        self.order.push(part);
    }
}

// ANCHOR: memory
/// Reads the allocator at both ends of every part: bytes that live then.
pub struct MemoryProbe<'a> {
    cx: &'a Context,
    /// The part that begins or ends, and the bytes held; empty where the host does not count.
    pub points: Vec<(Part, usize)>,
}

impl<'a> MemoryProbe<'a> {
    /// A probe of the engine's allocator.
    #[must_use]
    pub fn new(cx: &'a Context) -> Self {
        Self { cx, points: Vec::with_capacity(1024) }
    }

    /// Writes down what is held now.
    pub fn note(&mut self, part: Part) {
        if let Some(memory) = self.cx.memory() {
            self.points.push((part, memory.current_bytes));
        }
    }
}

impl Probe for MemoryProbe<'_> {
    fn enter(&mut self, part: Part) {
        self.note(part);
    }
    fn leave(&mut self, part: Part) {
        self.note(part);
    }
}
// ANCHOR_END: memory

/// Leaves all parts out that `what` picks: to ask what a model would be without them.
#[derive(Debug, Clone, Copy)]
pub struct Without(pub fn(Part) -> bool);

impl Probe for Without {
    fn runs(&self, part: Part) -> bool {
        !(self.0)(part)
    }
}
