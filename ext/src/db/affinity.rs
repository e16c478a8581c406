//! What SQLite makes of a declared type (https://sqlite.org/datatype3.html, "Determination Of Column Affinity").

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Affinity {
    Integer,
    Text,
    Blob,
    Real,
    Numeric,
}

impl Affinity {
    pub fn of(declared: &str) -> Affinity {
        let ty = declared.to_ascii_uppercase();
        let has = |words: &[&str]| words.iter().any(|w| ty.contains(w));
        if has(&["INT"]) {
            Affinity::Integer
        } else if has(&["CHAR", "CLOB", "TEXT"]) {
            Affinity::Text
        } else if ty.trim().is_empty() || has(&["BLOB"]) {
            Affinity::Blob
        } else if has(&["REAL", "FLOA", "DOUB"]) {
            Affinity::Real
        } else {
            Affinity::Numeric
        }
    }

    pub const fn word(self) -> &'static str {
        match self {
            Affinity::Integer => "INTEGER",
            Affinity::Text => "TEXT",
            Affinity::Blob => "BLOB",
            Affinity::Real => "REAL",
            Affinity::Numeric => "NUMERIC",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_rule_wins() {
        let of = Affinity::of;
        assert_eq!((of("FLOATING POINT"), of("CHARINT")), (Affinity::Integer, Affinity::Integer));
        assert_eq!(
            (of("varchar(9)"), of(""), of("Double"), of("STRING"), of("DATETIME")),
            (Affinity::Text, Affinity::Blob, Affinity::Real, Affinity::Numeric, Affinity::Numeric)
        );
    }
}
