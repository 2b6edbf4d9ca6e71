//! Which event has which number.

use super::text::Random;

/// Of so many events, an epoch ...
const EPOCH: u64 = 50;
/// ... the first is a person ...
const PERSONS: u64 = 1;
/// ... and the next ones are auctions.
const AUCTIONS: u64 = 3;

const FIRST_ID: u64 = 1000;
const FIRST_CATEGORY: u64 = 10;
const CATEGORIES: u64 = 5;

/// Bids go to one of so many newest auctions, bidders and sellers are among so many newest persons.
const AUCTIONS_OPEN: u64 = 100;
const PERSONS_ACTIVE: u64 = 1000;
/// Ids run ahead of the events that introduce them by up to so many.
const LEAD: u64 = 10;
/// Every so many ids one is hot.
const HOT_EVERY: u64 = 100;

/// Average sizes of an event, bytes, reached by `extra`.
const PERSON_BYTES: u64 = 200;
const AUCTION_BYTES: u64 = 500;
const BID_BYTES: u64 = 100;

/// 2026-01-01 00:00:00 UTC.
const FIRST_MS: i64 = 1_767_225_600_000;

/// All events.
#[derive(Clone, Copy, Debug)]
pub(super) struct Events {
    pub(super) seed: u64,
    /// Of event time.
    pub(super) per_second: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Person(Person),
    Auction(Auction),
    Bid(Bid),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Person {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) email_address: String,
    pub(super) credit_card: String,
    pub(super) city: &'static str,
    pub(super) state: &'static str,
    pub(super) time_ms: i64,
    pub(super) extra: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Auction {
    pub(super) id: i64,
    pub(super) item_name: String,
    pub(super) description: String,
    pub(super) initial_bid: i64,
    pub(super) reserve: i64,
    pub(super) time_ms: i64,
    pub(super) expires_ms: i64,
    pub(super) seller: i64,
    pub(super) category: i64,
    pub(super) extra: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bid {
    pub(super) auction: i64,
    pub(super) bidder: i64,
    pub(super) price: i64,
    pub(super) channel: String,
    pub(super) url: String,
    pub(super) time_ms: i64,
    pub(super) extra: String,
}

impl Event {
    pub(super) fn person(&self) -> Option<&Person> {
        if let Self::Person(person) = self { Some(person) } else { None }
    }

    pub(super) fn auction(&self) -> Option<&Auction> {
        if let Self::Auction(auction) = self { Some(auction) } else { None }
    }

    pub(super) fn bid(&self) -> Option<&Bid> {
        if let Self::Bid(bid) = self { Some(bid) } else { None }
    }
}

impl Events {
    /// Event number `n`, from 0.
    pub(super) fn event(self, n: u64) -> Event {
        let mut random = Random::new(self.seed, n);
        match n % EPOCH {
            place if place < PERSONS => Event::Person(self.person(n, &mut random)),
            place if place < PERSONS + AUCTIONS => Event::Auction(self.auction(n, &mut random)),
            _ => Event::Bid(self.bid(n, &mut random)),
        }
    }

    fn time_ms(self, n: u64) -> i64 {
        let ms = u128::from(n) * 1000 / u128::from(self.per_second);
        FIRST_MS.saturating_add(i64::try_from(ms).unwrap_or(i64::MAX))
    }

    fn person(self, n: u64, random: &mut Random) -> Person {
        let name = format!("{} {}", random.pick(&FIRST_NAMES), random.pick(&LAST_NAMES));
        let email_address = format!("{}@{}.com", random.word(7), random.word(5));
        let group = |random: &mut Random| format!("{:04}", random.below(10_000));
        let credit_card = [(); 4].map(|()| group(random)).join(" ");
        let (city, state) = (random.pick(&CITIES), random.pick(&STATES));
        let used = 8 + name.len() + email_address.len() + credit_card.len() + city.len() + state.len();
        Person {
            id: id(last_person(n)),
            extra: random.padding(used, PERSON_BYTES),
            name,
            email_address,
            credit_card,
            city,
            state,
            time_ms: self.time_ms(n),
        }
    }

    fn auction(self, n: u64, random: &mut Random) -> Auction {
        let item_name = random.word(20);
        let description = random.word(100);
        let initial_bid = random.price();
        let reserve = initial_bid + random.price();
        let hot = random.below(4) > 0;
        let seller = if hot { hot_person(n, 0) } else { any_person(n, random) };
        let used = 8 + item_name.len() + description.len() + 8 + 8 + 8 + 8 + 8;
        Auction {
            id: id(last_auction(n)),
            initial_bid,
            reserve,
            time_ms: self.time_ms(n),
            expires_ms: self.time_ms(n) + self.auction_length_ms(random),
            seller: id(seller),
            category: (FIRST_CATEGORY + random.below(CATEGORIES)).cast_signed(),
            extra: random.padding(used, AUCTION_BYTES),
            item_name,
            description,
        }
    }

    /// As long as it takes for up to twice the open auctions to come.
    fn auction_length_ms(self, random: &mut Random) -> i64 {
        let events = AUCTIONS_OPEN * EPOCH / AUCTIONS;
        let horizon_ms = (events * 1000 / self.per_second).max(1);
        i64::try_from(1 + random.below((horizon_ms * 2).max(1))).unwrap_or(i64::MAX)
    }

    fn bid(self, n: u64, random: &mut Random) -> Bid {
        let last = last_auction(n);
        let auction = if random.below(2) > 0 {
            last / HOT_EVERY * HOT_EVERY
        } else {
            let oldest = last.saturating_sub(AUCTIONS_OPEN);
            oldest + random.below(last - oldest + 1 + LEAD)
        };
        let bidder = if random.below(4) > 0 { hot_person(n, 1) } else { any_person(n, random) };
        let price = random.price();
        let (channel, url) = if random.below(2) > 0 {
            let name = random.pick(&CHANNELS);
            (name.to_owned(), random.url())
        } else {
            let number = random.below(10_000);
            let url = format!("{}&channel_id={}", random.url(), number.reverse_bits() >> 34);
            (format!("channel-{number}"), url)
        };
        let used = 8 + 8 + 8 + 8;
        Bid {
            auction: id(auction),
            bidder: id(bidder),
            price,
            channel,
            url,
            time_ms: self.time_ms(n),
            extra: random.padding(used, BID_BYTES),
        }
    }
}

fn id(number: u64) -> i64 {
    (FIRST_ID + number).cast_signed()
}

/// The number of the newest person at event `n`; an epoch has one.
fn last_person(n: u64) -> u64 {
    n / EPOCH * PERSONS
}

/// The number of the newest auction at event `n`.
fn last_auction(n: u64) -> u64 {
    let (epoch, place) = (n / EPOCH, n % EPOCH);
    if place < PERSONS {
        return (epoch * AUCTIONS).saturating_sub(1);
    }
    epoch * AUCTIONS + (place - PERSONS).min(AUCTIONS - 1)
}

fn hot_person(n: u64, offset: u64) -> u64 {
    last_person(n) / HOT_EVERY * HOT_EVERY + offset
}

fn any_person(n: u64, random: &mut Random) -> u64 {
    let persons = last_person(n) + 1;
    let active = persons.min(PERSONS_ACTIVE);
    persons - active + random.below(active + LEAD)
}

const FIRST_NAMES: [&str; 11] =
    ["Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter"];
const LAST_NAMES: [&str; 9] =
    ["Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"];
const CITIES: [&str; 10] = [
    "Phoenix",
    "Los Angeles",
    "San Francisco",
    "Boise",
    "Portland",
    "Bend",
    "Redmond",
    "Seattle",
    "Kent",
    "Cheyenne",
];
const STATES: [&str; 6] = ["AZ", "CA", "ID", "OR", "WA", "WY"];
const CHANNELS: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];
