//! The report of a run as Markdown and as a page that needs nothing but itself.
use serde_json::Value as Json;
use std::fmt::Write;

const SECTIONS: [(&str, &str); 5] = [
    ("integration_session", "Session"),
    ("database_discovery", "Databases"),
    ("integration_results", "Synchronisation"),
    ("performance_optimization", "Optimisation"),
    ("consistency_validation", "Consistency"),
];

/// `avg_sync_duration` → `Avg sync duration`
fn title(key: &str) -> String {
    let words = key.replace('_', " ");
    let mut letters = words.chars();
    letters.next().map_or(String::new(), |c| c.to_uppercase().chain(letters).collect())
}

fn shown(value: &Json) -> String {
    match value {
        Json::Null => "–".into(),
        Json::String(s) => s.clone(),
        other => other.to_string(),
    }
}

fn text<'j>(of: &'j Json, key: &str) -> &'j str {
    of.get(key).and_then(Json::as_str).unwrap_or_default()
}

fn list<'j>(of: &'j Json, key: &str) -> &'j [Json] {
    of.get(key).and_then(Json::as_array).map_or(&[], Vec::as_slice)
}

fn status(report: &Json) -> &str {
    report.pointer("/run/status").and_then(Json::as_str).unwrap_or("RUNNING")
}

pub fn markdown(report: &Json) -> String {
    // A cell is one line, and a bar in it is not the end of it.
    let cell = |t: &str| t.replace('|', "\\|").replace(['\n', '\r'], " ");
    let mut out = format!("# Integration report: {}\n", status(report));
    for (key, name) in SECTIONS {
        if let Some(fields) = report.get(key).and_then(Json::as_object) {
            let _ = writeln!(out, "\n## {name}\n\n| | |\n|---|---|");
            for (k, v) in fields {
                let _ = writeln!(out, "| {} | {} |", title(k), cell(&shown(v)));
            }
        }
    }
    let phases = report.pointer("/run/phases").and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
    if !phases.is_empty() {
        out += "\n## Phases\n\n| | phase | status | result | second check | seconds |\n|---|---|---|---|---|---|\n";
        for p in phases {
            let (number, seconds) = (p.get("number").map(shown).unwrap_or_default(), p.get("duration_s").map(shown).unwrap_or_default());
            let _ = writeln!(
                out,
                "| {number} | {} | {} | {} | {} | {seconds} |",
                text(p, "phase"),
                text(p, "status"),
                cell(text(p, "result")),
                cell(text(p, "second_check"))
            );
        }
    }
    out += "\n## Recommendations\n\n";
    let advice = list(report, "recommendations");
    if advice.is_empty() {
        out += "None.\n";
    }
    for a in advice {
        let _ = writeln!(
            out,
            "- **{}** {}: {}\n\n  ```sql\n  {};\n  ```",
            text(a, "severity"),
            cell(text(a, "db_name")),
            cell(text(a, "finding")),
            cell(text(a, "statement"))
        );
    }
    out
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const STYLE: &str = "\
:root{color-scheme:light dark;--bg:#fff;--fg:#1c2430;--dim:#5b6675;--line:#d9dee5;--bad:#b3261e;--warn:#8a5a00;--good:#1a6b3c}\
@media(prefers-color-scheme:dark){:root{--bg:#12161c;--fg:#e6eaf0;--dim:#9aa5b4;--line:#2c343f;--bad:#ff8a80;--warn:#f2c14e;--good:#7bd8a0}}\
body{background:var(--bg);color:var(--fg);font:16px/1.5 system-ui,sans-serif;max-width:76rem;margin:0 auto;padding:1.5rem 1rem}\
h1{font-size:1.5rem}h2{font-size:1.1rem;margin:2rem 0 .5rem}table{border-collapse:collapse;width:100%}\
td,th{border-bottom:1px solid var(--line);padding:.35rem .6rem .35rem 0;text-align:left;vertical-align:top;overflow-wrap:break-word}\
th{color:var(--dim);font-weight:500}.scroll{overflow-x:auto}.CRITICAL,.ERROR,.FAILED,.INTERRUPTED{color:var(--bad)}\
.WARNING,.FINDINGS{color:var(--warn)}.COMPLETED{color:var(--good)}.SKIPPED{color:var(--dim)}code{font-size:.9rem;overflow-wrap:anywhere}\
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(17rem,1fr));gap:0 2rem}";

pub fn html(report: &Json) -> String {
    let word = status(report);
    let id = report.pointer("/integration_session/session_id").and_then(Json::as_str).unwrap_or_default();
    let mut out = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width,initial-scale=1\"><title>{0}</title><style>{STYLE}</style>\
         <h1>Integration report: <span class={1}>{1}</span></h1><div class=facts>",
        escape(id),
        escape(word)
    );
    for (key, name) in SECTIONS {
        if let Some(fields) = report.get(key).and_then(Json::as_object) {
            let _ = write!(out, "<section><h2>{name}</h2><table>");
            for (k, v) in fields {
                let _ = write!(out, "<tr><th scope=row>{}<td>{}", title(k), escape(&shown(v)));
            }
            out += "</table></section>";
        }
    }
    out += "</div><h2>Phases</h2><div class=scroll><table><thead><tr><th>#<th>Phase<th>Status<th>Result<th>Second check<th>Seconds<tbody>";
    for p in report.pointer("/run/phases").and_then(Json::as_array).map_or(&[][..], Vec::as_slice) {
        let field = |k: &str| escape(&p.get(k).map(shown).unwrap_or_default());
        let status = field("status");
        let _ = write!(
            out,
            "<tr><td>{}<td>{}<td class={status}>{status}<td>{}<td>{}<td>{}",
            field("number"),
            field("phase"),
            field("result"),
            field("second_check"),
            field("duration_s")
        );
    }
    out += "</table></div><h2>Recommendations</h2>";
    let advice = list(report, "recommendations");
    if advice.is_empty() {
        out += "<p>None.";
    } else {
        out += "<div class=scroll><table><thead><tr><th>Severity<th>Database<th>Finding<th>Statement<tbody>";
        for a in advice {
            let field = |k: &str| escape(text(a, k));
            let severity = field("severity");
            let _ = write!(out, "<tr><td class={severity}>{severity}<td>{}<td>{}<td><code>{};</code>", field("db_name"), field("finding"), field("statement"));
        }
        out += "</table></div>";
    }
    out + "</html>\n"
}
