//! The command line: parses, dispatches to one file for each group of commands, and turns results into exit codes:
//! 0 done, 1 failed, 2 wrong usage. A closed pipe on stdout is success: the reader had enough.

mod error;
mod parse;
mod output;
mod args;
mod remote;
mod http;
mod view;
mod serve;
mod topic;
mod produce;
mod consume;
mod reject;
mod dlq;
mod group;
mod retention;
mod bench;
mod data;
mod repair;
mod config;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

pub use args::{Cli, Command, Connection};
pub use error::CliError;
pub use output::{Output, Progress};
pub use remote::ignores_hangup;
pub use serve::{StartUp, startup_json, startup_text};

/// Parses `arguments` (the first is the program's name), runs the command, and returns the exit code.
pub fn run<I, A>(arguments: I) -> ExitCode
where
    I: IntoIterator<Item = A>,
    A: Into<OsString> + Clone,
{
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to stdout with code 0, wrong usage to stderr with code 2. If neither can be written
            // there is nobody left to tell.
            let _written = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let mut output = Output::standard(cli.json);
    let result = dispatch(cli, &mut output).and_then(|()| output.finish());
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_closed_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            output::report(&error);
            error.exit_code()
        }
    }
}

fn dispatch(cli: Cli, output: &mut Output) -> Result<(), CliError> {
    let variable = |name: &str| {
        let value = std::env::var_os(name)?;
        Some(value.to_string_lossy().into_owned())
    };
    let connection = cli.connection.over(variable);
    if cli.command.has_peer() {
        connection.check_addr()?;
    }
    match cli.command {
        Command::Serve(command) => serve::run(&command, output),
        Command::Topic(command) => topic::run(&command, &connection, output),
        Command::Produce(command) => produce::run(&command, &connection, output),
        Command::Consume(command) => consume::run(&command, &connection, output),
        Command::Reject(command) => reject::run(&command, &connection, output),
        Command::Dlq(command) => dlq::run(&command, &connection, output),
        Command::Group(command) => group::run(&command, &connection, output),
        Command::Retention(command) => retention::run(&command, &connection, output),
        Command::Bench(command) => bench::run(&command, &connection, output),
        Command::Verify(command) => data::verify(&command, output),
        Command::Repair(command) => repair::repair(&command, output),
        Command::Config(command) => config::run(&command, output),
        Command::Completions { shell } => args::completions(shell, output),
    }
}

#[cfg(test)]
mod tests;
