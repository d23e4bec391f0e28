//! The end of what was pushed: nothing fails any more, so every message must come to its end and every letter must be gone.

use std::time::Duration;

use crate::life::Life;
use crate::publisher::{list, retry};
use crate::push_model::conserves;
use crate::{keeper, push_scan};

/// Lets everything come to its end, and looks whether it has.
pub(crate) async fn all(life: &Life) {
    keeper::release(life).await;
    settled(life).await;
    keeper::wind_up(life).await;
    settled(life).await;
    for _ in 0..3 {
        let Some(live) = list(life).await else {
            life.world
                .check(Err("the dead letters cannot be listed".to_owned()));
            return;
        };
        let held = life.world.push.lock().check_live(&live);
        life.world.check(held);
        if live.is_empty() {
            break;
        }
        for letter in live {
            retry(life, &letter).await;
        }
        settled(life).await;
    }
    push_scan::all(life).await;
    let counts = life.broker.delivery_counts();
    life.world.note(&format!("at the end {counts:?}"));
    life.world.check(conserves(&counts));
    let held = life.world.push.lock().check_ends();
    life.world.check(held);
    match list(life).await {
        Some(live) if live.is_empty() => {}
        live => life
            .world
            .check(Err(format!("dead letters stay: {live:?}"))),
    }
}

async fn settled(life: &Life) {
    // What was delivered may still owe a callback, which is a message of its own a moment later.
    let mut quiet = 0;
    while quiet < 3 {
        let counts = life.broker.delivery_counts();
        quiet = if counts.pending == 0 && counts.in_flight == 0 {
            quiet + 1
        } else {
            0
        };
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
