//! The page of dashboard and report: one text, with its style and script inside, that asks no other host for anything.
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value as Json;

const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// Metrics to choose from: word, and what people call it.
pub const METRICS: [(&str, &str); 12] = [
    ("query_time", "Probe time"),
    ("storage_used", "Size"),
    ("storage_limit", "Size of limit"),
    ("insert_throughput", "Insert throughput"),
    ("connection_time", "Time to connect"),
    ("availability", "Availability"),
    ("database_integrity", "Integrity"),
    ("error_rate", "Errors"),
    ("sync_duration", "Sync time"),
    ("memory_usage", "Memory in use"),
    ("cpu_usage", "Processor in use"),
    ("connection_count", "Connections"),
];

/// Times to choose from, in hours.
pub const TIMES: [(u32, &str); 4] = [(1, "1 hour"), (24, "24 hours"), (168, "7 days"), (720, "30 days")];

/// `data` is that of a report; the live page asks for its own. `nonce` lets this page's script run and no other.
pub fn render(title: &str, place: &str, nonce: &str, data: Option<&Json>, hours: u32) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                // An empty icon, so that the browser does not ask for one.
                link rel="icon" href="data:,";
                title { (title) }
                style nonce=(nonce) { (PreEscaped(STYLE)) }
            }
            body {
                div.wrap {
                    header {
                        h1 { (title) }
                        p { (place) }
                        p.when id="when" role="status" { "Loading" }
                    }
                    noscript { p.lost { "This page draws its tables and charts by a script of its own, which is switched off here." } }
                    p.lost id="lost" role="alert" hidden {}
                    main {
                        (tiles())
                        section aria-labelledby="h-alerts" {
                            div.head { h2 id="h-alerts" { "Open alerts" } }
                            ul.alerts id="alerts" {}
                        }
                        (chart(data.is_some(), hours))
                        section aria-labelledby="h-fleet" {
                            div.head {
                                h2 id="h-fleet" { "Databases" }
                                div.tools { label { "Find" input id="filter" type="search" placeholder="part of a name" autocomplete="off"; } }
                            }
                            div.scroll { table.cards aria-labelledby="h-fleet" { thead id="fleet-head" {} tbody id="fleet-body" {} } }
                            p.note id="fleet-note" {}
                        }
                        div.two {
                            section aria-labelledby="h-syncs" { div.head { h2 id="h-syncs" { "Synchronisation, last 7 days" } } div id="syncs" {} }
                            section aria-labelledby="h-history" { div.head { h2 id="h-history" { "What happened to alerts" } } div id="history" {} }
                        }
                        section id="slow-section" aria-labelledby="h-slow" hidden { div.head { h2 id="h-slow" { "Slowest statements" } } div id="slow" {} }
                    }
                }
                @if let Some(data) = data {
                    // "<" must not end the element that carries it.
                    script id="data" type="application/json" { (PreEscaped(data.to_string().replace('<', "\\u003c"))) }
                }
                script nonce=(nonce) { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

fn tile(label: &str, id: &str, note: Option<&str>, text: &str) -> Markup {
    html! {
        div.tile {
            div.label { (label) }
            b id=(id) { "–" }
            @if let Some(note) = note { span id=(note) { (text) } } @else { span { (text) } }
        }
    }
}

fn tiles() -> Markup {
    html! {
        div.tiles {
            (tile("Databases", "t-databases", Some("t-health"), ""))
            (tile("Size of all", "t-size", Some("t-rows"), ""))
            (tile("Open alerts", "t-alerts", Some("t-alerts-note"), ""))
            (tile("Monitor", "t-monitor", Some("t-monitor-note"), ""))
            (tile("Proven backups", "t-backup", None, "databases with a backup that was restored and compared"))
        }
    }
}

fn chart(saved: bool, hours: u32) -> Markup {
    html! {
        section aria-labelledby="h-chart" {
            div.head {
                h2 id="h-chart" { "Over time" }
                div.tools {
                    label { "Metric" select id="metric" { @for (word, name) in METRICS { option value=(word) { (name) } } } }
                    label hidden[saved] { "Time" select id="hours" { @for (n, name) in TIMES { option value=(n) selected[n == hours] { (name) } } } }
                }
            }
            div id="chart" {}
        }
    }
}
