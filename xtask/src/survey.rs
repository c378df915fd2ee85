//! Looks at the machine: which Rust compilers are there, where a program lies, who runs this. It changes
//! nothing and decides nothing. Read first: `toolchain.rs`, which decides on what is found here.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{Workspace, strip_build_settings};
use crate::toolchain::{Compiler, Origin};
use crate::version::Version;

/// Directories searched after those in PATH: administrators' tools are often missing from a user's PATH.
const SYSTEM_DIRS: [&str; 4] = ["/usr/local/bin", "/usr/bin", "/usr/sbin", "/sbin"];

/// Whether this process runs as root. `/proc/self` belongs to the effective user.
pub fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// The first executable file called `name` in PATH, then in the system's directories.
pub fn find_program(name: &str) -> Option<PathBuf> {
    program_in(name, &search_dirs())
}

/// The first executable file called `name` in `dirs`.
pub fn program_in(name: &str, dirs: &[PathBuf]) -> Option<PathBuf> {
    dirs.iter().map(|dir| dir.join(name)).find(|path| {
        path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    })
}

fn search_dirs() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain(SYSTEM_DIRS.map(PathBuf::from)).collect()
}

/// Every Rust compiler on this machine, each once.
pub fn compilers(workspace: &Workspace) -> Vec<Compiler> {
    let mut found = rustup_compilers(workspace);
    found.extend(compilers_outside_rustup(&search_dirs()));
    let mut seen = HashSet::new();
    found.retain(|compiler| seen.insert(compiler.sysroot.clone()));
    found
}

fn rustup_compilers(workspace: &Workspace) -> Vec<Compiler> {
    let Some(rustup) = find_program("rustup") else { return Vec::new() };
    let ask = |arguments: &[&str]| {
        let mut command = Command::new(&rustup);
        // A question must not install a toolchain.
        command.args(arguments).current_dir(workspace.root()).env("RUSTUP_AUTO_INSTALL", "0");
        answer(command)
    };
    let nightlies = ask(&["toolchain", "list"]).map(|list| nightlies(&list)).unwrap_or_default();
    let active = ask(&["show", "active-toolchain"]).and_then(|line| Some(first_word(&line)?.to_owned()));
    nightlies
        .into_iter()
        .map(|name| (name, Origin::RustupNightly))
        .chain(active.map(|name| (name, Origin::RustupActive)))
        .filter_map(|(name, origin)| {
            let rustc = PathBuf::from(ask(&["which", "--toolchain", &name, "rustc"])?);
            examine(&rustc, origin, name)
        })
        .collect()
}

/// Names of the nightly toolchains in what `rustup toolchain list` printed.
fn nightlies(list: &str) -> Vec<String> {
    list.lines()
        .filter_map(first_word)
        .filter(|name| name.starts_with("nightly"))
        .map(str::to_owned)
        .collect()
}

fn first_word(line: &str) -> Option<&str> {
    line.split_whitespace().next()
}

fn compilers_outside_rustup(dirs: &[PathBuf]) -> Vec<Compiler> {
    dirs.iter()
        // Beside rustup lie its proxies, not compilers.
        .filter(|dir| !dir.join("rustup").exists())
        .filter_map(|dir| program_in("rustc", std::slice::from_ref(dir)))
        .filter_map(|rustc| examine(&rustc, Origin::OutsideRustup, rustc.display().to_string()))
        .collect()
}

/// Asks a compiler what it is. `None` if it does not answer as rustc does.
fn examine(rustc: &Path, origin: Origin, name: String) -> Option<Compiler> {
    let question = |arguments: &[&str]| {
        let mut command = Command::new(rustc);
        strip_build_settings(&mut command);
        command.args(arguments);
        answer(command)
    };
    let (release, llvm) = release_and_llvm(&question(&["-vV"])?)?;
    let sysroot = PathBuf::from(question(&["--print", "sysroot"])?);
    let own_cargo = sysroot.join("bin/cargo");
    Some(Compiler {
        origin,
        name,
        rustc: rustc.to_owned(),
        cargo: (origin != Origin::OutsideRustup && own_cargo.is_file()).then_some(own_cargo),
        has_source: sysroot.join("lib/rustlib/src/rust/library/core").is_dir(),
        sysroot,
        release,
        llvm,
    })
}

/// The compiler's version and its LLVM's major version, from `rustc -vV`.
fn release_and_llvm(output: &str) -> Option<(Version, u32)> {
    let field = |name: &str| output.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    Some((Version::parse(field("release")?)?, Version::parse(field("LLVM version")?)?.major))
}

/// What `command` printed, trimmed; `None` if it could not be run, failed or printed nothing.
fn answer(mut command: Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// The LLVM library of major version `llvm` that lies with one of these compilers, the first one's first.
pub fn llvm_library<'a>(compilers: impl IntoIterator<Item = &'a Compiler>, llvm: u32) -> Option<PathBuf> {
    compilers.into_iter().filter(|compiler| compiler.llvm == llvm).find_map(|compiler| {
        let lib = compiler.sysroot.join("lib");
        let multiarch = lib.join(multiarch_dir());
        [lib, multiarch].iter().find_map(|dir| llvm_library_in(dir, llvm))
    })
}

/// Debian's directory for this machine's libraries.
fn multiarch_dir() -> String {
    format!("{}-linux-gnu", std::env::consts::ARCH)
}

fn llvm_library_in(dir: &Path, llvm: u32) -> Option<PathBuf> {
    let mut libraries: Vec<PathBuf> = dir
        .read_dir()
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().and_then(OsStr::to_str).is_some_and(|name| is_llvm(name, llvm)))
        // Rustup installs a small linker script beside the library; a library begins as ELF files do.
        .filter(|path| begins_as_elf(path))
        .collect();
    libraries.sort();
    libraries.pop()
}

/// Whether a file of this name is LLVM's library of that major version: `libLLVM.so.22.1`, `libLLVM-22.so`.
fn is_llvm(name: &str, llvm: u32) -> bool {
    let Some(rest) = name.strip_prefix("libLLVM.so.").or_else(|| name.strip_prefix("libLLVM-")) else {
        return false;
    };
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse() == Ok(llvm)
}

fn begins_as_elf(path: &Path) -> bool {
    use std::io::Read;
    let mut magic = [0; 4];
    std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == *b"\x7fELF"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_and_llvm_are_read_from_what_rustc_prints() {
        let output = "rustc 1.97.0-nightly (e50aa6fba 2026-05-19)\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\n\
                      release: 1.97.0-nightly\nLLVM version: 22.1.4\n";
        assert_eq!(release_and_llvm(output), Some((Version::new(1, 97, 0), 22)));
        assert_eq!(release_and_llvm("gcc 12.2.0"), None);
    }

    #[test]
    fn only_nightlies_are_taken_from_the_list_of_toolchains() {
        let list = "stable-x86_64-unknown-linux-gnu (active, default)\nnightly-x86_64-unknown-linux-gnu\n\
                    nightly-2026-05-20-x86_64-unknown-linux-gnu\n1.95.0-x86_64-unknown-linux-gnu\n";
        assert_eq!(
            nightlies(list),
            ["nightly-x86_64-unknown-linux-gnu", "nightly-2026-05-20-x86_64-unknown-linux-gnu"]
        );
        assert!(nightlies("no installed toolchains\n").is_empty());
    }

    #[test]
    fn an_llvm_library_is_told_by_its_name() {
        assert!(is_llvm("libLLVM.so.22.1-rust-1.95.0-stable", 22));
        assert!(is_llvm("libLLVM-22.so", 22));
        for other in ["libLLVM-14.so.1", "libLLVM.so.221", "libLLVM.so", "libclang-22.so", "libLLVM-"] {
            assert!(!is_llvm(other, 22), "{other}");
        }
    }

    #[test]
    fn a_file_without_the_right_to_run_is_no_program() {
        let dir = std::env::temp_dir().join(format!("weir-xtask-survey-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("rustc"), "#!/bin/sh\n").unwrap();
        let dirs = [dir.clone()];
        assert_eq!(program_in("rustc", &dirs), None);
        std::fs::set_permissions(dir.join("rustc"), std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(program_in("rustc", &dirs), Some(dir.join("rustc")));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
