//! `highwater.toml`: what a node listens on and where it keeps its data. Flags win over the file.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use highwater_log::LogOptions;
use serde::Deserialize;

use crate::listeners::ListenerConfig;

/// The whole file; every key is optional.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) data_dir: Option<PathBuf>,
    /// error, warn, info, debug or trace; HIGHWATER_LOG wins over it. SIGHUP reads it again.
    pub(crate) log_level: Option<String>,
    /// Allows a bind address other than loopback without TLS and authentication.
    pub(crate) insecure: bool,
    pub(crate) http: HttpConfig,
    pub(crate) kafka: KafkaConfig,
    pub(crate) log: LogConfig,
    pub(crate) pipelines: PipelinesConfig,
}

/// `[http]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct HttpConfig {
    pub(crate) host: IpAddr,
    /// 0 picks a free one.
    pub(crate) port: u16,
    /// Names besides localhost under which browsers may reach the node.
    pub(crate) hosts: Vec<String>,
}

/// `[kafka]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct KafkaConfig {
    pub(crate) host: IpAddr,
    /// 0 picks a free one.
    pub(crate) port: u16,
    /// What clients are told to connect to; the listener's own address if absent.
    pub(crate) advertised_host: Option<String>,
    /// Further listeners, each with an address of its own to advertise.
    pub(crate) listeners: Vec<ListenerConfig>,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LogConfig {
    /// Make a topic on its first produce.
    pub(crate) auto_create_topics: bool,
    /// Partitions of such a topic.
    pub(crate) default_partitions: i32,
    /// Limit of the node's memory for records in flight, cached and being processed.
    pub(crate) memory_bytes_max: u64,
    /// The largest record batch of any topic, whatever its `max.message.bytes` says.
    pub(crate) batch_bytes_max: usize,
}

/// `[pipelines]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PipelinesConfig {
    /// Worker threads and shards of a pipeline; the number of cores if absent.
    pub(crate) parallelism: Option<usize>,
    /// From barrier to barrier.
    pub(crate) epoch_interval_ms: u64,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self { host: Ipv4Addr::LOCALHOST.into(), port: 8080, hosts: Vec::new() }
    }
}

impl Default for KafkaConfig {
    fn default() -> Self {
        Self { host: Ipv4Addr::LOCALHOST.into(), port: 9092, advertised_host: None, listeners: Vec::new() }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            auto_create_topics: true,
            default_partitions: 1,
            memory_bytes_max: 1 << 30,
            batch_bytes_max: LogOptions::default().batch_bytes_max,
        }
    }
}

impl Default for PipelinesConfig {
    fn default() -> Self {
        Self { parallelism: None, epoch_interval_ms: 1_000 }
    }
}

impl Config {
    /// Reads `path`, or takes the defaults.
    #[expect(clippy::disallowed_methods, reason = "the binary reads its configuration from the real disk")]
    pub(crate) fn load(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else { return Ok(Self::default()) };
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is not a valid configuration", path.display()))
    }

    /// Refuses to leave loopback unguarded.
    pub(crate) fn check_exposure(&self) -> Result<()> {
        let kafka = self.kafka.binds().map(|host| ("kafka", host));
        for (section, host) in [("http", self.http.host)].into_iter().chain(kafka) {
            if !host.is_loopback() && !self.insecure {
                bail!(
                    "[{section}] host {host} is not loopback, and this version has neither TLS nor \
                     authentication yet; bind 127.0.0.1, or set insecure = true if the network is trusted"
                );
            }
        }
        Ok(())
    }

    pub(crate) fn http_address(&self) -> SocketAddr {
        SocketAddr::new(self.http.host, self.http.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_shows_the_defaults() {
        let example = include_str!("../../../config/example.toml");
        assert_eq!(toml::from_str::<Config>(example).unwrap(), Config::default());
        // Keys without a default are there as comments, and are keys.
        let uncommented = example.replace("\n# ", "\n");
        let body = uncommented.split_once("\n\n").unwrap().1;
        toml::from_str::<Config>(body).unwrap();
    }

    #[test]
    fn unknown_keys_are_refused_by_name() {
        let error = toml::from_str::<Config>("[http]\nprot = 1").unwrap_err().to_string();
        assert!(error.contains("unknown field `prot`"), "{error}");
    }

    #[test]
    fn leaving_loopback_needs_a_word() {
        let open: Config = toml::from_str("[http]\nhost = '0.0.0.0'").unwrap();
        assert!(open.check_exposure().unwrap_err().to_string().contains("insecure = true"));
        assert!(
            toml::from_str::<Config>("insecure = true\n[http]\nhost = '0.0.0.0'")
                .unwrap()
                .check_exposure()
                .is_ok()
        );
        assert!(Config::default().check_exposure().is_ok());
        let further = "[kafka]\nlisteners = [{ name = 'out', bind = '192.0.2.1', port = 1 }]";
        let open: Config = toml::from_str(further).unwrap();
        assert!(open.check_exposure().unwrap_err().to_string().contains("192.0.2.1"));
    }
}
