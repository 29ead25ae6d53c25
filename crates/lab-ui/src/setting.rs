//! What the reader has set, and how it stands in a link.

use lab_api::{DeviceChoice, Link, ParamSpec, Values, value_text};

/// A file of the reader: the browser's handle. Natively there is none, and words take its place in tests.
#[cfg(target_family = "wasm")]
pub(crate) type File = web_sys::File;
#[cfg(not(target_family = "wasm"))]
pub(crate) type File = String;

/// The reader's files by the parameter they belong to.
pub(crate) type Files = Vec<(String, File)>;

/// The controls' values: all that decides a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// Every parameter, valid.
    pub values: Values,
    /// Seed of the generator.
    pub seed: u64,
    /// Where to run.
    pub device: DeviceChoice,
    /// What belongs to values that are names of files. Two files of one name are two settings.
    pub files: Files,
}

impl Setting {
    /// Everything at its default.
    #[must_use]
    pub fn default_of(specs: &[ParamSpec]) -> Self {
        Self::of(Link::read(specs, &[]))
    }

    fn of(link: Link) -> Self {
        Self { values: link.values, seed: link.seed, device: link.device, files: Files::new() }
    }

    /// What the page's query asks of this lab, and what of it was refused, by name. A query that names another lab, or
    /// none, asks nothing.
    #[must_use]
    pub fn from_query(lab: &str, specs: &[ParamSpec], pairs: &[(String, String)]) -> (Self, Vec<(String, String)>) {
        if !pairs.iter().any(|(name, value)| name == "lab" && value == lab) {
            return (Self::default_of(specs), Vec::new());
        }
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let link = Link::read(specs, &pairs);
        let problems = link.problems.iter().map(|p| (p.name.clone(), with_default(specs, &p.name, &p.why))).collect();
        (Self::of(link), problems)
    }

    /// Takes the file of a parameter, or does without one.
    pub(crate) fn take_file(&mut self, name: &str, file: Option<File>) {
        self.files.retain(|(of, _)| of != name);
        if let Some(file) = file {
            self.files.push((name.to_owned(), file));
        }
    }

    /// The pairs of a link to this setting; what is at its default is left out.
    #[must_use]
    pub fn pairs(&self, lab: &str, specs: &[ParamSpec]) -> Vec<(String, String)> {
        Link::pairs(lab, specs, &self.values, self.seed, self.device)
    }

    /// Whether a control matters under these values.
    #[must_use]
    pub fn enabled(&self, spec: &ParamSpec) -> bool {
        spec.enabled_when.as_ref().is_none_or(|condition| condition.holds(&self.values))
    }

    /// A value as its control and a link write it.
    #[must_use]
    pub fn text(&self, name: &str) -> String {
        if name == "seed" {
            return self.seed.to_string();
        }
        self.values.get(name).map(value_text).unwrap_or_default()
    }
}

/// The complaint, and what was taken instead.
fn with_default(specs: &[ParamSpec], name: &str, why: &str) -> String {
    let spec = specs.iter().find(|spec| spec.name == name);
    let default = match (spec, name) {
        (Some(spec), _) => value_text(&spec.default_value()),
        (None, "seed") => "0".to_owned(),
        (None, "device") => DeviceChoice::Auto.word().to_owned(),
        (None, _) => return why.to_owned(),
    };
    instead(why, &default)
}

/// The complaint, and what counts instead of what was refused, if there is anything.
pub(crate) fn instead(why: &str, text: &str) -> String {
    if text.is_empty() { why.to_owned() } else { format!("{why}; {text} is used instead") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab_api::{ChoiceOption, Condition, ParamKind};

    fn specs() -> Vec<ParamSpec> {
        let option = |value: &str| ChoiceOption { value: value.into(), label: value.into(), help: String::new() };
        let spec = |name: &str, kind| ParamSpec {
            name: name.into(),
            label: name.into(),
            help: String::new(),
            unit: None,
            kind,
            enabled_when: None,
        };
        let mut group = spec("group_size", ParamKind::Integer { default: 32, min: 8, max: 128, step: 8 });
        group.enabled_when = Some(Condition { param: "bits".into(), is: vec!["4".into()] });
        vec![spec("bits", ParamKind::Choice { default: "8".into(), options: vec![option("8"), option("4")] }), group]
    }

    fn query(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    }

    #[test]
    fn a_link_sets_its_own_lab_only() {
        let pairs = query(&[("lab", "quantization"), ("bits", "4"), ("seed", "7")]);
        let (setting, problems) = Setting::from_query("quantization", &specs(), &pairs);
        assert_eq!((setting.text("bits").as_str(), setting.seed), ("4", 7));
        assert!(problems.is_empty());
        assert_eq!(setting.pairs("quantization", &specs()), pairs);
        let (other, _) = Setting::from_query("pruning", &specs(), &pairs);
        assert_eq!(other, Setting::default_of(&specs()));
    }

    #[test]
    fn a_refused_value_is_reported_with_what_replaces_it() {
        let pairs = query(&[("lab", "q"), ("bits", "5"), ("group_size", "64"), ("device", "gpu"), ("bitz", "4")]);
        let (setting, problems) = Setting::from_query("q", &specs(), &pairs);
        let why = |name: &str| &problems.iter().find(|(of, _)| of == name).expect("reported").1;
        assert_eq!(why("bits"), "“5” is not one of 8, 4; 8 is used instead");
        assert!(why("device").ends_with("auto is used instead"));
        assert!(why("bitz").contains("did you mean “bits”"));
        assert_eq!((setting.text("bits"), setting.text("group_size")), ("8".into(), "64".into()));
    }

    #[test]
    fn a_control_is_off_where_it_does_not_matter() {
        let specs = specs();
        let mut setting = Setting::default_of(&specs);
        assert!(setting.enabled(&specs[0]) && !setting.enabled(&specs[1]));
        setting.values.insert("bits".into(), "4".into());
        assert!(setting.enabled(&specs[1]));
    }
}
