//! A setting is a link: `?lab=quantization&bits=4&seed=7&device=cpu`.

use serde::{Deserialize, Serialize};

use crate::{BadParam, ParamKind, ParamSpec, Validated, Values, param::value_text, validate};

/// Words of the query string that are never a parameter.
pub const RESERVED: [&str; 5] = ["lab", "seed", "device", "highlight", "search"];

/// Where to run; the same words in the widget, the link and on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceChoice {
    /// WebGPU where it is real, the CPU elsewhere: in the page only an adapter that is hardware counts, on the command
    /// line whichever answers.
    #[default]
    Auto,
    /// WebGPU (natively: Vulkan, Metal or DX12).
    Webgpu,
    /// The processor.
    Cpu,
}

impl DeviceChoice {
    /// Every choice, in the order shown.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Webgpu, Self::Cpu];

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Webgpu => "webgpu",
            Self::Cpu => "cpu",
        }
    }

    /// Reads the word.
    ///
    /// # Errors
    /// Names the offending text and the three words.
    pub fn parse(text: &str) -> Result<Self, BadParam> {
        Self::ALL
            .into_iter()
            .find(|choice| choice.word() == text)
            .ok_or_else(|| BadParam {
                name: "device".into(), why: format!("“{text}” is not one of auto, webgpu, cpu")
            })
    }
}

/// What a link asks of one lab.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// Every parameter, valid.
    pub values: Values,
    /// Seed of the generator; 0 unless given.
    pub seed: u64,
    /// Where to run.
    pub device: DeviceChoice,
    /// What was refused, for display beside the controls.
    pub problems: Vec<BadParam>,
}

impl Link {
    /// Reads decoded query pairs for the lab `id`. Pairs count only when `lab` names this lab (or is absent and the
    /// page decides); what is unknown or out of range is reported and replaced by its default.
    pub fn read(specs: &[ParamSpec], pairs: &[(&str, &str)]) -> Self {
        let (mut seed, mut device, mut problems, mut raw) = (0, DeviceChoice::Auto, Vec::new(), Vec::new());
        for &(name, text) in pairs {
            match name {
                "seed" => match text.parse() {
                    // JSON numbers are doubles in a browser: beyond 2^53 a seed would silently change.
                    Ok(number) if number <= 1 << 53 => seed = number,
                    _ => problems.push(BadParam {
                        name: "seed".into(),
                        why: format!("“{text}” is not a whole number from 0 to {}", 1_u64 << 53),
                    }),
                },
                "device" => match DeviceChoice::parse(text) {
                    Ok(choice) => device = choice,
                    Err(problem) => problems.push(problem),
                },
                reserved if RESERVED.contains(&reserved) => {}
                file if !text.is_empty() && specs.iter().any(|spec| spec.name == file && is_file(spec)) => {
                    let why = "a file never comes with a link; choose it on this device".into();
                    problems.push(BadParam { name: file.to_owned(), why });
                }
                _ => raw.push((name, text)),
            }
        }
        let Validated { values, problems: refused } = validate(specs, raw);
        problems.extend(refused);
        Self { values, seed, device, problems }
    }

    /// The pairs of a link to this setting; what is at its default is left out.
    #[must_use]
    pub fn pairs(
        lab: &str,
        specs: &[ParamSpec],
        values: &Values,
        seed: u64,
        device: DeviceChoice,
    ) -> Vec<(String, String)> {
        let mut pairs = vec![("lab".to_owned(), lab.to_owned())];
        for spec in specs {
            if let Some(value) = values.get(&spec.name)
                && *value != spec.default_value()
                && !is_file(spec)
            {
                pairs.push((spec.name.clone(), value_text(value)));
            }
        }
        if seed != 0 {
            pairs.push(("seed".into(), seed.to_string()));
        }
        if device != DeviceChoice::Auto {
            pairs.push(("device".into(), device.word().into()));
        }
        pairs
    }
}

/// A link leaves the device, a file does not.
fn is_file(spec: &ParamSpec) -> bool {
    matches!(spec.kind, ParamKind::File { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str, kind: ParamKind) -> ParamSpec {
        let label = name.to_owned();
        ParamSpec { name: name.into(), label, help: String::new(), unit: None, kind, enabled_when: None }
    }

    fn specs() -> Vec<ParamSpec> {
        vec![spec("steps", ParamKind::Integer { default: 10, min: 1, max: 99, step: 1 })]
    }

    #[test]
    fn a_link_neither_names_a_file_nor_takes_one() {
        let specs = [spec("weights", ParamKind::File { accept: ".bin".into() })];
        let link = Link::read(&specs, &[("weights", "/etc/passwd")]);
        assert!(link.problems[0].why.contains("choose it on this device"), "{:?}", link.problems);
        assert_eq!(link.values["weights"], "");
        let chosen = Values::from([("weights".to_owned(), "a.bin".into())]);
        assert_eq!(Link::pairs("x", &specs, &chosen, 0, DeviceChoice::Auto).len(), 1);
    }

    #[test]
    fn a_link_survives_the_round_trip() {
        let pairs =
            [("lab", "x"), ("steps", "20"), ("seed", "7"), ("device", "cpu"), ("highlight", "word"), ("search", "w")];
        let link = Link::read(&specs(), &pairs);
        assert_eq!(link.problems, []);
        assert_eq!((link.seed, link.device), (7, DeviceChoice::Cpu));
        let again = Link::pairs("x", &specs(), &link.values, link.seed, link.device);
        let again: Vec<(&str, &str)> = again.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(again, &pairs[..4]);
    }

    #[test]
    fn hostile_links_are_reported_and_ignored() {
        let link = Link::read(&specs(), &[("seed", "-1"), ("device", "gpu"), ("steps", "1e9"), ("<script>", "1")]);
        assert_eq!(link.problems.len(), 4);
        assert_eq!(link.values["steps"], 10);
        assert_eq!(link.seed, 0);
    }
}
