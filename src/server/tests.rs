use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::config::{DriverConfig, Limits};
use crate::context::{Context, RequestId};
use crate::engine::AnyReader;
use crate::event::{Operation, Outcome};
use crate::http::{Body, HeaderBlock, RequestHead, Response, ResponseBody};
use crate::model::ContainerName;
use crate::net::Answer;
use crate::runtime::placement::allowed_cpus;
use crate::s3::Outline;
use crate::s3::error::Code;

/// Creates the container that the path names, and says how that went.
struct Creator(Rc<Engine>);

impl Handler for Creator {
    type Reader = AnyReader;

    async fn serve<B: Body>(
        &self,
        ctx: Context,
        head: &RequestHead<'_>,
        _: &mut B,
    ) -> Answer<AnyReader> {
        let name = ContainerName::new(&head.path[1..]).unwrap();
        let said = match self.0.create_container(&ctx, &name).await {
            Ok(()) => "created".to_owned(),
            Err(error) => error.to_string(),
        };
        let outline = Outline {
            operation: Operation::CreateContainer,
            outcome: Outcome::Ok,
            error_code: "",
            container_hash: 0,
            key_hash: 0,
            range: None,
        };
        Answer { ctx, response: text(200, said), outline }
    }

    fn refuse(&self, _: RequestId, code: Code) -> Response<AnyReader> {
        text(code.status(), code.name().to_owned())
    }
}

fn text(status: u16, text: String) -> Response<AnyReader> {
    let body = ResponseBody::Bytes(Bytes::from(text));
    Response { status, headers: HeaderBlock::default(), body, close: false }
}

fn config(kind: DriverKind) -> Config {
    let any = "127.0.0.1:0".parse().unwrap();
    Config {
        etag: crate::model::ETagHash::default(),
        listen: any,
        admin: any,
        cores: allowed_cpus().unwrap(),
        region: "us-east-1".to_owned(),
        domains: Vec::new(),
        credentials: Vec::new(),
        drivers: vec![DriverConfig { name: "only".to_owned(), kind }],
        rules: Vec::new(),
        memory_bytes: 64 << 20,
        access_log: false,
        legacy_runtime: false,
        spin: Duration::ZERO,
        zero_copy: crate::config::ZeroCopy::default(),
        limits: Limits { drain: Duration::from_secs(5), ..Limits::default() },
        upkeep: crate::config::Upkeep::default(),
    }
}

fn start(config: &Config) -> Result<Server, ServerError> {
    Server::start_with(config, Prepared::new(config)?, Creator)
}

fn ask(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("PUT {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

fn admin(server: &Server, path: &str) -> String {
    let mut stream = TcpStream::connect(server.admin_address()).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn all_cores_serve_and_stop_in_order() {
    let server = start(&config(DriverKind::Memory)).unwrap();
    let address = server.address();
    assert!(admin(&server, "/readyz").starts_with("HTTP/1.1 200"));
    assert_eq!(ask(address, "/first"), "created");
    for _ in 0..20 {
        assert_eq!(ask(address, "/first"), "the container exists");
    }
    assert!(admin(&server, "/metrics").contains("vaultaire_connections "));
    server.stop().unwrap();
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn what_was_created_is_there_after_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(DriverKind::Local { path: folder.path().join("data") });
    let server = start(&config).unwrap();
    assert_eq!(ask(server.address(), "/first"), "created");
    server.stop().unwrap();
    let server = start(&config).unwrap();
    assert_eq!(ask(server.address(), "/first"), "the container exists");
    server.stop().unwrap();
}

#[test]
fn a_port_in_use_is_told() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = config(DriverKind::Memory);
    config.listen = holder.local_addr().unwrap();
    let error = start(&config).err().unwrap().to_string();
    assert!(error.contains("cannot listen") && error.contains("in use"), "{error}");
}

#[test]
fn a_data_folder_has_one_server() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(DriverKind::Local { path: folder.path().to_owned() });
    let server = start(&config).unwrap();
    let error = start(&config).err().unwrap().to_string();
    assert!(error.contains(&folder.path().display().to_string()), "{error}");
    server.stop().unwrap();
}

#[test]
fn a_core_that_may_not_be_used_is_told() {
    let mut config = config(DriverKind::Memory);
    config.cores = vec![1023];
    assert!(start(&config).is_err());
}
