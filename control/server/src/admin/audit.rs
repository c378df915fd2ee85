//! What operators did on nodes, past control, newest first (R-X8).

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::Deserialize;
use weir_service_control::NodeName;
use weir_socket::Refused;

use super::Admin;
use crate::api;

/// Lines shown when no number is asked for.
const DEFAULT: usize = 50;
/// The most that are shown at once.
const MOST: usize = 1000;

/// Which lines.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    node: Option<String>,
    limit: Option<usize>,
}

pub(super) async fn list(
    State(admin): State<Admin>,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<Json<Vec<api::AuditLine>>, Refused> {
    let Query(which) = which.map_err(|rejection| Refused::unprocessable(rejection.body_text()))?;
    let limit = which.limit.unwrap_or(DEFAULT);
    if !(1..=MOST).contains(&limit) {
        return Err(Refused::unprocessable(format!("limit: must be from 1 to {MOST}")));
    }
    let node = which.node.map(NodeName);
    let lines = admin.in_store(move |store| store.audit_lines(node.as_ref(), limit)).await?;
    Ok(Json(lines.iter().map(Into::into).collect()))
}
