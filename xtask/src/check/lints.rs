//! Clippy, with warnings as errors: once for what runs natively, and once for what runs in a browser.

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

/// All that runs in one place is one group, so that each dependency is checked once: apart, they cost a cold run a quarter of an
/// hour more. What a package lacks when it is built without the others shows when it is built so, for the site or the tests.
const GROUPS: &[Group] = &[
    native(pipeline::NATIVE, pipeline::NATIVE_FEATURES),
    // The engine with WebGPU holds what the one without holds, but for a few lines that the compiler sees when it is built.
    browser(&["lab-ui", "site-ui", "lab-engine"], &["lab-engine/webgpu"]),
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
        let output = steps.observe(&label(group), &mut workspace.cargo(&words(group)), false)?;
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
    format!("clippy of all that runs {}", if group.wasm { "in a browser" } else { "natively" })
}

fn words(group: &Group) -> Vec<String> {
    let targets: &[&str] = if group.wasm { &["--lib", "--target", WASM] } else { &["--all-targets"] };
    let start = [&["clippy", "--quiet"], targets].concat();
    let mut words = pipeline::select(&start, group.packages, group.features);
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
