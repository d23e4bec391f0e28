//! How many files the process may have open, and how many of them connections may take.
//!
//! A log needs a file for each segment that it begins. If connections took the last ones, whoever opens many would stop producers:
//! so all kinds of connections together get at most two thirds of the files, and limits that come to more are lowered in proportion
//! and told.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::ServeConfig;

/// Takes as many open files as the system lets the process have: what shells and service managers begin with is less than
/// the connections that the limits allow. Returns how many; `None` for no limit.
pub(crate) fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    if current == maximum {
        return maximum;
    }
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::warn!(%error, ?current, ?maximum, "the limit of open files stays as it is");
            current
        }
    }
}

/// Lowers the limits on connections to what so many open files leave for them.
pub(crate) fn keep_within(config: &mut ServeConfig, files: Option<u64>) {
    let Some(files) = files else { return };
    let room = u128::from(files) * 2 / 3;
    let limits = [
        (
            "limits.connections_max",
            &mut config.protocol.connections_max,
        ),
        (
            "limits.http_connections_max",
            &mut config.http.connections_max,
        ),
        ("delivery.in_flight_max", &mut config.delivery.in_flight_max),
    ];
    let wanted: u128 = limits.iter().map(|(_, limit)| **limit as u128).sum();
    if wanted <= room {
        return;
    }
    for (key, limit) in limits {
        let configured = *limit;
        let share = configured as u128 * room / wanted;
        *limit = usize::try_from(share).unwrap_or(configured).max(1);
        tracing::warn!(
            key,
            configured,
            lowered_to = *limit,
            open_files = files,
            "a limit on connections is lowered: the logs need open files too (see ulimit -n)"
        );
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;
    use crate::config::Settings;

    fn limits(files: Option<u64>) -> [usize; 3] {
        let settings = Settings::resolve(None, [], &[]).unwrap();
        let mut config = ServeConfig::from_settings(&settings).unwrap();
        keep_within(&mut config, files);
        [
            config.protocol.connections_max,
            config.http.connections_max,
            config.delivery.in_flight_max,
        ]
    }

    #[test]
    fn connections_get_at_most_two_thirds_of_the_open_files() {
        let configured = [4_096, 1_024, 1_024];
        assert_eq!(limits(None), configured);
        assert_eq!(limits(Some(9_216)), configured);
        assert_eq!(limits(Some(9_215)), [4_095, 1_023, 1_023]);
        assert_eq!(limits(Some(1_024)), [454, 113, 113]);
        assert_eq!(limits(Some(1)), [1, 1, 1]);
    }
}
