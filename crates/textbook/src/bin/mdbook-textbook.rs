//! The preprocessor as mdBook calls it: the book as JSON in, the book as JSON out. `mdbook-textbook diagrams [--prune] [ROOT]` compares the
//! diagrams in the chapters with the pictures that are kept; `mdbook-textbook overlap [--json] [ROOT]` the words of strategy with those of tactics;
//! `mdbook-textbook prose [--json] [ROOT]` counts what STYLE.md says of language.

use std::{io, path::Path, process::ExitCode};

use mdbook_preprocessor::{Preprocessor as _, errors::Result, parse_input};
use textbook::{
    OVERLAP_LIMIT, RETOLD_LIMIT, Textbook, crosslinks, diagram_inventory, overlap, prose, prose_json, prose_table,
};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        [] => finish(process()),
        ["supports", renderer] => {
            if *renderer == "html" {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        ["diagrams", rest @ ..] => {
            let prune = rest.contains(&"--prune");
            let root = rest.iter().find(|arg| !arg.starts_with("--")).unwrap_or(&".");
            finish(diagrams(Path::new(root), prune))
        }
        ["overlap", rest @ ..] => {
            let root = rest.iter().find(|arg| !arg.starts_with("--")).unwrap_or(&".");
            finish(repeated(Path::new(root), rest.contains(&"--json")))
        }
        ["prose", rest @ ..] => {
            let root = rest.iter().find(|arg| !arg.starts_with("--")).unwrap_or(&".");
            finish(counted(Path::new(root), rest.contains(&"--json")))
        }
        _ => {
            eprintln!(
                "usage: mdbook-textbook [supports RENDERER | diagrams [--prune] [ROOT] | overlap [--json] [ROOT] | prose [--json] [ROOT]]"
            );
            ExitCode::from(2)
        }
    }
}

fn finish(result: Result<()>) -> ExitCode {
    match result {
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

fn repeated(root: &Path, as_json: bool) -> Result<()> {
    let found = overlap(root)?;
    print!("{}", if as_json { found.json() } else { found.table() });
    if found.is_too_much() {
        anyhow::bail!(
            "{:.2} % of strategy stands in tactics too ({OVERLAP_LIMIT} % is too much), and {} of its sentences are told there in other words ({RETOLD_LIMIT} may be)",
            found.all.percent(),
            found.retold.len()
        );
    }
    let missing = crosslinks(root)?;
    if !missing.is_empty() {
        anyhow::bail!("the parts do not lead to each other:\n{}", missing.join("\n"));
    }
    Ok(())
}

fn counted(root: &Path, as_json: bool) -> Result<()> {
    let pages = prose(root)?;
    print!("{}", if as_json { prose_json(&pages) } else { prose_table(&pages) });
    Ok(())
}

fn diagrams(root: &Path, prune: bool) -> Result<()> {
    let inventory = diagram_inventory(root)?;
    let mut wrong = inventory.missing.len();
    for path in &inventory.missing {
        println!("not drawn yet (building the book draws it): {}", path.display());
    }
    for path in &inventory.unused {
        if prune {
            std::fs::remove_file(path)?;
            println!("removed: {}", path.display());
        } else {
            wrong += 1;
            println!("used by no chapter (`mdbook-textbook diagrams --prune` removes it): {}", path.display());
        }
    }
    if wrong > 0 {
        anyhow::bail!("book/data/diagrams does not match the chapters");
    }
    Ok(())
}
