//! Callers that hold on to connections, in the real binary: half heads, nothing at all, bodies that do
//! not end, answers that nobody reads. Others are served, and memory is bounded.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{Line, post};
use crate::support::binary::{Process, postrider};
use crate::support::{folder, until};

const OK: (&str, &str) = ("flows/ok.yaml", "triggers:\n  - webhook: { path: /ok, respond: result }\nrun: 42\n");

/// Connections that send this and no more, kept until dropped.
async fn hold(address: SocketAddr, count: usize, bytes: &[u8]) -> Vec<TcpStream> {
    let mut held = Vec::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // Those that want much may be closed while they send it.
        let _ = stream.write_all(bytes).await;
        held.push(stream);
    }
    held
}

/// How long the slowest of the better half took: a webhook, and the private side.
async fn serves(process: &Process) -> Duration {
    let mut times = Vec::new();
    for _ in 0..20 {
        let begun = Instant::now();
        let mut line = Line::to(process.public).await;
        line.send(post("/hooks/ok", &[], "{}")).await;
        assert_eq!(line.answer().await.text(), "42");
        times.push(begun.elapsed());
        let begun = Instant::now();
        let mut line = Line::to(process.admin).await;
        line.send("GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert_eq!(line.answer_to("GET").await.text(), "ready");
        times.push(begun.elapsed());
    }
    times.sort();
    times[times.len() / 2]
}

fn allow_many_files() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn half_requests_by_the_thousand_keep_nobody_out() {
    allow_many_files();
    let folder = folder(&[OK]);
    let process = Process::start(folder.path());
    let begun = Instant::now();
    let half = b"POST /hooks/ok HTTP/1.1\r\nHost: x\r\nX-Half: ";
    let mut heads = hold(process.public, 2_000, half).await;
    let nothing = hold(process.public, 1_000, b"").await;
    // Bodies of which the last byte does not come; what there is no room for is not read.
    let mut bodies = JoinSet::new();
    for n in 0..300 {
        let (address, path) = (process.public, if n % 2 == 0 { "hooks/ok" } else { "gateways/sandbox" });
        bodies.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let head = format!("POST /{path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1048576\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            let _ = stream.write_all(&[b'x'; (1 << 20) - 1]).await;
            let _ = stream.read(&mut [0]).await;
        });
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let usual = serves(&process).await;
    let peak = process.memory("VmHWM") >> 20;
    println!("usual answer {usual:?}, peak {peak} MiB");
    assert!(usual < Duration::from_millis(200), "{usual:?}");
    // The bodies alone would be 300 MiB.
    assert!(peak < 150, "{peak} MiB");
    let long = [&half[..], &[b'x'; 90_000]].concat();
    let longer = hold(process.public, 1_000, &long).await;
    let usual = serves(&process).await;
    let peak = process.memory("VmHWM") >> 20;
    println!("with long heads: usual answer {usual:?}, peak {peak} MiB");
    assert!(usual < Duration::from_millis(200), "{usual:?}");
    assert!(peak < 220, "{peak} MiB");
    // Nobody stays for long.
    for stream in heads.iter_mut().take(3) {
        assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
    }
    let took = begun.elapsed();
    assert!(took > Duration::from_secs(9) && took < Duration::from_secs(40), "{took:?}");
    drop((heads, nothing, longer, bodies));
    let (code, _) = process.terminate();
    assert_eq!(code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn few_descriptors_are_enough_for_the_private_side_and_for_reloading() {
    let folder = folder(&[OK]);
    let run =
        format!("ulimit -n 256; exec {} run --listen 127.0.0.1:0 --admin 127.0.0.1:0", env!("CARGO_BIN_EXE_postrider"));
    let mut command = std::process::Command::new("/bin/sh");
    let plain = postrider(folder.path(), &[]);
    command.args(["-c", &run]).current_dir(folder.path()).env_clear();
    for (name, value) in plain.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    let process = Process::of(command, folder.path());
    let held = hold(process.public, 600, b"POST /hooks/ok HTTP/1.1\r\n").await;
    let private = hold(process.admin, 100, b"").await;
    let usual = serves(&process).await;
    assert!(usual < Duration::from_millis(200), "{usual:?}");
    crate::support::write(
        folder.path(),
        "flows/new.yaml",
        "triggers:\n  - webhook: { path: /new, respond: result }\nrun: 43\n",
    );
    until("a new flow to be live", async || {
        let mut line = Line::to(process.public).await;
        line.send(post("/hooks/new", &[], "{}")).await;
        (line.answer().await.text() == "43").then_some(())
    })
    .await;
    drop((held, private));
    let (code, log) = process.terminate();
    assert_eq!(code, Some(0));
    assert_eq!(log.matches("no room for more connections").count(), 2, "once for each side: {log}");
    assert!(!log.contains("cannot be taken"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_drips_is_given_up_and_one_that_flows_is_not() {
    let folder = folder(&[OK]);
    let process = Process::start(folder.path());
    let mut slow = Line::to(process.public).await;
    slow.send("POST /hooks/ok HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nabc").await;
    let mut steady = Line::to(process.public).await;
    steady.send("POST /hooks/ok HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n").await;
    let sending = async {
        for _ in 0..7 {
            steady.send("x".repeat(10_000)).await;
            tokio::time::sleep(Duration::from_millis(900)).await;
        }
        steady.answer().await
    };
    let (slow, steady) = tokio::join!(slow.answer(), sending);
    assert_eq!((slow.status, slow.header("connection")), (408, Some("close")), "{slow:?}");
    assert_eq!((steady.status, steady.text().as_str()), (200, "42"), "{steady:?}");
}
