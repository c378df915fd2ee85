//! What has been decided, newest first.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::Deserialize;
use weir_service_control::DeviceId;
use weir_socket::Refused;

use super::Admin;
use crate::api;

/// Decisions shown when no number is asked for.
const DEFAULT: usize = 50;
/// The most that are shown at once.
const MOST: usize = 1000;

/// Which decisions.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    device: Option<String>,
    limit: Option<usize>,
}

pub(super) async fn list(
    State(admin): State<Admin>,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<Json<Vec<api::Decision>>, Refused> {
    let Query(which) = which.map_err(|rejection| Refused::unprocessable(rejection.body_text()))?;
    let limit = which.limit.unwrap_or(DEFAULT);
    if !(1..=MOST).contains(&limit) {
        return Err(Refused::unprocessable(format!("limit: must be from 1 to {MOST}")));
    }
    latest(&admin, which.device.map(DeviceId), limit).await.map(Json)
}

/// The latest decisions, about one device or all.
pub(super) async fn latest(
    admin: &Admin,
    device: Option<DeviceId>,
    limit: usize,
) -> Result<Vec<api::Decision>, Refused> {
    let decisions = admin.in_store(move |store| store.decisions(device.as_ref(), limit)).await?;
    Ok(decisions.iter().map(Into::into).collect())
}
