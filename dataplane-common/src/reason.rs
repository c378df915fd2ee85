//! Why a packet was passed or dropped: one append-only list for kernel, metrics, replay, API and docs.
//!
//! A number, once given, keeps its meaning for ever; new reasons are added at the end of their half. What
//! the verdict is follows from the reason alone.

macro_rules! reasons {
    ($($name:ident = $number:literal, $text:literal, $verdict:ident, $doc:literal;)*) => {
        /// Why a packet was passed or dropped.
        #[repr(u8)]
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        pub enum Reason {
            $(#[doc = $doc] $name = $number,)*
        }

        impl Reason {
            /// All of them, in the order of their numbers.
            pub const ALL: &[Reason] = &[$(Reason::$name,)*];

            /// The name in metrics, JSON and documents.
            pub const fn name(self) -> &'static str {
                match self { $(Reason::$name => $text,)* }
            }

            /// What happens to the packet.
            pub const fn verdict(self) -> Verdict {
                match self { $(Reason::$name => Verdict::$verdict,)* }
            }

            /// One sentence for people.
            pub const fn sentence(self) -> &'static str {
                match self { $(Reason::$name => $doc,)* }
            }

            /// What happens for the reason with this number: the kernel's short way, tested below.
            #[inline(always)]
            pub const fn verdict_of(number: u32) -> Verdict {
                if number < FIRST_DROP { Verdict::Pass } else { Verdict::Drop }
            }

            /// The same reason, on which the verifier's paths no longer differ.
            #[inline(always)]
            pub fn forgotten(self) -> Self {
                // SAFETY: the number is a reason's own, and comes back as it was.
                unsafe { core::mem::transmute::<u8, Reason>(crate::opaque::forget(self as u32) as u8) }
            }

            /// The reason with this number.
            pub fn from_number(number: u8) -> Option<Self> {
                Self::ALL.iter().copied().find(|reason| *reason as u8 == number)
            }

            /// The reason with this name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|reason| reason.name() == name)
            }
        }
    };
}

/// What happens to a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Verdict {
    /// It goes on.
    Pass,
    /// It ends here.
    Drop,
}

impl Verdict {
    /// The name in JSON and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Drop => "drop",
        }
    }
}

/// Reasons below this number pass, the others drop.
const FIRST_DROP: u32 = 16;

/// Room for reasons in the kernel's counters.
pub const REASONS: usize = 64;

reasons! {
    NotIp = 0, "not-ip", Pass, "Not an IP packet (ARP and the like); weir judges IP only.";
    UnknownPassed = 1, "unknown-passed", Pass, "No device is bound to the address; the node passes strangers.";
    UnparsablePassed = 2, "unparsable-passed", Pass, "Headers that could not be read; the node passes such packets.";
    InSession = 3, "in-session", Pass, "Inside the device's open session: no new access.";
    Admitted = 4, "admitted", Pass, "A new access, admitted.";
    Redeemed = 5, "redeemed", Pass, "The access that was held, admitted after its alarm was cancelled.";
    UnsolicitedPassed = 6, "unsolicited-passed", Pass, "To an idle device and no trigger; the node passes such packets.";

    UnknownDropped = 16, "unknown-dropped", Drop, "No device is bound to the address; the node drops strangers.";
    UnparsableDropped = 17, "unparsable-dropped", Drop, "Headers that could not be read; the node drops such packets.";
    UnsolicitedDropped = 18, "unsolicited-dropped", Drop, "To an idle device and no trigger; the node drops such packets.";
    Held = 19, "held", Drop, "The access that raised an alarm; it waits for service control's answer.";
    AlarmActive = 20, "alarm-active", Drop, "A new access or an alarmed protocol while the device's alarm is active.";
    Throttled = 21, "throttled", Drop, "The device is throttled and its throttle has no room.";
    LimitExceeded = 22, "limit-exceeded", Drop, "One access more than a policy that rejects permits.";
    StatusReject = 23, "status-reject", Drop, "The device's status is reject: no new access.";
    ForbiddenProtocol = 24, "forbidden-protocol", Drop, "A protocol that one of the device's policies forbids.";
    Released = 25, "released", Drop, "A violation whose action ends the open session.";
    Contended = 26, "contended", Drop, "Too many CPUs judged the device at once; refused rather than guessed.";
    BrokenEntry = 27, "broken-entry", Drop, "The entry names a profile or a primary entry that is not there.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_number_of_its_own_within_the_counters() {
        let mut seen = [false; REASONS];
        for reason in Reason::ALL {
            let number = *reason as usize;
            assert!(number < REASONS && !seen[number], "{reason:?}");
            seen[number] = true;
            assert_eq!(Reason::from_number(number as u8), Some(*reason));
            assert_eq!(Reason::from_name(reason.name()), Some(*reason));
        }
    }

    #[test]
    fn the_number_alone_tells_the_verdict() {
        for reason in Reason::ALL {
            assert_eq!(reason.verdict(), Reason::verdict_of(*reason as u32), "{reason:?}");
        }
    }
}
