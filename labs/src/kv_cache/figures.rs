//! Loss by position, and what is written.

use lab_api::{Axis, Chart, ChartBody, LabError, Series, Token};
use lab_kit::{
    Context,
    cache::{Decoder, Session, Setting},
    mlp::read,
};

use super::{
    judge::Judged,
    source::Source,
    writing::{Written, likeliest},
};

/// Loss of eight stretches of the texts, with everything kept and with the reader's cache.
pub(super) fn by_position(full: &Judged, mine: &Judged) -> Chart {
    let length = full.nats.first().map_or(0, Vec::len);
    let line = |name: &str, judged: &Judged| {
        let ends = (0..8).map(|i| (i * length / 8, (i + 1) * length / 8)).filter(|(from, to)| from < to);
        let points = ends.map(|(from, to)| [0.5 * (from + to) as f64, judged.between(from, to)]).collect();
        Series { name: name.into(), points, band: vec![] }
    };
    Chart {
        id: "positions".into(),
        title: "Where does the cache cost something?".into(),
        caption: "Mean loss of the texts, in eight stretches. The model was trained on 256 tokens.".into(),
        x: Axis::linear("Position in the text (tokens)"),
        y: Axis::linear("Loss (nats a token)"),
        body: ChartBody::Line { series: vec![line("Everything kept", full), line("Your cache", mine)] },
    }
}

/// What the full cache wrote, and what the reader's cache writes after the same prompt.
pub(super) async fn texts(
    source: &Source,
    written: &Written,
    (decoder, setting): (&Decoder, Setting),
    cx: &Context,
) -> Result<Vec<Chart>, LabError> {
    let count = written.tokens.len();
    let mut session = Session::new(decoder, &[setting], written.prompt.len() + count, cx.rng("lots"))?;
    let (mut mine, mut new) = (Vec::new(), written.prompt.clone());
    while mine.len() < count {
        let logits = session.feed(&new, cx, &mut |_, _, _| ()).await?;
        let [rows, _] = logits.dims();
        let token = likeliest(&read(logits.narrow(0, rows - 1, 1)).await?);
        mine.push(token);
        new = vec![token];
        cx.checkpoint().await?;
    }
    let same = written.tokens.iter().zip(&mine).take_while(|(a, b)| a == b).count();
    let stream = |id: &str, title: &str, caption: String, text: &[u32], apart: usize| {
        let prompt = written.prompt.iter().map(|token| (token, 1));
        let text = text.iter().enumerate().map(|(i, token)| (token, if i < apart { 0 } else { 2 }));
        let token = |(token, colour): (&u32, usize)| Token { text: source.tokenizer.decode(&[*token]), colour };
        Chart {
            id: id.into(),
            title: title.into(),
            caption,
            x: Axis::default(),
            y: Axis::default(),
            body: ChartBody::TokenStream { tokens: prompt.chain(text).map(token).collect() },
        }
    };
    let verdict = if same == count {
        "It is the same text.".to_owned()
    } else {
        format!(
            "The two agree for {same} of {count} tokens; after the first other token the texts have other beginnings."
        )
    };
    Ok(vec![
        stream(
            "text-full",
            "What is written with everything kept?",
            "The likeliest token, again and again.".into(),
            &written.tokens,
            count,
        ),
        stream("text-mine", "What is written with your cache?", verdict, &mine, same),
    ])
}
