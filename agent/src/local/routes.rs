//! Paths to requests, answers to responses. The socket's mode is the only guard.

use std::{convert::Infallible, path::Path as FilePath, time::Duration};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{
        ConnectInfo, DefaultBodyLimit, Path, Query, State,
        rejection::{BytesRejection, QueryRejection},
    },
    http::StatusCode,
    routing::{get, put},
};
use tokio::{
    net::UnixListener,
    sync::{mpsc, oneshot},
};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use weir_socket::{Caller, Refused, SocketFile, read};

use super::{
    api,
    request::{Answer, LocalRequest, Refusal},
};
use crate::{
    audit::{Line, Who},
    capture::Request,
};

/// The largest body: a number and a line of text.
const MAX_BODY: usize = 16 << 10;

/// A socket that listens and does not answer yet.
pub struct LocalSocket {
    listener: UnixListener,
    file: SocketFile,
}

type Agent = mpsc::Sender<LocalRequest>;

impl LocalSocket {
    /// Listens; a start that must fail shall do so before anything is attached.
    ///
    /// # Errors
    /// Another node listens there, something else stands there, or the system refuses.
    pub async fn bind(path: &FilePath) -> Result<Self, weir_socket::Error> {
        let (listener, file) = weir_socket::bind(path).await?;
        Ok(Self { listener, file })
    }

    /// Answers for as long as this is polled; then the socket is gone.
    pub async fn serve(self, agent: mpsc::Sender<LocalRequest>) {
        let _file = self.file;
        let service = routes(agent).into_make_service_with_connect_info::<Caller>();
        if let Err(error) = axum::serve(self.listener, service).await {
            tracing::error!("the local socket answers no more: {error}");
        }
    }
}

/// The routes, for a socket of one's own.
pub fn routes(agent: mpsc::Sender<LocalRequest>) -> Router {
    let v1 = Router::new()
        .route("/status", get(status))
        .route("/audit", get(audit))
        .route("/capture", get(capture))
        .route("/bypass", put(bypass).delete(end_bypass))
        .route("/devices/{device}/exemption", put(exempt).delete(end_exemption));
    Router::new()
        .nest("/v1", v1)
        .fallback(|| async { Refused::not_found("no such path; the API is under /v1") })
        .method_not_allowed_fallback(|| async { Refused::method_not_allowed() })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(agent)
}

async fn status(State(agent): State<Agent>) -> Result<Json<api::Status>, Refused> {
    ask(&agent, LocalRequest::Status).await.map(Json)
}

async fn audit(State(agent): State<Agent>) -> Result<Json<Vec<Line>>, Refused> {
    ask(&agent, LocalRequest::Audit).await.map(Json)
}

/// The answer goes on for as long as there is something to say and somebody listens.
async fn capture(
    State(agent): State<Agent>,
    request: Result<Query<Request>, QueryRejection>,
) -> Result<Body, Refused> {
    let Query(request) = request.map_err(|rejection| Refused::unprocessable(rejection.body_text()))?;
    let packets = ask(&agent, |answer| LocalRequest::Capture { request, answer }).await?.map_err(refused)?;
    Ok(Body::from_stream(ReceiverStream::new(packets).map(Ok::<_, Infallible>)))
}

async fn bypass(
    State(agent): State<Agent>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<api::Done>, Refused> {
    suspend(&agent, None, &caller, body).await
}

async fn exempt(
    State(agent): State<Agent>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    Path(device): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<api::Done>, Refused> {
    suspend(&agent, Some(device), &caller, body).await
}

async fn end_bypass(
    State(agent): State<Agent>,
    ConnectInfo(caller): ConnectInfo<Caller>,
) -> Result<Json<api::Done>, Refused> {
    resume(&agent, None, &caller).await
}

async fn end_exemption(
    State(agent): State<Agent>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    Path(device): Path<String>,
) -> Result<Json<api::Done>, Refused> {
    resume(&agent, Some(device), &caller).await
}

async fn suspend(
    agent: &Agent,
    device: Option<String>,
    caller: &Caller,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<api::Done>, Refused> {
    let api::Suspend { for_seconds, reason } = read(body)?;
    let (length, who) = (Duration::from_secs(for_seconds), Who::of(caller));
    let request = |answer| LocalRequest::Suspend { device, length, reason, who, answer };
    Ok(Json(ask(agent, request).await?.map_err(refused)?))
}

async fn resume(agent: &Agent, device: Option<String>, caller: &Caller) -> Result<Json<api::Done>, Refused> {
    let who = Who::of(caller);
    let request = |answer| LocalRequest::Resume { device, who, answer };
    Ok(Json(ask(agent, request).await?.map_err(refused)?))
}

/// Puts a request to the agent's task and waits for the answer.
async fn ask<T>(agent: &Agent, request: impl FnOnce(Answer<T>) -> LocalRequest) -> Result<T, Refused> {
    let ending = || Refused::new(StatusCode::SERVICE_UNAVAILABLE, "not now", "the node is ending");
    let (answer, answered) = oneshot::channel();
    agent.send(request(answer)).await.map_err(|_| ending())?;
    answered.await.map_err(|_| ending())
}

fn refused(refusal: Refusal) -> Refused {
    match refusal {
        Refusal::Absent(detail) => Refused::not_found(detail),
        Refusal::Invalid(detail) => Refused::unprocessable(detail),
        Refusal::InTheWay(detail) => Refused::conflict(detail),
    }
}
