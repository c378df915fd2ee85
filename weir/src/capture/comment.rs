//! What was decided about a packet, in a line for its comment.

use weir_agent::capture::Packet;
use weir_dataplane_common::reason::Reason;

/// The comment. The first words of it are made to be searched for; what follows the colon is for people.
pub fn of(packet: &Packet) -> String {
    let Packet { side, verdict, reason, .. } = packet;
    let in_earnest = packet.in_earnest.as_deref();
    let in_earnest = in_earnest.map(|name| format!(", in earnest {name}")).unwrap_or_default();
    let words = sentence(packet.in_earnest.as_deref().unwrap_or(reason));
    format!("{}, side {side}, verdict {verdict}, reason {reason}{in_earnest}{words}", device(packet))
}

/// Whose it is: the identifier only if it was asked for.
fn device(packet: &Packet) -> String {
    match (&packet.device, packet.entry) {
        (Some(id), Some(entry)) => format!("device {id}, entry {entry}"),
        (None, Some(entry)) => format!("device at entry {entry}"),
        _ => "no device".to_owned(),
    }
}

/// Of a newer node's reason this one may know no sentence.
fn sentence(reason: &str) -> String {
    Reason::from_name(reason).map(|reason| format!(": {}", reason.sentence().trim())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn throttled() -> Packet {
        let [side, verdict, reason] = ["access", "drop", "throttled"].map(str::to_owned);
        Packet { side, verdict, reason, entry: Some(7), ..Packet::default() }
    }

    #[test]
    fn a_comment_says_whose_packet_what_and_why() {
        assert_eq!(
            of(&throttled()),
            "device at entry 7, side access, verdict drop, reason throttled: The device is throttled and its \
             throttle has no room."
        );
        let named = Packet { device: Some("001010000000001".to_owned()), ..throttled() };
        assert!(of(&named).starts_with("device 001010000000001, entry 7, side"));
        assert!(of(&Packet { entry: None, ..throttled() }).starts_with("no device, side"));
    }

    #[test]
    fn a_node_that_only_watches_says_what_another_would_have_done() {
        let packet = Packet { verdict: "pass".to_owned(), reason: "admitted".to_owned(), ..throttled() };
        let comment = of(&Packet { in_earnest: Some("throttled".to_owned()), ..packet });
        assert!(comment.contains("verdict pass, reason admitted, in earnest throttled: The device is thr"));
    }

    #[test]
    fn a_reason_of_a_newer_node_is_named_without_a_sentence() {
        assert!(of(&Packet { reason: "eaten".to_owned(), ..throttled() }).ends_with("reason eaten"));
    }
}
