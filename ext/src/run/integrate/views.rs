//! Phase 7: the views of the fleet are there, and each can be read.
use super::{
    Phase,
    state::{Outcome, State, Verdict},
};
use crate::db::{ident::quote, schema};
use crate::error::Result;
use crate::hub::install;

#[derive(Default)]
pub struct Views {
    made: usize,
    rows: i64,
}

/// Every view of `sql/views`.
const NAMES: [&str; 5] = ["unified_system_status", "performance_dashboard", "sync_status_summary", "active_alerts", "performance_analytics"];

impl Phase for Views {
    fn steps(&mut self, run: &mut State) -> Result<Vec<String>> {
        for name in NAMES {
            if schema::find_table(&run.db, &run.hub.schema, &run.hub.name(name))?.is_none() {
                install::view(&run.db, &run.hub, name)?;
                self.made += 1;
            }
        }
        Ok(NAMES.iter().map(|n| (*n).to_owned()).collect())
    }

    fn step(&mut self, run: &mut State, at: usize) -> Result<()> {
        let Some(name) = NAMES.get(at) else { return Ok(()) };
        let rows: i64 = run.db.query_row(&format!("SELECT count(*) FROM {}", run.hub.qualified(name)), [], |r| r.get(0))?;
        self.rows += rows;
        Ok(())
    }

    fn close(&mut self, _: &mut State) -> Result<Outcome> {
        Ok(Outcome::new(false, format!("{} views, {} of them made now, {} rows in all", NAMES.len(), self.made, self.rows)))
    }

    /// The views' columns are those of the tables of the same name.
    fn second(&mut self, run: &mut State) -> Result<Verdict> {
        let mut wrong = vec![];
        for name in NAMES {
            let columns = |schema: Option<&str>, table: &str| -> Result<String> {
                let from = schema.map_or_else(|| "pragma_table_info(?1)".to_owned(), |s| format!("pragma_table_info(?1, {})", crate::db::ident::literal(s)));
                Ok(run.db.query_row(&format!("SELECT coalesce(group_concat(name), '') FROM {from}"), [table], |r| r.get(0))?)
            };
            let declared = crate::hub::ROOM
                .tables
                .iter()
                .find(|t| t.name == name)
                .map_or(String::new(), |t| t.columns.iter().map(|c| c.name).collect::<Vec<_>>().join(","));
            if columns(Some(&run.hub.schema), &run.hub.name(name))? != declared {
                wrong.push(quote(name));
            }
        }
        let text = format!("{} have the columns they should", NAMES.len() - wrong.len());
        Ok(if wrong.is_empty() { Verdict::of(true, text) } else { Verdict::disputed(format!("{text}; not {}", wrong.join(", "))) })
    }
}
