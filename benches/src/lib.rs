//! Where weir stands between the physical floor and what an operator would use today (goals P1–P5, P10, P11).
//!
//! Every figure is a ratio of things measured side by side in one run, in interleaved rounds: an absolute time
//! means little on a shared machine. After every run the packet counters are checked, so that a figure can only
//! be about what its row says. All traffic stays between two network namespaces that the run itself makes.
//!
//! | module | what |
//! |---|---|
//! | [`bed`] | the namespaces and the lanes between them; `offload` switches on what a peer needs |
//! | [`frames`] | the packets of each row |
//! | [`contender`] | what receives packets on a lane: [`floors`], [`gates`] (weir), [`peers`] |
//! | [`live`] | P1, P2 and the matrix over device numbers: packets over veth |
//! | [`hot`] | P3: one packet under test-run |
//! | [`exact`] | P4: two CPUs, one device |
//! | [`push`], [`memory`], [`program`] | P5; P10; P11 and the cost by stage |
//! | [`cpu_time`], [`figure`], [`report`] | what a run cost; statistics; table and `summary.json` |
//!
//! It must not judge weir by other rules than its users meet: the law, the tables and the entries are the
//! product's, loaded by the product's own code. Read first: `README.md` beside this directory's `Cargo.toml`.

pub mod bed;
pub mod contender;
pub mod cpu_time;
pub mod exact;
pub mod figure;
pub mod floors;
pub mod frames;
pub mod gates;
pub mod hot;
pub mod live;
pub mod memory;
mod offload;
pub mod peers;
pub mod plan;
pub mod program;
pub mod push;
pub mod report;
mod stack;
