//! The names by which the parts of a world, and worlds that outlived their owner, are recognised.
//!
//! `weir-<pid>-<n>-<label>`: the process that made it, which of its worlds, which part. A name whose process is
//! gone is an orphan; nothing else about a namespace or directory may be used to decide that it is ours.

use std::fmt;
use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};

const PREFIX: &str = "weir";
const LONGEST_LABEL: usize = 40;

/// One world of one process; gives its parts their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorldName {
    owner: u32,
    number: u32,
}

impl WorldName {
    /// The next world of this process.
    pub fn next() -> Self {
        static WORLDS: AtomicU32 = AtomicU32::new(1);
        Self { owner: std::process::id(), number: WORLDS.fetch_add(1, Ordering::Relaxed) }
    }

    /// The name of one part of this world. The label is shortened to lower-case letters, digits and dashes.
    pub fn part(&self, label: &str) -> String {
        let mut name = self.to_string();
        name.push('-');
        name.extend(label.chars().take(LONGEST_LABEL).map(|letter| match letter {
            'a'..='z' | '0'..='9' | '-' => letter,
            'A'..='Z' => letter.to_ascii_lowercase(),
            _ => '-',
        }));
        name
    }

    /// Reads the world back from a part's name; `None` if the name is not of this form.
    pub fn of(part: &str) -> Option<Self> {
        let mut pieces = part.splitn(4, '-');
        if pieces.next()? != PREFIX {
            return None;
        }
        let owner = number(pieces.next()?)?;
        let number = number(pieces.next()?)?;
        pieces.next().filter(|label| !label.is_empty())?;
        Some(Self { owner, number })
    }

    /// Whether the process that made this world is gone (a zombie counts as gone: it will undo nothing).
    ///
    /// A recycled pid makes an orphan look alive; it is then swept by a later run, never a living one too early.
    pub fn is_orphan(&self) -> bool {
        self.owner != std::process::id() && !is_alive(self.owner)
    }
}

impl fmt::Display for WorldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}-{}-{}", self.owner, self.number)
    }
}

/// Digits only: `str::parse` would also accept a sign.
fn number(piece: &str) -> Option<u32> {
    piece.bytes().all(|byte| byte.is_ascii_digit()).then(|| piece.parse().ok())?
}

/// False only if `/proc` positively says so; when it cannot be read, the process may be alive.
fn is_alive(pid: u32) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        // "pid (command) state …": the command may contain anything, so the state follows the last ")".
        Ok(stat) => !matches!(
            stat.rsplit_once(')').map(|(_, rest)| rest.trim_start().as_bytes().first().copied()),
            Some(Some(b'Z' | b'X'))
        ),
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_name_leads_back_to_its_world() {
        let world = WorldName::next();
        assert_eq!(WorldName::of(&world.part("node-a")), Some(world));
        assert_ne!(WorldName::next(), world);
    }

    #[test]
    fn a_label_cannot_leave_the_directory_of_names() {
        assert_eq!(WorldName { owner: 1, number: 2 }.part("../Etc x"), "weir-1-2----etc-x");
    }

    #[test]
    fn names_of_others_are_not_recognised() {
        for name in [
            "weir",
            "weir-1-2",
            "weir-1-2-",
            "weir-x-2-a",
            "weir-+1-2-a",
            "other-1-2-a",
            "weir--1-2-a",
            "lab",
        ] {
            assert_eq!(WorldName::of(name), None, "{name}");
        }
    }

    #[test]
    fn a_world_of_this_or_another_living_process_is_no_orphan() {
        assert!(!WorldName::next().is_orphan());
        assert!(!WorldName { owner: 1, number: 1 }.is_orphan());
    }

    #[test]
    fn a_zombie_owner_is_gone() {
        let mut child = std::process::Command::new("true").spawn().expect("`true` is on every system");
        let world = WorldName { owner: child.id(), number: 1 };
        // Waits for the end without reaping, so that the zombie is there to be seen.
        let pid = rustix::process::Pid::from_child(&child);
        let options = rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
        rustix::process::waitid(rustix::process::WaitId::Pid(pid), options)
            .expect("the child can be waited for");
        assert!(world.is_orphan());
        child.wait().expect("the child can be reaped");
        assert!(world.is_orphan());
    }
}
