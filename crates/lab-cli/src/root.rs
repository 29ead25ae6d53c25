//! Finding the checkout.

use std::path::PathBuf;

use crate::Problem;

/// The folder with `assets/manifest.toml` and `labs/`: this one or the nearest above it.
///
/// # Errors
/// [`Problem::Failure`] outside a checkout.
pub fn root() -> Result<PathBuf, Problem> {
    let here = std::env::current_dir().map_err(|error| Problem::Failure(error.to_string()))?;
    here.ancestors()
        .find(|folder| folder.join("assets/manifest.toml").is_file() && folder.join("labs/src").is_dir())
        .map(PathBuf::from)
        .ok_or_else(|| Problem::Failure(format!("{} is not inside a checkout of the book.", here.display())))
}
