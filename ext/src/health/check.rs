//! One check's verdict, and how verdicts become a score and a status.
//!
//! ```text
//! integrity   = 100 × passed / all checks made      (INFO is told, never counted)
//! performance = 100 − the deductions of all checks, at least 0
//! score       = (integrity + performance) / 2, within 0 and 100
//!
//! CRITICAL     a CRITICAL check failed (the file is damaged), or score < 50
//! WARNING      an ERROR check failed, or score < 80
//! UNREACHABLE  the database could not be looked at: missing, locked, not readable
//! HEALTHY      everything else
//! ```
pub use crate::hub::Severity;
use serde_json::{Value as Json, json};

/// What is known of a check beforehand.
pub struct Kind {
    pub id: &'static str,
    pub name: &'static str,
    pub severity: Severity,
    /// The most it takes off the performance score.
    pub weight: f64,
    /// The query that shows the reason; `{s}` is the quoted schema.
    pub evidence: &'static str,
}

#[derive(Clone, Debug)]
pub struct Check {
    pub id: &'static str,
    pub name: &'static str,
    pub severity: Severity,
    pub passed: bool,
    pub weight: f64,
    pub deduction: f64,
    pub detail: String,
    pub evidence: String,
    pub remedy: Option<String>,
}

impl Kind {
    pub fn passed(&self, schema: &str, detail: impl Into<String>) -> Check {
        Check {
            id: self.id,
            name: self.name,
            severity: self.severity,
            passed: true,
            weight: self.weight,
            deduction: 0.0,
            detail: detail.into(),
            evidence: self.evidence.replace("{s}", &crate::db::ident::quote(schema)),
            remedy: None,
        }
    }

    /// Takes `share` (0 to 1) of the weight off.
    pub fn failed(&self, schema: &str, share: f64, detail: impl Into<String>, remedy: impl Into<String>) -> Check {
        Check { passed: false, deduction: self.weight * share.clamp(0.0, 1.0), remedy: Some(remedy.into()), ..self.passed(schema, detail) }
    }
}

impl Check {
    pub fn json(&self) -> Json {
        json!({
            "id": self.id, "name": self.name, "passed": self.passed, "severity": self.severity.word(), "weight": self.weight,
            "deduction": rounded(self.deduction), "detail": self.detail, "evidence": self.evidence, "remedy": self.remedy,
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    Healthy,
    Warning,
    Critical,
    Unreachable,
}

impl Status {
    pub const fn word(self) -> &'static str {
        match self {
            Status::Healthy => "HEALTHY",
            Status::Warning => "WARNING",
            Status::Critical => "CRITICAL",
            Status::Unreachable => "UNREACHABLE",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Score {
    pub status: Status,
    pub score: f64,
    pub integrity: f64,
    pub performance: f64,
}

impl Score {
    pub const UNREACHABLE: Score = Score { status: Status::Unreachable, score: 0.0, integrity: 0.0, performance: 0.0 };

    pub fn of(checks: &[Check]) -> Score {
        let counted = checks.iter().filter(|c| c.severity != Severity::Info);
        let all = counted.clone().count();
        let passed = counted.filter(|c| c.passed).count();
        let integrity = if all == 0 { 100.0 } else { passed as f64 / all as f64 * 100.0 };
        let performance = (100.0 - checks.iter().map(|c| c.deduction).sum::<f64>()).max(0.0);
        let score = ((integrity + performance) / 2.0).clamp(0.0, 100.0);
        let worst = checks.iter().filter(|c| !c.passed).map(|c| c.severity).max();
        let status = match worst {
            Some(Severity::Critical) => Status::Critical,
            _ if score < 50.0 => Status::Critical,
            Some(Severity::Error) => Status::Warning,
            _ if score < 80.0 => Status::Warning,
            _ => Status::Healthy,
        };
        Score { status, score, integrity, performance }
    }
}

/// Two decimals, for people.
pub fn rounded(x: f64) -> f64 {
    (x * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_by_the_formula() {
        let kind = |severity, weight| Kind { id: "x", name: "x", severity, weight, evidence: "" };
        let ok = || kind(Severity::Critical, 0.0).passed("main", "");
        let bad = |severity, weight| kind(severity, weight).failed("main", 1.0, "", "");
        assert_eq!(Score::of(&[ok(), ok()]).score, 100.0);
        let s = Score::of(&[ok(), ok(), ok(), bad(Severity::Warning, 10.0)]);
        assert_eq!((s.integrity, s.performance, s.score, s.status), (75.0, 90.0, 82.5, Status::Healthy));
        assert_eq!(Score::of(&[ok(), bad(Severity::Critical, 0.0)]).status, Status::Critical);
        assert_eq!(Score::of(&[ok(), ok(), ok(), ok(), ok(), bad(Severity::Error, 0.0)]).status, Status::Warning);
        // INFO is told and not counted.
        assert_eq!(Score::of(&[ok(), bad(Severity::Info, 0.0)]).score, 100.0);
        assert_eq!(Score::of(&[bad(Severity::Warning, 100.0)]).status, Status::Critical);
    }
}
