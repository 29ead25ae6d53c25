//! The built site as files.

use browser_tests::budgets::{self, Budgets};
use browser_tests::dist::Site;
use browser_tests::env;

fn site() -> Site {
    Site::read(&env::dist().expect("a built site")).expect("readable")
}

#[test]
fn every_link_image_script_and_style_leads_somewhere() {
    let broken = site().broken_links();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn nothing_is_inline_and_nothing_comes_from_another_origin() {
    let violations = site().policy_violations();
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn every_page_tells_its_root() {
    for (name, page) in site().pages {
        let depth = name.matches('/').count();
        let given = page.root.trim_start_matches("./");
        assert!(name == "404.html" || given == "../".repeat(depth), "{name}: data-root=“{}”", page.root);
    }
}

#[test]
fn first_visits_are_within_budget() {
    let (site, budgets) = (site(), Budgets::load().expect("budgets"));
    let mut exceeded = Vec::new();
    for page in site.pages.keys().filter(|page| !page.ends_with("print.html")) {
        let weight =
            budgets::first_visit(&site, page).and_then(|files| budgets::weight_kb(&site, &files)).expect("readable");
        exceeded.extend(budgets.exceeded("first_visit", page, weight, "KB").expect("a budget"));
    }
    assert!(exceeded.is_empty(), "{}", exceeded.join("\n"));
}

#[test]
fn the_front_page_and_the_scripts_that_it_starts_are_within_budget() {
    let (site, budgets) = (site(), Budgets::load().expect("budgets"));
    let mut files = budgets::first_visit(&site, "index.html").expect("the front page");
    let before = files.len();
    // Its modules come a moment later, and an engine only at a touch.
    let starts = ["site/js/mini-", "site/js/progress-"];
    files.extend(site.files.iter().filter(|file| starts.iter().any(|start| file.starts_with(start))).cloned());
    assert!(files.len() >= before + starts.len(), "the front page does without {starts:?}: name what it starts here");
    assert!(!files.iter().any(|file| file.ends_with(".wasm")), "{files:?}");
    let weight = budgets::weight_kb(&site, &files).expect("readable");
    println!("front page: {weight:.1} KB");
    assert_eq!(budgets.exceeded("first_visit", "index.html", weight, "KB").expect("a budget"), None);
}

#[test]
fn bundles_are_within_budget() {
    let (site, budgets) = (site(), Budgets::load().expect("budgets"));
    let manifest = site.bytes("pkg/manifest.json").expect("pkg/manifest.json");
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("a manifest");
    let bundles = [
        ("page_wasm", &manifest["ui"]),
        ("engine_cpu", &manifest["engines"]["cpu"]),
        ("engine_gpu", &manifest["engines"]["gpu"]),
    ];
    let mut exceeded = Vec::new();
    for (budget, bundle) in bundles {
        let Some(entry) = bundle["entry"].as_str() else {
            assert_eq!(budget, "engine_gpu", "the site was built without its {budget}");
            continue;
        };
        let folder = entry.rsplit_once('/').expect("a folder").0;
        let files = site.files.iter().filter(|file| file.starts_with(folder));
        let files = files.filter(|file| file.ends_with(".wasm") || file.ends_with(".js")).cloned().collect();
        let weight = budgets::weight_kb(&site, &files).expect("readable");
        let labs = registered_labs().len();
        println!("{budget}: {weight:.1} KB with {labs} labs");
        exceeded.extend(
            if budget == "page_wasm" {
                budgets.exceeded(budget, entry, weight, "KB")
            } else {
                budgets.engine(budget, entry, labs, weight)
            }
            .expect("a budget"),
        );
        if budget == "engine_cpu" {
            exceeded.extend(budgets.one_more_lab(labs, weight).expect("a record"));
        }
    }
    assert!(exceeded.is_empty(), "{}", exceeded.join("\n"));
}

#[test]
fn no_bundle_names_the_machine_it_was_built_on() {
    let site = site();
    let named = |file: &&String| {
        let bytes = site.bytes(file).expect("readable");
        bytes.windows(12).any(|window| window == b"registry/src")
    };
    let named: Vec<&String> = site.files.iter().filter(|file| file.ends_with(".wasm")).filter(named).collect();
    assert!(named.is_empty(), "{named:?} carry paths of this machine's sources; see `nameless` in xtask");
}

#[test]
fn every_registered_lab_stands_in_a_page() {
    let site = site();
    let shown: Vec<String> = browser_tests::lab::labs_of(&site).expect("labs").into_iter().map(|lab| lab.id).collect();
    let missing: Vec<String> = registered_labs().into_iter().filter(|id| !shown.contains(id)).collect();
    assert!(missing.is_empty(), "no page holds {}; put {{{{#lab ID}}}} into a chapter", missing.join(", "));
    let mut once = shown.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), shown.len(), "a lab stands in two pages, so a link to it is ambiguous: {shown:?}");
}

/// The ids of all labs of the engines.
fn registered_labs() -> Vec<String> {
    let registry = std::fs::read_to_string(env::workspace().join("labs/src/registry.rs")).expect("the registry");
    // After the module's paths (`#[path = "..."]`), the macro names each lab's folder: `module::Type = "folder",`.
    let list = registry.split("registry!").nth(1).unwrap_or_default();
    let folders = list.split("= \"").skip(1).filter_map(|rest| rest.split('"').next());
    let ids: Vec<String> = folders.map(|folder| folder.replace('_', "-")).collect();
    assert!(!ids.is_empty(), "labs/src/registry.rs is not written as these tests read it");
    ids
}
