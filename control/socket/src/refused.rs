//! Answers that say no, all in one shape.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;

use crate::Problem;

/// A status and the problem that is its body.
#[derive(Debug)]
pub struct Refused {
    status: StatusCode,
    problem: Problem,
}

impl Refused {
    /// Any status, with a title of a few words and what to do.
    pub fn new(status: StatusCode, title: &str, detail: impl Into<String>) -> Self {
        Self { status, problem: Problem { title: title.to_owned(), detail: detail.into() } }
    }

    /// 404.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not found", detail)
    }

    /// 409.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "in the way", detail)
    }

    /// 422.
    pub fn unprocessable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "not acceptable as it is", detail)
    }

    /// 405.
    pub fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed", "this path answers other methods")
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.problem)).into_response();
        let problem = header::HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, problem);
        response
    }
}

impl From<tokio::task::JoinError> for Refused {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error", error.to_string())
    }
}

/// Reads a JSON body of which every field must be known.
///
/// # Errors
/// The body is too large, no JSON, or says what the type does not know; the answer to give.
pub fn read<T: DeserializeOwned>(body: Result<Bytes, BytesRejection>) -> Result<T, Refused> {
    let body = body
        .map_err(|rejection| Refused::new(rejection.status(), "body not readable", rejection.body_text()))?;
    serde_json::from_slice(&body).map_err(|error| {
        if error.is_data() {
            Refused::unprocessable(error.to_string())
        } else {
            Refused::new(StatusCode::BAD_REQUEST, "not JSON", error.to_string())
        }
    })
}
