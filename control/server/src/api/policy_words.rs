//! A policy's words, from the admin API's to service control's and back. Nothing is checked here.

use weir_service_control as sc;

use super::{Action, Comparison, Counted, Kind, Limit, Policy, Scope, Throttle};

/// A comparison "greater or equal N" comes back as "greater N − 1", which permits the same.
impl From<&sc::Policy> for Policy {
    fn from(policy: &sc::Policy) -> Self {
        let (access_limit, forbidden_protocols, rate) = match &policy.rule {
            sc::Rule::AccessLimit(limit) => {
                let (limit, window) = (limit.permitted, limit.window);
                (Some(Limit { limit, window, comparison: Comparison::Greater }), None, None)
            }
            sc::Rule::ForbiddenProtocols(protocols) => (None, Some(protocols.clone()), None),
            sc::Rule::Rate(rate) => (None, None, Some((*rate).into())),
        };
        Self {
            id: policy.id.0,
            scope: policy.scope.into(),
            kinds: policy.kinds.iter().map(|kind| (*kind).into()).collect(),
            access_limit,
            forbidden_protocols,
            rate,
            counts: policy.counts.into(),
            shadow: policy.shadow,
            action: policy.action.into(),
        }
    }
}

impl From<Counted> for sc::Counted {
    fn from(counted: Counted) -> Self {
        match counted {
            Counted::Admitted => Self::Admitted,
            Counted::Requests => Self::Requests,
        }
    }
}

impl From<sc::Counted> for Counted {
    fn from(counted: sc::Counted) -> Self {
        match counted {
            sc::Counted::Admitted => Self::Admitted,
            sc::Counted::Requests => Self::Requests,
        }
    }
}

impl From<Scope> for sc::Scope {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Network => Self::Network,
            Scope::Node => Self::Node,
        }
    }
}

impl From<sc::Scope> for Scope {
    fn from(scope: sc::Scope) -> Self {
        match scope {
            sc::Scope::Network => Self::Network,
            sc::Scope::Node => Self::Node,
        }
    }
}

impl From<Kind> for sc::AccessKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Packet => Self::Packet,
            Kind::Trigger => Self::Trigger,
            Kind::Signalling => Self::Signalling,
        }
    }
}

impl From<sc::AccessKind> for Kind {
    fn from(kind: sc::AccessKind) -> Self {
        match kind {
            sc::AccessKind::Packet => Self::Packet,
            sc::AccessKind::Trigger => Self::Trigger,
            sc::AccessKind::Signalling => Self::Signalling,
        }
    }
}

impl From<Action> for sc::Action {
    fn from(action: Action) -> Self {
        match action {
            Action::None => Self::None,
            Action::Throttle(throttle) => {
                Self::Throttle(sc::AccessLimit { permitted: throttle.limit, window: throttle.window })
            }
            Action::Reject => Self::Reject,
            Action::WithholdResources => Self::WithholdResources,
            Action::Release => Self::Release,
        }
    }
}

impl From<sc::Action> for Action {
    fn from(action: sc::Action) -> Self {
        match action {
            sc::Action::None => Self::None,
            sc::Action::Throttle(limit) => {
                Self::Throttle(Throttle { limit: limit.permitted, window: limit.window })
            }
            sc::Action::Reject => Self::Reject,
            sc::Action::WithholdResources => Self::WithholdResources,
            sc::Action::Release => Self::Release,
        }
    }
}
