//! Those whom control asks: the HSS for a device's type (R-D9), the PCRF for its policies (R-D10).
//!
//! The traits are where real ones will join, over S6m and Rx. The embedded ones answer from the store. An
//! answer that takes too long is a failed one; service control decides when to ask again.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;
use weir_service_control::{Condition, DeviceId, Input, Policy, Subscription};
use weir_store::Store;

use crate::metrics::{Metrics, Outcome, Peer};

/// An answer to come; `Err` says in words why there is none, without naming a device.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, String>> + Send + 'a>>;

/// Knows subscriptions.
pub trait Hss: Send + Sync {
    /// What is known of a device.
    fn subscription<'a>(&'a self, device: &'a DeviceId) -> Answer<'a, Subscription>;
}

/// Knows policies.
pub trait Pcrf: Send + Sync {
    /// The policies of a device; `event` is what was detected, if that is why it is asked.
    fn policies<'a>(&'a self, device: &'a DeviceId, event: Option<&'a Condition>) -> Answer<'a, Vec<Policy>>;
}

/// The peers of one control server.
#[derive(Clone)]
pub struct Peers {
    /// Asked for subscriptions.
    pub hss: Arc<dyn Hss>,
    /// Asked for policies.
    pub pcrf: Arc<dyn Pcrf>,
}

impl Peers {
    /// Both embedded: the store is the truth.
    pub fn embedded(store: &Arc<Store>) -> Self {
        let embedded = Arc::new(Embedded(store.clone()));
        Self { hss: embedded.clone(), pcrf: embedded }
    }
}

/// HSS and PCRF over the store.
struct Embedded(Arc<Store>);

impl Hss for Embedded {
    fn subscription<'a>(&'a self, device: &'a DeviceId) -> Answer<'a, Subscription> {
        let device = device.clone();
        Box::pin(read(self.0.clone(), move |store| {
            Ok(match store.subscriber(&device)? {
                Some(subscriber) => Subscription::Known { device_type: subscriber.device_type },
                None => Subscription::Unknown,
            })
        }))
    }
}

impl Pcrf for Embedded {
    fn policies<'a>(&'a self, device: &'a DeviceId, _: Option<&'a Condition>) -> Answer<'a, Vec<Policy>> {
        let device = device.clone();
        Box::pin(read(self.0.clone(), move |store| store.policies_of(&device)))
    }
}

async fn read<T: Send + 'static>(
    store: Arc<Store>,
    query: impl FnOnce(&Store) -> Result<T, weir_store::Error> + Send + 'static,
) -> Result<T, String> {
    match tokio::task::spawn_blocking(move || query(&store)).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// Asks and measures; whatever happens becomes an answer.
#[derive(Clone)]
pub(crate) struct Questions {
    pub(crate) peers: Peers,
    pub(crate) timeout: Duration,
    pub(crate) metrics: Arc<Metrics>,
}

impl Questions {
    /// Asks the HSS.
    pub(crate) async fn subscription(self, device: DeviceId) -> Input {
        let answer = self.ask(Peer::Hss, self.peers.hss.subscription(&device)).await;
        match &answer {
            Ok(Subscription::Known { device_type }) => {
                tracing::info!(?device, "HSS answered: device type {device_type}");
            }
            Ok(Subscription::Unknown) => tracing::info!(?device, "HSS answered: unknown subscriber"),
            Err(reason) => tracing::warn!(?device, "HSS did not answer: {reason}"),
        }
        Input::SubscriptionAnswered { device, answer }
    }

    /// Asks the PCRF.
    pub(crate) async fn policies(self, device: DeviceId, event: Option<Condition>) -> Input {
        let answer = self.ask(Peer::Pcrf, self.peers.pcrf.policies(&device, event.as_ref())).await;
        match &answer {
            Ok(policies) => {
                let ids: Vec<u32> = policies.iter().map(|policy| policy.id.0).collect();
                tracing::info!(?device, "PCRF answered: policies {ids:?}");
            }
            Err(reason) => tracing::warn!(?device, "PCRF did not answer: {reason}"),
        }
        Input::PoliciesAnswered { device, answer }
    }

    async fn ask<T>(&self, peer: Peer, answer: Answer<'_, T>) -> Result<T, String> {
        let asked = Instant::now();
        let (outcome, answer) = match timeout(self.timeout, answer).await {
            Ok(Ok(answer)) => (Outcome::Answered, Ok(answer)),
            Ok(Err(reason)) => (Outcome::Failed, Err(reason)),
            Err(_) => (Outcome::TimedOut, Err(format!("no answer within {:?}", self.timeout))),
        };
        self.metrics.query(peer, outcome).observe(asked.elapsed().as_secs_f64());
        answer
    }
}
