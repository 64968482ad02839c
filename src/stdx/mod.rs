//! Small helpers without a layer: of the rest of Vaultaire they know the plain types of `model` at most.
/// Sixteen streams at once.
#[cfg(target_arch = "x86_64")]
mod avx512;
/// Base64.
pub mod base64;
/// Fast CRCs.
pub mod crc;
/// Digests of bodies.
pub mod digest;
/// Hexadecimal text.
pub mod hex;
/// MD5.
pub mod md5;
/// Percent-encoding.
pub mod percent;
/// SHA-256.
pub mod sha256;
/// What threads share data with, or stand-ins of it for the model checker.
pub(crate) mod sync;
