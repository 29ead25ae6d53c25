//! Source to picture: drawn by merman, then freed of its theme, of unused definitions and of what only a script would read.

use std::sync::LazyLock;

use anyhow::{Context as _, anyhow, bail};
use merman::{
    Engine, MermaidConfig, OperationControl, ParseOptions, RenderOutput, RenderRequest, Renderer, SvgRequest,
    svg::{SvgOutputPolicy, SvgPipelinePreset, SvgRenderOptions},
};
use regex::{Captures, Regex};
use serde_json::json;

use crate::style;

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a constant pattern")
}

static STYLE: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?s)<style[^>]*>.*?</style>"));
static KIND: LazyLock<Regex> = LazyLock::new(|| pattern(r#"aria-roledescription="([^"]*)""#));
static VIEW_BOX: LazyLock<Regex> = LazyLock::new(|| pattern(r#"viewBox="[-\d.]+ [-\d.]+ ([\d.]+) ([\d.]+)""#));
static ROOT: LazyLock<Regex> = LazyLock::new(|| pattern(r"<svg\b[^>]*>"));
static ROOT_SIZE: LazyLock<Regex> = LazyLock::new(|| pattern(r#"\s(?:width|style|role|aria-roledescription)="[^"]*""#));
static UNREAD: LazyLock<Regex> =
    LazyLock::new(|| pattern(r#"\s(?:data-[\w-]+|filter|name|xmlns:xlink|alignment-baseline|class="")(?:="[^"]*")?"#));
static COLOUR: LazyLock<Regex> =
    LazyLock::new(|| pattern(r##"\s(?:fill|stroke)="(?:#[0-9A-Fa-f]{3,8}|rgba?\([^"]*|hsla?\([^"]*|[a-z]+)""##));
static DEFINED: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"(?s)<(marker|symbol|filter|linearGradient)\b[^>]*?\sid="([^"]+)"[^>]*>.*?</(?:marker|symbol|filter|linearGradient)>"#,
    )
});
static EMPTY: LazyLock<Regex> = LazyLock::new(|| pattern(r"<(defs|g)>\s*</(?:defs|g)>|<g\s*/>|<g></g>"));
static NUMBER: LazyLock<Regex> = LazyLock::new(|| pattern(r"\d+\.\d{3,}"));
static LOOSE: LazyLock<Regex> =
    LazyLock::new(|| pattern(r##"style="[^"]*(?:#[0-9A-Fa-f]{3,8}|rgba?\(|hsla?\()[^"]*""##));

/// Draws a diagram.
///
/// # Errors
/// The source is no diagram of a kind that has a style for both themes, it does not parse, or it names colours of its own.
pub(crate) fn draw(source: &str) -> anyhow::Result<String> {
    let svg = render(source)?;
    let kind = KIND.captures(&svg).map(|found| found[1].to_owned()).context("the drawing has no kind")?;
    let sheet = style::sheet(&kind)
        .ok_or_else(|| anyhow!("diagrams of the kind {kind} have no style for both themes; use flowchart, sequenceDiagram or stateDiagram-v2"))?;
    if svg.contains("<foreignObject") {
        bail!("the drawing holds foreignObject; write its labels without HTML");
    }
    if source.contains("classDef")
        || source.contains("linkStyle")
        || source.lines().any(|line| line.trim_start().starts_with("style "))
    {
        bail!(
            "a diagram names no colours of its own (classDef, style, linkStyle): they would be right in one theme only"
        );
    }
    let (width, height) = VIEW_BOX
        .captures(&svg)
        .map(|found| (rounded(&found[1]), rounded(&found[2])))
        .context("the drawing has no size")?;
    let svg = STYLE.replace_all(&svg, "");
    let svg = ROOT.replace(&svg, |found: &Captures<'_>| {
        let open = ROOT_SIZE.replace_all(&found[0], "");
        let open = open.trim_end_matches('>');
        format!("{open} width=\"{width}\" height=\"{height}\"><style>{sheet}</style>")
    });
    let svg = UNREAD.replace_all(&svg, "");
    let svg =
        COLOUR.replace_all(
            &svg,
            |found: &Captures<'_>| if found[0].ends_with("\"none\"") { found[0].to_owned() } else { String::new() },
        );
    if let Some(found) = LOOSE.find(&svg) {
        bail!("the drawing has a colour of its own: {}", found.as_str());
    }
    let svg = without_unused(&svg);
    let svg = NUMBER.replace_all(&svg, |found: &Captures<'_>| rounded(&found[0]));
    Ok(format!("{}\n", svg.trim()))
}

fn render(source: &str) -> anyhow::Result<String> {
    let config = json!({ "theme": "base", "look": "classic", "htmlLabels": false, "flowchart": { "htmlLabels": false }, "fontSize": 16 });
    let engine = Engine::new().with_site_config(MermaidConfig::from_value(config));
    let renderer = Renderer::new().with_engine(engine).with_parse_options(ParseOptions::strict());
    // This preset makes labels SVG text: foreignObject stays blank where HTML in SVG is not drawn.
    let policy = SvgOutputPolicy { preset: SvgPipelinePreset::ResvgSafe, ..SvgOutputPolicy::default() };
    let options = SvgRenderOptions { diagram_id: Some("d".to_owned()), ..SvgRenderOptions::default() };
    let request = SvgRequest { pipeline: Some(policy.pipeline()), options, ..SvgRequest::default() };
    let output = renderer.render(RenderRequest::svg(source, OperationControl::new(), request));
    match output {
        Ok(RenderOutput::Svg(Some(svg))) => Ok(svg.svg().to_owned()),
        Ok(_) => bail!("this is no Mermaid diagram"),
        Err(error) => bail!("the diagram does not parse ({error})"),
    }
}

fn rounded(number: &str) -> String {
    let value: f64 = number.parse().unwrap_or_default();
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Leaves out markers and symbols that nothing points to, and what is then empty.
fn without_unused(svg: &str) -> String {
    let used = |id: &str| svg.contains(&format!("url(#{id})")) || svg.contains(&format!("href=\"#{id}\""));
    let mut svg = DEFINED
        .replace_all(svg, |found: &Captures<'_>| if used(&found[2]) { found[0].to_owned() } else { String::new() })
        .into_owned();
    loop {
        let next = EMPTY.replace_all(&svg, "").into_owned();
        if next.len() == svg.len() {
            return svg;
        }
        svg = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flowchart_has_the_sites_colours_and_its_words() {
        let svg = draw("flowchart LR\n  A[Calibrate it] -->|then| B[Round]\n").expect("draws");
        assert!(svg.contains("var(--surface-2)") && svg.contains("width=\"") && svg.contains("height=\""));
        assert!(svg.contains("Calibrate") && svg.contains("then"), "{svg}");
        for literal in ["=\"#", "rgb(", "hsl(", "foreignObject", "data-"] {
            assert!(!svg.contains(literal), "{literal}: {svg}");
        }
        let marker = svg.matches("<marker").count();
        assert_eq!(marker, svg.matches("url(#").count().min(1), "only the marker in use stays");
    }

    #[test]
    fn the_other_kinds_draw() {
        assert!(
            draw("sequenceDiagram\n  A->>B: hello\n  Note over A,B: both\n").expect("draws").contains("messageLine0")
        );
        assert!(
            draw("stateDiagram-v2\n  [*] --> ready\n  ready --> done: Run\n").expect("draws").contains("transition")
        );
    }

    #[test]
    fn the_same_source_gives_the_same_picture() {
        let source = "flowchart TD\n  A --> B{x} --> C\n";
        assert_eq!(draw(source).expect("draws"), draw(source).expect("draws"));
    }

    #[test]
    fn what_cannot_be_right_is_refused() {
        for bad in [
            "",
            "no diagram",
            "flowchart LR\n A[unclosed --> B",
            "flowchart LR\n A --> B\n classDef x fill:#f00\n",
            "pie\n \"a\": 1\n",
        ] {
            assert!(draw(bad).is_err(), "{bad}");
        }
    }
}
