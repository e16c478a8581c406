//! JSON for a person: what fits stays on one line, the rest is indented.
use rusqlite::types::Value as Cell;
use serde_json::Value;
use std::fmt::Write;

/// None where the text is no JSON object or array.
pub fn document(text: &str, space: usize, color: bool) -> Option<String> {
    if !text.starts_with(['{', '[']) {
        return None;
    }
    let value: Value = serde_json::from_str(text).ok()?;
    let mut out = String::new();
    write(&mut out, &value, 0, 0, space, color);
    Some(out)
}

/// `{"a": 1, "b": [2, 3]}`
pub fn compact(v: &Value) -> String {
    let all = |open: &str, parts: Vec<String>, close: &str| format!("{open}{}{close}", parts.join(", "));
    match v {
        Value::Array(a) => all("[", a.iter().map(compact).collect(), "]"),
        Value::Object(o) => all("{", o.iter().map(|(k, v)| format!("{}: {}", Value::from(k.as_str()), compact(v))).collect(), "}"),
        scalar => scalar.to_string(),
    }
}

/// `taken` columns of the line are taken by the key already.
fn write(out: &mut String, v: &Value, indent: usize, taken: usize, space: usize, color: bool) {
    let short = compact(v);
    let room = space.saturating_sub(indent + taken + 1);
    let (open, close, entries): (_, _, Vec<(Option<&str>, &Value)>) = match v {
        Value::Object(o) if short.len() > room => ('{', '}', o.iter().map(|(k, v)| (Some(k.as_str()), v)).collect()),
        Value::Array(a) if short.len() > room => ('[', ']', a.iter().map(|v| (None, v)).collect()),
        // A copy of it must still be JSON, so lines are not broken inside a text; the terminal does that.
        _ => return out.push_str(&short),
    };
    out.push(open);
    let deeper = indent + 2;
    for (i, (key, v)) in entries.iter().enumerate() {
        let comma = if i > 0 { "," } else { "" };
        let _ = write!(out, "{comma}\n{:deeper$}", "");
        let mut taken = 0;
        if let Some(key) = key {
            let key = Value::from(*key).to_string();
            taken = key.len() + 2;
            let (on, off) = if color { ("\x1b[34m", "\x1b[0m") } else { ("", "") };
            let _ = write!(out, "{on}{key}{off}: ");
        }
        write(out, v, deeper, taken, space, color);
    }
    if !entries.is_empty() {
        let _ = write!(out, "\n{:indent$}", "");
    }
    out.push(close);
}

/// What stands for a JSON value in a table.
pub fn json_cell(v: &Value) -> Cell {
    match v {
        Value::Null => Cell::Null,
        Value::String(s) => Cell::Text(s.clone()),
        Value::Number(n) => n.as_i64().map_or_else(|| n.as_f64().map_or(Cell::Null, Cell::Real), Cell::Integer),
        other => Cell::Text(compact(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_stays_on_its_line() {
        let text = r#"{"status":"HEALTHY","checks":[{"name":"Header","passed":true},{"name":"Pages","passed":true}],"none":[],"score":1.0}"#;
        let shown = document(text, 40, false).unwrap();
        let lines = ["{", "  \"status\": \"HEALTHY\",", "  \"checks\": [", "    {\"name\": \"Header\", \"passed\": true},"];
        assert_eq!(shown.lines().take(4).collect::<Vec<_>>(), lines);
        assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), serde_json::from_str::<Value>(text).unwrap());
        assert_eq!(document("[1,2]", 40, false).as_deref(), Some("[1, 2]"));
        assert_eq!(document("{no json", 40, false), None);
    }
}
