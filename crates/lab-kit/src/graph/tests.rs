use rand::{Rng, RngCore};

use super::*;
use crate::{
    models::{GlyphClassifier, LanguageModel, StateDict, TransformerConfig},
    rng,
};

const ALL: Passes = Passes {
    fold: true,
    cse: true,
    dead: true,
    merge: true,
    fuse: Fuse::Epilogues,
    order: Order::Given,
    plan: Strategy::BySize,
    in_place: true,
};

fn random_setting(rng: &mut dyn RngCore) -> Passes {
    let mut flip = || rng.random_bool(0.5);
    let [fold, cse, dead, merge, in_place] = std::array::from_fn(|_| flip());
    let order = [Order::Given, Order::Depth, Order::Breadth, Order::LeastMemory][rng.random_range(0..4)];
    let plan = [Strategy::None, Strategy::InTime, Strategy::BySize][rng.random_range(0..3)];
    Passes { fold, cse, dead, merge, fuse: Fuse::ALL[rng.random_range(0..4)], order, plan, in_place }
}

/// No two buffers that live at once share a byte.
fn disjoint(program: &Program) -> bool {
    let buffers = &program.buffers;
    buffers.iter().enumerate().all(|(i, a)| {
        buffers[..i].iter().all(|b| {
            let apart = a.offset + a.life.size <= b.offset || b.offset + b.life.size <= a.offset;
            !a.life.meets(&b.life) || apart || a.life.size == 0 || b.life.size == 0
        })
    })
}

fn outcome(
    graph: &Graph,
    given: (&[Vec<f32>], &[Vec<f32>]),
    setting: Passes,
    eager: bool,
) -> (Vec<Vec<f32>>, Vec<Vec<f32>>) {
    let program = compile(graph, setting).expect("compiles");
    assert!(disjoint(&program), "{setting:?}");
    assert!(program.counts.arena >= program.counts.bound);
    let bound = program.bind(&mut |_, _| None, setting.cse, 0).expect("constants are given");
    let mut memory = Memory::new(&program, eager);
    memory.inputs = given.0.to_vec();
    for (state, values) in memory.states.iter_mut().zip(given.1) {
        state.clone_from(values);
    }
    let poison = if eager { Poison::No } else { Poison::Freed };
    let first = program.run(&bound, &mut memory, poison);
    // A second run in the same memory.
    if given.1.is_empty() {
        assert_eq!(program.run(&bound, &mut memory, poison), first);
    }
    (first, memory.states)
}

/// Removes what a failure does not need, and prints the rest.
fn smallest(mut graph: Graph, fails: &dyn Fn(&Graph) -> bool) -> Graph {
    while let Some(id) = (1..graph.nodes.len()).rev().find(|id| {
        let mut less = graph.clone();
        less.outputs = vec![*id];
        less.nodes.truncate(id + 1);
        less.nodes.len() < graph.nodes.len() && fails(&less)
    }) {
        graph.nodes.truncate(id + 1);
        graph.outputs = vec![id];
    }
    graph
}

#[test]
fn every_setting_gives_the_bits_of_the_eager_twin_on_random_graphs() {
    let mut rng = rng(0, "graphs");
    for round in 0..4000 {
        let count = rng.random_range(3..30);
        let (graph, inputs, states) = random(&mut rng, count);
        let given = (&inputs[..], &states[..]);
        let setting = random_setting(&mut rng);
        let differs = |graph: &Graph| {
            let (wanted, kept) = outcome(graph, given, Passes::NONE, true);
            let (found, left) = outcome(graph, given, setting, false);
            found != wanted || left.len() == kept.len() && left != kept
        };
        assert!(!differs(&graph), "round {round}, {setting:?}: {:#?}", smallest(graph, &differs));
    }
}

#[test]
fn passes_do_no_harm_and_are_done_at_once() {
    let mut rng = rng(1, "graphs");
    for _ in 0..300 {
        let (graph, ..) = random(&mut rng, 20);
        let passes: [fn(&Graph) -> Graph; 5] = [fold, cse, dead, last_rows, |graph| dead(&merge(graph))];
        for (i, pass) in passes.into_iter().enumerate() {
            let once = pass(&graph);
            let again = pass(&once);
            assert!(dead(&once).flops() <= graph.flops(), "pass {i}");
            // A factor that has gone into a weight may leave another behind it that can.
            let (again, once) = (dead(&again).nodes.len(), dead(&once).nodes.len());
            assert!(again == once || i == 0 && again < once, "pass {i}: {once}, then {again}");
        }
        assert!(cse(&graph).nodes.len() <= graph.nodes.len() && dead(&graph).nodes.len() <= graph.nodes.len());
    }
}

/// Whether kernels can run one after the other.
fn whole(graph: &Graph, kernels: &[Vec<Id>]) -> bool {
    let waits = depends(graph, kernels);
    let mut done = vec![false; kernels.len()];
    for _ in 0..kernels.len() {
        let Some(next) = (0..kernels.len()).find(|i| !done[*i] && waits[*i].iter().all(|other| done[*other])) else {
            return false;
        };
        done[next] = true;
    }
    true
}

#[test]
fn kernels_never_wait_for_each_other() {
    let mut rng = rng(2, "graphs");
    for _ in 0..1000 {
        let (graph, ..) = random(&mut rng, 30);
        let mut before = usize::MAX;
        for level in Fuse::ALL {
            let kernels = fuse(&graph, level);
            assert!(whole(&graph, &kernels), "{level:?} {graph:#?}");
            assert!(kernels.len() <= before);
            before = kernels.len();
        }
    }
    // x · exp(sum x): joined, the product of the first and last would wait for itself through the middle.
    let mut graph = Graph::default();
    let x = graph.add(Op::Input, &[], [1, 1, 2, 3]);
    let a = graph.unary(Unary::Relu, x);
    let turned = graph.transpose(a, [0, 1, 3, 2]);
    let square = graph.product(a, turned);
    let sum = graph.reduce(Reduce::Sum, square);
    let y = graph.binary(Binary::Multiply, a, sum);
    graph.outputs = vec![y];
    assert_eq!(fuse(&graph, Fuse::Elementwise).len(), 4);
    let joined = vec![vec![a, y], vec![square], vec![sum]];
    assert!(!whole(&graph, &joined), "the test sees a kernel that waits for itself");
}

#[test]
fn orders_are_orders_and_memory_ends_as_it_is_planned() {
    let mut rng = rng(3, "graphs");
    for _ in 0..200 {
        let (graph, inputs, states) = random(&mut rng, 25);
        let places = places(&graph).expect("views are views");
        let kernels = fuse(&graph, Fuse::Reductions);
        for order in [Order::Given, Order::Depth, Order::Breadth, Order::LeastMemory] {
            let order = deal(&graph, &places, &kernels, order, None);
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..kernels.len()).collect::<Vec<_>>());
        }
        let setting = Passes { plan: Strategy::InTime, in_place: true, fuse: Fuse::Reductions, ..Passes::NONE };
        let program = shuffled(&graph, setting, &mut rng).expect("compiles");
        assert!(disjoint(&program));
        let bound = program.bind(&mut |_, _| None, false, 0).expect("constants are given");
        let mut memory = Memory::new(&program, false);
        memory.inputs = inputs.clone();
        memory.states.clone_from(&states);
        let found = program.run(&bound, &mut memory, Poison::Freed);
        assert_eq!(found, outcome(&graph, (&inputs, &states), Passes::NONE, true).0);
    }
}

/// Six buffers by hand: A to F.
fn six() -> Vec<Life> {
    [(0, 3, 1), (3, 6, 2), (4, 4, 3), (0, 2, 4), (1, 3, 2), (3, 5, 2)]
        .map(|(first, last, size)| Life { first, last, size })
        .to_vec()
}

fn overlaps(lives: &[Life], offsets: &[usize]) -> bool {
    (0..lives.len()).any(|i| {
        (0..i).any(|j| {
            lives[i].meets(&lives[j])
                && offsets[i] < offsets[j] + lives[j].size
                && offsets[j] < offsets[i] + lives[i].size
        })
    })
}

#[test]
fn six_buffers_by_hand() {
    let lives = six();
    let of = |strategy| height(&lives, &plan(&lives, strategy));
    assert_eq!([Strategy::None, Strategy::InTime, Strategy::BySize, Strategy::Exact].map(of), [14, 8, 11, 7]);
    assert_eq!(bound(&lives), 7);
}

#[test]
fn plans_hold_and_the_exact_one_is_the_best_of_all() {
    let mut rng = rng(4, "lives");
    for round in 0..4000 {
        let count = rng.random_range(0..if round < 300 { 5 } else { 40 });
        let lives: Vec<Life> = (0..count)
            .map(|_| {
                let first = rng.random_range(0..12);
                Life { first, last: first + rng.random_range(0..6), size: rng.random_range(0..9) }
            })
            .collect();
        for strategy in [Strategy::None, Strategy::InTime, Strategy::BySize] {
            let offsets = plan(&lives, strategy);
            assert!(!overlaps(&lives, &offsets) && height(&lives, &offsets) >= bound(&lives), "{strategy:?} {lives:?}");
        }
        if round < 300 {
            // Every offset below the sum of all sizes.
            let best = height(&lives, &plan(&lives, Strategy::Exact));
            assert!(!can(&lives, best.saturating_sub(1), &mut Vec::new()) || best == 0, "{lives:?}: {best}");
        }
    }
    // A chain: each lives until the next is made. Two are there at once.
    let chain: Vec<Life> = (0..30).map(|i| Life { first: i, last: i + 1, size: 4 }).collect();
    assert_eq!(height(&chain, &plan(&chain, Strategy::BySize)), bound(&chain));
}

/// Whether any offsets fit into so much: all are tried.
fn can(lives: &[Life], room: usize, placed: &mut Vec<usize>) -> bool {
    let Some(life) = lives.get(placed.len()) else { return true };
    for offset in 0..=room.saturating_sub(life.size) {
        placed.push(offset);
        let fits = offset + life.size <= room && !overlaps(&lives[..placed.len()], placed);
        if fits && can(lives, room, placed) {
            return true;
        }
        placed.pop();
    }
    false
}

/// Kernels and bytes of the language model, as counted by another program.
#[test]
fn counts_are_those_of_the_prototype() {
    let config = LanguageModel::full().config;
    let graph = prefill(&config, 128);
    let count = |setting| compile(&graph, setting).expect("compiles").counts;
    let planned = Passes { plan: Strategy::BySize, ..Passes::NONE };
    let none = count(planned);
    assert_eq!((none.kernels, none.arena), (176, 1_277_952));
    assert_eq!(none.flops / 1_000_000, 549);
    assert_eq!(count(Passes { fold: true, ..planned }).kernels, 163);
    let level = |fuse| count(Passes { fuse, ..planned });
    assert_eq!([Fuse::Elementwise, Fuse::Reductions, Fuse::Epilogues].map(|fuse| level(fuse).kernels), [118, 75, 63]);
    assert_eq!(level(Fuse::Elementwise).arena, 983_040);
    assert_eq!(count(Passes { fold: true, fuse: Fuse::Elementwise, ..planned }).kernels, 118);
    let in_place = count(Passes { in_place: true, ..planned });
    assert_eq!((in_place.kernels, in_place.bound), (176, 983_040));
    let merged = count(Passes { fuse: Fuse::Epilogues, merge: true, ..planned });
    assert_eq!((merged.kernels, merged.bound), (55, 1_048_576));
    // Slices of tables are views: their twins cost no kernel.
    let twins = compile(&graph, Passes { cse: true, ..planned }).expect("compiles").counts;
    assert_eq!((none.nodes - twins.nodes, twins.kernels), (14, 176));
    let one = decode(&config, 128);
    let step =
        |fuse, fold, merge| compile(&one, Passes { fuse, fold, merge, ..planned }).expect("compiles").counts.kernels;
    let all = [Fuse::None, Fuse::Elementwise, Fuse::Reductions, Fuse::Epilogues].map(|fuse| step(fuse, false, false));
    assert_eq!(all, [176, 118, 79, 67]);
    assert_eq!((step(Fuse::None, true, false), step(Fuse::Epilogues, false, true)), (163, 59));
    let images = cnn(&GlyphClassifier::teacher().config, 64);
    let of = |fuse| compile(&images, Passes { fuse, ..planned }).expect("compiles").counts;
    assert_eq!(Fuse::ALL.map(|fuse| of(fuse).kernels), [14, 11, 8, 7]);
}

/// Weights of a name in a file, or a head's part of them.
fn from(state: &StateDict) -> impl FnMut(&str, usize) -> Option<Vec<f32>> + '_ {
    |name, count| {
        let (name, head) = name.split_once('/').map_or((name, 0), |(name, head)| (name, head.parse().unwrap_or(0)));
        Some(state.get(name)?.values.get(head * count..(head + 1) * count)?.to_vec())
    }
}

fn worst(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn the_shipped_language_model_says_what_the_kit_says() {
    use burn::tensor::Device;

    use crate::{mlp::read, models::Transformer, testing::ready};
    let which = LanguageModel::full();
    let bytes = include_bytes!("../../../../assets/language/lm.safetensors");
    let state = StateDict::from_safetensors(which.asset, bytes).expect("whole");
    let device = Device::flex();
    let model = Transformer::new(&which.config, &state, which.asset, &device).expect("fits");
    let ids: Vec<u32> = (0..40).map(|i| (i * 97 + 13) % 1024).collect();
    let tokens = model.tokens(&[&ids], &device).expect("fits");
    let logits = ready(read(model.forward(tokens))).expect("runs");
    let last = &logits[39 * 1024..];
    for setting in [Passes::NONE, ALL, Passes { merge: false, plan: Strategy::InTime, ..ALL }] {
        let program = compile(&prefill(&which.config, 40), setting).expect("compiles");
        for pack in [false, true] {
            let bound = program.bind(&mut from(&state), pack, 3).expect("weights are there");
            let mut memory = Memory::new(&program, setting == Passes::NONE);
            memory.inputs[0] = ids.iter().map(|id| *id as f32).collect();
            let found = program.run(&bound, &mut memory, Poison::Freed);
            assert!(worst(&found[0], last) < 1e-3, "{setting:?}: {}", worst(&found[0], last));
        }
    }
    // Token by token, through the cache.
    for setting in [Passes::NONE, ALL] {
        let mut states: Option<Vec<Vec<f32>>> = None;
        let mut found = Vec::new();
        for (past, id) in ids.iter().take(12).enumerate() {
            let program = compile(&decode(&which.config, past), setting).expect("compiles");
            let bound = program.bind(&mut from(&state), true, 0).expect("weights are there");
            let mut memory = Memory::new(&program, false);
            memory.inputs[0] = vec![*id as f32];
            memory.states = states.take().unwrap_or(memory.states);
            found = program.run(&bound, &mut memory, Poison::Freed);
            states = Some(memory.states);
        }
        let there = &logits[11 * 1024..12 * 1024];
        assert!(worst(&found[0], there) < 1e-3, "{setting:?}: {}", worst(&found[0], there));
    }
}

#[test]
fn heads_one_by_one_and_the_cnn_are_their_eager_twins() {
    let tiny = TransformerConfig {
        channels: 32,
        heads: 4,
        key_value_heads: 2,
        vocabulary: 20,
        ..LanguageModel::draft().config
    };
    let state = tiny.init(&mut rng(0, "weights"));
    let glyphs = GlyphClassifier::small().config;
    let images = glyphs.init(&mut rng(0, "images"));
    for (graph, state) in [(heads(&tiny, 9), &state), (cnn(&glyphs, 3), &images)] {
        let of = |setting, eager| {
            let program = compile(&graph, setting).expect("compiles");
            let bound = program.bind(&mut from(state), true, 0).expect("weights are there");
            let mut memory = Memory::new(&program, eager);
            let mut rng = rng(1, "inputs");
            memory.inputs[0].iter_mut().for_each(|x| *x = rng.random_range(0..20) as f32);
            program.run(&bound, &mut memory, Poison::Freed).swap_remove(0)
        };
        let plain = of(Passes::NONE, true);
        for order in [Order::Given, Order::Depth, Order::Breadth, Order::LeastMemory] {
            assert!(worst(&of(Passes { order, ..ALL }, false), &plain) < 1e-4);
        }
    }
}

#[test]
fn the_cnn_is_the_kits() {
    use burn::tensor::{Device, Tensor, TensorData};

    use crate::{mlp::read, models::Cnn, testing::ready};
    let (config, device) = (GlyphClassifier::small().config, Device::flex());
    let state = config.init(&mut rng(0, "weights"));
    let model = Cnn::new(&config, &state, "a test", &device).expect("fits");
    let mut rng = rng(1, "image");
    let images: Vec<f32> = (0..3 * 256).map(|_| rng.random()).collect();
    let wanted = ready(read(model.forward(Tensor::from_data(TensorData::new(images.clone(), [3, 256]), &device))));
    let program = compile(&cnn(&config, 3), ALL).expect("compiles");
    let bound = program.bind(&mut from(&state), true, 0).expect("weights are there");
    let mut memory = Memory::new(&program, false);
    memory.inputs[0] = images;
    assert!(worst(&program.run(&bound, &mut memory, Poison::Freed)[0], &wanted.expect("runs")) < 1e-4);
}

#[test]
fn traps_are_avoided() {
    // a - b is not b - a.
    let mut graph = Graph::default();
    let [a, b] = [0, 1].map(|_| graph.add(Op::Input, &[], [1, 1, 1, 2]));
    let one = graph.binary(Binary::Subtract, a, b);
    let other = graph.binary(Binary::Subtract, b, a);
    let sums = [graph.binary(Binary::Add, a, b), graph.binary(Binary::Add, b, a)];
    graph.outputs = vec![one, other, sums[0], sums[1], a];
    let merged = cse(&graph);
    assert_eq!(merged.nodes.len(), 5);
    // An output that is an input, one that is used inside, two that are one.
    let given = (&[vec![1.0, 2.0], vec![5.0, 7.0]][..], &[][..]);
    let (found, _) = outcome(&graph, given, ALL, false);
    assert_eq!(found, [[-4.0, -5.0], [4.0, 5.0], [6.0, 9.0], [6.0, 9.0], [1.0, 2.0]]);
    // What is written into a state stays, though nobody reads it.
    let mut graph = Graph::default();
    let x = graph.add(Op::Input, &[], [1, 1, 1, 2]);
    let state = graph.add(Op::State, &[], [1, 1, 3, 2]);
    graph.add(Op::Write { at: 1 }, &[state, x], [1, 1, 3, 2]);
    let y = graph.unary(Unary::Relu, x);
    graph.outputs = vec![y];
    let (_, states) = outcome(&graph, (&[vec![1.0, 2.0]], &[vec![0.0; 6]]), ALL, false);
    assert_eq!(states, [[0.0, 0.0, 1.0, 2.0, 0.0, 0.0]]);
    // x · x, in place, with a later reader of x.
    let mut graph = Graph::default();
    let x = graph.add(Op::Input, &[], [1, 1, 1, 2]);
    let a = graph.unary(Unary::Offset(1.0), x);
    let square = graph.binary(Binary::Multiply, a, a);
    let turned = graph.transpose(square, [0, 1, 3, 2]);
    let outer = graph.product(turned, square);
    let y = graph.binary(Binary::Add, outer, a);
    graph.outputs = vec![y];
    let in_place = Passes { in_place: true, plan: Strategy::InTime, ..Passes::NONE };
    assert_eq!(outcome(&graph, (&[vec![1.0, 2.0]], &[]), in_place, false).0, [[18.0, 39.0, 38.0, 84.0]]);
    let many = Passes { plan: Strategy::Exact, ..Passes::NONE };
    let refused = compile(&prefill(&LanguageModel::draft().config, 4), many).expect_err("too many");
    assert!(refused.to_string().contains("9 at most"), "{refused}");
}
