//! Worlds themselves: packets pass, nothing stray passes, and nothing is left behind.
//!
//! Everything later stories conclude from arrival and silence rests on these facts.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, PidfdFlags, kill_process, pidfd_open};
use weir_tests::addresses::{APPLICATION_SERVER, INTERNET_HOST, INTERNET_HOST_V6, device, device_v6};
use weir_tests::metrics::Metrics;
use weir_tests::namespace::Namespace;
use weir_tests::packet::{Packet, TcpFlags};
use weir_tests::port::Port;
use weir_tests::process::{Process, Program, Signal};
use weir_tests::remains::{self, NAMESPACES};
use weir_tests::story::tell_of_world;
use weir_tests::world::{A, B, Plan, World};
use weir_tests::{http, rights};

const SOON: Duration = Duration::from_secs(5);

/// One packet of every kind a story sends.
fn kinds(from: impl Into<IpAddr>, to: impl Into<IpAddr>) -> Vec<Packet> {
    let (from, to) = (from.into(), to.into());
    vec![
        Packet::udp(from, to),
        Packet::tcp(from, to, 1, TcpFlags { syn: true, ..TcpFlags::default() }),
        Packet::esp(from, to, 0x1001, 1),
        Packet::ah(from, to, 0x1002, 1),
    ]
}

/// Sends one packet after another and sees each arrive.
fn all_arrive(world: &World, from: &Port, to: &mut Port, packets: Vec<Packet>) -> Result<()> {
    for packet in packets {
        let marker = world.next_marker();
        from.send(&packet.marked(marker))?;
        to.expect(marker, SOON)?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root: run `cargo xtask test`"]
fn what_a_device_sends_reaches_the_internet_through_either_node() {
    tell_of_world("uplink", &Plan::new("uplink"), |world| {
        for node in [A, B] {
            let (devices, mut internet) = (world.device_side(node)?, world.internet_side(node)?);
            all_arrive(world, &devices, &mut internet, kinds(device(7), INTERNET_HOST))?;
            all_arrive(world, &devices, &mut internet, kinds(device(0x7fff), APPLICATION_SERVER))?;
        }
        Ok(())
    });
}

#[test]
#[ignore = "needs root: run `cargo xtask test`"]
fn what_the_internet_sends_reaches_the_devices_through_either_node() {
    tell_of_world("downlink", &Plan::new("downlink"), |world| {
        for node in [A, B] {
            let (mut devices, internet) = (world.device_side(node)?, world.internet_side(node)?);
            all_arrive(world, &internet, &mut devices, kinds(APPLICATION_SERVER, device(7)))?;
            all_arrive(world, &internet, &mut devices, kinds(INTERNET_HOST, device(1)))?;
        }
        Ok(())
    });
}

#[test]
#[ignore = "needs root: run `cargo xtask test`"]
fn a_dual_stack_world_forwards_both_families_both_ways() {
    tell_of_world("dual-stack", &Plan::new("dual").dual_stack(), |world| {
        for node in [A, B] {
            let (mut devices, mut internet) = (world.device_side(node)?, world.internet_side(node)?);
            all_arrive(world, &devices, &mut internet, kinds(device(7), INTERNET_HOST))?;
            all_arrive(world, &devices, &mut internet, kinds(device_v6(7), INTERNET_HOST_V6))?;
            all_arrive(world, &internet, &mut devices, kinds(INTERNET_HOST_V6, device_v6(9)))?;
        }
        Ok(())
    });
}

#[test]
#[ignore = "needs root: run `cargo xtask test`"]
fn an_ipv4_world_forwards_no_ipv6() {
    tell_of_world("no-v6", &Plan::new("no-v6").nodes(1), |world| {
        let (devices, mut internet) = (world.device_side(A)?, world.internet_side(A)?);
        devices.send(&Packet::udp(device_v6(7), INTERNET_HOST_V6).marked(world.next_marker()))?;
        let fence = world.next_marker();
        let send_fence = || devices.send(&Packet::udp(device(1), INTERNET_HOST).marked(fence));
        internet.expect_silence(fence, SOON, send_fence)
    });
}

#[test]
#[ignore = "needs root: run `cargo xtask test`"]
fn packets_arrive_in_the_order_in_which_they_were_sent() {
    tell_of_world("order", &Plan::new("order").nodes(1), |world| {
        let (devices, mut internet) = (world.device_side(A)?, world.internet_side(A)?);
        let (fence, mut sent) = (world.next_marker(), Vec::new());
        for number in 0..200 {
            sent.push(world.next_marker());
            // Many flows: a path that hashed them to queues would disorder them.
            let packet = Packet::udp(device(1 + number), INTERNET_HOST).ports(1000 + number, 9000);
            devices.send(&packet.marked(sent[usize::from(number)]))?;
        }
        let send_fence = || devices.send(&Packet::udp(device(300), INTERNET_HOST).marked(fence));
        let arrived = internet.arrivals_before(fence, SOON, send_fence)?;
        ensure!(arrived == sent, "sent {sent:?}, arrived {arrived:?}");
        Ok(())
    });
}

#[test]
#[ignore = "needs root: run `cargo xtask test`"]
fn a_silent_far_end_answers_nothing() {
    tell_of_world("silent", &Plan::new("silent").nodes(1), |world| {
        let (mut devices, mut internet) = (world.device_side(A)?, world.internet_side(A)?);
        // To a closed port of an address that the internet has, and of one that the devices have.
        all_arrive(world, &devices, &mut internet, kinds(device(7), INTERNET_HOST))?;
        all_arrive(world, &internet, &mut devices, kinds(INTERNET_HOST, device(7)))?;
        let fence = world.next_marker();
        devices.expect_silence(fence, SOON, || {
            internet.send(&Packet::udp(INTERNET_HOST, device(7)).marked(fence))
        })?;
        let fence = world.next_marker();
        internet.expect_silence(fence, SOON, || {
            devices.send(&Packet::udp(device(7), INTERNET_HOST).marked(fence))
        })
    });
}

#[test]
#[ignore = "needs root: run `cargo xtask test`"]
fn an_answering_far_end_refuses_a_closed_port_and_serves_an_open_one() {
    tell_of_world("answering", &Plan::new("answering").answering(), |world| {
        let (mut devices, mut internet) = (world.device_side(A)?, world.internet_side(A)?);
        let refused = world.next_marker();
        devices.send(&Packet::udp(device(7), INTERNET_HOST).marked(refused))?;
        internet.expect(refused, SOON)?;
        // The ICMP error quotes the packet it is about.
        devices.expect(refused, SOON).context("no error came back")?;

        let socket = |address: Ipv4Addr| UdpSocket::bind((address, 7000)).context("cannot bind");
        let server = world.internet.enter(|| socket(INTERNET_HOST))?;
        let client = world.devices.enter(|| socket(device(8)))?;
        server.set_read_timeout(Some(SOON))?;
        client.set_read_timeout(Some(SOON))?;
        client.send_to(b"question", (INTERNET_HOST, 7000))?;
        let mut buffer = [0; 64];
        let (length, peer) = server.recv_from(&mut buffer).context("no question came")?;
        ensure!(
            (&buffer[..length], peer) == (b"question", SocketAddr::from((device(8), 7000))),
            "from {peer}"
        );
        server.send_to(b"answer", peer)?;
        client.recv(&mut buffer).context("no answer came")?;
        Ok(())
    });
}

#[test]
#[ignore = "needs root: run `cargo xtask test`"]
fn a_node_hears_what_was_sent_and_nothing_else() {
    tell_of_world("stray", &Plan::new("stray").nodes(1).dual_stack(), |world| {
        let heard = |interface: &str| -> Result<u64> {
            let counter = format!("/sys/class/net/{interface}/statistics/rx_packets");
            Ok(world.node(A).namespace.exec(&["cat", &counter])?.trim().parse()?)
        };
        let (devices, mut internet) = (world.device_side(A)?, world.internet_side(A)?);
        let before = (heard("access0")?, heard("network0")?);
        all_arrive(world, &devices, &mut internet, kinds(device(7), INTERNET_HOST))?;
        let after = (heard("access0")?, heard("network0")?);
        ensure!(
            after == (before.0 + 4, before.1),
            "heard {before:?} before and {after:?} after four packets"
        );
        Ok(())
    });
}

#[test]
#[ignore = "needs root: run `cargo xtask test`"]
fn two_worlds_at_once_do_not_disturb_each_other() {
    if !rights::require_world("two worlds") {
        return;
    }
    // Same addresses, same markers, same names of interfaces, at the same time.
    let one = |label: &str| -> Result<()> {
        let world = World::build(&Plan::new(label))?;
        let (devices, mut internet) = (world.device_side(A)?, world.internet_side(A)?);
        for _ in 0..50 {
            let marker = world.next_marker();
            devices.send(&Packet::udp(device(7), INTERNET_HOST).marked(marker))?;
            internet.expect(marker, SOON)?;
        }
        let fence = world.next_marker();
        internet.expect_silence(fence, SOON, || {
            devices.send(&Packet::udp(device(7), INTERNET_HOST).marked(fence))
        })
    };
    std::thread::scope(|scope| {
        let worlds = ["left", "right"].map(|label| scope.spawn(move || one(label)));
        for world in worlds {
            world.join().expect("no panic").expect("the world is its own");
        }
    });
}

#[test]
#[ignore = "needs root: run `cargo xtask test`"]
fn pages_are_read_inside_the_namespace_only() {
    tell_of_world("pages", &Plan::new("pages").nodes(1), |world| {
        let inside = &world.node(A).namespace;
        let listener = inside.enter(|| Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?))?;
        let port = listener.local_addr()?.port();
        let server = std::thread::spawn(move || -> Result<()> {
            for body in ["ready", "up{node=\"a\"} 1\n"] {
                let (mut stream, _) = listener.accept()?;
                let mut request = BufReader::new(&mut stream).lines();
                while request.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
            }
            Ok(())
        });
        ensure!(http::get(inside, port, "/readyz")?.body == "ready");
        ensure!(
            http::get(&world.internet, port, "/readyz").is_err(),
            "another namespace has another loopback"
        );
        ensure!(Metrics::fetch(inside, port)?.get("up", &[("node", "a")]) == Some(1.0));
        server.join().expect("no panic")
    });
}

#[test]
#[ignore = "needs root: run `cargo xtask test`"]
fn a_process_that_ends_early_is_an_error_with_its_log() {
    tell_of_world("early-end", &Plan::new("early-end").nodes(1), |world| {
        let program = Program::new("weir-a", "sh").args(["-c", "echo no such interface >&2; exit 3"]);
        let mut process = world.start(&world.node(A).namespace, program)?;
        let error = process.wait_ready(9181, SOON).expect_err("it has ended");
        let error = format!("{error:#}");
        ensure!(error.contains("exit status: 3") && error.contains("no such interface"), "{error}");
        ensure!(process.wait(Duration::ZERO)?.and_then(|status| status.code()) == Some(3));
        ensure!(world.logs().contains("--- weir-a.err\nno such interface"), "{}", world.logs());
        Ok(())
    });
}

#[test]
#[ignore = "needs root: run `cargo xtask test`"]
fn a_process_runs_in_its_namespace_under_its_own_pid() {
    tell_of_world("pid", &Plan::new("pid").nodes(1), |world| {
        let inside = &world.node(A).namespace;
        let process = world.start(inside, Program::new("sleep", "sleep").args(["1000"]))?;
        let pids = Command::new("ip").args(["netns", "pids", inside.name()]).output()?.stdout;
        ensure!(String::from_utf8(pids)?.trim() == process.pid().to_string());
        let pid = process.pid();
        process.kill()?;
        ensure!(!Path::new(&format!("/proc/{pid}")).exists(), "{pid} was killed but is not gone");
        Ok(())
    });
}

/// What a world consists of outside its owner's memory.
#[derive(Debug)]
struct Footprint {
    paths: Vec<PathBuf>,
    process: OwnedFd,
}

impl Footprint {
    fn of(world: &World, process: &Process) -> Result<Self> {
        let nodes = world.nodes.iter().map(|node| &node.namespace);
        let namespaces = [&world.devices, &world.internet].into_iter().chain(nodes);
        let mut paths: Vec<_> = namespaces.map(Namespace::path).collect();
        paths.push(world.directory().to_owned());
        Ok(Self { paths, process: handle(&process.pid().to_string())? })
    }

    fn is_whole(&self) -> Result<bool> {
        Ok(self.paths.iter().all(|path| path.exists())
            && !remains::ended_within(&self.process, Duration::ZERO)?)
    }

    /// The process is given a moment: after a kill of its parent, the kernel ends it beside us, not before us.
    fn is_gone(&self) -> Result<bool> {
        Ok(!self.paths.iter().any(|path| path.exists()) && remains::ended_within(&self.process, SOON)?)
    }
}

fn handle(pid: &str) -> Result<OwnedFd> {
    let pid = Pid::from_raw(pid.parse()?).context("0 is no process")?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

#[test]
#[ignore = "needs root: run `cargo xtask test`"]
fn nothing_is_left_of_a_world_that_was_dropped() {
    if !rights::require_world("dropped") {
        return;
    }
    let world = World::build(&Plan::new("dropped")).expect("a world can be made");
    let program = Program::new("sleep", "sleep").args(["1000"]);
    let process = world.start(&world.node(B).namespace, program).expect("it can be started");
    let footprint = Footprint::of(&world, &process).expect("its parts can be named");
    assert!(footprint.is_whole().expect("it can be looked at"), "{footprint:?}");
    drop(process);
    drop(world);
    assert!(footprint.is_gone().expect("it can be looked at"), "{footprint:?}");
}

#[test]
#[ignore = "needs root: run `cargo xtask test`"]
fn nothing_is_left_of_a_world_whose_story_panicked() {
    if !rights::require_world("panicked") {
        return;
    }
    let mut footprint = None;
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        tell_of_world("panicking, as it should", &Plan::new("panicked").nodes(1), |world| {
            let process = world.start(&world.devices, Program::new("sleep", "sleep").args(["1000"]))?;
            footprint = Some(Footprint::of(world, &process)?);
            anyhow::bail!("a story that fails");
        });
    }));
    assert!(outcome.is_err());
    let footprint = footprint.expect("the story began");
    assert!(footprint.is_gone().expect("it can be looked at"), "{footprint:?}");
}

/// Another process that owns a world.
struct Owner {
    child: Child,
    footprint: Footprint,
}

impl Owner {
    fn start() -> Result<Self> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_empty-world")).stdout(Stdio::piped()).spawn()?;
        let lines = BufReader::new(child.stdout.take().context("it is piped")?).lines();
        let (mut paths, mut process) = (Vec::new(), None);
        for line in lines {
            match line?.split_once(' ') {
                Some(("namespace", name)) => paths.push(Path::new(NAMESPACES).join(name)),
                Some(("directory", path)) => paths.push(path.into()),
                Some(("process", pid)) => process = Some(handle(pid)?),
                Some(("ready;", _)) => break,
                _ => {}
            }
        }
        let process = process.context("the owner ended before it was ready")?;
        Ok(Self { child, footprint: Footprint { paths, process } })
    }

    fn end_by(&mut self, signal: Signal) -> Result<ExitStatus> {
        kill_process(Pid::from_child(&self.child), signal)?;
        Ok(self.child.wait()?)
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // SIGTERM lets it clean up if an assertion failed before its end; once it is reaped this is nothing.
        if let Ok(None) = self.child.try_wait() {
            let _ = self.end_by(Signal::TERM);
        }
    }
}

#[test]
#[ignore = "needs root: run `cargo xtask test`"]
fn nothing_is_left_of_a_world_whose_owner_was_interrupted_or_terminated() {
    if !rights::require_world("interrupted") {
        return;
    }
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let mut owner = Owner::start().expect("another process can own a world");
        assert!(owner.footprint.is_whole().expect("it can be looked at"), "{:?}", owner.footprint);
        let status = owner.end_by(signal).expect("it ends");
        assert_eq!(status.code(), Some(code), "{signal:?}");
        assert!(owner.footprint.is_gone().expect("it can be looked at"), "{signal:?}: {:?}", owner.footprint);
    }
}

#[test]
#[ignore = "needs root: run `cargo xtask test`"]
fn a_world_whose_owner_was_killed_is_swept_and_that_of_a_living_owner_is_not() {
    if !rights::require_world("killed") {
        return;
    }
    let (mut killed, living) = (Owner::start().expect("a world"), Owner::start().expect("a world"));
    killed.end_by(Signal::KILL).expect("it is killed");
    remains::sweep_orphans().expect("orphans can be swept");
    assert!(killed.footprint.is_gone().expect("it can be looked at"), "{:?}", killed.footprint);
    assert!(living.footprint.is_whole().expect("it can be looked at"), "{:?}", living.footprint);
}
