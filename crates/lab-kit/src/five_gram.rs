//! What counting reaches: the shipped result of a model that has seen no gradient.

use lab_api::LabError;

use crate::Context;

/// The file of the result, for `assets` of `lab.md`.
pub const ASSET: &str = "corpus/baseline.json";

/// Nats per character of interpolated modified Kneser-Ney 5-grams of characters (Chen and Goodman, 1999), counted on the
/// training part of the corpus and judged on its test part.
///
/// # Errors
/// [`LabError::Asset`] when the file cannot be had or does not hold the number.
pub async fn nats_per_character(cx: &Context) -> Result<f64, LabError> {
    let fail = |why: String| LabError::Asset { name: ASSET.into(), why };
    let json: serde_json::Value =
        serde_json::from_slice(&cx.asset(ASSET).await?).map_err(|error| fail(error.to_string()))?;
    let bits = json.get("characters_bits_per_character").and_then(serde_json::Value::as_f64);
    bits.map(|bits| bits * std::f64::consts::LN_2)
        .ok_or_else(|| fail("it does not say how many bits a character takes".into()))
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::testing::{FakeClock, context_with, ready};

    #[test]
    fn the_shipped_number_is_read_in_nats() {
        let cx = context_with(Rc::new(FakeClock::new(0.1)), &[ASSET]);
        // 1.7511 bits, in the file.
        assert!((ready(nats_per_character(&cx)).expect("shipped") - 1.2138).abs() < 1e-4);
        assert!(ready(nats_per_character(&crate::testing::context(Rc::new(FakeClock::new(0.1))))).is_err());
    }
}
