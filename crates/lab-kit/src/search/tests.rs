use lab_api::LabError;
use rand::{Rng, seq::SliceRandom};

use super::*;
use crate::{rng, testing::ready};

/// Scores by trial and rung, and what was asked of them: the cost is the resource since the last time.
struct Table {
    rungs: Vec<usize>,
    scores: Vec<Vec<f64>>,
    at: Vec<usize>,
    asked: Vec<(usize, usize)>,
}

impl Table {
    fn new(rungs: &[usize], scores: Vec<Vec<f64>>) -> Self {
        Self { rungs: rungs.to_vec(), at: vec![0; scores.len()], scores, asked: vec![] }
    }

    /// The same score at each rung.
    fn constant(rungs: &[usize], scores: &[f64]) -> Self {
        Self::new(rungs, scores.iter().map(|score| vec![*score; rungs.len()]).collect())
    }

    fn advance(&mut self, trial: usize, to: usize) -> Result<Done, LabError> {
        let rung = self.rungs.iter().position(|rung| *rung == to).expect("a rung");
        assert!(!self.asked.contains(&(trial, rung)), "trial {trial} ran twice at rung {rung}");
        self.asked.push((trial, rung));
        let cost = (to - self.at[trial]) as f64 / self.rungs[self.rungs.len() - 1] as f64;
        self.at[trial] = to;
        Ok(Done { score: self.scores[trial][rung], cost })
    }

    fn halve(&mut self, n: usize, eta: usize) -> Result<Log, LabError> {
        let rungs = self.rungs.clone();
        ready(successive_halving(0..n, &rungs, eta, async |trial, to| self.advance(trial, to)))
    }
}

const RUNGS: [usize; 4] = [1, 3, 9, 27];

fn shuffled(n: usize, seed: u64) -> Vec<f64> {
    let mut scores: Vec<f64> = (0..n).map(|i| i as f64).collect();
    scores.shuffle(&mut rng(seed, "scores"));
    scores
}

#[test]
fn rungs_brackets_and_costs_are_those_on_paper() {
    assert_eq!(rungs(4, 27, 3), RUNGS);
    assert_eq!(rungs(3, 10, 2), [3, 5, 10]);
    assert_eq!(rungs(4, 2, 4), [1, 1, 1, 2]);
    assert_eq!(brackets(4, 3), [(27, 0), (12, 1), (6, 2), (4, 3)]);
    assert_eq!(brackets(5, 3).iter().map(|one| one.0).collect::<Vec<_>>(), [81, 34, 15, 8, 5]);
    assert_eq!(cost(27, &RUNGS, 3), [3.0, 4.0]);
    assert_eq!(cost(27, &[27], 3), [27.0, 27.0]);
    let mut table = Table::constant(&RUNGS, &shuffled(27, 0));
    assert!((table.halve(27, 3).expect("runs").spent() - 3.0).abs() < 1e-9);
    let mut table = Table::constant(&RUNGS, &shuffled(49, 0));
    let log = ready(hyperband(&RUNGS, 3, async |trial, to| table.advance(trial, to))).expect("runs");
    let paper: f64 = [(27, 0), (12, 1), (6, 2), (4, 3)].map(|(n, first)| cost(n, &RUNGS[first..], 3)[0]).iter().sum();
    assert!((log.spent() - paper).abs() < 1e-9 && log.trials() == 49, "{} {paper}", log.spent());
}

#[test]
fn halving_finds_the_best_where_rungs_agree_and_the_wrong_one_where_they_are_reversed() {
    for seed in 0..20 {
        let scores = shuffled(27, seed);
        let log = Table::constant(&RUNGS, &scores).halve(27, 3).expect("runs");
        assert_eq!(log.best(3).map(|one| one.score), Some(0.0));
        for (rung, n) in [27, 9, 3, 1].into_iter().enumerate() {
            assert_eq!(log.at(rung).len(), n);
        }
        let turned = scores.iter().map(|score| vec![-score, -score, -score, *score]).collect();
        let log = Table::new(&RUNGS, turned).halve(27, 3).expect("runs");
        assert_eq!(log.best(3).map(|one| one.score), Some(26.0));
        // One rung is random search.
        let mut table = Table::constant(&[27], &scores);
        let one = table.halve(27, 3).expect("runs");
        let mut table = Table::constant(&[27], &scores);
        assert_eq!(one, ready(search_full(0..27, &[27], async |i, to| table.advance(i, to))).expect("runs"));
    }
}

#[test]
fn ties_go_to_the_older_and_what_diverged_is_last() {
    let log = Table::constant(&[1, 3], &[2.0, f64::NAN, 1.0, 1.0, f64::INFINITY, 3.0]).halve(6, 3).expect("runs");
    assert_eq!(log.at(1).iter().map(|one| one.trial).collect::<Vec<_>>(), [2, 3]);
    let lost = Table::constant(&[1, 3], &[f64::NAN; 4]).halve(4, 2);
    assert!(lost.is_err_and(|error| error.to_string().contains("none of the 4 trials")));
    // One candidate is trained to the end.
    assert_eq!(Table::constant(&RUNGS, &[1.0]).halve(1, 3).expect("runs").reached.len(), 4);
}

#[test]
fn asha_does_the_thirteen_jobs_that_a_hand_finds() {
    let scores: Vec<f64> = (0..9).map(|i| 9.0 - f64::from(i)).collect();
    let mut table = Table::constant(&[1, 3, 9], &scores);
    let mut asha = Asha::new(3, 3, 9, Decides::Promotion);
    ready(asynchronous(&mut asha, &[1, 3, 9], (1, 1e9), async |i, to| table.advance(i, to))).expect("runs");
    let right =
        [(0, 0), (1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (4, 0), (4, 1), (4, 2), (5, 0), (5, 1), (5, 2), (6, 0)];
    assert_eq!(table.asked[..13], right);
}

#[test]
fn asha_with_a_worker_for_each_is_halving() {
    for n in [9, 27] {
        let scores = shuffled(n, 3);
        let sorted = |mut log: Log| {
            log.reached.sort_by_key(|one| (one.rung, one.trial));
            log.reached.iter().map(|one| (one.rung, one.trial)).collect::<Vec<_>>()
        };
        let mut table = Table::constant(&RUNGS, &scores);
        let mut asha = Asha::new(4, 3, n, Decides::Promotion);
        let log = ready(asynchronous(&mut asha, &RUNGS, (n, 1e9), async |i, to| table.advance(i, to))).expect("runs");
        let halving = Table::constant(&RUNGS, &scores).halve(n, 3).expect("runs");
        let (log, mut halving) = (sorted(log), sorted(halving));
        // With nine, halving keeps one beyond the rung at which a third of them is none.
        halving.retain(|(rung, _)| n / 3_usize.pow(*rung as u32) > 0);
        assert_eq!(log, halving);
    }
}

#[test]
fn a_decision_at_arrival_is_never_taken_back() {
    // The first goes on unopposed although it is the worst.
    let mut table = Table::constant(&[1, 3], &[9.0, 8.0, 7.0, 1.0]);
    let mut asha = Asha::new(2, 3, 4, Decides::Arrival);
    let log = ready(asynchronous(&mut asha, &[1, 3], (1, 1e9), async |i, to| table.advance(i, to))).expect("runs");
    assert_eq!(log.at(1).iter().map(|one| one.trial).collect::<Vec<_>>(), [3, 2, 1, 0]);
    let mut table = Table::constant(&[1, 3], &[1.0, 8.0, 7.0, 9.0]);
    let mut asha = Asha::new(2, 3, 4, Decides::Arrival);
    let log = ready(asynchronous(&mut asha, &[1, 3], (1, 1e9), async |i, to| table.advance(i, to))).expect("runs");
    assert_eq!(log.at(1).iter().map(|one| one.trial).collect::<Vec<_>>(), [0]);
}

#[test]
fn the_median_rule_stops_the_worse_half_and_never_the_first() {
    let mut table = Table::constant(&RUNGS, &[5.0, 3.0, 6.0, 2.0, f64::NAN]);
    let log = ready(median_rule(0..5, &RUNGS, (2, 1e9), async |i, to| table.advance(i, to))).expect("runs");
    assert_eq!(log.at(3).iter().map(|one| one.trial).collect::<Vec<_>>(), [3, 1, 0]);
    assert_eq!(log.at(0).len(), 5);
    let mut table = Table::constant(&RUNGS, &[5.0, 3.0, 6.0, 2.0, 1.0]);
    let log = ready(median_rule(0..5, &RUNGS, (2, 2.0), async |i, to| table.advance(i, to))).expect("runs");
    assert_eq!(log.trials(), 2);
}

#[test]
fn logs_know_the_incumbent_and_what_was_spent_on_the_cut() {
    let log = Table::constant(&RUNGS, &shuffled(27, 1)).halve(27, 3).expect("runs");
    assert!((log.on_the_cut(3) - 2.0 / 3.0).abs() < 1e-9);
    let incumbent = log.incumbent(3);
    assert!(incumbent.len() == 1 && (incumbent[0][0] - 3.0).abs() < 1e-9 && incumbent[0][1] == 0.0, "{incumbent:?}");
    let mut table = Table::constant(&[1], &[3.0, f64::NAN, 4.0, 1.0]);
    let log = ready(search_full(0..4, &[1], async |i, to| table.advance(i, to))).expect("runs");
    assert_eq!(log.incumbent(0), [[1.0, 3.0], [4.0, 1.0]]);
}

#[test]
fn ranks_and_luck_are_those_of_tables() {
    assert!((spearman(&[1.0, 2.0, 3.0, 4.0, 5.0], &[2.0, 1.0, 4.0, 3.0, 5.0]) - 0.8).abs() < 1e-12);
    assert_eq!(spearman(&[1.0, 2.0, 3.0], &[3.0, 2.0, 1.0]), -1.0);
    assert_eq!(spearman(&[1.0, 1.0, 1.0], &[3.0, 2.0, 1.0]), 0.0);
    // Equals share a rank: 1.5, 1.5, 3 against 1, 2, 3.
    assert!((spearman(&[1.0, 1.0, 2.0], &[1.0, 2.0, 3.0]) - 0.75_f64.sqrt()).abs() < 1e-12);
    assert_eq!((rank_of(&[3.0, 1.0, f64::NAN, 1.0], 3), rank_of(&[3.0, 1.0, f64::NAN, 1.0], 2)), (2, 4));
    assert_eq!(kept(&[1.0, 2.0, 3.0, 4.0], &[1.0, 4.0, 2.0, 3.0], 2), 0.5);
    for (n, right) in [(1, 0.0), (5, 1.1630), (10, 1.5388), (27, 1.9983), (113, 2.551)] {
        assert!((expected_best(n) - right).abs() < 1e-3, "{n}: {}", expected_best(n));
    }
    let scores = [4.0, 1.0, 2.0, 8.0];
    assert_eq!((best_of_random(&scores, 1), best_of_random(&scores, 9)), (3.75, 1.0));
    // Of the six pairs: 1 three times, 2 twice, 4 once.
    assert!((best_of_random(&scores, 2) - 11.0 / 6.0).abs() < 1e-12);
}

#[test]
fn proposals_go_where_the_good_ones_lie() {
    let mut rng = rng(0, "proposals");
    let mut draw = || -> Vec<f64> { (0..3).map(|_| rng.random_range(0.0..1.0)).collect() };
    // Only the first axis matters, and 0.8 is best.
    let seen: Vec<(Vec<f64>, f64)> = (0..40).map(|_| draw()).map(|x| (x.clone(), (x[0] - 0.8).abs())).collect();
    let off: Vec<f64> = (0..50)
        .map(|_| {
            let candidates: Vec<Vec<f64>> = (0..24).map(|_| draw()).collect();
            (candidates[propose(&seen, &candidates)][0] - 0.8).abs()
        })
        .collect();
    // By chance 0.34 on average.
    assert!(off.iter().sum::<f64>() / 50.0 < 0.2, "{off:?}");
    assert_eq!(propose(&seen[..3], &[vec![0.0; 3], vec![1.0; 3]]), 0);
    assert_eq!(propose(&seen, &[]), 0);
}

/// One of twenty bits turned.
fn flip(bits: &[bool; 20], rng: &mut impl Rng) -> [bool; 20] {
    let mut other = *bits;
    let at = rng.random_range(0..20);
    other[at] = !other[at];
    other
}

#[test]
fn what_changes_gets_better_and_old_age_kills() {
    // Ones are to go.
    let (start, mut random) = ([true; 20], rng(0, "flips"));
    let score = async |bits: &[bool; 20]| Ok(bits.iter().filter(|bit| **bit).count() as f64);
    let (best, seen) = ready(climb((start, 20.0), 300, |bits| flip(bits, &mut random), score)).expect("runs");
    assert!(best.1 == 0.0 && seen.is_sorted_by(|a, b| a >= b) && seen.len() == 300);
    let all = ready(aging(vec![(start, 20.0); 8], (3, 300), &mut rng(1, "aging"), flip, score)).expect("runs");
    assert_eq!(all.len(), 308);
    assert!(all.iter().map(|one| one.1).fold(20.0, f64::min) <= 2.0);
}

#[test]
fn a_knapsack_is_what_all_choices_give() {
    for seed in 0..30 {
        let mut rng = rng(seed, "knapsack");
        let parts = rng.random_range(1..=6);
        let bytes: Vec<Vec<usize>> = (0..parts)
            .map(|_| {
                let unit = 64 * rng.random_range(1..9);
                vec![2 * unit, 3 * unit, 4 * unit]
            })
            .collect();
        let loss: Vec<Vec<f64>> = (0..parts)
            .map(|_| {
                let first = rng.random_range(0.1..1.0);
                vec![first, first * rng.random_range(0.0..0.9), 0.0]
            })
            .collect();
        let sum = |chosen: &[usize]| -> (f64, usize) {
            let all = || chosen.iter().enumerate();
            (all().map(|(i, c)| loss[i][*c]).sum(), all().map(|(i, c)| bytes[i][*c]).sum())
        };
        let least: usize = bytes.iter().map(|bytes| bytes[0]).sum();
        for budget in [least - 1, least, least * 5 / 4, least * 3 / 2 + 7, least * 2, least * 9] {
            let all = (0..3_usize.pow(parts as u32))
                .map(|code| -> Vec<usize> { (0..parts).map(|i| code / 3_usize.pow(i as u32) % 3).collect() });
            let brute = all.map(|chosen| sum(&chosen)).filter(|one| one.1 <= budget).map(|one| one.0).reduce(f64::min);
            let exact = knapsack(&loss, &bytes, budget);
            assert_eq!(exact.is_some(), brute.is_some());
            let (Some(exact), Some(brute)) = (exact, brute) else { continue };
            assert!((sum(&exact).0 - brute).abs() < 1e-9 && sum(&exact).1 <= budget, "{seed} {budget}");
            let swept = sweep(&loss, &bytes, budget).expect("there is one");
            assert!(sum(&swept).1 <= budget && sum(&swept).0 >= brute - 1e-9);
        }
    }
    // All alike: what uniform widths would take buys uniform widths, by no less a loss.
    let (loss, bytes) = (vec![vec![1.0, 0.4, 0.1]; 5], vec![vec![200, 300, 400]; 5]);
    assert_eq!(knapsack(&loss, &bytes, 1500), Some(vec![1; 5]));
    assert_eq!(knapsack(&[], &[], 0), Some(vec![]));
}
