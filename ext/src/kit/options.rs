//! Options: the last argument, a JSON object read into a documented struct that refuses unknown keys.
use super::Key;
use crate::error::{Error, Result, did_you_mean};
use serde::de::DeserializeOwned;

/// Made by [`options!`], never by hand, so that the keys told to users are the keys that are read.
pub trait Options: DeserializeOwned + Default {
    const KEYS: &'static [Key];
}

/// Declares an options struct; the doc comment of each field is what users read about the key.
#[macro_export]
macro_rules! options {
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($(#[doc = $doc:literal])+ $field:ident: $ty:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, serde::Deserialize)]
        #[serde(default)]
        $vis struct $name { $($(#[doc = $doc])+ pub $field: Option<$ty>,)* }
        impl $name {
            pub const KEYS: &'static [$crate::kit::Key] =
                &[$($crate::kit::Key { name: $crate::kit::plain(stringify!($field)), summary: concat!($($doc),+) }),*];
        }
        impl $crate::kit::Options for $name {
            const KEYS: &'static [$crate::kit::Key] = $name::KEYS;
        }
    };
}

/// A key that is a word of Rust is declared as `r#type` and called `type`.
pub const fn plain(field: &'static str) -> &'static str {
    match field.as_bytes() {
        [b'r', b'#', rest @ ..] => match std::str::from_utf8(rest) {
            Ok(name) => name,
            Err(_) => field,
        },
        _ => field,
    }
}

/// Every field is optional; `null` means the default, as an absent key does.
pub fn parse<T: Options>(text: Option<&str>) -> Result<T> {
    let Some(text) = text else { return Ok(T::default()) };
    let value: serde_json::Value = serde_json::from_str(text).map_err(|e| Error::argument(format!("options must be a JSON object: {e}")))?;
    let Some(object) = value.as_object() else {
        return Err(Error::argument("options must be a JSON object such as {\"key\": value}"));
    };
    let names = || T::KEYS.iter().map(|k| k.name);
    for key in object.keys() {
        if !names().any(|n| n == key) {
            let near = did_you_mean(key, names());
            let known = if T::KEYS.is_empty() { "none here".to_owned() } else { names().collect::<Vec<_>>().join(", ") };
            return Err(Error::argument(format!("unknown option \"{key}\".{near} Options: {known}")));
        }
    }
    // serde's messages for a wrong type are readable ("invalid type: string \"x\", expected a boolean"), but miss the key.
    for (key, v) in object {
        let one = serde_json::Value::Object([(key.clone(), v.clone())].into_iter().collect());
        serde_json::from_value::<T>(one).map_err(|e| Error::argument(format!("option \"{key}\": {e}")))?;
    }
    serde_json::from_value(value).map_err(|e| Error::argument(format!("options: {e}")))
}

#[cfg(test)]
mod tests {
    options! {
        struct Demo {
            /// How many.
            size: u32,
            /// Whether.
            dry_run: bool,
            /// Of which type.
            r#type: String,
        }
    }

    #[test]
    fn reads_refuses_and_suggests() {
        let got: Demo = super::parse(Some(r#"{"size": 3, "dry_run": null}"#)).unwrap();
        assert_eq!((got.size, got.dry_run), (Some(3), None));
        let err = |s| super::parse::<Demo>(Some(s)).unwrap_err().to_string();
        assert_eq!(err(r#"{"dryrun": true}"#), "unknown option \"dryrun\". Did you mean \"dry_run\"? Options: size, dry_run, type [DBINT_ARGUMENT]");
        assert!(err(r#"{"size": "x"}"#).starts_with("option \"size\": invalid type"));
        assert!(err("[1]").contains("JSON object"));
        assert!(err("{").contains("JSON object"));
        assert_eq!(Demo::KEYS[0].summary.trim(), "How many.");
    }
}
