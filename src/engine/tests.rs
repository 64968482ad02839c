//! Tests of the engine over the memory driver.
