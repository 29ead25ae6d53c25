//! `tiny-run "The borrow checker"`: continues a text with the model in `model.safetensors`.

use std::{process::ExitCode, time::Instant};

use tiny_run::{file::Tensors, generate, model::Model, sha256::sha256, tokens::Tokens};

const HELP: &str = "tiny-run [PROMPT] [--tokens N] [--model FILE] [--tokenizer FILE] [--ids]

Continues PROMPT by N tokens (64), each the most likely one. --ids prints the tokens' numbers instead of the text.
FILE: model.safetensors and tokenizer.json, both in the current folder unless said otherwise.";

struct Options {
    prompt: String,
    tokens: usize,
    model: String,
    tokenizer: String,
    ids: bool,
}

fn main() -> ExitCode {
    match options(std::env::args().skip(1))
        .and_then(|options| options.map_or(Ok(HELP.to_owned()), |options| run(&options)))
    {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Nothing where help is asked for.
fn options(mut words: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let mut options = Options {
        prompt: String::new(),
        tokens: 64,
        model: "model.safetensors".to_owned(),
        tokenizer: "tokenizer.json".to_owned(),
        ids: false,
    };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            "--tokens" => {
                let text = value()?;
                let number = text.parse().ok().filter(|number| *number > 0);
                options.tokens = number.ok_or_else(|| format!("--tokens {text}: give a whole number of 1 or more"))?;
            }
            "--model" => options.model = value()?,
            "--tokenizer" => options.tokenizer = value()?,
            "--ids" => options.ids = true,
            "--help" | "-h" => return Ok(None),
            other if other.starts_with("--") => return Err(format!("there is no {other}\n\n{HELP}")),
            _ if options.prompt.is_empty() => options.prompt = word,
            _ => return Err(format!("“{word}” follows the prompt: put quotation marks around the whole prompt")),
        }
    }
    if options.prompt.is_empty() {
        options.prompt = "The borrow checker".to_owned();
    }
    Ok(Some(options))
}

fn run(options: &Options) -> Result<String, String> {
    let read = |path: &str| std::fs::read(path).map_err(|error| format!("{path} cannot be read ({error})"));
    let (weights, tokenizer) = (read(&options.model)?, read(&options.tokenizer)?);
    let named = |path: &str, why: String| format!("{path}: {why}");
    let file = Tensors::open(&weights).map_err(|why| named(&options.model, why))?;
    let wanted = file.note("tokenizer_sha256").map_err(|why| named(&options.model, why))?.to_owned();
    if sha256(&tokenizer) != wanted {
        return Err(named(&options.tokenizer, "it is not the tokenizer that the model was trained with".to_owned()));
    }
    let tokens = Tokens::read(&tokenizer).map_err(|why| named(&options.tokenizer, why))?;
    let mut model = Model::read(file).map_err(|why| named(&options.model, why))?;
    if tokens.vocabulary() != model.config.vocabulary {
        let (said, found) = (model.config.vocabulary, tokens.vocabulary());
        return Err(named(&options.tokenizer, format!("it has {found} tokens, and the model {said}")));
    }
    // Cutting a text into tokens takes the longer the longer it is; so long a one cannot fit.
    if options.prompt.len() > model.config.context * tokens.longest() {
        return Err(format!("the prompt is longer than the model's context of {} tokens", model.config.context));
    }
    let prompt = tokens.encode(&options.prompt);
    let start = Instant::now();
    let written = generate(&mut model, &prompt, options.tokens)?;
    let seconds = start.elapsed().as_secs_f64();
    let all = prompt.len() + written.len() - 1;
    eprintln!("{all} tokens in {:.1} ms: {:.0} a second", 1e3 * seconds, all as f64 / seconds.max(1e-9));
    if options.ids {
        let ids: Vec<String> = written.iter().map(u32::to_string).collect();
        return Ok(ids.join(" "));
    }
    Ok(options.prompt.clone() + &tokens.decode(&written))
}
