//! Generates the gRPC messages and stubs from `proto/squad.proto`, without a system `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto/squad.proto");
    generate()
}

#[cfg(feature = "proto")]
fn generate() -> Result<(), Box<dyn std::error::Error>> {
    let files = protox::compile(["proto/squad.proto"], ["proto"])?;
    tonic_prost_build::configure()
        // Blocks and transactions are shared with the buffer they arrived in.
        .bytes(".")
        .build_client(cfg!(feature = "network"))
        .build_server(cfg!(feature = "server"))
        .build_transport(true)
        .compile_fds(files)?;
    Ok(())
}

#[cfg(not(feature = "proto"))]
fn generate() -> Result<(), Box<dyn std::error::Error>> {
    Ok(())
}
