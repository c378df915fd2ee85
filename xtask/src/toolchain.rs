//! Which Rust compiler builds the BPF program: a decision over facts, without looking at the machine.
//! `survey.rs` gathers the facts and `setup.rs` carries the decision out; neither belongs here.
//!
//! The target `bpfel-unknown-none` has no precompiled `core`, so the compiler must have the source of its
//! library (`-Zbuild-std=core`), and its LLVM must be one that bpf-linker reads. What is already there is
//! preferred to what would have to be installed; within each, rustup's nightly comes first because it is
//! what most people who write BPF programs in Rust use.

use std::path::PathBuf;

use crate::version::Version;

/// The newest LLVM whose bitcode bpf-linker 0.10 reads.
pub const LINKER_READS_LLVM: u32 = 22;

/// Debian's packages with a compiler of this year and the matching library source.
pub const DEBIAN_PACKAGES: [&str; 2] = ["rustc-web", "rust-web-src"];

/// Where a compiler comes from, in order of preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A nightly toolchain of rustup.
    RustupNightly,
    /// The toolchain of rustup that runs this command, if it is no nightly.
    RustupActive,
    /// A `rustc` that rustup knows nothing of, for example a distribution's.
    OutsideRustup,
}

/// A compiler found on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiler {
    /// Where it comes from.
    pub origin: Origin,
    /// What to call it in messages: the toolchain's name, or the path. Rustup takes it as `--toolchain`.
    pub name: String,
    /// The program itself, not rustup's proxy.
    pub rustc: PathBuf,
    /// The cargo of the same toolchain; `None` means the cargo that runs this command.
    pub cargo: Option<PathBuf>,
    /// Where its libraries lie.
    pub sysroot: PathBuf,
    /// The compiler's version.
    pub release: Version,
    /// Major version of its LLVM.
    pub llvm: u32,
    /// Whether the source of `core` lies in the sysroot.
    pub has_source: bool,
}

impl Compiler {
    /// Why this compiler cannot build the program even with library source; `None` if it can.
    fn defect(&self, oldest: Version) -> Option<String> {
        if self.release < oldest {
            return Some(format!("{} is rustc {}; weir needs {oldest} or later", self.name, self.release));
        }
        if self.llvm > LINKER_READS_LLVM {
            return Some(format!(
                "{} has LLVM {}; bpf-linker 0.10 reads LLVM up to {LINKER_READS_LLVM}",
                self.name, self.llvm
            ));
        }
        None
    }
}

/// What is known when the choice is made. It grows as steps are tried.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The oldest compiler that accepts the workspace.
    pub oldest: Version,
    /// Every compiler found.
    pub compilers: Vec<Compiler>,
    /// Names of toolchains to which rustup could not add the source.
    pub source_refused: Vec<String>,
    /// Debian packages can be installed: root, `apt-get` there, and not tried in vain before.
    pub packages_possible: bool,
}

/// The next thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Build with this compiler.
    Use(Compiler),
    /// Let rustup add `rust-src` to the toolchain of this name, then choose again.
    AddSource(String),
    /// Install [`DEBIAN_PACKAGES`], then choose again.
    InstallPackages,
    /// Nothing is left to try.
    GiveUp,
}

/// A step, and why the candidates before it were passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// What to do now.
    pub step: Step,
    /// One sentence per candidate that was passed over, in order of preference.
    pub passed_over: Vec<String>,
}

/// Decides the next step towards a compiler for BPF.
pub fn choose(facts: &Facts) -> Choice {
    let mut candidates: Vec<&Compiler> = facts.compilers.iter().collect();
    candidates.sort_by_key(|compiler| compiler.origin);

    let mut passed_over = Vec::new();
    let mut without_source = Vec::new();
    for compiler in candidates {
        match compiler.defect(facts.oldest) {
            Some(defect) => passed_over.push(defect),
            None if compiler.has_source => {
                return Choice { step: Step::Use(compiler.clone()), passed_over };
            }
            None => {
                passed_over.push(format!("{} has no library source", compiler.name));
                without_source.push(compiler);
            }
        }
    }
    let step = without_source
        .into_iter()
        .filter(|compiler| compiler.origin != Origin::OutsideRustup)
        .find(|compiler| !facts.source_refused.contains(&compiler.name))
        .map(|compiler| Step::AddSource(compiler.name.clone()))
        .unwrap_or(if facts.packages_possible { Step::InstallPackages } else { Step::GiveUp });
    Choice { step, passed_over }
}

/// The error for [`Step::GiveUp`]: what was found wanting and what to install.
pub fn nothing_left(passed_over: &[String]) -> String {
    let mut text = String::from("no Rust compiler here can build the BPF program.\n");
    for reason in passed_over {
        text.push_str(&format!("  found: {reason}\n"));
    }
    let packages = DEBIAN_PACKAGES.join(" ");
    text.push_str(&format!(
        "Install one of these and run the command again:\n  \
         with rustup:            rustup toolchain install nightly --component rust-src\n  \
         or, for your toolchain: rustup component add rust-src\n  \
         on Debian, as root:     apt-get install {packages}"
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLDEST: Version = Version::new(1, 95, 0);

    fn compiler(origin: Origin, minor: u32, llvm: u32, has_source: bool) -> Compiler {
        let name = match origin {
            Origin::RustupNightly => "nightly",
            Origin::RustupActive => "stable",
            Origin::OutsideRustup => "/usr/bin/rustc",
        };
        Compiler {
            origin,
            name: name.to_owned(),
            rustc: PathBuf::from(name).join("rustc"),
            cargo: None,
            sysroot: PathBuf::from(name),
            release: Version::new(1, minor, 0),
            llvm,
            has_source,
        }
    }

    fn facts(compilers: Vec<Compiler>) -> Facts {
        Facts { oldest: OLDEST, compilers, source_refused: Vec::new(), packages_possible: true }
    }

    fn used(choice: &Choice) -> &str {
        match &choice.step {
            Step::Use(compiler) => &compiler.name,
            other => panic!("expected a compiler, not {other:?}"),
        }
    }

    #[test]
    fn a_nightly_with_source_comes_first_whatever_the_order_found() {
        let choice = choose(&facts(vec![
            compiler(Origin::OutsideRustup, 96, 22, true),
            compiler(Origin::RustupActive, 95, 22, true),
            compiler(Origin::RustupNightly, 97, 22, true),
        ]));
        assert_eq!(used(&choice), "nightly");
        assert!(choice.passed_over.is_empty());
    }

    #[test]
    fn a_compiler_that_is_there_is_used_before_anything_is_installed() {
        let choice = choose(&facts(vec![
            compiler(Origin::RustupNightly, 97, 22, false),
            compiler(Origin::OutsideRustup, 96, 22, true),
        ]));
        assert_eq!(used(&choice), "/usr/bin/rustc");
        assert_eq!(choice.passed_over, ["nightly has no library source"]);
    }

    #[test]
    fn the_source_is_added_to_the_nightly_then_to_the_active_toolchain_then_packages_are_installed() {
        let mut facts = facts(vec![
            compiler(Origin::RustupActive, 95, 22, false),
            compiler(Origin::RustupNightly, 97, 22, false),
        ]);
        assert_eq!(choose(&facts).step, Step::AddSource("nightly".into()));
        facts.source_refused.push("nightly".into());
        assert_eq!(choose(&facts).step, Step::AddSource("stable".into()));
        facts.source_refused.push("stable".into());
        assert_eq!(choose(&facts).step, Step::InstallPackages);
        facts.packages_possible = false;
        assert_eq!(choose(&facts).step, Step::GiveUp);
    }

    #[test]
    fn a_nightly_with_an_llvm_that_the_linker_cannot_read_falls_through_with_the_reason() {
        let choice = choose(&facts(vec![
            compiler(Origin::RustupNightly, 99, 23, true),
            compiler(Origin::OutsideRustup, 96, 22, true),
        ]));
        assert_eq!(used(&choice), "/usr/bin/rustc");
        assert_eq!(choice.passed_over, ["nightly has LLVM 23; bpf-linker 0.10 reads LLVM up to 22"]);
    }

    #[test]
    fn no_source_is_added_to_a_toolchain_that_could_not_be_used_anyway() {
        let choice = choose(&facts(vec![compiler(Origin::RustupNightly, 99, 23, false)]));
        assert_eq!(choice.step, Step::InstallPackages);
    }

    #[test]
    fn a_compiler_older_than_the_workspace_allows_is_passed_over() {
        let choice = choose(&facts(vec![compiler(Origin::OutsideRustup, 63, 14, true)]));
        assert_eq!(choice.step, Step::InstallPackages);
        assert_eq!(choice.passed_over, ["/usr/bin/rustc is rustc 1.63.0; weir needs 1.95.0 or later"]);
    }

    #[test]
    fn rustup_is_not_asked_to_add_source_to_a_compiler_that_is_not_its_own() {
        let choice = choose(&facts(vec![compiler(Origin::OutsideRustup, 96, 22, false)]));
        assert_eq!(choice.step, Step::InstallPackages);
    }

    #[test]
    fn giving_up_names_what_was_found_and_what_to_install() {
        let mut facts = facts(vec![compiler(Origin::RustupNightly, 99, 23, true)]);
        facts.packages_possible = false;
        let choice = choose(&facts);
        assert_eq!(choice.step, Step::GiveUp);
        let text = nothing_left(&choice.passed_over);
        for part in ["LLVM 23", "rustup toolchain install nightly", "apt-get install rustc-web rust-web-src"]
        {
            assert!(text.contains(part), "{part:?} is missing in:\n{text}");
        }
    }
}
