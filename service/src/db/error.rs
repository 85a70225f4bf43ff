//! Why a call to the database gave no answer.

use tokio_postgres::error::SqlState;

/// Why a call gave no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DbError {
    /// The database cannot be reached, or did not answer in time: whether anything happened is unknown. HTTP 503.
    #[error("the database does not answer: {0}")]
    Unavailable(String),
    /// The database refused; nothing happened.
    #[error("{0}")]
    Sql(Box<SqlError>),
    /// The database answered something else than was agreed; its extension is of another version.
    #[error("the database answered something unexpected: {0}")]
    Answer(String),
}

/// An error that a function raised.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SqlError {
    /// SQLSTATE, five characters
    pub code: String,
    /// The primary message
    pub message: String,
    /// More about the case at hand
    pub detail: Option<String>,
    /// What to do about it
    pub hint: Option<String>,
}

impl std::fmt::Display for SqlError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        for (label, text) in [("Detail", &self.detail), ("Hint", &self.hint)] {
            if let Some(text) = text {
                write!(f, "\n{label}: {text}")?;
            }
        }
        Ok(())
    }
}

impl DbError {
    /// The SQLSTATE, where the database gave one.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Sql(error) => Some(&error.code),
            Self::Unavailable(_) | Self::Answer(_) => None,
        }
    }
}

impl DbError {
    /// The same error as those see it who did not choose the connection: that the service cannot log in, or finds no
    /// database or no function there, is nothing they did.
    pub fn at_connect(self) -> Self {
        match self {
            Self::Sql(error) if ["28", "3D", "3F"].iter().any(|class| error.code.starts_with(class)) => {
                Self::Unavailable(error.message)
            }
            Self::Sql(error) if error.code == "42883" => Self::Unavailable(error.message),
            other => other,
        }
    }
}

impl From<tokio_postgres::Error> for DbError {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            // The server is going away or not yet there: the same to a caller as no server.
            Some(db)
                if [SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN, SqlState::CANNOT_CONNECT_NOW]
                    .contains(db.code()) =>
            {
                Self::Unavailable(db.message().to_owned())
            }
            Some(db) => Self::Sql(Box::new(SqlError {
                code: db.code().code().to_owned(),
                message: db.message().to_owned(),
                detail: db.detail().map(ToOwned::to_owned),
                hint: db.hint().map(ToOwned::to_owned),
            })),
            None => Self::Unavailable(chain(&error)),
        }
    }
}

/// An error with all its causes on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}
