//! How many files the process may have open, and how many of them connections may take.
//!
//! A log needs a file for each segment that it begins. If connections took the last ones, whoever opens many would stop producers:
//! so connections get at most half of the files, and what is configured above that is lowered and told.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::ServeConfig;

/// Of so many open files one may be a connection over the binary protocol.
const FILES_PER_CONNECTION: u64 = 4;
/// Of so many one may be a connection over HTTP.
const FILES_PER_HTTP_CONNECTION: u64 = 8;
/// Of so many one may be a connection to a destination.
const FILES_PER_ATTEMPT: u64 = 8;

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
    let limits = [
        (
            "limits.connections_max",
            &mut config.protocol.connections_max,
            FILES_PER_CONNECTION,
        ),
        (
            "limits.http_connections_max",
            &mut config.http.connections_max,
            FILES_PER_HTTP_CONNECTION,
        ),
        (
            "delivery.in_flight_max",
            &mut config.delivery.in_flight_max,
            FILES_PER_ATTEMPT,
        ),
    ];
    for (key, limit, files_each) in limits {
        let max = usize::try_from(files / files_each)
            .unwrap_or(usize::MAX)
            .max(1);
        if *limit > max {
            tracing::warn!(
                key,
                configured = *limit,
                lowered_to = max,
                open_files = files,
                "a limit on connections is lowered: the logs need open files too (see ulimit -n)"
            );
            *limit = max;
        }
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
    fn connections_get_at_most_half_of_the_open_files() {
        let configured = [4_096, 1_024, 1_024];
        assert_eq!(limits(None), configured);
        assert_eq!(limits(Some(16_384)), configured);
        assert_eq!(limits(Some(16_383)), [4_095, 1_024, 1_024]);
        assert_eq!(limits(Some(1_024)), [256, 128, 128]);
        assert_eq!(limits(Some(1)), [1, 1, 1]);
    }
}
