//! The decision guide: from what binds to the techniques worth trying, in order, with what to leave alone.
//!
//! `guide.toml` holds the questions and the rows. A row holds where its conditions hold, and its place follows from two numbers
//! that readers can check: how much the technique gains there, and how much work it takes. So a page can list every row once, in
//! order, and choosing is leaving out: the table that a reader sees without JavaScript is the whole guide.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::{catalogue::Catalogue, problem::near};

/// `guide.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Guide {
    /// The questions, in the order in which they are asked.
    #[serde(default, rename = "axis")]
    pub(crate) axes: Vec<Axis>,
    #[serde(default, rename = "technique")]
    pub(crate) techniques: Vec<Technique>,
    /// What to say where the guide has little or nothing to offer.
    #[serde(default, rename = "note")]
    pub(crate) notes: Vec<Note>,
    #[serde(default, rename = "pair")]
    pub(crate) pairs: Vec<Pair>,
}

/// One question.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Axis {
    pub(crate) id: String,
    pub(crate) question: String,
    #[serde(rename = "value")]
    pub(crate) values: Vec<Value>,
}

/// One answer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Value {
    pub(crate) id: String,
    /// As the question offers it.
    pub(crate) words: String,
    /// As a table names it.
    pub(crate) short: String,
}

/// For each question the answers under which a row holds; a question that is not named does not matter.
pub(crate) type Conditions = BTreeMap<String, Vec<String>>;

/// One answer to each question.
pub(crate) type Setting<'a> = BTreeMap<&'a str, &'a str>;

/// A method of the catalogue, as the guide recommends it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Technique {
    pub(crate) id: String,
    #[serde(default, rename = "gain")]
    pub(crate) gains: Vec<Gain>,
    #[serde(default, rename = "avoid")]
    pub(crate) avoid: Vec<Note>,
}

/// What a technique gains somewhere.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Gain {
    #[serde(rename = "where")]
    pub(crate) conditions: Conditions,
    /// 1 below one and a half times, 2 up to three times, 3 beyond; by the lower end of what is published.
    pub(crate) size: u8,
    /// 0 a setting, 1 an afternoon, 2 a training run, 3 another network, 4 a search for one.
    pub(crate) effort: u8,
    /// The number, with model, baseline and source. Markdown.
    pub(crate) expect: String,
    pub(crate) why: String,
}

/// Words for some settings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Note {
    #[serde(rename = "where")]
    pub(crate) conditions: Conditions,
    pub(crate) why: String,
}

/// What two techniques do to each other.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pair {
    pub(crate) of: [String; 2],
    pub(crate) kind: PairKind,
    pub(crate) why: String,
}

/// How two techniques go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PairKind {
    /// They save different things: both gains remain.
    Multiply,
    /// They save some of the same: less than both gains remains.
    Overlap,
    /// One takes away what the other lives on.
    Compete,
    /// Both, but the first before the second.
    Order,
}

impl PairKind {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Multiply => "multiply",
            Self::Overlap => "overlap",
            Self::Compete => "compete",
            Self::Order => "in this order",
        }
    }
}

/// A technique in its place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ranked<'a> {
    pub(crate) technique: &'a Technique,
    pub(crate) gain: &'a Gain,
}

impl Ranked<'_> {
    /// Twice the size of the gain less the effort: what decides the order.
    pub(crate) fn points(self) -> i32 {
        2 * i32::from(self.gain.size) - i32::from(self.gain.effort)
    }
}

/// How many of a list a reader is expected to look at.
pub(crate) const FIRST: usize = 3;

const SIZES: std::ops::RangeInclusive<u8> = 1..=3;
const EFFORTS: [&str; 5] = ["a setting", "an afternoon", "a training run", "another network", "a search"];

/// What an effort is called.
pub(crate) fn effort_words(effort: u8) -> &'static str {
    EFFORTS.get(usize::from(effort)).copied().unwrap_or_default()
}

/// Whether a row's conditions hold; a question that the setting leaves open holds.
pub(crate) fn holds(conditions: &Conditions, setting: &Setting<'_>) -> bool {
    conditions.iter().all(|(axis, values)| {
        setting.get(axis.as_str()).is_none_or(|chosen| values.iter().any(|value| value == chosen))
    })
}

impl Guide {
    /// Reads the file and checks it against the catalogue and itself.
    ///
    /// # Errors
    /// `(line, message)` where it does not parse, names what does not exist, contradicts itself, or leaves a setting without an answer.
    pub(crate) fn parse(text: &str, catalogue: &Catalogue) -> Result<Self, (usize, String)> {
        let line = |at: usize| 1 + text[..at.min(text.len())].matches('\n').count();
        let guide: Self = toml::from_str(text).map_err(|error| {
            let message = error.message().lines().next().unwrap_or_default();
            (error.span().map_or(1, |span| line(span.start)), format!("the guide does not parse ({message})"))
        })?;
        let at = |id: &str| line(text.find(&format!("id = \"{id}\"")).unwrap_or(0));
        guide.check(catalogue).map_err(|(id, message)| (at(&id), message))?;
        Ok(guide)
    }

    /// What is wrong, and the id of the row at fault.
    fn check(&self, catalogue: &Catalogue) -> Result<(), (String, String)> {
        self.check_names(catalogue)?;
        for setting in self.settings() {
            self.check_setting(&setting)?;
        }
        Ok(())
    }

    fn check_names(&self, catalogue: &Catalogue) -> Result<(), (String, String)> {
        let mut seen = BTreeSet::new();
        for technique in &self.techniques {
            let id = technique.id.as_str();
            let fail = |message: String| Err((id.to_owned(), message));
            if !catalogue.methods.iter().any(|method| method.id == id) {
                let near = near(id, catalogue.methods.iter().map(|method| method.id.as_str()));
                let hint = near.map_or_else(String::new, |near| format!("; did you mean “{near}”?"));
                return fail(format!("the catalogue has no method “{id}”{hint}"));
            }
            if !seen.insert(id) {
                return fail(format!("the technique “{id}” stands twice"));
            }
            for gain in &technique.gains {
                if !SIZES.contains(&gain.size) {
                    return fail(format!("a gain of “{id}” has a size of 1, 2 or 3"));
                }
                if usize::from(gain.effort) >= EFFORTS.len() {
                    return fail(format!("an effort of “{id}” is one of 0 to {}", EFFORTS.len() - 1));
                }
                if gain.expect.trim().is_empty() || gain.why.trim().is_empty() {
                    return fail(format!("a gain of “{id}” lacks what to expect, or why"));
                }
            }
            let conditions = technique.gains.iter().map(|gain| &gain.conditions);
            for conditions in conditions.chain(technique.avoid.iter().map(|note| &note.conditions)) {
                self.check_conditions(conditions).map_err(|message| (id.to_owned(), format!("“{id}”: {message}")))?;
            }
        }
        for note in &self.notes {
            self.check_conditions(&note.conditions).map_err(|message| (String::new(), format!("a note: {message}")))?;
        }
        let mut pairs = BTreeSet::new();
        for pair in &self.pairs {
            let [a, b] = &pair.of;
            let fail = |message: String| Err((a.clone(), message));
            if let Some(unknown) = pair.of.iter().find(|id| !seen.contains(id.as_str())) {
                return fail(format!("a pair names “{unknown}”, which is no technique of the guide"));
            }
            if a == b || !pairs.insert((a.min(b), a.max(b))) {
                return fail(format!("the pair of “{a}” and “{b}” stands twice"));
            }
        }
        Ok(())
    }

    fn check_conditions(&self, conditions: &Conditions) -> Result<(), String> {
        for (id, values) in conditions {
            let Some(axis) = self.axes.iter().find(|axis| axis.id == *id) else {
                return Err(format!("there is no question “{id}”"));
            };
            for value in values {
                if !axis.values.iter().any(|known| known.id == *value) {
                    return Err(format!("“{value}” is no answer to “{id}”"));
                }
            }
            if values.is_empty() {
                return Err(format!("“{id}” allows no answer"));
            }
        }
        Ok(())
    }

    fn check_setting(&self, setting: &Setting<'_>) -> Result<(), (String, String)> {
        let address = address(setting);
        for technique in &self.techniques {
            let id = &technique.id;
            let gains = technique.gains.iter().filter(|gain| holds(&gain.conditions, setting)).count();
            let avoided = technique.avoid.iter().any(|note| holds(&note.conditions, setting));
            if gains > 1 {
                return Err((id.clone(), format!("“{id}” gains twice at {address}")));
            }
            if gains > 0 && avoided {
                return Err((id.clone(), format!("“{id}” is both recommended and avoided at {address}")));
            }
        }
        let ranked = self.rank(setting);
        if ranked.is_empty() && !self.notes.iter().any(|note| holds(&note.conditions, setting)) {
            return Err((String::new(), format!("the guide has no answer at {address}")));
        }
        let first: Vec<&str> = ranked.iter().take(FIRST).map(|ranked| ranked.technique.id.as_str()).collect();
        for pair in self.pairs.iter().filter(|pair| pair.kind == PairKind::Compete) {
            let [a, b] = &pair.of;
            if first.contains(&a.as_str()) && first.contains(&b.as_str()) {
                return Err((a.clone(), format!("“{a}” and “{b}” compete, and both are recommended at {address}")));
            }
        }
        Ok(())
    }

    /// Every setting there is.
    pub(crate) fn settings(&self) -> Vec<Setting<'_>> {
        let mut all = vec![Setting::new()];
        for axis in &self.axes {
            all = all
                .iter()
                .flat_map(|setting| {
                    axis.values.iter().map(|value| {
                        let mut setting = setting.clone();
                        setting.insert(axis.id.as_str(), value.id.as_str());
                        setting
                    })
                })
                .collect();
        }
        all
    }

    /// The techniques for a setting, best first: by points, then by less effort, then in the order of the file.
    pub(crate) fn rank(&self, setting: &Setting<'_>) -> Vec<Ranked<'_>> {
        let mut ranked: Vec<Ranked<'_>> = self
            .techniques
            .iter()
            .flat_map(|technique| technique.gains.iter().map(move |gain| Ranked { technique, gain }))
            .filter(|ranked| holds(&ranked.gain.conditions, setting))
            .collect();
        ranked.sort_by_key(|ranked| (-ranked.points(), ranked.gain.effort));
        ranked
    }

    /// Reads `binds=memory&hardware=phone`.
    ///
    /// # Errors
    /// What the guide does not know, and the nearest that it does.
    pub(crate) fn setting<'a>(&self, query: &'a str) -> Result<Setting<'a>, (String, Option<String>)> {
        let mut setting = Setting::new();
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (id, value) = part.split_once('=').unwrap_or((part, ""));
            let Some(axis) = self.axes.iter().find(|axis| axis.id == id) else {
                let near = near(id, self.axes.iter().map(|axis| axis.id.as_str()));
                return Err((format!("the guide asks no question “{id}”"), near));
            };
            if !axis.values.iter().any(|known| known.id == value) {
                let near = near(value, axis.values.iter().map(|known| known.id.as_str()));
                return Err((format!("“{value}” is no answer to “{id}”"), near));
            }
            setting.insert(id, value);
        }
        Ok(setting)
    }
}

/// A setting as a link writes it.
fn address(setting: &Setting<'_>) -> String {
    let parts: Vec<String> = setting.iter().map(|(axis, value)| format!("{axis}={value}")).collect();
    parts.join("&")
}

/// A deployment that somebody has described, and what was chosen there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    pub(crate) id: String,
    pub(crate) words: String,
    pub(crate) setting: String,
    pub(crate) expected: String,
    /// A key of the bibliography.
    pub(crate) source: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenarios {
    #[serde(default)]
    scenario: Vec<Scenario>,
}

/// `guide-scenarios.toml`.
///
/// # Errors
/// `(line, message)` where it does not parse or asks the guide for what it does not know.
pub(crate) fn scenarios(text: &str, guide: &Guide) -> Result<Vec<Scenario>, (usize, String)> {
    let line = |at: usize| 1 + text[..at.min(text.len())].matches('\n').count();
    let all: Scenarios = toml::from_str(text).map_err(|error| {
        let message = error.message().lines().next().unwrap_or_default();
        (error.span().map_or(1, |span| line(span.start)), format!("the scenarios do not parse ({message})"))
    })?;
    for scenario in &all.scenario {
        let at = line(text.find(&format!("id = \"{}\"", scenario.id)).unwrap_or(0));
        let setting = guide.setting(&scenario.setting).map_err(|(message, _)| (at, message))?;
        if setting.len() != guide.axes.len() {
            return Err((at, format!("the scenario “{}” leaves a question open", scenario.id)));
        }
        if !guide.techniques.iter().any(|technique| technique.id == scenario.expected) {
            return Err((at, format!("“{}” is no technique of the guide", scenario.expected)));
        }
    }
    Ok(all.scenario)
}

impl Scenario {
    /// The place of what was chosen, from 1; `None` where the guide does not list it.
    pub(crate) fn place(&self, guide: &Guide) -> Option<usize> {
        let setting = guide.setting(&self.setting).ok()?;
        guide.rank(&setting).iter().position(|ranked| ranked.technique.id == self.expected).map(|at| at + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue() -> Catalogue {
        Catalogue::parse(include_str!("../../../book/data/methods.toml")).expect("the shipped catalogue parses")
    }

    fn real() -> Guide {
        Guide::parse(include_str!("../../../book/data/guide.toml"), &catalogue()).expect("the shipped guide is whole")
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
        let text = include_str!("../../../book/data/guide-scenarios.toml");
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
        let path =
            [("binds", "memory"), ("when", "after"), ("model", "lm"), ("hardware", "phone"), ("quality", "close")];
        let mut setting = Setting::new();
        for (axis, value) in path {
            setting.insert(axis, value);
            counts.push(ids(&guide, &setting).into_iter().collect::<BTreeSet<_>>().len());
        }
        setting.insert("quality", "exact");
        counts.push(ids(&guide, &setting).len());
        assert_eq!(counts, [29, 18, 6, 5, 4, 4, 0]);
        let picture = include_str!("../../../book/src/figures/choosing-questions.svg");
        for count in &counts[..6] {
            assert!(picture.contains(&format!("font-weight=\"600\">{count}</text>")), "{count}");
        }
    }

    /// The dots of choosing-effort.svg.
    #[test]
    fn the_figure_of_gain_and_effort_shows_rows_of_the_guide() {
        let guide = real();
        let setting =
            guide.setting("binds=memory&when=retrain&model=vision&hardware=micro&quality=close").expect("known");
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
        told(
            parse(&pair(both, "compete")).expect_err("competes").1,
            "compete, and both are recommended at binds=memory",
        );
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
}
