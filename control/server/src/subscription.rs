//! Subscribers between the shape that people see and the one that the store keeps.

use weir_service_control::PolicyId;

use crate::api::Subscriber;

impl From<Subscriber> for weir_store::Subscriber {
    fn from(subscriber: Subscriber) -> Self {
        Self {
            device: subscriber.device,
            device_type: subscriber.device_type,
            policies: subscriber.policies.into_iter().map(PolicyId).collect(),
        }
    }
}

impl From<weir_store::Subscriber> for Subscriber {
    fn from(subscriber: weir_store::Subscriber) -> Self {
        Self {
            device: subscriber.device,
            device_type: subscriber.device_type,
            policies: subscriber.policies.into_iter().map(|policy| policy.0).collect(),
        }
    }
}
