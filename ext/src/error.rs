//! One error type; every message reaches the SQL user as `name: what happened. What to do. [DBINT_KIND]`.
use rusqlite::ffi::ErrorCode;
use std::fmt;

pub type Result<T> = std::result::Result<T, Error>;

/// The stable tag at the end of every message. Scripts match on it; the words before it may improve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A wrong argument or option: nothing was tried.
    Argument,
    /// A database, table, column, file or id that does not exist.
    NotFound,
    /// A file that is no SQLite database, or a damaged one.
    NotADatabase,
    Corrupt,
    /// Locked by somebody else for the whole retry time.
    Busy,
    /// The target cannot be written: file permissions, directory, `query_only`.
    ReadOnly,
    /// The disk or a size limit is full.
    Full,
    SizeLimit,
    /// The operating system refused reading or writing.
    Io,
    /// Interrupted by the user.
    Interrupted,
    /// A constraint of the target refused the rows.
    Constraint,
    /// Both sides changed and the policy says stop.
    Conflict,
    /// The caller's own write transaction is open.
    InTransaction,
    /// Refused: what was asked for is not possible for this object.
    Unsupported,
    /// A newer dbint wrote this.
    Newer,
    /// A circuit breaker is open.
    BreakerOpen,
    /// A server could not be reached or answered with an error.
    Remote,
    /// Not allowed by policy or setting.
    Denied,
    /// Any other error of SQLite.
    Sqlite,
    /// A bug in dbint.
    Internal,
}

impl Kind {
    pub const fn tag(self) -> &'static str {
        match self {
            Kind::Argument => "DBINT_ARGUMENT",
            Kind::NotFound => "DBINT_NOT_FOUND",
            Kind::NotADatabase => "DBINT_NOT_A_DATABASE",
            Kind::Corrupt => "DBINT_CORRUPT",
            Kind::Busy => "DBINT_BUSY",
            Kind::ReadOnly => "DBINT_READ_ONLY",
            Kind::Full => "DBINT_FULL",
            Kind::SizeLimit => "DBINT_SIZE_LIMIT",
            Kind::Io => "DBINT_IO",
            Kind::Interrupted => "DBINT_INTERRUPTED",
            Kind::Constraint => "DBINT_CONSTRAINT",
            Kind::Conflict => "DBINT_CONFLICT",
            Kind::InTransaction => "DBINT_IN_TRANSACTION",
            Kind::Unsupported => "DBINT_UNSUPPORTED",
            Kind::Newer => "DBINT_NEWER",
            Kind::BreakerOpen => "DBINT_BREAKER_OPEN",
            Kind::Remote => "DBINT_REMOTE",
            Kind::Denied => "DBINT_DENIED",
            Kind::Sqlite => "DBINT_SQLITE",
            Kind::Internal => "DBINT_INTERNAL",
        }
    }

    /// Worth another try after a pause: the cause may be gone by then.
    pub const fn is_transient(self) -> bool {
        matches!(self, Kind::Busy | Kind::Io | Kind::Remote)
    }
}

/// What went wrong, where, and what to do about it.
#[derive(Debug)]
pub struct Error {
    pub kind: Kind,
    pub message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), source: None }
    }

    pub fn argument(message: impl Into<String>) -> Self {
        Error::new(Kind::Argument, message)
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Error::new(Kind::NotFound, message)
    }

    pub fn unsupported(message: impl Into<String>) -> Self {
        Error::new(Kind::Unsupported, message)
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Error::new(Kind::Internal, message)
    }

    /// Says where it happened; the kind stays.
    pub fn context(mut self, place: impl fmt::Display) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// Adds what the user can do about it.
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        let end = if self.message.ends_with(['.', '?', '!']) { "" } else { "." };
        self.message = format!("{}{end} {hint}", self.message);
        self
    }
}

/// `.at("replica.db")` on any result whose error becomes ours.
pub trait At<T> {
    fn at(self, place: impl fmt::Display) -> Result<T>;
}
impl<T, E: Into<Error>> At<T> for std::result::Result<T, E> {
    fn at(self, place: impl fmt::Display) -> Result<T> {
        self.map_err(|e| e.into().context(place))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A C string ends at its first NUL, and the tag would be lost: names and keys may hold one.
        write!(f, "{} [{}]", self.message.replace('\0', "\\0"), self.kind.tag())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}

impl From<rusqlite::Error> for Error {
    fn from(e: rusqlite::Error) -> Self {
        let code = e.sqlite_error_code();
        let kind = match code {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed) => Kind::Busy,
            Some(ErrorCode::ReadOnly) => Kind::ReadOnly,
            Some(ErrorCode::PermissionDenied) => Kind::ReadOnly,
            Some(ErrorCode::DiskFull) => Kind::Full,
            Some(ErrorCode::SystemIoFailure) => Kind::Io,
            Some(ErrorCode::CannotOpen) => Kind::Io,
            Some(ErrorCode::OperationInterrupted) => Kind::Interrupted,
            Some(ErrorCode::ConstraintViolation) => Kind::Constraint,
            Some(ErrorCode::NotADatabase) => Kind::NotADatabase,
            Some(ErrorCode::DatabaseCorrupt) => Kind::Corrupt,
            _ => Kind::Sqlite,
        };
        let message = match &e {
            rusqlite::Error::SqliteFailure(_, Some(text)) => text.clone(),
            // Exists with newer bindings only; the loadable build keeps to those of the oldest host.
            #[cfg(not(feature = "loadable"))]
            rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
            other => other.to_string(),
        };
        Error { kind, message, source: Some(Box::new(e)) }
    }
}

impl From<std::io::Error> for Error {
    fn from(e: std::io::Error) -> Self {
        use std::io::ErrorKind as K;
        let kind = match e.kind() {
            K::NotFound => Kind::NotFound,
            K::PermissionDenied | K::ReadOnlyFilesystem => Kind::ReadOnly,
            K::StorageFull | K::QuotaExceeded => Kind::Full,
            K::Interrupted => Kind::Interrupted,
            _ => Kind::Io,
        };
        Error { kind, message: e.to_string(), source: Some(Box::new(e)) }
    }
}

impl From<rusqlite::types::FromSqlError> for Error {
    fn from(e: rusqlite::types::FromSqlError) -> Self {
        rusqlite::Error::from(e).into()
    }
}

impl From<serde_json::Error> for Error {
    fn from(e: serde_json::Error) -> Self {
        Error { kind: Kind::Internal, message: format!("JSON: {e}"), source: Some(Box::new(e)) }
    }
}

/// ` Did you mean "order"?`, or nothing where no candidate is near.
pub fn did_you_mean<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    let given = given.to_lowercase();
    candidates
        .into_iter()
        .map(|c| (strsim::jaro_winkler(&given, &c.to_lowercase()), c))
        .filter(|(near, _)| *near > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or(String::new(), |(_, c)| format!(" Did you mean \"{c}\"?"))
}
