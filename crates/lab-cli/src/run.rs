//! `run`: one lab, once.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    rc::Rc,
};

use lab_api::{DeviceChoice, LabError, ParamKind, RunRecord, Values, validate, value_text};
use lab_kit::{Context, Host, LabEntry, execute, find, open_device};

use crate::{Manifest, NativeHost, Problem, Show, output};

/// Arguments of `run`.
#[derive(clap::Args, Debug, Clone, Default)]
pub struct RunOptions {
    /// The lab.
    #[arg(default_value = "", hide_default_value = true)]
    pub id: String,
    /// Repeat the runs of a file that a page saved (or `--json` printed), and say where numbers do not agree.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["id", "set", "seed", "smoke", "json"])]
    pub from: Option<PathBuf>,
    /// A parameter, for example `bits=4`. May be repeated.
    #[arg(long = "set", value_name = "NAME=VALUE", num_args = 1..)]
    pub set: Vec<String>,
    /// Seed of the generator.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(0..=1 << 53))]
    pub seed: u64,
    /// auto, webgpu or cpu.
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// Start from the small case that tests run instead of the defaults.
    #[arg(long)]
    pub smoke: bool,
    /// Print the record as JSON and nothing else.
    #[arg(long)]
    pub json: bool,
}

/// Runs a lab and prints its record.
///
/// # Errors
/// [`Problem::Input`] for an unknown lab, device, parameter or value; [`Problem::Failure`] when the run fails.
pub fn run(root: &Path, options: &RunOptions) -> Result<(), Problem> {
    if let Some(path) = &options.from {
        let device = DeviceChoice::parse(&options.device).map_err(|bad| Problem::Input(bad.to_string()))?;
        return crate::again::run_from(root, path, device);
    }
    if options.id.is_empty() {
        return Err(Problem::Input("name the lab to run; `cargo xtask lab list` lists them".to_owned()));
    }
    let entry = find(labs::registry::ALL, &options.id)?;
    let device = DeviceChoice::parse(&options.device).map_err(|bad| Problem::params(entry.id, &[bad]))?;
    let mut values = values(entry, options)?;
    let files = files(entry, &mut values)?;
    let host = Rc::new(NativeHost::new(root, Show::Progress).with_files(files));
    let result = run_entry(entry, &values, options.seed, device, &Manifest::read(root)?, host.clone());
    host.finish();
    let record = result?;
    if options.json {
        let json = serde_json::to_string_pretty(&record).map_err(anyhow::Error::from)?;
        println!("{json}");
    } else {
        print!("{}", output::human(&crate::assets::meta(entry)?.title, &record));
    }
    Ok(())
}

/// What `--set` and `--smoke` ask for; every refusal at once.
pub(crate) fn values(entry: &LabEntry, options: &RunOptions) -> Result<Values, Problem> {
    let specs = entry.params()?;
    let mut pairs = Vec::new();
    for text in &options.set {
        let Some(pair) = text.split_once('=') else {
            return Err(Problem::Input(format!(
                "“{text}” is not NAME=VALUE, for example --set {}",
                example(&specs, text)
            )));
        };
        pairs.push(pair);
    }
    let checked = validate(&specs, pairs.iter().copied());
    if !checked.problems.is_empty() {
        return Err(Problem::params(entry.id, &checked.problems));
    }
    let mut values = if options.smoke { (entry.smoke)() } else { Values::new() };
    for (name, value) in checked.values {
        if !values.contains_key(&name) || pairs.iter().any(|(given, _)| *given == name) {
            values.insert(name, value);
        }
    }
    Ok(values)
}

/// The paths of file parameters. What is left as the value is the file's name: a record does not tell where it lies.
fn files(entry: &LabEntry, values: &mut Values) -> Result<BTreeMap<String, PathBuf>, Problem> {
    let mut files = BTreeMap::new();
    for spec in entry.params()? {
        let Some(value) = values.get_mut(&spec.name).filter(|_| matches!(spec.kind, ParamKind::File { .. })) else {
            continue;
        };
        let path = PathBuf::from(value_text(value));
        if path.as_os_str().is_empty() {
            continue;
        }
        if let Err(error) = std::fs::metadata(&path).and_then(|_| std::fs::File::open(&path)) {
            let why = format!("{}: the file {} cannot be read ({error})", spec.name, path.display());
            return Err(Problem::Input(why));
        }
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        *value = name.into();
        files.insert(spec.name, path);
    }
    Ok(files)
}

/// A pair that would do: of the parameter that was meant, if its name was given.
fn example(specs: &[lab_api::ParamSpec], text: &str) -> String {
    let meant = specs.iter().find(|spec| spec.name == text).or(specs.first());
    meant.map_or_else(|| "name=value".into(), |spec| format!("{}={}", spec.name, value_text(&spec.default_value())))
}

/// Opens the device and runs a lab on this thread.
///
/// # Errors
/// What the device, the assets or the lab fail with.
pub fn run_entry(
    entry: &LabEntry,
    values: &Values,
    seed: u64,
    device: DeviceChoice,
    manifest: &Manifest,
    host: Rc<dyn Host>,
) -> Result<RunRecord, LabError> {
    pollster::block_on(async {
        let mut cx = Context::new(open_device(device).await?, seed, manifest.offered(entry)?, host);
        execute(entry, values, &mut cx).await
    })
}
