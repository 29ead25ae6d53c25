//! placeholder
use lab_api::{LabError, Report};
use lab_kit::Context;
pub(super) async fn run(_cx: &mut Context) -> Result<Report, LabError> {
    Ok(Report::default())
}
