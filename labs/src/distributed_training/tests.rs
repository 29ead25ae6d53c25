use std::rc::Rc;

use lab_kit::testing::{FakeClock, context_with, ready};

use super::*;

const ASSETS: [&str; 2] = ["corpus/train.txt.gz", "corpus/test.txt.gz"];

fn run(params: Params) -> Report {
    let mut cx = context_with(Rc::new(FakeClock::real()), &ASSETS);
    let report = ready(DistributedTraining::run(params, &mut cx)).expect("runs");
    report.check().expect("sound");
    report
}

fn value(report: &Report, id: &str) -> f64 {
    report.metric(id).unwrap_or_else(|| panic!("{id} is reported")).value
}

#[test]
fn counts_are_those_on_paper() {
    let report = run(Params { steps: 2, ..Params::default() });
    // 97 letters, 64 channels, keys of 32, four taps: 6,208 weights of the embedding, 12,800 of each layer, 6,208 of the head.
    let weights = (2 * 6208 + 6 * 12_800) as f64;
    let layer = 12_800.0;
    let right = [16.0 * weights, 10.0 * weights, 7.0 * weights + 4.0 * layer, 4.0 * weights + 8.0 * layer];
    for (id, right) in arms::IDS.iter().zip(right) {
        assert!((value(&report, &format!("held_{id}")) - right / 1e6).abs() < 1e-9, "{id}");
    }
    // Six turns of a quarter, and three messages of loss and count; ZeRO exchanges a length too.
    assert!((value(&report, "bytes_ddp") - (6.0 * weights + 24.0) / 1e6).abs() < 1e-9);
    assert!((value(&report, "bytes_zero3") - (9.0 * weights + 36.0) / 1e6).abs() < 1e-9);
    assert_eq!(value(&report, "messages_ddp"), 8.0 * 6.0 + 3.0);
    assert!((value(&report, "sent_zero3") - 150.0).abs() < 0.01);
    assert_eq!(value(&report, "equal_bits"), 3.0);
    assert!(value(&report, "arrival") > 0.0 && value(&report, "from_one") > 0.0);
    assert_eq!(value(&report, "real_zero1"), 31.40625);
    assert_eq!(report.charts[0].id, "held");
}

#[test]
fn a_slow_link_slows_and_simulated_workers_are_never_more_than_they_are() {
    let speeds: Vec<f64> = [LinkChoice::Node, LinkChoice::Rack, LinkChoice::Office, LinkChoice::Home]
        .into_iter()
        .map(|link| value(&run(Params { link, stage: StageChoice::Ddp, ..DistributedTraining::smoke() }), "speed_ddp"))
        .collect();
    assert!(speeds[0] <= 2.0 + 1e-9 && speeds[3] < 0.1, "{speeds:?}");
    assert!(speeds[0] > speeds[2] && speeds[2] > speeds[3], "{speeds:?}");
}

#[test]
fn every_exchange_runs_and_is_counted() {
    let sent = |exchange| {
        let params = Params { exchange, local_steps: 2, share: 1.0, steps: 4, ..DistributedTraining::smoke() };
        let report = run(params);
        assert!(value(&report, "loss_other") < 5.5, "{exchange:?}");
        assert!(report.notes.iter().any(|note| note.contains("few steps")));
        value(&report, "sent_other")
    };
    // Weights after every second step, without loss and count; places and numbers of a hundredth.
    for exchange in [Exchange::Local, Exchange::Outer] {
        assert!((sent(exchange) - 50.0).abs() < 0.1);
    }
    for exchange in [Exchange::Largest, Exchange::Forgetful] {
        assert!((1.9..2.3).contains(&sent(exchange)));
    }
}

#[test]
fn unequal_shares_bend_a_mean_of_means_and_nothing_else() {
    let report = run(Params { workers: 3, windows: 4, batch: Batch::Total, ..DistributedTraining::smoke() });
    assert!(value(&report, "means_apart") > 1.0);
    assert!(value(&report, "from_one") < 1e5 && value(&report, "equal_bits") == 3.0);
    let equal = run(Params { workers: 2, windows: 4, batch: Batch::Total, ..DistributedTraining::smoke() });
    assert!(equal.metric("means_apart").is_none());
}

#[test]
fn one_worker_sends_nothing() {
    let report = run(Params { workers: 1, ..DistributedTraining::smoke() });
    assert_eq!(value(&report, "bytes_zero3"), 0.0);
    assert_eq!(value(&report, "from_one"), 0.0);
    assert!(report.metric("sent_zero2").is_none());
    assert!(report.notes.iter().any(|note| note.contains("nobody")));
}

#[test]
fn a_worker_without_text_is_named() {
    let params = Params { workers: 4, windows: 3, batch: Batch::Total, ..Params::default() };
    match params.shares() {
        Err(LabError::BadParam(BadParam { name, why })) => {
            assert_eq!(name, "windows");
            assert!(why.contains("worker 4 would have no text"), "{why}");
        }
        other => panic!("{other:?}"),
    }
    let shares = Params { windows: 7, ..params }.shares().expect("enough");
    assert_eq!(shares.iter().sum::<usize>(), 7);
    assert!(shares.iter().all(|share| (1..=2).contains(share)));
}
