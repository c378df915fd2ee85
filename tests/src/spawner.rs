//! One thread that starts every child, so that children die with this process even if it is killed.
//!
//! The kernel's parent-death signal fires when the *thread* that forked ends, not the process (prctl(2),
//! PR_SET_PDEATHSIG). A test's thread may end while a world lives on; this one ends with the process only.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};

use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

type Order = (Command, SyncSender<io::Result<Child>>);

static SPAWNER: OnceLock<Sender<Order>> = OnceLock::new();

/// Starts a command in a process group of its own (Ctrl-C at a terminal must reach us alone: we end the
/// children, in order) and bound to the life of this process.
pub(crate) fn spawn(mut command: Command) -> io::Result<Child> {
    let parent = getpid();
    command.process_group(0);
    // SAFETY: between fork and exec only system calls are made; nothing is allocated and no lock is taken.
    unsafe {
        command.pre_exec(move || {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // The parent may have died before the call above; then no signal will come.
            if getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
        });
    }
    let (reply, answer) = sync_channel(1);
    let gone = || io::Error::other("the thread that starts processes has ended");
    SPAWNER.get_or_init(start).send((command, reply)).map_err(|_| gone())?;
    answer.recv().map_err(|_| gone())?
}

fn start() -> Sender<Order> {
    let (orders, queue) = channel::<Order>();
    let spawner = std::thread::Builder::new().name("spawner".into()).spawn(move || {
        for (mut command, reply) in queue {
            // A caller that no longer listens cannot exist: it waits for this answer.
            let _ = reply.send(command.spawn());
        }
    });
    // Without the thread the queue is dropped and every order fails with a message.
    drop(spawner);
    orders
}
