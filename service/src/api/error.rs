//! What a refusal looks like: the one table from SQLSTATE to HTTP status, and problem documents (RFC 9457).

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::db::DbError;

/// Seconds that a caller is told to wait when the database cannot answer now.
pub const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// The HTTP status of an error that SQL raised. Classes that are not listed are faults of ours: 500.
pub fn status_of(sqlstate: &str) -> StatusCode {
    match sqlstate {
        // Values that do not parse or that a constraint refuses: numbers, dates, characters, JSON.
        "22023" | "22P02" | "23514" | "22007" | "22008" | "22021" | "22P05" => StatusCode::BAD_REQUEST,
        "42501" => StatusCode::FORBIDDEN,
        "P0002" => StatusCode::NOT_FOUND,
        "23505" | "55000" => StatusCode::CONFLICT,
        // Lock timeout, cancelled, serialization failure, deadlock, read-only standby.
        "55P03" | "57014" | "40001" | "40P01" | "25006" => StatusCode::SERVICE_UNAVAILABLE,
        s if s.starts_with("08") || s.starts_with("53") || s.starts_with("57P") => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// A refusal before its form is chosen: each API writes it in its own words.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// 4xx or 5xx.
    pub status: StatusCode,
    /// What went wrong, for a person. Never the text of an internal fault.
    pub detail: String,
    /// How to mend it.
    pub hint: Option<String>,
    /// The SQLSTATE, when SQL raised it.
    pub code: Option<String>,
}

impl Refusal {
    /// A refusal without hint or code.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), hint: None, code: None }
    }

    /// The same with a hint.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// 400 with what is wrong.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 404 with what was looked for.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 503: the database does not answer.
    pub fn unavailable() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "The database cannot be reached at the moment")
            .hint("Ask again; /ready on the admin listener says when it is back")
    }

    /// 503: another transaction holds what the call needs.
    pub fn busy() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "The cluster is locked by another transaction").hint("Ask again")
    }

    /// 500. `fault` goes to the log and nowhere else.
    pub fn internal(fault: impl std::fmt::Display) -> Self {
        // Quoted, so that text from elsewhere stays on its line.
        tracing::error!(error = ?fault.to_string(), "a request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "An internal error occurred; the service's log has the details")
    }

    /// Detail and hint in one sentence, for APIs whose errors are one string.
    pub fn sentence(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{} ({hint})", self.detail),
            None => self.detail.clone(),
        }
    }

    /// Adds the headers that the status asks for.
    pub fn decorate(&self, response: &mut Response) {
        match self.status {
            StatusCode::SERVICE_UNAVAILABLE => {
                response.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
            }
            // Basic is offered because FleetLock clients and browsers can send nothing else; its password is the token.
            StatusCode::UNAUTHORIZED => {
                let headers = response.headers_mut();
                headers.append(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"goahead\""));
                headers
                    .append(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"goahead\", charset=\"UTF-8\""));
            }
            _ => {}
        }
    }
}

impl From<DbError> for Refusal {
    fn from(error: DbError) -> Self {
        let sql = match error {
            DbError::Unavailable(reason) => {
                tracing::debug!(reason, "the database did not answer");
                return Self::unavailable();
            }
            DbError::Answer(text) => return Self::internal(text),
            DbError::Sql(sql) => *sql,
        };
        let status = status_of(&sql.code);
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            // Details of an unexpected error may be a backtrace, too long for a log that is read every day.
            tracing::debug!(sqlstate = sql.code, detail = ?sql.detail, hint = ?sql.hint, "of the following error");
            return Self::internal(format_args!("{}: {}", sql.code, sql.message));
        }
        let detail = match sql.detail {
            Some(detail) => format!("{}: {detail}", sql.message),
            None => sql.message,
        };
        Self { status, detail, hint: sql.hint, code: Some(sql.code) }
    }
}

/// A problem document (RFC 9457): the body of every error of the native API.
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    /// Always `about:blank`: the title is that of the status.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What went wrong.
    detail: String,
    /// The SQLSTATE, when the database refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    /// How to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

/// A [`Refusal`] in the native API answers as a problem document.
impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let problem = Problem {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: self.detail.clone(),
            code: self.code.clone(),
            hint: self.hint.clone(),
        };
        let mut response = (self.status, axum::Json(problem)).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        self.decorate(&mut response);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::SqlError;

    #[test]
    fn sqlstates_map_as_published() {
        for (state, status) in [
            ("22023", 400),
            ("22P02", 400),
            ("23514", 400),
            ("42501", 403),
            ("P0002", 404),
            ("23505", 409),
            ("55000", 409),
            ("55P03", 503),
            ("57014", 503),
            ("40001", 503),
            ("40P01", 503),
            ("25006", 503),
            ("08006", 503),
            ("53300", 503),
            ("57P01", 503),
            ("XX000", 500),
            ("42883", 500),
        ] {
            assert_eq!(status_of(state).as_u16(), status, "{state}");
        }
    }

    #[test]
    fn internal_text_stays_inside() {
        let refusal: Refusal = DbError::Sql(Box::new(SqlError {
            code: "XX000".into(),
            message: "secret path /var/lib".into(),
            detail: None,
            hint: Some("secret".into()),
        }))
        .into();
        assert_eq!(refusal.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!refusal.sentence().contains("secret"));
    }

    #[test]
    fn busy_database_says_when_to_come_back() {
        let response = Refusal::unavailable().into_response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[RETRY_AFTER], "1");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
    }
}
