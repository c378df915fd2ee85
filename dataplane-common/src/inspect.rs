//! Which security protocol a packet belongs to.
//!
//! Classes have append-only numbers: a policy's bitmap in the kernel and a name in a configuration mean the
//! same class for ever. This room knows structure, not policy. So far the two classes that an IP protocol
//! number decides; payload inspection joins here.

/// A security protocol that a policy can forbid and an alarm can name (R-D2, R-D6).
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Class {
    /// IPsec encapsulating security payload, RFC 4303, IP protocol 50.
    Esp = 0,
    /// IPsec authentication header, RFC 4302, IP protocol 51.
    Ah = 1,
}

impl Class {
    /// All classes, in the order of their numbers.
    pub const ALL: &[Class] = &[Class::Esp, Class::Ah];

    /// The name in configuration, alarms and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Class::Esp => "esp",
            Class::Ah => "ah",
        }
    }

    /// The class with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|class| class.name() == name)
    }
}

/// A set of classes, one bit each.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Classes(pub u64);

impl Classes {
    /// No class.
    pub const NONE: Classes = Classes(0);

    /// The set of one.
    pub const fn of(class: Class) -> Self {
        Self(1 << class as u64)
    }

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Classes) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the sets share a class.
    #[inline(always)]
    pub const fn meets(self, other: Classes) -> bool {
        self.0 & other.0 != 0
    }

    /// The members, in the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = Class> {
        Class::ALL.iter().copied().filter(move |class| self.meets(Classes::of(*class)))
    }
}

/// IP protocol number of ESP.
pub const IPPROTO_ESP: u8 = 50;
/// IP protocol number of AH.
pub const IPPROTO_AH: u8 = 51;

/// The classes that the IP protocol number alone decides.
#[inline(always)]
pub const fn by_ip_protocol(protocol: u8) -> Classes {
    match protocol {
        IPPROTO_ESP => Classes::of(Class::Esp),
        IPPROTO_AH => Classes::of(Class::Ah),
        _ => Classes::NONE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_class() {
        for class in Class::ALL {
            assert_eq!(Class::from_name(class.name()), Some(*class));
            assert_eq!(Classes::of(*class).iter().collect::<Vec<_>>(), [*class]);
        }
        assert_eq!(Class::from_name("ipsec"), None);
    }
}
