//! A policy as people write it, and its checks (R-D2, R-D3). Its words and service control's are matched in
//! `policy_words`.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_service_control as sc;

use super::{
    EXACT_PERMITTED, Invalid, MAX_REQUESTS_PERMITTED, Rate, check_limit, check_protocols, duration,
    limits::takes_request_room,
};

/// A policy: one rule (`access_limit`, `forbidden_protocols` or `rate`) and what a violation leads to.
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
    /// The rule: how fast.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// What an access limit counts.
    #[serde(default, skip_serializing_if = "Counted::is_admitted")]
    pub counts: Counted,
    /// Evaluated and counted, never enforced (R-X5).
    #[serde(default, skip_serializing_if = "is_false")]
    pub shadow: bool,
    /// What a violation leads to.
    pub action: Action,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// What an access limit counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Counted {
    /// Accesses that were let through.
    #[default]
    Admitted,
    /// Attempts, let through or not.
    Requests,
}

impl Counted {
    fn is_admitted(&self) -> bool {
        *self == Self::Admitted
    }
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
        self.check_action(&mut invalid);
        let checked = rule.map(|rule| sc::Policy {
            id: sc::PolicyId(self.id),
            kinds: self.kinds.iter().map(|kind| (*kind).into()).collect(),
            // Nobody adds rates up.
            scope: if self.rate.is_some() { sc::Scope::Node } else { self.scope.into() },
            rule,
            action: self.action.into(),
            counts: self.counts.into(),
            shadow: self.shadow,
        });
        if let Some(checked) = &checked {
            self.check_counts(checked, &mut invalid);
        }
        checked.filter(|_| invalid.is_empty()).ok_or(invalid)
    }

    fn check_rule(&self, invalid: &mut Vec<Invalid>) -> Option<sc::Rule> {
        let rules = [
            ("access_limit", self.access_limit.is_some()),
            ("forbidden_protocols", self.forbidden_protocols.is_some()),
            ("rate", self.rate.is_some()),
        ];
        let mut written = rules.into_iter().filter(|(_, written)| *written).map(|(name, _)| name);
        if let (Some(first), Some(second)) = (written.next(), written.next()) {
            let reason = format!("and {first} are two rules; make two policies of them");
            invalid.push(Invalid::new(second, reason));
            return None;
        }
        if let Some(limit) = &self.access_limit {
            return Some(sc::Rule::AccessLimit(check_access_limit(limit, invalid)));
        }
        if let Some(protocols) = &self.forbidden_protocols {
            invalid.extend(check_protocols("forbidden_protocols", protocols));
            return Some(sc::Rule::ForbiddenProtocols(protocols.clone()));
        }
        let Some(rate) = self.rate else {
            let reason = "is missing; a policy needs this rule, forbidden_protocols or rate";
            invalid.push(Invalid::new("access_limit", reason));
            return None;
        };
        invalid.extend(rate.check("rate"));
        if !self.kinds.is_empty() {
            invalid.push(Invalid::new(
                "kinds",
                "are of accesses; a rate counts bytes or packets: remove the key",
            ));
        }
        Some(sc::Rule::Rate(rate.into()))
    }

    fn check_action(&self, invalid: &mut Vec<Invalid>) {
        if self.rate.is_some() && !matches!(self.action, Action::None | Action::Reject) {
            let reason = "is not for a rate, beyond which packets are dropped; write \"reject\" or \"none\"";
            invalid.push(Invalid::new("action", reason));
        } else if let Action::Throttle(throttle) = self.action {
            if self.access_limit.is_none() {
                invalid.push(Invalid::new("action", "throttles, which needs an access_limit to replace"));
            }
            invalid.extend(check_limit("action.throttle", throttle.limit, throttle.window));
        }
    }

    /// Requests are counted where their times are kept, and reports to service control carry admissions only.
    fn check_counts(&self, checked: &sc::Policy, invalid: &mut Vec<Invalid>) {
        if self.counts == Counted::Admitted {
            return;
        }
        let mut refuse = |key: &str, reason: String| invalid.push(Invalid::new(key, reason));
        let sc::Rule::AccessLimit(limit) = checked.rule else {
            refuse("counts", "is for an access_limit; remove the key".to_owned());
            return;
        };
        if self.scope != Scope::Node {
            let reason = "is \"requests\", which only each node knows: nodes report the times of admissions; write \
                          scope = \"node\"";
            refuse("counts", reason.to_owned());
        }
        if limit.permitted > MAX_REQUESTS_PERMITTED {
            let permitted = limit.permitted;
            let reason = format!(
                "permits {permitted} requests in a window; an entry can count at most {MAX_REQUESTS_PERMITTED}"
            );
            refuse("access_limit.limit", reason);
        } else if takes_request_room(checked).is_some() {
            let reason = format!(
                "is above {EXACT_PERMITTED}, which takes the room that an entry has for requests; throttle to less, \
                 or count admitted accesses"
            );
            refuse("action.throttle.limit", reason);
        }
    }
}

fn check_access_limit(limit: &Limit, invalid: &mut Vec<Invalid>) -> sc::AccessLimit {
    if limit.limit == 0 && limit.comparison == Comparison::GreaterOrEqual {
        let reason = "is 0, and every count is greater or equal; compare \"greater\" to permit none";
        invalid.push(Invalid::new("access_limit.limit", reason));
    }
    invalid.extend(check_limit("access_limit", limit.permitted(), limit.window));
    sc::AccessLimit { permitted: limit.permitted(), window: limit.window }
}
