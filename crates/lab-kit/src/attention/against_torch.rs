//! Attention, cut in every way that we have, against `scaled_dot_product_attention` of PyTorch 2.9.1 and its automatic
//! gradients (`fixtures/attention.py` made the numbers).
//!
//! PyTorch's triangle starts at the first key and ours ends at the last one, so where there are not as many keys as queries
//! the fixture was made with a mask. A query that sees no key gets zeros from both. A scale other than `1/√D` is PyTorch's
//! alone; a window with sinks is the cache's, which also turns queries and keys to their positions.

use burn::tensor::{Device, Tensor, TensorData};

use super::{Blocks, Head, Inputs, Sight, Traffic, chunked, eager, one_table, recomputed, saved, split, tiled};
use crate::{
    cache::{HeadCache, Setting, Turns},
    mlp::read,
    models::{TransformerConfig, attend, attend_by_head, causal_mask, config_tests::tiny},
    testing::ready,
    weights::WeightFile,
};

const CHANNELS: usize = 8;
/// Relative to the largest number. A score near 10 is rounded by up to 5e-7, and its weight by that share; both sides round,
/// in another order, and again in sums of 33 weighted values.
const FORWARD: f32 = 2e-6;
/// A gradient is a sum of differences of such sums.
const BACKWARD: f32 = 3e-6;

const SIGHTS: [(&str, Sight); 4] = [
    ("full", Sight::FULL),
    ("causal", Sight::CAUSAL),
    ("window", Sight { causal: true, window: Some(9) }),
    ("band", Sight { causal: false, window: Some(5) }),
];

const BLOCKS: [Blocks; 4] = [
    Blocks { rows: 1, columns: 8, skip: true },
    Blocks { rows: 4, columns: 8, skip: true },
    Blocks { rows: 3, columns: 16, skip: false },
    Blocks { rows: 40, columns: 40, skip: true },
];

fn file() -> WeightFile<'static> {
    WeightFile::open("fixture", include_bytes!("../../fixtures/attention.safetensors")).expect("whole")
}

/// Its name in the fixture, heads of queries, heads of keys and values, queries, keys.
type Shape = (&'static str, usize, usize, usize, usize);

/// Twelve queries over seven keys: the first five see none that is not ahead of them.
const BLIND: Shape = ("blind", 2, 2, 12, 7);
const SEE_NOTHING: usize = 5 * CHANNELS;
const SHAPES: [Shape; 5] =
    [("short", 2, 2, 7, 7), ("long", 2, 2, 33, 33), ("grouped", 4, 2, 7, 7), ("cached", 4, 2, 7, 33), BLIND];

/// `heads` heads of queries over `shared` heads of keys and values.
struct TorchCase {
    name: &'static str,
    heads: usize,
    shared: usize,
    head: Head,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
}

impl TorchCase {
    fn all(file: &WeightFile) -> Vec<Self> {
        let open = |(name, heads, shared, queries, keys): Shape| {
            let floats = |what: &str, heads: usize, rows: usize| {
                file.floats(&format!("{name}.{what}"), &[heads, rows, CHANNELS]).expect("there")
            };
            Self {
                name,
                heads,
                shared,
                head: Head { queries, keys, channels: CHANNELS },
                q: floats("q", heads, queries),
                k: floats("k", shared, keys),
                v: floats("v", shared, keys),
            }
        };
        SHAPES.into_iter().map(open).collect()
    }

    /// What head `h` of the queries meets.
    fn inputs(&self, h: usize) -> Inputs<'_> {
        let keys = h * self.shared / self.heads;
        Inputs {
            q: rows(&self.q, self.head.queries, h),
            k: rows(&self.k, self.head.keys, keys),
            v: rows(&self.v, self.head.keys, keys),
        }
    }

    /// What PyTorch gave for each query, `[heads, queries, channels]`.
    fn of_queries(&self, file: &WeightFile, what: &str) -> Vec<f32> {
        let shape = [self.heads, self.head.queries, CHANNELS];
        file.floats(&format!("{}.{what}", self.name), &shape).expect("there")
    }
}

/// Head `h` of `[heads, tokens, channels]`.
fn rows(x: &[f32], tokens: usize, h: usize) -> &[f32] {
    &x[h * tokens * CHANNELS..(h + 1) * tokens * CHANNELS]
}

/// The largest distance, relative to the largest number that is expected; a NaN is infinitely far.
fn apart(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    assert!(largest > 0.5, "{largest}");
    let distances = found.iter().zip(expected).map(|(a, b)| (a - b).abs() / largest);
    distances.fold(0.0, |most, next| if next.is_nan() { f32::INFINITY } else { most.max(next) })
}

#[test]
fn every_way_is_scaled_dot_product_attention() {
    let file = file();
    for case in TorchCase::all(&file) {
        for (name, sight) in SIGHTS {
            let all = case.of_queries(&file, name);
            for h in 0..case.heads {
                let (inputs, head, expected) = (case.inputs(h), case.head, rows(&all, case.head.queries, h));
                let traffic = &mut Traffic::default();
                let mut found =
                    vec![("eager", eager(inputs, head, sight)), ("one table", one_table(inputs, head, sight, traffic))];
                for blocks in BLOCKS {
                    found.push(("chunked", chunked(inputs, head, sight, blocks)));
                    found.push(("tiled", tiled(inputs, head, sight, blocks, traffic)));
                }
                for (way, found) in found {
                    let off = apart(&found.values, expected);
                    assert!(off < FORWARD, "{} {name}, head {h}, {way}: {off}", case.name);
                    if case.name == BLIND.0 && sight.causal {
                        let nothing = [0.0_f32; SEE_NOTHING];
                        assert_eq!(found.values[..SEE_NOTHING], nothing, "{way}");
                        assert_eq!(expected[..SEE_NOTHING], nothing);
                    }
                }
            }
        }
    }
}

#[test]
fn every_backward_pass_is_pytorchs() {
    let file = file();
    for case in TorchCase::all(&file).iter().filter(|case| ["long", BLIND.0].contains(&case.name)) {
        let of_keys = |what: &str| {
            let shape = [case.shared, case.head.keys, CHANNELS];
            file.floats(&format!("{}.{what}", case.name), &shape).expect("there")
        };
        let (y, d_y) = (case.of_queries(&file, "causal"), case.of_queries(&file, "causal.d_y"));
        let (d_q, d_k, d_v) = (case.of_queries(&file, "causal.d_q"), of_keys("causal.d_k"), of_keys("causal.d_v"));
        for h in 0..case.heads {
            let (inputs, Head { queries, keys, .. }) = (case.inputs(h), case.head);
            let d_output = rows(&d_y, queries, h);
            let mut found = vec![saved(inputs, case.head, Sight::CAUSAL, d_output)];
            found.extend(BLOCKS.map(|blocks| recomputed(inputs, case.head, Sight::CAUSAL, blocks, d_output)));
            for (way, (output, gradients)) in found.iter().enumerate() {
                let what = format!("{}, head {h}, way {way}", case.name);
                assert!(apart(&output.values, rows(&y, queries, h)) < FORWARD, "{what}");
                let off = [
                    apart(&gradients.q, rows(&d_q, queries, h)),
                    apart(&gradients.k, rows(&d_k, keys, h)),
                    apart(&gradients.v, rows(&d_v, keys, h)),
                ];
                assert!(off.iter().all(|off| *off < BACKWARD), "{what}: {off:?}");
            }
        }
    }
}

#[test]
fn keys_in_pieces_are_all_keys_to_pytorch() {
    let file = file();
    for case in TorchCase::all(&file) {
        let all = case.of_queries(&file, "full");
        for h in 0..case.heads {
            let Inputs { q, k, v } = case.inputs(h);
            for pieces in [1, 2, 5] {
                let one = |q| split(Inputs { q, k, v }, CHANNELS, pieces, 8);
                let found: Vec<f32> = q.chunks_exact(CHANNELS).flat_map(one).collect();
                let off = apart(&found, rows(&all, case.head.queries, h));
                assert!(off < FORWARD, "{}, head {h}, {pieces} pieces: {off}", case.name);
            }
        }
    }
}

#[test]
fn tensors_of_grouped_heads_are_pytorchs() {
    let (file, device) = (file(), Device::flex());
    let seeing = TorchCase::all(&file).into_iter().filter(|case| case.name != BLIND.0);
    for case in seeing {
        let Head { queries, keys, .. } = case.head;
        let tensor = |x: &[f32], heads: usize, rows: usize| {
            Tensor::<4>::from_data(TensorData::new(x.to_vec(), [1, heads, rows, CHANNELS]), &device)
        };
        let q = tensor(&case.q, case.heads, queries);
        let (k, v) = (tensor(&case.k, case.shared, keys), tensor(&case.v, case.shared, keys));
        for (sight, mask) in [("full", None), ("causal", causal_mask(queries, keys - queries, &device))] {
            let expected = case.of_queries(&file, sight);
            for (way, y) in [
                ("stacked", attend(q.clone(), k.clone(), v.clone(), mask.clone())),
                ("by head", attend_by_head(q.clone(), k.clone(), v.clone(), mask.clone())),
            ] {
                let off = apart(&ready(read(y)).expect("reads"), &expected);
                assert!(off < FORWARD, "{} {sight}, {way}: {off}", case.name);
            }
        }
    }
}

#[test]
fn a_cache_with_sinks_is_a_mask_to_pytorch() {
    let (file, tokens) = (file(), 33);
    let floats = |what: &str, heads| file.floats(&format!("sinks.{what}"), &[heads, tokens, CHANNELS]).expect("there");
    let (q, k, v, expected) = (floats("q", 2), floats("k", 1), floats("v", 1), floats("y", 2));
    // Two heads of queries share one of keys; two tokens that stay, and the seven newest.
    let config = TransformerConfig { channels: 2 * CHANNELS, heads: 2, key_value_heads: 1, ..tiny() };
    let turns = Turns::new(&config, tokens, 1.0);
    let read_with = |setting: Setting| -> Vec<f32> {
        let mut cache = HeadCache::new(setting, CHANNELS, crate::rng(0, "lots"));
        let mut heads = [Vec::new(), Vec::new()];
        for i in 0..tokens {
            let own = i * CHANNELS..(i + 1) * CHANNELS;
            cache.push(i, &k[own.clone()], &v[own.clone()], &turns);
            let queries = [&rows(&q, tokens, 0)[own.clone()], &rows(&q, tokens, 1)[own]].concat();
            let mut out = vec![0.0; 2 * CHANNELS];
            cache.attend(&queries, &mut out, &turns);
            heads.iter_mut().zip(out.chunks_exact(CHANNELS)).for_each(|(head, out)| head.extend_from_slice(out));
        }
        heads.concat()
    };
    let off = apart(&read_with(Setting { sinks: 2, ..Setting::window(9) }), &expected);
    assert!(off < FORWARD, "{off}");
    // One sink less, or one place more, and it is another mask.
    for other in [Setting { sinks: 1, ..Setting::window(9) }, Setting { sinks: 2, ..Setting::window(10) }] {
        assert!(apart(&read_with(other), &expected) > 1e-2, "{other:?}");
    }
}
