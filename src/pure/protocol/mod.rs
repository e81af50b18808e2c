//! What laptop and host say to each other: frames and messages (`docs/format/protocol.md`).
//!
//! The laptop asks and the host answers, in order; while it works, the host sends events. Every conversation begins with
//! [`Hello`] and [`Welcome`], which carry the version.
//!
//! Invariant: what comes from outside is bounded before it is stored, and a message that is not understood ends the conversation.

pub mod frame;
mod message;

pub use message::{
    Ending, Event, GcReport, GenerationLine, Health, Hello, Image, ImageState, Lease, Offer,
    Operator, Purpose, Reply, Request, Secretive, ServiceStatus, StatusReport, VerifyProblem,
    Welcome,
};

/// Of the conversation. An agent that speaks another one is replaced: the laptop sends its own.
pub const VERSION: u32 = 1;
