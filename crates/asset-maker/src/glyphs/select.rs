//! Which pictures and families are worth keeping.

use std::collections::BTreeMap;

use lab_data::Glyphs;

use super::raster::Picture;

/// Pictures closer than this are the same letter twice: `0` drawn as `O`, lower case drawn as capitals.
const SAME: f64 = 0.02;
/// Families closer than this on average are the same design under two names, as metric clones are.
const CLONE: f64 = 0.035;
/// Least share of a family's letters whose nearest letter in an unrelated family is the same letter. Below it are fonts of
/// symbols and of other scripts, and letters drawn as ornaments.
const LEGIBLE: f64 = 0.5;
/// Least letters of a family.
pub(super) const LETTERS: usize = 34;

/// A family with its pictures, one for each class that it has.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) family: String,
    pub(super) package: String,
    pub(super) pictures: Vec<Option<Picture>>,
}

impl Candidate {
    pub(super) fn letters(&self) -> usize {
        self.pictures.iter().flatten().count()
    }
}

/// Mean difference of two pictures, 0 to 1.
fn difference(a: &[u8], b: &[u8]) -> f64 {
    f64::from(total(a, b)) / (f64::from(Glyphs::LEVELS - 1) * a.len() as f64)
}

/// Sum of the differences of two pictures.
fn total(a: &[u8], b: &[u8]) -> u32 {
    a.iter().zip(b).map(|(a, b)| u32::from(a.abs_diff(*b))).sum()
}

/// Removes letters that look like an earlier class of the same font: what they show cannot be told from them.
pub(super) fn drop_twins(candidate: &mut Candidate) {
    for i in (0..candidate.pictures.len()).rev() {
        let (before, rest) = candidate.pictures.split_at_mut(i);
        let Some(picture) = &rest[0] else { continue };
        if before.iter().flatten().any(|other| difference(other, picture) < SAME) {
            rest[0] = None;
        }
    }
}

/// Mean difference of the letters that two families share.
pub(super) fn distance(a: &Candidate, b: &Candidate) -> f64 {
    let both = a.pictures.iter().zip(&b.pictures).filter_map(|(a, b)| Some(difference(a.as_ref()?, b.as_ref()?)));
    let both: Vec<f64> = both.collect();
    both.iter().sum::<f64>() / both.len().max(1) as f64
}

/// Families that are no clone of one before them; the names of the others, each with whose clone it is.
pub(super) fn drop_clones(candidates: Vec<Candidate>) -> (Vec<Candidate>, Vec<(String, String)>) {
    let mut kept: Vec<Candidate> = Vec::new();
    let mut clones = Vec::new();
    for candidate in candidates {
        match kept.iter().find(|other| distance(other, &candidate) < CLONE) {
            Some(other) => clones.push((candidate.family, other.family.clone())),
            None => kept.push(candidate),
        }
    }
    (kept, clones)
}

/// Removes the lower case of families that draw it as capitals, and the capitals of families that draw them as lower case.
/// Twins of the same font are gone already; small capitals differ a little from the capitals, and are found by what the
/// other families draw: they are nearer to the average capital.
pub(super) fn drop_wrong_case(candidates: &mut [Candidate]) {
    let averages = averages(candidates);
    let pairs: Vec<(usize, usize)> = Glyphs::CLASSES
        .char_indices()
        .filter(|(_, c)| c.is_ascii_lowercase())
        .filter_map(|(lower, c)| Some((lower, Glyphs::CLASSES.find(c.to_ascii_uppercase())?)))
        .collect();
    let swapped: Vec<(usize, usize)> = pairs.iter().map(|(lower, upper)| (*upper, *lower)).collect();
    for candidate in candidates {
        for pairs in [&pairs, &swapped] {
            let is_other = |(own, other): &(usize, usize)| {
                let picture = candidate.pictures[*own].as_ref()?;
                Some(square(&averages[*other], picture) < square(&averages[*own], picture))
            };
            let others: Vec<bool> = pairs.iter().filter_map(is_other).collect();
            if others.iter().filter(|other| **other).count() * 2 >= others.len() {
                pairs.iter().for_each(|(own, _)| candidate.pictures[*own] = None);
            }
        }
    }
}

/// The average picture of each class.
fn averages(candidates: &[Candidate]) -> Vec<Vec<f64>> {
    let average = |class: usize| {
        let pictures: Vec<&Picture> =
            candidates.iter().filter_map(|candidate| candidate.pictures[class].as_ref()).collect();
        let sum = |i: usize| pictures.iter().map(|picture| f64::from(picture[i])).sum::<f64>();
        (0..Glyphs::PIXELS).map(|i| sum(i) / pictures.len().max(1) as f64).collect()
    };
    (0..Glyphs::CLASSES.len()).map(average).collect()
}

fn square(average: &[f64], picture: &[u8]) -> f64 {
    average.iter().zip(picture).map(|(mean, level)| (mean - f64::from(*level)).powi(2)).sum()
}

/// For each family the share of its letters whose nearest letter in an unrelated family is of their class.
pub(super) fn legibility(candidates: &[Candidate]) -> Vec<f64> {
    let letters = |candidate: &Candidate| -> Vec<(usize, Picture)> {
        candidate.pictures.iter().enumerate().filter_map(|(class, picture)| Some((class, picture.clone()?))).collect()
    };
    let letters: Vec<Vec<(usize, Picture)>> = candidates.iter().map(letters).collect();
    let share = |(own, candidate): (usize, &Candidate)| {
        let related = |other: usize| super::group(&candidates[other].family) == super::group(&candidate.family);
        let strangers: Vec<&(usize, Picture)> =
            letters.iter().enumerate().filter(|(other, _)| !related(*other)).flat_map(|(_, letters)| letters).collect();
        let nearest = |picture: &Picture| strangers.iter().min_by_key(|(_, other)| total(picture, other));
        let right =
            letters[own].iter().filter(|(class, picture)| nearest(picture).is_some_and(|near| near.0 == *class));
        right.count() as f64 / letters[own].len().max(1) as f64
    };
    candidates.iter().enumerate().map(share).collect()
}

/// Families whose letters can be read, and the names of the others.
pub(super) fn drop_illegible(candidates: Vec<Candidate>) -> (Vec<Candidate>, Vec<String>) {
    let legibility = legibility(&candidates);
    let (mut kept, mut dropped) = (Vec::new(), Vec::new());
    for (candidate, share) in candidates.into_iter().zip(legibility) {
        if share >= LEGIBLE {
            kept.push(candidate);
        } else {
            dropped.push(candidate.family);
        }
    }
    (kept, dropped)
}

/// Of each family the file nearest to its regular style.
pub(super) fn regular(fonts: Vec<(u32, Candidate)>) -> Vec<Candidate> {
    let mut best: BTreeMap<String, (u32, Candidate)> = BTreeMap::new();
    for (distance, candidate) in fonts {
        let key = candidate.family.to_lowercase();
        if best.get(&key).is_none_or(|(known, _)| distance < *known) {
            best.insert(key, (distance, candidate));
        }
    }
    best.into_values().map(|(_, candidate)| candidate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A family whose letter of class i is a bar of `ink` at column i (and one pixel of its own).
    fn family(name: &str, shift: usize, ink: u8) -> Candidate {
        let picture = |class: usize| {
            let mut picture = vec![0; Glyphs::PIXELS];
            for y in 0..Glyphs::SIDE {
                picture[y * Glyphs::SIDE + (class + shift) % Glyphs::SIDE] = ink;
                picture[((class + shift) / Glyphs::SIDE * 4 + y % 4) % 16 * Glyphs::SIDE + y] = ink;
            }
            Some(picture)
        };
        Candidate { family: name.into(), package: "p".into(), pictures: (0..47).map(picture).collect() }
    }

    #[test]
    fn a_letter_drawn_as_another_is_dropped() {
        let mut candidate = family("a", 0, 15);
        candidate.pictures[36] = candidate.pictures[10].clone();
        drop_twins(&mut candidate);
        assert!(candidate.pictures[36].is_none() && candidate.pictures[10].is_some());
        assert_eq!(candidate.letters(), 46);
    }

    #[test]
    fn clones_go_and_kin_stay() {
        let (kept, clones) = drop_clones(vec![family("a", 0, 15), family("b", 0, 14), family("c", 5, 15)]);
        assert_eq!(kept.iter().map(|c| c.family.as_str()).collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(clones, [("b".to_owned(), "a".to_owned())]);
    }

    #[test]
    fn a_font_of_other_signs_is_illegible() {
        let fonts = vec![family("a", 0, 15), family("b", 0, 14), family("c", 0, 13), family("symbols", 7, 9)];
        let (kept, dropped) = drop_illegible(fonts);
        assert_eq!((kept.len(), dropped), (3, vec!["symbols".to_owned()]));
    }

    #[test]
    fn relatives_do_not_vouch_for_each_other() {
        let fonts =
            vec![family("a", 0, 15), family("b", 0, 12), family("signs one", 7, 15), family("signs two", 7, 12)];
        assert!(legibility(&fonts)[2..].iter().all(|share| *share < LEGIBLE));
    }

    #[test]
    fn small_capitals_are_no_lower_case() {
        let mut fonts: Vec<Candidate> = (0..8).map(|i| family(&format!("f{i}"), 0, 15 - i)).collect();
        let lower = |candidate: &Candidate| candidate.pictures[36..].iter().flatten().count();
        for (class, letter) in Glyphs::CLASSES.char_indices().skip(36) {
            let capital = Glyphs::CLASSES.find(letter.to_ascii_uppercase()).expect("has a capital");
            let small: Picture = fonts[0].pictures[capital].iter().flatten().map(|level| level / 2).collect();
            fonts[0].pictures[class] = Some(small);
        }
        drop_wrong_case(&mut fonts);
        assert_eq!((lower(&fonts[0]), lower(&fonts[1])), (0, 11));
        assert_eq!(fonts[0].letters(), 36);
    }

    #[test]
    fn the_regular_style_stands_for_its_family() {
        let fonts = vec![(300, family("A b", 0, 15)), (0, family("A B", 1, 15)), (0, family("C", 0, 15))];
        let regular = regular(fonts);
        assert_eq!(regular.iter().map(|c| c.family.as_str()).collect::<Vec<_>>(), ["A B", "C"]);
    }
}
