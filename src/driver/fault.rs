//! Wraps another driver and fails on demand.
