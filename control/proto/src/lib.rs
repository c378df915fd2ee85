//! The contract between node agents and the control server, generated from `proto/weir/v1/node.proto`.
//! Read that file: it is the documentation. Nothing is written by hand here.

/// Version 1 of the contract.
#[allow(missing_docs, unused_qualifications, clippy::all)]
pub mod v1 {
    tonic::include_proto!("weir.v1");
}
