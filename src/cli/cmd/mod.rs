//! One file per command: its arguments, its help, a thin run.

pub mod secret;
