//! The real program as a process of its own: started on free ports, killed as `kill -9` does, started again on the same data and ports.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tempfile::TempDir;

use crate::client::TOKEN;
use crate::world::bounded;

/// A running `redrive serve`; killed when it goes out of scope.
#[derive(Debug)]
pub(crate) struct Broker {
    directory: TempDir,
    changes: Vec<String>,
    /// Address of the HTTP surface; it stays the same over restarts.
    pub(crate) http: String,
    child: Child,
}

impl Broker {
    /// Starts it on free ports; `changes` are `key=value`.
    pub(crate) async fn start(changes: &[&str]) -> Self {
        Self::start_at("127.0.0.1:0", changes).await
    }

    pub(crate) async fn start_at(http: &str, changes: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let changes: Vec<String> = changes.iter().map(|&change| change.to_owned()).collect();
        let (child, http) = serve(&directory, http, &changes).await;
        Self {
            directory,
            changes,
            http,
            child,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.http)
    }

    /// Ends the process at once, whatever it does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the same data and ports.
    pub(crate) async fn restart(&mut self) {
        let (child, _) = serve(&self.directory, &self.http, &self.changes).await;
        self.child = child;
    }

    /// Makes a request without a client, and returns the status and the answer.
    pub(crate) async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> (u16, Value) {
        let (status, text) = self.request_text(method, path, headers).await;
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    pub(crate) async fn request_text(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> (u16, String) {
        let uri = format!("{}{path}", self.url());
        let mut request = hyper::Request::builder().method(method).uri(uri);
        request = request.header("authorization", format!("Bearer {TOKEN}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let client = HttpClient::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let answer = client.request(request.body(Full::default()).unwrap());
        let answer = bounded("an answer", answer).await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    /// The end of what the process has written to stderr.
    fn log(&self) -> String {
        let text = fs::read_to_string(self.directory.path().join("stderr")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(30).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            eprintln!("the broker wrote last:\n{}", self.log());
        }
    }
}

/// Starts the program and waits for the lines with its addresses.
async fn serve(directory: &TempDir, http: &str, changes: &[String]) -> (Child, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_redrive"));
    command
        .arg("serve")
        .arg("--data-dir")
        .arg(directory.path().join("data"));
    command.args(["--listen", "127.0.0.1:0", "--http", http]);
    command.args([
        "--set",
        "storage.min_free_bytes=0",
        "--set",
        "storage.sync_threads=4",
    ]);
    for change in changes {
        command.arg("--set").arg(change);
    }
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("REDRIVE_") {
            command.env_remove(name);
        }
    }
    let stderr = File::options()
        .create(true)
        .append(true)
        .open(directory.path().join("stderr"))
        .unwrap();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(stderr);
    let mut child = command.spawn().unwrap();
    let output = child.stdout.take().unwrap();
    let reading = tokio::task::spawn_blocking(move || read_address(BufReader::new(output)));
    let address = bounded("the start of the broker", reading).await.unwrap();
    let Some(address) = address else {
        let text = fs::read_to_string(directory.path().join("stderr")).unwrap_or_default();
        panic!("the broker did not start: {:?}\n{text}", child.wait());
    };
    (child, address)
}

/// Reads up to the last line that the start prints; what comes later goes nowhere, but the pipe stays open.
fn read_address(output: BufReader<std::process::ChildStdout>) -> Option<String> {
    let mut lines = output.lines();
    let mut http = None;
    while let Some(Ok(line)) = lines.next() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("http"), Some(url)) => http = Some(url.trim_start_matches("http://").to_owned()),
            (Some("protocol"), Some(_)) => {
                std::thread::spawn(move || lines.for_each(drop));
                return http;
            }
            _ => {}
        }
    }
    None
}
