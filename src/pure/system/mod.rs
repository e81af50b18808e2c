//! One host, fully decided: options, contributions, policy, provenance.

pub mod service;
