//! The three pages. All are GET; axum answers every other method with 405.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Registry, TextEncoder};

use crate::Readiness;

/// `/metrics` (Prometheus text format), `/healthz` (the process answers) and `/readyz` (200 when ready, else
/// 503 with the outstanding conditions, one a line; remarks follow either way).
pub fn routes(registry: Registry, readiness: Readiness) -> Router {
    Router::new()
        .route("/metrics", get(metrics).with_state(registry))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready).with_state(readiness))
}

async fn metrics(State(registry): State<Registry>) -> Response {
    match TextEncoder::new().encode_to_string(&registry.gather()) {
        Ok(page) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], page).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn ready(State(readiness): State<Readiness>) -> (StatusCode, String) {
    let outstanding = readiness.outstanding();
    let remarks: String = readiness.remarks().iter().map(|words| format!("note: {words}\n")).collect();
    if outstanding.is_empty() {
        return (StatusCode::OK, format!("ready\n{remarks}"));
    }
    let lines: String = outstanding.iter().map(|name| format!("not yet: {name}\n")).collect();
    (StatusCode::SERVICE_UNAVAILABLE, lines + &remarks)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use prometheus::IntCounter;
    use tower::ServiceExt;

    use super::*;

    async fn ask(routes: &Router, method: &str, path: &str) -> (StatusCode, String) {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let response = routes.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn pages_show_metrics_health_and_readiness() {
        let registry = Registry::new();
        let counter = IntCounter::new("weir_accesses_total", "Accesses").unwrap();
        registry.register(Box::new(counter.clone())).unwrap();
        counter.inc_by(3);
        let readiness = Readiness::default();
        let synced = readiness.condition("synced with control");
        let remark = readiness.remark();
        let routes = routes(registry, readiness);

        let (status, page) = ask(&routes, "GET", "/metrics").await;
        assert_eq!(status, StatusCode::OK);
        assert!(page.contains("weir_accesses_total 3"), "{page}");
        assert_eq!(ask(&routes, "GET", "/healthz").await, (StatusCode::OK, "ok\n".to_owned()));
        let (status, page) = ask(&routes, "GET", "/readyz").await;
        assert_eq!(
            (status, page.as_str()),
            (StatusCode::SERVICE_UNAVAILABLE, "not yet: synced with control\n")
        );
        synced.set(true);
        remark.say(Some("the node is bypassed".to_owned()));
        let (status, page) = ask(&routes, "GET", "/readyz").await;
        assert_eq!((status, page.as_str()), (StatusCode::OK, "ready\nnote: the node is bypassed\n"));
        remark.say(None);
        assert_eq!(ask(&routes, "GET", "/readyz").await, (StatusCode::OK, "ready\n".to_owned()));
    }

    #[tokio::test]
    async fn nothing_can_be_changed() {
        let routes = routes(Registry::new(), Readiness::default());
        for path in ["/metrics", "/healthz", "/readyz"] {
            for method in ["POST", "PUT", "DELETE"] {
                assert_eq!(ask(&routes, method, path).await.0, StatusCode::METHOD_NOT_ALLOWED);
            }
        }
    }
}
