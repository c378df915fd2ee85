//! What the embedded HSS and PCRF know: subscribers with their device types, and policies (R-D9, R-D10).
//!
//! Every policy that a subscriber names exists: that is checked in the transaction that could break it.

use redb::{ReadTransaction, ReadableTable, WriteTransaction};
use weir_service_control::{DeviceId, Policy, PolicyId};

use crate::error::Fault;
use crate::open::{POLICIES, SUBSCRIBERS};
use crate::policy_record::PolicyRecord;
use crate::record::{SubscriberRecord, bytes, value};
use crate::{Error, Store};

/// A subscribed device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscriber {
    /// Which.
    pub device: DeviceId,
    /// The type the operator gave it, e.g. `meter`.
    pub device_type: String,
    /// Its policies.
    pub policies: Vec<PolicyId>,
}

impl Store {
    /// Puts in what is not there yet; what is there stays as it is.
    ///
    /// # Errors
    /// A new subscriber names a policy that is neither there nor among these, or the store fails; nothing has
    /// happened then.
    pub fn seed(&self, subscribers: &[Subscriber], policies: &[Policy]) -> Result<(), Error> {
        self.change(|transaction| {
            for policy in policies {
                let absent = transaction.open_table(POLICIES)?.get(policy.id.0)?.is_none();
                if absent {
                    put_policy(transaction, policy)?;
                }
            }
            for subscriber in subscribers {
                let absent = transaction.open_table(SUBSCRIBERS)?.get(&*subscriber.device.0)?.is_none();
                if absent {
                    put_subscriber(transaction, subscriber)?;
                }
            }
            Ok(())
        })
    }

    /// A subscriber, if there is one.
    ///
    /// # Errors
    /// The store fails.
    pub fn subscriber(&self, device: &DeviceId) -> Result<Option<Subscriber>, Error> {
        self.read(|transaction| subscriber(transaction, device))
    }

    /// All subscribers, by device.
    ///
    /// # Errors
    /// The store fails.
    pub fn subscribers(&self) -> Result<Vec<Subscriber>, Error> {
        self.read(|transaction| {
            let table = transaction.open_table(SUBSCRIBERS)?;
            let mut subscribers = Vec::new();
            for row in table.iter()? {
                let (device, record) = row?;
                let record: SubscriberRecord = value("a subscriber", record.value())?;
                subscribers.push(record.subscriber(DeviceId(device.value().to_owned())));
            }
            Ok(subscribers)
        })
    }

    /// Adds or replaces a subscriber.
    ///
    /// # Errors
    /// It names a policy that does not exist, or the store fails.
    pub fn put_subscriber(&self, subscriber: &Subscriber) -> Result<(), Error> {
        self.change(|transaction| put_subscriber(transaction, subscriber))
    }

    /// Removes a subscriber. False if there was none.
    ///
    /// # Errors
    /// The store fails.
    pub fn delete_subscriber(&self, device: &DeviceId) -> Result<bool, Error> {
        self.change(|transaction| Ok(transaction.open_table(SUBSCRIBERS)?.remove(&*device.0)?.is_some()))
    }

    /// A policy, if there is one.
    ///
    /// # Errors
    /// The store fails.
    pub fn policy(&self, id: PolicyId) -> Result<Option<Policy>, Error> {
        self.read(|transaction| policy(transaction, id))
    }

    /// All policies, by identifier.
    ///
    /// # Errors
    /// The store fails.
    pub fn policies(&self) -> Result<Vec<Policy>, Error> {
        self.read(|transaction| {
            let table = transaction.open_table(POLICIES)?;
            let mut policies = Vec::new();
            for row in table.iter()? {
                let record: PolicyRecord = value("a policy", row?.1.value())?;
                policies.push(record.into());
            }
            Ok(policies)
        })
    }

    /// Adds or replaces a policy.
    ///
    /// # Errors
    /// The store fails.
    pub fn put_policy(&self, policy: &Policy) -> Result<(), Error> {
        self.change(|transaction| put_policy(transaction, policy))
    }

    /// Removes a policy. False if there was none.
    ///
    /// # Errors
    /// Subscribers have it, or the store fails.
    pub fn delete_policy(&self, policy: PolicyId) -> Result<bool, Error> {
        self.change(|transaction| {
            let users = users(&transaction.open_table(SUBSCRIBERS)?, policy)?.len();
            if users > 0 {
                return Err(Fault::PolicyInUse { policy, users });
            }
            Ok(transaction.open_table(POLICIES)?.remove(policy.0)?.is_some())
        })
    }

    /// A subscriber's policies, by identifier; none if there is no such subscriber.
    ///
    /// # Errors
    /// The store fails.
    pub fn policies_of(&self, device: &DeviceId) -> Result<Vec<Policy>, Error> {
        self.read(|transaction| {
            let Some(subscriber) = subscriber(transaction, device)? else { return Ok(Vec::new()) };
            let mut ids = subscriber.policies;
            ids.sort_unstable();
            ids.dedup();
            let policies = ids.into_iter().map(|id| policy(transaction, id)?.ok_or(Fault::NoSuchPolicy(id)));
            policies.collect()
        })
    }

    /// Subscribers that have this policy.
    ///
    /// # Errors
    /// The store fails.
    pub fn devices_with_policy(&self, policy: PolicyId) -> Result<Vec<DeviceId>, Error> {
        self.read(|transaction| users(&transaction.open_table(SUBSCRIBERS)?, policy))
    }
}

fn subscriber(transaction: &ReadTransaction, device: &DeviceId) -> Result<Option<Subscriber>, Fault> {
    let table = transaction.open_table(SUBSCRIBERS)?;
    let Some(record) = table.get(&*device.0)? else { return Ok(None) };
    let record: SubscriberRecord = value("a subscriber", record.value())?;
    Ok(Some(record.subscriber(device.clone())))
}

fn policy(transaction: &ReadTransaction, id: PolicyId) -> Result<Option<Policy>, Fault> {
    let table = transaction.open_table(POLICIES)?;
    let Some(record) = table.get(id.0)? else { return Ok(None) };
    let record: PolicyRecord = value("a policy", record.value())?;
    Ok(Some(record.into()))
}

fn put_subscriber(transaction: &WriteTransaction, subscriber: &Subscriber) -> Result<(), Fault> {
    let policies = transaction.open_table(POLICIES)?;
    for id in &subscriber.policies {
        if policies.get(id.0)?.is_none() {
            return Err(Fault::NoSuchPolicy(*id));
        }
    }
    let record = bytes("a subscriber", &SubscriberRecord::from(subscriber))?;
    transaction.open_table(SUBSCRIBERS)?.insert(&*subscriber.device.0, &*record)?;
    Ok(())
}

fn put_policy(transaction: &WriteTransaction, policy: &Policy) -> Result<(), Fault> {
    let record = bytes("a policy", &PolicyRecord::from(policy))?;
    transaction.open_table(POLICIES)?.insert(policy.id.0, &*record)?;
    Ok(())
}

fn users(
    subscribers: &impl ReadableTable<&'static str, &'static [u8]>,
    policy: PolicyId,
) -> Result<Vec<DeviceId>, Fault> {
    let mut users = Vec::new();
    for row in subscribers.iter()? {
        let (device, record) = row?;
        let record: SubscriberRecord = value("a subscriber", record.value())?;
        if record.policies.contains(&policy.0) {
            users.push(DeviceId(device.value().to_owned()));
        }
    }
    Ok(users)
}
