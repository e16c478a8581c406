//! Random options of a sync.
use crate::{
    model::{Choice, Policy},
    shape::Shape,
    values::Random,
};
use serde_json::{Value as Json, json};

const METHODS: [&str; 8] = ["auto", "change_log", "pages", "rowid_merge", "hash_join", "key_merge", "lookup", "refill"];

/// What is asked for.
pub struct Ask {
    pub choice: Choice,
    /// As the option says it; None leaves it to dbint.
    pub method: &'static str,
    pub condition: Option<&'static str>,
    pub triggers: Option<bool>,
    pub foreign_keys: bool,
    pub options: Json,
}

pub fn ask(r: &mut Random, s: &Shape, source: Option<&str>) -> Ask {
    let full = r.once_in(3);
    let mut o = json!({});
    if full {
        o["mode"] = json!("full");
    }
    let delete = if r.once_in(4) { Some(r.once_in(2)) } else { None };
    if let Some(d) = delete {
        o["delete"] = json!(d);
    }
    let mut carried: Vec<usize> = (0..s.columns.len()).collect();
    if s.source_extra || r.once_in(10) {
        carried.retain(|i| s.key_columns.contains(i) || s.source_extra && !r.once_in(4) || r.once_in(2));
        if carried.is_empty() {
            carried = vec![0];
        }
        o["columns"] = json!(carried.iter().map(|i| s.columns[*i].name).collect::<Vec<_>>());
    }
    if s.key_option() {
        o["keys"] = json!(s.key_columns.iter().map(|k| s.columns[*k].name).collect::<Vec<_>>());
    }
    let mut timestamp = s.timestamp.filter(|t| carried.contains(t));
    if let Some(t) = timestamp
        && s.columns[t].name == "changed"
    {
        if r.once_in(3) {
            timestamp = None;
        } else {
            o["timestamp_column"] = json!("CHANGED");
        }
    }
    let mut policy = if full || timestamp.is_none() { Policy::Source } else { Policy::Timestamp };
    if !full && r.once_in(2) {
        policy = r.pick(&[Policy::Timestamp, Policy::Source, Policy::Target, Policy::Error]);
        if policy == Policy::Timestamp && timestamp.is_none() {
            policy = Policy::Target;
        }
        o["conflict"] = json!(match policy {
            Policy::Timestamp => "timestamp_priority",
            Policy::Source => "source_wins",
            Policy::Target => "target_wins",
            Policy::Error => "error",
        });
    }
    let condition = r.once_in(6).then(|| r.pick(&["typeof(\"v\") <> 'text'", "\"v\" IS NOT 1 -- no \"end\"", "\"v\" > 2 OR \"v\" IS NULL", "0"]));
    if let Some(c) = condition {
        o["where"] = json!(c);
    }
    let method = if r.once_in(2) { r.pick(&METHODS) } else { "auto" };
    if method != "auto" {
        o["method"] = json!(method);
    }
    let triggers = if s.trigger && r.once_in(2) { Some(r.once_in(2)) } else { None };
    if let Some(t) = triggers {
        o["triggers"] = json!(t);
    }
    let foreign_keys = !r.once_in(5);
    if !foreign_keys {
        o["foreign_keys"] = json!(false);
    }
    for (option, value) in [("undo", json!(false)), ("audit", json!("rows")), ("batch_size", json!(1)), ("allow_uncommitted", json!(true))] {
        if r.once_in(6) {
            o[option] = value;
        }
    }
    if let Some(source) = source {
        o["source"] = json!(source);
    }
    Ask { choice: Choice { full, policy, delete, carried, timestamp }, method, condition, triggers, foreign_keys, options: o }
}
