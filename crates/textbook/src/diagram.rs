//! Mermaid diagrams: drawn once by the program `diagram`, kept beside the book, looked up by content.

use std::{
    collections::BTreeSet,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use sha2::{Digest as _, Sha256};

use crate::{
    outline::{BlockKind, outline},
    problem::Reporter,
    source::Source,
};

/// Changes when drawing changes, so that old pictures are not taken for new ones.
const DRAWING_VERSION: &str = "1";

/// The file name of a diagram's picture: the same for the same source, whatever its text alternative.
fn file_name(source: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(DRAWING_VERSION);
    hash.update([0]);
    hash.update(source.trim());
    let hex: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{hex}.svg")
}

/// The words of a diagram for those who do not see it: `%% alt: ...` on the first line, or `accDescr`, or `accTitle`.
pub(crate) fn alternative(source: &str) -> Option<String> {
    let first = source.lines().find(|line| !line.trim().is_empty())?;
    let alt = first.trim().strip_prefix("%%").map(str::trim).and_then(|rest| rest.strip_prefix("alt:"));
    let named = |name: &str| {
        source
            .lines()
            .find_map(|line| line.trim().strip_prefix(name)?.trim_start().strip_prefix(':').map(str::to_owned))
    };
    let words = alt.map(str::to_owned).or_else(|| named("accDescr")).or_else(|| named("accTitle"))?;
    let words = words.trim().to_owned();
    (!words.is_empty()).then_some(words)
}

/// What Mermaid itself reads: without our line of words.
pub(crate) fn drawing(source: &str) -> String {
    let mut lines: Vec<&str> = source.lines().collect();
    if let Some(at) = lines.iter().position(|line| !line.trim().is_empty())
        && lines[at].trim().trim_start_matches('%').trim().starts_with("alt:")
    {
        lines.remove(at);
    }
    lines.join("\n").trim().to_owned()
}

/// Where pictures are kept, and the workspace whose program draws them.
#[derive(Debug, Clone)]
pub(crate) struct Diagrams {
    pub(crate) folder: PathBuf,
    /// None: what is not there is an error, nothing is drawn.
    pub(crate) workspace: Option<PathBuf>,
}

impl Diagrams {
    /// The picture of a diagram; drawn now if it was never drawn.
    ///
    /// # Errors
    /// What the drawing program says, or that it is not there.
    pub(crate) fn picture(&self, source: &str) -> Result<String, String> {
        let source = drawing(source);
        let path = self.folder.join(file_name(&source));
        if let Ok(svg) = std::fs::read_to_string(&path) {
            return Ok(svg);
        }
        let workspace = self.workspace.as_deref().filter(|root| root.join("crates/diagram").is_dir());
        let svg = draw(
            workspace.ok_or(
                "this diagram was never drawn; build the book once and commit the new file in book/data/diagrams",
            )?,
            &source,
        )?;
        let kept = std::fs::create_dir_all(&self.folder).and_then(|()| std::fs::write(&path, &svg));
        kept.map_err(|error| format!("the picture cannot be kept in {}: {error}", self.folder.display()))?;
        Ok(svg)
    }
}

fn draw(workspace: &Path, source: &str) -> Result<String, String> {
    eprintln!("textbook: drawing a new diagram (the first time, this compiles crates/diagram for some minutes)");
    let fail = |error: std::io::Error| format!("the program that draws cannot be started: {error}");
    let mut child = Command::new("cargo")
        .args(["run", "--quiet", "--package", "diagram", "--profile", "dev", "--", "draw"])
        .current_dir(workspace)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(fail)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(source.as_bytes()).map_err(fail)?;
    }
    let output = child.wait_with_output().map_err(fail)?;
    if output.status.success() {
        return String::from_utf8(output.stdout).map_err(|error| error.to_string());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(words.lines().last().unwrap_or("the diagram cannot be drawn").to_owned())
}

/// What `book/data/diagrams` lacks and what it holds in vain, by the chapters in `book/src`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Files of diagrams that were never drawn.
    pub missing: Vec<PathBuf>,
    /// Files that no chapter uses any more.
    pub unused: Vec<PathBuf>,
}

/// Compares the diagrams in the chapters of the project in `root` with the pictures that are kept.
///
/// # Errors
/// A folder or file that cannot be read.
pub fn inventory(root: &Path) -> std::io::Result<Inventory> {
    let folder = root.join("book/data/diagrams");
    let mut wanted = BTreeSet::new();
    wanted_in(&root.join("book/src"), &mut wanted)?;
    let mut kept = BTreeSet::new();
    if folder.is_dir() {
        for entry in std::fs::read_dir(&folder)? {
            kept.insert(entry?.file_name().to_string_lossy().into_owned());
        }
    }
    let paths = |names: Vec<&String>| names.into_iter().map(|name| folder.join(name)).collect();
    Ok(Inventory {
        missing: paths(wanted.difference(&kept).collect()),
        unused: paths(kept.difference(&wanted).collect()),
    })
}

fn wanted_in(folder: &Path, wanted: &mut BTreeSet<String>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            wanted_in(&path, wanted)?;
        } else if path.extension().is_some_and(|extension| extension == "md") {
            // What is wrong with a chapter is told when the book is built.
            let blocks = outline(&Source::new("", 1, &std::fs::read_to_string(&path)?), &Reporter::default());
            wanted.extend(blocks.iter().filter_map(|block| match &block.kind {
                BlockKind::Fence { language, code, .. } if language == "mermaid" => Some(file_name(&drawing(code))),
                _ => None,
            }));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_counted_against_the_chapters() {
        let root = tempfile::tempdir().expect("a folder");
        let source = "flowchart LR\n A-->B";
        for folder in ["book/src/part", "book/data/diagrams"] {
            std::fs::create_dir_all(root.path().join(folder)).expect("a folder");
        }
        std::fs::write(root.path().join("book/src/part/a.md"), format!("```mermaid\n%% alt: w\n{source}\n```\n"))
            .expect("writes");
        std::fs::write(root.path().join("book/data/diagrams/old.svg"), "").expect("writes");
        let found = inventory(root.path()).expect("reads");
        let folder = root.path().join("book/data/diagrams");
        assert_eq!(
            found,
            Inventory { missing: vec![folder.join(file_name(source))], unused: vec![folder.join("old.svg")] }
        );
    }

    #[test]
    fn words_are_found_and_are_not_part_of_the_drawing() {
        let source = "%% alt: A to B.\nflowchart LR\n A-->B\n";
        assert_eq!(alternative(source).as_deref(), Some("A to B."));
        assert_eq!(drawing(source), "flowchart LR\n A-->B");
        assert_eq!(alternative("flowchart LR\n accDescr: Words\n A-->B").as_deref(), Some("Words"));
        assert_eq!(alternative("flowchart LR\n A-->B"), None);
        assert_eq!(alternative("%% alt:\nflowchart LR"), None);
    }
}
