//! Percentiles of plain numbers.

/// The value below which `percent` of the values lie, interpolated between neighbours; 0 of nothing.
#[must_use]
pub fn percentile(values: &[f32], percent: f64) -> f32 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f32::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let position = (percent / 100.0).clamp(0.0, 1.0) * last as f64;
    let (below, part) = (position.floor() as usize, (position.fract()) as f32);
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * part
}
