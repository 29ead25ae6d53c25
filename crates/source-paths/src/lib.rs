//! The paths that Rust code names: as written, or resolved from its package's root, where `super::super::qat`, a group of a
//! `use` and `crate::registry::qat` are the same place, whatever the spelling.

use proc_macro2::{Delimiter, TokenTree};

pub use proc_macro2::TokenStream;

/// A path of the own package, as in `["registry", "qat", "Arm"]`; `*` stands for all of a module.
#[derive(Debug, PartialEq, Eq)]
pub struct Named {
    /// Where it stands.
    pub line: usize,
    /// From the package's root.
    pub path: Vec<String>,
}

/// A path as it is written, groups of a `use` taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Where it stands.
    pub line: usize,
    /// The module that it stands in, from the package's root.
    pub module: Vec<String>,
    /// The path; `*` stands for all of a module.
    pub path: Vec<String>,
    /// The name under which a `pub use` offers it to others.
    pub offered_as: Option<String>,
}

/// Every path in `code` that begins at the package's root (`crate` or its `package` name) or relative to `module`, the path
/// of the module that the code is the body of. A name that was imported begins where its import did, so imports show it.
#[must_use]
pub fn named(code: TokenStream, package: &str, module: &[&str]) -> Vec<Named> {
    written(code, module).iter().filter_map(|written| written.from_root(package)).collect()
}

/// Every path in `code`, the body of `module`.
#[must_use]
pub fn written(code: TokenStream, module: &[&str]) -> Vec<Written> {
    let module = module.iter().map(|name| (*name).to_owned()).collect();
    let mut walk = Walk { module, public: false, found: Vec::new() };
    walk.code(code);
    walk.found
}

impl Written {
    /// The same from the root of its package, if it is a path of this one.
    #[must_use]
    pub fn from_root(&self, package: &str) -> Option<Named> {
        let (first, rest) = self.path.split_first()?;
        let mut whole = match first.as_str() {
            "crate" => Vec::new(),
            name if name == package => Vec::new(),
            "self" | "super" => self.module.clone(),
            _ => return None,
        };
        if first == "super" {
            whole.pop();
        }
        for name in rest {
            match name.as_str() {
                "self" => {}
                "super" => drop(whole.pop()),
                name => whole.push(name.trim_start_matches("r#").to_owned()),
            }
        }
        Some(Named { line: self.line, path: whole })
    }
}

struct Walk {
    /// Where the walk is: inline modules are entered and left.
    module: Vec<String>,
    /// It is inside of a `pub use`.
    public: bool,
    found: Vec<Written>,
}

impl Walk {
    fn code(&mut self, code: TokenStream) {
        let tokens: Vec<TokenTree> = code.into_iter().collect();
        let mut rest = &tokens[..];
        while let [first, after @ ..] = rest {
            rest = match first {
                TokenTree::Group(group) => {
                    self.code(group.stream());
                    after
                }
                TokenTree::Ident(word) if word == "use" => self.tree(after, &[]),
                TokenTree::Ident(word) if word == "pub" => {
                    let after = after_visibility(after);
                    match after {
                        [TokenTree::Ident(word), after @ ..] if word == "use" => {
                            self.public = true;
                            let after = self.tree(after, &[]);
                            self.public = false;
                            after
                        }
                        _ => after,
                    }
                }
                TokenTree::Ident(word) if word == "mod" => self.module(after),
                TokenTree::Ident(_) if after_colons(after).is_some() => self.path(rest),
                _ => after,
            };
        }
    }

    /// What follows `mod`: its body, where it stands here, is that of another module.
    fn module<'t>(&mut self, tokens: &'t [TokenTree]) -> &'t [TokenTree] {
        let [TokenTree::Ident(name), TokenTree::Group(body), after @ ..] = tokens else { return tokens };
        self.module.push(name.to_string());
        self.code(body.stream());
        self.module.pop();
        after
    }

    /// A path outside of a `use`, with which `tokens` begin; gives what follows it.
    fn path<'t>(&mut self, mut tokens: &'t [TokenTree]) -> &'t [TokenTree] {
        let mut path = Vec::new();
        let line = line_of(tokens);
        while let [TokenTree::Ident(word), after @ ..] = tokens {
            path.push(word.to_string());
            tokens = after;
            match after_colons(after) {
                Some(further) => tokens = further,
                None => break,
            }
        }
        self.note(line, path, None);
        tokens
    }

    /// One tree of a `use` whose path so far is `before`; gives what follows it.
    fn tree<'t>(&mut self, mut tokens: &'t [TokenTree], before: &[String]) -> &'t [TokenTree] {
        let mut path = before.to_vec();
        let line = line_of(tokens);
        loop {
            match tokens {
                [TokenTree::Group(group), after @ ..] if group.delimiter() == Delimiter::Brace => {
                    let inside: Vec<TokenTree> = group.stream().into_iter().collect();
                    let mut trees = &inside[..];
                    while !trees.is_empty() {
                        trees = self.tree(trees, &path);
                        trees = trees.get(1..).unwrap_or_default(); // the comma
                    }
                    return after;
                }
                [TokenTree::Ident(word), after @ ..] => {
                    path.push(word.to_string());
                    tokens = after;
                }
                [TokenTree::Punct(mark), after @ ..] if mark.as_char() == '*' => {
                    path.push("*".to_owned());
                    tokens = after;
                }
                _ => {}
            }
            match after_colons(tokens) {
                Some(further) => tokens = further,
                None => break,
            }
        }
        if let [TokenTree::Ident(word), TokenTree::Ident(other), after @ ..] = tokens
            && word == "as"
        {
            self.note(line, path, Some(other.to_string()));
            return after;
        }
        self.note(line, path, None);
        tokens
    }

    fn note(&mut self, line: usize, path: Vec<String>, renamed: Option<String>) {
        // `{self}` at the end of a group offers the module before it.
        let own = |path: &[String]| path.iter().rev().find(|name| *name != "self").cloned();
        let offered_as = if self.public { renamed.or_else(|| own(&path)) } else { None };
        self.found.push(Written { line, module: self.module.clone(), path, offered_as });
    }
}

/// What follows `::`, if that is what comes next.
fn after_colons(tokens: &[TokenTree]) -> Option<&[TokenTree]> {
    match tokens {
        [TokenTree::Punct(a), TokenTree::Punct(b), after @ ..] if a.as_char() == ':' && b.as_char() == ':' => {
            Some(after)
        }
        _ => None,
    }
}

/// What follows `(crate)`, `(super)` or `(in path)` behind `pub`: they say who may see, not what is used.
fn after_visibility(tokens: &[TokenTree]) -> &[TokenTree] {
    let [TokenTree::Group(group), after @ ..] = tokens else { return tokens };
    let mut inside = group.stream().into_iter();
    match (inside.next(), inside.next()) {
        (Some(TokenTree::Ident(_)), None) => after,
        (Some(TokenTree::Ident(word)), _) if word == "in" => after,
        _ => tokens,
    }
}

fn line_of(tokens: &[TokenTree]) -> usize {
    tokens.first().map_or(0, |token| token.span().start().line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_path_is_resolved_with_its_line() {
        let text = "use super::{a::{self, b as c}, d::*};\nmod inner {\n fn f() { super::g(); }\n}\nfn h() { all::x::y(); self::z(); }";
        let found = named(text.parse().expect("Rust"), "all", &["top", "here"]);
        let shown: Vec<String> =
            found.iter().map(|named| format!("{} {}", named.line, named.path.join("::"))).collect();
        assert_eq!(shown, ["1 top::a", "1 top::a::b", "1 top::d::*", "3 top::here::g", "5 x::y", "5 top::here::z"]);
    }

    #[test]
    fn what_a_module_offers_is_told_apart_from_what_it_uses() {
        let text = "pub use a::{B, c::D as E}; use f::G; pub(crate) use h::*; pub mod i; fn j() { k::l(); }";
        let found = written(text.parse().expect("Rust"), &["m"]);
        let shown: Vec<String> = found
            .iter()
            .map(|path| format!("{} {}", path.path.join("::"), path.offered_as.as_deref().unwrap_or("-")))
            .collect();
        assert_eq!(shown, ["a::B B", "a::c::D E", "f::G -", "h::* *", "k::l -"]);
    }
}
