//! A page of HTML as a document: its title, headings, paragraphs and list items. Inline code stays as text. Code blocks
//! and tables go: their statistics are not those of English, and a small model has no room for both.

use scraper::{ElementRef, Html, Node, Selector};

use super::clean::{ascii, is_prose};

/// A piece of a document, one line of the corpus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    /// 1 to 6 for a heading, 0 for all else.
    pub(super) level: usize,
    /// As it stands in the corpus: `# Title`, `- item`, or a paragraph.
    pub(super) text: String,
}

impl Block {
    pub(super) fn is_heading(&self) -> bool {
        self.level > 0
    }
}

/// A page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Document {
    /// What may not be torn apart when the corpus is split: a page, or a module of the library.
    pub(super) group: String,
    pub(super) blocks: Vec<Block>,
}

impl Document {
    /// Removes headings under which nothing is left.
    pub(super) fn drop_empty_sections(&mut self) {
        let mut kept: Vec<Block> = Vec::new();
        for block in std::mem::take(&mut self.blocks).into_iter().rev() {
            // The block after this one, since the list is read backwards.
            let empty = kept.last().is_none_or(|next| next.is_heading() && next.level <= block.level);
            if !(block.is_heading() && empty) {
                kept.push(block);
            }
        }
        kept.reverse();
        self.blocks = kept;
    }

    /// Characters outside headings.
    pub(super) fn characters(&self) -> usize {
        self.blocks.iter().filter(|block| !block.is_heading()).map(|block| block.text.len()).sum()
    }

    /// As it stands in the corpus.
    pub(super) fn text(&self) -> String {
        let lines: Vec<&str> = self.blocks.iter().map(|block| block.text.as_str()).collect();
        lines.join("\n\n") + "\n"
    }
}

/// How the pages of a book are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// mdBook: everything in `<main>`.
    Book,
    /// rustdoc: a heading, then descriptions of items between signatures.
    Api,
}

/// Reads a page; `None` where it has no text, as a redirection has none.
pub(super) fn read(html: &str, layout: Layout, group: String) -> Option<Document> {
    let page = Html::parse_document(html);
    let mut blocks = Vec::new();
    match layout {
        Layout::Book => {
            let main = page.select(&selector("main")).next()?;
            walk(main, &mut blocks);
            // The title is the first heading, whatever its level.
            let title = blocks.iter().position(Block::is_heading)?;
            blocks.drain(..title);
        }
        Layout::Api => {
            let heading = page.select(&selector(".main-heading h1")).next()?;
            push_heading(&plain(heading), 1, &mut blocks);
            for description in page.select(&selector(".docblock")) {
                walk(description, &mut blocks);
            }
        }
    }
    let title = blocks.first_mut()?;
    let words = title.text.trim_start_matches(['#', ' ']);
    *title = Block { level: 1, text: format!("# {words}") };
    let mut document = Document { group, blocks };
    for block in &mut document.blocks[1..] {
        // Under the title nothing has its level.
        if block.level == 1 {
            *block = Block { level: 2, text: format!("#{}", block.text) };
        }
    }
    document.drop_empty_sections();
    (!document.blocks.is_empty()).then_some(document)
}

fn selector(css: &str) -> Selector {
    Selector::parse(css).expect("constant and valid")
}

/// Elements that hold no prose.
const SKIPPED: [&str; 12] =
    ["pre", "table", "script", "style", "svg", "nav", "button", "img", "summary", "math", "iframe", "form"];
/// Elements that begin a line of their own.
const BLOCKS: [&str; 20] = [
    "p",
    "li",
    "ul",
    "ol",
    "dl",
    "dt",
    "dd",
    "blockquote",
    "div",
    "section",
    "details",
    "figure",
    "figcaption",
    "aside",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
];

fn walk(element: ElementRef, blocks: &mut Vec<Block>) {
    let name = element.value().name();
    if SKIPPED.contains(&name) {
        return;
    }
    if let Some(level) = name.strip_prefix('h').and_then(|level| level.parse().ok()) {
        push_heading(&plain(element), level, blocks);
        return;
    }
    let item = name == "li";
    let mut line = String::new();
    let mut first = true;
    for child in element.children() {
        match (child.value(), ElementRef::wrap(child)) {
            (Node::Text(text), _) => line.push_str(text),
            (_, Some(inner)) if is_block(inner) => {
                flush(&mut line, item && first, blocks);
                let before = blocks.len();
                walk(inner, blocks);
                // `<li><p>`: the paragraph is the item.
                if item && first && inner.value().name() == "p" {
                    for block in &mut blocks[before..] {
                        block.text.insert_str(0, "- ");
                    }
                }
                first = false;
            }
            (_, Some(inner)) => line.push_str(&plain(inner)),
            _ => {}
        }
    }
    flush(&mut line, item && first, blocks);
}

fn is_block(element: ElementRef) -> bool {
    let name = element.value().name();
    BLOCKS.contains(&name) || name == "pre" || name == "table"
}

/// The text of inline elements.
fn plain(element: ElementRef) -> String {
    let name = element.value().name();
    // Footnote marks, the sign that links to a heading, and names of rules in the margin.
    let class = |class: &str| element.value().classes().any(|known| known == class);
    if SKIPPED.contains(&name) || name == "sup" || class("doc-anchor") || class("rule") || class("rule-link") {
        return String::new();
    }
    if name == "br" {
        return " ".into();
    }
    let mut text = String::new();
    for child in element.children() {
        match (child.value(), ElementRef::wrap(child)) {
            (Node::Text(words), _) => text.push_str(words),
            (_, Some(inner)) => text.push_str(&plain(inner)),
            _ => {}
        }
    }
    if name == "code" && !text.is_empty() { format!("`{text}`") } else { text }
}

fn push_heading(text: &str, level: usize, blocks: &mut Vec<Block>) {
    if let Some(text) = ascii(text).filter(|text| !text.is_empty()) {
        blocks.push(Block { level, text: format!("{} {text}", "#".repeat(level)) });
    }
}

fn flush(line: &mut String, item: bool, blocks: &mut Vec<Block>) {
    let text = std::mem::take(line);
    let Some(text) = ascii(&text) else { return };
    if is_prose(&text, if item { 3 } else { 4 }) {
        blocks.push(Block { level: 0, text: if item { format!("- {text}") } else { text } });
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A document of these lines; `#` begins a heading.
    pub(in super::super) fn document(group: &str, lines: &[&str]) -> Document {
        let block =
            |line: &&str| Block { level: line.chars().take_while(|c| *c == '#').count(), text: (*line).to_owned() };
        Document { group: group.into(), blocks: lines.iter().map(block).collect() }
    }

    #[test]
    fn a_chapter_keeps_its_prose_and_loses_its_code() {
        let html = "<html><body><nav>Menu of many words here</nav><main><h2><a class=\"header\">What Is It?</a></h2>\
            <p>It’s a set of <em>rules</em> that\ngovern a program’s <code>Box&lt;T&gt;</code>.</p>\
            <pre><code>fn main() { println!(\"this is code and not prose\"); }</code></pre>\
            <h3>Empty</h3><pre>x</pre><h3>Rules</h3><ul><li>Each value has an owner.</li>\
            <li><p>There is only one owner.</p><p>It can be replaced by another.</p></li></ul>\
            <table><tr><td>a cell of some words here</td></tr></table></main></body></html>";
        let document = read(html, Layout::Book, "g".into()).expect("has text");
        assert_eq!(
            document.text(),
            "# What Is It?\n\nIt's a set of rules that govern a program's `Box<T>`.\n\n### Rules\n\n- Each value has an \
             owner.\n\n- There is only one owner.\n\nIt can be replaced by another.\n"
        );
    }

    #[test]
    fn a_page_of_the_library_keeps_descriptions_alone() {
        let html = "<main><div class=\"main-heading\"><h1>Struct <span>Vec</span>&nbsp;<button>Copy item path</button></h1>\
            </div><pre>pub struct Vec</pre><div class=\"docblock\"><p>A contiguous growable array type.</p>\
            <h2><a class=\"doc-anchor\">§</a>Examples</h2><pre>code</pre></div><section>fn len of this and that</section>\
            <div class=\"docblock\"><p>Returns the number of elements.</p></div></main>";
        let document = read(html, Layout::Api, "g".into()).expect("has text");
        assert_eq!(
            document.text(),
            "# Struct Vec\n\nA contiguous growable array type.\n\n## Examples\n\nReturns the number of elements.\n"
        );
    }

    #[test]
    fn a_page_without_text_is_none() {
        assert_eq!(read("<html><body>moved</body></html>", Layout::Book, "g".into()), None);
        assert_eq!(read("<main><h1>Only a title</h1></main>", Layout::Book, "g".into()), None);
    }

    #[test]
    fn sections_without_content_are_dropped() {
        let mut document = document("g", &["# A", "## B", "### C", "text", "## D", "### E"]);
        document.drop_empty_sections();
        assert_eq!(document.text(), "# A\n\n## B\n\n### C\n\ntext\n");
    }
}
