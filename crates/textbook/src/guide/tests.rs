use std::collections::BTreeSet;

use super::*;

fn catalogue() -> Catalogue {
    Catalogue::parse(include_str!("../../../../book/data/methods.toml")).expect("the shipped catalogue parses")
}

fn real() -> Guide {
    Guide::parse(include_str!("../../../../book/data/guide.toml"), &catalogue()).expect("the shipped guide is whole")
}

fn ids(guide: &Guide, setting: &Setting<'_>) -> Vec<String> {
    guide.rank(setting).iter().map(|ranked| ranked.technique.id.clone()).collect()
}

/// `parse` has checked every setting for contradictions and gaps.
#[test]
fn the_shipped_guide_knows_every_method_but_the_instruments() {
    let (guide, catalogue) = (real(), catalogue());
    let missing: Vec<&str> = catalogue
        .methods
        .iter()
        .map(|method| method.id.as_str())
        .filter(|id| !guide.techniques.iter().any(|technique| technique.id == *id && !technique.gains.is_empty()))
        .collect();
    assert_eq!(missing, ["profiling", "benchmarking", "roofline", "energy", "olympics"]);
    assert_eq!(guide.settings().len(), 5 * 3 * 3 * 5 * 3);
}

#[test]
fn what_deployments_chose_stands_among_the_first_three() {
    let guide = real();
    let text = include_str!("../../../../book/data/guide-scenarios.toml");
    let scenarios = scenarios(text, &guide).expect("the shipped scenarios parse");
    assert_eq!(scenarios.len(), 20);
    let missed: Vec<String> = scenarios
        .iter()
        .filter(|scenario| scenario.place(&guide).is_none_or(|place| place > FIRST))
        .map(|scenario| format!("{}: {} at {:?}", scenario.id, scenario.expected, scenario.place(&guide)))
        .collect();
    assert!(missed.len() <= 4, "{}", missed.join("\n"));
}

/// What a technique needs, whatever the rows say: the question, and the answers under which it may be recommended.
const NEEDS: &[(&[&str], &str, &[&str])] = &[
    (
        &[
            "qat",
            "distillation",
            "early-exit",
            "nas",
            "gradient-nas",
            "efficient-architectures",
            "ssm",
            "linear-attention",
        ],
        "when",
        &["retrain"],
    ),
    (&["kv-cache", "speculative-decoding", "ssm", "linear-attention", "moe", "scaling-laws"], "model", &["lm"]),
    (&["flash-attention"], "model", &["lm", "encoder"]),
    (&["efficient-architectures", "nas", "gradient-nas"], "model", &["vision"]),
    (&["speculative-decoding"], "binds", &["latency"]),
    (&["batching"], "binds", &["throughput", "energy"]),
    (&["early-exit"], "binds", &["throughput", "energy"]),
    (&["moe", "data-loading", "lr-schedules"], "binds", &["training-cost", "energy"]),
    (&["checkpointing"], "binds", &["memory"]),
    (&["pruning", "low-rank"], "hardware", &["server", "cluster", "desktop", "phone"]),
    (
        &["quantization", "qat", "pruning", "distillation", "low-rank", "nas", "ssm", "lora", "mixed-precision"],
        "quality",
        &["close", "loose"],
    ),
    (
        &[
            "mixed-precision",
            "checkpointing",
            "gradient-accumulation",
            "optimizers",
            "lora",
            "lr-schedules",
            "data-loading",
            "moe",
            "pipeline-parallelism",
            "distributed-training",
        ],
        "when",
        &["during"],
    ),
    (&["pipeline-parallelism", "distributed-training"], "hardware", &["cluster"]),
];

#[test]
fn nothing_is_recommended_where_its_needs_are_not_met() {
    let guide = real();
    for setting in guide.settings() {
        for id in ids(&guide, &setting) {
            for (_, axis, allowed) in NEEDS.iter().filter(|(of, ..)| of.contains(&id.as_str())) {
                assert!(allowed.contains(&setting[axis]), "{id} at {setting:?}");
            }
        }
    }
}

/// Whoever may do more is offered no less: the first technique of the stricter setting stands in the wider one too, and a
/// lower floor of quality takes nothing away.
#[test]
fn permission_only_adds() {
    let guide = real();
    for setting in guide.settings() {
        let with = |axis: &'static str, value: &'static str| {
            let mut setting = setting.clone();
            setting.insert(axis, value);
            ids(&guide, &setting)
        };
        if setting["when"] == "after"
            && let Some(first) = ids(&guide, &setting).first()
        {
            assert!(with("when", "retrain").contains(first), "{first} at {setting:?}");
        }
        let wider = match setting["quality"] {
            "exact" => with("quality", "close"),
            "close" => with("quality", "loose"),
            _ => continue,
        };
        for id in ids(&guide, &setting) {
            assert!(wider.contains(&id), "{id} at {setting:?}");
        }
    }
}

/// The bars of choosing-questions.svg.
#[test]
fn the_figure_of_the_five_questions_counts_what_the_guide_leaves() {
    let guide = real();
    let mut counts = vec![guide.techniques.len()];
    let path = [("binds", "memory"), ("when", "after"), ("model", "lm"), ("hardware", "phone"), ("quality", "close")];
    let mut setting = Setting::new();
    for (axis, value) in path {
        setting.insert(axis, value);
        counts.push(ids(&guide, &setting).into_iter().collect::<BTreeSet<_>>().len());
    }
    setting.insert("quality", "exact");
    counts.push(ids(&guide, &setting).len());
    assert_eq!(counts, [29, 18, 6, 5, 4, 4, 0]);
    let picture = include_str!("../../../../book/src/figures/choosing-questions.svg");
    for count in &counts[..6] {
        assert!(picture.contains(&format!("font-weight=\"600\">{count}</text>")), "{count}");
    }
}

/// The dots of choosing-effort.svg.
#[test]
fn the_figure_of_gain_and_effort_shows_rows_of_the_guide() {
    let guide = real();
    let setting = guide.setting("binds=memory&when=retrain&model=vision&hardware=micro&quality=close").expect("known");
    let found: Vec<(String, u8, u8)> =
        guide.rank(&setting).iter().map(|r| (r.technique.id.clone(), r.gain.size, r.gain.effort)).collect();
    let expected = [
        ("compilers", 3, 1),
        ("quantization", 3, 1),
        ("qat", 3, 2),
        ("efficient-architectures", 3, 3),
        ("nas", 3, 4),
        ("distillation", 1, 2),
    ];
    assert_eq!(found, expected.map(|(id, size, effort)| (id.to_owned(), size, effort)));
}

const SMALL: &str = r#"
[[axis]]
id = "binds"
question = "What?"
value = [{ id = "memory", words = "memory", short = "memory" }, { id = "latency", words = "time", short = "time" }]

[[technique]]
id = "quantization"
gain = [{ where = {}, size = 3, effort = 1, expect = "4 times", why = "bytes" }]

[[technique]]
id = "pruning"
gain = [{ where = { binds = ["memory"] }, size = 2, effort = 2, expect = "twice", why = "fewer" }]
"#;

#[test]
fn a_small_guide_ranks_by_points() {
    let guide = Guide::parse(SMALL, &catalogue()).expect("parses");
    let setting = guide.setting("binds=memory").expect("known");
    assert_eq!(ids(&guide, &setting), ["quantization", "pruning"]);
    assert_eq!(guide.rank(&setting)[0].points(), 5);
    assert_eq!(ids(&guide, &guide.setting("binds=latency").expect("known")), ["quantization"]);
    let (message, near) = guide.setting("binds=memry").expect_err("unknown");
    assert!(message.contains("memry") && near.as_deref() == Some("memory"), "{message} {near:?}");
    assert_eq!(guide.setting("bids=memory").expect_err("unknown").1.as_deref(), Some("binds"));
}

/// Each mistake is planted, and must be found.
#[test]
fn mistakes_are_told() {
    let small = |from: &str, to: &str| {
        assert!(SMALL.contains(from), "{from}");
        Guide::parse(&SMALL.replacen(from, to, 1), &catalogue()).expect_err("a mistake").1
    };
    let told = |message: String, part: &str| assert!(message.contains(part), "{message} lacks {part}");
    told(small("\"quantization\"", "\"quantisation\""), "did you mean “quantization”?");
    told(small("\"pruning\"", "\"quantization\""), "stands twice");
    told(small("size = 3", "size = 4"), "size of 1, 2 or 3");
    told(small("effort = 2", "effort = 5"), "0 to 4");
    told(small("why = \"bytes\"", "why = \" \""), "lacks what to expect, or why");
    told(small("binds = [\"memory\"]", "bind = [\"memory\"]"), "no question “bind”");
    told(small("binds = [\"memory\"]", "binds = [\"memry\"]"), "no answer to “binds”");
    told(small("where = {}", "where = { binds = [\"memory\"] }"), "no answer at binds=latency");
    told(
        small(
            "gain = [{ where = {}",
            "avoid = [{ where = { binds = [\"latency\"] }, why = \"no\" }]\ngain = [{ where = {}",
        ),
        "both recommended and avoided at binds=latency",
    );
    told(
        small(
            "gain = [{ where = {}",
            "gain = [{ where = {}, size = 1, effort = 0, expect = \"a\", why = \"b\" }, { where = {}",
        ),
        "gains twice",
    );
    let pair = |of: &str, kind: &str| format!("{SMALL}\n[[pair]]\nof = {of}\nkind = \"{kind}\"\nwhy = \"w\"\n");
    let both = r#"["quantization", "pruning"]"#;
    let parse = |text: &str| Guide::parse(text, &catalogue());
    assert!(parse(&pair(both, "multiply")).is_ok());
    told(parse(&pair(both, "compete")).expect_err("competes").1, "compete, and both are recommended at binds=memory");
    told(parse(&pair(r#"["quantization", "lora"]"#, "order")).expect_err("unknown").1, "no technique of the guide");
    let twice = format!(
        "{}[[pair]]\nof = [\"pruning\", \"quantization\"]\nkind = \"order\"\nwhy = \"w\"\n",
        pair(both, "order")
    );
    told(parse(&twice).expect_err("twice").1, "stands twice");
}

#[test]
fn a_scenario_answers_every_question() {
    let guide = Guide::parse(SMALL, &catalogue()).expect("parses");
    let scenario = |setting: &str, expected: &str| {
        format!(
            "[[scenario]]\nid = \"a\"\nwords = \"w\"\nsetting = \"{setting}\"\nexpected = \"{expected}\"\nsource = \"s\"\n"
        )
    };
    let all = scenarios(&scenario("binds=memory", "pruning"), &guide).expect("parses");
    assert_eq!(all[0].place(&guide), Some(2));
    assert!(scenarios(&scenario("", "pruning"), &guide).expect_err("open").1.contains("leaves a question open"));
    assert!(scenarios(&scenario("binds=memory", "lora"), &guide).expect_err("unknown").1.contains("no technique"));
}
