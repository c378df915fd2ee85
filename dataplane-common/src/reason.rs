//! Why a packet was passed or dropped: one append-only list for kernel, metrics, replay, API and docs.
//!
//! A number, once given, keeps its meaning for ever; new reasons are added at the end of their half. What
//! the verdict is follows from the reason alone. Each has a name, one sentence, and what an operator can do;
//! `cargo xtask docs` makes docs/reasons.md of them, `weir reasons` prints them.

macro_rules! reasons {
    ($($name:ident = $number:literal, $text:literal, $verdict:ident, $doc:literal, $remedy:literal;)*) => {
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

            /// What an operator can do about it.
            pub const fn remedy(self) -> &'static str {
                match self { $(Reason::$name => $remedy,)* }
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
    NotIp = 0, "not-ip", Pass, "Not an IP packet (ARP and the like); weir judges IP only.",
        "Nothing. If there is much of it, look what else uses the link.";
    UnknownPassed = 1, "unknown-passed", Pass, "No device is bound to the address; the node passes strangers.",
        "Bind the address to its device if it is one ([[binding]]), or choose another node.unknown_devices.";
    UnparsablePassed = 2, "unparsable-passed", Pass, "Headers that could not be read; the node passes such packets.",
        "Nothing, or node.unparsable = \"drop\". `weir capture --reason unparsable-passed` shows such packets.";
    InSession = 3, "in-session", Pass, "Inside the device's open session: no new access.",
        "Nothing: the rule, not the exception.";
    Admitted = 4, "admitted", Pass, "A new access, admitted.",
        "Nothing.";
    Redeemed = 5, "redeemed", Pass, "The access that was held, admitted after its alarm was cancelled.",
        "Nothing: service control has answered in time.";
    UnsolicitedPassed = 6, "unsolicited-passed", Pass, "To an idle device and no trigger; the node passes such packets.",
        "Nothing, or node.unsolicited = \"drop\". If the sender may wake devices, add it to node.application_servers.";
    Bypassed = 7, "bypassed", Pass, "An operator has switched the node's judgement off for a while.",
        "End the bypass when its cause is mended (`weir node bypass --end`); it ends by itself. weir_node_bypass_active shows it.";
    Exempt = 8, "exempt", Pass, "An operator has exempted the device for a while.",
        "End the exemption when its cause is mended (`weir device exempt --end`); it ends by itself. weir_node_exempt_devices counts them.";
    ShadowPassed = 9, "shadow-passed", Pass, "The node only watches: what it would have dropped is counted and passes.",
        "Look what would have been dropped before you enforce it: `weir capture` names the reason in earnest.";
    StrangerPassed = 10, "stranger-passed", Pass, "A stranger for whom there was no place; the node passes those.",
        "Raise node.strangers.places if these are honest; weir_node_table_used{table=\"strangers\"} shows how full it is.";

    UnknownDropped = 16, "unknown-dropped", Drop, "No device is bound to the address; the node drops strangers.",
        "Bind the address to its device ([[binding]]), or set node.unknown_devices to \"limit\" or \"pass\".";
    UnparsableDropped = 17, "unparsable-dropped", Drop, "Headers that could not be read; the node drops such packets.",
        "Look at them (`weir capture --reason unparsable-dropped`): damaged, an attack, or a protocol that weir should learn.";
    UnsolicitedDropped = 18, "unsolicited-dropped", Drop, "To an idle device and no trigger; the node drops such packets.",
        "If the sender may wake devices, add it to node.application_servers; otherwise nothing: this is scanning.";
    Held = 19, "held", Drop, "The access that raised an alarm; it waits for service control's answer.",
        "Nothing: the frame is delivered if the alarm is cancelled. If many stay held, see weir_alarms_outstanding and weir_control_connected.";
    AlarmActive = 20, "alarm-active", Drop, "A new access or an alarmed protocol while the device's alarm is active.",
        "Ask why control has not cancelled: `weir alarm list`, `weir device show`. Without control, node.on_outage decides.";
    Throttled = 21, "throttled", Drop, "The device is throttled and its throttle has no room.",
        "Nothing: the policy works. If the device needs more, change the policy's throttle.";
    LimitExceeded = 22, "limit-exceeded", Drop, "One access more than a policy that rejects permits.",
        "Nothing: the policy works. If the device needs more, change its limit; for a stranger, node.strangers.limit.";
    StatusReject = 23, "status-reject", Drop, "The device's status is reject: no new access.",
        "`weir device show` tells which policy rejects the device, in which count, and until when.";
    ForbiddenProtocol = 24, "forbidden-protocol", Drop, "A protocol that one of the device's policies forbids.",
        "Find out what the device runs, `weir capture` shows it; or take the protocol out of its policy.";
    Released = 25, "released", Drop, "A violation whose action ends the open session.",
        "As for the policy's limit or protocol; the next access opens a session again if the policies permit it.";
    Contended = 26, "contended", Drop, "Too many CPUs judged the device at once; refused rather than guessed.",
        "Nothing if it is rare. Otherwise find out whether the address, which very much traffic uses at once, is one device.";
    BrokenEntry = 27, "broken-entry", Drop, "The entry names a profile or a primary entry that is not there.",
        "A fault of weir: restart the agent, which writes its entries anew, and report it.";
    RateExceeded = 28, "rate-exceeded", Drop, "More bytes or packets than one of the device's policies permits.",
        "Nothing: the policy works. If the device needs more, raise the policy's rate or its burst.";
    StrangersFull = 29, "strangers-full", Drop, "A stranger for whom there was no place; the node drops those.",
        "Raise node.strangers.places, or shorten its window; weir_node_table_used{table=\"strangers\"} shows how full it is.";
    StrangerFlood = 30, "stranger-flood", Drop, "More new strangers on the interface than it may bring in a second.",
        "Find the source of invented addresses on that interface; if they are honest, raise node.strangers.new_per_second.";
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

    /// What has been given out. New reasons are added here; a line that is here stays as it is.
    const GIVEN: [(u8, &str); 26] = [
        (0, "not-ip"),
        (1, "unknown-passed"),
        (2, "unparsable-passed"),
        (3, "in-session"),
        (4, "admitted"),
        (5, "redeemed"),
        (6, "unsolicited-passed"),
        (7, "bypassed"),
        (8, "exempt"),
        (9, "shadow-passed"),
        (10, "stranger-passed"),
        (16, "unknown-dropped"),
        (17, "unparsable-dropped"),
        (18, "unsolicited-dropped"),
        (19, "held"),
        (20, "alarm-active"),
        (21, "throttled"),
        (22, "limit-exceeded"),
        (23, "status-reject"),
        (24, "forbidden-protocol"),
        (25, "released"),
        (26, "contended"),
        (27, "broken-entry"),
        (28, "rate-exceeded"),
        (29, "strangers-full"),
        (30, "stranger-flood"),
    ];

    #[test]
    fn a_number_once_given_keeps_its_meaning() {
        let list: [(u8, &str); GIVEN.len()] =
            core::array::from_fn(|place| (Reason::ALL[place] as u8, Reason::ALL[place].name()));
        assert_eq!(list, GIVEN);
        assert_eq!(Reason::ALL.len(), GIVEN.len(), "a new reason is added to the given ones");
        assert!(GIVEN.is_sorted_by_key(|(number, _)| *number));
    }

    #[test]
    fn every_reason_says_what_it_is_and_what_to_do_in_sentences() {
        for reason in Reason::ALL {
            for text in [reason.sentence(), reason.remedy()] {
                assert!(text.ends_with('.') && !text.contains(['|', '\n']), "{}: {text}", reason.name());
            }
        }
    }

    #[test]
    fn the_number_alone_tells_the_verdict() {
        for reason in Reason::ALL {
            assert_eq!(reason.verdict(), Reason::verdict_of(*reason as u32), "{reason:?}");
        }
    }
}
