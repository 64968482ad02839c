//! Whole requests, from head to response, over the memory driver.

mod buckets;
mod harness;
mod listings;
mod multipart;
mod objects;
mod refusals;
