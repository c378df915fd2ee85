//! The node half, whole and without a kernel: the agent's core over tables in memory, judged by the shared law.
//!
//! [`kernel`] stands in for the loaded program: it judges frames, holds a ring of alarms with so much room, and
//! runs injected frames through the same law. [`world`] puts an agent's core around it and turns its clock;
//! [`control`] writes what control would say. Nothing sleeps, and nothing is random except in [`random`], which
//! draws a [`life`] and compares the node with a slow [`model`] of what it should believe.
//!
//! In the order of a packet's consequences: the worked examples of the requirements, what becomes of an alarm,
//! alarms that found the ring full, alarms that nobody answers, streams that come and go, updates; and what an
//! operator's hand does past all of that ([`glass`]).

mod control;
mod kernel;
mod life;
mod model;
mod world;

mod answers;
mod counts;
mod examples;
mod glass;
mod known_good;
mod outage;
mod policies;
mod profiles;
mod random;
mod ring;
mod strangers;
mod streams;
mod takeover;
mod updates;
