//! The program; everything is in the library, so that a test can run the whole of it.

fn main() -> std::process::ExitCode {
    forge::run(std::env::args_os())
}
