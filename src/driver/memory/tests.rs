//! The model passes the suite, also under a driver that could fail.

use super::MemoryDriver;
use crate::driver::conformance::{self, block_on};
use crate::driver::fault::{FaultDriver, Faults};

#[test]
fn the_model_conforms() {
    block_on(conformance::run(&MemoryDriver::new()));
}

#[test]
fn a_wrapped_driver_conforms_while_nothing_fails() {
    block_on(conformance::run(&FaultDriver::new(MemoryDriver::new(), Faults::default())));
}
