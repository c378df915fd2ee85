//! Runs other programs: cargo with a clean environment, long steps with an announcement and a clock.
//! It knows no particular step; those are in the file of each command.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Lines of a failed program's output that are shown.
const SHOWN_LINES: usize = 200;

/// The checkout this command works in, and the cargo that runs it.
pub struct Workspace {
    root: PathBuf,
    cargo: PathBuf,
    target_dir: Option<PathBuf>,
}

impl Workspace {
    /// The workspace from which `cargo xtask` was called.
    ///
    /// # Errors
    /// If the current directory is gone or the manifest's directory has no parent.
    pub fn locate() -> Result<Self> {
        // At run time, because a binary in a shared target directory may have been built from another checkout.
        let manifest =
            std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = Path::new(&manifest).parent().context("xtask's directory has no parent")?.to_owned();
        let cargo = std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
        let here = std::env::current_dir().context("the current directory is gone: change to another one")?;
        let target_dir = std::env::var_os("CARGO_TARGET_DIR").map(|dir| here.join(dir));
        Ok(Self { root, cargo, target_dir })
    }

    /// The directory of the workspace's `Cargo.toml`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the BPF objects lie for `weir-dataplane` to find, wherever else cargo is told to build.
    pub fn bpf_objects(&self) -> PathBuf {
        self.root.join("target/bpf-objects")
    }

    /// The binary `name` of the development profile: it lies beside this command's own, which cargo built
    /// under the same settings.
    ///
    /// # Errors
    /// If it is not there.
    pub fn binary(&self, name: &str) -> Result<PathBuf> {
        let own = std::env::current_exe().context("cannot tell where xtask's own binary lies")?;
        let path = own.with_file_name(name);
        if !path.is_file() {
            bail!("cargo built no {}", path.display());
        }
        Ok(path)
    }

    /// The binary `name` of the release profile, in the directory beside this command's.
    ///
    /// # Errors
    /// If it is not there.
    pub fn release_binary(&self, name: &str) -> Result<PathBuf> {
        let own = std::env::current_exe().context("cannot tell where xtask's own binary lies")?;
        let profiles = own.parent().and_then(Path::parent).context("xtask's binary lies in no profile")?;
        let path = profiles.join("release").join(name);
        if !path.is_file() {
            bail!("cargo built no {}", path.display());
        }
        Ok(path)
    }

    /// Cargo at the workspace's root as the user would call it: with the user's settings, without what the
    /// outer `cargo xtask` added.
    pub fn cargo(&self) -> Command {
        self.cargo_at(&self.cargo)
    }

    fn cargo_at(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        remove_where(&mut command, is_left_by_cargo_run);
        if let Some(dir) = &self.target_dir {
            // The user's may be relative to the directory of the call, which is not where cargo runs now.
            command.env("CARGO_TARGET_DIR", dir);
        }
        command
    }

    /// Cargo for work that must not depend on the user's build settings: tools and the BPF program.
    pub fn neutral_cargo(&self) -> Command {
        self.neutral_cargo_at(&self.cargo)
    }

    /// As [`Workspace::neutral_cargo`], with the cargo of another toolchain.
    pub fn neutral_cargo_at(&self, program: &Path) -> Command {
        let mut command = self.cargo_at(program);
        strip_build_settings(&mut command);
        command
    }
}

/// Takes from `command` every variable that changes how cargo or rustc build.
pub fn strip_build_settings(command: &mut Command) {
    remove_where(command, is_build_setting);
}

fn remove_where(command: &mut Command, unwanted: fn(&str) -> bool) {
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(unwanted) {
            command.env_remove(name);
        }
    }
}

/// Variables that `cargo run` sets for the program it runs, and those of our own that only we may set.
fn is_left_by_cargo_run(name: &str) -> bool {
    const PREFIXES: [&str; 3] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"];
    const NAMES: [&str; 7] = [
        "CARGO",
        "CARGO_CRATE_NAME",
        "CARGO_PRIMARY_PACKAGE",
        "OUT_DIR",
        "WEIR_BPF_DIR",
        "WEIR_ALLOW_SKIP",
        "WEIR_BIN",
    ];
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Variables by which a user changes what cargo and rustc build, how and where.
fn is_build_setting(name: &str) -> bool {
    const PREFIXES: [&str; 5] =
        ["CARGO_BUILD_", "CARGO_PROFILE_", "CARGO_TARGET_", "CARGO_UNSTABLE_", "CARGO_ENCODED_"];
    const NAMES: [&str; 8] = [
        "RUSTC",
        "RUSTC_BOOTSTRAP",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_LINKER",
        "RUSTFLAGS",
        "RUSTDOC",
        "RUSTDOCFLAGS",
    ];
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Says a line about what is being done, to people.
pub fn say(line: &str) {
    eprintln!("{line}");
}

/// Runs a long step: announces it, shows the time while it runs (on a terminal), keeps its output back and
/// returns it.
///
/// # Errors
/// If the program cannot be started, or fails: then with the end of its output.
pub fn run_quietly(title: &str, command: &mut Command) -> Result<Output> {
    let clock = StepClock::start(title);
    let result = command.stdin(Stdio::null()).output();
    clock.stop();
    let output = result.with_context(|| cannot_start(command))?;
    if !output.status.success() {
        bail!("{title}: failed with {}\n{}", output.status, shown_end(&output));
    }
    Ok(output)
}

/// Runs a step whose output people want to see, after a line that announces it.
///
/// # Errors
/// If the program cannot be started or fails.
pub fn run_openly(title: &str, command: &mut Command) -> Result<()> {
    say(&format!("→ {title}"));
    let status = command.status().with_context(|| cannot_start(command))?;
    if !status.success() {
        bail!("{title}: failed with {status}");
    }
    Ok(())
}

/// The message for a program that could not be started.
pub fn cannot_start(command: &Command) -> String {
    format!("cannot start {}", command.get_program().to_string_lossy())
}

fn shown_end(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).join("\n");
    let lines: Vec<&str> = text.trim().lines().collect();
    let left_out = lines.len().saturating_sub(SHOWN_LINES);
    let note = if left_out > 0 { format!("({left_out} lines left out)\n") } else { String::new() };
    note + &lines[left_out..].join("\n")
}

/// The last line that says something: of a failed program's output, mostly the reason.
pub fn last_line(text: &str) -> &str {
    text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no reason given")
}

/// A duration as people say it: `7 s`, `3 min 12 s`.
pub fn spoken(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 60 { format!("{seconds} s") } else { format!("{} min {:02} s", seconds / 60, seconds % 60) }
}

/// The line of a running step. On a terminal it counts the seconds; elsewhere it is one line, and a second
/// one if the step took long.
struct StepClock {
    started: Instant,
    stop: Sender<()>,
    ticker: Option<JoinHandle<()>>,
}

impl StepClock {
    fn start(title: &str) -> Self {
        let started = Instant::now();
        let (stop, stopped) = mpsc::channel();
        let line = format!("→ {title}");
        let ticker = std::io::stderr().is_terminal().then(|| {
            let line = line.clone();
            std::thread::spawn(move || {
                while stopped.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
                    redraw(&format!("{line} … {}", spoken(started.elapsed())));
                }
                redraw(&format!("{line} ({})\n", spoken(started.elapsed())));
            })
        });
        if ticker.is_some() {
            redraw(&line);
        } else {
            say(&line);
        }
        Self { started, stop, ticker }
    }

    fn stop(self) {
        const WORTH_A_LINE: Duration = Duration::from_secs(10);
        drop(self.stop);
        match self.ticker {
            // A ticker that panicked has only spoilt its own line.
            Some(ticker) => drop(ticker.join()),
            None if self.started.elapsed() >= WORTH_A_LINE => {
                say(&format!("  took {}", spoken(self.started.elapsed())));
            }
            None => {}
        }
    }
}

/// Replaces the terminal's current line. A terminal that has gone away is no reason to stop.
fn redraw(line: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = write!(stderr, "\r\x1b[2K{line}");
    let _ = stderr.flush();
}

/// `dir` in front of the search path in variable `name`.
///
/// # Errors
/// If the directory's name cannot stand in a search path (it contains a colon).
pub fn with_dir_in_front(name: &str, dir: &Path) -> Result<OsString> {
    let rest = std::env::var_os(name).unwrap_or_default();
    let dirs = std::iter::once(dir.to_owned())
        .chain(std::env::split_paths(&rest).filter(|entry| !entry.as_os_str().is_empty()));
    std::env::join_paths(dirs).with_context(|| format!("{} cannot stand in {name}", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_target_directory_survives_and_the_outer_cargos_variables_do_not() {
        for gone in ["CARGO_PKG_NAME", "CARGO_MANIFEST_DIR", "CARGO", "WEIR_BPF_DIR", "WEIR_ALLOW_SKIP"] {
            assert!(is_left_by_cargo_run(gone), "{gone}");
        }
        for kept in ["CARGO_TARGET_DIR", "CARGO_HOME", "RUSTFLAGS", "RUSTUP_TOOLCHAIN", "CARGO_TERM_COLOR"] {
            assert!(!is_left_by_cargo_run(kept), "{kept}");
        }
    }

    #[test]
    fn tools_are_built_without_the_users_build_settings_but_with_the_users_network_settings() {
        for gone in [
            "RUSTC",
            "RUSTC_BOOTSTRAP",
            "RUSTFLAGS",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_TARGET_DIR",
            "CARGO_BUILD_TARGET",
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS",
        ] {
            assert!(is_build_setting(gone), "{gone}");
        }
        for kept in ["CARGO_HOME", "CARGO_NET_OFFLINE", "CARGO_HTTP_PROXY", "RUSTUP_HOME", "PATH"] {
            assert!(!is_build_setting(kept), "{kept}");
        }
    }

    #[test]
    fn the_reason_is_the_last_thing_that_was_said() {
        assert_eq!(last_line("fetching: failed\nerror: no route to host\n\n"), "error: no route to host");
        assert_eq!(last_line("\n"), "no reason given");
    }

    #[test]
    fn durations_are_spoken_in_minutes_from_sixty_seconds_on() {
        assert_eq!(spoken(Duration::from_millis(7900)), "7 s");
        assert_eq!(spoken(Duration::from_secs(59)), "59 s");
        assert_eq!(spoken(Duration::from_secs(192)), "3 min 12 s");
    }

    #[test]
    fn a_failed_step_tells_its_name_and_what_the_program_said() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo the disk is full >&2; exit 3"]);
        let error = run_quietly("writing", &mut command).unwrap_err().to_string();
        assert!(error.starts_with("writing: failed with exit status: 3"), "{error}");
        assert!(error.contains("the disk is full"), "{error}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = run_openly("trying", &mut Command::new("weir-no-such-program")).unwrap_err();
        assert!(format!("{error:#}").starts_with("cannot start weir-no-such-program"), "{error:#}");
    }
}
