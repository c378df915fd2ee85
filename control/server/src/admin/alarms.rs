//! Active alarms, and an operator's end to them (R-D13).

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use weir_service_control::{DeviceId, Input};
use weir_socket::Refused;

use super::Admin;
use crate::api;

pub(super) async fn list(State(admin): State<Admin>) -> Result<Json<Vec<api::Alarm>>, Refused> {
    let alarms = admin.brain.ask(|control| control.alarms().map(Into::into).collect()).await?;
    Ok(Json(alarms))
}

pub(super) async fn cancel(
    State(admin): State<Admin>,
    Path(device): Path<String>,
) -> Result<StatusCode, Refused> {
    let device = DeviceId(device);
    let asked = device.clone();
    let active =
        admin.brain.ask(move |control| control.device(&asked).map(|device| device.alarm_active)).await?;
    match active {
        None => Err(Refused::not_found("control has never heard of this device")),
        Some(false) => Err(Refused::conflict("the device has no active alarm")),
        Some(true) => {
            admin.brain.tell(Input::OperatorCancels { device }).await?;
            Ok(StatusCode::NO_CONTENT)
        }
    }
}
