//! Whole requests and bodies.
