//! The preprocessor as mdBook calls it: the book as JSON in, the book as JSON out.

use std::{io, process::ExitCode};

use mdbook_preprocessor::{Preprocessor as _, errors::Result, parse_input};
use textbook::Textbook;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some("supports") {
        return if args.next().as_deref() == Some("html") { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    match process() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn process() -> Result<()> {
    let (context, book) = parse_input(io::stdin())?;
    // The book lies in a folder of the project.
    let root = context.root.parent().map_or_else(|| context.root.clone(), ToOwned::to_owned);
    let book = Textbook::new(&root).run(&context, book)?;
    serde_json::to_writer(io::stdout(), &book)?;
    Ok(())
}
