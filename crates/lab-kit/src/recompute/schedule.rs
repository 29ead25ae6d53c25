//! A training step as a list of actions: one program runs any schedule, and another counts what it holds.

/// One action. Activation `i` is what layer `i` reads; activation `n` is the output of the last of `n` layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Layer `i` makes activation `i + 1` from activation `i`.
    Forward(usize),
    /// Activation `i` is forgotten.
    Drop(usize),
    /// The output becomes its gradient.
    Loss,
    /// Layer `i` makes the gradient of activation `i` and of its weights; its input is forgotten, and the gradient it was
    /// given.
    Backward(usize),
}

// ANCHOR: placed
/// The step that keeps the inputs of the marked layers and runs every segment but the last one again. `early`: a segment is
/// run again only as far as its backward pass needs it, which spares its last layer.
#[must_use]
pub fn placed(keep: &[bool], early: bool) -> Vec<Action> {
    let layers = keep.len();
    let starts: Vec<usize> = (0..layers).filter(|layer| *layer == 0 || keep[*layer]).collect();
    let last = starts.last().copied().unwrap_or(0);
    let mut actions = Vec::new();
    for layer in 0..layers {
        actions.push(Action::Forward(layer));
        if layer < last && !starts.contains(&layer) {
            actions.push(Action::Drop(layer));
        }
    }
    actions.push(Action::Loss);
    let mut end = layers;
    for start in starts.into_iter().rev() {
        if end < layers {
            actions.extend((start..end - usize::from(early)).map(Action::Forward));
            if !early {
                actions.push(Action::Drop(end));
            }
        }
        actions.extend((start..end).rev().map(Action::Backward));
        end = start;
    }
    actions
}
// ANCHOR_END: placed

// ANCHOR: revolve
/// Forward runs that reverse so many equal layers with so many slots for kept inputs, the first of which holds the chain's
/// own (Griewank and Walther, 2000): how far to advance before the next input is kept, `(runs, advance)`.
fn split(layers: usize, slots: usize, table: &[Vec<usize>]) -> (usize, usize) {
    if layers < 2 {
        return (0, 0);
    }
    if slots < 2 {
        return (layers * (layers - 1) / 2, layers - 1);
    }
    let runs = |advance: usize| advance + table[slots - 1][layers - advance] + table[slots][advance];
    (1..layers).map(|advance| (runs(advance), advance)).min().unwrap_or((0, 0))
}
// ANCHOR_END: revolve

/// `table[slots][layers]`: forward runs.
fn table(layers: usize, slots: usize) -> Vec<Vec<usize>> {
    let mut table = vec![Vec::new(); slots + 1];
    for slots in 1..=slots {
        for layers in 0..=layers {
            let (runs, _) = split(layers, slots, &table);
            table[slots].push(runs);
        }
    }
    table
}

/// Forward runs of layers that [`revolved`] takes, without that of the last layer, from which the loss is computed.
#[must_use]
pub fn revolve_forwards(layers: usize, slots: usize) -> usize {
    table(layers, slots.max(1))[slots.max(1)][layers]
}

/// The step that holds as many kept inputs as there are slots and runs what it needs again, as often as it must. With a
/// single slot it begins at the chain's input each time.
#[must_use]
pub fn revolved(layers: usize, slots: usize) -> Vec<Action> {
    let slots = slots.max(1);
    let mut reverse = Reverse { layers, table: table(layers, slots), actions: Vec::new() };
    reverse.run(0, layers, slots);
    reverse.actions
}

struct Reverse {
    layers: usize,
    table: Vec<Vec<usize>>,
    actions: Vec<Action>,
}

impl Reverse {
    /// From activation `start`, which is held, to activation `to`; what lies between is forgotten at once.
    fn advance(&mut self, start: usize, to: usize) {
        for layer in start..to {
            self.actions.push(Action::Forward(layer));
            if layer > start {
                self.actions.push(Action::Drop(layer));
            }
        }
    }

    fn last(&mut self, layer: usize) {
        if layer + 1 == self.layers {
            self.actions.extend([Action::Forward(layer), Action::Loss]);
        }
        self.actions.push(Action::Backward(layer));
    }

    fn run(&mut self, start: usize, end: usize, slots: usize) {
        if end <= start + 1 {
            if end > start {
                self.last(start);
            }
        } else if slots == 1 {
            for layer in (start..end).rev() {
                self.advance(start, layer);
                self.last(layer);
            }
        } else {
            let (_, advance) = split(end - start, slots, &self.table);
            self.advance(start, start + advance);
            self.run(start + advance, end, slots - 1);
            self.run(start, start + advance, slots);
        }
    }
}

/// What a schedule holds and does.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Trace {
    /// After each action: work done so far, a backward pass counted as two forward passes, and bytes of activations and
    /// their gradients held.
    pub held: Vec<(f64, usize)>,
    /// The most held at once, while a backward pass has both gradients.
    pub peak: usize,
    /// Work of all forward runs.
    pub forward: f64,
}

/// Counts a schedule; `bytes[i]` of activation `i`, one more than layers.
#[must_use]
pub fn trace(schedule: &[Action], bytes: &[usize], forward: &[f64]) -> Trace {
    let mut found = Trace::default();
    let mut held = bytes[0];
    let mut work = 0.0;
    for action in schedule {
        match *action {
            Action::Forward(layer) => {
                held += bytes[layer + 1];
                work += forward[layer];
                found.forward += forward[layer];
            }
            Action::Drop(activation) => held -= bytes[activation],
            Action::Loss => {}
            Action::Backward(layer) => {
                held += if layer > 0 { bytes[layer] } else { 0 };
                found.peak = found.peak.max(held);
                held -= bytes[layer + 1] + bytes[layer];
                work += 2.0 * forward[layer];
            }
        }
        found.peak = found.peak.max(held);
        found.held.push((work, held));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{super::cost, *};

    /// `(c + r)! / (c! r!)`.
    fn choose(n: usize, k: usize) -> usize {
        (0..k.min(n - k)).fold(1, |product, i| product * (n - i) / (i + 1))
    }

    #[test]
    fn runs_of_revolve_agree_with_the_closed_form() {
        // Griewank and Walther: r l - C(c + r, r - 1) with the smallest r whose C(c + r, r) reaches l.
        for layers in 2..=100 {
            for slots in 1..=8 {
                let r = (1..).find(|r| choose(slots + r, *r) >= layers).expect("grows");
                assert_eq!(revolve_forwards(layers, slots), r * layers - choose(slots + r, r - 1), "{layers} {slots}");
            }
        }
        let known = [(10, 3, 15), (16, 3, 33), (16, 4, 27), (20, 3, 45), (64, 4, 200), (64, 8, 137), (100, 5, 316)];
        for (layers, slots, runs) in known {
            assert_eq!(revolve_forwards(layers, slots), runs);
        }
        assert_eq!(revolve_forwards(16, 1), 120);
    }

    #[test]
    fn a_schedule_runs_what_it_says() {
        let (bytes, forward) = (vec![1; 17], vec![1.0; 16]);
        for slots in 1..=8 {
            let found = trace(&revolved(16, slots), &bytes, &forward);
            assert_eq!(found.forward, (revolve_forwards(16, slots) + 1) as f64);
            // All slots, what is being made or two gradients, and with the last slot one activation that is in no slot.
            assert!(found.peak <= slots + 3, "{slots}: {}", found.peak);
            assert_eq!(found.held.last().map(|(_, held)| *held), Some(0));
        }
    }

    #[test]
    fn the_count_agrees_with_the_formula_for_every_placement() {
        let (bytes, forward) = (vec![8; 10], vec![2.0, 3.0, 5.0, 7.0, 11.0, 13.0, 17.0, 19.0, 23.0]);
        for bits in 0..1_usize << 8 {
            let keep: Vec<bool> = (0..9).map(|i| i == 0 || bits >> (i - 1) & 1 == 1).collect();
            let (peak, extra) = cost(&keep, &bytes[..9], &forward);
            let [whole, early] = [false, true].map(|early| trace(&placed(&keep, early), &bytes, &forward));
            assert_eq!(whole.peak, peak + 16, "{keep:?}");
            assert_eq!(early.peak, whole.peak);
            assert_eq!(whole.forward, forward.iter().sum::<f64>() + extra);
            let spared: f64 = (1..9).filter(|layer| keep[*layer]).map(|layer| forward[layer - 1]).sum();
            assert_eq!(early.forward, whole.forward - spared);
            assert_eq!(whole.held.last().map(|(_, held)| *held), Some(0));
        }
    }
}
