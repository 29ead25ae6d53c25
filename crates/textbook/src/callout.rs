//! Callouts: quotations that begin with `[!KIND]`.

use std::ops::Range;

use crate::{
    inline::labels_in,
    outline::Block,
    page::{Page, container_prefix},
    problem::near,
    source::{Edit, Source},
};

/// Callouts by the word in the source: class, heading.
const CALLOUTS: [(&str, &str, &str); 13] = [
    ("TACTICS", "tactics", "Tactics"),
    ("STRATEGY", "strategy", "Strategy"),
    ("PREDICT", "predict", "Predict"),
    ("NOTE", "note", "Note"),
    ("WARNING", "warning", "Warning"),
    ("EXAMPLE", "example", "Example"),
    ("TIP", "tip", "Tip"),
    ("DEFINITION", "definition", "Definition"),
    ("PITFALL", "pitfall", "Pitfall"),
    ("SUMMARY", "summary", "Summary"),
    ("PREREQUISITES", "prerequisites", "Prerequisites"),
    ("EXERCISE", "exercise", "Exercise"),
    ("ANSWER", "answer", "Answer"),
];

impl Page<'_> {
    pub(crate) fn callout(
        &self,
        source: &Source,
        block: &Block,
        kind: &str,
        title: &Range<usize>,
        head_end: usize,
        edits: &mut Vec<Edit>,
    ) {
        let at = block.range.start;
        let Some((_, class, name)) = CALLOUTS.iter().find(|(word, ..)| *word == kind) else {
            let nearest = near(kind, CALLOUTS.iter().map(|(word, ..)| *word)).map(|word| format!("[!{word}]"));
            return source.report(self.book.reporter, at, "there is no such callout", &format!("[!{kind}]"), nearest);
        };
        let before = source.before_on_line(at);
        if before.contains('>') {
            return source.report(
                self.book.reporter,
                at,
                "a callout cannot stand in a quotation or in another callout",
                &format!("[!{kind}]"),
                None,
            );
        }
        let text = &source.text[block.range.clone()];
        if let Some(part) = ["tactics", "strategy"].into_iter().find(|part| part == class) {
            let across = labels_in(text).into_iter().filter_map(|label| self.book.register.labels.get(label));
            let mut across = across.map(|label| self.book.register.chapters[label.chapter].part());
            if !across.any(|other| other == part) {
                let message = format!("this callout needs a reference (@sec-…) to a chapter of {part}/");
                source.report(self.book.reporter, at, &message, &format!("[!{kind}]"), None);
            }
        }
        if text[head_end - at..].lines().all(|line| line.trim_matches([' ', '>', '\t']).is_empty()) {
            source.report(self.book.reporter, at, "this callout is empty", &format!("[!{kind}]"), None);
        }
        let words = self.inline(&source.text[title.clone()], &source.file, source.line(title.start));
        let gap = if words.is_empty() { "" } else { " " };
        let head = format!("<span class=\"callout-kind\">{name}</span>{gap}{words}");
        let (open, close) = if *class == "answer" {
            (
                format!("<details class=\"callout callout-answer\"><summary class=\"callout-title\">{head}</summary>"),
                "</details>",
            )
        } else {
            (
                format!(
                    "<aside class=\"callout callout-{class}\" role=\"note\" aria-label=\"{name}\"><p class=\"callout-title\">{head}</p>"
                ),
                "</aside>",
            )
        };
        let indent = container_prefix(before, false);
        edits.push(Edit { range: at..head_end, text: format!("{open}\n") });
        let mut line_start = head_end;
        for line in source.text[head_end..block.range.end].split_inclusive('\n') {
            let blank = line.len() - line.trim_start_matches([' ', '\t']).len();
            if line_start > head_end && line[blank..].starts_with('>') {
                let quote = line_start + blank;
                let wide = usize::from(line[blank + 1..].starts_with(' '));
                edits.push(Edit { range: quote..quote + 1 + wide, text: String::new() });
            }
            line_start += line.len();
        }
        edits.push(Edit { range: block.range.end..block.range.end, text: format!("\n\n{indent}{close}\n") });
    }
}
