//! What a picture looks like: a short style sheet in the site's colours, in place of Mermaid's themes.

/// Rules for all kinds. `#d` is the picture's own id, which the book makes unique in its page.
const COMMON: &str = "#d{font-family:var(--font-ui,system-ui,sans-serif);font-size:15px;fill:var(--text)}\
#d text,#d tspan{fill:var(--text);stroke:none}#d .node .label text,#d .edgeLabel .label text{text-anchor:middle}\
#d .marker,#d marker path,#d marker circle{fill:var(--muted);stroke:var(--muted)}\
#d .edge-pattern-dotted{stroke-dasharray:2 4!important}#d .edge-pattern-dashed{stroke-dasharray:6 4!important}\
#d .edge-thickness-thick{stroke-width:3px}#d .edge-thickness-invisible{stroke-width:0}";

const FLOWCHART: &str = "#d .node rect,#d .node circle,#d .node ellipse,#d .node polygon,#d .node path{fill:var(--surface-2);stroke:var(--accent);stroke-width:1.2px}\
#d .flowchart-link{fill:none;stroke:var(--muted);stroke-width:1.4px}\
#d .edgeLabel rect,#d .background{fill:var(--bg);stroke:none}#d .edgeLabel text{font-size:13.5px}\
#d .cluster rect{fill:none;stroke:var(--line);stroke-width:1.2px}#d .cluster-label text{fill:var(--muted)}";

const SEQUENCE: &str = "#d .actor{fill:var(--surface-2);stroke:var(--accent);stroke-width:1.2px}#d text.actor{fill:var(--text);stroke:none}\
#d .actor-line{stroke:var(--line);stroke-width:1px}\
#d .messageLine0,#d .messageLine1{fill:none;stroke:var(--muted);stroke-width:1.4px}#d .messageLine1{stroke-dasharray:4 3}\
#d .note{fill:var(--accent-soft);stroke:var(--line)}#d .activation0,#d .activation1,#d .activation2{fill:var(--surface-2);stroke:var(--muted)}\
#d .labelBox,#d .loopLine{fill:none;stroke:var(--muted);stroke-dasharray:3 3}";

const STATE: &str = "#d .node rect,#d .node polygon,#d .node path{fill:var(--surface-2);stroke:var(--accent);stroke-width:1.2px}\
#d .node .state-start,#d .node circle,#d .fork-join{fill:var(--text);stroke:var(--text)}\
#d .transition{fill:none;stroke:var(--muted);stroke-width:1.4px}\
#d .edgeLabel rect,#d .background{fill:var(--bg);stroke:none}#d .edgeLabel text{font-size:13.5px}\
#d .statediagram-cluster rect{fill:none;stroke:var(--line)}#d .divider{stroke:var(--line)}";

/// The kinds of diagram that have a style, by the word that Mermaid puts into `aria-roledescription`.
const KINDS: [(&str, &str); 3] = [("flowchart", FLOWCHART), ("sequence", SEQUENCE), ("stateDiagram", STATE)];

/// The style sheet for a kind of diagram.
pub(crate) fn sheet(kind: &str) -> Option<String> {
    let (_, own) = KINDS.iter().find(|(name, _)| kind.starts_with(name))?;
    Some(format!("{COMMON}{own}"))
}
