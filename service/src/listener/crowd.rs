//! Who has to go when more come than there is room for: the oldest connection of the address that has most.
//!
//! Whoever holds connections open without asking anything then holds up only themselves. What waits in a queue instead
//! can be kept out for ever by a few hundred that are silent.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// The connections of a listener; clones share them.
#[derive(Debug, Clone)]
pub struct Crowd(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limit: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    number: u64,
    inside: usize,
    /// Oldest first
    by_origin: HashMap<IpAddr, VecDeque<(u64, oneshot::Sender<()>)>>,
}

/// The place of one connection, given back when this is dropped.
#[derive(Debug)]
pub struct Place {
    crowd: Crowd,
    origin: IpAddr,
    number: u64,
    leave: oneshot::Receiver<()>,
}

impl Crowd {
    /// Room for `limit` connections, at least one.
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Shared { limit: limit.max(1), inner: Mutex::default() }))
    }

    /// Lets a connection in, and sends another away where there is no room.
    pub fn enter(&self, address: IpAddr) -> Place {
        let origin = origin(address);
        let mut inner = self.lock();
        if inner.inside >= self.0.limit {
            inner.send_one_away();
        }
        let (away, leave) = oneshot::channel();
        inner.number += 1;
        let number = inner.number;
        inner.inside += 1;
        inner.by_origin.entry(origin).or_default().push_back((number, away));
        Place { crowd: self.clone(), origin, number, leave }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn send_one_away(&mut self) {
        let oldest = |places: &VecDeque<(u64, _)>| places.front().map_or(0, |(number, _)| u64::MAX - number);
        let most = self.by_origin.iter().max_by_key(|(_, places)| (places.len(), oldest(places)));
        let Some(origin) = most.map(|(origin, _)| *origin) else { return };
        if let Some((_, away)) = self.by_origin.get_mut(&origin).and_then(VecDeque::pop_front) {
            self.inside -= 1;
            // One that has just ended needs no telling.
            let _ = away.send(());
        }
        self.forget(origin);
    }

    fn forget(&mut self, origin: IpAddr) {
        if self.by_origin.get(&origin).is_some_and(VecDeque::is_empty) {
            self.by_origin.remove(&origin);
        }
    }
}

impl Place {
    /// Waits until the connection has to go.
    pub async fn lost(&mut self) {
        if (&mut self.leave).await.is_err() {
            std::future::pending().await
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inner = self.crowd.lock();
        let Some(places) = inner.by_origin.get_mut(&self.origin) else { return };
        let before = places.len();
        places.retain(|(number, _)| *number != self.number);
        let left = before - places.len();
        inner.inside -= left;
        inner.forget(self.origin);
    }
}

/// Who has the whole of an IPv6 network has all its addresses.
fn origin(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn is_lost(place: &mut Place) -> bool {
        place.lost().now_or_never().is_some()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn who_holds_most_makes_room() {
        let crowd = Crowd::new(4);
        let mut peer = crowd.enter(ip("10.0.0.2"));
        let mut greedy: Vec<Place> = (0..3).map(|_| crowd.enter(ip("10.0.0.66"))).collect();
        let mut other = crowd.enter(ip("10.0.0.3"));
        assert_eq!(greedy.iter_mut().map(is_lost).collect::<Vec<_>>(), [true, false, false]);
        for _ in 0..100 {
            greedy.push(crowd.enter(ip("10.0.0.66")));
        }
        assert!(!is_lost(&mut peer) && !is_lost(&mut other));
        assert_eq!(greedy.iter_mut().skip(1).filter_map(|place| (!is_lost(place)).then_some(())).count(), 2);
    }

    #[test]
    fn among_equals_the_oldest_goes() {
        let crowd = Crowd::new(2);
        let mut places: Vec<Place> =
            ["10.0.0.1", "10.0.0.2", "10.0.0.3"].into_iter().map(|text| crowd.enter(ip(text))).collect();
        assert_eq!(places.iter_mut().map(is_lost).collect::<Vec<_>>(), [true, false, false]);
    }

    #[test]
    fn a_place_is_given_back_once() {
        let crowd = Crowd::new(2);
        for _ in 0..10 {
            let one = crowd.enter(ip("10.0.0.1"));
            let two = crowd.enter(ip("::ffff:10.0.0.1"));
            let three = crowd.enter(ip("10.0.0.1"));
            assert_eq!(crowd.lock().inside, 2);
            drop((one, two, three));
            assert_eq!(crowd.lock().inside, 0);
            assert!(crowd.lock().by_origin.is_empty());
        }
        assert_eq!(origin(ip("2001:db8::1")), origin(ip("2001:db8::ffff:1")));
        assert_ne!(origin(ip("2001:db8::1")), origin(ip("2001:db8:0:1::1")));
    }
}
