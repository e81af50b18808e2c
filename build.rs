//! The catalogue is embedded by a macro that the compiler does not see read files: say when to run it again.
fn main() {
    for path in ["modules", "images", "hosts", "forge.lock"] {
        println!("cargo:rerun-if-changed={path}");
    }
}
