//! A lab's parameters of their values. `serde_json::from_value` does the same with some 4 KB of code for each lab.

use lab_api::Values;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, SeqAccess, VariantAccess, Visitor,
    value::{Error, StrDeserializer},
};
use serde_json::Value;

/// A flat struct of bools, numbers, words and enums of unit variants, as [`lab_api::Params`] are.
///
/// # Errors
/// A field that is absent, or a value of another kind.
pub(crate) fn from_values<P: DeserializeOwned>(values: &Values) -> Result<P, Error> {
    P::deserialize(Fields { values, rest: [].iter() })
}

/// The values in the order of the struct's fields: so read, a lab needs no code that tells its fields' names apart.
struct Fields<'a> {
    values: &'a Values,
    rest: std::slice::Iter<'static, &'static str>,
}

impl<'de> SeqAccess<'de> for Fields<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some(name) = self.rest.next() else { return Ok(None) };
        let value = self.values.get(*name).ok_or_else(|| Error::missing_field(name))?;
        seed.deserialize(One(value)).map(Some)
    }
}

impl<'de> Deserializer<'de> for Fields<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("parameters are a struct"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_seq(Self { rest: fields.iter(), ..self })
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// The value of one field.
struct One<'a>(&'a Value);

impl<'de> Deserializer<'de> for One<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Bool(it) => visitor.visit_bool(*it),
            Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(it), _, _) => visitor.visit_u64(it),
                (_, Some(it), _) => visitor.visit_i64(it),
                (_, _, Some(it)) => visitor.visit_f64(it),
                _ => Err(Error::custom("a number beyond any range")),
            },
            Value::String(it) => visitor.visit_str(it),
            other => Err(Error::custom(format_args!("a field cannot be {other}"))),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_enum(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl<'de> EnumAccess<'de> for One<'_> {
    type Error = Error;
    type Variant = Unit;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Unit), Error> {
        let Value::String(word) = self.0 else {
            return Err(Error::custom(format_args!("a choice cannot be {}", self.0)));
        };
        Ok((seed.deserialize(StrDeserializer::new(word))?, Unit))
    }
}

/// A variant without content: no other can be told by one word.
struct Unit;

impl<'de> VariantAccess<'de> for Unit {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, Error> {
        Err(Error::custom("a choice holds nothing"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("a choice holds nothing"))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, Error> {
        Err(Error::custom("a choice holds nothing"))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "kebab-case")]
    enum Way {
        Plain,
        TwoWords,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Given {
        on: bool,
        small: u8,
        count: u32,
        shift: i64,
        share: f64,
        single: f32,
        name: String,
        way: Way,
    }

    fn values(change: &[(&str, Value)]) -> Values {
        let object = serde_json::json!({
            "on": true, "small": 7, "count": 4_000_000_000_u32, "shift": -3, "share": 2, "single": 0.5, "name": "é", "way": "two-words",
        });
        let Value::Object(fields) = object else { unreachable!() };
        let changed = change.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        fields.into_iter().chain(changed).collect()
    }

    #[test]
    fn the_values_of_a_lab_are_what_serde_json_reads_of_them() {
        let changes: [&[(&str, Value)]; 3] =
            [&[], &[("way", "plain".into()), ("share", (-0.25).into())], &[("stranger", 1.into())]];
        for change in changes {
            let values = values(change);
            let twin = serde_json::from_value::<Given>(Value::Object(values.clone().into_iter().collect()));
            assert_eq!(from_values::<Given>(&values).expect("whole"), twin.expect("whole"));
        }
    }

    #[test]
    fn what_serde_json_refuses_is_refused() {
        let wrong: [(&str, Value); 7] = [
            ("on", 1.into()),
            ("small", 300.into()),
            ("count", (-1).into()),
            ("share", "2".into()),
            ("way", "third".into()),
            ("name", Value::Null),
            ("shift", Value::Array(vec![])),
        ];
        for change in wrong {
            let values = values(std::slice::from_ref(&change));
            assert!(serde_json::from_value::<Given>(Value::Object(values.clone().into_iter().collect())).is_err());
            assert!(from_values::<Given>(&values).is_err(), "{change:?}");
        }
        let mut without = values(&[]);
        without.remove("way");
        assert_eq!(from_values::<Given>(&without).expect_err("absent").to_string(), "missing field `way`");
    }
}
