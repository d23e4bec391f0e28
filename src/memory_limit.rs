//! How much memory the process may have, and how much of it requests, answers and attempts may take.
//!
//! A broker that takes more than it may is killed by the system, and everybody waits for its recovery. So what is configured
//! above a share of the limit is lowered and told: a client is then made to wait, and nothing dies.
//!
//! The limits are those of the memory cgroup of the process and of all above it, of either version, and its own limits on data
//! and address space.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit};

use crate::config::ServeConfig;
use crate::limits::FRAME_OVERHEAD_BYTES;

/// Where the cgroups of version 1 that count memory stand, and the name of their limit.
const VERSION_1: (&str, &str) = ("/sys/fs/cgroup/memory", "memory.limit_in_bytes");
/// The same of version 2.
const VERSION_2: (&str, &str) = ("/sys/fs/cgroup", "memory.max");

/// Share of requests that are in memory. A connection's buffer is held as long again between two requests, and a message is
/// copied once on its way to the log.
const IN_FLIGHT_SHARE: u64 = 16;
/// Share of answers to fetches.
const FETCHED_SHARE: u64 = 16;
/// Share of the batches appended last.
const RECENT_SHARE: u64 = 32;
/// Share of attempts under way.
const ATTEMPTS_SHARE: u64 = 16;
/// What one attempt counts for.
const ATTEMPT_BYTES: u64 = 64 << 10;
/// Share of connections over the binary protocol.
const CONNECTIONS_SHARE: u64 = 8;
/// What one of them takes before anything has come: what is read ahead, the beginning of a frame, and small answers.
const CONNECTION_BYTES: u64 = 96 << 10;
/// Share of connections over HTTP.
const HTTP_CONNECTIONS_SHARE: u64 = 16;
/// What one of them takes: most of a head.
const HTTP_CONNECTION_BYTES: u64 = 32 << 10;

/// Returns the smallest limit on the process's memory that can be found, in bytes; `None` for none.
pub(crate) fn found() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let of_groups = limit_files(&groups).into_iter().filter_map(|path| {
        let text = fs::read_to_string(path).ok()?;
        text.trim().parse().ok()
    });
    let of_process = [Resource::Data, Resource::As].map(|resource| getrlimit(resource).current);
    of_groups.chain(of_process.into_iter().flatten()).min()
}

/// The files that may hold a limit, from what the system says of the process's cgroups. In a container its own group stands at
/// the top whatever it is called.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let (base, name) = match controllers {
            "" => VERSION_2,
            _ if controllers.split(',').any(|one| one == "memory") => VERSION_1,
            _ => continue,
        };
        let path = Path::new(path.trim_start_matches('/'));
        files.extend(
            path.ancestors()
                .map(|dir| Path::new(base).join(dir).join(name)),
        );
    }
    files
}

/// Lowers what requests, answers and attempts may take to their shares of so many bytes.
pub(crate) fn keep_within(config: &mut ServeConfig, memory_bytes: Option<u64>) {
    let Some(memory_bytes) = memory_bytes else {
        return;
    };
    let lower = |key: &str, limit: &mut u64, max: u64| {
        if *limit > max {
            tracing::warn!(
                key,
                configured = *limit,
                lowered_to = max,
                memory_bytes,
                "a limit on what is in memory is lowered: the process may have no more"
            );
            *limit = max;
        }
    };
    let share = |of: u64| memory_bytes.div_euclid(of).max(1 << 20);
    let protocol = &mut config.protocol;
    let in_flight = share(IN_FLIGHT_SHARE);
    lower(
        "limits.in_flight_bytes_max",
        &mut protocol.in_flight_bytes_max,
        in_flight,
    );
    // One request may be larger than what all may hold, but a batch must fit.
    let frame = in_flight.max(
        config
            .topic
            .batch_bytes_max
            .saturating_add(FRAME_OVERHEAD_BYTES)
            .into(),
    );
    let mut frame_bytes_max = u64::from(protocol.frame_bytes_max);
    lower("limits.frame_bytes_max", &mut frame_bytes_max, frame);
    protocol.frame_bytes_max = u32::try_from(frame_bytes_max).unwrap_or(protocol.frame_bytes_max);
    let counts = [
        (
            "limits.connections_max",
            &mut protocol.connections_max,
            CONNECTIONS_SHARE,
            CONNECTION_BYTES,
        ),
        (
            "limits.http_connections_max",
            &mut config.http.connections_max,
            HTTP_CONNECTIONS_SHARE,
            HTTP_CONNECTION_BYTES,
        ),
        (
            "delivery.in_flight_max",
            &mut config.delivery.in_flight_max,
            ATTEMPTS_SHARE,
            ATTEMPT_BYTES,
        ),
    ];
    for (key, limit, of, bytes_each) in counts {
        let mut count = u64::try_from(*limit).unwrap_or(u64::MAX);
        lower(key, &mut count, share(of).div_euclid(bytes_each));
        *limit = usize::try_from(count).unwrap_or(*limit);
    }
    // Nobody has configured these.
    let fetches = &mut config.fetches;
    fetches.answer_bytes_max = fetches.answer_bytes_max.min(share(FETCHED_SHARE));
    let recent = usize::try_from(share(RECENT_SHARE)).unwrap_or(usize::MAX);
    fetches.recent_bytes_max = fetches.recent_bytes_max.min(recent);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;
    use crate::config::Settings;

    fn limits(memory_bytes: Option<u64>) -> [u64; 7] {
        let settings = Settings::resolve(None, [], &[]).unwrap();
        let mut config = ServeConfig::from_settings(&settings).unwrap();
        keep_within(&mut config, memory_bytes);
        [
            config.protocol.in_flight_bytes_max,
            config.protocol.frame_bytes_max.into(),
            config.protocol.connections_max as u64,
            config.http.connections_max as u64,
            config.delivery.in_flight_max as u64,
            config.fetches.answer_bytes_max,
            config.fetches.recent_bytes_max as u64,
        ]
    }

    #[test]
    fn what_is_in_memory_is_lowered_to_its_share() {
        let configured = [
            256 << 20,
            64 << 20,
            4_096,
            1_024,
            1_024,
            512 << 20,
            64 << 20,
        ];
        assert_eq!(limits(None), configured);
        assert_eq!(limits(Some(i64::MAX as u64)), configured);
        assert_eq!(limits(Some(8 << 30)), configured);
        let batch = (8 << 20) + (64 << 10);
        assert_eq!(
            limits(Some(96 << 20)),
            [6 << 20, batch, 128, 192, 96, 6 << 20, 3 << 20]
        );
        assert_eq!(
            limits(Some(1)),
            [1 << 20, batch, 10, 32, 16, 1 << 20, 1 << 20]
        );
    }

    #[test]
    fn limits_are_looked_for_in_every_cgroup_above() {
        let found = limit_files("5:cpu:/a\n4:memory,hugetlb:/a/b\n0::/c\nnonsense\n");
        let expected = [
            "/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/c/memory.max",
            "/sys/fs/cgroup/memory.max",
        ];
        assert_eq!(found, expected.map(PathBuf::from));
    }
}
