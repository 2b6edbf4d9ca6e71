//! A made-up fleet: what each vehicle does is drawn from one seed, when it does it is now.

use std::fmt::Write as _;

use highwater_env::{Entropy, SeededEntropy};

/// Where vehicles drive: name, centre latitude, centre longitude.
pub(crate) const REGIONS: [(&str, f64, f64); 5] = [
    ("north", 30.42, -97.72),
    ("east", 30.27, -97.66),
    ("south", 30.18, -97.79),
    ("west", 30.30, -97.86),
    ("centre", 30.27, -97.74),
];

/// Of 1,000 events: this many are sent 0.2 to 2 s after they happened (out of order) ...
const OUT_OF_ORDER_PER_1000: u64 = 80;
/// ... and this many 5 to 30 s after (late for most windows).
const LATE_PER_1000: u64 = 10;
/// Of 100,000 events, this many begin an overheating episode.
const FAULTS_PER_100_000: u64 = 40;
/// An episode lasts this many events of its vehicle.
const FAULT_EVENTS: u32 = 60;

/// One event, as sent and as counted.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// Index of the vehicle.
    pub(crate) vehicle: usize,
    /// 0, 1, 2, ... per vehicle.
    pub(crate) seq: u64,
    /// One line of JSON, without the newline.
    pub(crate) line: String,
}

/// All vehicles and the generator that moves them.
pub(crate) struct Fleet {
    vehicles: Vec<Vehicle>,
    entropy: SeededEntropy,
    next: usize,
}

struct Vehicle {
    id: String,
    region: usize,
    latitude: f64,
    longitude: f64,
    heading: f64,
    speed_kmh: f64,
    engine_temp_c: f64,
    fault_events_left: u32,
    seq: u64,
}

impl Fleet {
    /// `count` vehicles (at least one), spread over the regions.
    pub(crate) fn new(seed: u64, count: usize) -> Self {
        let entropy = SeededEntropy::new(seed);
        let vehicles = (0..count.max(1)).map(|index| Vehicle::new(index, &entropy)).collect();
        Self { vehicles, entropy, next: 0 }
    }

    /// The name events of vehicle `index` carry.
    pub(crate) fn vehicle_id(&self, index: usize) -> &str {
        &self.vehicles[index].id
    }

    /// Number of vehicles.
    pub(crate) fn len(&self) -> usize {
        self.vehicles.len()
    }

    /// The next `count` events, sent at `now_ms`. Vehicles take turns.
    pub(crate) fn drive(&mut self, now_ms: i64, count: usize) -> Vec<Event> {
        (0..count)
            .map(|_| {
                let index = self.next;
                self.next = (self.next + 1) % self.vehicles.len();
                let delay_ms = delay_ms(&self.entropy);
                self.vehicles[index].drive(index, now_ms - delay_ms, &self.entropy)
            })
            .collect()
    }
}

impl Vehicle {
    fn new(index: usize, entropy: &dyn Entropy) -> Self {
        let region = index % REGIONS.len();
        let (_, latitude, longitude) = REGIONS[region];
        Self {
            id: format!("V{index:04}"),
            region,
            latitude: latitude + spread(entropy, 0.03),
            longitude: longitude + spread(entropy, 0.03),
            heading: spread(entropy, std::f64::consts::PI),
            speed_kmh: 40.0 + spread(entropy, 20.0),
            engine_temp_c: 85.0 + spread(entropy, 5.0),
            fault_events_left: 0,
            seq: 0,
        }
    }

    fn drive(&mut self, index: usize, event_time_ms: i64, entropy: &dyn Entropy) -> Event {
        let (name, latitude, longitude) = REGIONS[self.region];
        let wanted_kmh = 45.0 - 5.0 * self.region as f64;
        self.speed_kmh =
            (self.speed_kmh + (wanted_kmh - self.speed_kmh) * 0.02 + spread(entropy, 3.0)).clamp(0.0, 120.0);
        self.heading += spread(entropy, 0.3);
        // A soft pull towards the region's centre keeps vehicles in it.
        self.latitude += self.heading.sin() * self.speed_kmh * 2e-7 + (latitude - self.latitude) * 1e-3;
        self.longitude += self.heading.cos() * self.speed_kmh * 2e-7 + (longitude - self.longitude) * 1e-3;
        if self.fault_events_left == 0 && entropy.below(100_000) < FAULTS_PER_100_000 {
            self.fault_events_left = FAULT_EVENTS;
        }
        let overheating = self.fault_events_left > 0;
        self.fault_events_left = self.fault_events_left.saturating_sub(1);
        let wanted_c = if overheating { 125.0 } else { 82.0 + self.speed_kmh * 0.12 };
        self.engine_temp_c += (wanted_c - self.engine_temp_c) * 0.08 + spread(entropy, 0.4);

        let seq = self.seq;
        self.seq += 1;
        let mut line = String::with_capacity(200);
        let fault = if overheating && self.engine_temp_c > 105.0 { "\"overheating\"" } else { "null" };
        // Writing to a String does not fail.
        let _ = write!(
            line,
            "{{\"vehicle_id\":\"{}\",\"seq\":{seq},\"event_time\":{event_time_ms},\"region\":\"{name}\",\
             \"latitude\":{:.6},\"longitude\":{:.6},\"speed_kmh\":{:.1},\"engine_temp_c\":{:.1},\"fault\":{fault}}}",
            self.id, self.latitude, self.longitude, self.speed_kmh, self.engine_temp_c,
        );
        Event { vehicle: index, seq, line }
    }
}

fn delay_ms(entropy: &dyn Entropy) -> i64 {
    let (at_least, within) = match entropy.below(1000) {
        n if n < LATE_PER_1000 => (5_000, 25_000),
        n if n < LATE_PER_1000 + OUT_OF_ORDER_PER_1000 => (200, 1_800),
        _ => (0, 100),
    };
    i64::try_from(at_least + entropy.below(within)).unwrap_or(0)
}

/// A number in `[-most, most)`.
fn spread(entropy: &dyn Entropy, most: f64) -> f64 {
    let unit = (entropy.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
    (unit * 2.0 - 1.0) * most
}

#[cfg(test)]
mod tests;
