//! Clippy, with warnings as errors: once for what runs natively, and for each artifact of the browser as it is really built.

use crate::pipeline::{self, WASM};
use crate::step::Steps;
use crate::workspace::Workspace;

/// Packages that are checked together.
struct Group {
    packages: &'static [&'static str],
    features: &'static [&'static str],
    /// For the browser: library only, since tests of these packages run in Chromium.
    wasm: bool,
}

const fn native(packages: &'static [&'static str], features: &'static [&'static str]) -> Group {
    Group { packages, features, wasm: false }
}

const fn browser(packages: &'static [&'static str], features: &'static [&'static str]) -> Group {
    Group { packages, features, wasm: true }
}

/// All that runs natively is one group, so that each dependency is checked once: apart, they cost a cold run a quarter of an
/// hour more. What a package lacks when it is built without the others shows when it is built so, for the site or the tests.
const GROUPS: &[Group] = &[
    native(
        &[
            "xtask",
            "source-paths",
            "lab-api",
            "lab-data",
            "asset-manifest",
            "asset-maker",
            "lab-kit",
            "labs",
            "lab-cli",
            "lab-charts",
            "textbook",
            "site-builder",
            "wasm-bundle",
            "browser-tests",
            "diagram",
        ],
        &["lab-api/schema", "labs/schema"],
    ),
    browser(&["lab-ui", "site-ui"], &[]),
    browser(&["lab-engine"], &[]),
    browser(&["lab-engine"], &["lab-engine/webgpu"]),
];

pub(super) fn check(workspace: &Workspace, steps: &mut Steps) -> anyhow::Result<Vec<String>> {
    let packages = workspace.packages()?;
    let names: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let mut failures = ungrouped(&names);
    pipeline::wasm_target(workspace, steps)?;
    for group in GROUPS {
        let missing = |feature: &&&str| {
            feature.split_once('/').is_some_and(|(package, feature)| {
                !packages.iter().any(|p| p.name == package && p.features.iter().any(|f| f == feature))
            })
        };
        if group.features.iter().any(|feature| missing(&feature)) {
            failures
                .push(format!("the feature {} is gone; correct xtask/src/check/lints.rs.", group.features.join(", ")));
            continue;
        }
        let words = words(group);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let output = steps.observe(&label(group), &mut workspace.cargo(&words), false)?;
        if !output.success {
            failures.push(format!(
                "{}\nclippy found this in {}; correct it, or allow it with a reason beside the code.",
                output.text.trim_end(),
                group.packages.join(", ")
            ));
        }
    }
    Ok(failures)
}

fn label(group: &Group) -> String {
    let features = group.features.iter().filter_map(|feature| feature.split_once('/')).map(|(_, feature)| feature);
    let features: Vec<&str> = features.collect();
    let with = if features.is_empty() { String::new() } else { format!(" with {}", features.join(", ")) };
    if !group.wasm {
        return "clippy of all that runs natively".to_owned();
    }
    format!("clippy {}{with} (WASM)", group.packages.join(" "))
}

fn words(group: &Group) -> Vec<String> {
    let mut words: Vec<String> = ["clippy", "--quiet"].map(String::from).into();
    for package in group.packages {
        words.extend(["--package".to_owned(), (*package).to_owned()]);
    }
    if !group.features.is_empty() {
        words.extend(["--features".to_owned(), group.features.join(",")]);
    }
    if group.wasm {
        words.extend(["--lib", "--target", WASM].map(String::from));
    } else {
        words.push("--all-targets".to_owned());
    }
    words.extend(["--", "--deny", "warnings"].map(String::from));
    words
}

/// Packages of the workspace that no group holds, so that a new one cannot be forgotten.
fn ungrouped(packages: &[&str]) -> Vec<String> {
    let grouped = |name: &&&str| !GROUPS.iter().any(|group| group.packages.contains(*name));
    let sentence = |name: &&str| format!("the package {name} is linted by nobody; add it to xtask/src/check/lints.rs.");
    packages.iter().filter(grouped).map(sentence).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forgotten_package_is_found() {
        assert_eq!(ungrouped(&["xtask", "lab-api"]), [""; 0]);
        assert!(ungrouped(&["xtask", "newcomer"])[0].contains("newcomer"));
    }

    #[test]
    fn warnings_are_errors() {
        for group in GROUPS {
            let line = words(group).join(" ");
            assert!(line.ends_with("-- --deny warnings"), "{line}");
            assert!(!line.contains("workspace"), "{line}");
        }
    }
}
