//! Tests of the local driver.
