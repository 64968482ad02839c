//! The configuration file: TOML, every key known, every value with the line it stands on.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, de};
use toml::Spanned;

use super::error::{ConfigError, Origin};

/// Largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A value as it was written, and where.
#[derive(Clone, Debug)]
pub(super) struct Written<T = String> {
    pub(super) value: T,
    pub(super) origin: Origin,
}

/// What a file says; nothing of it is checked but its shape.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) listen: Option<Written>,
    pub(super) admin: Option<Written>,
    pub(super) region: Option<Written>,
    pub(super) cores: Option<Written>,
    pub(super) etag: Option<Written>,
    pub(super) memory: Option<Written>,
    pub(super) access_log: Option<Written>,
    pub(super) legacy_runtime: Option<Written>,
    pub(super) spin: Option<Written>,
    pub(super) zero_copy: Option<Written>,
    pub(super) domains: Option<Vec<Written>>,
    /// In the order of the file.
    pub(super) drivers: Option<Written<Vec<FileDriver>>>,
    pub(super) rules: Vec<FileRule>,
    pub(super) credentials: Vec<FileCredential>,
    /// By key, in the order of the file's table.
    pub(super) limits: FileLimits,
    pub(super) upkeep: FileUpkeep,
}

/// A table under `[drivers]`.
#[derive(Debug)]
pub(super) struct FileDriver {
    pub(super) name: Written,
    pub(super) kind: Written,
    pub(super) path: Option<Written>,
}

/// A `[[rules]]` entry.
#[derive(Debug)]
pub(super) struct FileRule {
    pub(super) prefix: Written,
    pub(super) driver: Written,
}

/// A `[[credentials]]` entry.
pub(super) struct FileCredential {
    pub(super) access_key_id: Written,
    pub(super) secret_access_key: Written,
    pub(super) tenant: Option<Written>,
}

impl fmt::Debug for FileCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileCredential").field("access_key_id", &self.access_key_id).finish()
    }
}

/// The `[limits]` table.
#[derive(Debug, Default)]
pub(super) struct FileLimits {
    pub(super) head_bytes: Option<Written>,
    pub(super) headers: Option<Written>,
    pub(super) idle: Option<Written>,
    pub(super) head: Option<Written>,
    pub(super) body_idle: Option<Written>,
    pub(super) request: Option<Written>,
    pub(super) client_rate: Option<Written>,
    pub(super) connections: Option<Written>,
    pub(super) drain: Option<Written>,
    pub(super) body_bytes: Option<Written>,
}

/// The `[upkeep]` table.
#[derive(Debug, Default)]
pub(super) struct FileUpkeep {
    pub(super) scrub: Option<Written>,
    pub(super) uploads_expire: Option<Written>,
    pub(super) sorted_runs: Option<Written>,
}

/// Reads a file.
///
/// # Errors
/// The file cannot be read, is not TOML, or has a key that is not known.
pub(super) fn read(path: &Path) -> Result<File, ConfigError> {
    let failed = |reason: String| {
        ConfigError::new(
            Origin::Path(Arc::new(path.to_owned())),
            format!("cannot be read: {reason}"),
        )
    };
    let length = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
    if length > FILE_BYTES_MAX {
        return Err(failed(format!("it is larger than {FILE_BYTES_MAX} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    parse(path, &text)
}

/// Parses the text of the file at `path`, which is only named in errors.
pub(super) fn parse(path: &Path, text: &str) -> Result<File, ConfigError> {
    let places = Places { path: Arc::new(path.to_owned()), text };
    let raw: RawFile = toml::from_str(text).map_err(|error| {
        let origin = match error.span() {
            Some(span) => places.at(span.start),
            None => Origin::Path(places.path.clone()),
        };
        ConfigError::new(origin, error.message().trim().replace('\n', " "))
    })?;
    Ok(places.file(raw))
}

/// Turns byte offsets into lines.
struct Places<'a> {
    path: Arc<PathBuf>,
    text: &'a str,
}

impl Places<'_> {
    fn at(&self, offset: usize) -> Origin {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        Origin::File { path: self.path.clone(), line }
    }

    fn one(&self, value: Spanned<Scalar>) -> Written {
        Written { origin: self.at(value.span().start), value: value.into_inner().0 }
    }

    fn maybe(&self, value: Option<Spanned<Scalar>>) -> Option<Written> {
        value.map(|value| self.one(value))
    }

    fn file(&self, raw: RawFile) -> File {
        File {
            listen: self.maybe(raw.listen),
            admin: self.maybe(raw.admin),
            region: self.maybe(raw.region),
            etag: self.maybe(raw.etag),
            cores: self.maybe(raw.cores),
            memory: self.maybe(raw.memory),
            access_log: self.maybe(raw.access_log),
            legacy_runtime: self.maybe(raw.legacy_runtime),
            spin: self.maybe(raw.spin),
            zero_copy: self.maybe(raw.zero_copy),
            domains: raw.domains.map(|list| list.into_iter().map(|one| self.one(one)).collect()),
            drivers: raw.drivers.map(|drivers| self.drivers(drivers)),
            rules: raw.rules.into_iter().map(|rule| self.rule(rule)).collect(),
            credentials: raw.credentials.into_iter().map(|one| self.credential(one)).collect(),
            limits: self.limits(raw.limits),
            upkeep: FileUpkeep {
                scrub: self.maybe(raw.upkeep.scrub),
                uploads_expire: self.maybe(raw.upkeep.uploads_expire),
                sorted_runs: self.maybe(raw.upkeep.sorted_runs),
            },
        }
    }

    fn drivers(&self, drivers: Spanned<RawDrivers>) -> Written<Vec<FileDriver>> {
        let origin = self.at(drivers.span().start);
        let mut drivers: Vec<_> = drivers.into_inner().into_iter().collect();
        drivers.sort_by_key(|(name, _)| name.span().start);
        let driver = |(name, driver): (Spanned<String>, RawDriver)| FileDriver {
            name: Written { origin: self.at(name.span().start), value: name.into_inner() },
            kind: self.one(driver.kind),
            path: self.maybe(driver.path),
        };
        Written { value: drivers.into_iter().map(driver).collect(), origin }
    }

    fn rule(&self, rule: RawRule) -> FileRule {
        FileRule { prefix: self.one(rule.prefix), driver: self.one(rule.driver) }
    }

    fn credential(&self, credential: RawCredential) -> FileCredential {
        FileCredential {
            access_key_id: self.one(credential.access_key_id),
            secret_access_key: self.one(credential.secret_access_key),
            tenant: self.maybe(credential.tenant),
        }
    }

    fn limits(&self, raw: RawLimits) -> FileLimits {
        FileLimits {
            head_bytes: self.maybe(raw.head_bytes),
            headers: self.maybe(raw.headers),
            idle: self.maybe(raw.idle),
            head: self.maybe(raw.head),
            body_idle: self.maybe(raw.body_idle),
            request: self.maybe(raw.request),
            client_rate: self.maybe(raw.client_rate),
            connections: self.maybe(raw.connections),
            drain: self.maybe(raw.drain),
            body_bytes: self.maybe(raw.body_bytes),
        }
    }
}

/// By name.
type RawDrivers = BTreeMap<Spanned<String>, RawDriver>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    listen: Option<Spanned<Scalar>>,
    admin: Option<Spanned<Scalar>>,
    region: Option<Spanned<Scalar>>,
    etag: Option<Spanned<Scalar>>,
    cores: Option<Spanned<Scalar>>,
    memory: Option<Spanned<Scalar>>,
    access_log: Option<Spanned<Scalar>>,
    legacy_runtime: Option<Spanned<Scalar>>,
    spin: Option<Spanned<Scalar>>,
    zero_copy: Option<Spanned<Scalar>>,
    domains: Option<Vec<Spanned<Scalar>>>,
    drivers: Option<Spanned<RawDrivers>>,
    #[serde(default)]
    rules: Vec<RawRule>,
    #[serde(default)]
    credentials: Vec<RawCredential>,
    #[serde(default)]
    limits: RawLimits,
    #[serde(default)]
    upkeep: RawUpkeep,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawUpkeep {
    scrub: Option<Spanned<Scalar>>,
    uploads_expire: Option<Spanned<Scalar>>,
    sorted_runs: Option<Spanned<Scalar>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDriver {
    #[serde(rename = "type")]
    kind: Spanned<Scalar>,
    path: Option<Spanned<Scalar>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    prefix: Spanned<Scalar>,
    driver: Spanned<Scalar>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCredential {
    access_key_id: Spanned<Scalar>,
    secret_access_key: Spanned<Scalar>,
    tenant: Option<Spanned<Scalar>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLimits {
    head_bytes: Option<Spanned<Scalar>>,
    headers: Option<Spanned<Scalar>>,
    idle: Option<Spanned<Scalar>>,
    head: Option<Spanned<Scalar>>,
    body_idle: Option<Spanned<Scalar>>,
    request: Option<Spanned<Scalar>>,
    client_rate: Option<Spanned<Scalar>>,
    connections: Option<Spanned<Scalar>>,
    drain: Option<Spanned<Scalar>>,
    body_bytes: Option<Spanned<Scalar>>,
}

/// Text, a whole number or a truth value, kept as text: the same parsers serve flags, environment and file.
struct Scalar(String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text, a whole number, true or false")
            }

            fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar(text.to_owned()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Scalar, E> {
                Ok(Scalar(number.to_string()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Scalar, E> {
                Ok(Scalar(number.to_string()))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}
