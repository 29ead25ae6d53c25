//! Parameters: what a reader may change, and the one validator that link, widget, command line and engine share.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{RESERVED, drawing, nearest};

/// Parameter values by name, as they travel between page, worker and command line.
pub type Values = BTreeMap<String, Value>;

/// One control.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ParamSpec {
    /// Field name, also the word in links and on the command line.
    pub name: String,
    /// Words beside the control: first line of the field's doc comment.
    pub label: String,
    /// The rest of the doc comment.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub help: String,
    /// Unit of the value, for example `bits`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// What values it takes.
    #[serde(flatten)]
    pub kind: ParamKind,
    /// The control matters only where this holds; elsewhere it is disabled, and the page does not show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled_when: Option<Condition>,
}

/// Another parameter has one of these values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// Name of the other parameter.
    pub param: String,
    /// Its values, as text, for which the condition holds.
    pub is: Vec<String>,
}

/// The values a parameter takes, with its default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ParamKind {
    /// On or off.
    Bool {
        /// Value before the reader touches it.
        default: bool,
    },
    /// A whole number in `min..=max`.
    Integer {
        /// Value before the reader touches it.
        default: i64,
        /// Smallest allowed value.
        min: i64,
        /// Largest allowed value.
        max: i64,
        /// Distance between offered values, counted from `min`.
        step: i64,
    },
    /// A real number in `min..=max`.
    Number {
        /// Value before the reader touches it.
        default: f64,
        /// Smallest allowed value.
        min: f64,
        /// Largest allowed value.
        max: f64,
        /// Distance between values offered by the control; any value in range is valid.
        step: f64,
    },
    /// One of a few words.
    Choice {
        /// Value before the reader touches it.
        default: String,
        /// What can be chosen, in order.
        options: Vec<ChoiceOption>,
    },
    /// A file of the reader's. The value is its name, empty for none; the bytes travel beside the values and stay on the
    /// device, and no link can name one.
    File {
        /// Extensions offered, as HTML's `accept` has them: `.safetensors`.
        accept: String,
    },
    /// A small grey picture that the reader draws. The value is its text ([`drawing`]), empty for a blank one.
    Drawing {
        /// Pixels of a row.
        width: u32,
        /// Rows.
        height: u32,
    },
}

/// One word of a [`ParamKind::Choice`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChoiceOption {
    /// The word in links and on the command line.
    pub value: String,
    /// The word shown.
    pub label: String,
    /// What it means.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub help: String,
}

/// A parameter that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{name}: {why}")]
pub struct BadParam {
    /// The parameter as it was named.
    pub name: String,
    /// What is wrong, what is allowed, and the nearest allowed thing.
    pub why: String,
}

/// A lab's parameter struct: flat, every field a bool, a number, an enum of unit variants, or a string that is a file or a
/// drawing.
#[cfg(not(feature = "schema"))]
pub trait Params: Serialize + DeserializeOwned + Default + Clone + 'static {}
#[cfg(not(feature = "schema"))]
impl<T: Serialize + DeserializeOwned + Default + Clone + 'static> Params for T {}

/// A lab's parameter struct: flat, every field a bool, a number, an enum of unit variants, or a string that is a file or a
/// drawing.
#[cfg(feature = "schema")]
pub trait Params: Serialize + DeserializeOwned + Default + Clone + schemars::JsonSchema + 'static {}
#[cfg(feature = "schema")]
impl<T: Serialize + DeserializeOwned + Default + Clone + schemars::JsonSchema + 'static> Params for T {}

/// What came of raw input: a full set of values, and a complaint for each one that had to be replaced by its default.
#[derive(Debug, Clone, PartialEq)]
pub struct Validated {
    /// Every parameter of the lab, valid.
    pub values: Values,
    /// What was refused.
    pub problems: Vec<BadParam>,
}

/// Checks raw `name=value` pairs against a lab's parameters. Never fails: what is unknown or out of range is reported
/// and replaced by its default; the caller decides whether a problem stops it (command line, engine) or is shown (page).
pub fn validate<'a>(specs: &[ParamSpec], raw: impl IntoIterator<Item = (&'a str, &'a str)>) -> Validated {
    let mut values = Values::new();
    // One by one: collecting would carry a sort into the page's WASM.
    for spec in specs {
        values.insert(spec.name.clone(), spec.default_value());
    }
    let mut problems = Vec::new();
    for (name, text) in raw {
        match specs.iter().find(|spec| spec.name == name) {
            None => problems.push(BadParam { name: name.to_owned(), why: unknown(specs, name) }),
            Some(spec) => match spec.parse(text) {
                Ok(value) => {
                    values.insert(name.to_owned(), value);
                }
                Err(why) => problems.push(BadParam { name: name.to_owned(), why }),
            },
        }
    }
    Validated { values, problems }
}

fn unknown(specs: &[ParamSpec], name: &str) -> String {
    let names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    let all = names.join(", ");
    if RESERVED.contains(&name) {
        return format!("this word is reserved and cannot be a parameter; the lab has {all}");
    }
    match nearest(name, names.iter().copied()) {
        Some(near) => format!("the lab has no such parameter; did you mean “{near}”?"),
        None => format!("the lab has no such parameter; it has {all}"),
    }
}

impl ParamSpec {
    /// The value before the reader touches it.
    #[must_use]
    pub fn default_value(&self) -> Value {
        match &self.kind {
            ParamKind::Bool { default } => Value::from(*default),
            ParamKind::Integer { default, .. } => Value::from(*default),
            ParamKind::Number { default, .. } => Value::from(*default),
            ParamKind::Choice { default, .. } => Value::from(default.as_str()),
            ParamKind::File { .. } | ParamKind::Drawing { .. } => Value::from(""),
        }
    }

    /// Reads a value from text, as links and the command line give it.
    ///
    /// # Errors
    /// A sentence naming the offending text and what is allowed.
    pub fn parse(&self, text: &str) -> Result<Value, String> {
        match &self.kind {
            ParamKind::Bool { .. } => match text {
                "true" | "1" | "on" => Ok(Value::from(true)),
                "false" | "0" | "off" => Ok(Value::from(false)),
                _ => Err(format!("“{text}” is neither true nor false")),
            },
            ParamKind::Integer { min, max, step, .. } => {
                let refused = |shown: &str, steps: &str| {
                    format!("{shown} is not a whole number from {min} to {max}{}{steps}", self.in_unit())
                };
                let Ok(number) = text.parse::<i64>() else { return Err(refused(&format!("“{text}”"), "")) };
                if number < *min || number > *max {
                    return Err(refused(text, ""));
                }
                if *step > 1 && number.abs_diff(*min) % step.unsigned_abs() != 0 {
                    return Err(refused(text, &format!(" in steps of {step}")));
                }
                Ok(Value::from(number))
            }
            ParamKind::Number { min, max, .. } => {
                let refused = |shown: &str| format!("{shown} is not a number from {min} to {max}{}", self.in_unit());
                match decimal(text) {
                    None => Err(refused(&format!("“{text}”"))),
                    Some(number) if number < *min || number > *max => Err(refused(text)),
                    Some(number) => Ok(Value::from(number)),
                }
            }
            ParamKind::Choice { options, .. } => {
                if options.iter().any(|option| option.value == text) {
                    return Ok(Value::from(text));
                }
                let words: Vec<&str> = options.iter().map(|option| option.value.as_str()).collect();
                let hint = nearest(text, words.iter().copied())
                    .map_or_else(String::new, |near| format!("; did you mean “{near}”?"));
                Err(format!("“{text}” is not one of {}{hint}", words.join(", ")))
            }
            // Whether a file of this name came along, only the host knows.
            ParamKind::File { .. } => Ok(Value::from(text)),
            ParamKind::Drawing { width, height } => drawing::levels(text, *width, *height).map(|_| Value::from(text)),
        }
    }

    fn in_unit(&self) -> String {
        self.unit.as_ref().map_or_else(String::new, |unit| format!(" {unit}"))
    }
}

/// Reads a decimal number such as `99.9`, `-0.5` or `1e-3`: exact up to 15 digits, which a parameter has, and a tenth of what
/// the standard library's reader (exact for any number of digits) weighs in the page's WASM.
fn decimal(text: &str) -> Option<f64> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (sign, digits) = mantissa.strip_prefix('-').map_or((1.0, mantissa), |digits| (-1.0, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let (mut figures, mut count, mut power) = (0_u64, 0, exponent);
    for (place, digit) in whole.bytes().chain(fraction.bytes()).enumerate() {
        if !digit.is_ascii_digit() {
            return None;
        }
        count += 1;
        // 17 digits tell all doubles apart; later ones only move the point.
        let fits = figures < 10_u64.pow(17);
        if fits {
            figures = figures * 10 + u64::from(digit - b'0');
        }
        // The exponent is the reader's, and may be the smallest there is.
        power = power.saturating_add(i32::from(!fits) - i32::from(place >= whole.len()));
    }
    let scale = 10f64.powi(power.saturating_abs());
    let number = if power < 0 { figures as f64 / scale } else { figures as f64 * scale };
    (count > 0 && number.is_finite()).then_some(sign * number)
}

/// A value as links and `--set` write it. Not by its `Display`, which would carry a second way of printing numbers into the
/// page's WASM.
#[must_use]
pub fn value_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(on) => on.to_string(),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => whole.to_string(),
            (None, Some(real)) => real.to_string(),
            (None, None) => String::new(),
        },
        // Not values of a parameter.
        Value::Null | Value::Array(_) | Value::Object(_) => String::new(),
    }
}

/// The same for people: a drawing is cut short.
#[must_use]
pub fn value_words(value: &Value) -> String {
    const MOST: usize = 48;
    let text = value_text(value);
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

impl Condition {
    /// Whether it holds for these values.
    #[must_use]
    pub fn holds(&self, values: &Values) -> bool {
        values.get(&self.param).is_some_and(|value| self.is.contains(&value_text(value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn specs() -> Vec<ParamSpec> {
        let spec = |name: &str, kind| ParamSpec {
            name: name.into(),
            label: name.into(),
            help: String::new(),
            unit: None,
            kind,
            enabled_when: None,
        };
        let option = |value: &str| ChoiceOption { value: value.into(), label: value.into(), help: String::new() };
        vec![
            spec("bits", ParamKind::Choice { default: "8".into(), options: vec![option("8"), option("4")] }),
            spec("group_size", ParamKind::Integer { default: 32, min: 8, max: 128, step: 8 }),
            spec("percentile", ParamKind::Number { default: 99.9, min: 90.0, max: 100.0, step: 0.1 }),
            spec("bias", ParamKind::Bool { default: true }),
        ]
    }

    #[test]
    fn decimals_are_read_as_the_standard_library_reads_them() {
        for text in
            ["0", "7", "-0.5", "99.9", "99.95", "0.001", "1e-3", "2.5E3", "123456.789", "0.1", ".5", "5.", "1e15"]
        {
            assert_eq!(decimal(text), text.parse().ok(), "{text}");
        }
        let close = decimal("0.12345678901234567890123").expect("a number");
        assert!((close - 0.123_456_789_012_345_68).abs() < 1e-16);
        for text in ["", "-", ".", "e5", "1e", "NaN", "inf", "1,5", "0x10", " 1", "1 ", "1e999", "--1", "1.2.3"] {
            assert_eq!(decimal(text), None, "{text}");
        }
    }

    #[test]
    fn good_values_are_taken_and_the_rest_stay_at_their_defaults() {
        let checked = validate(&specs(), [("bits", "4"), ("group_size", "64")]);
        assert!(checked.problems.is_empty());
        assert_eq!(checked.values["bits"], "4");
        assert_eq!(checked.values["group_size"], 64);
        assert_eq!(checked.values["percentile"], 99.9);
        assert_eq!(checked.values["bias"], true);
    }

    #[test]
    fn numbers_at_the_ends_of_what_fits_are_refused_and_not_overflown() {
        let spec = |kind| ParamSpec { kind, ..specs()[0].clone() };
        let rate = spec(ParamKind::Number { default: 0.1, min: 0.001, max: 1.0, step: 0.001 });
        for text in ["0.1e-2147483648", "1e-2147483648", "1000000000000000000000e2147483647", "1e2147483648"] {
            let why = rate.parse(text).expect_err("out of range");
            assert!(why.ends_with("is not a number from 0.001 to 1"), "{text}: {why}");
        }
        let whole = spec(ParamKind::Integer { default: 0, min: i64::MIN, max: i64::MAX, step: 2 });
        assert_eq!(whole.parse("9223372036854775806"), Ok(Value::from(i64::MAX - 1)));
        assert!(whole.parse("9223372036854775807").is_err());
    }

    #[test]
    fn a_drawing_is_checked_and_a_file_is_a_name() {
        let spec = |kind| ParamSpec { kind, ..specs()[0].clone() };
        let drawing = spec(ParamKind::Drawing { width: 2, height: 2 });
        assert_eq!((drawing.default_value(), drawing.parse("0f")), (Value::from(""), Ok(Value::from("0f"))));
        assert!(drawing.parse("0f0f0").is_err() && drawing.parse("<b>").is_err());
        let file = spec(ParamKind::File { accept: ".bin".into() });
        assert_eq!((file.default_value(), file.parse("a.bin")), (Value::from(""), Ok(Value::from("a.bin"))));
        assert_eq!(value_words(&Value::from("ü".repeat(60))), "ü".repeat(48) + "…");
    }

    #[test]
    fn each_bad_value_is_named_with_a_remedy_and_replaced() {
        let raw = [
            ("bits", "5"),
            ("group_size", "12"),
            ("percentile", "NaN"),
            ("bias", "perhaps"),
            ("bitz", "4"),
            ("seed", "7"),
        ];
        let checked = validate(&specs(), raw);
        let why: Vec<String> = checked.problems.iter().map(ToString::to_string).collect();
        assert_eq!(why.len(), raw.len());
        assert_eq!(why[0], "bits: “5” is not one of 8, 4");
        assert_eq!(why[1], "group_size: 12 is not a whole number from 8 to 128 in steps of 8");
        assert_eq!(why[2], "percentile: “NaN” is not a number from 90 to 100");
        assert_eq!(why[3], "bias: “perhaps” is neither true nor false");
        assert_eq!(why[4], "bitz: the lab has no such parameter; did you mean “bits”?");
        assert!(why[5].contains("reserved"));
        assert_eq!(checked.values, validate(&specs(), []).values);
    }
}
