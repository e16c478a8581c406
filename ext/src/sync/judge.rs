//! Who wins: each difference becomes an action, by the policy.
//!
//! By timestamp, the newer row wins. A side without a timestamp is older than one with. Where both sides say the same
//! time, or neither says any, and the rows differ, the source wins and the target's row is kept as a conflict.
use super::{
    delta::{Delta, Spot},
    options::{Choice, Policy},
    rows::Finder,
    shape::Shape,
    timestamp::micros,
};
use crate::{
    error::{Error, Kind, Result},
    kit::{Field, Stmt},
};
use std::cmp::Ordering;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    Insert,
    Update,
    Delete,
    /// The target's row stays, though the source differs.
    Skip,
}

impl Action {
    pub const fn word(self) -> &'static str {
        match self {
            Action::Insert => "insert",
            Action::Update => "update",
            Action::Delete => "delete",
            Action::Skip => "conflict_skip",
        }
    }
}

/// Both sides had something to say about a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Conflict {
    pub winner: &'static str,
    pub reason: &'static str,
}

/// One difference with its verdict; the finders stand on the row where there is one.
pub struct Judged<'j, 'c> {
    pub shape: &'j Shape,
    pub action: Action,
    pub conflict: Option<Conflict>,
    pub s: Option<Spot>,
    pub t: Option<Spot>,
    pub source: &'j mut Finder<'c>,
    pub target: &'j mut Finder<'c>,
}

pub trait Sink {
    fn row(&mut self, j: Judged<'_, '_>) -> Result<()>;
    /// Rows only the target has, which stay there.
    fn left(&mut self, n: u64);
}

/// Hands every difference to `sink`: deletions, then changes, then insertions, so that no unique value stands in the way
/// of its successor longer than it must.
pub fn judge<'c>(
    delta: &Delta,
    shape: &Shape,
    choice: &Choice,
    tracked: bool,
    (source, target): (&mut Finder<'c>, &mut Finder<'c>),
    sink: &mut dyn Sink,
    tick: &mut dyn FnMut() -> Result<()>,
) -> Result<()> {
    if choice.delete.unwrap_or(choice.full || tracked) {
        let mut q = Stmt::prepare(&delta.db, "SELECT t, at FROM gone")?;
        while q.step()? {
            tick()?;
            let t = Spot::of(q.field(0));
            need(target.seek(&t)?)?;
            let conflict = deletion(shape, choice, target, q.field(1))?;
            let action = if conflict.is_some() { Action::Skip } else { Action::Delete };
            sink.row(Judged { action, conflict, s: None, t: Some(t), source, target, shape })?;
        }
    } else {
        sink.left(delta.count("gone")?);
    }
    let mut q = Stmt::prepare(&delta.db, "SELECT s, t FROM pair")?;
    while q.step()? {
        tick()?;
        let (s, t) = (Spot::of(q.field(0)), Spot::of(q.field(1)));
        need(source.seek(&s)? && target.seek(&t)?)?;
        let (action, conflict) = pair(shape, source, target)?;
        sink.row(Judged { action, conflict, s: Some(s), t: Some(t), source, target, shape })?;
    }
    let mut q = Stmt::prepare(&delta.db, "SELECT s FROM new")?;
    while q.step()? {
        tick()?;
        let s = Spot::of(q.field(0));
        need(source.seek(&s)?)?;
        sink.row(Judged { action: Action::Insert, conflict: None, s: Some(s), t: None, source, target, shape })?;
    }
    Ok(())
}

/// Both sides are held by locks: a row cannot vanish.
fn need(found: bool) -> Result<()> {
    if found { Ok(()) } else { Err(Error::internal("a row vanished from a locked table")) }
}

fn pair(shape: &Shape, source: &Finder<'_>, target: &Finder<'_>) -> Result<(Action, Option<Conflict>)> {
    let skip = |reason| (Action::Skip, Some(Conflict { winner: "target", reason }));
    let newer = || shape.timestamp.map(|i| micros(source.field(i)).cmp(&micros(target.field(i))));
    Ok(match shape.policy {
        Policy::SourceWins => (Action::Update, None),
        Policy::TargetWins => skip("the target wins by policy"),
        Policy::TimestampPriority => match newer() {
            Some(Ordering::Less) => skip("the target's row is newer"),
            Some(Ordering::Equal) => (Action::Update, Some(Conflict { winner: "source", reason: "both rows have the same time" })),
            _ => (Action::Update, None),
        },
        Policy::Error => match newer() {
            Some(Ordering::Greater) => (Action::Update, None),
            order => {
                let why = if order.is_some() { "the source's row is not newer" } else { "the rows differ" };
                return Err(stop(shape, target, why));
            }
        },
    })
}

fn deletion(shape: &Shape, choice: &Choice, target: &Finder<'_>, at: Field<'_>) -> Result<Option<Conflict>> {
    if choice.full {
        return Ok(None);
    }
    let newer = || shape.timestamp.is_some_and(|i| micros(at).is_some() && micros(target.field(i)) > micros(at));
    Ok(match shape.policy {
        Policy::TargetWins => Some(Conflict { winner: "target", reason: "the target wins by policy" }),
        Policy::TimestampPriority if newer() => Some(Conflict { winner: "target", reason: "changed after the source deleted it" }),
        Policy::Error if newer() => return Err(stop(shape, target, "the target's row was changed after the source deleted it")),
        _ => None,
    })
}

fn stop(shape: &Shape, target: &Finder<'_>, why: &str) -> Error {
    Error::new(Kind::Conflict, format!("conflict at {}:{}: {why}; nothing was changed", shape.target.name, label(shape, |i| target.field(i))))
        .hint("sync_diff shows all of them")
}

/// What names a row in logs: its key, else its whole content, shortened.
pub fn label<'f>(shape: &Shape, field: impl Fn(usize) -> Field<'f>) -> String {
    let all: Vec<usize> = (0..shape.columns.len()).collect();
    let parts = if shape.is_multiset() { &all } else { &shape.key };
    let mut text = parts.iter().map(|i| show(field(*i))).collect::<Vec<_>>().join(",");
    if text.len() > 200 {
        let cut = (0..=200).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
        text.truncate(cut);
        text.push('…');
    }
    // A log has one line a row.
    text.replace(['\n', '\r'], " ")
}

/// A value as people read it.
pub fn show(f: Field<'_>) -> String {
    match f {
        Field::Null => "NULL".into(),
        Field::Int(v) => v.to_string(),
        Field::Real(v) => format!("{v:?}"),
        Field::Text(b) => String::from_utf8_lossy(b).into_owned(),
        Field::Blob(b) => format!("x'{}'", b.iter().take(32).map(|v| format!("{v:02x}")).collect::<String>()),
    }
}
