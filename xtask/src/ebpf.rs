//! `cargo xtask build-ebpf`: compiles the XDP program twice, for live traffic and for replay, and beside it the
//! bench's floors with the packet generator; puts the objects where `weir-dataplane` embeds them from. It does
//! not choose the compiler: `setup.rs` does.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::{Workspace, run_quietly, say, with_dir_in_front};
use crate::setup::{self, BpfTools};

/// The target: BPF of little-endian machines.
const TARGET: &str = "bpfel-unknown-none";

/// cpu v3 has atomics and 32-bit jumps; debug information and `--btf` make the type information that the
/// kernel checks maps and program against.
const RUSTFLAGS: [&str; 3] = ["-Ctarget-cpu=v3", "-Cdebuginfo=2", "-Clink-arg=--btf"];

/// An object to build.
pub struct Object {
    /// Its name among the BPF objects.
    pub file: &'static str,
    /// What is said when it is built.
    pub title: &'static str,
    /// What it is built from.
    pub source: Source,
    /// The features that make it this object.
    pub features: &'static [&'static str],
}

/// A package with a BPF program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// weir's own.
    Gate,
    /// The bench's floors and the packet generator.
    Floors,
}

impl Source {
    fn package(self) -> &'static str {
        match self {
            Self::Gate => "weir-dataplane-ebpf",
            Self::Floors => "weir-floors-ebpf",
        }
    }

    fn binary(self) -> &'static str {
        match self {
            Self::Gate => "weir-ebpf",
            Self::Floors => "weir-floors",
        }
    }
}

const OBJECTS: [Object; 3] = [
    Object { file: "weir.o", title: "building the BPF program (live)", source: Source::Gate, features: &[] },
    Object {
        file: "weir-replay.o",
        title: "building the BPF program (replay: clock from the capture)",
        source: Source::Gate,
        features: &["replay"],
    },
    Object {
        file: "floors.o",
        title: "building the packet generator and the bench's floors",
        source: Source::Floors,
        features: &[],
    },
];

/// Runs the command: prepares the machine and builds the objects.
///
/// # Errors
/// If a tool is missing and cannot be installed, or the program does not compile.
pub fn run(workspace: &Workspace) -> Result<()> {
    build(workspace, &setup::prepare(workspace)?)?;
    println!("build-ebpf: objects in {}", workspace.bpf_objects().display());
    Ok(())
}

/// Builds what the product and its tests need and returns the compiler's warnings, which have been shown.
///
/// # Errors
/// As [`build_objects`].
pub fn build(workspace: &Workspace, tools: &BpfTools) -> Result<Vec<String>> {
    build_objects(workspace, tools, &OBJECTS)
}

/// Builds these objects and returns the compiler's warnings, which have been shown.
///
/// # Errors
/// If a program does not compile or the objects cannot be written.
pub fn build_objects(workspace: &Workspace, tools: &BpfTools, objects: &[Object]) -> Result<Vec<String>> {
    let target_dir = workspace.root().join("target/bpf");
    fs::create_dir_all(&target_dir).with_context(|| format!("cannot make {}", target_dir.display()))?;
    // Several objects leave cargo under the same name: two builds at once would take each other's.
    let lock = File::create(target_dir.join("xtask.lock"))?;
    lock.lock().context("cannot wait for another build of the BPF program")?;

    let mut warnings = Vec::new();
    for object in objects {
        let mut command = cargo_for_bpf(workspace, tools, &target_dir)?;
        command.args(["--package", object.source.package()]);
        command.args(["--features", &object.features.join(",")]);
        let output = run_quietly(object.title, &mut command)?;
        for warning in warnings_in(&String::from_utf8_lossy(&output.stderr)) {
            // Most of them come from every build.
            if !warnings.contains(&warning) {
                say(&warning);
                warnings.push(warning);
            }
        }
        let built = target_dir.join(TARGET).join("release").join(object.source.binary());
        publish(&built, &workspace.bpf_objects().join(object.file))?;
    }
    Ok(warnings)
}

fn cargo_for_bpf(workspace: &Workspace, tools: &BpfTools, target_dir: &Path) -> Result<Command> {
    let mut command = match &tools.compiler.cargo {
        Some(cargo) => workspace.neutral_cargo_at(cargo),
        None => workspace.neutral_cargo(),
    };
    command
        .env("RUSTC", &tools.compiler.rustc)
        // `-Zbuild-std` is open to nightlies; this opens it to every compiler.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", RUSTFLAGS.join("\x1f"))
        .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &tools.linker)
        .args(["build", "--release", "-Zbuild-std=core"])
        .args(["--target", TARGET])
        .arg("--target-dir")
        .arg(target_dir);
    if let Some(library) = &tools.llvm {
        let dir = directory_with_only(library, &target_dir.join("llvm"))?;
        command.env("LD_LIBRARY_PATH", with_dir_in_front("LD_LIBRARY_PATH", &dir)?);
    }
    Ok(command)
}

/// A directory with a link to `library` alone: bpf-linker opens the first `libLLVM*` on its way, and where
/// several lie side by side that may be any of them.
fn directory_with_only(library: &Path, dir: &Path) -> Result<PathBuf> {
    let make = || {
        if dir.exists() {
            fs::remove_dir_all(dir)?;
        }
        fs::create_dir_all(dir)?;
        // The name is nobody's soname, so that no program but bpf-linker takes it.
        std::os::unix::fs::symlink(library, dir.join("libLLVM-of-bpf-linker.so"))
    };
    make().with_context(|| format!("cannot lay {} into {}", library.display(), dir.display()))?;
    Ok(dir.to_owned())
}

/// Copies `built` to `object` unless the content is the same: an untouched file spares its dependants a rebuild.
fn publish(built: &Path, object: &Path) -> Result<()> {
    let content = fs::read(built).with_context(|| format!("cargo built no {}", built.display()))?;
    if fs::read(object).is_ok_and(|old| old == content) {
        return Ok(());
    }
    let write = || {
        fs::create_dir_all(object.parent().unwrap_or(Path::new(".")))?;
        // By rename, so that a reader sees the old object or the new one.
        let fresh = object.with_extension("o.new");
        fs::write(&fresh, &content)?;
        fs::rename(&fresh, object)
    };
    write().with_context(|| format!("cannot write {}", object.display()))
}

/// The compiler's warnings in what cargo printed, each with its lines; not cargo's progress and sums.
fn warnings_in(stderr: &str) -> Vec<String> {
    let is_progress = |line: &&str| {
        line.starts_with(' ') && line.trim_start().starts_with(|c: char| c.is_ascii_uppercase())
    };
    let without_progress: Vec<&str> = stderr.lines().filter(|line| !is_progress(line)).collect();
    without_progress
        .join("\n")
        .split("\n\n")
        .map(str::trim)
        .filter(|block| block.starts_with("warning"))
        .filter(|block| !block.lines().next().is_some_and(|line| line.contains(" generated ")))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_replaced_only_if_its_content_changed() {
        let dir = std::env::temp_dir().join(format!("weir-xtask-publish-{}", std::process::id()));
        let (built, object) = (dir.join("weir-ebpf"), dir.join("objects/weir.o"));
        fs::create_dir_all(&dir).unwrap();
        fs::write(&built, "one").unwrap();
        publish(&built, &object).unwrap();
        let first = fs::metadata(&object).unwrap();
        publish(&built, &object).unwrap();
        assert_eq!(inode(&first), inode(&fs::metadata(&object).unwrap()));

        fs::write(&built, "two").unwrap();
        publish(&built, &object).unwrap();
        assert_eq!(fs::read_to_string(&object).unwrap(), "two");
        fs::remove_dir_all(&dir).unwrap();
    }

    fn inode(metadata: &fs::Metadata) -> u64 {
        std::os::unix::fs::MetadataExt::ino(metadata)
    }

    #[test]
    fn only_one_llvm_lies_in_the_directory_for_the_linker() {
        let dir = std::env::temp_dir().join(format!("weir-xtask-llvm-{}", std::process::id()));
        directory_with_only(Path::new("/lib/one"), &dir).unwrap();
        directory_with_only(Path::new("/lib/two"), &dir).unwrap();
        let links: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(links.len(), 1);
        assert_eq!(fs::read_link(&links[0]).unwrap(), Path::new("/lib/two"));
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_warning_is_taken_with_its_lines_and_progress_is_not() {
        let stderr = "   Compiling weir-dataplane-ebpf v0.1.0\nwarning: unused import: `x`\n --> src/main.rs:3:5\n\n\
                      warning: `weir-dataplane-ebpf` generated 1 warning\n    Finished `release` profile\n";
        let warnings = warnings_in(stderr);
        assert_eq!(warnings, ["warning: unused import: `x`\n --> src/main.rs:3:5"]);
        assert!(warnings_in("   Compiling core v0.0.0\n    Finished `release` profile\n").is_empty());
    }
}
