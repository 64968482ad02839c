//! Hashing of bodies, and the checksums of a whole that follow from those of its parts. They live
//! in [`crate::stdx::digest`], because drivers need them too.

pub use crate::stdx::digest::{DigestValues, Digester, combine, combine_crc, composite};
