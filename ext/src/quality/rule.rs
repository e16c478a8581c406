//! A rule, as a row of validation_rules says it, and as a condition in SQL that a row breaks.
use crate::{
    db::{
        ident::{literal, qualified, quote, same},
        lex::{self, Kind as Token},
        schema::{self, Table},
    },
    error::{Error, Kind, Result, did_you_mean},
    hub::{Hub, Target, target::Place},
};
use rusqlite::Connection;

pub struct Rule {
    pub id: i64,
    pub db: String,
    pub table: String,
    pub column: Option<String>,
    pub ty: String,
    pub parameter: Option<String>,
    pub severity: String,
    pub message: Option<String>,
    pub frequency_s: i64,
    /// When it was checked last.
    pub last: Option<String>,
}

/// How the rows that break a rule are found.
pub enum Breaks {
    /// By a condition on the row.
    When(String),
    /// Rows that share these columns' values with another.
    Twice(Vec<String>),
    /// A column whose text does not match.
    NoMatch(String, regex_lite::Regex),
}

/// All enabled rules.
pub fn all(host: &Connection) -> Result<Vec<Rule>> {
    let Some(hub) = Hub::find(host)? else { return Ok(vec![]) };
    let sql = "SELECT rule_id, db_name, table_name, column_name, rule_type, parameter, severity, message, frequency_s, \
               (SELECT max(checked_at) FROM hub.validation_history AS h WHERE h.rule_id = r.rule_id) FROM hub.validation_rules AS r WHERE enabled ORDER BY rule_id";
    let mut q = host.prepare(&hub.sql(sql))?;
    let all = q.query_map([], |r| {
        Ok(Rule {
            id: r.get(0)?,
            db: r.get(1)?,
            table: r.get(2)?,
            column: r.get(3)?,
            ty: r.get(4)?,
            parameter: r.get(5)?,
            severity: r.get(6)?,
            message: r.get(7)?,
            frequency_s: r.get(8)?,
            last: r.get(9)?,
        })
    })?;
    Ok(all.collect::<rusqlite::Result<_>>()?)
}

/// One place, however it was named.
pub fn place(host: &Connection, t: &Target) -> Result<String> {
    Ok(match (t.file(host)?, &t.place) {
        (Some(file), _) => file.canonicalize().unwrap_or(file).display().to_string(),
        (None, Place::Schema(s)) => format!("schema {}", s.to_lowercase()),
        (None, _) => t.name.clone(),
    })
}

impl Rule {
    pub fn weight(&self) -> f64 {
        match self.severity.as_str() {
            "CRITICAL" => 3.0,
            "ERROR" => 2.0,
            "WARNING" => 1.0,
            _ => 0.5,
        }
    }

    /// `orders.total: range 0..1000`
    pub fn shown(&self) -> String {
        if let Some(m) = &self.message {
            return m.clone();
        }
        let column = self.column.as_deref().map_or(String::new(), |c| format!(".{c}"));
        let parameter = self.parameter.as_deref().map_or(String::new(), |p| format!(" {p}"));
        format!("{}{column}: {}{parameter}", self.table, self.ty)
    }

    fn columns(&self, t: &Table) -> Result<Vec<String>> {
        let named = self.column.as_deref().unwrap_or_default();
        let all: Vec<&str> = named.split(',').map(str::trim).filter(|c| !c.is_empty()).collect();
        if all.is_empty() {
            return Err(Error::argument(format!("rule {} names no column", self.id)));
        }
        let known = |c: &&str| {
            t.column(c).map(|k| k.name.clone()).ok_or_else(|| {
                let near = did_you_mean(c, t.columns.iter().map(|k| k.name.as_str()));
                Error::not_found(format!("rule {}: table \"{}\" has no column \"{c}\".{near}", self.id, t.name))
            })
        };
        all.iter().map(known).collect()
    }

    fn one(&self, t: &Table) -> Result<String> {
        match self.columns(t)?.as_slice() {
            [only] => Ok(only.clone()),
            _ => Err(Error::argument(format!("rule {}: {} is about one column", self.id, self.ty))),
        }
    }

    fn parameter(&self) -> Result<&str> {
        self.parameter
            .as_deref()
            .map(str::trim)
            .filter(|p| !p.is_empty())
            .ok_or_else(|| Error::argument(format!("rule {}: {} needs a parameter", self.id, self.ty)))
    }

    /// What breaks the rule, for a statement in which table `t` goes by its own name. A trigger names no schema.
    pub fn breaks(&self, db: &Connection, t: &Table, in_trigger: bool) -> Result<Breaks> {
        let own = quote(&t.name);
        let of = |c: &str| format!("{own}.{}", quote(c));
        Ok(match self.ty.as_str() {
            "not_null" => Breaks::When(format!("{} IS NULL", of(&self.one(t)?))),
            "unique" => Breaks::Twice(self.columns(t)?),
            "foreign_key" => {
                let columns = self.columns(t)?;
                let (parent, targets) = self.parent(db, t)?;
                if targets.len() != columns.len() {
                    return Err(Error::argument(format!("rule {}: {} columns refer to {}", self.id, columns.len(), targets.len())));
                }
                let parent = if in_trigger { quote(&parent) } else { qualified(&t.schema, &parent) };
                let given = columns.iter().map(|c| format!("{} IS NOT NULL", of(c))).collect::<Vec<_>>().join(" AND ");
                let equal = columns.iter().zip(&targets).map(|(c, p)| format!("dbint_parent.{} = {}", quote(p), of(c))).collect::<Vec<_>>().join(" AND ");
                Breaks::When(format!("{given} AND NOT EXISTS(SELECT 1 FROM {parent} AS dbint_parent WHERE {equal})"))
            }
            "range" => {
                let c = of(&self.one(t)?);
                let p = self.parameter()?;
                let (low, high) = p.split_once("..").ok_or_else(|| Error::argument(format!("rule {}: a range is low..high, not {p}", self.id)))?;
                let value = |v: &str| if v.parse::<f64>().is_ok_and(f64::is_finite) { v.to_owned() } else { literal(v) };
                let side = |v: &str, op: &str| (!v.trim().is_empty()).then(|| format!("{c} {op} {}", value(v.trim())));
                let both: Vec<String> = side(low, "<").into_iter().chain(side(high, ">")).collect();
                if both.is_empty() {
                    return Err(Error::argument(format!("rule {}: a range needs a low or a high end", self.id)));
                }
                Breaks::When(format!("({})", both.join(" OR ")))
            }
            "glob" => Breaks::When(format!("{} NOT GLOB {}", of(&self.one(t)?), literal(self.parameter()?))),
            "regex" => {
                let regex = regex_lite::Regex::new(self.parameter()?).map_err(|e| Error::argument(format!("rule {}: {e}", self.id)))?;
                Breaks::NoMatch(self.one(t)?, regex)
            }
            "custom" => {
                let condition = self.parameter()?;
                trusted(db, &t.schema, t, condition).map_err(|e| e.context(format!("rule {}", self.id)))?;
                // The line end closes a comment. NULL passes, as in a CHECK.
                Breaks::When(format!("NOT coalesce((\n{condition}\n), 1)"))
            }
            other => return Err(Error::argument(format!("rule {}: unknown type \"{other}\"", self.id))),
        })
    }

    /// `parent(column)`, or `parent` for its primary key.
    fn parent(&self, db: &Connection, t: &Table) -> Result<(String, Vec<String>)> {
        let p = self.parameter()?;
        let (name, columns) = p.split_once('(').map_or((p, ""), |(n, c)| (n, c.trim_end_matches(')')));
        let parent = schema::table(db, &t.schema, name.trim())?;
        let mut targets: Vec<String> = columns.split(',').map(str::trim).filter(|c| !c.is_empty()).map(str::to_owned).collect();
        if targets.is_empty() {
            targets = parent.primary_key().iter().map(|c| c.name.clone()).collect();
        }
        if let Some(missing) = targets.iter().find(|c| parent.column(c).is_none()) {
            return Err(Error::not_found(format!("rule {}: table \"{}\" has no column \"{missing}\"", self.id, parent.name)));
        }
        Ok((parent.name, targets))
    }
}

/// A condition comes out of a file, which may be a stranger's: it is one expression, and uses what SQLite has built in.
/// Asked from an empty database with the same tables and without any function of ours.
fn trusted(db: &Connection, schema: &str, t: &Table, condition: &str) -> Result<()> {
    let mut depth = 0;
    for token in lex::tokens(condition) {
        match (token.kind, token.text) {
            (Token::Mark, "(") => depth += 1,
            (Token::Mark, ")") => depth -= 1,
            (Token::Mark, ";") => depth = -1,
            _ => {}
        }
        if depth < 0 {
            return Err(Error::argument("the condition is no single expression"));
        }
    }
    let model = Connection::open_in_memory()?;
    for name in schema::stored_tables(db, schema)? {
        // A table of another kind than the model knows is missing there, and the condition fails if it needs it.
        let _ = schema::table(db, schema, &name).map(|t| model.execute_batch(&t.sql));
    }
    let sql = format!("SELECT 1 FROM {} WHERE NOT coalesce((\n{condition}\n), 1)", quote(&t.name));
    model
        .prepare(&sql)
        .map(|_| ())
        .map_err(|e| Error::new(Kind::Denied, format!("the condition does not work with built-in SQL alone: {}", Error::from(e).message)))
}

/// The columns by which a row is found again.
pub fn key(t: &Table) -> Result<Vec<String>> {
    if t.without_rowid {
        return Ok(t.primary_key().iter().map(|c| c.name.clone()).collect());
    }
    let rowid = t.rowid_name().ok_or_else(|| Error::unsupported(format!("the columns of \"{}\" hide its rowid", t.name)))?;
    Ok(vec![rowid.to_owned()])
}

pub fn applies(r: &Rule, table: Option<&[String]>) -> bool {
    table.is_none_or(|all| all.iter().any(|t| same(t, &r.table)))
}
