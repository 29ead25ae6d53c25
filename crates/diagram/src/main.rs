//! Draws a Mermaid diagram as SVG for the book: `diagram draw < source > picture`.
//!
//! A program of its own, since the library that draws compiles for minutes and is needed only when a diagram changed: the
//! preprocessor `textbook` calls it for a diagram that has no committed picture yet. Colours are the site's variables, so one picture
//! serves both themes; text is SVG text, without `foreignObject`.

mod draw;
mod style;

use std::{
    io::{Read as _, Write as _},
    process::ExitCode,
};

fn main() -> ExitCode {
    let command = std::env::args().nth(1);
    if command.as_deref() != Some("draw") {
        eprintln!("usage: diagram draw < source.mmd > picture.svg");
        return ExitCode::from(2);
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line: it becomes part of the book builder's message.
            eprintln!("{}", format!("{error:#}").replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let mut source = String::new();
    std::io::stdin().read_to_string(&mut source)?;
    let svg = draw::draw(&source)?;
    std::io::stdout().write_all(svg.as_bytes())?;
    Ok(())
}
