//! The world of a host: the programs by which a Debian or Ubuntu server is asked and changed, one file each.
//!
//! Every file states the least version that it needs, gives arguments as lists, sets a time limit, and puts the end of what the program
//! said into the error ([`super::program`]).

pub mod accounts;
pub mod answers;
pub mod apt;
pub mod compose;
mod daemon_socket;
pub mod dpkg;
pub mod engine;
pub mod events;
pub mod iptables;
pub mod kept;
pub mod knock;
pub mod lease;
pub mod machine_facts;
pub mod managed_list;
pub mod own_units;
pub mod paths;
pub mod place;
pub mod remembered;
#[cfg(test)]
pub(crate) mod scratch;
pub mod secrets;
pub mod sshd;
pub mod state;
pub mod sysctl;
pub mod systemd;
pub mod volume;
pub mod wait;
