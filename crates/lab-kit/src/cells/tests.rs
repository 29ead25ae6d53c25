use std::rc::Rc;

use super::*;
use crate::{
    rng,
    search::best_of_random,
    testing::{FakeClock, context_with, ready},
};

const ALL: [CellStrategy; 5] = [
    CellStrategy::Random,
    CellStrategy::Local,
    CellStrategy::Evolution,
    CellStrategy::Reinforce,
    CellStrategy::Predictor,
];

/// Each slot adds to the score: the best holds the last operation everywhere.
fn toy(code: CellCode) -> f64 {
    20.0 - code.0.iter().map(|op| *op as usize as f64).sum::<f64>()
}

fn search<'a>(strategy: CellStrategy, evaluations: usize, allowed: &'a [bool]) -> CellSearch<'a> {
    CellSearch { strategy, evaluations, population: (10, 3), allowed }
}

#[test]
fn every_strategy_keeps_the_budget_counts_its_proposals_and_repeats() {
    let allowed: Vec<bool> = (0..CellCode::COUNT).map(|i| CellCode::from_index(i).flops(47) <= 60_000).collect();
    for strategy in ALL {
        let run = || {
            let mut asked = 0;
            let judge = async |code: CellCode| {
                assert!(allowed[code.index()], "{strategy:?} {code}");
                asked += 1;
                Ok(toy(code))
            };
            let log = ready(search(strategy, 30, &allowed).run(&mut rng(3, "toy"), judge)).expect("runs");
            (log, asked)
        };
        let (log, asked) = run();
        assert_eq!((log.len(), run().0), (30, log.clone()), "{strategy:?}");
        assert!(asked == 30 || strategy == CellStrategy::Reinforce && asked < 30);
        let best = cell_incumbents(&log);
        let worth: Vec<f64> = best.iter().map(|at| at.map_or(f64::INFINITY, |at| log[at].1)).collect();
        assert!(worth.is_sorted_by(|a, b| a >= b), "the best so far never gets worse");
    }
    let nothing = vec![false; CellCode::COUNT];
    let refused = ready(search(CellStrategy::Random, 3, &nothing).run(&mut rng(0, "toy"), async |code| Ok(toy(code))));
    assert!(refused.is_err_and(|error| error.to_string().contains("raise it")));
}

#[test]
fn what_looks_for_the_top_of_a_hill_finds_it() {
    let allowed = vec![true; CellCode::COUNT];
    for (strategy, evaluations, near) in [
        (CellStrategy::Local, 150, 0.0),
        (CellStrategy::Evolution, 400, 1.0),
        (CellStrategy::Predictor, 60, 0.0),
        (CellStrategy::Reinforce, 1500, 2.0),
    ] {
        let log = ready(search(strategy, evaluations, &allowed).run(&mut rng(1, "hill"), async |code| Ok(toy(code))));
        let best = log.expect("runs").iter().map(|one| one.1).fold(f64::INFINITY, f64::min);
        assert!(best <= near, "{strategy:?}: {best}");
    }
}

#[test]
fn chance_finds_what_a_formula_says() {
    let allowed = vec![true; CellCode::COUNT];
    let scores: Vec<f64> = (0..CellCode::COUNT).map(|i| toy(CellCode::from_index(i))).collect();
    let found: f64 = (0..600)
        .map(|seed| {
            let mut chance = rng(seed, "chance");
            let search = search(CellStrategy::Random, 10, &allowed);
            let one = search.run(&mut chance, async |code| Ok(toy(code)));
            ready(one).expect("runs").iter().map(|one| one.1).fold(f64::INFINITY, f64::min)
        })
        .sum::<f64>()
        / 600.0;
    assert!((found - best_of_random(&scores, 10)).abs() < 0.25, "{found}");
}

#[test]
fn a_training_repeats_and_learns() {
    let cx = context_with(Rc::new(FakeClock::real()), &["glyphs/glyphs.bin.gz"]);
    let images = ready(cell_images(&cx)).expect("shipped");
    assert_eq!([0, 1, 2].map(|i| images[i].len()), [12_063, 1_881, 6_908]);
    let glyphs = crate::data::Glyphs::read(&ready(cx.asset("glyphs/glyphs.bin.gz")).expect("shipped")).expect("glyphs");
    assert_eq!(cell_parts(&glyphs), images);
    let net = CellNet { code: CellCode::parse("mix-pw-skip-skip").expect("a code"), residual: true, classes: 47 };
    let run = || {
        let mut training = CellTraining::new(net, 30, images[0].len(), 4);
        ready(training.finish(&images[0], async || Ok(()))).expect("trains");
        training.step(&images[0]);
        assert_eq!(training.losses.len(), 30);
        training
    };
    let training = run();
    assert!(training.losses[29] < training.losses[0]);
    // Chance is 2 %.
    assert!(training.right(&images[1]) > 8.0);
    assert_eq!(training.weights, run().weights);
    let proxies = cell_proxies(net, &images[0], 0);
    assert!(proxies.gradient > 0.0 && proxies.snip > 0.0 && proxies.naswot.is_finite());
    assert_eq!(proxies, cell_proxies(net, &images[0], 0));
}

#[test]
fn a_table_comes_back_and_a_wrong_one_is_told() {
    let row = |i: usize| vec![i, i + 1, i + 2, i + 3];
    let counts: Vec<Vec<usize>> = (0..781).map(row).collect();
    let bytes = CellTable::write([1000, 2000], &counts);
    let table = CellTable::read(&bytes).expect("a table");
    assert_eq!((table.entries.len(), table.images), (781, [1000, 2000]));
    let entry = table.entry(CellCode::parse("skip-conv-skip-skip").expect("a code")).expect("an entry");
    assert_eq!(entry.code.to_string(), "conv-skip-skip-skip");
    let at = table.entries.iter().position(|one| one == entry).expect("its place");
    let flat: Vec<f64> = entry.chosen.iter().flatten().copied().collect();
    let right = [at, at + 1, at + 2].map(|count| 0.1 * count as f64);
    assert!(flat.len() == 3 && flat.iter().zip(right).all(|(a, b)| (a - b).abs() < 1e-9), "{flat:?}");
    assert!((entry.judged - 0.05 * (at + 3) as f64).abs() < 1e-9);
    for wrong in [&bytes[1..], &bytes[..bytes.len() - 2], &CellTable::write([10, 20], &counts)] {
        assert!(CellTable::read(wrong).is_err());
    }
}
