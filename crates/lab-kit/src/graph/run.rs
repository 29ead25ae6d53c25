//! The interpreter: a program runs in one arena, or, as its eager twin, with a buffer for each result.

use lab_kernels::graph::{
    Binary, Reduce, Row, Strided, TILES, Unary, binary, few_rows, pack, pool, reduce, strip, unary,
};

use super::{Bound, Id, Kernel, Op, Program, bind::ROWS};

/// Where a root lies.
#[derive(Debug, Clone, Copy)]
enum Home {
    Input(usize),
    State(usize),
    Constant(usize),
    /// Slot, first number, how many.
    Buffer(usize, usize, usize),
}

/// Whether freed memory is overwritten with what shows when it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Poison {
    /// It stays as it is.
    No,
    /// It becomes NaN.
    Freed,
}

/// What a program runs in.
#[derive(Debug, Clone)]
pub struct Memory {
    /// Numbers of the inputs, in the order of their nodes.
    pub inputs: Vec<Vec<f32>>,
    /// Numbers of the states, likewise.
    pub states: Vec<Vec<f32>>,
    slots: Vec<Vec<f32>>,
    eager: bool,
    homes: Vec<Option<Home>>,
    steps: Vec<Vec<Step>>,
    scratch: Vec<f32>,
    panels: [Vec<f32>; 2],
    strip: Vec<f32>,
    temporary: [Vec<f32>; 2],
}

impl Memory {
    /// One arena for a program, or, `eager`, a buffer for each result, made when it is needed. Inputs and states are zero.
    #[must_use]
    pub fn new(program: &Program, eager: bool) -> Self {
        let graph = &program.graph;
        let mut homes = vec![None; graph.nodes.len()];
        let (mut inputs, mut states) = (Vec::new(), Vec::new());
        for (id, node) in graph.nodes.iter().enumerate() {
            match node.op {
                Op::Input => {
                    homes[id] = Some(Home::Input(inputs.len()));
                    inputs.push(vec![0.0; graph.numbers(id)]);
                }
                Op::State => {
                    homes[id] = Some(Home::State(states.len()));
                    states.push(vec![0.0; graph.numbers(id)]);
                }
                Op::Constant(constant) => homes[id] = Some(Home::Constant(constant)),
                _ => {}
            }
        }
        for (i, buffer) in program.buffers.iter().enumerate() {
            for root in &buffer.roots {
                let (slot, at) = if eager { (i, 0) } else { (0, buffer.offset / 4) };
                homes[*root] = Some(Home::Buffer(slot, at, buffer.life.size / 4));
            }
        }
        let slots =
            if eager { vec![Vec::new(); program.buffers.len()] } else { vec![vec![0.0; program.counts.arena / 4]] };
        let mut memory = Self {
            inputs,
            states,
            slots,
            eager,
            homes,
            steps: Vec::new(),
            scratch: Vec::new(),
            panels: Default::default(),
            strip: Vec::new(),
            temporary: Default::default(),
        };
        memory.steps = program.kernels.iter().map(|kernel| memory.steps_of(program, kernel)).collect();
        memory
    }
}

/// An operation on a row of a kernel.
#[derive(Debug, Clone)]
struct Step {
    id: Id,
    act: Act,
    inputs: Vec<Source>,
    /// Of its row in what the kernel holds, and how many numbers.
    at: usize,
    length: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Act {
    Unary(Unary),
    Binary(Binary),
    Reduce(Reduce),
    /// Width of the plane.
    Pool(usize),
    Concat,
    Gather,
    Write,
    /// The kernel's product or convolution has made it.
    Core,
}

/// Where a step's input comes from.
#[derive(Debug, Clone, Copy)]
enum Source {
    /// The row that an earlier step has made: where, and how many numbers.
    Held(usize, usize),
    /// Memory: strides along the leading axes, and how a row lies.
    Far { home: Home, offset: usize, lead: [usize; 3], row: Lie },
}

/// How the numbers of a row lie.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Lie {
    One,
    Run(usize),
    /// Lines, numbers in a line, strides of both.
    Apart([usize; 4]),
}

/// Leading axes of a kernel: those before a row. Planes are rows where nothing is reduced along the last axis and all lies in order.
fn lead_of(program: &Program, kernel: &Kernel) -> usize {
    let graph = &program.graph;
    let first = &graph.nodes[kernel.nodes[0]];
    if kernel.nodes.iter().any(|id| graph.nodes[*id].op == Op::Pool) {
        return 2;
    }
    let plain = |id: &Id| {
        let node = &graph.nodes[*id];
        let flat = |input: &Id| {
            let (shape, strides) = (graph.shape(*input), program.places[*input].strides);
            shape[2..] == [1, 1] || shape[2..] == node.shape[2..] && strides[3] == 1 && strides[2] == shape[3]
        };
        node.op.is_elementwise() && node.inputs.iter().all(flat)
    };
    let small = first.shape[2] * first.shape[3] <= 4096;
    if small && kernel.nodes.iter().all(plain) { 2 } else { 3 }
}

impl Memory {
    fn steps_of(&self, program: &Program, kernel: &Kernel) -> Vec<Step> {
        let graph = &program.graph;
        let lead = lead_of(program, kernel);
        let row = |shape: super::Shape| shape[lead..].iter().product::<usize>();
        let mut steps: Vec<Step> = Vec::with_capacity(kernel.nodes.len());
        let mut at = 0;
        for id in &kernel.nodes {
            let node = &graph.nodes[*id];
            let source = |input: &Id| {
                if let Some(step) = steps.iter().find(|step| step.id == *input) {
                    return Source::Held(step.at, step.length);
                }
                let (place, shape) = (program.places[*input], graph.shape(*input));
                // A size of 1 is repeated.
                let stride = |axis: usize| if shape[axis] == 1 { 0 } else { place.strides[axis] };
                let axes: [usize; 3] = std::array::from_fn(|axis| if axis < lead { stride(axis) } else { 0 });
                // How many numbers the step reads of a row: reductions and concatenations read what the input has.
                let wide =
                    if let Op::Reduce(_) | Op::Concat | Op::Gather | Op::Pool = node.op { shape } else { node.shape };
                let (lines, width) = if lead == 2 { (wide[2], wide[3]) } else { (1, wide[3]) };
                let (down, right) = (if lead == 2 { stride(2) } else { 0 }, stride(3));
                let lie = if (lines == 1 || down == 0) && (width == 1 || right == 0) {
                    Lie::One
                } else if (width == 1 || right == 1) && (lines == 1 || down == width) {
                    Lie::Run(lines * width)
                } else {
                    Lie::Apart([lines, width, down, right])
                };
                // The places of a program all have homes.
                let home = self.homes[place.root].unwrap_or(Home::Input(0));
                Source::Far { home, offset: place.offset, lead: axes, row: lie }
            };
            let act = match node.op {
                Op::Unary(op) => Act::Unary(op),
                Op::Binary(op) => Act::Binary(op),
                Op::Reduce(op) => Act::Reduce(op),
                Op::Pool => Act::Pool(graph.shape(node.inputs[0])[3]),
                Op::Concat => Act::Concat,
                Op::Gather => Act::Gather,
                Op::Write { .. } => Act::Write,
                _ => Act::Core,
            };
            let inputs = if act == Act::Core { Vec::new() } else { node.inputs.iter().map(source).collect() };
            let length = if act == Act::Write { graph.shape(node.inputs[1])[3] } else { row(node.shape) };
            steps.push(Step { id: *id, act, inputs, at, length });
            at += length;
        }
        steps
    }

    fn of<'a>(&'a self, bound: &'a Bound, home: Home) -> &'a [f32] {
        match home {
            Home::Input(i) => &self.inputs[i],
            Home::State(i) => &self.states[i],
            Home::Constant(i) => &bound.constants[i],
            Home::Buffer(slot, at, count) => &self.slots[slot][at..at + count],
        }
    }
}

impl Program {
    // ANCHOR: run
    /// Runs all kernels and gives the outputs.
    pub fn run(&self, bound: &Bound, memory: &mut Memory, poison: Poison) -> Vec<Vec<f32>> {
        if poison == Poison::Freed && !memory.eager {
            memory.slots[0].fill(f32::NAN);
        }
        for (step, kernel) in self.kernels.iter().enumerate() {
            if memory.eager {
                for (slot, buffer) in memory.slots.iter_mut().zip(&self.buffers).filter(|(_, b)| b.life.first == step) {
                    *slot = vec![0.0; buffer.life.size / 4];
                }
            }
            self.launch(step, kernel, bound, memory);
            let dies = |buffer: &&super::Buffer| buffer.life.last == step && step + 1 < self.kernels.len();
            for (i, buffer) in self.buffers.iter().enumerate().filter(|(_, buffer)| dies(buffer)) {
                if memory.eager {
                    memory.slots[i] = Vec::new();
                } else if poison == Poison::Freed {
                    memory.slots[0][buffer.offset / 4..][..buffer.life.size / 4].fill(f32::NAN);
                }
            }
        }
        self.graph.outputs.iter().map(|id| self.gathered(*id, bound, memory)).collect()
    }
    // ANCHOR_END: run

    /// The numbers of a node, in order.
    fn gathered(&self, id: Id, bound: &Bound, memory: &Memory) -> Vec<f32> {
        let (place, shape) = (self.places[id], self.graph.shape(id));
        let Some(home) = memory.homes[place.root] else { return Vec::new() };
        let data = memory.of(bound, home);
        let [_, b, c, d] = shape;
        let at = |i: usize| {
            let [w, x, y, z] = [i / (b * c * d), i / (c * d) % b, i / d % c, i % d];
            let [p, q, r, s] = place.strides;
            data[place.offset + w * p + x * q + y * r + z * s]
        };
        (0..self.graph.numbers(id)).map(at).collect()
    }

    fn launch(&self, number: usize, kernel: &Kernel, bound: &Bound, memory: &mut Memory) {
        let steps = std::mem::take(&mut memory.steps[number]);
        let mut scratch = std::mem::take(&mut memory.scratch);
        scratch.resize(steps.last().map_or(0, |step| step.at + step.length).max(scratch.len()), 0.0);
        let first = &self.graph.nodes[kernel.nodes[0]];
        match first.op {
            Op::Product => self.multiply(number, kernel, (bound, memory), &steps, &mut scratch),
            Op::Convolution => self.convolve(kernel.nodes[0], bound, memory),
            Op::Write { at } => self.write(kernel.nodes[0], at, (bound, memory), &steps[0]),
            _ => {
                let lead = lead_of(self, kernel);
                let sizes = std::array::from_fn(|axis| if axis < lead { first.shape[axis] } else { 1 });
                rows(kernel, sizes, (bound, memory), &steps, &mut scratch);
            }
        }
        memory.steps[number] = steps;
        memory.scratch = scratch;
    }

    /// A product in strips of rows, and what follows it in the kernel, row by row, while the strip is warm.
    fn multiply(
        &self,
        number: usize,
        kernel: &Kernel,
        (bound, memory): (&Bound, &mut Memory),
        steps: &[Step],
        scratch: &mut [f32],
    ) {
        let node = &self.graph.nodes[kernel.nodes[0]];
        let [a, b] = [node.inputs[0], node.inputs[1]];
        let ([i, j, m, n], k) = (node.shape, self.graph.shape(a)[3]);
        let [width, columns] = TILES[bound.tile];
        let mut panels = std::mem::take(&mut memory.panels);
        let mut strip_of = std::mem::take(&mut memory.strip);
        for batch in 0..i * j {
            let few = m < ROWS;
            let matrix = |id: Id, rows: usize, columns: usize| {
                let (place, shape) = (self.places[id], self.graph.shape(id));
                let stride = |axis: usize| if shape[axis] == 1 { 0 } else { place.strides[axis] };
                let from = place.offset + batch / j * stride(0) + batch % j * stride(1);
                let home = memory.homes[place.root].unwrap_or(Home::Input(0));
                Strided {
                    data: &memory.of(bound, home)[from..],
                    rows,
                    columns,
                    row: place.strides[2],
                    column: place.strides[3],
                }
            };
            let (left, right) = (matrix(a, m, k), matrix(b, k, n));
            let [x, y] = &mut panels;
            let known = bound.packed[number].as_deref();
            if !few && known.is_none() {
                pack(right, columns, y);
            }
            let tall = if few { m } else { width * (32 / width) };
            // All that the product reads of the arena is packed before anything is written.
            if few {
                strip_of.resize(m * n, 0.0);
                few_rows(left, right, &mut strip_of);
            } else {
                pack(left.transposed(), width, x);
            }
            for from in (0..m).step_by(tall) {
                let height = tall.min(m - from);
                if !few {
                    strip_of.resize(height * n, 0.0);
                    let part = &x[from * k..x.len().min((from + tall) * k)];
                    strip(part, known.unwrap_or(y), [k, n], bound.tile, &mut strip_of);
                }
                let row = batch * m + from;
                if kernel.nodes.len() == 1 {
                    put(memory, kernel.nodes[0], row * n, &strip_of[..height * n]);
                    continue;
                }
                for (r, line) in strip_of.chunks_exact(n).take(height).enumerate() {
                    scratch[..n].copy_from_slice(line);
                    row_of(steps, [batch / j, batch % j, from + r], (bound, memory), scratch);
                    put_row(kernel, steps, row + r, memory, scratch);
                }
            }
        }
        memory.panels = panels;
        memory.strip = strip_of;
    }

    /// A convolution as a product with the nine neighbours of each place side by side.
    fn convolve(&self, id: Id, bound: &Bound, memory: &mut Memory) {
        let node = &self.graph.nodes[id];
        let [images, outputs, height, width] = node.shape;
        let (place, [_, channels, ..]) = (self.places[node.inputs[0]], self.graph.shape(node.inputs[0]));
        let homes =
            [place.root, self.places[node.inputs[1]].root].map(|root| memory.homes[root].unwrap_or(Home::Input(0)));
        let (area, k) = (height * width, 9 * channels);
        let [rows, columns] = TILES[bound.tile];
        let mut panels = std::mem::take(&mut memory.panels);
        let mut around = std::mem::take(&mut memory.temporary[0]);
        let mut strip_of = std::mem::take(&mut memory.strip);
        let weights = Strided { data: memory.of(bound, homes[1]), rows: outputs, columns: k, row: k, column: 1 };
        pack(weights.transposed(), rows, &mut panels[0]);
        for image in 0..images {
            around.clear();
            around.resize(k * area, 0.0);
            let x = &memory.of(bound, homes[0])[place.offset + image * place.strides[0]..];
            for (tap, line) in around.chunks_exact_mut(area).enumerate() {
                let (plane, [dy, dx]) = (&x[tap / 9 * place.strides[1]..], [tap % 9 / 3, tap % 3]);
                for y in 0..height {
                    let Some(from) = (y + dy).checked_sub(1).filter(|from| *from < height) else { continue };
                    // Columns whose neighbour lies within the image.
                    let (first, last) = (1_usize.saturating_sub(dx), width.min(width + 1 - dx));
                    let place_of = &mut line[y * width + first..y * width + last];
                    place_of.copy_from_slice(&plane[from * width + first + dx - 1..][..last - first]);
                }
            }
            let right = Strided { data: &around, rows: k, columns: area, row: area, column: 1 };
            pack(right, columns, &mut panels[1]);
            strip_of.resize(outputs * area, 0.0);
            strip(&panels[0], &panels[1], [k, area], bound.tile, &mut strip_of);
            put(memory, id, image * outputs * area, &strip_of[..outputs * area]);
        }
        (memory.panels, memory.strip) = (panels, strip_of);
        memory.temporary[0] = around;
    }

    /// New rows of a state.
    fn write(&self, id: Id, at: usize, (bound, memory): (&Bound, &mut Memory), step: &Step) {
        let node = &self.graph.nodes[id];
        let [_, heads, rows, width] = self.graph.shape(node.inputs[1]);
        let Some(Home::State(state)) = memory.homes[self.places[id].root] else { return };
        let mut temporary = std::mem::take(&mut memory.temporary[0]);
        for row in 0..heads * rows {
            let (head, r) = (row / rows, row % rows);
            let source = step.inputs[1];
            let found = fetch(source, [0, head, r], (bound, memory), &[], &mut temporary);
            let line: Vec<f32> = if let Row::Values(line) = found { line.to_vec() } else { continue };
            memory.states[state][(head * node.shape[2] + at + r) * width..][..width].copy_from_slice(&line);
        }
        memory.temporary[0] = temporary;
    }
}

/// All rows of a kernel without a product.
fn rows(
    kernel: &Kernel,
    sizes: [usize; 3],
    (bound, memory): (&Bound, &mut Memory),
    steps: &[Step],
    scratch: &mut [f32],
) {
    let [a, b, c] = sizes;
    for row in 0..a * b * c {
        row_of(steps, [row / (b * c), row / c % b, row % c], (bound, memory), scratch);
        put_row(kernel, steps, row, memory, scratch);
    }
}

/// Writes a row of each of a kernel's outputs.
fn put_row(kernel: &Kernel, steps: &[Step], row: usize, memory: &mut Memory, scratch: &[f32]) {
    for step in steps.iter().filter(|step| kernel.outputs.contains(&step.id)) {
        put(memory, step.id, row * step.length, &scratch[step.at..step.at + step.length]);
    }
}

fn put(memory: &mut Memory, id: Id, from: usize, numbers: &[f32]) {
    if let Some(Home::Buffer(slot, at, _)) = memory.homes[id] {
        memory.slots[slot][at + from..][..numbers.len()].copy_from_slice(numbers);
    }
}

// ANCHOR: row
/// All steps of a kernel on one row; what one step makes, the next reads where it lies.
fn row_of(steps: &[Step], at: [usize; 3], (bound, memory): (&Bound, &mut Memory), scratch: &mut [f32]) {
    let [mut one, mut other] = std::mem::take(&mut memory.temporary);
    for step in steps {
        let (held, out) = scratch.split_at_mut(step.at);
        let out = &mut out[..step.length];
        let reader = (bound, &*memory);
        if let Act::Concat | Act::Gather = step.act {
            join(step, at, reader, held, &mut one, out);
            continue;
        }
        let Some(source) = step.inputs.first() else { continue };
        let x = fetch(*source, at, reader, held, &mut one);
        match (step.act, x) {
            (Act::Unary(op), x) => unary(op, x, out),
            (Act::Binary(op), a) => binary(op, a, fetch(step.inputs[1], at, reader, held, &mut other), out),
            (Act::Reduce(op), Row::Values(x)) => out[0] = reduce(op, x),
            (Act::Reduce(_), Row::One(x)) => out[0] = x,
            (Act::Pool(width), Row::Values(x)) => pool(x, width, out),
            _ => {}
        }
    }
    memory.temporary = [one, other];
}
// ANCHOR_END: row

/// Rows side by side, or the row of a table.
fn join(
    step: &Step,
    at: [usize; 3],
    (bound, memory): (&Bound, &Memory),
    held: &[f32],
    one: &mut Vec<f32>,
    out: &mut [f32],
) {
    if let (Act::Gather, [Source::Far { home: table, .. }, Source::Far { home, .. }]) = (step.act, &step.inputs[..]) {
        let token = memory.of(bound, *home).get(at[2]).map_or(0, |id| *id as usize);
        let table = memory.of(bound, *table);
        let rows = table.len() / out.len().max(1);
        return out.copy_from_slice(&table[token.min(rows.saturating_sub(1)) * out.len()..][..out.len()]);
    }
    let mut from = 0;
    for source in &step.inputs {
        match fetch(*source, at, (bound, memory), held, one) {
            Row::Values(x) => {
                out[from..from + x.len()].copy_from_slice(x);
                from += x.len();
            }
            Row::One(x) => {
                out[from] = x;
                from += 1;
            }
        }
    }
}

/// A row of an input, where it lies or, if it does not lie in order, copied.
fn fetch<'a>(
    source: Source,
    at: [usize; 3],
    (bound, memory): (&'a Bound, &'a Memory),
    held: &'a [f32],
    temporary: &'a mut Vec<f32>,
) -> Row<'a> {
    match source {
        Source::Held(from, 1) => Row::One(held[from]),
        Source::Held(from, length) => Row::Values(&held[from..from + length]),
        Source::Far { home, offset, lead, row } => {
            let data = &memory.of(bound, home)[offset + at[0] * lead[0] + at[1] * lead[1] + at[2] * lead[2]..];
            match row {
                Lie::One => Row::One(data[0]),
                Lie::Run(length) => Row::Values(&data[..length]),
                Lie::Apart([lines, width, down, right]) => {
                    temporary.clear();
                    let all = (0..lines).flat_map(|y| (0..width).map(move |x| y * down + x * right));
                    temporary.extend(all.map(|i| data[i]));
                    Row::Values(temporary)
                }
            }
        }
    }
}
