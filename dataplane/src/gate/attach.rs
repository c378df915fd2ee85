//! Attaching to interfaces: the first time, again, and in the place of an earlier program.
//!
//! What holds the hook is asked of the kernel each time, never remembered: interfaces go, return and change their
//! names while nobody looks. A hook that another program holds is refused, not shared: weir speaks no dispatcher's
//! protocol, and a program chained before or behind it could undo its verdicts.

use std::{os::fd::AsFd, path::PathBuf};

use aya::{
    programs::{ProgramError, loaded_programs},
    sys::SyscallError,
};
use weir_dataplane_common::abi::Side;

use super::{Gate, Mode, program_of, with_sources};
use crate::{
    Error,
    netlink::{self, Link},
    pins::{Attachment, Object, PinnedLink, failed, unpin},
};

impl Mode {
    /// As it is called in configuration and errors.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::Native => Self::Generic,
            Self::Generic => Self::Native,
        }
    }

    /// `XDP_FLAGS_DRV_MODE` and `XDP_FLAGS_SKB_MODE` of `linux/if_link.h`.
    const fn flag(self) -> u32 {
        match self {
            Self::Native => 1 << 2,
            Self::Generic => 1 << 1,
        }
    }

    /// Where a program is, by the number that netlink gives the place.
    const fn of_place(place: u8) -> Option<Self> {
        match place {
            1 => Some(Self::Native),
            2 => Some(Self::Generic),
            _ => None,
        }
    }
}

impl Gate {
    /// Attaches the program of `side` to an interface, by its name in this network namespace.
    ///
    /// Where a pinned gate of this node was attached in the same mode, this program takes its place at once, with no
    /// packet between them. To change the mode the kernel wants the old attachment gone first: for a moment packets
    /// pass unjudged; if the new mode is refused, the old one is taken again and the error says what was refused.
    ///
    /// # Errors
    /// [`Error::NoInterface`], [`Error::Interface`], [`Error::Occupied`], [`Error::Attach`], [`Error::Pins`].
    pub fn attach(&mut self, interface: &str, side: Side, mode: Mode) -> Result<(), Error> {
        let found = look_up(interface)?;
        let occupant = found.programs.iter().find_map(|(place, program)| {
            let mode = Mode::of_place(*place)?;
            Some((mode, Attachment { program: *program, ifindex: found.index }))
        });
        let Some(held) = &mut self.pinned else {
            if let Some((_, other)) = occupant {
                return Err(occupied(interface, other.program));
            }
            let link = self.make_link(interface, found.index, side, mode)?;
            self.links.push(link);
            return Ok(());
        };
        let earlier = occupant.map(|(mode, other)| {
            let link = held.pins.links()?.into_iter().find(|link| link.attachment == other);
            Ok((mode, link.ok_or_else(|| occupied(interface, other.program))?))
        });
        let earlier = earlier.transpose()?;
        held.promote(&mut self.ebpf)?;
        held.pins.drop_dead_links()?;
        match earlier {
            None => self.attach_and_pin(interface, found.index, side, mode),
            Some((old_mode, link)) if old_mode == mode => self.replace(interface, &link, side),
            Some((_, link)) => self.change_mode(interface, &link, side, mode),
        }
    }

    /// Whether this gate's program of `side` is what judges on an interface now. False after the interface was
    /// removed and has returned: attach again.
    ///
    /// # Errors
    /// [`Error::NoInterface`], [`Error::Interface`] if the kernel does not tell, [`Error::Load`].
    pub fn guards(&mut self, interface: &str, side: Side) -> Result<bool, Error> {
        let found = look_up(interface)?;
        let mut own = vec![self.program_id(side)?];
        if let Some(capturing) = &mut self.capturing {
            own.push(capturing.gate().program_id(side)?);
        }
        Ok(found.programs.iter().any(|(_, program)| own.contains(program)))
    }

    /// Detaches from the interfaces to which an earlier gate of this node was attached and this one was not. Says
    /// where the attachments were pinned.
    ///
    /// # Errors
    /// [`Error::Pins`].
    pub fn detach_others(&mut self) -> Result<Vec<PathBuf>, Error> {
        let Some(held) = &self.pinned else { return Ok(Vec::new()) };
        let others = held.pins.links()?.into_iter().filter(|link| !held.attached.contains(&link.path));
        others.map(|link| release(&link).map(|()| link.path)).collect()
    }

    /// Not by the loading library, which would not let go of the link: a capture takes this program's place in it.
    fn make_link(&mut self, interface: &str, ifindex: u32, side: Side, mode: Mode) -> Result<Object, Error> {
        let program = self.program_fd(side)?;
        Object::attach_xdp(program.as_fd(), ifindex, mode.flag()).map_err(|io_error| {
            let call = SyscallError { call: "bpf_link_create", io_error };
            attach_error(interface, mode, &ProgramError::SyscallError(call))
        })
    }

    /// Attaches where nothing is attached.
    fn attach_and_pin(&mut self, interface: &str, ifindex: u32, side: Side, mode: Mode) -> Result<(), Error> {
        let link = self.make_link(interface, ifindex, side, mode)?;
        let Some(held) = &mut self.pinned else { return Ok(()) };
        let path = held.pins.link_path(interface, ifindex);
        // What has this name is no attachment to this interface.
        unpin(&path)?;
        link.pin(&path).map_err(|error| failed(&path, "pinning", &error))?;
        held.attached.push(path);
        Ok(())
    }

    /// Attaches anew in another mode; in the old one, if the new one is refused.
    fn change_mode(
        &mut self,
        interface: &str,
        old: &PinnedLink,
        side: Side,
        mode: Mode,
    ) -> Result<(), Error> {
        release(old)?;
        let ifindex = old.attachment.ifindex;
        self.attach_and_pin(interface, ifindex, side, mode).inspect_err(|_| {
            // The error to tell is the first one; where this fails too, nothing more can be done.
            let _ = self.attach_and_pin(interface, ifindex, side, mode.other());
        })
    }

    /// Puts this gate's program in the place of an earlier one.
    fn replace(&mut self, interface: &str, old: &PinnedLink, side: Side) -> Result<(), Error> {
        let program = self.program_fd(side)?;
        let Some(held) = &mut self.pinned else { return Ok(()) };
        old.link
            .update(program.as_fd())
            .map_err(|error| failed(&old.path, "replacing the program", &error))?;
        let path = held.pins.link_path(interface, old.attachment.ifindex);
        if path != old.path {
            // The interface has another name now. Nothing alive is pinned under it: the number is this interface's.
            std::fs::rename(&old.path, &path).map_err(|error| failed(&old.path, "renaming", &error))?;
        }
        held.attached.push(path);
        Ok(())
    }
}

/// Detaches at once and removes the pin.
fn release(link: &PinnedLink) -> Result<(), Error> {
    link.link.detach().map_err(|error| failed(&link.path, "detaching", &error))?;
    unpin(&link.path)
}

fn look_up(interface: &str) -> Result<Link, Error> {
    match netlink::link(interface) {
        Ok(Some(link)) => Ok(link),
        Ok(None) => Err(Error::NoInterface(interface.to_owned())),
        Err(error) => Err(Error::Interface { interface: interface.to_owned(), cause: error.to_string() }),
    }
}

/// Names of weir's programs as the kernel shows them.
const OWN: [&str; 2] = [program_of(Side::Access), program_of(Side::Network)];

fn occupied(interface: &str, program: u32) -> Error {
    // Without CAP_SYS_ADMIN the kernel gives no name.
    let info = loaded_programs().filter_map(Result::ok).find(|info| info.id() == program);
    let name = info.as_ref().and_then(|info| info.name_as_str()).unwrap_or_default();
    let (interface, program) = (interface.to_owned(), format!("number {program} {name:?}"));
    let advice = if OWN.contains(&name) {
        "it is weir's own (`ip link` shows it), of a node that runs or has left it behind: end that node; if it \
         does not run, `weir node detach NAME` with its name removes it"
    } else {
        "end what attached it (`ip link` and `bpftool prog` show it), or give weir another interface"
    };
    Error::Occupied { interface, program, advice }
}

pub(crate) fn attach_error(interface: &str, mode: Mode, error: &ProgramError) -> Error {
    if matches!(error, ProgramError::UnknownInterface { .. }) {
        return Error::NoInterface(interface.to_owned());
    }
    let advice = match (kernel_answer(error), mode) {
        (Some(libc::EBUSY | libc::EEXIST), _) => {
            "another XDP program is attached (see `ip link`): end what attached it, or give weir another interface"
        }
        (Some(libc::EOPNOTSUPP), Mode::Native) => {
            "its driver has no native XDP: set xdp_mode = \"generic\", which is slower, or use another interface"
        }
        (_, Mode::Native) => {
            "the driver may not take native XDP as the interface is set up now, for example with so large an \
             MTU (`dmesg` may say more); xdp_mode = \"generic\" is slower and works everywhere"
        }
        (_, Mode::Generic) => "`dmesg` may say more",
    };
    Error::Attach { interface: interface.to_owned(), mode: mode.name(), cause: with_sources(error), advice }
}

/// The error number at the root of an error.
fn kernel_answer(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(answer) = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error) {
            return Some(answer);
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    fn refused(mode: Mode, answer: i32) -> String {
        let io_error = io::Error::from_raw_os_error(answer);
        let call = SyscallError { call: "bpf_link_create", io_error };
        attach_error("eth7", mode, &ProgramError::SyscallError(call)).to_string()
    }

    #[test]
    fn a_refused_attachment_names_the_interface_the_kernels_answer_and_what_to_do() {
        let taken = refused(Mode::Native, libc::EBUSY);
        assert!(taken.contains("eth7") && taken.contains("os error 16"), "{taken}");
        assert!(taken.contains("another XDP program is attached"), "{taken}");
        let lacking = refused(Mode::Native, libc::EOPNOTSUPP);
        assert!(lacking.contains("xdp_mode = \"generic\""), "{lacking}");
        let generic = refused(Mode::Generic, libc::EINVAL);
        assert!(!generic.contains("generic\""), "nothing to fall back to: {generic}");
    }

    #[test]
    fn an_interface_that_is_not_there_is_no_matter_of_modes() {
        let unknown = ProgramError::UnknownInterface { name: "eth7".to_owned() };
        let error = attach_error("eth7", Mode::Native, &unknown);
        assert!(matches!(error, Error::NoInterface(name) if name == "eth7"));
    }
}
