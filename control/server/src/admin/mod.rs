//! The admin API: HTTP and JSON on a Unix socket that owner and group may open.
//!
//! What this is: one file per kind of thing, each with its handlers. What it must not do: decide about an
//! access, or listen on TCP before there is authentication. The socket's mode is the only guard. Shapes
//! and checks are in [`crate::api`].
//!
//! | path under `/v1` | methods |
//! |---|---|
//! | `nodes` | GET |
//! | `devices`, `devices/{device}` | GET |
//! | `subscribers`, `subscribers/{device}` | GET; GET, PUT, DELETE |
//! | `policies`, `policies/{id}` | GET; GET, PUT, DELETE (`?detach=true` takes it from its subscribers) |
//! | `alarms`, `alarms/{device}/cancel` | GET; POST |
//! | `decisions?device=&limit=` | GET |
//! | `audit?node=&limit=` | GET |

mod alarms;
mod audit;
mod decisions;
mod devices;
mod policies;
mod refused;
mod subscribers;

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use tokio::net::UnixListener;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use weir_service_control::{self as sc, DeviceId, Input};
use weir_socket::Refused;
use weir_store::Store;

use crate::Error;
use crate::api::{Invalid, Node, check_one_history};
use crate::brain::BrainHandle;
use crate::directory::Directory;

/// The largest body: a policy is a few hundred bytes.
const MAX_BODY: usize = 64 << 10;

/// What the handlers work with.
#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) brain: BrainHandle,
    pub(crate) store: Arc<Store>,
    pub(crate) directory: Arc<Directory>,
    /// Held from check to write, so that two changes cannot each be right and both together wrong.
    pub(crate) changing: Arc<Mutex<()>>,
}

/// Serves until shutdown.
pub(crate) async fn serve(
    admin: Admin,
    listener: UnixListener,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    axum::serve(listener, routes(admin))
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await
        .map_err(Error::Admin)
}

fn routes(admin: Admin) -> Router {
    let v1 = Router::new()
        .route("/nodes", get(nodes))
        .route("/devices", get(devices::list))
        .route("/devices/{device}", get(devices::show))
        .route("/subscribers", get(subscribers::list))
        .route(
            "/subscribers/{device}",
            get(subscribers::show).put(subscribers::set).delete(subscribers::delete),
        )
        .route("/policies", get(policies::list))
        .route("/policies/{id}", get(policies::show).put(policies::set).delete(policies::delete))
        .route("/alarms", get(alarms::list))
        .route("/alarms/{device}/cancel", post(alarms::cancel))
        .route("/decisions", get(decisions::list))
        .route("/audit", get(audit::list));
    Router::new()
        .nest("/v1", v1)
        .fallback(|| async { Refused::not_found("no such path; the API is under /v1") })
        .method_not_allowed_fallback(|| async { Refused::method_not_allowed() })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(admin)
}

async fn nodes(State(admin): State<Admin>) -> Json<Vec<Node>> {
    Json(admin.directory.list())
}

impl Admin {
    /// Runs a query or change on the store, off the async threads.
    async fn in_store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, weir_store::Error> + Send + 'static,
    ) -> Result<T, Refused> {
        let store = self.store.clone();
        let done = tokio::task::spawn_blocking(move || work(&store)).await?;
        done.map_err(|error| refused::store_failed(&error))
    }

    /// Checks whether the entries of all nodes seen so far can judge these policies of one device.
    fn check_histories(&self, policies: &[sc::Policy]) -> Vec<Invalid> {
        let nodes = self.directory.list();
        let each = nodes.iter().map(|node| check_one_history(policies, &node.kinds));
        each.into_iter().find(|invalid| !invalid.is_empty()).unwrap_or_default()
    }

    /// Has the entries of these devices made anew (R-D15).
    async fn changed(&self, devices: impl IntoIterator<Item = DeviceId>) -> Result<(), Refused> {
        for device in devices {
            self.brain.tell(Input::SubscriberChanged { device }).await?;
        }
        Ok(())
    }
}
