//! weir's configuration: one TOML file for control and node.
//!
//! What this is: text in, typed and checked values out, or every fault of the file with line, column and
//! key. What it must not do: open sockets, look for interfaces or read a clock; a file means the same on
//! every machine. Read first: `deploy/examples/weir.toml`, the specification of keys, shapes and defaults.
//!
//! Reading goes section by section: [`document`] holds the parsed tree, `control`, `node`, `alarm`,
//! `strangers`, `binding`, `policy` and `subscriber` take their keys out of it, [`fault`] collects what is wrong.

mod alarm;
mod binding;
mod control;
mod document;
mod fault;
mod limit;
mod node;
mod policy;
mod pool;
mod roles;
mod strangers;
mod subscriber;
mod summary;
#[cfg(test)]
mod tests;
mod words;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use weir_server::api::{Policy, Subscriber};

pub use binding::BindingEntry;
pub use control::ControlSection;
pub use fault::Fault;
pub use node::NodeSection;
pub use strangers::UnknownDevices;
pub use summary::{Summary, rate_in_words};

use document::{Document, Table};
use fault::{Lines, Place};

/// What a sound file says. At least one of `control` and `node` is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// For control; `None` in a file for nodes only.
    pub control: Option<ControlSection>,
    /// For this machine's node; `None` in a file for control only.
    pub node: Option<NodeSection>,
    /// Which addresses are which device's, for the node.
    pub bindings: Vec<BindingEntry>,
    /// What the embedded PCRF starts with.
    pub policies: Vec<Policy>,
    /// What the embedded HSS and PCRF start with.
    pub subscribers: Vec<Subscriber>,
}

/// Why a file gave no configuration. Displays as one line for each thing that is wrong.
#[derive(Debug)]
pub enum LoadError {
    /// It could not be read.
    Unreadable {
        /// Which file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It was read and is wrong.
    Faulty {
        /// Which file.
        file: PathBuf,
        /// Everything that is wrong, in the order of the file; at least one.
        faults: Vec<Fault>,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { file, source } => {
                write!(f, "{}: cannot be read ({source}); check path and permissions", file.display())
            }
            Self::Faulty { file, faults } => {
                let lines: Vec<_> =
                    faults.iter().map(|fault| format!("{}:{fault}", file.display())).collect();
                f.write_str(&lines.join("\n"))
            }
        }
    }
}

impl std::error::Error for LoadError {}

/// Reads and checks a file.
///
/// # Errors
/// The file cannot be read, or it has faults: then all of them.
pub fn load(file: &Path) -> Result<Configuration, LoadError> {
    let bytes =
        std::fs::read(file).map_err(|source| LoadError::Unreadable { file: file.to_owned(), source })?;
    read_bytes(&bytes).map_err(|faults| LoadError::Faulty { file: file.to_owned(), faults })
}

fn read_bytes(bytes: &[u8]) -> Result<Configuration, Vec<Fault>> {
    match std::str::from_utf8(bytes) {
        Ok(text) => read(text),
        Err(error) => {
            let (line, column) = Lines::new(bytes).position(error.valid_up_to());
            let (key, reason) =
                ("syntax".to_owned(), "this byte is not UTF-8 text; save the file as UTF-8".to_owned());
            Err(vec![Fault { line, column, key, reason }])
        }
    }
}

/// Reads and checks a text.
///
/// # Errors
/// Every fault, in the order of the text.
pub fn read(text: &str) -> Result<Configuration, Vec<Fault>> {
    let document = Document::parse(text);
    let syntax_is_sound = document.faults.is_empty();
    let configuration = if syntax_is_sound { read_sections(&document) } else { None };
    let faults = document.into_faults();
    match configuration {
        Some(configuration) if faults.is_empty() => Ok(configuration),
        _ => Err(faults),
    }
}

/// The node first: the other sections are checked against it.
fn read_sections<'d>(document: &'d Document<'d>) -> Option<Configuration> {
    let root = document.root();
    let (control, node) = (root.table("control"), root.table("node"));
    if root.get("control").is_none() && root.get("node").is_none() {
        let remedy = "write [control], [node] or both";
        document.faults.add(&Place { key: "node".into(), offset: 0 }, "there is nothing to run", remedy);
    }
    let (node, frame) = match &node {
        Some(table) => {
            let (section, frame) = node::read(table);
            (section.map(Some), frame)
        }
        None => (Some(None), node::Frame::default()),
    };
    let control = control.as_ref().map_or(Some(None), |table| control::read(table).map(Some));
    let policies = policy::read_all(&root.tables("policy"), frame.inactivity);
    let subscribers = subscriber::read_all(&root.tables("subscriber"), &policies, &frame);
    let bindings = binding::read_all(&root.tables("binding"), &frame);
    document.refuse_unknown_keys();
    let (control, node) = (control?, node?);
    refuse_shared_metrics(&root, control.as_ref(), node.as_ref());
    Some(Configuration {
        control,
        node,
        bindings: bindings?,
        policies: policies.into_values().map(|policy| Some(policy.checked?.0)).collect::<Option<_>>()?,
        subscribers: subscribers?,
    })
}

/// `up` runs control and node side by side, each with its own port.
fn refuse_shared_metrics(root: &Table<'_>, control: Option<&ControlSection>, node: Option<&NodeSection>) {
    let (Some(control), Some(node)) = (control, node) else { return };
    if control.metrics != node.metrics || node.metrics.port() == 0 {
        return;
    }
    let place = root.table("node").and_then(|table| Some(table.get("metrics")?.place));
    let place = place.unwrap_or(Place { key: "node.metrics".into(), offset: 0 });
    let what = format!("{} is also control.metrics", node.metrics);
    root.faults().add(&place, what, "give each its own port");
}

/// A port of this machine, for defaults.
const fn local(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}
