//! The paths that Rust code names inside its own package, resolved from the package's root: `super::super::qat`, a group of a
//! `use` and `crate::registry::qat` are the same place, whatever the spelling.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A path of the own package, as in `["registry", "qat", "Arm"]`; `*` stands for all of a module.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) line: usize,
    pub(super) path: Vec<String>,
}

/// Every path in `code` that begins at the package's root (`crate` or its `package` name) or relative to `module`, the path
/// of the module that the code is the body of. A name that was imported begins where its import did, so imports show it.
pub(super) fn named(code: TokenStream, package: &str, module: &[&str]) -> Vec<Named> {
    let mut walk = Walk { package, module: module.iter().map(|name| (*name).to_owned()).collect(), found: Vec::new() };
    walk.code(code);
    walk.found
}

struct Walk<'a> {
    package: &'a str,
    /// Where the walk is: inline modules are entered and left.
    module: Vec<String>,
    found: Vec<Named>,
}

impl Walk<'_> {
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
                TokenTree::Ident(word) if word == "pub" => after_visibility(after),
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
        self.note(line, &path);
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
        self.note(line, &path);
        if let [TokenTree::Ident(word), TokenTree::Ident(_), after @ ..] = tokens
            && word == "as"
        {
            return after;
        }
        tokens
    }

    /// Keeps a path if it is one of this package.
    fn note(&mut self, line: usize, path: &[String]) {
        let Some((first, rest)) = path.split_first() else { return };
        let mut whole = match first.as_str() {
            "crate" => Vec::new(),
            package if package == self.package => Vec::new(),
            "self" | "super" => self.module.clone(),
            _ => return,
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
        self.found.push(Named { line, path: whole });
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
}
