//! One thing that is wrong, and the bounded list of such things that a check fills.
pub use crate::hub::Severity;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finding {
    pub table: Option<String>,
    /// The row: its rowid, or its primary key as text; or the name of an index, view or trigger.
    pub key: Option<String>,
    pub detail: String,
    /// A statement that mends it.
    pub remedy: Option<String>,
}

impl Finding {
    pub fn new(detail: impl Into<String>) -> Self {
        Finding { detail: shorten(detail.into()), ..Finding::default() }
    }

    pub fn table(mut self, name: &str) -> Self {
        self.table = Some(name.to_owned());
        self
    }

    pub fn key(mut self, key: impl ToString) -> Self {
        self.key = Some(shorten(key.to_string()));
        self
    }

    pub fn fix(mut self, sql: impl Into<String>) -> Self {
        self.remedy = Some(sql.into());
        self
    }
}

/// A value out of a stranger's file may have any length; a line to read has not.
fn shorten(mut text: String) -> String {
    const MOST: usize = 500;
    if let Some((end, _)) = text.char_indices().nth(MOST) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Keeps the first few findings and counts all.
pub struct Findings {
    limit: usize,
    pub list: Vec<Finding>,
    pub total: u64,
}

impl Findings {
    pub fn new(limit: usize) -> Self {
        Findings { limit, list: vec![], total: 0 }
    }

    pub fn add(&mut self, f: Finding) {
        self.add_with(|| f);
    }

    /// Builds the finding only if it will be shown.
    pub fn add_with(&mut self, f: impl FnOnce() -> Finding) {
        self.total += 1;
        if self.list.len() < self.limit {
            self.list.push(f());
        }
    }

    /// Counts findings of which `shown` were added one by one.
    pub fn also(&mut self, total: u64, shown: usize) {
        self.total += total.saturating_sub(shown as u64);
    }

    /// How many are not in the list.
    pub fn more(&self) -> Option<u64> {
        self.total.checked_sub(self.list.len() as u64).filter(|n| *n > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_bounded_and_the_count_is_not() {
        let mut all = Findings::new(2);
        for i in 0..5 {
            all.add(Finding::new("x".repeat(2000)).key(i));
        }
        all.also(10, 3);
        assert_eq!((all.list.len(), all.total, all.more()), (2, 12, Some(10)));
        assert_eq!(all.list[0].detail.chars().count(), 501);
    }
}
