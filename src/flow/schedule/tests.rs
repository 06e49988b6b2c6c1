//! Schedules against calendars that are known, above all where the clock is changed.

use super::*;

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

/// The next `count` instants from a local time on, as the local clock with its offset.
fn due(schedule: &Schedule, from: &str, count: usize) -> Vec<String> {
    let from = format!("{from}[{}]", schedule.zone().iana_name().unwrap()).parse::<jiff::Zoned>().unwrap();
    let mut after = from.timestamp();
    let mut found = Vec::new();
    for _ in 0..count {
        let Some(next) = schedule.next(after) else { break };
        assert!(next > after);
        after = next;
        found.push(next.to_zoned(schedule.zone().clone()).strftime("%m-%d %H:%M:%S%:::z").to_string());
    }
    found
}

fn cron(line: &str, name: &str) -> Schedule {
    Schedule::cron(line, zone(name)).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn weekdays_names_ranges_and_steps_are_those_of_posix() {
    for (line, wanted) in [
        ("0 9 * * MON-FRI", ["11-23 09:00:00+01", "11-24 09:00:00+01"]),
        ("0 9 * * 1-5", ["11-23 09:00:00+01", "11-24 09:00:00+01"]),
        ("0 9 * * 0", ["11-22 09:00:00+01", "11-29 09:00:00+01"]),
        ("0 9 * * 7", ["11-22 09:00:00+01", "11-29 09:00:00+01"]),
        ("0 9 * * sun", ["11-22 09:00:00+01", "11-29 09:00:00+01"]),
        ("0 9 * * FRI-SUN", ["11-21 09:00:00+01", "11-22 09:00:00+01"]),
        ("0 9 L * *", ["11-30 09:00:00+01", "12-31 09:00:00+01"]),
        ("0 9 * * FRI#2", ["12-11 09:00:00+01", "01-08 09:00:00+01"]),
        ("0 9 * * FRIL", ["11-27 09:00:00+01", "12-25 09:00:00+01"]),
        ("0 9 * * 7L", ["11-29 09:00:00+01", "12-27 09:00:00+01"]),
        ("0 9 LW * *", ["11-30 09:00:00+01", "12-31 09:00:00+01"]),
        ("0 9 * * FRI-SUN,TUE", ["11-21 09:00:00+01", "11-22 09:00:00+01"]),
        ("0 9 * * SAT-0", ["11-21 09:00:00+01", "11-22 09:00:00+01"]),
        ("10-30/10 9 * * *", ["11-21 09:10:00+01", "11-21 09:20:00+01"]),
        ("0 9 15W * *", ["12-15 09:00:00+01", "01-15 09:00:00+01"]),
        // Day and weekday both given: either will do, unless one begins with a star (crontab(5)).
        ("0 9 13 * FRI", ["11-27 09:00:00+01", "12-04 09:00:00+01"]),
        ("0 9 */2 * MON", ["11-23 09:00:00+01", "12-07 09:00:00+01"]),
        ("0 9 13 * */5", ["12-13 09:00:00+01", "06-13 09:00:00+02"]),
        ("*/20 8-9 * * *", ["11-21 08:00:00+01", "11-21 08:20:00+01"]),
        ("0,30 12 * JAN *", ["01-01 12:00:00+01", "01-01 12:30:00+01"]),
        ("15 30 9 * * *", ["11-21 09:30:15+01", "11-22 09:30:15+01"]),
        ("@daily", ["11-21 00:00:00+01", "11-22 00:00:00+01"]),
        ("@hourly", ["11-20 11:00:00+01", "11-20 12:00:00+01"]),
        ("@weekly", ["11-22 00:00:00+01", "11-29 00:00:00+01"]),
    ] {
        assert_eq!(due(&cron(line, "Europe/Berlin"), "2026-11-20T10:00:00", 2), wanted, "{line}");
    }
}

#[test]
fn a_fixed_time_is_due_once_on_each_day_whatever_the_clock_does() {
    let line = |line: &str| cron(line, "Europe/Berlin");
    // The clock goes from 02:00 to 03:00 on the 29th of March.
    assert_eq!(
        due(&line("30 2 * * *"), "2026-03-28T00:00:00", 3),
        ["03-28 02:30:00+01", "03-29 03:00:00+02", "03-30 02:30:00+02"]
    );
    // A list inside the gap becomes one, and the time that the gap ends with is not due twice.
    assert_eq!(
        due(&line("0,30 2,3 * * *"), "2026-03-29T00:00:00", 3),
        ["03-29 03:00:00+02", "03-29 03:30:00+02", "03-30 02:00:00+02"]
    );
    assert_eq!(
        due(&line("0 1-4 * * *"), "2026-03-29T00:00:00", 3),
        ["03-29 01:00:00+01", "03-29 03:00:00+02", "03-29 04:00:00+02"]
    );
    // It goes from 03:00 back to 02:00 on the 25th of October.
    assert_eq!(due(&line("30 2 * * *"), "2026-10-24T12:00:00", 2), ["10-25 02:30:00+02", "10-26 02:30:00+01"]);
    assert_eq!(
        due(&line("0,30 2 * * *"), "2026-10-25T00:00:00", 3),
        ["10-25 02:00:00+02", "10-25 02:30:00+02", "10-26 02:00:00+01"]
    );
    // Asked from within the hour that comes again.
    assert_eq!(due(&line("30 2 * * *"), "2026-10-25T02:10:00+01:00", 1), ["10-26 02:30:00+01"]);
}

#[test]
fn stars_run_through_gap_and_overlap_by_real_time() {
    let line = |line: &str| cron(line, "Europe/Berlin");
    assert_eq!(
        due(&line("*/30 * * * *"), "2026-03-29T01:00:00", 3),
        ["03-29 01:30:00+01", "03-29 03:00:00+02", "03-29 03:30:00+02"]
    );
    assert_eq!(
        due(&line("*/30 * * * *"), "2026-10-25T01:30:00", 5),
        ["10-25 02:00:00+02", "10-25 02:30:00+02", "10-25 02:00:00+01", "10-25 02:30:00+01", "10-25 03:00:00+01"]
    );
    assert_eq!(due(&line("* * * * *"), "2026-10-25T00:00:00", 26 * 60).len(), 26 * 60);
    // A star in one of the two is enough (cron(8) of Debian: jobs that begin with `*` follow the real time).
    assert_eq!(
        due(&line("0 * * * *"), "2026-10-25T01:30:00", 3),
        ["10-25 02:00:00+02", "10-25 02:00:00+01", "10-25 03:00:00+01"]
    );
    assert_eq!(
        due(&line("*/30 2 * * *"), "2026-10-25T00:00:00", 5),
        ["10-25 02:00:00+02", "10-25 02:30:00+02", "10-25 02:00:00+01", "10-25 02:30:00+01", "10-26 02:00:00+01"]
    );
    assert_eq!(due(&line("*/30 2 * * *"), "2026-03-29T00:00:00", 1), ["03-30 02:00:00+02"]);
    assert_eq!(
        due(&line("0 * * * *"), "2026-03-29T00:30:00", 3),
        ["03-29 01:00:00+01", "03-29 03:00:00+02", "03-29 04:00:00+02"]
    );
    // Lord Howe Island moves by half an hour.
    assert_eq!(
        due(&cron("*/15 * * * *", "Australia/Lord_Howe"), "2026-10-04T01:30:00", 3),
        ["10-04 01:45:00+10:30", "10-04 02:30:00+11", "10-04 02:45:00+11"]
    );
}

#[test]
fn a_day_on_which_the_clock_changes_has_a_note() {
    for (line, name, day, note) in [
        (
            "@daily",
            "Asia/Beirut",
            "2027-03-28",
            "from 00:00 to 01:00, over the time of this line: it is due right behind",
        ),
        ("@daily", "Africa/Cairo", "2027-04-30", "from 00:00 to 01:00, over"),
        ("@daily", "America/Havana", "2027-03-14", "from 00:00 to 01:00, over"),
        ("@daily", "America/Santiago", "2027-09-05", "from 00:00 to 01:00, over"),
        ("0 9 * * *", "Asia/Beirut", "2027-03-28", "from 00:00 to 01:00"),
        ("@daily", "Asia/Beirut", "2027-03-27", ""),
        ("0 23 * * *", "Asia/Beirut", "2027-03-27", ""),
        ("30 0 * * *", "Asia/Beirut", "2027-03-29", ""),
        ("30 2 * * *", "Europe/Berlin", "2027-03-28", "from 02:00 to 03:00, over"),
        ("@daily", "Europe/Berlin", "2027-10-31", "from 03:00 back to 02:00"),
        ("@daily", "Europe/Berlin", "2027-10-30", ""),
    ] {
        let schedule = cron(line, name);
        let begin = day.parse::<Date>().unwrap().to_zoned(zone(name)).unwrap().timestamp();
        let found = schedule.note(schedule.next(just_before(begin)).unwrap()).unwrap_or_default();
        assert_eq!(found.is_empty(), note.is_empty(), "{line} {name} {day}: {found}");
        assert!(found.contains(note), "{line} {name} {day}: {found}");
    }
}

#[test]
fn intervals_are_counted_from_local_midnight() {
    let every = |text: &str| Schedule::every(text, zone("Europe/Berlin")).unwrap();
    for (text, from, wanted) in [
        ("15m", "2026-11-20T10:07:00", ["11-20 10:15:00+01", "11-20 10:30:00+01"]),
        ("7h", "2026-11-20T20:30:00", ["11-20 21:00:00+01", "11-21 00:00:00+01"]),
        ("10s", "2026-11-20T10:00:00.5", ["11-20 10:00:10+01", "11-20 10:00:20+01"]),
        ("1d", "2026-11-20T00:00:00", ["11-21 00:00:00+01", "11-22 00:00:00+01"]),
        // Six hours stay six o'clock on the days on which the clock is changed.
        ("6h", "2026-03-29T00:00:00", ["03-29 06:00:00+02", "03-29 12:00:00+02"]),
        ("40m", "2026-03-29T01:00:00+01:00", ["03-29 01:20:00+01", "03-29 03:00:00+02"]),
        ("7m", "2026-10-25T02:50:00+02:00", ["10-25 02:55:00+02", "10-25 02:02:00+01"]),
        ("30m", "2026-10-25T02:30:00+02:00", ["10-25 02:00:00+01", "10-25 02:30:00+01"]),
    ] {
        assert_eq!(due(&every(text), from, 2), wanted, "{text}");
    }
    assert_eq!(due(&every("1w"), "2026-11-20T10:00:00", 1), ["11-23 00:00:00+01"], "a Monday");
    let (one, other) = (due(&every("2d"), "2026-11-20T10:00:00", 3), due(&every("2d"), "2026-11-21T10:00:00", 3));
    assert!(one[1] == other[0] || one[0] == other[0], "every second day is the same for everybody: {one:?} {other:?}");
    for (text, part) in [
        ("10000000d", "longer than a hundred years"),
        ("0s", "from `1s` on"),
        ("1500ms", "whole number"),
        ("36h", "whole days"),
        ("x", "no duration"),
    ] {
        assert!(Schedule::every(text, TimeZone::UTC).unwrap_err().contains(part), "{text}");
    }
}

#[test]
fn an_instant_is_due_once() {
    let at = |text: &str| Schedule::at(text, zone("Europe/Berlin")).unwrap();
    assert_eq!(due(&at("2026-12-24T18:00"), "2026-11-20T10:00:00", 2), ["12-24 18:00:00+01"]);
    assert_eq!(due(&at("2026-12-24T18:00Z"), "2026-11-20T10:00:00", 2), ["12-24 19:00:00+01"]);
    assert_eq!(due(&at("2026-03-29 02:30"), "2026-01-01T00:00:00", 2), ["03-29 03:00:00+02"]);
    assert_eq!(due(&at("2026-12-24T18:00"), "2026-12-24T18:00:00", 1), Vec::<String>::new());
    assert_eq!(due(&at("2026-12-24T18:00[America/New_York]"), "2026-11-20T10:00:00", 2), ["12-25 00:00:00+01"]);
    assert!(Schedule::at("Christmas", TimeZone::UTC).unwrap_err().contains("2026-12-01T09:00"));
}

#[test]
fn the_rarest_days_are_due() {
    for (line, first) in [
        ("0 0 29 2 *", "2000-02-29"),
        // Five Mondays, in a February that begins with one.
        ("0 0 * 2 MON#5", "2016-02-29"),
        ("0 0 * 2 SUN#5", "2004-02-29"),
    ] {
        let schedule = Schedule::cron(line, TimeZone::UTC).unwrap();
        let next = schedule.next("1999-12-31T00:00:00Z".parse().unwrap()).unwrap();
        assert_eq!(next.to_string(), format!("{first}T00:00:00Z"), "{line}");
    }
}

#[test]
fn lines_that_can_never_be_due_or_are_no_lines_are_refused_with_the_place() {
    for (line, part) in [
        ("0 0 30 2 *", "never"),
        ("0 0 31 4,6,9,11 *", "never"),
        ("0 9 * *", "4 fields"),
        ("", "0 fields"),
        ("0 0 9 * * * 2026", "there is `at`"),
        ("0 9 ? * MON", "write `*`"),
        ("0 9 L-3 * *", "`L` is the last one"),
        ("H/15 * * * *", "write a minute yourself"),
        ("0~59 9 * * *", "write a minute yourself"),
        ("@every 5m", "`- every: 5m`"),
        ("CRON_TZ=Asia/Tokyo 0 9 * * *", "write `timezone: Asia/Tokyo`"),
        ("0 9 * * 1-Friday", "`Friday` is no weekday"),
        ("0 9 * September *", "write `SEP`"),
        ("*,13 9 * * *", "nothing stands beside it"),
        ("60 9 * * *", "`60` is no minute"),
        ("0 25 * * *", "`25` is no hour"),
        ("0 9 * * MONDAY", "write `MON`"),
        ("0 9 * * 8", "`8` is no weekday"),
        ("0 9 32 * *", "`32` is no day"),
        ("0 9 * FOO *", "`FOO` is no month"),
        ("61 0 9 * * *", "`61` is no second"),
        ("@dayly", "@daily"),
        ("@reboot", "nothing is due when the engine starts"),
        ("@sometimes", "there is no `@sometimes`; there are @yearly"),
        ("*/90 * * * *", "a step of 90 is wider than the minute itself"),
        ("0 22-2 * * *", "`22-2` goes backwards; write two with a comma between them: `22-23,0-2`"),
        ("0 9 * * SAT-MON", "`SAT-SAT,SUN-MON`"),
        ("0/15 * * * *", "a step follows `*`"),
        ("*/0 * * * *", "from 1"),
        // What a general parser forgives, and means something else by.
        ("0 9 * * MON, FRI", "an empty item"),
        ("0 9, 17 * * *", "an empty item"),
        ("0 9,,10 * * *", "an empty item"),
        ("0 9 * MON *", "`MON` is no month"),
        ("0 9 * * JAN", "`JAN` is no weekday"),
        ("MON 9 * * *", "`MON` is no minute"),
        ("0 9 MON * *", "`MON` is no day"),
        ("0 9 * * L", "the last Friday of a month is `FRIL`"),
        ("0 9 * * FRI#6", "behind `#` stands 1 to 5"),
        ("0 9 1-5W * *", "`1-5` is no day"),
        ("0 9 ? * *", "write `*`"),
        ("0 9 1-7 * +MON", "`+MON` is no weekday"),
        ("+5 9 * * *", "`+5` is no minute"),
    ] {
        let error = Schedule::cron(line, TimeZone::UTC).unwrap_err();
        assert!(error.contains(part), "{line}: {error}");
    }
    // Rare, but it comes: a leap day that is a Monday is due by either of the two.
    assert!(Schedule::cron("0 0 29 2 *", TimeZone::UTC).is_ok());
}
