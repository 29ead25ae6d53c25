//! Invariants of ARCHITECTURE.md about who may depend on whom, asked of `cargo tree`.

use std::collections::BTreeSet;

use crate::pipeline::{self, WASM};
use crate::step::Steps;
use crate::workspace::Workspace;

/// Packages that must not stand in the tree of another.
struct Rule {
    package: &'static str,
    /// Trees differ by target.
    target: Option<&'static str>,
    /// Names; one that ends with `*` stands for all that begin so.
    forbidden: &'static [&'static str],
    /// Why, and what to do instead.
    why: &'static str,
}

const NUMERICS: &[&str] = &["burn*", "cubecl*", "wgpu*", "lab-kit"];
const FRAMEWORKS: &[&str] =
    &["burn*", "cubecl*", "wgpu*", "leptos*", "plotters*", "web-sys", "js-sys", "wasm-bindgen*", "tokio", "mdbook*"];
const HEAVY: &[&str] =
    &["burn*", "cubecl*", "wgpu*", "lab-kit", "leptos*", "merman*", "mermaid*", "wasm-bindgen-cli-support", "diagram"];

const RULES: &[Rule] = &[
    Rule {
        package: "site-ui",
        target: Some(WASM),
        forbidden: NUMERICS,
        why: "the page's WASM must stay small: numerics belong in the engine",
    },
    Rule {
        package: "lab-api",
        target: None,
        forbidden: FRAMEWORKS,
        why: "the contract of a lab is plain data: put what needs a framework into the crate that uses it",
    },
    Rule {
        package: "lab-api",
        target: Some(WASM),
        forbidden: FRAMEWORKS,
        why: "the contract of a lab is plain data: put what needs a framework into the crate that uses it",
    },
    Rule {
        package: "lab-data",
        target: None,
        forbidden: FRAMEWORKS,
        why: "it only reads files: models and numerics belong in lab-kit",
    },
    Rule {
        package: "lab-kernels",
        target: None,
        forbidden: FRAMEWORKS,
        why: "kernels work on plain slices and stay fast while the kit is compiled for size: put what needs a tensor into lab-kit",
    },
    Rule {
        package: "lab-layers",
        target: None,
        forbidden: FRAMEWORKS,
        why: "layers by hand work on plain slices: put what needs a tensor into lab-kit",
    },
    Rule {
        package: "asset-maker",
        target: None,
        forbidden: NUMERICS,
        why: "making data takes no framework: training belongs in lab-kit and lab-cli",
    },
    Rule {
        package: "textbook",
        target: None,
        forbidden: HEAVY,
        why: "a prose build compiles neither Burn nor WASM: read what labs commit (reference.json, lab.md) instead",
    },
    Rule {
        package: "site-builder",
        target: None,
        forbidden: HEAVY,
        why: "a prose build compiles neither Burn nor WASM: start wasm-bundle or diagram as programs instead",
    },
    Rule {
        package: "xtask",
        target: None,
        forbidden: &["burn*", "leptos*", "mdbook*", "wasm-bindgen*", "tokio", "thirtyfour"],
        why: "every command waits for xtask: let it start a binary of the workspace instead",
    },
];

pub(super) fn check(workspace: &Workspace, _: &mut Steps) -> anyhow::Result<Vec<String>> {
    let mut failures = Vec::new();
    for rule in RULES {
        let mut words = vec!["tree", "--quiet", "--package", rule.package, "--edges", "normal", "--prefix", "none"];
        words.extend(["--format", "{p}"]);
        words.extend(rule.target.into_iter().flat_map(|target| ["--target", target]));
        let output = workspace.cargo(&words).output()?;
        anyhow::ensure!(output.status.success(), "cargo tree failed: {}", String::from_utf8_lossy(&output.stderr));
        failures.extend(violations(rule, &String::from_utf8_lossy(&output.stdout)));
    }
    let features = |edges: &str| -> anyhow::Result<String> {
        let words =
            pipeline::native(&["tree", "--quiet", "--prefix", "none", "--format", "{p} [{f}]", "--edges", edges]);
        let output = workspace.cargo(&words).output()?;
        anyhow::ensure!(output.status.success(), "cargo tree failed: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    failures.extend(compiled_twice(&features("normal,build")?, &features("normal,build,dev")?));
    Ok(failures)
}

/// Packages that tests want with other features than the programs do: they, and all that stands on them, Burn perhaps, would be
/// compiled once for the programs and once more for the tests.
fn compiled_twice(programs: &str, tests: &str) -> Vec<String> {
    let lines = |tree: &str| -> BTreeSet<String> {
        tree.lines().map(|line| line.trim_end_matches(" (*)").to_owned()).filter(|line| !line.is_empty()).collect()
    };
    let (programs, tests) = (lines(programs), lines(tests));
    let sentence = |line: &String| {
        let name = line.split_whitespace().next().unwrap_or_default();
        format!(
            "{name} has other features in the tests than in the programs, so that it and all that stands on it is compiled twice; \
             name it, with the features of the tests, in the Cargo.toml of the package that is tested, as crates/lab-cli does. \
             `cargo tree --workspace -e features -i {name}` shows more."
        )
    };
    programs.difference(&tests).map(sentence).collect()
}

/// One sentence per forbidden package found. The first line of a tree is the package itself.
fn violations(rule: &Rule, tree: &str) -> Vec<String> {
    let mut names: Vec<&str> = tree.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    names.sort_unstable();
    names.dedup();
    let hit = |name: &&str| {
        rule.forbidden.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == pattern,
        })
    };
    let sentence = |name: &str| {
        let package = rule.package;
        format!("{package} depends on {name}, but {}. `cargo tree -p {package} -i {name}` shows the way.", rule.why)
    };
    names.into_iter().filter(hit).map(sentence).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forbidden_package_is_named_with_the_reason() {
        let tree = "site-ui v0.1.0 (site/ui)\nleptos v0.8.23\nburn-tensor v0.22.1\nburn-tensor v0.22.1 (*)\n";
        let found = violations(&RULES[0], tree);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("site-ui depends on burn-tensor, but the page's WASM"), "{found:?}");
    }

    #[test]
    fn a_package_that_tests_want_otherwise_is_named() {
        let alone = "lab-cli v1 []\nfastrand v2 [std]\nburn v1 [std]\nfastrand v2 [std] (*)\n";
        assert!(compiled_twice(alone, &format!("{alone}tempfile v3 []\n")).is_empty());
        let found = compiled_twice(alone, &alone.replace("fastrand v2 [std]", "fastrand v2 [default,std]"));
        assert!(found.len() == 1 && found[0].starts_with("fastrand has other features"), "{found:?}");
    }

    #[test]
    fn every_rule_refuses_what_it_forbids_and_accepts_the_rest() {
        for rule in RULES {
            for pattern in rule.forbidden {
                let name = pattern.replace('*', "-core");
                assert_eq!(violations(rule, &format!("x v1\n{name} v1\n")).len(), 1, "{} {name}", rule.package);
            }
            assert!(
                violations(rule, "x v1\nserde v1\nburner v1\n".replace("burner", "serde_json").as_str()).is_empty()
            );
        }
    }
}
