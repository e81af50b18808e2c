//! What differs between what is wanted and what was observed, one file per kind of thing; and what a host may not be asked to do.

pub mod accounts;
pub mod lockout;
pub mod packages;
pub mod sysctls;
pub mod units;
pub mod volumes;
