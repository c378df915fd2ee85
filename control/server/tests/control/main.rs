//! The control server from outside: real sockets, a real store, agents that speak the real contract.

mod admin;
mod agent;
mod alarms;
mod audit;
mod log;
mod nodes;
mod observe;
mod policies;
mod restart;
mod world;
