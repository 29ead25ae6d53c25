//! The language model of the book, run from its packed weights with nothing but the standard library.
//!
//! `json` and `file` read the exported safetensors file, `coder` its Huffman streams, `tokens` the tokenizer's file; `model` computes.
//! All of them take bytes and give numbers; `main.rs` alone touches files and the terminal. Without `std` a board needs an
//! allocator, and square root, exponential and power from a crate such as `libm` in `model`: nothing else here asks for more.

pub mod coder;
pub mod file;
pub mod json;
pub mod model;
pub mod sha256;
pub mod tokens;

use model::Model;

/// Continues `prompt` by `count` tokens, each the most likely one; of equals the first.
///
/// # Errors
/// In words: an empty prompt, a token that the model does not know, or more tokens than its context holds.
pub fn generate(model: &mut Model, prompt: &[u32], count: usize) -> Result<Vec<u32>, String> {
    let (context, vocabulary) = (model.config.context, model.config.vocabulary);
    if prompt.is_empty() {
        return Err("the prompt is empty: give it a word or more".to_owned());
    }
    if prompt.len() + count > context {
        return Err(format!(
            "{} tokens of prompt and {count} to write exceed the model's context of {context}: ask for {} at most, or shorten the prompt",
            prompt.len(),
            context.saturating_sub(prompt.len())
        ));
    }
    if let Some(bad) = prompt.iter().find(|token| **token as usize >= vocabulary) {
        return Err(format!("there is no token {bad}: the model knows {vocabulary}"));
    }
    model.forget();
    let (last, before) = prompt.split_last().expect("not empty: checked above");
    for token in before {
        model.read_token(*token);
    }
    let mut written = Vec::with_capacity(count);
    let mut token = *last;
    while written.len() < count {
        token = most_likely(model.logits(token));
        written.push(token);
    }
    Ok(written)
}

/// The place of the largest number; of equals the first.
fn most_likely(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (place, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = place;
        }
    }
    best as u32
}
