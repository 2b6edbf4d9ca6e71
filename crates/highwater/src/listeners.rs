//! The addresses at which Kafka clients reach the node.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use highwater_broker::Listener;
use serde::Deserialize;
use tokio::net::TcpListener;

use crate::config::KafkaConfig;

/// One of `[kafka] listeners`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListenerConfig {
    pub(crate) name: String,
    pub(crate) bind: IpAddr,
    /// 0 picks a free one.
    pub(crate) port: u16,
    /// What its clients are told to connect to, `host:port`; where it is bound if absent.
    pub(crate) advertised: Option<String>,
}

/// Where `[kafka] host` and `port` listen.
const FIRST: &str = "PLAINTEXT";

impl KafkaConfig {
    /// All addresses to bind.
    pub(crate) fn binds(&self) -> impl Iterator<Item = IpAddr> {
        [self.host].into_iter().chain(self.listeners.iter().map(|listener| listener.bind))
    }

    /// Refuses listeners that clients could not tell apart or reach.
    pub(crate) fn check_listeners(&self) -> Result<()> {
        let mut names = vec![FIRST];
        for listener in &self.listeners {
            let name = listener.name.as_str();
            if name.is_empty() || names.contains(&name) {
                bail!("[kafka] listener {name:?}: each needs a name of its own, and {FIRST} is [kafka] port");
            }
            names.push(name);
            if let Some(advertised) = &listener.advertised {
                host_and_port(advertised).with_context(|| format!("[kafka] listener {name:?}"))?;
            } else if listener.bind.is_unspecified() {
                bail!("[kafka] listener {name:?} binds {}: say advertised = \"host:port\"", listener.bind);
            }
        }
        if self.host.is_unspecified() && self.advertised_host.is_none() {
            bail!("[kafka] host is {}: say advertised_host, the name clients reach this node by", self.host);
        }
        Ok(())
    }
}

/// A listener, bound.
pub(crate) struct Bound {
    pub(crate) socket: TcpListener,
    pub(crate) address: SocketAddr,
    pub(crate) listener: Arc<Listener>,
}

/// Binds `[kafka] host` and `port`, then each further listener.
pub(crate) async fn bind(config: &KafkaConfig) -> Result<Vec<Bound>> {
    let hint = |address| {
        format!("cannot listen for kafka on {address}; choose another with --kafka-port (0 picks a free one)")
    };
    let at = SocketAddr::new(config.host, config.port);
    let socket = TcpListener::bind(at).await.with_context(|| hint(at))?;
    let address = socket.local_addr()?;
    let host = config.advertised_host.clone().unwrap_or_else(|| address.ip().to_string());
    let first = Listener { name: FIRST.to_owned(), host, port: address.port() };
    let mut bound = vec![Bound { socket, address, listener: Arc::new(first) }];
    for further in &config.listeners {
        bound.push(bind_further(further).await?);
    }
    Ok(bound)
}

async fn bind_further(config: &ListenerConfig) -> Result<Bound> {
    let at = SocketAddr::new(config.bind, config.port);
    let name = config.name.clone();
    let socket =
        TcpListener::bind(at).await.with_context(|| format!("cannot listen for kafka {name:?} on {at}"))?;
    let address = socket.local_addr()?;
    let (host, port) = match &config.advertised {
        Some(advertised) => host_and_port(advertised)?,
        None => (address.ip().to_string(), address.port()),
    };
    // Port 0 stands for the one that was picked.
    let port = if port == 0 { address.port() } else { port };
    Ok(Bound { socket, address, listener: Arc::new(Listener { name, host, port }) })
}

fn host_and_port(text: &str) -> Result<(String, u16)> {
    let split = text.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    let parsed = split.and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let (host, port) = parsed.with_context(|| format!("advertised is {text:?}, expected \"host:port\""))?;
    Ok((host.trim_matches(['[', ']']).to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kafka(text: &str) -> KafkaConfig {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn each_listener_advertises_its_own_address() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let config = kafka(
            "port = 0\nlisteners = [
                { name = 'inside', bind = '127.0.0.1', port = 0 },
                { name = 'outside', bind = '127.0.0.1', port = 0, advertised = 'kafka.example.org:9094' },
                { name = 'six', bind = '127.0.0.1', port = 0, advertised = '[::1]:0' },
            ]",
        );
        config.check_listeners().unwrap();
        let bound = runtime.block_on(bind(&config)).unwrap();
        let said: Vec<_> =
            bound.iter().map(|b| (&*b.listener.name, &*b.listener.host, b.listener.port)).collect();
        let port = |index: usize| bound[index].address.port();
        let expected = [
            ("PLAINTEXT", "127.0.0.1", port(0)),
            ("inside", "127.0.0.1", port(1)),
            ("outside", "kafka.example.org", 9094),
            ("six", "::1", port(3)),
        ];
        assert_eq!(said, expected);
    }

    #[test]
    fn listeners_that_nobody_could_reach_are_refused() {
        let refused = |text: &str| kafka(text).check_listeners().unwrap_err();
        let one = |fields: &str| format!("listeners = [{{ {fields} }}]");
        assert!(format!("{:#}", refused("host = '0.0.0.0'")).contains("advertised_host"));
        let wide = one("name = 'a', bind = '0.0.0.0', port = 1");
        assert!(format!("{:#}", refused(&wide)).contains("advertised ="));
        let bad = one("name = 'a', bind = '127.0.0.1', port = 1, advertised = 'nowhere'");
        assert!(format!("{:#}", refused(&bad)).contains("expected \"host:port\""));
        let taken = one("name = 'PLAINTEXT', bind = '127.0.0.1', port = 1");
        assert!(format!("{:#}", refused(&taken)).contains("name of its own"));
    }
}
