//! The three clients behind one call: what a test wants is said once in the words of each language, and the one under test is used.

use serde_json::{Value, json};

use crate::interpreter::{Interpreter, JAVASCRIPT, PYTHON};

/// The public development token: what a broker on loopback expects when nobody has set one.
pub(crate) const TOKEN: &str =
    "eyJVc2VySUQiOiJkZWZhdWx0VXNlciIsIlBhc3N3b3JkIjoiZGVmYXVsdFBhc3N3b3JkIn0=";

/// The public development keys, current and next.
pub(crate) const KEYS: [&str; 2] = [
    "sig_7kYjw48mhY7kAjqNGcy6cr29RJ6r",
    "sig_5ZB6DVzB1wjE8S6rZ7eenA8Pdnhs",
];

/// A client under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sdk {
    Python,
    PythonAsync,
    JavaScript,
}

impl Sdk {
    pub(crate) const ALL: [Self; 3] = [Self::Python, Self::PythonAsync, Self::JavaScript];

    pub(crate) fn is_python(self) -> bool {
        self != Self::JavaScript
    }

    fn interpreter(self) -> &'static Interpreter {
        if self.is_python() {
            &PYTHON
        } else {
            &JAVASCRIPT
        }
    }
}

/// A method of a client with its arguments.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: &'static str,
    pub(crate) args: Value,
}

/// A call of the Python client: its keyword arguments.
pub(crate) fn py(method: &'static str, args: Value) -> Call {
    Call { method, args }
}

/// A call of the TypeScript client: its arguments in order.
pub(crate) fn js(method: &'static str, args: Value) -> Call {
    Call { method, args }
}

/// A call of the TypeScript client's queue with that name.
pub(crate) fn js_queue(method: &'static str, queue: &str, args: Value) -> Call {
    Call {
        method,
        args: json!({"queue": queue, "args": args}),
    }
}

/// What a client raised.
#[derive(Debug, Clone)]
pub(crate) struct SdkError {
    pub(crate) kind: String,
    pub(crate) message: String,
    /// Status of the answer, if there was one.
    pub(crate) status: Option<u64>,
    /// What the clients' own error for 429 says: limit, remaining, reset.
    pub(crate) limits: [Option<u64>; 3],
}

impl SdkError {
    fn read(error: &Value) -> Self {
        let message = error["message"].as_str().unwrap_or_default().to_owned();
        // The Python client has the status in its text alone.
        let in_text = || {
            let (_, rest) = message.split_once("Request failed with status: ")?;
            rest.split_once(',')?.0.parse().ok()
        };
        let number = |name: &str| error[name].as_str().and_then(|text| text.parse().ok());
        Self {
            limits: ["limit", "remaining", "reset"].map(number),
            kind: error["type"].as_str().unwrap_or_default().to_owned(),
            status: error["status"].as_u64().or_else(in_text),
            message,
        }
    }
}

/// A client that talks to one address with one token.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) sdk: Sdk,
    pub(crate) url: String,
    pub(crate) token: String,
}

impl Client {
    pub(crate) fn new(sdk: Sdk, url: &str) -> Self {
        Self {
            sdk,
            url: url.to_owned(),
            token: TOKEN.to_owned(),
        }
    }

    /// Makes a call, in the language of this client.
    pub(crate) async fn attempt(&self, python: Call, javascript: Call) -> Result<Value, SdkError> {
        let call = if self.sdk.is_python() {
            python
        } else {
            javascript
        };
        let request = json!({
            "sync": self.sdk == Sdk::Python,
            "url": self.url,
            "token": self.token,
            "call": call.method,
            "args": call.args,
        });
        let mut answer = self.sdk.interpreter().call(request).await;
        match answer.get("error") {
            Some(error) => Err(SdkError::read(error)),
            None => Ok(answer["ok"].take()),
        }
    }

    /// Makes a call that must succeed.
    pub(crate) async fn call(&self, python: Call, javascript: Call) -> Value {
        let methods = (python.method, javascript.method);
        let result = self.attempt(python, javascript).await;
        result.unwrap_or_else(|error| panic!("{:?} {methods:?}: {error:?}", self.sdk))
    }

    /// Makes a call that must be refused with that status, and returns the text.
    pub(crate) async fn refusal(&self, python: Call, javascript: Call, status: u64) -> String {
        let methods = (python.method, javascript.method);
        match self.attempt(python, javascript).await {
            Ok(value) => panic!("{:?} {methods:?} was not refused: {value}", self.sdk),
            Err(error) => {
                assert_eq!(error.status, Some(status), "{error:?}");
                assert!(
                    error.message.contains(r#""error":"#),
                    "no error object: {error:?}"
                );
                error.message
            }
        }
    }

    /// Verifies a delivery with the client's own receiver.
    pub(crate) async fn verify(&self, keys: [&str; 2], args: &Value) -> Result<(), SdkError> {
        let mut args = args.clone();
        args["keys"] = json!(keys);
        let calls = (
            py("receiver.verify", args.clone()),
            js("receiver.verify", args),
        );
        self.attempt(calls.0, calls.1).await.map(drop)
    }

    /// Lists what the installed package offers.
    pub(crate) async fn methods(&self) -> Value {
        self.call(py("methods", json!({})), js("methods", json!([])))
            .await
    }
}
