//! Finds libgemma: in GEMMA_LIB_DIR, or by pkg-config, or in the linker's default folders.
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-env-changed=GEMMA_LIB_DIR");
    let mut folders: Vec<String> = std::env::var("GEMMA_LIB_DIR").into_iter().collect();
    if folders.is_empty() {
        let said = Command::new("pkg-config")
            .args(["--libs-only-L", "gemma"])
            .output();
        let said = said
            .map(|o| String::from_utf8_lossy(&o.stdout).into_owned())
            .unwrap_or_default();
        folders = said
            .split_whitespace()
            .filter_map(|f| f.strip_prefix("-L"))
            .map(String::from)
            .collect();
    }
    for folder in folders {
        println!("cargo:rustc-link-search=native={folder}");
        println!("cargo:rustc-link-arg=-Wl,-rpath,{folder}"); // so that tests and examples find it at run time
    }
}
