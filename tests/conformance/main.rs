//! schemathesis against the real program: what is answered is what is described, by the broker's own `/openapi.json` and by the published
//! description of the QStash API. No 5xx, no undescribed status, and content types, headers and bodies as their schemas say.
//!
//! schemathesis is installed below the target directory with python3's own tools. `published.json` has the published description's operations,
//! parameters and schemas, without its prose; `exceptions.json` says, with reasons, where the broker answers otherwise. A run is seeded and bounded;
//! `REDRIVE_CONFORMANCE_EXAMPLES` and `REDRIVE_CONFORMANCE_SEED` make it longer or another one, `REDRIVE_CONFORMANCE_DESCRIPTION` reads the published
//! description from a JSON file instead.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests may panic"
)]

mod broker;
mod description;
mod exceptions;
mod install;
mod rounds;
mod sink;
mod values;
mod world;

use description::Description;
use world::World;

#[test]
fn answers_are_as_the_own_description_says() {
    let mut world = World::start();
    let own = Description::parse(&world.broker.get("/openapi.json"));
    rounds::run("own", &mut world, &own);
}

#[test]
fn answers_are_as_the_published_description_says() {
    let mut world = World::start();
    let published = Description::published().with_exceptions(&exceptions::read());
    rounds::run("published", &mut world, &published);
}
