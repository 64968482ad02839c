//! The load generator against the server: every operation and every kind of payload is answered as it should be.

use std::process::{Command, Output};

use crate::harness::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, Server};

/// Runs the generator on a few requests.
fn load(server: &Server, arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vaultaire-load"))
        .args(arguments.split(' '))
        .args(["--endpoint", &server.address, "--concurrency", "2", "--warm-up-s", "0"])
        .args(["--duration-s", "60", "--keys", "20"])
        .args(["--access-key-id", ACCESS_KEY_ID, "--secret-access-key", SECRET_ACCESS_KEY])
        .env_clear()
        .output()
        .expect("the generator starts")
}

/// Runs it, and returns how many operations it counted.
fn operations(server: &Server, arguments: &str) -> u64 {
    let output = load(server, arguments);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments}: {said}{errors}");
    let (_, rest) = said.split_once(": ").expect("a name and figures");
    rest.split(' ').next().and_then(|count| count.parse().ok()).expect("a count")
}

#[test]
fn every_operation_is_answered() {
    let server = Server::start();
    for payload in ["unsigned", "signed", "chunks", "trailer"] {
        let sizes = "--sizes 0,1KiB,100KiB,3MiB";
        let fill = format!("fill --bucket {payload} --payload {payload} {sizes}");
        assert_eq!(operations(&server, &fill), 20);
        // What was put comes back.
        let get = format!("get --bucket {payload} {sizes} --prepared --once --verify");
        assert_eq!(operations(&server, &get), 20);
    }
    assert_eq!(operations(&server, "get --requests 10 --distribution zipf --verify"), 10);
    assert_eq!(operations(&server, "head --requests 10 --prepared"), 10);
    assert_eq!(operations(&server, "list --requests 5 --page 7 --prepared"), 5);
    assert_eq!(operations(&server, "list --requests 5 --delimiter / --prepared"), 5);
    assert_eq!(operations(&server, "put --requests 10 --rate 500"), 10);
    assert_eq!(operations(&server, "mixed --requests 40 --rate 2000 --arrivals poisson"), 40);
    assert_eq!(operations(&server, "delete --prepared"), 20);
    assert_eq!(operations(&server, "delete-many --batch 15"), 20);
    let multipart = "multipart --requests 2 --parts 2 --sizes 5MiB --payload trailer";
    assert_eq!(operations(&server, multipart), 2);
}

#[test]
fn what_differs_from_what_was_put_is_an_error() {
    let server = Server::start();
    assert_eq!(operations(&server, "fill --sizes 1KiB"), 20);
    let output = load(&server, "get --sizes 2KiB --prepared --once --verify");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("bytes instead of 2048"), "{said}");
}
