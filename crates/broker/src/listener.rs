//! One of the addresses at which a broker is reached.

/// What clients of one listener are told: each listener advertises itself, so that a client that came
/// in by one network is not sent to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name, for people.
    pub name: String,
    /// The host its clients are told to connect to.
    pub host: String,
    /// The port its clients are told to connect to.
    pub port: u16,
}

impl Default for Listener {
    fn default() -> Self {
        Self { name: "PLAINTEXT".to_owned(), host: "127.0.0.1".to_owned(), port: 9092 }
    }
}
