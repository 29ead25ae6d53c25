//! Parameter specifications from a parameter struct: doc comments become words, schema keywords become ranges.
//!
//! Native only. The result is committed (`labs/src/<lab>/params.json`), so WASM reads data instead of carrying schemars.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use crate::{ChoiceOption, Condition, ParamKind, ParamSpec, Params, RESERVED};

/// Why a struct cannot be a lab's parameters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("parameter “{name}”: {why}")]
pub struct SchemaError {
    /// Field.
    pub name: String,
    /// What is missing or not allowed, and how to mend it.
    pub why: String,
}

/// The specifications of `P`, in field order.
///
/// Recognized on a field: the doc comment (first line: label, rest: help), `#[schemars(range(min = .., max = ..))]`,
/// `#[schemars(extend("x-unit" = "bits"))]`, `x-step`, `x-label`, and
/// on a string `x-accept` = `".safetensors"` (a file) or `x-drawing` = `[width, height]`,
/// `x-enabled-when` = `{"param": "granularity", "is": ["group"]}`. On an enum variant: `#[serde(rename)]` is the word, the doc
/// comment's first line the label.
///
/// # Errors
/// A field that is not bool, number with range, enum of unit variants, file or drawing; a reserved name; a missing doc comment.
pub fn specs_of<P: Params>() -> Result<Vec<ParamSpec>, SchemaError> {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let schema = settings.into_generator().into_root_schema_for::<P>();
    let defaults = serde_json::to_value(P::default())
        .map_err(|error| SchemaError { name: P::schema_name().into_owned(), why: error.to_string() })?;
    let empty = Map::new();
    let fields = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
    fields.iter().map(|(name, field)| spec(name, field, &defaults[name])).collect()
}

fn spec(name: &str, field: &Value, default: &Value) -> Result<ParamSpec, SchemaError> {
    let fail = |why: &str| SchemaError { name: name.to_owned(), why: why.to_owned() };
    if RESERVED.contains(&name) {
        return Err(fail("this name is reserved in links; choose another"));
    }
    let (label, help) =
        words(field).ok_or_else(|| fail("give the field a doc comment: it becomes the control's label"))?;
    let kind = kind(field, default).map_err(|why| fail(&why))?;
    let enabled_when: Option<Condition> = match field.get("x-enabled-when") {
        None => None,
        Some(value) => Some(serde_json::from_value(value.clone()).map_err(|error| fail(&error.to_string()))?),
    };
    let unit = field.get("x-unit").and_then(Value::as_str).map(str::to_owned);
    Ok(ParamSpec { name: name.to_owned(), label, help, unit, kind, enabled_when })
}

fn kind(field: &Value, default: &Value) -> Result<ParamKind, String> {
    if let Some(options) = options(field) {
        let default = default.as_str().ok_or("the default of an enum must be a unit variant")?.to_owned();
        return Ok(ParamKind::Choice { default, options });
    }
    let number = |key: &str| field.get(key).and_then(Value::as_f64);
    let range = || match (number("minimum"), number("maximum")) {
        (Some(min), Some(max)) => Ok((min, max)),
        _ => Err("give the number a range: #[schemars(range(min = .., max = ..))]".to_owned()),
    };
    let step = number("x-step");
    match field.get("type").and_then(Value::as_str) {
        Some("boolean") => Ok(ParamKind::Bool { default: default.as_bool().unwrap_or_default() }),
        Some("integer") => {
            let (min, max) = range()?;
            let whole = |value: f64| value as i64;
            let default = default.as_i64().ok_or("the default must be a whole number")?;
            Ok(ParamKind::Integer { default, min: whole(min), max: whole(max), step: whole(step.unwrap_or(1.0)) })
        }
        Some("number") => {
            let (min, max) = range()?;
            let default = default.as_f64().ok_or("the default must be a number")?;
            Ok(ParamKind::Number { default, min, max, step: step.unwrap_or((max - min) / 100.0) })
        }
        Some("string") if default == "" => text(field),
        _ => Err("only bool, numbers, enums of unit variants, files and drawings can be parameters".to_owned()),
    }
}

/// A string is a file or a drawing, and empty by default.
fn text(field: &Value) -> Result<ParamKind, String> {
    if let Some(accept) = field.get("x-accept").and_then(Value::as_str) {
        return Ok(ParamKind::File { accept: accept.to_owned() });
    }
    let size = field.get("x-drawing").cloned().and_then(|size| serde_json::from_value::<[u32; 2]>(size).ok());
    match size {
        Some([width @ 1..=64, height @ 1..=64]) => Ok(ParamKind::Drawing { width, height }),
        _ => Err("give a string x-accept (a file) or x-drawing = [width, height], 64 at most (a drawing)".to_owned()),
    }
}

/// Enum variants: `oneOf` of `const`s where variants carry docs, `enum` where they do not.
fn options(field: &Value) -> Option<Vec<ChoiceOption>> {
    if let Some(variants) = field.get("oneOf").and_then(Value::as_array) {
        let mut all = Vec::new();
        for variant in variants {
            if let Some(value) = variant.get("const").and_then(Value::as_str) {
                let (label, help) = words(variant).unwrap_or_else(|| (value.to_owned(), String::new()));
                all.push(ChoiceOption { value: value.to_owned(), label, help });
            } else {
                for value in variant.get("enum").and_then(Value::as_array)?.iter().filter_map(Value::as_str) {
                    all.push(ChoiceOption { value: value.to_owned(), label: value.to_owned(), help: String::new() });
                }
            }
        }
        return Some(all);
    }
    let plain = field.get("enum")?.as_array()?.iter().filter_map(Value::as_str);
    Some(plain.map(|v| ChoiceOption { value: v.to_owned(), label: v.to_owned(), help: String::new() }).collect())
}

/// First line as label (without its full stop), the rest as help.
fn words(schema: &Value) -> Option<(String, String)> {
    let text = schema.get("description")?.as_str()?.trim();
    let (label, help) = text.split_once('\n').unwrap_or((text, ""));
    let label = schema.get("x-label").and_then(Value::as_str).unwrap_or(label);
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    Some((label.trim().trim_end_matches('.').to_owned(), help))
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize, JsonSchema, Clone, Default)]
    enum Bits {
        /// 8 bits
        #[default]
        #[serde(rename = "8")]
        Eight,
        /// 4 bits
        ///
        /// Sixteen levels.
        #[serde(rename = "4")]
        Four,
    }

    #[derive(Serialize, Deserialize, JsonSchema, Clone)]
    struct Sample {
        /// Weight width.
        bits: Bits,
        /// Group size
        ///
        /// Weights that share
        /// one scale.
        #[schemars(range(min = 8, max = 128), extend("x-unit" = "weights", "x-step" = 8))]
        #[schemars(extend("x-enabled-when" = {"param": "bits", "is": ["4"]}))]
        group_size: u32,
        /// Keep the bias
        bias: bool,
    }

    impl Default for Sample {
        fn default() -> Self {
            Self { bits: Bits::Eight, group_size: 32, bias: true }
        }
    }

    #[test]
    fn a_struct_becomes_controls() {
        let specs = specs_of::<Sample>().expect("valid");
        let by_name = |name: &str| specs.iter().find(|s| s.name == name).expect("present");
        assert_eq!(by_name("bits").label, "Weight width");
        let ParamKind::Choice { default, options } = &by_name("bits").kind else { panic!("choice") };
        assert_eq!(default, "8");
        assert_eq!(options[1].value, "4");
        assert_eq!(options[1].help, "Sixteen levels.");
        let group = by_name("group_size");
        assert_eq!(group.help, "Weights that share one scale.");
        assert_eq!(group.unit.as_deref(), Some("weights"));
        assert_eq!(group.kind, ParamKind::Integer { default: 32, min: 8, max: 128, step: 8 });
        assert!(!group.enabled_when.as_ref().expect("condition").holds(&crate::validate(&specs, []).values));
    }

    #[derive(Serialize, Deserialize, JsonSchema, Clone, Default)]
    struct Brought {
        /// Weights
        #[schemars(extend("x-accept" = ".safetensors"))]
        weights: String,
        /// Picture
        #[schemars(extend("x-drawing" = [28, 20]))]
        picture: String,
    }

    #[derive(Serialize, Deserialize, JsonSchema, Clone, Default)]
    struct Bare {
        /// Words
        words: String,
    }

    #[test]
    fn a_string_is_a_file_or_a_drawing() {
        let kinds: Vec<_> = specs_of::<Brought>().expect("valid").into_iter().map(|spec| spec.kind).collect();
        let expected =
            [ParamKind::File { accept: ".safetensors".into() }, ParamKind::Drawing { width: 28, height: 20 }];
        assert_eq!(kinds, expected);
        assert!(specs_of::<Bare>().expect_err("refused").why.contains("x-drawing"));
    }

    #[derive(Serialize, Deserialize, JsonSchema, Clone, Default)]
    struct Unbounded {
        /// Steps
        steps: u32,
    }

    #[test]
    fn a_number_without_a_range_is_refused() {
        assert!(specs_of::<Unbounded>().expect_err("refused").why.contains("range"));
    }
}
