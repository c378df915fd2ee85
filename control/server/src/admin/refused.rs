//! Answers of the admin API that say no, beside those that every socket gives.

use weir_socket::Refused;

use axum::http::StatusCode;

use crate::api::Invalid;
use crate::brain::Gone;

/// Everything that is wrong with a value, in one sentence each.
pub(crate) fn invalid(what: &str, invalid: &[Invalid]) -> Refused {
    let reasons: Vec<String> = invalid.iter().map(|invalid| format!("{what}: {invalid}")).collect();
    Refused::unprocessable(reasons.join("; "))
}

/// The store failed, or refuses.
pub(crate) fn store_failed(error: &weir_store::Error) -> Refused {
    tracing::error!(%error, "the store failed the admin API");
    Refused::new(StatusCode::INTERNAL_SERVER_ERROR, "the store failed", error.to_string())
}

impl From<Gone> for Refused {
    fn from(gone: Gone) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "not now", gone.to_string())
    }
}
