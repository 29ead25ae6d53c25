//! From JSON to the types of [`lab_api`], without serde's derived code.
//!
//! The page's WASM is small before it is fast. The derived deserializers of these types weigh about 250 KB in it (each
//! tagged or flattened type buffers and dispatches at compile time, for each source it may come from); the functions below
//! weigh a fraction. They are held to the derived ones by a test, and a field that is added to a type does not compile here
//! until it is read.
//!
//! A reader that finds something wrong says so to [`Wrong`] and goes on with any value: the whole is thrown away at the end.
//! Leaving at once would cost code at every field, to drop what was already read.

mod types;

use serde_json::Value;

/// The first thing that was wrong.
#[derive(Default)]
pub(crate) struct Wrong {
    /// The field that is being read.
    field: &'static str,
    error: Option<String>,
}

impl Wrong {
    fn say(&mut self, what: &str) {
        if self.error.is_none() {
            self.error = Some(format!("{}: {what}", self.field));
        }
    }

    /// A word that is none of those known.
    fn unknown(&mut self, value: &Value) {
        self.say(&format!("unknown word “{}”", value.as_str().unwrap_or_default()));
    }
}

/// Reads a value out of parsed JSON.
pub(crate) trait Decode: Sized {
    fn decode(value: &Value, wrong: &mut Wrong) -> Self;
}

/// Reads a value out of JSON text.
pub(crate) fn from_json<T: Decode>(text: &str) -> Result<T, String> {
    let value = parse(text)?;
    let mut wrong = Wrong::default();
    let read = T::decode(&value, &mut wrong);
    wrong.error.map_or(Ok(read), Err)
}

#[cfg(not(target_family = "wasm"))]
fn parse(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// The browser's own reader of JSON; another one would weigh 15 KB.
#[cfg(target_family = "wasm")]
fn parse(text: &str) -> Result<Value, String> {
    js_sys::JSON::parse(text).map(|parsed| plain(&parsed)).map_err(|error| crate::page::words(&error))
}

/// A JavaScript value as plain data.
#[cfg(target_family = "wasm")]
fn plain(value: &wasm_bindgen::JsValue) -> Value {
    use wasm_bindgen::JsCast as _;
    if let Some(number) = value.as_f64() {
        // JavaScript tells no integers from doubles; up to 2^53 both are the same.
        let whole = number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0;
        return if whole { Value::from(number as i64) } else { Value::from(number) };
    }
    if let Some(text) = value.as_string() {
        return Value::from(text);
    }
    if let Some(truth) = value.as_bool() {
        return Value::from(truth);
    }
    if let Some(array) = value.dyn_ref::<js_sys::Array>() {
        let mut items = Vec::new();
        for i in 0..array.length() {
            items.push(plain(&array.get(i)));
        }
        return Value::Array(items);
    }
    let Some(object) = value.dyn_ref::<js_sys::Object>() else { return Value::Null };
    let mut members = serde_json::Map::new();
    let names = js_sys::Object::keys(object);
    for i in 0..names.length() {
        let name = names.get(i);
        let member = js_sys::Reflect::get(object, &name).unwrap_or(wasm_bindgen::JsValue::NULL);
        members.insert(name.as_string().unwrap_or_default(), plain(&member));
    }
    Value::Object(members)
}

fn member<'a>(value: &'a Value, name: &'static str, wrong: &mut Wrong) -> &'a Value {
    wrong.field = name;
    value.get(name).unwrap_or(&Value::Null)
}

fn required<T: Decode>(value: &Value, name: &'static str, wrong: &mut Wrong) -> T {
    T::decode(member(value, name, wrong), wrong)
}

fn optional<T: Decode>(value: &Value, name: &'static str, wrong: &mut Wrong) -> Option<T> {
    let member = member(value, name, wrong);
    if member.is_null() { None } else { Some(T::decode(member, wrong)) }
}

fn defaulted<T: Decode + Default>(value: &Value, name: &'static str, wrong: &mut Wrong) -> T {
    optional(value, name, wrong).unwrap_or_default()
}

impl Decode for bool {
    fn decode(value: &Value, wrong: &mut Wrong) -> Self {
        value.as_bool().unwrap_or_else(|| {
            wrong.say("expected true or false");
            false
        })
    }
}

impl Decode for f64 {
    fn decode(value: &Value, wrong: &mut Wrong) -> Self {
        value.as_f64().unwrap_or_else(|| {
            wrong.say("expected a number");
            0.0
        })
    }
}

impl Decode for i64 {
    fn decode(value: &Value, wrong: &mut Wrong) -> Self {
        value.as_i64().unwrap_or_else(|| {
            wrong.say("expected a whole number");
            0
        })
    }
}

impl Decode for u64 {
    fn decode(value: &Value, wrong: &mut Wrong) -> Self {
        value.as_u64().unwrap_or_else(|| {
            wrong.say("expected a whole number that is not negative");
            0
        })
    }
}

macro_rules! narrow {
    ($($type:ty)*) => {$(
        impl Decode for $type {
            fn decode(value: &Value, wrong: &mut Wrong) -> Self {
                Self::try_from(u64::decode(value, wrong)).unwrap_or_else(|_| {
                    wrong.say("the number is too large");
                    0
                })
            }
        }
    )*};
}

narrow! { u32 u8 usize }

impl Decode for String {
    fn decode(value: &Value, wrong: &mut Wrong) -> Self {
        if !value.is_string() {
            wrong.say("expected words");
        }
        value.as_str().unwrap_or_default().to_owned()
    }
}

fn items<'a>(value: &'a Value, wrong: &mut Wrong) -> &'a [Value] {
    if !value.is_array() {
        wrong.say("expected a list");
    }
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(value: &Value, wrong: &mut Wrong) -> Self {
        let mut list = Self::new();
        for item in items(value, wrong) {
            list.push(T::decode(item, wrong));
        }
        list
    }
}

impl Decode for [f64; 2] {
    fn decode(value: &Value, wrong: &mut Wrong) -> Self {
        let [a, b] = items(value, wrong) else {
            wrong.say("expected two numbers");
            return [0.0; 2];
        };
        [f64::decode(a, wrong), f64::decode(b, wrong)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab_api::Event;

    #[test]
    fn what_is_wrong_is_named() {
        let error = from_json::<Event>(r#"{"event": "progress", "run_id": 1, "stage": 5, "fraction": 0}"#);
        assert_eq!(error, Err("stage: expected words".to_owned()));
        assert_eq!(from_json::<Event>(r#"{"event": "off"}"#), Err("event: unknown word “off”".to_owned()));
        assert!(from_json::<Event>("{").is_err());
    }
}
