//! The program; everything is in the library, so that a test can run the whole of it.
#![allow(clippy::disallowed_methods)]

fn main() -> std::process::ExitCode {
    forge::run(std::env::args_os())
}
