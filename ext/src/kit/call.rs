//! The arguments of one call, checked against what was declared before the body runs.
use super::{Arg, Options, Type};
use crate::error::{Error, Result, did_you_mean};
use rusqlite::{Connection, types::Value};

/// One call from SQL: its arguments by name, and the host's connection.
pub struct Call<'a> {
    pub db: &'a Connection,
    /// The SQL name that was called.
    pub name: &'static str,
    specs: &'static [Arg],
    args: Vec<Value>,
}

impl<'a> Call<'a> {
    /// Checks types; an object given in place of an optional argument before the options is the options.
    pub fn new(db: &'a Connection, name: &'static str, specs: &'static [Arg], mut args: Vec<Value>) -> Result<Self> {
        args.resize(specs.len(), Value::Null);
        if let Some(last) = specs.len().checked_sub(1)
            && specs.last().is_some_and(|s| s.ty == Type::Options)
            && args.last() == Some(&Value::Null)
            && let Some(at) = specs.iter().zip(&args).position(|(s, v)| s.optional && s.ty == Type::Text && is_object(v))
            && args.iter().skip(at + 1).all(|v| *v == Value::Null)
        {
            args.swap(at, last);
        }
        for (spec, value) in specs.iter().zip(&args) {
            check(spec, value)?;
        }
        Ok(Call { db, name, specs, args })
    }

    /// The raw value; NULL where it was omitted.
    pub fn value(&self, name: &str) -> &Value {
        const NULL: &Value = &Value::Null;
        let at = self.specs.iter().position(|s| s.name == name);
        debug_assert!(at.is_some(), "{} has no argument {name}", self.name);
        at.and_then(|i| self.args.get(i)).unwrap_or(NULL)
    }

    /// A required text.
    pub fn text(&self, name: &str) -> Result<&str> {
        self.opt_text(name).ok_or_else(|| Error::argument(format!("argument {name} must be text, not NULL")))
    }

    pub fn opt_text(&self, name: &str) -> Option<&str> {
        match self.value(name) {
            Value::Text(s) => Some(s),
            _ => None,
        }
    }

    pub fn opt_integer(&self, name: &str) -> Option<i64> {
        match self.value(name) {
            Value::Integer(i) => Some(*i),
            _ => None,
        }
    }

    pub fn opt_number(&self, name: &str) -> Option<f64> {
        match self.value(name) {
            Value::Integer(i) => Some(*i as f64),
            Value::Real(r) => Some(*r),
            _ => None,
        }
    }

    /// The options object; defaults where it was omitted. Unknown keys are refused before anything happens.
    pub fn options<T: Options>(&self) -> Result<T> {
        super::options::parse(self.opt_text("options"))
    }

    /// All arguments, for a table that shows them again as hidden columns.
    pub fn values(&self) -> &[Value] {
        &self.args
    }
}

fn is_object(v: &Value) -> bool {
    matches!(v, Value::Text(s) if s.trim_start().starts_with('{'))
}

fn check(spec: &Arg, value: &Value) -> Result<()> {
    let wants = match (spec.ty, value) {
        (_, Value::Null) if spec.optional => return Ok(()),
        (Type::Any, _) => return Ok(()),
        (Type::Text | Type::Options, Value::Text(_)) | (Type::Integer, Value::Integer(_)) | (Type::Number, Value::Integer(_) | Value::Real(_)) => {
            return Ok(());
        }
        (Type::Text, _) => "text",
        (Type::Options, _) => "a JSON object",
        (Type::Integer, _) => "an integer",
        (Type::Number, _) => "a number",
    };
    let got = match value {
        Value::Null => "NULL",
        Value::Integer(_) => "an integer",
        Value::Real(_) => "a real number",
        Value::Text(_) => "text",
        Value::Blob(_) => "a blob",
    };
    Err(Error::argument(format!("argument {} must be {wants}, not {got}", spec.name)))
}

/// Reads one of a fixed set of words, in any case: `one_of("mode", "ful", &["incremental", "full"])` fails with a suggestion.
pub fn one_of<'w>(what: &str, given: &str, words: &[&'w str]) -> Result<&'w str> {
    words
        .iter()
        .find(|w| w.eq_ignore_ascii_case(given.trim()))
        .copied()
        .ok_or_else(|| Error::argument(format!("unknown {what} \"{given}\"; it is one of {}.{}", words.join(", "), did_you_mean(given, words.iter().copied()))))
}
