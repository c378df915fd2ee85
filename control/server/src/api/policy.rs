//! A policy as people write it, and its way to and from the one that service control judges by (R-D2, R-D3).

use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_service_control as sc;

use super::{Invalid, check_limit, check_protocols, duration};

/// A policy: one rule (`access_limit` or `forbidden_protocols`) and what a violation leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Identifier, from 1.
    pub id: u32,
    /// Where accesses are summed.
    #[serde(default)]
    pub scope: Scope,
    /// Kinds of access counted; empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<Kind>,
    /// The rule: how often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_limit: Option<Limit>,
    /// The rule: by which protocols not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forbidden_protocols: Option<Vec<String>>,
    /// What a violation leads to.
    pub action: Action,
}

/// Where a policy's accesses are summed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Over all nodes.
    #[default]
    Network,
    /// On each node by itself.
    Node,
}

/// A kind of access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The first uplink packet of a device with no open session.
    Packet,
    /// An application server wakes an idle device.
    Trigger,
    /// A radio resource request.
    Signalling,
}

/// A rule: broken by more than (or, compared so, as many as) `limit` accesses in `window`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// Accesses, the one being judged included.
    pub limit: u32,
    /// The window's length.
    #[serde(with = "duration")]
    pub window: Duration,
    /// How the count is compared with `limit`.
    #[serde(default)]
    pub comparison: Comparison,
}

/// When a count breaks a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Comparison {
    /// When it is greater.
    #[default]
    Greater,
    /// When it is greater or equal.
    GreaterOrEqual,
}

/// What a violation leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Only known, never enforced.
    None,
    /// This limit replaces the rule's.
    Throttle(Throttle),
    /// No new access.
    Reject,
    /// Accepted without bearer on signalling nodes; reject on the packet path.
    WithholdResources,
    /// The open session ends.
    Release,
}

/// At most `limit` accesses in any `window`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Throttle {
    /// Accesses admitted.
    pub limit: u32,
    /// The window's length.
    #[serde(with = "duration")]
    pub window: Duration,
}

impl Limit {
    /// Accesses that may be admitted in any window.
    pub fn permitted(&self) -> u32 {
        match self.comparison {
            Comparison::Greater => self.limit,
            Comparison::GreaterOrEqual => self.limit.saturating_sub(1),
        }
    }
}

impl Policy {
    /// The policy as service control judges by it, if a node's entry can hold it.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn check(&self) -> Result<sc::Policy, Vec<Invalid>> {
        let mut invalid = Vec::new();
        if self.id == 0 {
            invalid.push(Invalid::new("id", "is 0; identifiers begin at 1"));
        }
        let rule = self.check_rule(&mut invalid);
        if let Action::Throttle(throttle) = self.action {
            if self.access_limit.is_none() {
                invalid.push(Invalid::new("action", "throttles, which needs an access_limit to replace"));
            }
            invalid.extend(check_limit("action.throttle", throttle.limit, throttle.window));
        }
        match rule {
            Some(rule) if invalid.is_empty() => Ok(sc::Policy {
                id: sc::PolicyId(self.id),
                rule,
                kinds: self.kinds.iter().map(|kind| (*kind).into()).collect(),
                scope: self.scope.into(),
                action: self.action.into(),
            }),
            _ => Err(invalid),
        }
    }

    fn check_rule(&self, invalid: &mut Vec<Invalid>) -> Option<sc::Rule> {
        match (&self.access_limit, &self.forbidden_protocols) {
            (Some(limit), None) => {
                if limit.limit == 0 && limit.comparison == Comparison::GreaterOrEqual {
                    let reason =
                        "is 0, and every count is greater or equal; compare \"greater\" to permit none";
                    invalid.push(Invalid::new("access_limit.limit", reason));
                }
                invalid.extend(check_limit("access_limit", limit.permitted(), limit.window));
                let (permitted, window) = (limit.permitted(), limit.window);
                Some(sc::Rule::AccessLimit(sc::AccessLimit { permitted, window }))
            }
            (None, Some(protocols)) => {
                invalid.extend(check_protocols("forbidden_protocols", protocols));
                Some(sc::Rule::ForbiddenProtocols(protocols.clone()))
            }
            (Some(_), Some(_)) => {
                let reason = "and access_limit are two rules; make two policies of them";
                invalid.push(Invalid::new("forbidden_protocols", reason));
                None
            }
            (None, None) => {
                let reason = "is missing; a policy needs this rule or forbidden_protocols";
                invalid.push(Invalid::new("access_limit", reason));
                None
            }
        }
    }
}

/// A comparison "greater or equal N" comes back as "greater N − 1", which permits the same.
impl From<&sc::Policy> for Policy {
    fn from(policy: &sc::Policy) -> Self {
        let (access_limit, forbidden_protocols) = match &policy.rule {
            sc::Rule::AccessLimit(limit) => {
                let (limit, window) = (limit.permitted, limit.window);
                (Some(Limit { limit, window, comparison: Comparison::Greater }), None)
            }
            sc::Rule::ForbiddenProtocols(protocols) => (None, Some(protocols.clone())),
        };
        Self {
            id: policy.id.0,
            scope: policy.scope.into(),
            kinds: policy.kinds.iter().map(|kind| (*kind).into()).collect(),
            access_limit,
            forbidden_protocols,
            action: policy.action.into(),
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
