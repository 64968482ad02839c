//! Small helpers that know nothing of Vaultaire.
/// MD5.
pub mod md5;
/// Percent-encoding.
pub mod percent;
