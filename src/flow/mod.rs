//! The stories, one file per use case, told with pure values and ports; nothing here prints.

pub mod host;
pub mod operator;
pub mod progress;
pub mod pull;
