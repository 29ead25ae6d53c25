//! JSON for files that people compare: objects over several lines, each element of an array on one.

use serde_json::Value;

/// The text of a value: a record (an element of an array) never takes more than its line, so that a change shows where it is.
#[must_use]
pub(crate) fn one_record_a_line(value: &Value) -> String {
    let mut text = String::new();
    put(value, 0, &mut text);
    text.push('\n');
    text
}

fn put(value: &Value, depth: usize, text: &mut String) {
    let (brackets, items): ([char; 2], Vec<(String, &Value)>) = match value {
        Value::Object(fields) if !fields.is_empty() => (
            ['{', '}'],
            fields.iter().map(|(name, value)| (format!("{}: ", Value::from(name.as_str())), value)).collect(),
        ),
        Value::Array(values) if !values.is_empty() => {
            (['[', ']'], values.iter().map(|value| (String::new(), value)).collect())
        }
        other => return text.push_str(&other.to_string()),
    };
    text.push(brackets[0]);
    for (i, (name, item)) in items.iter().enumerate() {
        text.push_str(if i == 0 { "\n" } else { ",\n" });
        text.push_str(&" ".repeat(depth + 1));
        text.push_str(name);
        if value.is_array() { text.push_str(&item.to_string()) } else { put(item, depth + 1, text) }
    }
    text.push('\n');
    text.push_str(&" ".repeat(depth));
    text.push(brackets[1]);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn records_keep_to_their_lines_and_nothing_is_lost() {
        let value =
            json!({"lab": "a", "empty": {}, "report": {"metrics": [{"id": "x", "samples": [1.5, 2]}, 3], "none": []}});
        let text = one_record_a_line(&value);
        assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), value);
        assert!(text.contains("\n   {\"id\":\"x\",\"samples\":[1.5,2]},\n   3\n"), "{text}");
        assert_eq!(text.lines().count(), 11, "{text}");
    }
}
