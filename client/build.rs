//! Generates the gRPC messages and stubs from `proto/squad.proto`, without a system `protoc`, and the
//! descriptor that servers answer reflection with.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto/squad.proto");
    generate()
}

#[cfg(feature = "proto")]
fn generate() -> Result<(), Box<dyn std::error::Error>> {
    let mut compiler = protox::Compiler::new(["proto"])?;
    // With comments and imports, as reflection serves it.
    compiler.include_source_info(true).include_imports(true).open_file("squad.proto")?;
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("squad.bin"), compiler.encode_file_descriptor_set())?;
    let files = compiler.file_descriptor_set();
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
