use std::rc::Rc;

use lab_kit::{
    olympics::format_line,
    testing::{FakeClock, context_with, ready},
};

use super::*;

const ASSETS: [&str; 8] = [
    "language/lm.safetensors",
    "language/draft.safetensors",
    "corpus/tokenizer.json",
    "corpus/validation.txt.gz",
    "corpus/test.txt.gz",
    "glyphs/glyphs.bin.gz",
    "glyphs/teacher.safetensors",
    "glyphs/small.safetensors",
];

fn cx() -> Context {
    context_with(Rc::new(FakeClock::real()), &ASSETS)
}

fn run(params: Params) -> Report {
    let report = ready(Olympics::run(params, &mut cx())).expect("runs");
    report.check().expect("sound");
    report
}

fn value(report: &Report, id: &str) -> f64 {
    report.metric(id).unwrap_or_else(|| panic!("{id} is reported")).value
}

fn with(presets: [Preset; 6]) -> Params {
    let [step_1, step_2, step_3, step_4, step_5, step_6] = presets;
    Params { step_1, step_2, step_3, step_4, step_5, step_6, ..Params::default() }
}

const NOTHING: Preset = Preset::Nothing;

#[test]
fn an_entry_without_steps_is_the_baseline() {
    let report = run(with([NOTHING; 6]));
    for id in ["ratio_file", "ratio_memory", "ratio_energy"] {
        assert_eq!(value(&report, id), 1.0, "{id}");
    }
    assert_eq!((value(&report, "loss"), value(&report, "gate_upper"), value(&report, "ranked")), (0.0, 0.0, 1.0));
    assert_eq!(value(&report, "baseline_bytes"), 8_461_056.0);
}

#[test]
fn the_reference_entry_is_smaller_and_within_the_floor_and_its_bars_add_up() {
    let report = run(Params::default());
    let file = value(&report, "ratio_file");
    assert!((9.0..10.0).contains(&file), "{file}");
    assert_eq!(value(&report, "findings"), 0.0);
    assert!(value(&report, "loss") > 0.0 && value(&report, "loss") < 1.5);
    assert!(value(&report, "same_tokens") >= 11.0);
    assert_eq!(report.charts[0].id, "waterfall");
    let lab_api::ChartBody::Bar { series, .. } = &report.charts[1].body else { panic!("bars") };
    assert!((series[0].values.iter().sum::<f64>() - file.log2()).abs() < 1e-9);
    // A batch changes no byte of the file, and a code none of the memory.
    assert_eq!((series[0].values[2], series[0].values[3]), (0.0, 0.0));
}

#[test]
fn steps_that_commute_change_nothing_that_is_exact() {
    let [a, b] = [[Preset::Int4, Preset::Entropy, Preset::Cache], [Preset::Cache, Preset::Int4, Preset::Entropy]]
        .map(|[one, two, three]| run(with([one, two, three, NOTHING, NOTHING, NOTHING])));
    for id in ["ratio_file", "ratio_memory", "ratio_energy", "loss", "gate_upper"] {
        assert_eq!(value(&a, id), value(&b, id), "{id}");
    }
}

#[test]
fn the_classifier_plays_by_the_same_rules() {
    let open = Params {
        subject: Entered::Classifier,
        division: Division::Open,
        ..with([Preset::Prune25, Preset::Int4, Preset::Entropy, Preset::Exit, Preset::Batch8, NOTHING])
    };
    let report = run(open.clone());
    assert!(value(&report, "ratio_file") > 4.0);
    assert!((50.0..100.0).contains(&value(&report, "quality")));
    assert_eq!(value(&report, "findings"), 0.0);
    let closed = run(Params { division: Division::Closed, ..open });
    assert_eq!((value(&closed, "findings"), value(&closed, "ranked")), (2.0, 0.0));
    assert_eq!(value(&closed, "ratio_file"), value(&report, "ratio_file"));
}

#[test]
fn what_cannot_be_is_refused_at_its_step() {
    let refused = |params: Params| match ready(Olympics::run(params, &mut cx())) {
        Err(LabError::BadParam(bad)) => (bad.name, bad.why),
        other => panic!("{:?}", other.map(|_| "ran")),
    };
    let (name, why) = refused(with([Preset::Entropy, Preset::Int4, NOTHING, NOTHING, NOTHING, NOTHING]));
    assert!(name == "step_1" && why.contains("no codes"), "{name} {why}");
    let (name, _) = refused(with([NOTHING, Preset::Int4, NOTHING, Preset::Int8, NOTHING, NOTHING]));
    assert_eq!(name, "step_4");
    let (name, why) = refused(Params {
        subject: Entered::Classifier,
        ..with([Preset::Int4, Preset::Cache, NOTHING, NOTHING, NOTHING, NOTHING])
    });
    assert!(name == "step_2" && why.contains("writes no tokens"), "{name} {why}");
}

#[test]
fn a_set_keeps_what_can_stand_alone() {
    let steps = with([Preset::Int4, Preset::Entropy, Preset::Cache, Preset::Batch8, Preset::Draft, NOTHING])
        .steps()
        .expect("fits");
    let of = |set| format_line(&possible(&steps, set, EntrySubject::Language));
    assert_eq!(of(0b0010), "");
    assert_eq!(of(0b0011), "quantize:4,channel>entropy");
    assert_eq!(of(0b10100), "cache:32>draft:3");
    assert_eq!(of(0b11000), "batch:8");
}

#[test]
fn every_preset_is_a_step_that_a_line_can_say() {
    use lab_kit::olympics::parse_line;
    for preset in [
        Preset::Int8,
        Preset::Int4Groups,
        Preset::Levels13Gptq,
        Preset::Levels11,
        Preset::Int3Gptq,
        Preset::LowRank,
        Preset::RecoverLong,
        Preset::Student,
        Preset::Cache4,
        Preset::Window,
        Preset::Exit,
        Preset::Batch16,
    ] {
        let step = preset.step().expect("something");
        assert_eq!(parse_line(&step.line()).expect("known"), [step]);
    }
}

#[test]
fn small_caches_drafts_factors_and_crowds_run() {
    for presets in [
        [Preset::LowRank, Preset::Int4, Preset::Cache, Preset::Draft, NOTHING, NOTHING],
        [Preset::Prune50, Preset::Cache8, NOTHING, NOTHING, NOTHING, NOTHING],
        [Preset::Student, Preset::Int8, Preset::Window, NOTHING, NOTHING, NOTHING],
    ] {
        let params = Params { division: Division::Open, ..with(presets) };
        if presets[0] == Preset::Student {
            let why = ready(Olympics::run(params, &mut cx())).expect_err("refused").to_string();
            assert!(why.contains("cache:32"), "{why}");
            continue;
        }
        assert!(value(&run(params), "ratio_file") > 1.0);
    }
    let crowd =
        run(Params { workload: Workload::W3, step_3: Preset::Cache, step_4: Preset::Batch8, ..Olympics::smoke() });
    assert!(value(&crowd, "ratio_throughput") > 1.0);
    let sets = run(Params {
        timeline: Timeline::Shapley,
        ..with([Preset::Int4, Preset::Cache, NOTHING, NOTHING, NOTHING, NOTHING])
    });
    assert!(sets.charts[1].title.contains("all orders"));
}
