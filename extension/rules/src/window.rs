//! Restart windows: the hours of the week in which a go-ahead may be given.
//!
//! A window is a day, a time of day and a length, so that it can run past midnight and over several days: the day named
//! is that of its start. (kured asks for the day of *now*, so a window from Thursday 23:59 to 00:01 loses its second half.)

mod text;

pub use text::WindowError;

/// Minutes in a day.
const DAY: u16 = 24 * 60;
/// Minutes in a week, the longest window.
const WEEK: u16 = 7 * DAY;

/// A day of the week; the number is that of ISO 8601 and of PostgreSQL's `isodow`, less one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Weekday {
    /// Monday, the first day.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday, the last day.
    Sun,
}

impl Weekday {
    /// Monday to Sunday.
    pub const ALL: [Self; 7] = [Self::Mon, Self::Tue, Self::Wed, Self::Thu, Self::Fri, Self::Sat, Self::Sun];

    /// The day of PostgreSQL's `extract(isodow from …)`: 1 is Monday, 7 is Sunday, anything else no day.
    #[must_use]
    pub fn from_isodow(number: i32) -> Option<Self> {
        usize::try_from(number).ok()?.checked_sub(1).and_then(|index| Self::ALL.get(index)).copied()
    }

    /// `mon` to `sun`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mon => "mon",
            Self::Tue => "tue",
            Self::Wed => "wed",
            Self::Thu => "thu",
            Self::Fri => "fri",
            Self::Sat => "sat",
            Self::Sun => "sun",
        }
    }
}

/// A set of weekdays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Days(u8);

impl Days {
    /// Every day.
    pub const DAILY: Self = Self(0b111_1111);

    /// Whether the day is in the set.
    #[must_use]
    pub const fn contains(self, day: Weekday) -> bool {
        self.0 & (1 << day as u8) != 0
    }

    fn insert(&mut self, day: Weekday) {
        self.0 |= 1 << day as u8;
    }
}

impl FromIterator<Weekday> for Days {
    fn from_iter<I: IntoIterator<Item = Weekday>>(days: I) -> Self {
        let mut set = Self::default();
        days.into_iter().for_each(|day| set.insert(day));
        set
    }
}

/// A moment of the week on the clocks of some place, given by PostgreSQL as a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LocalTime {
    /// The day there.
    pub weekday: Weekday,
    /// Whole minutes since midnight, 0 to 1439.
    pub minute_of_day: u16,
}

impl LocalTime {
    fn minute_of_week(self) -> u16 {
        self.weekday as u16 * DAY + self.minute_of_day % DAY
    }
}

/// One restart window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The days on which it opens.
    pub days: Days,
    /// When it opens: minutes since local midnight, 0 to 1439.
    pub start: u16,
    /// How long it stays open: 1 to 10,080 minutes (a week).
    pub length: u16,
    /// The place whose clocks count, as PostgreSQL names it.
    pub time_zone: String,
}

impl Window {
    /// Whether the window is open at a moment on the clocks of its time zone: it opens with the minute `start` and is
    /// closed again `length` minutes later.
    #[must_use]
    pub fn is_open(&self, local: LocalTime) -> bool {
        self.openings().any(|opening| minutes_between(opening, local.minute_of_week()) < self.length)
    }

    /// In how many minutes the window opens: 0 while it is open, else 1 to 10,079. Clock changes are not foreseen.
    #[must_use]
    pub fn next_open(&self, local: LocalTime) -> u16 {
        if self.is_open(local) {
            return 0;
        }
        let now = local.minute_of_week();
        self.openings().map(|opening| minutes_between(now, opening)).min().unwrap_or(WEEK)
    }

    /// The minutes of the week at which it opens.
    fn openings(&self) -> impl Iterator<Item = u16> {
        Weekday::ALL.into_iter().filter(|day| self.days.contains(*day)).map(|day| day as u16 * DAY + self.start)
    }
}

/// The minutes from one minute of the week to the next occurrence of another, 0 to 10,079.
fn minutes_between(from: u16, to: u16) -> u16 {
    (to + WEEK - from) % WEEK
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn window(days: &[Weekday], start: u16, length: u16) -> Window {
        Window { days: days.iter().copied().collect(), start, length, time_zone: "UTC".into() }
    }

    fn at(weekday: Weekday, hour: u16, minute: u16) -> LocalTime {
        LocalTime { weekday, minute_of_day: hour * 60 + minute }
    }

    #[test]
    fn opens_with_its_first_minute_and_closes_after_its_last() {
        let window = window(&[Weekday::Tue], 22 * 60, 60);
        assert!(!window.is_open(at(Weekday::Tue, 21, 59)));
        assert!(window.is_open(at(Weekday::Tue, 22, 0)));
        assert!(window.is_open(at(Weekday::Tue, 22, 59)));
        assert!(!window.is_open(at(Weekday::Tue, 23, 0)));
        assert!(!window.is_open(at(Weekday::Wed, 22, 0)));
    }

    #[test]
    fn the_day_is_that_of_the_start() {
        let window = window(&[Weekday::Thu], 23 * 60 + 59, 2);
        assert!(window.is_open(at(Weekday::Thu, 23, 59)));
        assert!(window.is_open(at(Weekday::Fri, 0, 0)));
        assert!(!window.is_open(at(Weekday::Fri, 0, 1)));
        assert!(!window.is_open(at(Weekday::Thu, 0, 0)));
    }

    #[test]
    fn sunday_night_runs_into_monday() {
        let window = window(&[Weekday::Sun], 22 * 60, 7 * 60);
        assert!(window.is_open(at(Weekday::Sun, 23, 0)));
        assert!(window.is_open(at(Weekday::Mon, 4, 59)));
        assert!(!window.is_open(at(Weekday::Mon, 5, 0)));
        assert_eq!(window.next_open(at(Weekday::Mon, 5, 0)), WEEK - 7 * 60);
    }

    #[test]
    fn runs_over_several_days_up_to_a_week() {
        let weekend = window(&[Weekday::Fri], 18 * 60, 60 * 60);
        assert!(weekend.is_open(at(Weekday::Sat, 12, 0)));
        assert!(weekend.is_open(at(Weekday::Mon, 5, 59)));
        assert!(!weekend.is_open(at(Weekday::Mon, 6, 0)));
        let always = window(&[Weekday::Wed], 1, WEEK);
        let nearly = window(&[Weekday::Wed], 1, WEEK - 1);
        assert!(always.is_open(at(Weekday::Wed, 0, 0)));
        assert!(!nearly.is_open(at(Weekday::Wed, 0, 0)));
    }

    #[test]
    fn says_when_it_opens() {
        let window = window(&[Weekday::Mon, Weekday::Thu], 90, 30);
        assert_eq!(window.next_open(at(Weekday::Mon, 1, 29)), 1);
        assert_eq!(window.next_open(at(Weekday::Mon, 1, 30)), 0);
        assert_eq!(window.next_open(at(Weekday::Mon, 2, 0)), 3 * DAY - 30);
        assert_eq!(window.next_open(at(Weekday::Sun, 23, 0)), 150);
    }

    #[test]
    fn knows_postgresqls_days() {
        assert_eq!(Weekday::from_isodow(1), Some(Weekday::Mon));
        assert_eq!(Weekday::from_isodow(7), Some(Weekday::Sun));
        for number in [i32::MIN, -1, 0, 8] {
            assert_eq!(Weekday::from_isodow(number), None);
        }
    }

    fn later(local: LocalTime, minutes: u32) -> LocalTime {
        let minute = (u32::from(local.minute_of_week()) + minutes) % u32::from(WEEK);
        LocalTime {
            weekday: Weekday::ALL[(minute / u32::from(DAY)) as usize],
            minute_of_day: (minute % u32::from(DAY)) as u16,
        }
    }

    proptest! {
        /// The definition, walked minute by minute: open iff it opened at one of the last `length` minutes.
        #[test]
        fn agrees_with_walking_back(
            days in proptest::sample::subsequence(&Weekday::ALL[..], 1..=7),
            start in 0..DAY,
            length in prop_oneof![1u16..180, 1..=WEEK],
            day in 0usize..7,
            minute_of_day in 0..DAY,
        ) {
            let window = window(&days, start, length);
            let now = LocalTime { weekday: Weekday::ALL[day], minute_of_day };
            let opens = |at: LocalTime| days.contains(&at.weekday) && at.minute_of_day == start;
            let week = u32::from(WEEK);
            let expected = (0..u32::from(length)).any(|back| opens(later(now, week - back)));
            prop_assert_eq!(window.is_open(now), expected);
            let wait = u32::from(window.next_open(now));
            prop_assert!(window.is_open(later(now, wait)));
            prop_assert!((0..wait).all(|minutes| !window.is_open(later(now, minutes))));
        }
    }
}
