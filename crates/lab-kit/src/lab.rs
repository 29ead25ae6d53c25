//! A lab, its entry in the registry, and the one way to run it that worker and command line share.

use std::future::Future;

use lab_api::{LabError, ParamSpec, Params, Report, RunRecord, Values, nearest, validate, value_text};

use crate::{Context, LocalBoxFuture, from_values::from_values};

/// A real experiment: parameters in, report out. One folder of `labs/src`.
pub trait Lab: 'static {
    /// The folder's name with `-` for `_`: also the word in links, on the command line and in `{{#lab ...}}`.
    const ID: &'static str;
    /// What a reader may change. Its `Default` is the default run.
    type Params: Params;

    /// The small case that tests run: 2 s at most on the cpu engine.
    fn smoke() -> Self::Params {
        Self::Params::default()
    }

    /// Runs the experiment. Publish early, report progress, and call `cx.checkpoint().await?` at least every 30 ms.
    fn run(params: Self::Params, cx: &mut Context) -> impl Future<Output = Result<Report, LabError>>;

    /// The study behind general claims: many seeds, all arms, intervals. Native, 15 minutes at most; its report is
    /// committed. `None` where the lab has none.
    fn study(cx: &mut Context) -> impl Future<Output = Result<Option<Report>, LabError>> {
        let _ = cx;
        async { Ok(None) }
    }
}

type Run = for<'a> fn(Values, &'a mut Context) -> LocalBoxFuture<'a, Result<Report, LabError>>;
#[cfg(feature = "schema")]
type RunStudy = for<'a> fn(&'a mut Context) -> LocalBoxFuture<'a, Result<Option<Report>, LabError>>;

/// A lab with its types erased, so that engine, command line and tests loop over `labs::registry::ALL`.
#[derive(Clone, Copy)]
pub struct LabEntry {
    /// [`Lab::ID`].
    pub id: &'static str,
    /// Content of `params.json`: a list of [`ParamSpec`].
    pub params_json: &'static str,
    /// Content of `lab.md`; empty without the feature `schema`, since a browser's engine has no use for it.
    pub lab_md: &'static str,
    /// [`Lab::run`] on values.
    pub run: Run,
    /// [`Lab::smoke`] as values; of no use to a reader, so no engine carries it.
    #[cfg(feature = "schema")]
    pub smoke: fn() -> Values,
    /// [`Lab::study`].
    #[cfg(feature = "schema")]
    pub study: RunStudy,
    /// The specifications that `params.json` must hold.
    #[cfg(feature = "schema")]
    pub specs: fn() -> Result<Vec<ParamSpec>, lab_api::SchemaError>,
}

impl LabEntry {
    /// The entry of `L`.
    #[must_use]
    pub const fn of<L: Lab>(params_json: &'static str, lab_md: &'static str) -> Self {
        Self {
            id: L::ID,
            params_json,
            lab_md,
            run: run::<L>,
            #[cfg(feature = "schema")]
            smoke: smoke::<L>,
            #[cfg(feature = "schema")]
            study: study::<L>,
            #[cfg(feature = "schema")]
            specs: lab_api::specs_of::<L::Params>,
        }
    }

    /// The lab's parameters, from `params.json`.
    ///
    /// # Errors
    /// [`LabError::Engine`] when the file is not a list of specifications.
    pub fn params(&self) -> Result<Vec<ParamSpec>, LabError> {
        serde_json::from_str(self.params_json).map_err(|error| LabError::Engine {
            why: format!("params.json of “{}” is unreadable ({error}); run “cargo xtask reference”", self.id),
        })
    }
}

// As little as can be: it is compiled for each lab.
fn run<L: Lab>(values: Values, cx: &mut Context) -> LocalBoxFuture<'_, Result<Report, LabError>> {
    match from_values(&values) {
        Ok(params) => Box::pin(L::run(params, cx)),
        Err(error) => stale(L::ID, &error),
    }
}

fn stale(id: &str, error: &dyn std::fmt::Display) -> LocalBoxFuture<'static, Result<Report, LabError>> {
    let why = format!("params.json of “{id}” is stale ({error}); run “cargo xtask reference”");
    Box::pin(std::future::ready(Err(LabError::Engine { why })))
}

#[cfg(feature = "schema")]
fn study<L: Lab>(cx: &mut Context) -> LocalBoxFuture<'_, Result<Option<Report>, LabError>> {
    Box::pin(L::study(cx))
}

#[cfg(feature = "schema")]
fn smoke<L: Lab>() -> Values {
    use serde_json::Value;
    match serde_json::to_value(L::smoke()) {
        Ok(Value::Object(fields)) => fields.into_iter().collect(),
        // `specs_of` refuses parameters that are not a struct of plain fields.
        _ => Values::new(),
    }
}

/// The entry named `id`.
///
/// # Errors
/// [`LabError::UnknownLab`] with the nearest name.
pub fn find<'a>(registry: &'a [LabEntry], id: &str) -> Result<&'a LabEntry, LabError> {
    registry.iter().find(|entry| entry.id == id).ok_or_else(|| LabError::UnknownLab {
        name: id.to_owned(),
        nearest: nearest(id, registry.iter().map(|entry| entry.id)).map(str::to_owned),
    })
}

/// Validates the values (what is absent takes its default), runs the lab and checks its report. Where a hidden page spoiled
/// samples of time, or a variant's times differ from its own, a note says so.
///
/// # Errors
/// [`LabError::BadParam`] for the first value refused, [`LabError::Refused`] for a report that breaks a rule, and
/// whatever the lab fails with.
pub async fn execute(entry: &LabEntry, values: &Values, cx: &mut Context) -> Result<RunRecord, LabError> {
    let texts: Vec<(&str, String)> = values.iter().map(|(name, value)| (name.as_str(), value_text(value))).collect();
    let checked = validate(&entry.params()?, texts.iter().map(|(name, text)| (*name, text.as_str())));
    if let Some(problem) = checked.problems.into_iter().next() {
        return Err(LabError::BadParam(problem));
    }
    let mut report = (entry.run)(checked.values.clone(), cx).await?;
    report.notes.extend(cx.hidden_note());
    report.notes.extend(cx.gate_note());
    report.check()?;
    Ok(RunRecord {
        lab: entry.id.to_owned(),
        params: checked.values,
        seed: cx.seed,
        environment: cx.environment(),
        report,
    })
}

/// Makes `ALL`, the list of labs, from lines `module::Type = "folder",`. Written by the generator of
/// `labs/src/registry.rs`.
#[macro_export]
macro_rules! registry {
    ($($module:ident :: $lab:ident = $folder:literal,)*) => {
        /// Every lab, by name.
        // A static, so that labs are compiled once, where they stand: a constant would be compiled anew wherever it is named.
        pub static ALL: &[$crate::LabEntry] = &[$(
            $crate::LabEntry::of::<$module::$lab>(
                include_str!(concat!($folder, "/params.json")),
                // The words are for the book and the command line: no engine carries them.
                if cfg!(feature = "schema") { include_str!(concat!($folder, "/lab.md")) } else { "" },
            ),
        )*];
    };
}
