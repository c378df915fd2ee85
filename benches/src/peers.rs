//! What an operator would use today: nftables' meter per source, iptables' hashlimit per source.
//!
//! Both drop everything in the end, as all contenders do: what their limit lets through is dropped by the rule
//! behind it. Their tables hold every source before a round is measured.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::bed::{Bed, Lane};
use crate::contender::Contender;
use crate::offload::receive_offload_on;
use crate::plan::DEVICES;

/// Which peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// nftables, netdev ingress hook, a dynamic set with `limit rate over`.
    Nftables,
    /// iptables, table raw, match hashlimit.
    Iptables,
}

/// A peer's rules at the end of a lane.
pub struct Peer {
    kind: Kind,
    bed_node: weir_tests::namespace::Namespace,
    lane: Lane,
}

impl Peer {
    /// Sets the rules on a lane of their own.
    ///
    /// # Errors
    /// If the tool is missing or the kernel lacks the match; the reason is for the table.
    pub fn attach(bed: &Bed, kind: Kind, name: &str) -> Result<Self> {
        let lane = bed.lane(name)?;
        bed.node.enter(|| receive_offload_on(name))?;
        match kind {
            Kind::Nftables => {
                let rules = nftables_rules(name);
                pipe(bed.node.command("nft")?.args(["-f", "-"]), &rules).context("nftables")?;
            }
            Kind::Iptables => {
                for rule in iptables_rules(name) {
                    let mut command = bed.node.command("iptables")?;
                    pipe(command.args(rule.split_whitespace()), "").context("iptables")?;
                }
            }
        }
        Ok(Self { kind, bed_node: bed.node.clone(), lane })
    }
}

fn nftables_rules(interface: &str) -> String {
    format!(
        "table netdev bench {{
           set sources {{ type ipv4_addr; size {}; flags dynamic,timeout; timeout 1h; }}
           chain ingress {{
             type filter hook ingress device \"{interface}\" priority 0; policy drop;
             update @sources {{ ip saddr limit rate over 3/minute burst 3 packets }} drop
           }}
         }}",
        DEVICES * 2
    )
}

fn iptables_rules(interface: &str) -> [String; 2] {
    let devices = DEVICES * 2;
    [
        format!(
            "-t raw -A PREROUTING -i {interface} -m hashlimit --hashlimit-above 3/minute --hashlimit-burst 3 \
             --hashlimit-mode srcip --hashlimit-name bench --hashlimit-htable-size {devices} \
             --hashlimit-htable-max {devices} --hashlimit-htable-expire 3600000 -j DROP"
        ),
        format!("-t raw -A PREROUTING -i {interface} -j DROP"),
    ]
}

impl Contender for Peer {
    fn lane(&self) -> &Lane {
        &self.lane
    }

    fn treated(&mut self) -> Result<Option<u64>> {
        let counted = match self.kind {
            // Asked for a counter, nft reads the whole set, a million sources: the interface counts as well.
            Kind::Nftables => self.bed_node.enter(|| received(&self.lane.name))?,
            Kind::Iptables => {
                let words = ["-t", "raw", "-vnxL", "PREROUTING"];
                let text = pipe(self.bed_node.command("iptables")?.args(words), "")?;
                let firsts = text.lines().skip(2).filter_map(|line| line.split_whitespace().next());
                firsts.filter_map(|word| word.parse::<u64>().ok()).sum()
            }
        };
        Ok(Some(counted))
    }
}

/// Packets that an interface of the calling thread's namespace has received.
fn received(interface: &str) -> Result<u64> {
    let path = "/proc/thread-self/net/dev";
    let told = std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    packets_of(&told, interface).with_context(|| format!("{path} does not tell of {interface}"))
}

/// The second number behind the interface's name: bytes, then packets.
fn packets_of(table: &str, interface: &str) -> Option<u64> {
    let mut lines = table.lines().filter_map(|line| line.trim().split_once(':'));
    let (_, numbers) = lines.find(|(name, _)| *name == interface)?;
    numbers.split_whitespace().nth(1)?.parse().ok()
}

fn pipe(command: &mut Command, input: &str) -> Result<String> {
    use std::io::Write;
    let shown = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {shown}"))?;
    let mut stdin = child.stdin.take().context("the child's standard input is piped")?;
    stdin.write_all(input.as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("{shown}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interfaces_packets_are_found() {
        let table = "Inter-|   Receive\n face |bytes packets\n    lo: 1 2 3\n  nft: 640 10 0 0\n";
        assert_eq!(packets_of(table, "nft"), Some(10));
        assert_eq!(packets_of(table, "eth0"), None);
    }
}
