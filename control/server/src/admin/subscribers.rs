//! The subscribers of the embedded HSS.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use weir_service_control::{DeviceId, PolicyId};
use weir_socket::{Refused, read};
use weir_store::Store;

use super::{Admin, refused};
use crate::api::{self, check_device_id};

pub(super) async fn list(State(admin): State<Admin>) -> Result<Json<Vec<api::Subscriber>>, Refused> {
    let subscribers = admin.in_store(Store::subscribers).await?;
    Ok(Json(subscribers.into_iter().map(Into::into).collect()))
}

pub(super) async fn show(
    State(admin): State<Admin>,
    Path(device): Path<String>,
) -> Result<Json<api::Subscriber>, Refused> {
    let device = DeviceId(device);
    let found = admin.in_store(move |store| store.subscriber(&device)).await?;
    found.map(|subscriber| Json(subscriber.into())).ok_or_else(absent)
}

pub(super) async fn set(
    State(admin): State<Admin>,
    Path(device): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<api::Subscriber>), Refused> {
    let invalid = check_device_id("device", &device);
    if !invalid.is_empty() {
        return Err(refused::invalid("subscriber", &invalid));
    }
    let subscriber: api::Subscriber = read(body)?;
    if subscriber.device.0 != device {
        return Err(Refused::unprocessable("device: is another one in the body than in the path"));
    }
    let _changing = admin.changing.lock().await;
    let policies = admin.in_store(Store::policies).await?;
    let find = |id| policies.iter().find(|policy| policy.id == PolicyId(id)).cloned();
    let mut invalid = subscriber.check_against(find);
    let held: Vec<_> = subscriber.policies.iter().filter_map(|id| find(*id)).collect();
    invalid.extend(admin.check_histories(&held));
    if !invalid.is_empty() {
        return Err(refused::invalid("subscriber", &invalid));
    }
    let kept: weir_store::Subscriber = subscriber.clone().into();
    let existed = admin
        .in_store(move |store| {
            let existed = store.subscriber(&kept.device)?.is_some();
            store.put_subscriber(&kept)?;
            Ok(existed)
        })
        .await?;
    admin.changed([subscriber.device.clone()]).await?;
    Ok((if existed { StatusCode::OK } else { StatusCode::CREATED }, Json(subscriber)))
}

pub(super) async fn delete(
    State(admin): State<Admin>,
    Path(device): Path<String>,
) -> Result<StatusCode, Refused> {
    let device = DeviceId(device);
    let gone = device.clone();
    let _changing = admin.changing.lock().await;
    if !admin.in_store(move |store| store.delete_subscriber(&gone)).await? {
        return Err(absent());
    }
    admin.changed([device]).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn absent() -> Refused {
    Refused::not_found("there is no such subscriber")
}
