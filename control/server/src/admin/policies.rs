//! The policies of the embedded PCRF.
//!
//! A change is refused where it would leave a device with more than its entry can hold, and after it every
//! device that has the policy gets its entry anew (R-D15).

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use weir_service_control::{self as sc, DeviceId, PolicyId};
use weir_socket::{Refused, read};
use weir_store::Store;

use super::{Admin, refused};
use crate::api::{self, check_device_policies};

/// What a deletion may do.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Deletion {
    /// Take the policy from the subscribers that have it.
    #[serde(default)]
    detach: bool,
}

pub(super) async fn list(State(admin): State<Admin>) -> Result<Json<Vec<api::Policy>>, Refused> {
    let policies = admin.in_store(Store::policies).await?;
    Ok(Json(policies.iter().map(Into::into).collect()))
}

pub(super) async fn show(
    State(admin): State<Admin>,
    Path(id): Path<String>,
) -> Result<Json<api::Policy>, Refused> {
    let id = identifier(&id)?;
    let found = admin.in_store(move |store| store.policy(id)).await?;
    found.map(|policy| Json((&policy).into())).ok_or_else(|| absent(id))
}

pub(super) async fn set(
    State(admin): State<Admin>,
    Path(id): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<api::Policy>), Refused> {
    let id = identifier(&id)?;
    let shape: api::Policy = read(body)?;
    if shape.id != id.0 {
        return Err(Refused::unprocessable(format!(
            "id: is {} in the body and {} in the path",
            shape.id, id.0
        )));
    }
    let policy = shape.check().map_err(|invalid| refused::invalid(&format!("policy {}", id.0), &invalid))?;
    let _changing = admin.changing.lock().await;
    let shown = api::Policy::from(&policy);
    let (existed, devices) = replace(&admin, policy).await?;
    admin.changed(devices).await?;
    Ok((if existed { StatusCode::OK } else { StatusCode::CREATED }, Json(shown)))
}

/// Puts a policy into the store if the entries of all who have it can hold it. Says whether there was one
/// before, and who has it.
async fn replace(admin: &Admin, policy: sc::Policy) -> Result<(bool, Vec<DeviceId>), Refused> {
    let checks = admin.clone();
    let outcome = admin.in_store(move |store| {
        let devices = store.devices_with_policy(policy.id)?;
        for device in &devices {
            let policies = with(store.policies_of(device)?, &policy);
            let mut invalid = check_device_policies(&policies);
            invalid.extend(checks.check_histories(&policies));
            if !invalid.is_empty() {
                return Ok(Err(invalid));
            }
        }
        let existed = store.policy(policy.id)?.is_some();
        store.put_policy(&policy)?;
        Ok(Ok((existed, devices)))
    });
    outcome.await?.map_err(|invalid| refused::invalid("a subscriber that has this policy", &invalid))
}

pub(super) async fn delete(
    State(admin): State<Admin>,
    Path(id): Path<String>,
    deletion: Result<Query<Deletion>, QueryRejection>,
) -> Result<StatusCode, Refused> {
    let id = identifier(&id)?;
    let Query(deletion) = deletion.map_err(|rejection| Refused::unprocessable(rejection.body_text()))?;
    let _changing = admin.changing.lock().await;
    let devices = admin.in_store(move |store| store.devices_with_policy(id)).await?;
    if !devices.is_empty() && !deletion.detach {
        let held = format!("policy {} is held by {} subscriber(s)", id.0, devices.len());
        return Err(Refused::conflict(format!("{held}; take it from them first, or ask with ?detach=true")));
    }
    let detached = devices.clone();
    let existed = admin
        .in_store(move |store| {
            for device in &detached {
                detach(store, device, id)?;
            }
            store.delete_policy(id)
        })
        .await?;
    if !existed {
        return Err(absent(id));
    }
    admin.changed(devices).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes a policy from a subscriber.
fn detach(store: &Store, device: &DeviceId, id: PolicyId) -> Result<(), weir_store::Error> {
    if let Some(mut subscriber) = store.subscriber(device)? {
        subscriber.policies.retain(|policy| *policy != id);
        store.put_subscriber(&subscriber)?;
    }
    Ok(())
}

/// A device's policies once `changed` has replaced the one of its number.
fn with(mut policies: Vec<sc::Policy>, changed: &sc::Policy) -> Vec<sc::Policy> {
    policies.retain(|policy| policy.id != changed.id);
    policies.push(changed.clone());
    policies
}

fn identifier(text: &str) -> Result<PolicyId, Refused> {
    text.parse()
        .map(PolicyId)
        .map_err(|_| Refused::not_found(format!("\"{text}\" is no policy identifier; they are numbers")))
}

fn absent(id: PolicyId) -> Refused {
    Refused::not_found(format!("there is no policy {}", id.0))
}
