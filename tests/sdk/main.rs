//! The official QStash clients, unchanged, against the real program: `qstash` of `PyPI` (sync and async) and npm `@upstash/qstash`, installed by the tests
//! below the target directory, with a destination that the test controls. Each test asserts the effect of a call, not its status.
//!
//! Subsets: `cargo test --test sdk cases::dead_letters`, `... python::`, `... javascript::`, `... surface::`, `... webhooks::`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::missing_docs_in_private_items,
    clippy::too_many_lines,
    clippy::needless_pass_by_value,
    reason = "tests may panic"
)]

/// Runs each test function of this module once for each client.
macro_rules! for_each_sdk {
    ($($name:ident),* $(,)?) => {
        mod python {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::client::Sdk::Python).await;
            })*
        }
        mod python_async {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::client::Sdk::PythonAsync).await;
            })*
        }
        mod javascript {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::client::Sdk::JavaScript).await;
            })*
        }
    };
}

mod behaviour;
mod broker;
mod cases;
mod client;
mod install;
mod interpreter;
mod messages;
mod sink;
mod surface;
mod webhooks;
mod world;
