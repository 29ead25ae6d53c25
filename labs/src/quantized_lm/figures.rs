//! Tables and charts of a run.

use lab_api::{Axis, BarSeries, Cell, Chart, ChartBody, LabError, Series, Table, Token};
use lab_kit::{
    Context,
    models::{Sampling, Transformer, generate},
};

use super::{
    model::Source,
    packed::{Loss, Packed},
    prepared::Input,
};
use lab_kit::order::Ordered as _;

/// What both models are asked to go on with, and by how many tokens.
const PROMPT: &str = "A value of this type is";
const WRITTEN: usize = 40;

/// What each matrix costs and loses.
pub(super) fn matrices(packed: &Packed) -> Table {
    let columns = ["Matrix", "Shape", "FP32 (bytes)", "Packed (bytes)", "SQNR (dB)", "Largest weight (σ)"];
    let row = |loss: &Loss| {
        let [rows, inputs] = loss.shape;
        vec![
            Cell::from(loss.name.as_str()),
            Cell::from(format!("{rows}\u{a0}×\u{a0}{inputs}")),
            Cell::from((4 * rows * inputs) as f64),
            Cell::from(loss.bytes as f64),
            Cell::from(loss.sqnr_db),
            Cell::from(loss.reach),
        ]
    };
    Table {
        id: "matrices".into(),
        title: "What each matrix costs and loses".into(),
        columns: columns.map(str::to_owned).to_vec(),
        rows: packed.losses.iter().map(row).collect(),
    }
}

/// Error by kind of matrix: the mean over layers.
pub(super) fn sqnr(packed: &Packed) -> Chart {
    by_kind(
        packed,
        "sqnr",
        "Which matrices suffer?",
        "Signal over quantization noise of the weights, the mean over the layers with the range from the worst to the best.",
        &[("Packed weights", &|loss| Some(loss.sqnr_db))],
    )
}

/// Error of what the matrices compute, where it was looked at.
pub(super) fn outputs(packed: &Packed) -> Option<Chart> {
    let known = packed.losses.iter().any(|loss| loss.output_sqnr_db.is_some());
    known.then(|| {
        by_kind(
            packed,
            "output-sqnr",
            "What does compensating bring?",
            "Signal over quantization noise of what each matrix makes of its inputs in the example text: every weight rounded \
             for itself, and errors corrected by the columns after them. Same bytes, same grid. Mean over the layers, with \
             the range from the worst to the best.",
            &[
                ("To nearest", &|loss| loss.output_sqnr_db.map(|both| both[0])),
                ("GPTQ", &|loss| loss.output_sqnr_db.map(|both| both[1])),
            ],
        )
    })
}

/// The channels of the input of which one stands out most: as they come and, where something was done, as they reach the
/// rounding.
pub(super) fn channels(input: &Input) -> Chart {
    let sorted = |mut reach: Vec<f32>| {
        reach.retain(|most| *most > 0.0);
        reach.ordered_by(&|a, b| b.total_cmp(a));
        reach.iter().enumerate().map(|(i, most)| [(i + 1) as f64, f64::from(*most)]).collect::<Vec<[f64; 2]>>()
    };
    let line = |name: &str, reach: Vec<f32>| Series { name: name.into(), points: sorted(reach), band: vec![] };
    let mut series = vec![line("As they come", input.before.reach())];
    if input.after.rows != input.before.rows {
        series.push(line("As they are rounded", input.after.reach()));
    }
    let kinds: Vec<String> = input.before.names.iter().map(|name| kind(short(name))).collect();
    let layer = input.before.names.iter().find_map(|name| name.split('.').find_map(|part| part.parse::<usize>().ok()));
    let place = layer.map_or_else(String::new, |layer| format!(" of layer {layer}, counted from 0"));
    Chart {
        id: "channels".into(),
        title: "Which channels stand out?".into(),
        caption: format!(
            "Largest magnitude of each channel of what flows into {}{place}, from large to small: of all inputs the one of \
             which a channel stands out most in the example text. All channels of a token are rounded on one grid, whose step \
             follows the largest.",
            kinds.join(", ")
        ),
        x: Axis::log("Channel, by magnitude"),
        y: Axis::log("Largest magnitude"),
        body: ChartBody::Line { series },
    }
}

/// The name of a matrix without what all names share.
pub(super) fn short(name: &str) -> &str {
    name.trim_start_matches("model.").trim_end_matches(".weight")
}

/// What a matrix is, whatever its layer: `gate`, `lm head`.
fn kind(name: &str) -> String {
    let last = name.rsplit('.').next().unwrap_or_default();
    last.trim_end_matches("_proj").trim_end_matches("_tokens").replace('_', " ")
}

/// The name of a series, and its value for a matrix that has one.
type Of<'a> = (&'a str, &'a dyn Fn(&Loss) -> Option<f64>);

fn by_kind(packed: &Packed, id: &str, title: &str, caption: &str, series: &[Of]) -> Chart {
    let mut kinds: Vec<(String, Vec<&Loss>)> = Vec::new();
    for loss in packed.losses.iter().filter(|loss| series.iter().any(|(_, of)| of(loss).is_some())) {
        let kind = kind(&loss.name);
        match kinds.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, all)) => all.push(loss),
            None => kinds.push((kind, vec![loss])),
        }
    }
    let bars = |(name, of): &Of| {
        let values = |all: &[&Loss]| all.iter().filter_map(|loss| of(loss)).map(|db| db.max(0.0)).collect::<Vec<f64>>();
        let all: Vec<Vec<f64>> = kinds.iter().map(|(_, all)| values(all)).collect();
        let ends = |all: &Vec<f64>| {
            [all.iter().copied().fold(f64::INFINITY, f64::min), all.iter().copied().fold(0.0, f64::max)]
        };
        BarSeries {
            name: (*name).into(),
            values: all.iter().map(|all| all.iter().sum::<f64>() / all.len() as f64).collect(),
            intervals: all.iter().map(ends).collect(),
        }
    };
    Chart {
        id: id.into(),
        title: title.into(),
        caption: caption.into(),
        x: Axis::linear("Matrix"),
        y: Axis { min: Some(0.0), ..Axis::linear("SQNR (dB)") },
        body: ChartBody::Bar {
            categories: kinds.iter().map(|(kind, _)| kind.clone()).collect(),
            series: series.iter().map(bars).collect(),
        },
    }
}

/// What both write when they always take the likeliest token; where the packed one leaves FP32's text, colour changes.
pub(super) async fn texts(
    fp32: &Transformer,
    packed: &Transformer,
    source: &Source,
    cx: &Context,
) -> Result<Vec<Chart>, LabError> {
    let prompt = source.tokenizer.encode(PROMPT);
    let write = async |model: &Transformer| {
        let asked = (prompt.as_slice(), WRITTEN);
        let between = async |_| cx.checkpoint().await;
        generate(model, asked, &Sampling::GREEDY, &mut cx.rng("text"), &cx.device, between).await
    };
    let (plain, written) = (write(fp32).await?, write(packed).await?);
    let same = plain.iter().zip(&written).take_while(|(a, b)| a == b).count();
    let stream = |id: &str, title: &str, text: &[u32], apart: usize| {
        let token = |(i, token): (usize, &u32)| Token {
            text: source.tokenizer.decode(&[*token]),
            colour: if i < prompt.len() {
                1
            } else if i < prompt.len() + apart {
                0
            } else {
                2
            },
        };
        Chart {
            id: id.into(),
            title: title.into(),
            caption: format!(
                "Greedy continuation of “{PROMPT}”, token by token. {}",
                if same == WRITTEN {
                    "Both write the same.".to_owned()
                } else {
                    format!(
                        "The two agree for {same} of {WRITTEN} tokens; one other token, and everything after it is another text."
                    )
                }
            ),
            x: Axis::default(),
            y: Axis::default(),
            body: ChartBody::TokenStream { tokens: prompt.iter().chain(text).enumerate().map(token).collect() },
        }
    };
    Ok(vec![
        stream("text-fp32", "What does the FP32 model write?", &plain, WRITTEN),
        stream("text-packed", "What does the packed model write?", &written, same),
    ])
}
