//! The person: arguments, reports, exit codes. The only place that prints.

pub mod cmd;
