//! What fields of an entry may hold: names, addresses, DOIs.

use biblatex::{Chunk, Chunks};

/// `10.1000/x` of `https://doi.org/10.1000/x` and of `doi:10.1000/x`.
pub(super) fn bare_doi(doi: &str) -> &str {
    let doi = doi.trim();
    let prefixes = ["https://doi.org/", "http://doi.org/", "https://dx.doi.org/", "http://dx.doi.org/", "doi:", "DOI:"];
    prefixes.iter().find_map(|prefix| doi.strip_prefix(prefix)).map_or(doi, str::trim_start)
}

/// Why an address would be left out.
pub(super) fn no_address(url: &str) -> Option<String> {
    let url = url.trim_matches(['{', '}', '"', ' ']);
    let is_whole = ["https://", "http://", "ftp://"].iter().any(|scheme| url.starts_with(scheme));
    (!is_whole).then(|| format!("is no whole address: write https:// before it, as in url = {{https://{url}}}"))
}

/// Why the link of a DOI would lead nowhere.
pub(super) fn no_doi(doi: &str) -> Option<String> {
    let bare = bare_doi(doi.trim_matches(['{', '}', '"', ' ']));
    let is_one = bare.starts_with("10.") && bare.contains('/') && !bare.contains(char::is_whitespace);
    (!is_one).then(|| "is no DOI: one begins with 10. and holds a slash, as in doi = {10.1000/182}".to_owned())
}

/// The address of a work on a server of its own kind.
pub(super) fn on_server(server: &str, id: &str) -> Option<String> {
    let place = match server.to_ascii_lowercase().as_str() {
        "hal" => "https://hal.science/",
        "jstor" => "https://www.jstor.org/stable/",
        "pubmed" => "https://pubmed.ncbi.nlm.nih.gov/",
        "pmc" => "https://www.ncbi.nlm.nih.gov/pmc/articles/",
        "hdl" => "https://hdl.handle.net/",
        "googlebooks" => "https://books.google.com/books?id=",
        "openreview" => "https://openreview.net/forum?id=",
        _ => return None,
    };
    Some(format!("{place}{id}"))
}

/// Words that end the name of a body and of no person.
const BODIES: [&str; 20] = [
    "AI",
    "DeepMind",
    "Team",
    "Inc",
    "Inc.",
    "Corporation",
    "Foundation",
    "Consortium",
    "Group",
    "University",
    "Institute",
    "Research",
    "Labs",
    "Contributors",
    "Authors",
    "Developers",
    "Community",
    "Organization",
    "Company",
    "Ltd",
];

/// Why a list of people would come out as nobody or as another one.
pub(super) fn no_names(chunks: &Chunks) -> Option<String> {
    // What stands within braces of its own is one name.
    let text: String =
        chunks.iter().map(|chunk| if let Chunk::Normal(text) = &chunk.v { text.as_str() } else { "x" }).collect();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.is_empty() {
        return Some("is empty: leave it out where there is none".to_owned());
    }
    if text == "others" {
        return Some("names nobody: leave it out where there is none".to_owned());
    }
    if text.starts_with("and ") || text.ends_with(" and") || text.contains(" and and ") {
        return Some(format!("has an “and” with nobody beside it: {text}"));
    }
    // Of a person the first names would be shortened, and the last word taken for the family.
    let body = text.split(" and ").find(|name| {
        name.contains(' ')
            && !name.contains(',')
            && BODIES.iter().any(|word| name.trim().ends_with(&format!(" {word}")))
    });
    if let Some(name) = body {
        return Some(format!("names a body, which stands between braces of its own: {{{}}}", name.trim()));
    }
    let wrong = text.split(" and ").find(|name| {
        let parts: Vec<&str> = name.split(',').map(str::trim).collect();
        name.contains(';')
            || name.trim().ends_with(',')
            || parts.len() > 3
            || (parts.len() == 3 && parts[1].contains(' '))
    })?;
    Some(format!("parts names by “and”, each as Last, First; “{}” would be read as one name", wrong.trim()))
}
