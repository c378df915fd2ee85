//! Devices as service control sees them.

use axum::Json;
use axum::extract::{Path, State};
use weir_service_control::DeviceId;
use weir_socket::Refused;

use super::Admin;
use super::decisions::latest;
use crate::api;

/// Decisions shown with a device.
const DECISIONS: usize = 10;

pub(super) async fn list(State(admin): State<Admin>) -> Result<Json<Vec<api::DeviceSummary>>, Refused> {
    let devices = admin.brain.ask(|control| control.devices().map(|device| (&device).into()).collect());
    Ok(Json(devices.await?))
}

/// What is known of a device from any side; one that only the HSS knows is shown as well.
pub(super) async fn show(
    State(admin): State<Admin>,
    Path(device): Path<String>,
) -> Result<Json<api::Device>, Refused> {
    let id = DeviceId(device);
    let asked = id.clone();
    let (state, alarms) = admin
        .brain
        .ask(move |control| {
            let alarms = control.alarms_of(&asked).into_iter();
            (control.device(&asked), alarms.map(Into::into).collect::<Vec<api::Alarm>>())
        })
        .await?;
    let asked = id.clone();
    let subscriber = admin.in_store(move |store| store.subscriber(&asked)).await?;
    if state.is_none() && subscriber.is_none() {
        return Err(Refused::not_found("neither HSS nor service control knows this device"));
    }
    let mut shown = match state {
        Some(state) => api::Device::from(&state),
        None => api::Device::from(id.clone()),
    };
    shown.alarms = alarms;
    shown.subscriber = subscriber.map(Into::into);
    shown.decisions = latest(&admin, Some(id), DECISIONS).await?;
    Ok(Json(shown))
}
