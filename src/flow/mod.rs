//! The story: one file per use case, told with pure values and ports; never prints.

pub mod operator;
