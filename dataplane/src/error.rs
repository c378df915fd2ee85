//! What can go wrong between weir and the kernel, said so that an operator knows what to do.

use std::path::PathBuf;

/// An error of the data plane.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The binary was compiled without the BPF program.
    #[error("this binary was built without the XDP program; run `cargo xtask build-ebpf` and build it again")]
    NotBuilt,
    /// The embedded program and this code disagree about the layout of the maps.
    #[error(
        "the XDP program in this binary has ABI version {found:?}, this code needs {needed}; \
         run `cargo xtask build-ebpf` and build it again"
    )]
    Abi {
        /// What the object says, if it says anything.
        found: Option<u32>,
        /// What this code was compiled for.
        needed: u32,
    },
    /// The process may not load BPF programs.
    #[error(
        "not permitted to load the XDP program: {} missing; run as root, or give the binary these capabilities",
        missing.join(", ")
    )]
    NotPermitted {
        /// The capabilities that are missing.
        missing: Vec<&'static str>,
    },
    /// The kernel's verifier refused the program.
    #[error(
        "the kernel refused the XDP program {program}: {cause}\nlast lines of the verifier's log:\n{log}"
    )]
    Verifier {
        /// Which of the programs.
        program: &'static str,
        /// The error number's text.
        cause: String,
        /// The end of the verifier's log.
        log: String,
    },
    /// The object could not be loaded for another reason.
    #[error("cannot load the XDP program: {0}")]
    Load(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// There is no such interface.
    #[error("interface {0} does not exist in this network namespace; see `ip link`")]
    NoInterface(String),
    /// The driver has no native XDP, or something else holds the hook.
    #[error("cannot attach to {interface} in {mode} mode: {cause}; {advice}")]
    Attach {
        /// The interface.
        interface: String,
        /// `native` or `generic`.
        mode: &'static str,
        /// The kernel's answer.
        cause: String,
        /// What to do.
        advice: &'static str,
    },
    /// Another XDP program is on the interface.
    #[error("cannot attach to {interface}: another XDP program is attached, {program}; {advice}")]
    Occupied {
        /// The interface.
        interface: String,
        /// Number and, where it has one, name of the program.
        program: String,
        /// What to do.
        advice: &'static str,
    },
    /// The kernel says nothing about an interface.
    #[error("asking the kernel about interface {interface} failed: {cause}; may this process use netlink?")]
    Interface {
        /// The interface.
        interface: String,
        /// The kernel's answer.
        cause: String,
    },
    /// There is no BPF file system to pin to.
    #[error(
        "{} is no BPF file system, so nothing can be pinned there: `mount -t bpf bpf {}` makes it one; \
         with pin = false in [node] the program is not pinned, and ends with the agent",
        .0.display(), .0.display()
    )]
    NoBpffs(PathBuf),
    /// What is pinned has maps of another layout than this code knows.
    #[error(
        "{} was pinned by a weir with ABI version {found}; this weir has version {needed} and cannot use it. \
         `weir node detach {node}` removes it, and the interfaces stand open until this node has started; or run the \
         old weir",
        directory.display()
    )]
    PinnedAbi {
        /// Where it is pinned.
        directory: PathBuf,
        /// The version that is pinned.
        found: u32,
        /// The version of this code.
        needed: u32,
        /// The node.
        node: String,
    },
    /// Another agent runs this node.
    #[error(
        "an agent of node {node:?} is running{}; end it first",
        process.map(|process| format!(" (process {process})")).unwrap_or_default()
    )]
    NodeRuns {
        /// The node.
        node: String,
        /// The other process, if the kernel tells.
        process: Option<u32>,
    },
    /// Something went wrong with what is pinned.
    #[error("{}: {operation} failed: {cause}", path.display())]
    Pins {
        /// What it was about.
        path: PathBuf,
        /// What was tried.
        operation: &'static str,
        /// The kernel's answer.
        cause: String,
    },
    /// Packets cannot be captured, or the capture cannot be ended as it should.
    #[error("capturing: {0}")]
    Capture(String),
    /// A map operation failed.
    #[error("map {map}: {operation} failed: {cause}")]
    Map {
        /// The map's name.
        map: &'static str,
        /// What was tried.
        operation: &'static str,
        /// The kernel's answer.
        cause: String,
    },
    /// A frame could not be run through the program.
    #[error("running a frame of {length} bytes through the program failed: {cause}")]
    TestRun {
        /// The frame's length.
        length: usize,
        /// The kernel's answer.
        cause: String,
    },
    /// A raw socket failed.
    #[error("raw socket on {interface}: {cause}")]
    Raw {
        /// The interface.
        interface: String,
        /// The kernel's answer.
        cause: String,
    },
    /// Packets that cannot be generated.
    #[error("such packets cannot be generated: {0}")]
    Traffic(String),
    /// A pool that cannot be laid out.
    #[error("{0}")]
    Layout(String),
}
