//! `weir policy list|show|set|delete`: policies as the embedded PCRF knows them.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Subcommand;
use weir_server::api::{self, duration};

use super::show::{done, print};
use crate::admin_client::Access;
use crate::config::rate_in_words;
use crate::table::Table;

/// Look at policies, or change them.
#[derive(Debug, clap::Args)]
pub struct Policy {
    #[command(flatten)]
    access: Access,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// All policies.
    List,
    /// One policy.
    Show {
        /// Its identifier.
        id: u32,
    },
    /// Add a policy, or replace the one of the same identifier; every device that has it is judged anew.
    Set {
        /// A file with one policy: TOML if it ends in .toml, else JSON. "-" reads JSON from standard input.
        file: PathBuf,
    },
    /// Remove a policy.
    Delete {
        /// Its identifier.
        id: u32,
        /// Take it from the subscribers that have it.
        #[arg(long)]
        detach: bool,
    },
}

impl Policy {
    /// Asks and prints.
    ///
    /// # Errors
    /// Control cannot be reached or refuses, and says why; or the file cannot be read.
    pub async fn run(self) -> anyhow::Result<()> {
        let (client, json) = (self.access.client(), self.access.json);
        match self.what {
            What::List => {
                let policies: Vec<api::Policy> = client.get("policies").await?;
                print(json, &policies, |policies| table(policies))
            }
            What::Show { id } => {
                let policy: api::Policy = client.get(&format!("policies/{id}")).await?;
                print(json, &policy, |policy| table(std::slice::from_ref(policy)))
            }
            What::Set { file } => {
                let policy = read(&file).with_context(|| file.display().to_string())?;
                let kept: api::Policy = client.put(&format!("policies/{}", policy.id), &policy).await?;
                print(json, &kept, |kept| table(std::slice::from_ref(kept)))
            }
            What::Delete { id, detach } => {
                let query = if detach { "?detach=true" } else { "" };
                client.delete(&format!("policies/{id}{query}")).await?;
                done(json, &format!("policy {id} deleted"))
            }
        }
    }
}

fn read(file: &Path) -> anyhow::Result<api::Policy> {
    if file == Path::new("-") {
        let mut text = String::new();
        io::stdin().lock().read_to_string(&mut text)?;
        return Ok(serde_json::from_str(&text)?);
    }
    let text = fs::read_to_string(file)?;
    if file.extension().is_some_and(|extension| extension == "toml") {
        return Ok(toml::from_str(&text)?);
    }
    Ok(serde_json::from_str(&text)?)
}

/// Policies, a line each.
pub(super) fn table(policies: &[api::Policy]) -> Table<5> {
    let mut table = Table::new(["id", "scope", "kinds", "violated by", "action"]);
    for policy in policies {
        let kinds: Vec<String> = policy.kinds.iter().map(|kind| format!("{kind:?}").to_lowercase()).collect();
        table.row([
            policy.id.to_string(),
            format!("{:?}", policy.scope).to_lowercase(),
            if kinds.is_empty() { "all".to_owned() } else { kinds.join("+") },
            rule(policy),
            if policy.shadow {
                format!("{}, in shadow", action(policy.action))
            } else {
                action(policy.action)
            },
        ]);
    }
    table
}

fn rule(policy: &api::Policy) -> String {
    let limit = policy.access_limit.map(|limit| {
        let than = match limit.comparison {
            api::Comparison::Greater => "more than",
            api::Comparison::GreaterOrEqual => "at least",
        };
        let requests = if policy.counts == api::Counted::Requests { " requests" } else { "" };
        format!("{than} {}{requests} in {}", limit.limit, duration::format(limit.window))
    });
    let protocols = policy.forbidden_protocols.as_ref().map(|protocols| protocols.join(" or "));
    let rate = policy.rate.as_ref().map(|rate| format!("more than {}", rate_in_words(rate)));
    limit.or(protocols).or(rate).unwrap_or_default()
}

fn action(action: api::Action) -> String {
    match action {
        api::Action::None => "none".to_owned(),
        api::Action::Throttle(throttle) => {
            format!("throttle to {} in {}", throttle.limit, duration::format(throttle.window))
        }
        api::Action::Reject => "reject".to_owned(),
        api::Action::WithholdResources => "withhold resources".to_owned(),
        api::Action::Release => "release".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_read_from_json_and_toml_alike() {
        let directory = tempfile::tempdir().unwrap();
        let (json, toml) = (directory.path().join("p.json"), directory.path().join("p.toml"));
        fs::write(&json, r#"{"id": 2, "forbidden_protocols": ["esp"], "action": "reject"}"#).unwrap();
        fs::write(&toml, "id = 2\nforbidden_protocols = [\"esp\"]\naction = \"reject\"\n").unwrap();
        assert_eq!(read(&json).unwrap(), read(&toml).unwrap());
    }

    #[test]
    fn a_policy_is_one_line_for_people() {
        let policy = serde_json::from_str(
            r#"{"id": 1, "access_limit": {"limit": 3, "window": "1m"},
                "action": {"throttle": {"limit": 5, "window": "1m"}}}"#,
        );
        let shown = table(&[policy.unwrap()]).to_string();
        let line = "1   network  all    more than 3 in 1m  throttle to 5 in 1m";
        assert_eq!(shown.lines().nth(1), Some(line), "{shown}");
    }

    #[test]
    fn rates_requests_and_shadow_are_said_in_words() {
        let policies: Vec<api::Policy> = serde_json::from_str(
            r#"[{"id": 1, "scope": "node", "counts": "requests", "shadow": true,
                 "access_limit": {"limit": 3, "window": "1m"}, "action": "release"},
                {"id": 2, "scope": "node", "action": "reject",
                 "rate": {"bytes_per_second": 1000, "packets_per_second": 10, "direction": "up"}}]"#,
        )
        .unwrap();
        let shown = table(&policies).to_string();
        assert!(
            shown.contains("more than 3 requests in 1m") && shown.contains("release, in shadow"),
            "{shown}"
        );
        let rate = "more than 1000 bytes/s or 10 packets/s up, in bursts of 100ms";
        assert!(shown.contains(rate), "{shown}");
    }
}
