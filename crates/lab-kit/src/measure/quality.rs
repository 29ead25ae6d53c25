//! How good a model is, each number with its interval.
//!
//! Where data come in clusters (images of a font family, tokens of a document), the functions take the cluster of each
//! value and draw whole clusters: see [`stats::cluster_bootstrap`](crate::stats::cluster_bootstrap).

use lab_api::{Interval, LabError};
use rand_chacha::ChaCha8Rng;

use crate::stats::{bootstrap, cluster_bootstrap, cluster_ratio_bootstrap, members, proportion};

/// A number and its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// From the data at hand.
    pub value: f64,
    /// Of what data without end would give.
    pub interval: Interval,
}

/// Share of answers that equal their labels, 0 to 1, with its exact interval
/// ([`stats::proportion`](crate::stats::proportion)): for examples that are independent.
///
/// # Errors
/// [`LabError::Refused`] for nothing, or for as many answers as there are not labels.
pub fn accuracy<T: PartialEq>(answers: &[T], labels: &[T], level: f64) -> Result<Estimate, LabError> {
    same_length("answers", answers.len(), "labels", labels.len())?;
    let right = answers.iter().zip(labels).filter(|(answer, label)| answer == label).count();
    let interval = proportion(right, labels.len(), level);
    Ok(Estimate { value: right as f64 / labels.len() as f64, interval })
}

/// As [`accuracy`], for examples in clusters.
///
/// # Errors
/// As [`accuracy`], and for other than one cluster an answer.
pub fn accuracy_by_group<T: PartialEq>(
    answers: &[T],
    labels: &[T],
    groups: &[usize],
    level: f64,
    rng: &mut ChaCha8Rng,
) -> Result<Estimate, LabError> {
    same_length("answers", answers.len(), "labels", labels.len())?;
    let right: Vec<f64> = answers.iter().zip(labels).map(|(a, b)| f64::from(u8::from(a == b))).collect();
    mean_by_group(&right, groups, level, rng)
}

/// Share of examples that two models answer alike, right or wrong, 0 to 1.
///
/// # Errors
/// As [`accuracy`].
pub fn agreement<T: PartialEq>(one: &[T], other: &[T], level: f64) -> Result<Estimate, LabError> {
    accuracy(one, other, level)
}

/// As [`agreement`], for examples in clusters.
///
/// # Errors
/// As [`accuracy_by_group`].
pub fn agreement_by_group<T: PartialEq>(
    one: &[T],
    other: &[T],
    groups: &[usize],
    level: f64,
    rng: &mut ChaCha8Rng,
) -> Result<Estimate, LabError> {
    accuracy_by_group(one, other, groups, level, rng)
}

/// Mean of values in clusters. Give it differences of two models on the same examples for a paired comparison.
///
/// # Errors
/// [`LabError::Refused`] for nothing, for other than one cluster a value, for a value that is not finite.
pub fn mean_by_group(values: &[f64], groups: &[usize], level: f64, rng: &mut ChaCha8Rng) -> Result<Estimate, LabError> {
    same_length("values", values.len(), "groups", groups.len())?;
    finite("value", values)?;
    let value = values.iter().sum::<f64>() / values.len() as f64;
    Ok(Estimate { value, interval: cluster_bootstrap(values, groups, level, rng) })
}

/// Perplexity of a language model: the exponential of its mean loss per token, in nats. `groups` names the document (or
/// the window) of each token.
///
/// # Errors
/// As [`mean_by_group`].
pub fn perplexity(
    losses_nats: &[f64],
    groups: &[usize],
    level: f64,
    rng: &mut ChaCha8Rng,
) -> Result<Estimate, LabError> {
    let Estimate { value, interval } = mean_by_group(losses_nats, groups, level, rng)?;
    // The exponential keeps order, so it may be taken of the ends.
    let interval = Interval { low: interval.low.exp(), high: interval.high.exp(), level };
    Ok(Estimate { value: value.exp(), interval })
}

/// Bits per character: all losses over all characters, `characters[i]` being those that token `i` spells. Unlike
/// perplexity it compares models of different tokenizers. Give it differences of losses to compare two models on one.
///
/// # Errors
/// As [`mean_by_group`], and for no characters at all.
pub fn bits_per_character(
    losses_nats: &[f64],
    characters: &[usize],
    groups: &[usize],
    level: f64,
    rng: &mut ChaCha8Rng,
) -> Result<Estimate, LabError> {
    same_length("losses", losses_nats.len(), "tokens", characters.len())?;
    same_length("losses", losses_nats.len(), "groups", groups.len())?;
    finite("loss", losses_nats)?;
    let bits: Vec<f64> = losses_nats.iter().map(|nats| nats / std::f64::consts::LN_2).collect();
    let characters: Vec<f64> = characters.iter().map(|count| *count as f64).collect();
    let all: f64 = characters.iter().sum();
    if all == 0.0 {
        return refuse("the tokens spell no character".into());
    }
    let interval = cluster_ratio_bootstrap(&bits, &characters, groups, level, rng);
    Ok(Estimate { value: bits.iter().sum::<f64>() / all, interval })
}

/// Examples of about the same confidence.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Bin {
    /// How many.
    pub count: usize,
    /// Their mean confidence.
    pub confidence: f64,
    /// The share that is right.
    pub accuracy: f64,
}

/// The reliability diagram: `bins` bins of equal width over the confidence, `(m / bins, (m + 1) / bins]` as in Guo et al.
/// (2017, arXiv:1706.04599); zero goes to the first. Empty ones hold zeros.
///
/// # Errors
/// [`LabError::Refused`] for nothing, for no bins, for a confidence outside 0 to 1.
pub fn reliability(confidences: &[f64], right: &[bool], bins: usize) -> Result<Vec<Bin>, LabError> {
    let mut found = vec![Bin::default(); bins];
    for (bin, (confidence, right)) in binned(confidences, right, bins)?.into_iter().zip(confidences.iter().zip(right)) {
        let bin = &mut found[bin];
        bin.count += 1;
        bin.confidence += confidence;
        bin.accuracy += f64::from(u8::from(*right));
    }
    for bin in found.iter_mut().filter(|bin| bin.count > 0) {
        bin.confidence /= bin.count as f64;
        bin.accuracy /= bin.count as f64;
    }
    Ok(found)
}

/// Expected calibration error, 0 to 1: how far confidence and accuracy are apart, over the bins of [`reliability`]
/// weighed by their counts (Guo et al., 2017, arXiv:1706.04599; they take 15 bins). `groups` names the cluster of each
/// example; give each a number of its own where they are independent.
///
/// Noise in the bins always adds to it, so it is too large for few examples, and that of a resample is too large twice.
/// The interval is therefore the basic bootstrap's (Davison and Hinkley, 1997, section 5.2), which reflects the
/// resamples at the value and so takes the excess off; it is widened to hold the value itself.
///
/// # Errors
/// As [`reliability`], and for other than one cluster an example.
pub fn calibration_error(
    confidences: &[f64],
    right: &[bool],
    bins: usize,
    groups: &[usize],
    level: f64,
    rng: &mut ChaCha8Rng,
) -> Result<Estimate, LabError> {
    same_length("confidences", confidences.len(), "groups", groups.len())?;
    let bin_of = binned(confidences, right, bins)?;
    // What an example adds to the difference of its bin.
    let gap: Vec<f64> = confidences.iter().zip(right).map(|(c, right)| f64::from(u8::from(*right)) - c).collect();
    let clusters = members(groups);
    let error = |picked: &[usize]| {
        let (mut gaps, mut count) = (vec![0.0; bins], 0);
        for i in picked.iter().flat_map(|cluster| &clusters[*cluster]) {
            gaps[bin_of[*i]] += gap[*i];
            count += 1;
        }
        gaps.iter().map(|gap: &f64| gap.abs()).sum::<f64>() / f64::from(count.max(1))
    };
    let all: Vec<usize> = (0..clusters.len()).collect();
    let value = error(&all);
    let drawn = bootstrap(clusters.len(), 1, level, rng, error);
    let reflected = |end: f64| (2.0 * value - end).clamp(0.0, 1.0);
    let interval = Interval { low: reflected(drawn.high).min(value), high: reflected(drawn.low).max(value), level };
    Ok(Estimate { value, interval })
}

/// The bin of each confidence.
fn binned(confidences: &[f64], right: &[bool], bins: usize) -> Result<Vec<usize>, LabError> {
    same_length("confidences", confidences.len(), "answers", right.len())?;
    if bins == 0 {
        return refuse("a calibration error needs at least one bin".into());
    }
    if let Some(bad) = confidences.iter().find(|confidence| !(0.0..=1.0).contains(*confidence)) {
        return refuse(format!("{bad} is not a confidence from 0 to 1"));
    }
    // Compared with the edge itself: 0.7 * 10 is a little more than 7.
    let bin = |confidence: &f64| (1..bins).find(|m| *confidence <= *m as f64 / bins as f64).unwrap_or(bins) - 1;
    Ok(confidences.iter().map(bin).collect())
}

fn same_length(what: &str, one: usize, other_what: &str, other: usize) -> Result<(), LabError> {
    match one {
        0 => refuse(format!("there are no {what} to judge")),
        _ if one != other => refuse(format!("there are {one} {what} but {other} {other_what}")),
        _ => Ok(()),
    }
}

fn finite(what: &str, values: &[f64]) -> Result<(), LabError> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(at) => refuse(format!("{what} {at} is {}", values[at])),
        None => Ok(()),
    }
}

fn refuse<T>(why: String) -> Result<T, LabError> {
    Err(LabError::Refused { why })
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::context::rng;

    const LEVEL: f64 = 0.95;

    fn alone(count: usize) -> Vec<usize> {
        (0..count).collect()
    }

    #[test]
    fn shares_of_right_answers() {
        let found = accuracy(&[1, 2, 3, 4, 5, 6, 7, 0, 0, 0], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 9], LEVEL).expect("judged");
        assert_eq!(found.value, 0.7);
        // R: binom.test(7, 10).
        assert!((found.interval.low - 0.34755).abs() < 5e-5 && (found.interval.high - 0.93326).abs() < 5e-5);
        let same = agreement(&["a", "b"], &["a", "c"], LEVEL).expect("judged");
        assert_eq!(same.value, 0.5);
        // Two families, one all right and one all wrong: nothing in between is certain.
        let groups = [0, 0, 0, 1, 1, 1];
        let family = accuracy_by_group(&[1, 1, 1, 0, 0, 0], &[1; 6], &groups, LEVEL, &mut rng(0, "t")).expect("judged");
        assert_eq!((family.value, family.interval.low, family.interval.high), (0.5, 0.0, 1.0));
        let alike = agreement_by_group(&[1; 6], &[1; 6], &groups, LEVEL, &mut rng(0, "t")).expect("judged");
        assert_eq!((alike.value, alike.interval.low, alike.interval.high), (1.0, 1.0, 1.0));
    }

    #[test]
    fn a_uniform_model_has_the_perplexity_of_its_vocabulary() {
        let losses = vec![(64f64).ln(); 100];
        let found = perplexity(&losses, &alone(100), LEVEL, &mut rng(0, "t")).expect("judged");
        for value in [found.value, found.interval.low, found.interval.high] {
            assert!((value - 64.0).abs() < 1e-9, "{value}");
        }
        // 6 bits a token of 3 characters are 2 bits a character.
        let bits = bits_per_character(&losses, &[3; 100], &alone(100), LEVEL, &mut rng(0, "t")).expect("judged");
        assert!((bits.value - 2.0).abs() < 1e-12 && (bits.interval.high - 2.0).abs() < 1e-12);
        // Half the tokens at 1 nat, half at 3: exp(2); the interval holds it and is not a point.
        let mixed: Vec<f64> = (0..200).map(|i| if i % 2 == 0 { 1.0 } else { 3.0 }).collect();
        let found = perplexity(&mixed, &alone(200), LEVEL, &mut rng(0, "t")).expect("judged");
        assert!((found.value - 2f64.exp()).abs() < 1e-12);
        assert!(found.interval.low < found.value && found.value < found.interval.high);
    }

    #[test]
    fn confidences_fall_into_the_bins_of_the_paper() {
        let confidences = [0.0, 0.1, 0.1000001, 0.7, 0.75, 1.0];
        let bins = reliability(&confidences, &[false, false, true, true, false, true], 10).expect("binned");
        let counts: Vec<usize> = bins.iter().map(|bin| bin.count).collect();
        assert_eq!(counts, [2, 1, 0, 0, 0, 0, 1, 1, 0, 1]);
        assert_eq!((bins[0].confidence, bins[0].accuracy, bins[9].accuracy), (0.05, 0.0, 1.0));
    }

    #[test]
    fn a_calibration_error_by_hand() {
        // Bin of 0.8: four examples, half right, off by 0.3. Bin of 0.6: one, right, off by 0.4.
        let (confidences, right) = ([0.8, 0.8, 0.8, 0.8, 0.6], [true, false, true, false, true]);
        let found = calibration_error(&confidences, &right, 5, &alone(5), LEVEL, &mut rng(0, "t")).expect("judged");
        assert!((found.value - (4.0 * 0.3 + 0.4) / 5.0).abs() < 1e-12, "{}", found.value);
        // In one bin the two errors cancel: 0.76 confident, 0.6 right.
        let one = calibration_error(&confidences, &right, 1, &alone(5), LEVEL, &mut rng(0, "t")).expect("judged");
        assert!((one.value - 0.16).abs() < 1e-12, "{}", one.value);
    }

    #[test]
    fn the_interval_of_a_calibration_error_covers_the_truth() {
        // Confident by 0.15 too much everywhere, so the true error is 0.15; 400 examples; 150 studies.
        let mut rng = rng(0, "calibration");
        let (mut covered, mut mean) = (0, 0.0);
        for _ in 0..150 {
            let confidences: Vec<f64> = (0..400).map(|_| rng.random_range(0.5..0.95)).collect();
            let right: Vec<bool> = confidences.iter().map(|c| rng.random_bool(c - 0.15)).collect();
            let found = calibration_error(&confidences, &right, 15, &alone(400), LEVEL, &mut rng).expect("judged");
            covered += usize::from(found.interval.low <= 0.15 && 0.15 <= found.interval.high);
            mean += found.value / 150.0;
        }
        assert!((133..=150).contains(&covered), "{covered} of 150");
        // Too large on average, as the documentation says, but not by much here.
        assert!((0.15..0.18).contains(&mean), "{mean}");
    }

    #[test]
    fn what_cannot_be_judged_is_refused_by_name() {
        let why = |result: Result<Estimate, LabError>| result.expect_err("refused").to_string();
        let mut rng = rng(0, "t");
        assert!(why(accuracy::<u8>(&[], &[], LEVEL)).contains("no answers"));
        assert!(why(accuracy(&[1, 2], &[1], LEVEL)).contains("2 answers but 1 labels"));
        assert!(why(perplexity(&[1.0, f64::NAN], &[0, 1], LEVEL, &mut rng)).contains("value 1 is NaN"));
        assert!(why(bits_per_character(&[1.0], &[0], &[0], LEVEL, &mut rng)).contains("no character"));
        assert!(why(calibration_error(&[1.5], &[true], 15, &[0], LEVEL, &mut rng)).contains("1.5"));
        assert!(why(calibration_error(&[0.5], &[true], 0, &[0], LEVEL, &mut rng)).contains("one bin"));
        assert!(why(calibration_error(&[f64::NAN], &[true], 3, &[0], LEVEL, &mut rng)).contains("NaN"));
    }
}
