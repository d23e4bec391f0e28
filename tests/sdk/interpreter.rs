//! One long-lived interpreter for each language: calls go in as lines of JSON, answers come back in any order. An interpreter ends when its stdin does,
//! so none outlives the tests, however they end.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::oneshot;

use crate::install;

/// Serves the Python client, both the synchronous and the asynchronous one.
pub(crate) static PYTHON: LazyLock<Interpreter> = LazyLock::new(Interpreter::python);

/// Serves the TypeScript client.
pub(crate) static JAVASCRIPT: LazyLock<Interpreter> = LazyLock::new(Interpreter::javascript);

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Value>>>>;

/// A running driver.
#[derive(Debug)]
pub(crate) struct Interpreter {
    name: &'static str,
    stdin: Mutex<ChildStdin>,
    waiting: Waiting,
    next: AtomicU64,
    // Held so that it is waited for by nobody: it ends with its stdin.
    _child: Child,
}

impl Interpreter {
    fn python() -> Self {
        let mut command = Command::new(install::python());
        command.arg("-u").arg(source("py/driver.py"));
        Self::start("python", command)
    }

    /// Starts an interpreter for one test that needs its own environment.
    pub(crate) fn javascript() -> Self {
        let directory = install::javascript();
        let mut command = Command::new("node");
        command.arg(source("js/driver.cjs")).current_dir(directory);
        Self::start("javascript", command)
    }

    fn start(name: &'static str, mut command: Command) -> Self {
        // What the caller has set up for itself must not reach the clients.
        for (variable, _) in std::env::vars().filter(|(variable, _)| variable.contains("QSTASH")) {
            command.env_remove(variable);
        }
        for variable in ["NODE_ENV", "UPSTASH_DISABLE_TELEMETRY"] {
            command.env_remove(variable);
        }
        let log = File::create(install::root().join(format!("{name}.log"))).unwrap();
        command.env("NO_PROXY", "*").env("no_proxy", "*");
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log);
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let waiting = Waiting::default();
        let output = child.stdout.take().unwrap();
        let answered = waiting.clone();
        std::thread::spawn(move || read_answers(output, &answered));
        Self {
            name,
            stdin: Mutex::new(child.stdin.take().unwrap()),
            waiting,
            next: AtomicU64::new(0),
            _child: child,
        }
    }

    /// Makes a call and waits for its answer: an object with `ok` or `error`.
    pub(crate) async fn call(&self, mut request: Value) -> Value {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        request["id"] = id.into();
        let (answer, answered) = oneshot::channel();
        self.waiting.lock().insert(id, answer);
        let line = format!("{request}\n");
        self.stdin
            .lock()
            .write_all(line.as_bytes())
            .unwrap_or_else(|error| panic!("{}: {error}", self.ended()));
        answered
            .await
            .unwrap_or_else(|_| panic!("{}", self.ended()))
    }

    fn ended(&self) -> String {
        let log = install::root().join(format!("{}.log", self.name));
        format!("the {} driver has ended; see {}", self.name, log.display())
    }
}

fn source(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/sdk")
        .join(name)
}

fn read_answers(output: ChildStdout, waiting: &Waiting) {
    for line in BufReader::new(output).lines() {
        let Ok(line) = line else { break };
        let answer: Value =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
        let id = answer["id"].as_u64().unwrap();
        if let Some(waiting) = waiting.lock().remove(&id) {
            // The test may have given up.
            waiting.send(answer).ok();
        }
    }
    // Whoever still waits hears that nothing comes.
    waiting.lock().clear();
}
