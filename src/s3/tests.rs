//! Whole requests over the memory driver.
