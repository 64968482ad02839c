//! Puts flags over environment over file over defaults, and checks the whole.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::error::{ConfigError, Origin};
use super::file::{File, FileCredential, FileDriver, FileLimits, FileRule, FileUpkeep, Written};
use super::{Config, ContainerRule, DriverConfig, DriverKind, Limits, Upkeep, ZeroCopy, value};
use crate::engine::tenant::Credential;
use crate::model::{ETagHash, TenantId};

/// The folder of the driver that exists when none is configured.
const DATA_DEFAULT: &str = "./vaultaire-data";
/// Its name.
const DRIVER_DEFAULT: &str = "default";
/// More cores than this would leave some without a virtual shard.
const CORES_MAX: usize = 256;
/// Least budget with which one large request can be served.
const MEMORY_MIN: u64 = 16 << 20;
/// Least and most time that any limit may be.
const TIME_MIN: Duration = Duration::from_millis(1);
const TIME_MAX: Duration = Duration::from_secs(7 * 86_400);

/// Longest time that a core stays awake for nothing.
const SPIN_MAX: Duration = Duration::from_millis(10);

/// Least and most of a period of upkeep.
const UPKEEP_MIN: Duration = Duration::from_secs(60);
const UPKEEP_MAX: Duration = Duration::from_secs(365 * 86_400);

/// What was given on the command line, as it was written.
#[derive(Clone, Debug, Default)]
pub(super) struct Flags {
    pub(super) data: Option<String>,
    pub(super) listen: Option<String>,
    pub(super) admin: Option<String>,
    pub(super) cores: Option<String>,
    pub(super) region: Option<String>,
    pub(super) domains: Option<String>,
    pub(super) memory: Option<String>,
    pub(super) access_log: Option<String>,
    pub(super) legacy_runtime: Option<String>,
    pub(super) spin: Option<String>,
}

/// The names of a setting above the file.
#[derive(Clone, Copy)]
struct Names {
    flag: &'static str,
    variable: &'static str,
}

const DATA: Names = Names { flag: "--data", variable: "VAULTAIRE_DATA" };
const LISTEN: Names = Names { flag: "--listen", variable: "VAULTAIRE_LISTEN" };
const ADMIN: Names = Names { flag: "--admin", variable: "VAULTAIRE_ADMIN" };
const CORES: Names = Names { flag: "--cores", variable: "VAULTAIRE_CORES" };
const REGION: Names = Names { flag: "--region", variable: "VAULTAIRE_REGION" };
const DOMAINS: Names = Names { flag: "--domains", variable: "VAULTAIRE_DOMAINS" };
const MEMORY: Names = Names { flag: "--memory", variable: "VAULTAIRE_MEMORY" };
const ACCESS_LOG: Names = Names { flag: "--access-log", variable: "VAULTAIRE_ACCESS_LOG" };
const LEGACY: Names = Names { flag: "--legacy-runtime", variable: "VAULTAIRE_LEGACY_RUNTIME" };
const SPIN: Names = Names { flag: "--spin", variable: "VAULTAIRE_SPIN" };
const ACCESS_KEY_ID: &str = "VAULTAIRE_ACCESS_KEY_ID";
const SECRET_ACCESS_KEY: &str = "VAULTAIRE_SECRET_ACCESS_KEY";

/// Where the values come from.
pub(super) struct Sources<'a> {
    pub(super) flags: Flags,
    /// Reads a variable; one that is unset or empty is `None`.
    pub(super) environment: &'a dyn Fn(&str) -> Option<String>,
    pub(super) file: File,
    /// The CPUs that this process may run on.
    pub(super) affinity: &'a [usize],
}

/// Merges and checks.
pub(super) fn merge(sources: Sources<'_>) -> Result<Config, ConfigError> {
    let Sources { flags, environment, file, affinity } = sources;
    let over = |flag, names: Names, file| pick(environment, flag, names, file);
    let text = |flag, names: Names, file, default: &str| {
        over(flag, names, file).unwrap_or_else(|| Written {
            value: default.to_owned(),
            origin: Origin::Default(names.flag),
        })
    };
    let listen = text(flags.listen, LISTEN, file.listen, "127.0.0.1:9000");
    let admin = text(flags.admin, ADMIN, file.admin, "127.0.0.1:9001");
    let region = text(flags.region, REGION, file.region, "us-east-1");
    let memory = text(flags.memory, MEMORY, file.memory, "256MiB");
    let access_log = text(flags.access_log, ACCESS_LOG, file.access_log, "false");
    let legacy_runtime = text(flags.legacy_runtime, LEGACY, file.legacy_runtime, "false");
    let spin = text(flags.spin, SPIN, file.spin, "0us");
    let (listen, admin) = addresses(listen, admin)?;
    let domains = match over(flags.domains, DOMAINS, None) {
        Some(list) => split_list(&list),
        None => file.domains.unwrap_or_default(),
    };
    let drivers = drivers(over(flags.data, DATA, None), file.drivers)?;

    Ok(Config {
        listen,
        admin,
        cores: cores(over(flags.cores, CORES, file.cores), affinity)?,
        region: checked(&region, value::region)?,
        domains: domains
            .iter()
            .map(|domain| checked(domain, value::domain))
            .collect::<Result<_, _>>()?,
        credentials: credentials(environment, file.credentials)?,
        rules: rules(file.rules, &drivers)?,
        drivers,
        etag: file.etag.map_or(Ok(ETagHash::default()), |etag| checked(&etag, value::etag))?,
        memory_bytes: checked(&memory, |text| bounded(value::bytes(text)?, MEMORY_MIN, 1 << 50))?,
        access_log: checked(&access_log, value::boolean)?,
        legacy_runtime: checked(&legacy_runtime, value::boolean)?,
        spin: checked(&spin, |text| match value::duration(text)? {
            spin if spin <= SPIN_MAX => Ok(spin),
            _ => Err(format!("`{text}` is more than 10ms")),
        })?,
        zero_copy: file
            .zero_copy
            .map_or(Ok(ZeroCopy::default()), |text| checked(&text, value::zero_copy))?,
        limits: limits(file.limits)?,
        upkeep: upkeep(file.upkeep)?,
    })
}

fn pick(
    environment: &dyn Fn(&str) -> Option<String>,
    flag: Option<String>,
    names: Names,
    file: Option<Written>,
) -> Option<Written> {
    if let Some(value) = flag {
        return Some(Written { value, origin: Origin::Flag(names.flag) });
    }
    if let Some(value) = environment(names.variable) {
        return Some(Written { value, origin: Origin::Environment(names.variable) });
    }
    file
}

fn checked<T>(
    written: &Written,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<T, ConfigError> {
    parse(&written.value).map_err(|message| ConfigError::new(written.origin.clone(), message))
}

fn split_list(list: &Written) -> Vec<Written> {
    let one = |value: &str| Written { value: value.trim().to_owned(), origin: list.origin.clone() };
    list.value.split(',').map(one).collect()
}

fn addresses(listen: Written, admin: Written) -> Result<(SocketAddr, SocketAddr), ConfigError> {
    let (first, second) = (checked(&listen, value::address)?, checked(&admin, value::address)?);
    let overlap =
        first.ip() == second.ip() || first.ip().is_unspecified() || second.ip().is_unspecified();
    if first.port() != 0 && first.port() == second.port() && overlap {
        // The one that was not left at its default is the one to change.
        let origin = if matches!(admin.origin, Origin::Default(_)) { listen } else { admin }.origin;
        let message = format!(
            "port {} is used twice: for S3 at {first} and for administration at {second}",
            first.port()
        );
        return Err(ConfigError::new(origin, message));
    }
    Ok((first, second))
}

fn cores(written: Option<Written>, affinity: &[usize]) -> Result<Vec<usize>, ConfigError> {
    let Some(written) = written else {
        return Ok(affinity.iter().copied().take(CORES_MAX).collect());
    };
    let cores = checked(&written, value::cores)?;
    if let Some(cpu) = cores.iter().find(|cpu| !affinity.contains(cpu)) {
        let message =
            format!("CPU {cpu} is not among those this process may use: {}", span_list(affinity));
        return Err(ConfigError::new(written.origin, message));
    }
    if cores.len() > CORES_MAX {
        let message =
            format!("{} CPUs are more than the {CORES_MAX} that can be used", cores.len());
        return Err(ConfigError::new(written.origin, message));
    }
    Ok(cores)
}

/// Writes `[0, 1, 2, 6]` as `0-2,6`.
pub(super) fn span_list(cores: &[usize]) -> String {
    let mut spans: Vec<(usize, usize)> = Vec::new();
    for &cpu in cores {
        match spans.last_mut() {
            Some((_, last)) if *last + 1 == cpu => *last = cpu,
            _ => spans.push((cpu, cpu)),
        }
    }
    let text = |&(first, last): &(usize, usize)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    spans.iter().map(text).collect::<Vec<_>>().join(",")
}

fn drivers(
    data: Option<Written>,
    configured: Option<Written<Vec<FileDriver>>>,
) -> Result<Vec<DriverConfig>, ConfigError> {
    let Some(configured) = configured else {
        let path = data.map_or_else(|| DATA_DEFAULT.to_owned(), |data| data.value);
        let kind = DriverKind::Local { path: path.into() };
        return Ok(vec![DriverConfig { name: DRIVER_DEFAULT.to_owned(), kind }]);
    };
    let Written { value: configured, origin } = configured;
    let mut drivers =
        configured.iter().map(driver).collect::<Result<Vec<DriverConfig>, ConfigError>>()?;
    if let Some(data) = data {
        let mut paths: Vec<&mut PathBuf> =
            drivers.iter_mut().filter_map(|driver| local_path(&mut driver.kind)).collect();
        match paths.as_mut_slice() {
            [path] => **path = data.value.into(),
            paths => {
                let message = format!(
                    "names the folder of the one local driver, but the file configures {}",
                    paths.len()
                );
                return Err(ConfigError::new(data.origin, message));
            }
        }
    }
    let mut seen = BTreeSet::new();
    for (driver, written) in drivers.iter().zip(&configured) {
        if let DriverKind::Local { path } = &driver.kind
            && !seen.insert(without_dots(path))
        {
            let message = format!(
                "driver `{}` has the folder of another driver: {}",
                driver.name,
                path.display()
            );
            return Err(ConfigError::new(written.kind.origin.clone(), message));
        }
    }
    if drivers.is_empty() {
        return Err(ConfigError::new(origin, "no driver is configured"));
    }
    Ok(drivers)
}

/// `./x` is `x`; whether links lead to one folder is left to the folder's lock.
fn without_dots(path: &Path) -> PathBuf {
    path.components().filter(|part| !matches!(part, Component::CurDir)).collect()
}

fn local_path(kind: &mut DriverKind) -> Option<&mut PathBuf> {
    match kind {
        DriverKind::Local { path } => Some(path),
        DriverKind::Memory => None,
    }
}

fn driver(driver: &FileDriver) -> Result<DriverConfig, ConfigError> {
    let name = checked(&driver.name, |name| {
        let fits = (1..=64).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
        let wrong =
            || format!("`{name}` is no name of a driver: use 1 to 64 of a-z, A-Z, 0-9, _ and -");
        if fits { Ok(name.to_owned()) } else { Err(wrong()) }
    })?;
    let kind = match (driver.kind.value.as_str(), &driver.path) {
        ("local", Some(path)) => DriverKind::Local {
            path: checked(path, |path| {
                if path.is_empty() { Err("the path is empty".to_owned()) } else { Ok(path.into()) }
            })?,
        },
        ("local", None) => {
            let message = format!("driver `{name}` of type local needs a `path`");
            return Err(ConfigError::new(driver.kind.origin.clone(), message));
        }
        ("memory", None) => DriverKind::Memory,
        ("memory", Some(path)) => {
            let message = format!("driver `{name}` of type memory has no `path`");
            return Err(ConfigError::new(path.origin.clone(), message));
        }
        (other, _) => {
            let message = format!("`{other}` is no type of driver: use local or memory");
            return Err(ConfigError::new(driver.kind.origin.clone(), message));
        }
    };
    Ok(DriverConfig { name, kind })
}

fn rules(
    configured: Vec<FileRule>,
    drivers: &[DriverConfig],
) -> Result<Vec<ContainerRule>, ConfigError> {
    let mut rules: Vec<ContainerRule> = Vec::with_capacity(configured.len());
    for FileRule { prefix, driver } in configured {
        let fits = |text: &str| {
            text.len() <= 63
                && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'))
        };
        if !fits(&prefix.value) {
            let message = format!(
                "`{}` begins no container's name: use at most 63 of a-z, 0-9, - and .",
                prefix.value
            );
            return Err(ConfigError::new(prefix.origin, message));
        }
        if !drivers.iter().any(|known| known.name == driver.value) {
            let names: Vec<&str> = drivers.iter().map(|driver| driver.name.as_str()).collect();
            let message = format!(
                "the rule names driver `{}`, which is not configured; there are: {}",
                driver.value,
                names.join(", ")
            );
            return Err(ConfigError::new(driver.origin, message));
        }
        if let Some(earlier) = rules.iter().find(|rule| prefix.value.starts_with(&rule.prefix)) {
            let message = format!(
                "the rule for `{}` is never used: the rule for `{}` before it takes all of them",
                prefix.value, earlier.prefix
            );
            return Err(ConfigError::new(prefix.origin, message));
        }
        rules.push(ContainerRule { prefix: prefix.value, driver: driver.value });
    }
    Ok(rules)
}

fn credentials(
    environment: &dyn Fn(&str) -> Option<String>,
    configured: Vec<FileCredential>,
) -> Result<Vec<Credential>, ConfigError> {
    let from_environment =
        |name| environment(name).map(|value| Written { value, origin: Origin::Environment(name) });
    let configured = match (from_environment(ACCESS_KEY_ID), from_environment(SECRET_ACCESS_KEY)) {
        (None, None) => configured,
        (Some(access_key_id), Some(secret_access_key)) => {
            vec![FileCredential { access_key_id, secret_access_key, tenant: None }]
        }
        (Some(id), None) => {
            return Err(ConfigError::new(
                id.origin,
                format!("is set, but {SECRET_ACCESS_KEY} is not"),
            ));
        }
        (None, Some(secret)) => {
            return Err(ConfigError::new(
                secret.origin,
                format!("is set, but {ACCESS_KEY_ID} is not"),
            ));
        }
    };
    let mut credentials: Vec<Credential> = Vec::with_capacity(configured.len());
    for FileCredential { access_key_id: id, secret_access_key, tenant } in configured {
        let access_key_id = checked(&id, value::access_key_id)?;
        if credentials.iter().any(|known| known.access_key_id == access_key_id) {
            let message = format!("the access key `{access_key_id}` is given twice");
            return Err(ConfigError::new(id.origin, message));
        }
        if let Some(tenant) = tenant {
            checked(&tenant, |name| match name {
                "default" => Ok(()),
                _ => Err(format!("there is no tenant `{name}`: the only one is `default`")),
            })?;
        }
        let secret = checked(&secret_access_key, value::secret)?;
        credentials.push(Credential { access_key_id, secret, tenant: TenantId::DEFAULT });
    }
    Ok(credentials)
}

fn bounded(value: u64, min: u64, max: u64) -> Result<u64, String> {
    if value < min {
        Err(format!("{value} is less than {min}"))
    } else if value > max {
        Err(format!("{value} is more than {max}"))
    } else {
        Ok(value)
    }
}

fn upkeep(file: FileUpkeep) -> Result<Upkeep, ConfigError> {
    let default = Upkeep::default();
    let parse = |text: &str| match value::duration(text)? {
        short if short < UPKEEP_MIN => Err(format!("`{text}` is less than 1m; use never or more")),
        long if long > UPKEEP_MAX => Err(format!("`{text}` is more than 365d")),
        time => Ok(Some(time)),
    };
    let time = |written: Option<Written>, default: Option<Duration>| match written {
        None => Ok(default),
        Some(never) if never.value == "never" => Ok(None),
        Some(written) => checked(&written, parse),
    };
    Ok(Upkeep {
        scrub: time(file.scrub, default.scrub)?,
        uploads_expire: time(file.uploads_expire, default.uploads_expire)?,
        sorted_runs: match file.sorted_runs {
            None => default.sorted_runs,
            Some(written) => checked(&written, value::boolean)?,
        },
    })
}

fn limits(file: FileLimits) -> Result<Limits, ConfigError> {
    let default = Limits::default();
    let size = |text: &str, min, max| bounded(value::bytes(text)?, min, max);
    let count = |text: &str, min, max| bounded(value::count(text)?, min, max);
    let number =
        |written: Option<Written>, default: u64, parse: &dyn Fn(&str) -> Result<u64, String>| {
            written.map_or(Ok(default), |written| checked(&written, parse))
        };
    let small =
        |written: Option<Written>, default: usize, parse: &dyn Fn(&str) -> Result<u64, String>| {
            let parse = |text: &str| {
                usize::try_from(parse(text)?).map_err(|_| format!("`{text}` is too large"))
            };
            written.map_or(Ok(default), |written| checked(&written, parse))
        };
    let time = |written: Option<Written>, default: Duration| {
        let parse = |text: &str| match value::duration(text)? {
            Duration::ZERO => Err("0 is less than 1ms".to_owned()),
            short if short < TIME_MIN => Err(format!("`{text}` is less than 1ms")),
            long if long > TIME_MAX => Err(format!("`{text}` is more than 7d")),
            time => Ok(time),
        };
        written.map_or(Ok(default), |written| checked(&written, parse))
    };
    Ok(Limits {
        head_bytes: small(file.head_bytes, default.head_bytes, &|text| {
            size(text, 4 << 10, 1 << 20)
        })?,
        headers: small(file.headers, default.headers, &|text| count(text, 16, 1024))?,
        idle: time(file.idle, default.idle)?,
        head: time(file.head, default.head)?,
        body_idle: time(file.body_idle, default.body_idle)?,
        request: time(file.request, default.request)?,
        client_rate: number(file.client_rate, default.client_rate, &|text| size(text, 0, 1 << 30))?,
        connections: small(file.connections, default.connections, &|text| count(text, 1, 1 << 20))?,
        drain: time(file.drain, default.drain)?,
        body_bytes: number(file.body_bytes, default.body_bytes, &|text| size(text, 1, 5 << 40))?,
    })
}
