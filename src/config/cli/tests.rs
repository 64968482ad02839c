use std::collections::HashMap;
use std::io::Write;
use std::time::Duration;

use super::*;
use crate::config::{ContainerRule, DriverConfig, DriverKind, Limits, SAMPLE, Upkeep, ZeroCopy};
use crate::model::ETagHash;

const AFFINITY: [usize; 4] = [0, 1, 2, 5];

fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Command, Refusal> {
    let environment: HashMap<&str, &str> = environment.iter().copied().collect();
    let environment = |name: &str| environment.get(name).map(|value| (*value).to_owned());
    let arguments = std::iter::once("vaultaire").chain(arguments.iter().copied());
    parse_from(arguments, &environment, &AFFINITY)
}

fn config(arguments: &[&str], environment: &[(&str, &str)]) -> Config {
    match run(arguments, environment) {
        Ok(Command::Serve(config) | Command::Checked(config)) => config,
        Ok(Command::Sample | Command::CheckFolder(_)) => panic!("it is no configuration"),
        Err(refusal) => panic!("{refusal:?}"),
    }
}

fn error(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    match run(arguments, environment) {
        Ok(_) => panic!("it was accepted"),
        Err(Refusal::Usage(error)) => error.to_string(),
        Err(Refusal::Config(error)) => error.to_string(),
    }
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn config_of(text: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Config {
    let file = file(text);
    let path = file.path().to_str().unwrap();
    config(&[&["--config", path], arguments].concat(), environment)
}

/// The message of a file, its name left out: `LINE: message`.
fn error_of(text: &str) -> String {
    let file = file(text);
    let path = file.path().to_str().unwrap();
    let message = error(&["--config", path], &[]);
    message.strip_prefix(&format!("{path}:")).unwrap_or(&message).to_owned()
}

fn assert_same(left: &Config, right: &Config) {
    assert_eq!(left.to_string(), right.to_string());
    assert_eq!(left.memory_bytes, right.memory_bytes);
    assert_eq!(left.drivers, right.drivers);
    assert_eq!(left.rules, right.rules);
    assert_eq!(left.limits, right.limits);
    assert_eq!(left.upkeep, right.upkeep);
}

#[test]
fn the_defaults() {
    let config = config(&[], &[]);
    assert_eq!(config.listen.to_string(), "127.0.0.1:9000");
    assert_eq!(config.admin.to_string(), "127.0.0.1:9001");
    assert_eq!(config.cores, AFFINITY);
    assert_eq!(config.region, "us-east-1");
    assert_eq!(config.etag, ETagHash::Md5);
    assert_eq!(config_of("etag = 'crc64'", &[], &[]).etag, ETagHash::Crc64);
    assert_eq!(config_of("spin = '200us'", &[], &[]).spin, Duration::from_micros(200));
    assert_eq!(config.zero_copy, ZeroCopy::Auto);
    assert_eq!(config_of("zero_copy = 'never'", &[], &[]).zero_copy, ZeroCopy::Never);
    assert_eq!(config.memory_bytes, 256 << 20);
    assert!(config.credentials.is_empty() && config.rules.is_empty() && config.domains.is_empty());
    assert!(!config.access_log && !config.legacy_runtime && config.spin.is_zero());
    let kind = DriverKind::Local { path: "./vaultaire-data".into() };
    assert_eq!(config.drivers, [DriverConfig { name: "default".to_owned(), kind }]);
    assert_eq!(config.limits, Limits::default());
}

#[test]
fn the_sample_says_the_defaults() {
    assert_same(&config_of(SAMPLE, &[], &[]), &config(&[], &[]));
}

#[test]
fn the_sample_without_its_comments_marks_is_valid_too() {
    let mut text: Vec<&str> = Vec::new();
    for line in SAMPLE.lines() {
        // A comment that is an assignment or a table, not prose.
        let bare = line.strip_prefix("# ").unwrap_or("");
        let words = bare.split(" = ").next().unwrap_or("");
        let table = bare.starts_with('[') && bare.ends_with(']');
        let key =
            bare.contains(" = ") && words.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        text.push(if table || key { bare } else { line });
    }
    let text = text.join("\n").replace("at least 8 printable characters, no spaces", "12345678");
    let text = text.replace("0-3,6", "0-2");
    let config = config_of(&text, &[], &[]);
    assert_eq!(config.cores, [0, 1, 2]);
    assert_eq!(config.drivers.len(), 2);
    assert_eq!(config.rules.len(), 1);
    assert_eq!(config.credentials.len(), 1);
}

#[test]
fn flags_over_environment_over_file() {
    let text = "region = 'file'\nmemory = '32MiB'\naccess_log = true\nlisten = '[::1]:80'\ndomains = ['a.b']";
    let environment = [
        ("VAULTAIRE_REGION", "variable"),
        ("VAULTAIRE_MEMORY", "64MiB"),
        ("VAULTAIRE_ADMIN", ""),
        ("VAULTAIRE_DOMAINS", "s3.lan, S3.example.org"),
    ];
    let config = config_of(text, &["--region", "flag", "--access-log=false"], &environment);
    assert_eq!(config.region, "flag");
    assert_eq!(config.memory_bytes, 64 << 20);
    assert!(!config.access_log);
    assert_eq!(config.listen.to_string(), "[::1]:80");
    assert_eq!(config.admin.to_string(), "127.0.0.1:9001");
    assert_eq!(config.domains, ["s3.lan", "s3.example.org"]);
}

#[test]
fn the_file_may_be_named_by_the_environment() {
    let file = file("region = 'there'");
    let path = file.path().to_str().unwrap();
    assert_eq!(config(&[], &[("VAULTAIRE_CONFIG", path)]).region, "there");
}

#[test]
fn commands() {
    assert!(matches!(run(&[], &[]), Ok(Command::Serve(_))));
    assert!(matches!(run(&["serve", "--access-log"], &[]), Ok(Command::Serve(c)) if c.access_log));
    assert!(matches!(run(&["config", "check", "--region", "x"], &[]), Ok(Command::Checked(_))));
    assert!(matches!(run(&["config", "sample"], &[]), Ok(Command::Sample)));
    for arguments in
        [&["--nonsense"][..], &["config"], &["serve", "extra"], &["--region", "x", "serve"]]
    {
        assert!(matches!(run(arguments, &[]), Err(Refusal::Usage(_))), "{arguments:?}");
    }
    <Cli as clap::CommandFactory>::command().debug_assert();
}

#[test]
fn data_names_the_folder_of_the_one_local_driver() {
    let path = |config: &Config| match &config.drivers[0].kind {
        DriverKind::Local { path } => path.to_str().unwrap().to_owned(),
        DriverKind::Memory => panic!("it is in memory"),
    };
    assert_eq!(path(&config(&["--data", "/d"], &[("VAULTAIRE_DATA", "/e")])), "/d");
    let text = "drivers.disk = {type = 'local', path = 'x'}\ndrivers.m = {type = 'memory'}";
    assert_eq!(path(&config_of(text, &[], &[])), "x");
    assert_eq!(path(&config_of(text, &[], &[("VAULTAIRE_DATA", "/e")])), "/e");
    let file = file("drivers.m.type = 'memory'");
    let path = file.path().to_str().unwrap();
    assert_eq!(
        error(&["--config", path, "--data", "d"], &[]),
        "--data: names the folder of the one local driver, but the file configures 0"
    );
}

#[test]
fn drivers_keep_the_order_of_the_file() {
    let config = config_of(
        "drivers.z.type = 'memory'\ndrivers.a.type = 'memory'\n[[rules]]\nprefix = 'p-'\ndriver = 'a'",
        &[],
        &[],
    );
    let names: Vec<&str> = config.drivers.iter().map(|driver| driver.name.as_str()).collect();
    assert_eq!(names, ["z", "a"]);
    assert_eq!(config.rules, [ContainerRule { prefix: "p-".to_owned(), driver: "a".to_owned() }]);
}

#[test]
fn credentials_of_the_environment_replace_those_of_the_file() {
    let text = "[[credentials]]\naccess_key_id = 'one'\nsecret_access_key = '12345678'\n[[credentials]]\naccess_key_id = 'two'\nsecret_access_key = '12345678'\ntenant = 'default'";
    let ids = |config: &Config| {
        config.credentials.iter().map(|one| one.access_key_id.clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&config_of(text, &[], &[])), ["one", "two"]);
    let environment =
        [("VAULTAIRE_ACCESS_KEY_ID", "three"), ("VAULTAIRE_SECRET_ACCESS_KEY", "sesame-open")];
    let config = config_of(text, &[], &environment);
    assert_eq!(ids(&config), ["three"]);
    assert_eq!(config.credentials[0].secret, "sesame-open");
    assert!(!config.to_string().contains("sesame"), "{config}");
}

#[test]
fn upkeep_is_read() {
    let of = |text: &str| config_of(text, &[], &[]).upkeep;
    assert_eq!(of(""), Upkeep::default());
    let day = Duration::from_secs(86_400);
    let set = of("[upkeep]\nscrub = 'never'\nuploads_expire = '1d'\nsorted_runs = false");
    assert_eq!(set, Upkeep { scrub: None, uploads_expire: Some(day), sorted_runs: false });
    assert_eq!(of("[upkeep]\nscrub = '30d'").scrub, Some(30 * day));
}

#[test]
fn limits_are_read() {
    let text = "[limits]\nhead = '5s'\nconnections = 10\nbody_bytes = '1TiB'\nclient_rate = 0\nhead_bytes = 8192";
    let limits = config_of(text, &[], &[]).limits;
    assert_eq!(limits.head, Duration::from_secs(5));
    assert_eq!((limits.connections, limits.client_rate), (10, 0));
    assert_eq!((limits.body_bytes, limits.head_bytes), (1 << 40, 8192));
    assert_eq!(limits.idle, Limits::default().idle);
}

#[test]
fn what_is_wrong_in_a_file_is_said_with_its_line() {
    let credential = |key: &str| {
        format!("[[credentials]]\naccess_key_id = 'a-key'\nsecret_access_key = '12345678'\n{key}")
    };
    let cases: Vec<(String, &str)> = vec![
        ("region = 'x'\nlisten_on = 1".into(), "2: unknown field `listen_on`, expected one of `listen`, `admin`, `region`, `etag`, `cores`, `memory`, `access_log`, `legacy_runtime`, `spin`, `zero_copy`, `domains`, `drivers`, `rules`, `credentials`, `limits`, `upkeep`"),
        ("[limits]\nidle = '999us'".into(), "2: `999us` is less than 1ms"),
        ("spin = '11ms'".into(), "1: `11ms` is more than 10ms"),
        ("[limits]\nidle = '1s'\nhurry = 1".into(), "3: unknown field `hurry`, expected one of `head_bytes`, `headers`, `idle`, `head`, `body_idle`, `request`, `client_rate`, `connections`, `drain`, `body_bytes`"),
        ("\n[drivers.disk]\ntype = 'local'\npath = 'x'\nfsync = false".into(), "5: unknown field `fsync`, expected `type` or `path`"),
        ("[[rules]]\nprefix = 'a'\ndriver = 'default'\nregex = 1".into(), "4: unknown field `regex`, expected `prefix` or `driver`"),
        (credential("role = 'admin'"), "4: unknown field `role`, expected one of `access_key_id`, `secret_access_key`, `tenant`"),
        ("[drivers.disk]\npath = 'x'".into(), "1: missing field `type`"),
        ("listen = ".into(), "1: string values must be quoted, expected literal string"),
        ("region = 'a'\nregion = 'b'".into(), "2: duplicate key"),
        ("memory = 1.5".into(), "1: invalid type: floating point `1.5`, expected text, a whole number, true or false"),
        ("\nmemory = '256 megs'".into(), "2: `256 megs` is not a size such as 256MiB"),
        ("etag = 'sha1'".into(), "1: `sha1` is neither md5 nor crc64"),
        ("zero_copy = true".into(), "1: `true` is none of auto, always and never"),
        ("memory = '1MiB'".into(), "1: 1048576 is less than 16777216"),
        ("[limits]\ndrain = 30".into(), "2: `30` is not a time such as 30s"),
        ("[limits]\ndrain = '0s'".into(), "2: 0 is less than 1ms"),
        ("[limits]\nidle = '8d'".into(), "2: `8d` is more than 7d"),
        ("[limits]\n\nheaders = 5".into(), "3: 5 is less than 16"),
        ("[limits]\nbody_bytes = '6TiB'".into(), "2: 6597069766656 is more than 5497558138880"),
        ("listen = 'localhost:9000'".into(), "1: `localhost:9000` is not an address and port such as 127.0.0.1:9000 or [::1]:9000"),
        ("listen = '127.0.0.1:9001'".into(), "1: port 9001 is used twice: for S3 at 127.0.0.1:9001 and for administration at 127.0.0.1:9001"),
        ("listen = '0.0.0.0:80'\nadmin = '10.0.0.1:80'".into(), "2: port 80 is used twice: for S3 at 0.0.0.0:80 and for administration at 10.0.0.1:80"),
        ("cores = '0-9'".into(), "1: CPU 3 is not among those this process may use: 0-2,5"),
        ("cores = '2-1'".into(), "1: `2-1` is not a list of CPUs such as 0-3,6"),
        ("region = 'Here'".into(), "1: `Here` is not a region: use 1 to 63 of a-z, 0-9 and -"),
        ("domains = [\n 'a.b',\n 'a/b']".into(), "3: `a/b` is not a host name such as s3.example.org"),
        ("access_log = 'maybe'".into(), "1: `maybe` is neither true nor false"),
        ("[[rules]]\nprefix = 'a'\ndriver = 'nowhere'".into(), "3: the rule names driver `nowhere`, which is not configured; there are: default"),
        ("[[rules]]\nprefix = 'A'\ndriver = 'default'".into(), "2: `A` begins no container's name: use at most 63 of a-z, 0-9, - and ."),
        ("[[rules]]\nprefix = 'a'\ndriver = 'default'\n[[rules]]\nprefix = 'ab'\ndriver = 'default'".into(), "5: the rule for `ab` is never used: the rule for `a` before it takes all of them"),
        ("drivers.d.type = 's3'".into(), "1: `s3` is no type of driver: use local or memory"),
        ("[drivers.d]\ntype = 'local'".into(), "2: driver `d` of type local needs a `path`"),
        ("[drivers.d]\ntype = 'local'\npath = ''".into(), "3: the path is empty"),
        ("[drivers.d]\ntype = 'memory'\npath = 'x'".into(), "3: driver `d` of type memory has no `path`"),
        ("[drivers.'d d']\ntype = 'memory'".into(), "1: `d d` is no name of a driver: use 1 to 64 of a-z, A-Z, 0-9, _ and -"),
        ("[drivers.a]\ntype = 'local'\npath = 'x'\n[drivers.b]\ntype = 'local'\npath = './x'".into(), "5: driver `b` has the folder of another driver: ./x"),
        ("[[credentials]]\naccess_key_id = 'a-key'\nsecret_access_key = '1234567'".into(), "3: the secret access key is shorter than 8 characters"),
        ("[[credentials]]\naccess_key_id = 'a/b'\nsecret_access_key = '12345678'".into(), "2: the access key id must be 3 to 128 of A-Z, a-z, 0-9 and . _ - + @"),
        (credential("tenant = 'other'"), "4: there is no tenant `other`: the only one is `default`"),
        (credential(&credential("")), "5: the access key `a-key` is given twice"),
        ("[drivers]".into(), "1: no driver is configured"),
    ];
    for (text, message) in cases {
        assert_eq!(error_of(&text), message, "{text}");
    }
}

#[test]
fn what_is_wrong_elsewhere_is_said_with_its_flag_or_variable() {
    assert_eq!(error(&["--memory", "lots"], &[]), "--memory: `lots` is not a size such as 256MiB");
    assert_eq!(
        error(&["--cores", "3"], &[]),
        "--cores: CPU 3 is not among those this process may use: 0-2,5"
    );
    assert_eq!(
        error(&[], &[("VAULTAIRE_LISTEN", "9000")]),
        "VAULTAIRE_LISTEN: `9000` is not an address and port such as 127.0.0.1:9000 or [::1]:9000"
    );
    assert_eq!(
        error(&[], &[("VAULTAIRE_ACCESS_KEY_ID", "someone")]),
        "VAULTAIRE_ACCESS_KEY_ID: is set, but VAULTAIRE_SECRET_ACCESS_KEY is not"
    );
    assert_eq!(
        error(
            &[],
            &[("VAULTAIRE_ACCESS_KEY_ID", "a-key"), ("VAULTAIRE_SECRET_ACCESS_KEY", "short")]
        ),
        "VAULTAIRE_SECRET_ACCESS_KEY: the secret access key is shorter than 8 characters"
    );
    assert_eq!(
        error(&["--config", "/nonexistent/vaultaire.toml"], &[]),
        "/nonexistent/vaultaire.toml: cannot be read: No such file or directory (os error 2)"
    );
    assert!(
        error(&["--listen", "[::]:9001"], &[]).starts_with("--listen: port 9001 is used twice")
    );
    let both = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    assert!(run(&both, &[]).is_ok(), "port 0 is two ports");
}

#[test]
fn a_folder_is_checked_without_any_configuration() {
    let asked = |arguments: &[&str]| match run(arguments, &[("VAULTAIRE_CORES", "nonsense")]) {
        Ok(Command::CheckFolder(asked)) => asked,
        _ => panic!("no check"),
    };
    let folder = PathBuf::from("/srv/data");
    let plain = FolderCheck { folder, repair: false, accept_loss: false };
    assert_eq!(asked(&["check", "/srv/data"]), plain);
    let repair = FolderCheck { repair: true, ..plain.clone() };
    assert_eq!(asked(&["check", "--repair", "/srv/data"]), repair);
    let accept = FolderCheck { accept_loss: true, ..plain };
    assert_eq!(asked(&["check", "--accept-loss", "/srv/data"]), accept);
    assert!(matches!(run(&["check"], &[]), Err(Refusal::Usage(_))));
}
