//! `list`: what labs there are.

use std::path::Path;

use lab_api::{LabMeta, Level, ParamSpec};
use labs::registry::ALL;
use serde::Serialize;

use crate::{Problem, assets::meta, output::table};

#[derive(Serialize)]
struct Listed {
    id: &'static str,
    #[serde(flatten)]
    meta: LabMeta,
    params: Vec<ParamSpec>,
}

/// Prints the labs, for people or as JSON.
///
/// # Errors
/// [`Problem::Failure`] when a lab's files are broken.
pub fn list(_root: &Path, json: bool) -> Result<(), Problem> {
    let mut labs = Vec::new();
    for entry in ALL {
        labs.push(Listed { id: entry.id, meta: meta(entry)?, params: entry.params()? });
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&labs).map_err(anyhow::Error::from)?);
        return Ok(());
    }
    let level = |level: Level| match level {
        Level::Beginner => "beginner",
        Level::Intermediate => "intermediate",
        Level::Advanced => "advanced",
    };
    let heads = ["Lab", "Title", "Minutes", "Level", "Parameters"].map(str::to_owned).to_vec();
    let row = |lab: &Listed| {
        let params: Vec<&str> = lab.params.iter().map(|spec| spec.name.as_str()).collect();
        let minutes = lab.meta.minutes.to_string();
        vec![lab.id.to_owned(), lab.meta.title.clone(), minutes, level(lab.meta.level).into(), params.join(", ")]
    };
    let rows: Vec<Vec<String>> = labs.iter().map(row).collect();
    print!("{}", table(&heads, &rows));
    Ok(())
}
