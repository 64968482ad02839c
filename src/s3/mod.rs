//! The S3 wire: one dispatch. Bucket and object are words of this layer alone.

pub mod auth;
pub mod error;

mod headers;
mod name;
mod query;
mod route;
mod time;
mod xml;
