//! Compiles the contract without `protoc`: protox reads the files, tonic writes the code.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = protox::compile(["proto/weir/v1/node.proto"], ["proto"])?;
    println!("cargo:rerun-if-changed=proto");
    tonic_prost_build::configure().compile_fds(files)?;
    Ok(())
}
