//! Who wins: each difference becomes an action, by the policy.
//!
//! By timestamp, the newer row wins. A side without a timestamp is older than one with. Where both sides say the same
//! time, or neither says any, and the rows differ, the source wins and the target's row is kept as a conflict.
use super::{
    ahead::BATCH,
    delta::{Delta, Spot},
    options::{Choice, Policy},
    rows::Finder,
    shape::Shape,
    timestamp::micros,
};
use crate::{
    db::record,
    error::{Error, Kind, Result},
    kit::{Field, Stmt},
};
use std::{cmp::Ordering, mem};

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
    /// A pair that a walk of pages took for different, for its bytes are.
    fn equal(&mut self);
    /// Deletions, changes and insertions may come mixed.
    fn takes_any_order(&self) -> bool {
        false
    }
}

/// Hands every difference to `sink`: deletions, then changes, then insertions, so that no unique value stands in the way
/// of its successor longer than it must. Where none can, they come as their rows lie: a page is read, journalled and
/// written once.
pub fn judge<'c>(
    delta: &Delta,
    shape: &Shape,
    choice: &Choice,
    (source, target): (&mut Finder<'c>, &mut Finder<'c>),
    sink: &mut dyn Sink,
    tick: &mut dyn FnMut() -> Result<()>,
) -> Result<()> {
    // Unasked, only those go that the source is known to have had: the others may be the target's own.
    let least = match choice.delete.unwrap_or(choice.full) {
        true => 0,
        false if choice.delete.is_none() => 1,
        false => 2,
    };
    let mut q = Stmt::prepare(&delta.db, "SELECT count(*) FROM gone WHERE known < ?")?;
    q.bind(1, Field::Int(least))?;
    q.step()?;
    sink.left(q.int(0) as u64);
    let mut list = Differences::of(delta, least, sink.takes_any_order())?;
    let mut next = list.batch()?;
    let announce = |source: &mut Finder<'c>, batch: &[Difference]| source.announce(batch.iter().filter_map(|d| d.s.clone()).collect());
    announce(source, &next);
    while !next.is_empty() {
        let now = mem::replace(&mut next, list.batch()?);
        announce(source, &next);
        for Difference { s, t, at, there } in now {
            tick()?;
            let at = at.as_deref().map(record::decode).transpose()?.and_then(|row| row.first().copied()).unwrap_or(Field::Null);
            let found = s.as_ref().map_or(Ok(true), |s| source.seek(s))? && t.as_ref().map_or(Ok(true), |t| target.seek(t))?;
            // Both sides are held by locks: a row cannot vanish.
            if !found {
                return Err(Error::internal("a row vanished from a locked table"));
            }
            let (action, conflict) = match (&s, &t) {
                (Some(_), Some(_)) if (0..shape.columns.len()).all(|i| source.field(i) == target.field(i)) => {
                    sink.equal();
                    continue;
                }
                (Some(_), Some(_)) => pair(shape, source, target, there)?,
                (None, _) => deletion(shape, choice, target, at, there)?,
                (Some(_), None) => insertion(shape, source, at, there)?,
            };
            sink.row(Judged { action, conflict, s, t, source, target, shape })?;
        }
    }
    Ok(())
}

/// One row that differs: of both sides, or of one of them.
struct Difference {
    s: Option<Spot>,
    t: Option<Spot>,
    /// When the other side deleted it, as a record of one value.
    at: Option<Vec<u8>>,
    there: There,
}

/// The differences in the order in which they are judged.
struct Differences<'d> {
    gone: Stmt<'d>,
    pairs: Stmt<'d>,
    news: Stmt<'d>,
    /// Which of the three stand on a row.
    more: [bool; 3],
    any_order: bool,
}

impl<'d> Differences<'d> {
    fn of(delta: &'d Delta, least: i64, any_order: bool) -> Result<Differences<'d>> {
        let mut gone = Stmt::prepare(&delta.db, "SELECT t, at, there FROM gone WHERE known >= ? ORDER BY t")?;
        gone.bind(1, Field::Int(least))?;
        let mut pairs = Stmt::prepare(&delta.db, "SELECT s, t, there FROM pair")?;
        let mut news = Stmt::prepare(&delta.db, "SELECT s, at, there FROM new")?;
        let more = [gone.step()?, pairs.step()?, news.step()?];
        Ok(Differences { gone, pairs, news, more, any_order })
    }

    /// The next ones; none after the last.
    fn batch(&mut self) -> Result<Vec<Difference>> {
        let mut batch = vec![];
        while batch.len() < BATCH {
            let Some(d) = self.advance()? else { break };
            batch.push(d);
        }
        Ok(batch)
    }

    fn advance(&mut self) -> Result<Option<Difference>> {
        let Differences { gone, pairs, news, more: [more_gone, more_pairs, more_news], any_order } = self;
        // A new row goes where its rowid is free in the target, too. Walks leave all lists in this order.
        let places = [more_gone.then(|| gone.int(0)), more_pairs.then(|| pairs.int(1)), more_news.then(|| news.int(0))];
        let waiting = places.into_iter().zip([Action::Delete, Action::Update, Action::Insert]).filter_map(|(place, what)| Some((place?, what)));
        // Of equals the first: at one place, the old row goes before the new one comes.
        let Some((_, next)) = waiting.min_by_key(|(place, _)| any_order.then_some(*place)) else { return Ok(None) };
        let spot = |q: &Stmt<'_>, i| Some(Spot::of(q.field(i)));
        let at = |q: &Stmt<'_>| Some(q.field(1)).filter(|f| !matches!(f, Field::Null)).map(|f| record::encode([f]));
        Ok(Some(match next {
            Action::Delete => {
                let d = Difference { s: None, t: spot(gone, 0), at: at(gone), there: There::of(gone.field(2)) };
                *more_gone = gone.step()?;
                d
            }
            Action::Insert => {
                let d = Difference { s: spot(news, 0), t: None, at: at(news), there: There::of(news.field(2)) };
                *more_news = news.step()?;
                d
            }
            Action::Update | Action::Skip => {
                let d = Difference { s: spot(pairs, 0), t: spot(pairs, 1), at: None, there: There::of(pairs.field(2)) };
                *more_pairs = pairs.step()?;
                d
            }
        }))
    }
}

/// Of a sync in both directions: whether the target changed the row, too, since both last met.
#[derive(Clone, Copy, PartialEq, Eq)]
enum There {
    /// One direction only: nobody asked.
    Unknown,
    Unchanged,
    Changed,
}

impl There {
    fn of(f: Field<'_>) -> There {
        match f {
            Field::Int(0) => There::Unchanged,
            Field::Int(_) => There::Changed,
            _ => There::Unknown,
        }
    }
}

const BOTH: &str = "both sides changed it, the source later";
type Verdict = (Action, Option<Conflict>);

fn skip(reason: &'static str) -> Verdict {
    (Action::Skip, Some(Conflict { winner: "target", reason }))
}

fn won(action: Action, there: There, reason: &'static str) -> Verdict {
    (action, (there == There::Changed).then_some(Conflict { winner: "source", reason }))
}

fn pair(shape: &Shape, source: &Finder<'_>, target: &Finder<'_>, there: There) -> Result<Verdict> {
    if there == There::Unchanged {
        return Ok((Action::Update, None));
    }
    let newer = || shape.timestamp.map(|i| micros(source.field(i)).cmp(&micros(target.field(i))));
    Ok(match shape.policy {
        Policy::SourceWins => won(Action::Update, there, "the source wins by policy"),
        Policy::TargetWins => skip("the target wins by policy"),
        Policy::TimestampPriority => match newer() {
            Some(Ordering::Less) => skip("the target's row is newer"),
            Some(Ordering::Equal) => (Action::Update, Some(Conflict { winner: "source", reason: "both rows have the same time" })),
            _ => won(Action::Update, there, BOTH),
        },
        Policy::Error => match newer() {
            Some(Ordering::Greater) if there == There::Unknown => (Action::Update, None),
            order => {
                let why = match order {
                    _ if there == There::Changed => "both sides changed it",
                    Some(_) => "the source's row is not newer",
                    None => "the rows differ",
                };
                return Err(stop(shape, |i| target.field(i), why));
            }
        },
    })
}

/// `at`: when the source deleted the row, where its log says so.
fn deletion(shape: &Shape, choice: &Choice, target: &Finder<'_>, at: Field<'_>, there: There) -> Result<Verdict> {
    if choice.full || there == There::Unchanged {
        return Ok((Action::Delete, None));
    }
    let newer = || shape.timestamp.is_some_and(|i| micros(at).is_some() && micros(target.field(i)) > micros(at));
    Ok(match shape.policy {
        Policy::TargetWins => skip("the target wins by policy"),
        Policy::TimestampPriority if newer() => skip("changed after the source deleted it"),
        Policy::Error if newer() || there == There::Changed => {
            return Err(stop(shape, |i| target.field(i), "the target's row was changed after the source deleted it"));
        }
        _ => won(Action::Delete, there, "the source deleted it later"),
    })
}

/// `at`: when the target deleted the row, where its log says so.
fn insertion(shape: &Shape, source: &Finder<'_>, at: Field<'_>, there: There) -> Result<Verdict> {
    if there != There::Changed {
        return Ok((Action::Insert, None));
    }
    let older = || shape.timestamp.is_some_and(|i| micros(at).is_some() && micros(source.field(i)) < micros(at));
    Ok(match shape.policy {
        Policy::TargetWins => skip("the target wins by policy"),
        Policy::TimestampPriority if older() => skip("the target deleted it later"),
        Policy::Error => return Err(stop(shape, |i| source.field(i), "the target deleted it, and the source changed it")),
        _ => won(Action::Insert, there, "changed after the target deleted it"),
    })
}

fn stop<'f>(shape: &Shape, row: impl Fn(usize) -> Field<'f>, why: &str) -> Error {
    Error::new(Kind::Conflict, format!("conflict at {}:{}: {why}; nothing was changed", shape.target.name, label(shape, row)))
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
    text.replace(['\n', '\r', '\0'], " ")
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
