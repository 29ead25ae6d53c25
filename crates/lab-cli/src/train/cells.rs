//! The table of all networks of the small space that architecture search looks in.

use std::path::Path;

use anyhow::Context as _;
use asset_manifest::{record, toml_edit};
use lab_api::LabError;
use lab_kit::{
    cells::{CELL_TABLE, CellCode, CellTable, TABLE_SEEDS, TABLE_STEPS, cell_parts},
    data::{Glyphs, hex},
    two_cores::jobs_on_two_cores,
};
use sha2::{Digest, Sha256};

use super::TrainOptions;
use crate::Problem;

/// One network of so many is trained again by a check or a trial.
const EACH: usize = 97;
/// How far it may then be off, in points: other processors sum in another order, which leads elsewhere as another seed does.
const DRIFT_PERCENT: f64 = 6.0;

/// Trains every network as the table has it, and records them; with `check` trains a few and compares.
pub(super) fn cells(root: &Path, options: &TrainOptions) -> Result<(), Problem> {
    let packed = std::fs::read(root.join("assets").join(Glyphs::ASSET)).context("the glyphs cannot be read")?;
    let images = cell_parts(&Glyphs::read(&packed)?);
    let mut codes = CellCode::distinct();
    if options.check || options.trial {
        codes = codes.into_iter().step_by(EACH).collect();
    }
    let counts = jobs_on_two_cores(codes.len(), |i| Ok::<_, LabError>(CellTable::counts(codes[i], &images)))?;
    if options.trial {
        codes.iter().zip(&counts).for_each(|(code, counts)| println!("{code}: {counts:?}"));
        return Ok(());
    }
    if options.check {
        let shipped = std::fs::read(root.join("assets").join(CELL_TABLE)).context("no table is shipped")?;
        let table = CellTable::read(&shipped)?;
        for (code, counts) in codes.iter().zip(&counts) {
            let said = table.entry(*code).context("the table lacks a network")?;
            let found = 100.0 * counts[1] as f64 / images[1].len() as f64;
            if (found - said.chosen[1][0]).abs() > DRIFT_PERCENT {
                return Err(Problem::Failure(format!(
                    "{code} is right on {found:.1} %, and the table says {:.1}.",
                    said.chosen[1][0]
                )));
            }
        }
        println!("{} networks agree with the table.", codes.len());
        return Ok(());
    }
    let bytes = CellTable::write([images[1].len(), images[2].len()], &counts);
    let trainings: Vec<String> =
        TABLE_STEPS.iter().zip(TABLE_SEEDS).map(|(steps, seeds)| format!("{seeds} of {steps} steps")).collect();
    record(
        root,
        CELL_TABLE,
        &bytes,
        &[
            (
                "title",
                toml_edit::value(format!(
                    "Right answers of all 781 networks of a small space, {} each",
                    trainings.join(", ")
                )),
            ),
            ("source", toml_edit::value(format!("trained from {} ({})", Glyphs::ASSET, hex(&Sha256::digest(&packed))))),
            ("licence", toml_edit::value("MIT OR Apache-2.0")),
            ("command", toml_edit::value(super::command(options))),
            ("seed", toml_edit::value(0)),
        ],
    )?;
    println!("Wrote assets/{CELL_TABLE} ({} bytes) and its entry in assets/manifest.toml.", bytes.len());
    Ok(())
}
