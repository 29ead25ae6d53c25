//! From a `.wasm` that rustc made to a folder that a page imports: `<name>-<hash>/<name>.js` and `<name>_bg.wasm`, for an
//! engine also `worker.js`. The hash is that of the content, so that a bundle may be cached for ever.

use std::{
    collections::HashMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use flate2::{Compression, write::GzEncoder};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use wasm_bindgen_cli_support::Bindgen;

const WORKER: &str = include_str!("worker.js");

/// What to bundle and where.
#[derive(Debug, Clone)]
pub struct Job {
    /// The artifact, for example `target/wasm32-unknown-unknown/ui/site_ui.wasm`.
    pub input: PathBuf,
    /// Name of the bundle: `ui`, `cpu`, `gpu`.
    pub name: String,
    /// Folder that holds all bundles.
    pub out: PathBuf,
    /// Also write `worker.js` and make it the entry.
    pub worker: bool,
}

/// One bundle as `pkg/manifest.json` names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// Module to import or to start as a worker, relative to the book's root.
    pub entry: String,
    /// Size of the WASM file in bytes.
    pub wasm_bytes: u64,
    /// Size of all the bundle's files in bytes, each compressed with gzip (level 9).
    pub gzip_bytes: u64,
}

/// Writes the bundle, removes older ones of its name, and last puts `<name>.json` in place, so that whoever watches the
/// folder never reads of a bundle that is not complete.
///
/// # Errors
/// The artifact is missing or was built for another version of wasm-bindgen, or the folder cannot be written.
pub fn bundle(job: &Job) -> Result<Bundle> {
    let Job { input, name, out, worker } = job;
    ensure!(
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()),
        "the bundle's name “{name}” must consist of a-z and 0-9"
    );
    if !input.is_file() {
        bail!("there is no artifact {}: build it first (cargo build --target wasm32-unknown-unknown)", input.display());
    }
    let draft = out.join(format!(".{name}-draft"));
    if draft.exists() {
        fs::remove_dir_all(&draft).with_context(|| format!("cannot clear {}", draft.display()))?;
    }
    fs::create_dir_all(&draft).with_context(|| format!("cannot make {}", draft.display()))?;
    let mut output = Bindgen::new()
        .input_path(input)
        .out_name(name)
        .web(true)?
        .typescript(false)
        .omit_default_module_path(false)
        .remove_name_section(true)
        .remove_producers_section(true)
        .generate_output()
        .with_context(|| format!("wasm-bindgen refuses {}", input.display()))?;
    let mut short_names = HashMap::new();
    let mut shorten = |name: &mut String| {
        let short = format!("i{}", short_names.len());
        let short = short_names.entry(std::mem::take(name)).or_insert(short);
        name.clone_from(short);
    };
    let dead = dead_classes(output.js());
    let wasm = output.wasm_mut();
    let dead_exports: Vec<_> =
        wasm.exports.iter().filter(|export| of_class(&export.name, &dead)).map(|export| export.id()).collect();
    dead_exports.into_iter().for_each(|export| wasm.exports.delete(export));
    walrus::passes::gc::run(wasm);
    wasm.imports.iter_mut().for_each(|import| shorten(&mut import.name));
    wasm.exports.iter_mut().filter(|export| is_glue(&export.name)).for_each(|export| shorten(&mut export.name));
    output.emit(&draft).with_context(|| format!("cannot write to {}", draft.display()))?;
    let script = draft.join(format!("{name}.js"));
    fs::write(
        &script,
        renamed(&without_comments(&without_classes(&fs::read_to_string(&script)?, &dead)), &short_names),
    )?;
    if *worker {
        fs::write(draft.join("worker.js"), WORKER.replace("{name}", name))?;
    }

    let mut files = Vec::new();
    list(&draft, &mut files)?;
    files.sort();
    let mut hash = Sha256::new();
    let mut gzip_bytes = 0;
    for file in &files {
        let content = fs::read(file)?;
        hash.update(file.strip_prefix(&draft)?.to_string_lossy().as_bytes());
        hash.update((content.len() as u64).to_le_bytes());
        hash.update(&content);
        gzip_bytes += gzip_len(&content)?;
    }
    let hash: String = hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let folder = format!("{name}-{hash}");
    let entry = if *worker { "worker.js".to_owned() } else { format!("{name}.js") };
    let bundle = Bundle {
        entry: format!("pkg/{folder}/{entry}"),
        wasm_bytes: fs::metadata(draft.join(format!("{name}_bg.wasm")))?.len(),
        gzip_bytes,
    };

    let place = out.join(&folder);
    if place.exists() {
        fs::remove_dir_all(&draft)?;
    } else {
        fs::rename(&draft, &place)?;
    }
    let note = out.join(format!("{name}.json"));
    let note_draft = out.join(format!(".{name}.json-draft"));
    fs::write(&note_draft, serde_json::to_string(&bundle)?)?;
    fs::rename(&note_draft, &note)?;
    for old in fs::read_dir(out)? {
        let old = old?.file_name().to_string_lossy().into_owned();
        let hashed = old.strip_prefix(name.as_str()).and_then(|rest| rest.strip_prefix('-'));
        if old != folder && hashed.is_some_and(|h| h.len() == 12 && h.bytes().all(|b| b.is_ascii_hexdigit())) {
            fs::remove_dir_all(out.join(old))?;
        }
    }
    Ok(bundle)
}

/// The classes of a script that nobody can have an instance of: the module hands none out, and they have neither constructor nor
/// static functions. Such are those that a crate exports for a feature we do not use; they were 2 KB of the page's WASM.
fn dead_classes(script: &str) -> Vec<String> {
    let classes = script.split("\nexport class ").skip(1);
    let body = |class: &&str| class.split_once("\n}").map_or("", |(body, _)| body).to_owned();
    let dead = classes.filter(|class| !["constructor(", "static "].iter().any(|word| body(class).contains(word)));
    dead.filter_map(|class| class.split_once(' ')).map(|(name, _)| name.to_owned()).collect()
}

/// Whether wasm-bindgen gave an export this name for a function of one of these classes.
fn of_class(export: &str, classes: &[String]) -> bool {
    let export = export.strip_prefix("__wbg_").unwrap_or(export);
    let class = export.split('_').next().unwrap_or_default();
    classes.iter().any(|name| name.eq_ignore_ascii_case(class))
}

/// The script without these classes, their finalizers, and what else it says of them at its outermost level.
fn without_classes(script: &str, classes: &[String]) -> String {
    let mut out = String::with_capacity(script.len());
    let mut inside = false;
    for line in script.split_inclusive('\n') {
        let outermost = !line.starts_with([' ', '}', '\n']);
        if outermost {
            inside = classes.iter().any(|class| line.contains(class.as_str()));
        }
        if !inside {
            out.push_str(line);
        }
    }
    out
}

/// The script without lines of comment and without indentation, which are a tenth of what a reader downloads of it. The
/// generator writes no literal that goes over several lines.
fn without_comments(script: &str) -> String {
    let comment = |line: &&str| line.starts_with("//") || line.starts_with("/*") || line.starts_with('*');
    let lines = script.lines().map(str::trim).filter(|line| !line.is_empty() && !comment(line));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// Whether wasm-bindgen itself chose this name of an export, for its own script. Ours, the memory, and what `worker.js` calls
/// keep theirs.
fn is_glue(export: &str) -> bool {
    ["__wbindgen", "__wbg", "__externref", "__wasm_bindgen", "wasm_bindgen__"]
        .iter()
        .any(|start| export.starts_with(start))
}

/// The script with other names for what it gives to the module and takes from it. wasm-bindgen's carry a hash each, which no
/// compression makes shorter: 7 KB of what a reader downloads before a lab wakes.
fn renamed(script: &str, names: &HashMap<String, String>) -> String {
    let in_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$';
    let mut out = String::with_capacity(script.len());
    let mut rest = script;
    while !rest.is_empty() {
        let word = rest.find(|c| !in_word(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(word);
        out.push_str(names.get(word).map_or(word, String::as_str));
        let (between, after) = after.split_at(after.find(in_word).unwrap_or(after.len()));
        out.push_str(between);
        rest = after;
    }
    out
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { list(&path, files)? } else { files.push(path) }
    }
    Ok(())
}

fn gzip_len(content: &[u8]) -> Result<u64> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content)?;
    Ok(encoder.finish()?.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest module there is: nothing but magic and version.
    const EMPTY_MODULE: &[u8] = b"\0asm\x01\0\0\0";

    fn job(folder: &Path, worker: bool) -> Job {
        let input = folder.join("engine.wasm");
        fs::write(&input, EMPTY_MODULE).expect("temporary folder is writable");
        Job { input, name: "cpu".into(), out: folder.join("pkg"), worker }
    }

    fn temporary(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("wasm-bundle-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("temporary folder can be made");
        folder
    }

    #[test]
    fn a_script_loses_its_comments_and_keeps_its_code() {
        let script = "/**\n * Says `a`.\n */\nexport function a() {\n    // why\n    return 2 * 3; // six\n}\n";
        assert_eq!(without_comments(script), "export function a() {\nreturn 2 * 3; // six\n}\n");
    }

    #[test]
    fn a_class_without_instances_goes_with_all_it_exports() {
        let dead = "\nexport class IntoSink {\n    free() {\n        wasm.__wbg_intosink_free(0);\n    }\n\n    close() {\n    }\n}\n\
                    if (Symbol.dispose) IntoSink.prototype[Symbol.dispose] = IntoSink.prototype.free;\n";
        let finalizer =
            "const IntoSinkFinalization = (typeof FinalizationRegistry === 'undefined')\n    ? { }\n    : new R();\n";
        let made = "\nexport class Made {\n    constructor() {\n    }\n}\n";
        let given = "\nexport class Given {\n    static __wrap(ptr) {\n    }\n}\n";
        let rest = "\nexport function mount(section) {\n    wasm.mount(section);\n}\n";
        let script = [given, dead, made, rest, finalizer].concat();
        let classes = dead_classes(&script);
        assert_eq!(classes, ["IntoSink"]);
        let lean = without_classes(&script, &classes);
        assert!(!lean.contains("IntoSink") && !lean.contains("close"), "{lean}");
        assert_eq!(lean.replace('\n', ""), [given, made, rest].concat().replace('\n', ""));
        assert!(of_class("intosink_close", &classes) && of_class("__wbg_intosink_free", &classes));
        assert!(
            !["mount", "memory", "__wbg_made_free", "__wbindgen_malloc"].iter().any(|name| of_class(name, &classes))
        );
    }

    #[test]
    fn only_whole_names_are_replaced() {
        let names = HashMap::from([("__wbg_now_1f".to_owned(), "i0".to_owned())]);
        let script = "const a = {\n__wbg_now_1f: function(x) { return x.__wbg_now_1f2 + '__wbg_now_1f'; },\n};\n";
        assert_eq!(renamed(script, &names), "const a = {\ni0: function(x) { return x.__wbg_now_1f2 + 'i0'; },\n};\n");
    }

    #[test]
    fn what_others_call_keeps_its_name() {
        let glue =
            ["__wbindgen_malloc", "__externref_table_alloc", "wasm_bindgen__convert__closures_____invoke__h1f_2"];
        assert!(glue.into_iter().all(is_glue));
        assert!(!["memory", "start", "mount", "time_hot_path", "__wasm_call_ctors"].into_iter().any(is_glue));
    }

    #[test]
    fn a_bundle_names_files_that_exist_and_replaces_the_old_one() {
        let folder = temporary("replace");
        let job = job(&folder, true);
        let old = job.out.join("cpu-0123456789ab");
        let other = job.out.join("cpu-notahash");
        fs::create_dir_all(&old).expect("made");
        fs::create_dir_all(&other).expect("made");
        let first = bundle(&job).expect("bundles");
        assert!(first.entry.starts_with("pkg/cpu-") && first.entry.ends_with("/worker.js"), "{first:?}");
        let worker = fs::read_to_string(folder.join(&first.entry)).expect("entry exists");
        assert!(worker.contains("from './cpu.js'"), "{worker}");
        let place = folder.join(&first.entry).with_file_name("cpu_bg.wasm");
        assert_eq!(fs::metadata(place).expect("wasm exists").len(), first.wasm_bytes);
        assert!(!old.exists() && other.exists());
        let note = fs::read_to_string(job.out.join("cpu.json")).expect("note exists");
        assert_eq!(serde_json::from_str::<Bundle>(&note).expect("parses"), first);
        assert_eq!(bundle(&job).expect("bundles again"), first, "the hash depends on content only");
        let _ = fs::remove_dir_all(folder);
    }

    #[test]
    fn a_missing_artifact_and_a_bad_name_are_refused() {
        let folder = temporary("missing");
        let good = job(&folder, false);
        let error = bundle(&Job { input: folder.join("no.wasm"), ..good.clone() }).expect_err("refused");
        assert!(error.to_string().contains("no.wasm"), "{error}");
        assert!(bundle(&Job { name: "../x".into(), ..good }).is_err());
        let _ = fs::remove_dir_all(folder);
    }
}
