//! The executor of one core.
