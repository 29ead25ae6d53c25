//! The language model as a server runs it: one step over sequences of any lengths, whose keys and values lie in pages.
//!
//! All matrices see all rows of a step at once; only attention looks at each sequence for itself ("selective batching", Yu et
//! al., Orca, OSDI 2022). Tested token by token against [`generate`](crate::models::generate).

use burn::{
    module::Param,
    nn::RmsNorm,
    tensor::{Device, Int, Tensor, TensorData, activation::silu},
};
use lab_api::LabError;

use super::slot;
use crate::{
    models::{StateDict, TransformerConfig, attend, causal_mask},
    ops::matmul,
};

/// Instead of -∞, as in [`causal_mask`].
const HIDDEN: f32 = -1e9;

/// A piece of a sequence: tokens that follow the `start` that were read before, and the sequence's pages.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// Tokens, one at least.
    pub tokens: &'a [u32],
    /// Tokens of the sequence that are in its pages already.
    pub start: usize,
    /// Its pages.
    pub table: &'a [usize],
}

/// The model and its pool of pages.
pub struct Engine {
    config: TransformerConfig,
    device: Device,
    page: usize,
    embedding: Tensor<2>,
    layers: Vec<Block>,
    norm: RmsNorm,
    /// `[C, V]`.
    head: Tensor<2>,
    /// `[T, D]` each.
    cosine: Tensor<2>,
    sine: Tensor<2>,
    /// `[D, D]`.
    swap: Tensor<2>,
}

/// A layer: matrices `[inputs, outputs]`, those that share an input side by side.
struct Block {
    norms: [RmsNorm; 2],
    qkv: Tensor<2>,
    out: Tensor<2>,
    gate_up: Tensor<2>,
    down: Tensor<2>,
    /// Keys and values of all pages, `[pages · page, 2 · K · D]`: one row for each token.
    pool: Tensor<2>,
}

/// Where a step's rows stand and what they may see: the same for all layers.
struct Places {
    tokens: usize,
    /// `[N, 1, D]` each.
    cosine: Tensor<3>,
    sine: Tensor<3>,
    /// Runs of rows that lie in one page: row, slot, length.
    runs: Vec<(usize, usize, usize)>,
    groups: Vec<Group>,
}

/// Rows whose attention is computed at once: `[B, T]` queries over `S` keys each.
struct Group {
    sequences: usize,
    queries: usize,
    keys: usize,
    /// `[B · S]`: where keys and values lie. `None`: a prompt from its first token on needs none but its own.
    slots: Option<Tensor<1, Int>>,
    mask: Option<Tensor<4>>,
}

impl Engine {
    /// The model with so many pages of so many tokens each.
    ///
    /// # Errors
    /// [`LabError::Refused`] for sizes that make no transformer, or no page; [`LabError::Asset`] when a weight is missing.
    pub fn new(
        config: &TransformerConfig,
        weights: &StateDict,
        (pages, page): (usize, usize),
        device: &Device,
    ) -> Result<Self, LabError> {
        config.check()?;
        let floats =
            |values: Vec<f32>, shape: [usize; 2]| Tensor::<2>::from_data(TensorData::new(values, shape), device);
        let (c, f, d) = (config.channels, config.feed_forward, config.head_channels());
        // Matrices of files are `[outputs, inputs]`: below each other they are side by side once they are turned.
        let matrix = |names: &[String], inputs: usize| -> Result<Tensor<2>, LabError> {
            let mut rows = Vec::new();
            for name in names {
                rows.extend_from_slice(&find(weights, name)?);
            }
            let outputs = rows.len() / inputs;
            Ok(floats(crate::mlp::transpose(&rows, outputs, inputs), [inputs, outputs]))
        };
        let norm = |name: String| -> Result<RmsNorm, LabError> {
            let gamma = Tensor::<1>::from_data(TensorData::new(find(weights, &name)?, [c]), device);
            Ok(RmsNorm { gamma: Param::from_tensor(gamma), epsilon: config.norm_epsilon })
        };
        let mut layers = Vec::with_capacity(config.layers);
        for layer in 0..config.layers {
            let of = |part: &str| format!("model.layers.{layer}.{part}.weight");
            layers.push(Block {
                norms: [norm(of("input_layernorm"))?, norm(of("post_attention_layernorm"))?],
                qkv: matrix(&["q_proj", "k_proj", "v_proj"].map(|part| of(&format!("self_attn.{part}"))), c)?,
                out: matrix(&[of("self_attn.o_proj")], c)?,
                gate_up: matrix(&[of("mlp.gate_proj"), of("mlp.up_proj")], c)?,
                down: matrix(&[of("mlp.down_proj")], f)?,
                pool: Tensor::zeros([1, 1], device),
            });
        }
        let embedding = floats(find(weights, "model.embed_tokens.weight")?, [config.vocabulary, c]);
        let head = if config.tied { "model.embed_tokens.weight" } else { "lm_head.weight" };
        let half = d / 2;
        let angle = |position: usize, channel: usize| {
            position as f64 / config.rope_base.powf(2.0 * (channel % half) as f64 / d as f64)
        };
        let table = |of: fn(f64) -> f64| {
            let all = (0..config.context).flat_map(|p| (0..d).map(move |i| (p, i)));
            floats(all.map(|(p, i)| of(angle(p, i)) as f32).collect(), [config.context, d])
        };
        let mut swap = vec![0.0; d * d];
        for i in 0..half {
            swap[(i + half) * d + i] = -1.0;
            swap[i * d + i + half] = 1.0;
        }
        let mut engine = Self {
            config: config.clone(),
            device: device.clone(),
            page,
            embedding,
            layers,
            norm: norm("model.norm.weight".into())?,
            head: matrix(&[head.to_owned()], c)?,
            cosine: table(f64::cos),
            sine: table(f64::sin),
            swap: floats(swap, [d, d]),
        };
        engine.set_pool(pages, page)?;
        Ok(engine)
    }

    /// Another pool, empty: so many pages of so many tokens each.
    ///
    /// # Errors
    /// [`LabError::Refused`] for no page.
    pub fn set_pool(&mut self, pages: usize, page: usize) -> Result<(), LabError> {
        if pages == 0 || page == 0 {
            return Err(LabError::Refused { why: "a pool needs a page, and a page a token".into() });
        }
        self.page = page;
        let width = 2 * self.config.key_value_heads * self.config.head_channels();
        for layer in &mut self.layers {
            layer.pool = Tensor::zeros([pages * page, width], &self.device);
        }
        Ok(())
    }

    // ANCHOR: step
    /// One step: reads the tokens of all rows, keeps their keys and values, and gives the logits `[rows, V]` of what follows
    /// the last token of each. Rows of one token stand first.
    ///
    /// # Errors
    /// [`LabError::Refused`] for no row, a row without a token or beyond its pages or the context, or an unknown token.
    pub fn step(&mut self, rows: &[Row]) -> Result<Tensor<2>, LabError> {
        let (ids, last) = self.check(rows)?;
        let places = self.places(rows);
        let mut x = self.embedding.clone().select(0, self.indices(ids)); // [N, C]
        for number in 0..self.layers.len() {
            let y = matmul(self.layers[number].norms[0].forward(x.clone()), self.layers[number].qkv.clone());
            let y = self.attention(number, y, &places); // [N, C], sequence by sequence
            let layer = &self.layers[number];
            x = x + matmul(y, layer.out.clone());
            let y = matmul(layer.norms[1].forward(x.clone()), layer.gate_up.clone()); // [N, 2 F]
            let f = self.config.feed_forward;
            let inner = silu(y.clone().narrow(1, 0, f)) * y.narrow(1, f, f);
            x = x + matmul(inner, layer.down.clone());
        }
        let x = self.norm.forward(x.select(0, self.indices(last))); // [rows, C]
        Ok(matmul(x, self.head.clone()))
    }
    // ANCHOR_END: step

    // ANCHOR: attention
    /// Queries, keys and values `[N, C + 2 K D]` of all rows to what attention makes of them, `[N, C]`. Keys and values go
    /// to their pages first; each sequence then looks at its own.
    fn attention(&mut self, number: usize, qkv: Tensor<2>, places: &Places) -> Tensor<2> {
        let (n, c, d) = (places.tokens, self.config.channels, self.config.head_channels());
        let (h, k) = (self.config.heads, self.config.key_value_heads);
        let q = self.turn(qkv.clone().narrow(1, 0, c).reshape([n, h, d]), places).reshape([n, c]);
        let keys = self.turn(qkv.clone().narrow(1, c, k * d).reshape([n, k, d]), places).reshape([n, k * d]);
        let kv = Tensor::cat(vec![keys, qkv.narrow(1, c + k * d, k * d)], 1); // [N, 2 K D]
        // Taken out, so that no second reference forces a copy; something small holds its place.
        let mut pool = std::mem::replace(&mut self.layers[number].pool, self.swap.clone());
        for &(row, slot, length) in &places.runs {
            pool = pool.slice_assign([slot..slot + length, 0..2 * k * d], kv.clone().narrow(0, row, length));
        }
        let (mut row, mut found) = (0, Vec::new());
        for group in &places.groups {
            let (b, t, s) = (group.sequences, group.queries, group.keys);
            let of = |x: Tensor<2>, from: usize| x.narrow(1, from, k * d).reshape([b, s, k, d]).swap_dims(1, 2);
            let seen = match &group.slots {
                Some(slots) => pool.clone().select(0, slots.clone()),
                None => kv.clone().narrow(0, row, t),
            }; // [B S, 2 K D]
            let (keys, values) = (of(seen.clone(), 0), of(seen, k * d)); // [B, K, S, D]
            let q = q.clone().narrow(0, row, b * t).reshape([b, t, h, d]).swap_dims(1, 2);
            let y = attend(q, keys, values, group.mask.clone()); // [B, H, T, D]
            found.push(y.swap_dims(1, 2).reshape([b * t, c]));
            row += b * t;
        }
        self.layers[number].pool = pool;
        Tensor::cat(found, 0)
    }
    // ANCHOR_END: attention

    /// Rotary positions of `[N, heads, D]`, each row at its own.
    fn turn(&self, x: Tensor<3>, places: &Places) -> Tensor<3> {
        let [n, heads, d] = x.dims();
        let swapped = matmul(x.clone().reshape([n * heads, d]), self.swap.clone()).reshape([n, heads, d]);
        x * places.cosine.clone() + swapped * places.sine.clone()
    }

    fn indices(&self, values: Vec<i32>) -> Tensor<1, Int> {
        let count = values.len();
        Tensor::from_data(TensorData::new(values, [count]), &self.device)
    }

    /// The tokens of all rows, and where the last of each row stands among them.
    fn check(&self, rows: &[Row]) -> Result<(Vec<i32>, Vec<i32>), LabError> {
        let refuse = |why: &str| Err(LabError::Refused { why: why.to_owned() });
        let (mut ids, mut last) = (Vec::new(), Vec::new());
        if rows.is_empty() {
            return refuse("a step needs a sequence");
        }
        for row in rows {
            let end = row.start + row.tokens.len();
            if row.tokens.is_empty() || end > self.config.context || end > row.table.len() * self.page {
                return refuse("a sequence in a step has no token, or more than its pages or the model's context hold");
            }
            for token in row.tokens {
                match i32::try_from(*token) {
                    Ok(id) if (*token as usize) < self.config.vocabulary => ids.push(id),
                    _ => return refuse("a sequence holds a token that the vocabulary lacks"),
                }
            }
            last.push(ids.len() as i32 - 1);
        }
        Ok((ids, last))
    }

    fn places(&self, rows: &[Row]) -> Places {
        let at = |row: &Row, position: usize| slot(row.table, self.page, position) as i32;
        let (mut positions, mut runs) = (Vec::new(), Vec::new());
        for row in rows {
            let mut done = 0;
            while done < row.tokens.len() {
                let position = row.start + done;
                let length = (self.page - position % self.page).min(row.tokens.len() - done);
                runs.push((positions.len() + done, at(row, position) as usize, length));
                done += length;
            }
            positions.extend((row.start..row.start + row.tokens.len()).map(|position| position as i32));
        }
        let single = rows.iter().take_while(|row| row.tokens.len() == 1).count();
        let mut groups = Vec::new();
        if single > 0 {
            // Those who write: shorter sequences look at as many keys as the longest, and a mask hides what is not theirs.
            let keys = rows[..single].iter().map(|row| row.start + 1).max().unwrap_or(1);
            let (mut slots, mut mask) = (Vec::new(), Vec::new());
            for row in &rows[..single] {
                slots.extend((0..keys).map(|position| at(row, position.min(row.start))));
                mask.extend((0..keys).map(|position| if position > row.start { HIDDEN } else { 0.0 }));
            }
            let mask =
                (single > 1).then(|| Tensor::from_data(TensorData::new(mask, [single, 1, 1, keys]), &self.device));
            groups.push(Group { sequences: single, queries: 1, keys, slots: Some(self.indices(slots)), mask });
        }
        for row in &rows[single..] {
            let (t, keys) = (row.tokens.len(), row.start + row.tokens.len());
            let slots = (row.start > 0).then(|| self.indices((0..keys).map(|position| at(row, position)).collect()));
            let mask = causal_mask(t, row.start, &self.device);
            groups.push(Group { sequences: 1, queries: t, keys, slots, mask });
        }
        let tokens = positions.len();
        let positions = self.indices(positions);
        let d = self.config.head_channels();
        let rows = |table: &Tensor<2>| table.clone().select(0, positions.clone()).reshape([tokens, 1, d]);
        Places { tokens, cosine: rows(&self.cosine), sine: rows(&self.sine), runs, groups }
    }
}

fn find(weights: &StateDict, name: &str) -> Result<Vec<f32>, LabError> {
    weights.get(name).map(|weight| weight.values.clone()).ok_or_else(|| LabError::Asset {
        name: "the language model".into(),
        why: format!("it lacks the tensor “{name}”"),
    })
}

#[cfg(test)]
mod tests {
    use rand::{Rng, seq::SliceRandom};

    use super::*;
    use crate::{
        mlp::read,
        models::{Sampling, Transformer, config_tests::tiny, generate},
        testing::ready,
        train::argmax,
    };

    fn setup(tied: bool) -> (TransformerConfig, StateDict, Device) {
        let config = TransformerConfig { tied, ..tiny() };
        let weights = config.init(&mut crate::rng(3, "weights"));
        (config, weights, Device::flex())
    }

    #[test]
    fn sequences_in_pages_write_what_each_writes_alone() {
        for (tied, page) in [(false, 1), (true, 3), (false, 4), (true, 16)] {
            let (config, weights, device) = setup(tied);
            let model = Transformer::new(&config, &weights, "a test", &device).expect("fits");
            let mut rng = crate::rng(page as u64, "prompts");
            let mut texts: Vec<Vec<u32>> =
                [1, 5, 9, 2].map(|length| (0..length).map(|_| rng.random_range(0..17)).collect()).to_vec();
            let prompts = texts.clone();
            let each = 16usize.div_ceil(page);
            let mut order: Vec<usize> = (0..4 * each).collect();
            order.shuffle(&mut rng);
            let tables: Vec<Vec<usize>> = order.chunks(each).map(<[usize]>::to_vec).collect();
            let mut engine = Engine::new(&config, &weights, (4 * each, page), &device).expect("fits");
            // What a page held before is no concern of who gets it.
            for layer in &mut engine.layers {
                layer.pool = layer.pool.clone().mul_scalar(0.0).add_scalar(7.0);
            }
            let mut starts = [0; 4];
            // The longest prompt is read in two pieces, and beside the others that write already.
            for round in 0..7 {
                let mut rows = Vec::new();
                for (i, text) in texts.iter().enumerate() {
                    let to = match (i, round) {
                        (2, 0) => 4,
                        (1, 0) | (3, 0) => continue,
                        _ => text.len(),
                    };
                    rows.push((i, to));
                }
                rows.sort_by_key(|(i, to)| (to - starts[*i] > 1, *i));
                let step: Vec<Row> = rows
                    .iter()
                    .map(|(i, to)| Row { tokens: &texts[*i][starts[*i]..*to], start: starts[*i], table: &tables[*i] })
                    .collect();
                let logits = ready(read(engine.step(&step).expect("fits"))).expect("runs");
                let next = argmax(&logits, 17);
                for ((i, to), token) in rows.into_iter().zip(next) {
                    starts[i] = to;
                    if to == texts[i].len() {
                        texts[i].push(token as u32);
                    }
                }
            }
            for (text, prompt) in texts.iter().zip(&prompts) {
                let count = text.len() - prompt.len();
                let mut none = crate::rng(0, "none");
                let alone = generate(&model, (prompt, count), &Sampling::GREEDY, &mut none, &device, async |_| Ok(()));
                assert!(count >= 6);
                assert_eq!(text[prompt.len()..], ready(alone).expect("writes"), "pages of {page}");
            }
        }
    }

    #[test]
    fn logits_are_those_of_the_model_wherever_a_text_is_cut() {
        let (config, weights, device) = setup(false);
        let model = Transformer::new(&config, &weights, "a test", &device).expect("fits");
        let text: Vec<u32> = (0..12).map(|i| (i * 5 + 2) % 17).collect();
        let whole = ready(read(model.forward(model.tokens(&[&text], &device).expect("valid")))).expect("runs");
        for cut in 1..12 {
            let mut engine = Engine::new(&config, &weights, (4, 4), &device).expect("fits");
            let table = [2, 0, 3];
            engine.step(&[Row { tokens: &text[..cut], start: 0, table: &table }]).expect("fits");
            let row = Row { tokens: &text[cut..], start: cut, table: &table };
            let logits = ready(read(engine.step(&[row]).expect("fits"))).expect("runs");
            for (ours, theirs) in logits.iter().zip(&whole[11 * 17..]) {
                // The same sums in another order: logits of about 1.
                assert!((ours - theirs).abs() < 1e-5, "{cut}: {ours} {theirs}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let (config, weights, device) = setup(false);
        let mut engine = Engine::new(&config, &weights, (2, 4), &device).expect("fits");
        for (tokens, start, table) in
            [(vec![], 0, vec![0]), (vec![1; 5], 0, vec![0]), (vec![17], 0, vec![0]), (vec![1], 16, vec![0; 9])]
        {
            assert!(engine.step(&[Row { tokens: &tokens, start, table: &table }]).is_err());
        }
        assert!(engine.step(&[]).is_err() && Engine::new(&config, &weights, (0, 4), &device).is_err());
        assert!(Engine::new(&config, &StateDict::default(), (1, 1), &device).is_err());
    }
}
