//! `cargo xtask new lab NAME` and `new chapter NAME`: a start that passes every check.

use std::process::ExitCode;

use anyhow::Context as _;

use crate::args::{Args, Usage};
use crate::check::names;
use crate::pipeline;
use crate::workspace::{Workspace, files_under, has_extension};

const PARTS: [&str; 2] = ["tactics", "strategy"];

pub(crate) fn run(workspace: &Workspace, mut args: Args) -> anyhow::Result<ExitCode> {
    let what = args.word().ok_or_else(|| Usage("say what to start: a lab or a chapter".to_owned()))?;
    match what.as_str() {
        "lab" => pipeline::lab_cli(workspace, &["new-lab"], args),
        "chapter" => chapter(workspace, args),
        other => Err(Usage(format!("“{other}” cannot be started; it is either a lab or a chapter")).into()),
    }
}

fn chapter(workspace: &Workspace, mut args: Args) -> anyhow::Result<ExitCode> {
    let part = args.option("--part")?.unwrap_or_else(|| "tactics".to_owned());
    let name = args.word().ok_or_else(|| Usage("name the chapter, in words joined by hyphens".to_owned()))?;
    args.finish()?;
    if !PARTS.contains(&part.as_str()) {
        return Err(Usage(format!("there is no part “{part}”; it is tactics or strategy")).into());
    }
    check_name(&name)?;
    let source = workspace.root.join("book/src");
    let file = source.join(&part).join(format!("{name}.md"));
    for known in files_under(&source).iter().filter(|file| has_extension(file, "md")) {
        if known.file_stem().is_some_and(|stem| stem == name.as_str()) {
            anyhow::bail!("{} exists already; choose another name", workspace.name_of(known).display());
        }
    }
    let summary_file = source.join("SUMMARY.md");
    let summary = std::fs::read_to_string(&summary_file).context("book/src/SUMMARY.md cannot be read")?;
    let title = title_of(&name);
    let summary = add_to_summary(&summary, &part, &name, &title).with_context(|| {
        format!("SUMMARY.md lists no chapter of {part}/: add `- [{title}]({part}/{name}.md)` by hand")
    })?;
    std::fs::create_dir_all(source.join(&part))?;
    std::fs::write(&file, chapter_text(&part, &name, &title))?;
    std::fs::write(summary_file, summary)?;
    println!("{} is in the book; see it with `cargo xtask serve`", workspace.name_of(&file).display());
    Ok(ExitCode::SUCCESS)
}

fn check_name(name: &str) -> Result<(), Usage> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || !name.chars().all(plain) || name.starts_with('-') || name.ends_with('-') {
        return Err(Usage(format!("“{name}” is not a name: use lower-case words joined by hyphens")));
    }
    if let Some(why) = names::numbered(name) {
        return Err(Usage(why));
    }
    Ok(())
}

/// `low-rank` becomes `Low rank`.
fn title_of(name: &str) -> String {
    let words = name.replace('-', " ");
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Adds the chapter after the last one of its part; `None` where the part has none yet.
fn add_to_summary(summary: &str, part: &str, name: &str, title: &str) -> Option<String> {
    let lines: Vec<&str> = summary.lines().collect();
    let link = format!("]({part}/");
    let last = lines.iter().rposition(|line| line.contains(&link))?;
    // The first chapter of a part gives the indentation: a chapter under an index page is nested, one without is not.
    let pattern =
        lines.iter().rev().find(|line| line.contains(&link) && !line.contains("/index.md")).or(lines.get(last))?;
    let indent = &pattern[..pattern.len() - pattern.trim_start().len()];
    let new = format!("{indent}- [{title}]({part}/{name}.md)");
    let mut all: Vec<&str> = lines[..=last].to_vec();
    all.push(&new);
    all.extend(&lines[last + 1..]);
    Some(all.join("\n") + "\n")
}

/// A chapter that builds as it stands and says what to write where.
fn chapter_text(part: &str, name: &str, title: &str) -> String {
    let body = if part == "tactics" {
        "The problem in three sentences, with one number measured in this book's own lab.\n\n\
         ## How it works\n\nThe idea, the maths with every symbol named, and a picture.\n\n\
         ## What happened, and why\n\nThe study explained, including where the technique disappoints.\n\n\
         ## Choosing a variant\n\nWhen to use which.\n\n\
         ## In practice\n\nThe same in the frameworks people use, and the pitfalls met there.\n\n\
         ## Check yourself\n\nQuestions on concepts, with feedback for every option.\n\n"
    } else {
        "The decision this chapter helps with, in three sentences.\n\n\
         ## Evidence\n\nWhat is known, and from where.\n\n\
         ## The decision rule\n\nThe rule, with a worked example in numbers.\n\n\
         ## Limits\n\nWhere the rule fails, and the fallacies around it.\n\n\
         ## Check yourself\n\nQuestions on decisions, with feedback for every option.\n\n"
    };
    format!("# {title} {{#sec-{name}}}\n\n{body}## Summary\n\nWhat to remember, and where to go next.\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chapter_joins_the_end_of_its_part() {
        let summary = "# Summary\n\n- [Trade-offs](strategy/trade-offs.md)\n\n# Tactics\n\n- [Tactics](tactics/index.md)\n  \
                       - [Quantization](tactics/quantization.md)\n\n[Glossary](glossary.md)\n";
        let after = add_to_summary(summary, "tactics", "low-rank", "Low rank").expect("the part exists");
        let expected = "  - [Quantization](tactics/quantization.md)\n  - [Low rank](tactics/low-rank.md)\n\n[Glossary]";
        assert!(after.contains(expected), "{after}");
        assert!(add_to_summary("# Summary\n", "tactics", "a", "A").is_none());
    }

    #[test]
    fn numbers_and_capitals_are_refused_as_names() {
        for bad in ["3-pruning", "03pruning", "chapter-3", "Pruning", "a/b", "", "-a"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        for good in ["pruning", "low-rank", "int8-kernels"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        assert_eq!(title_of("low-rank"), "Low rank");
    }
}
