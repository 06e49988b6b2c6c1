//! Triggers by the clock: due, missed, too late, before anybody knew; across restarts and reloads.

use std::time::Duration;

use postrider::clock::Clock;
use serde_json::{Value, json};

use crate::support::binary;
use crate::support::engine::{House, flow_in};
use crate::support::{folder, until};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn flow(trigger: &str) -> String {
    format!(
        "timezone: UTC\ntriggers:\n  - {trigger}\nrun: '[event.trigger, event.scheduled_at, event.late_by, event.missed]'\n"
    )
}

/// A flow whose runs show that the clock's present minute has been dealt with.
const CANARY: (&str, &str) = ("flows/canary.yaml", "timezone: UTC\ntriggers:\n  - every: 1m\nrun: 1\n");

/// Waits until everything that is due by now has its fate.
async fn all_is_done(house: &House) {
    let minute = house.clock.now().to_string()[11..16].to_owned();
    until(&format!("the canary at {minute}"), async || {
        house.fates_of("canary").await.last()?.starts_with(&minute).then_some(())
    })
    .await;
}

/// Waits until a flow has so many runs that have ended; gives their results.
async fn results(house: &House, flow: &str, count: usize) -> Vec<Value> {
    until(&format!("{count} runs of {flow}"), async || {
        let runs = house.runs_of(flow).await;
        assert!(runs.len() <= count, "{runs:?}");
        if runs.len() < count || runs.iter().any(|run| run["state"] != "succeeded") {
            return None;
        }
        let mut results = Vec::new();
        for run in runs {
            results.push(house.get(&format!("/runs/{}", run["id"].as_str().unwrap())).await["result"].clone());
        }
        Some(results)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_schedule_is_due_when_it_says() {
    let house = House::open(&[
        ("flows/cron.yaml", &flow("cron: \"30 8 * * *\"")),
        ("flows/zone.yaml", &flow("cron: { schedule: \"30 9 * * *\", timezone: Europe/Berlin }")),
        ("flows/every.yaml", &flow("every: 45m")),
        ("flows/at.yaml", &flow("at: 2026-11-20T08:30")),
        ("flows/off.yaml", &format!("enabled: false\n{}", flow("every: 1m"))),
    ])
    .await;
    let flows = house.get("/flows").await;
    let next = |name: &str| flow_in(&flows, name)["triggers"][0]["next_at"].clone();
    for (name, at) in [("cron", "08:30"), ("zone", "08:30"), ("every", "07:30"), ("at", "08:30")] {
        assert_eq!(next(name), format!("2026-11-20T{at}:00.000Z"), "{name}");
    }
    assert_eq!(next("off"), Value::Null);
    house.pass(MINUTE * 30);
    assert_eq!(results(&house, "every", 1).await, [json!(["every", "2026-11-20T07:30:00.000Z", "0s", 0])]);
    assert!(house.runs_of("cron").await.is_empty());
    house.pass(MINUTE * 60);
    for kind in ["cron", "at"] {
        assert_eq!(results(&house, kind, 1).await, [json!([kind, "2026-11-20T08:30:00.000Z", "0s", 0])]);
    }
    results(&house, "zone", 1).await;
    assert!(house.runs_of("off").await.is_empty());
    house.pass(MINUTE * 60 * 24);
    results(&house, "cron", 2).await;
    assert_eq!(house.fates_of("at").await, ["08:30:00 ran"], "once is once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minute_of_seconds_under_load_with_a_reload_each_second_misses_none_and_doubles_none() {
    let ticking = |text: &str| {
        format!("timezone: UTC\ntriggers:\n  - cron: \"* * * * * *\"\n  - webhook: /in\nrun: '\"{text}\"'\n")
    };
    let house = House::open(&[("flows/tick.yaml", &ticking("0")), ("flows/other.yaml", "run: 0\n")]).await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let load = async {
        while !*stopped.borrow() {
            assert_eq!(house.hook("/in", &json!({ "some": "load" })).await.0, 200);
        }
    };
    let minute = async {
        for second in 1..=60_usize {
            let before = house.get("/flows").await["hash"].clone();
            house.write("flows/tick.yaml", &ticking(&second.to_string()));
            if second % 2 == 0 {
                house.flows_are("the reload", |flows| flows["hash"] != before).await;
            }
            house.pass(SECOND);
            // The hand-set clock must not run away: what is late by ten seconds is missed.
            let near = async || (house.fates_of("tick").await.len() + 5 >= second).then_some(());
            until("the engine to keep up", near).await;
        }
        until("all fates", async || (house.fates_of("tick").await.len() == 60).then_some(())).await;
        stop.send_replace(true);
    };
    tokio::join!(load, minute);
    let fates = house.fates_of("tick").await;
    for (second, fate) in (1..=60).zip(&fates) {
        assert!(fate.starts_with(&format!("07:{:02}:{:02} ran", second / 60, second % 60)), "{fate}");
    }
    let answer = house.get("/occurrences?flow=tick").await;
    let runs: std::collections::BTreeSet<&str> =
        answer["occurrences"].as_array().unwrap().iter().map(|row| row["run"].as_str().unwrap()).collect();
    assert_eq!(runs.len(), 60, "each has a run of its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_due_while_the_engine_was_down_has_a_recorded_fate() {
    let house = House::open(&[
        ("flows/one.yaml", &flow("cron: \"0 8 * * *\"")),
        ("flows/often.yaml", &flow("every: 10m")),
        ("flows/late.yaml", &flow("cron: { schedule: \"0 8 * * *\", not_after: 10m }")),
        ("flows/skip.yaml", &flow("cron: { schedule: \"*/20 * * * *\", missed: skip }")),
        ("flows/all.yaml", &flow("cron: { schedule: \"*/20 * * * *\", missed: all }")),
        ("flows/at.yaml", &flow("at: 2026-11-20T08:05")),
    ])
    .await;
    let down = |house: House, span: Duration| async move {
        let (folder, clock) = house.stop().await;
        clock.advance(span);
        House::again(folder, clock).await
    };
    let house = down(house, MINUTE * 75).await;
    // One catch-up, inside `not_after`.
    assert_eq!(results(&house, "one", 1).await, [json!(["cron", "2026-11-20T08:00:00.000Z", "15m", 0])]);
    assert_eq!(house.fates_of("one").await, ["08:00:00 late by 15m"]);
    // The latest of several, which stands for the others inside `not_after`.
    assert_eq!(results(&house, "often", 1).await, [json!(["every", "2026-11-20T08:10:00.000Z", "5m", 5])]);
    assert_eq!(
        house.fates_of("often").await,
        ["07:10:00 too_late", "07:20:00-08:00:00 coalesced", "08:10:00 late by 5m"]
    );
    assert_eq!(house.fates_of("late").await, ["08:00:00 too_late"]);
    assert_eq!(house.fates_of("skip").await, ["07:20:00-08:00:00 down"]);
    assert_eq!(house.fates_of("all").await, ["07:20:00 late by 55m", "07:40:00 late by 35m", "08:00:00 late by 15m"]);
    assert_eq!(house.fates_of("at").await, ["08:05:00 late by 10m"]);
    assert!(house.runs_of("late").await.is_empty() && house.runs_of("skip").await.is_empty());
    // Down once more, with nothing due; nothing is done again.
    let house = down(house, MINUTE).await.crash().await;
    results(&house, "one", 1).await;
    results(&house, "all", 3).await;
    // From here on it goes on as usual.
    house.pass(MINUTE * 4);
    until("the next one", async || (house.fates_of("often").await.last()? == "08:20:00 ran").then_some(())).await;
    // Too late for everything.
    let house = down(house, MINUTE * 60 * 50).await;
    until("too late", async || (house.fates_of("one").await.last()? == "08:00:00-08:00:00 too_late").then_some(()))
        .await;
    let answer = house.get("/occurrences?flow=one&limit=1").await;
    assert_eq!(answer["occurrences"][0]["reason"], "later than `not_after` (1h)");
    assert_eq!(house.runs_of("at").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_past_before_anybody_knew_never_happens() {
    let house = House::open(&[
        ("flows/christmas.yaml", &flow("at: 2025-12-24T18:00")),
        ("flows/daily.yaml", &flow("cron: \"0 6 * * *\"")),
        CANARY,
    ])
    .await;
    assert_eq!(house.fates_of("christmas").await, ["18:00:00 before_known"]);
    // The same for one that comes by a reload.
    house.write("flows/new.yaml", &flow("at: 2026-11-20T06:59"));
    until("its fate", async || (house.fates_of("new").await == ["06:59:00 before_known"]).then_some(())).await;
    let house = house.crash().await;
    house.pass(MINUTE);
    all_is_done(&house).await;
    for name in ["christmas", "daily", "new"] {
        assert!(house.runs_of(name).await.is_empty(), "{name}");
    }
    assert!(house.fates_of("daily").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_schedule_forgets_the_old_one_and_other_edits_do_not() {
    let house = House::open(&[("flows/a.yaml", &flow("cron: \"0 8 * * *\"")), CANARY]).await;
    let change = async |text: &str| {
        let before = house.get("/flows").await["hash"].clone();
        house.write("flows/a.yaml", text);
        house.flows_are("the change", |flows| flows["hash"] != before).await;
    };
    // What is not the schedule leaves it alone; the new time counts from now on.
    change(&format!("description: x\n{}", flow("cron: { schedule: \"0  8 * * *\", not_after: 5m }"))).await;
    house.pass(MINUTE * 60);
    results(&house, "a", 1).await;
    change(&flow("cron: \"30 7 * * *\"")).await;
    house.pass(MINUTE);
    all_is_done(&house).await;
    change(&flow("cron: \"0 8 * * *\"")).await;
    house.pass(MINUTE);
    all_is_done(&house).await;
    results(&house, "a", 1).await;
    // Off and on again: what was due meanwhile was not wanted.
    change(&format!("enabled: false\n{}", flow("cron: \"0 9 * * *\""))).await;
    house.pass(MINUTE * 90);
    all_is_done(&house).await;
    change(&flow("cron: \"0 9 * * *\"")).await;
    house.pass(MINUTE);
    all_is_done(&house).await;
    results(&house, "a", 1).await;
    assert_eq!(house.fates_of("a").await, ["08:00:00 ran"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_back_neither_repeats_nor_silences() {
    let house = House::open(&[("flows/a.yaml", &flow("every: 10m"))]).await;
    house.pass(MINUTE * 10);
    results(&house, "a", 1).await;
    // What was done is on record and not done again; what comes then is not waited for in vain.
    house.clock.set_back(MINUTE * 15);
    for _ in 0..5 {
        house.pass(MINUTE * 5);
    }
    until("07:20", async || house.fates_of("a").await.last()?.starts_with("07:20").then_some(())).await;
    let fates = house.fates_of("a").await;
    assert_eq!(fates.iter().filter(|fate| fate.starts_with("07:1")).count(), 1, "{fates:?}");
    // Where the engine came to it late, some of them are one.
    let begun = fates.iter().filter(|fate| fate.contains(" ran") || fate.contains(" late")).count();
    assert_eq!(house.runs_of("a").await.len(), begun, "{fates:?}");

    // A clock that was a day ahead does not silence anything for a day.
    let (count, wrong) = (begun, house.clock.now());
    house.clock.set_back(MINUTE * 60 * 24);
    until("a run by the right time", async || {
        house.pass(MINUTE);
        (house.runs_of("a").await.len() > count).then_some(())
    })
    .await;
    assert!(house.clock.now() < wrong);
}

#[test]
fn next_shows_when_schedules_are_due_without_an_engine() {
    let folder = folder(&[
        ("flows/work.yaml", "timezone: Europe/Berlin\ntriggers:\n  - cron: \"0 9 * * MON-FRI\"\nrun: 1\n"),
        ("flows/once.yaml", "triggers:\n  - at: 2030-01-01T00:00Z\nrun: 1\n"),
        ("flows/off.yaml", "enabled: false\ntriggers:\n  - every: 1m\nrun: 1\n"),
        ("flows/hook.yaml", "triggers:\n  - webhook: /x\nrun: 1\n"),
    ]);
    let root = folder.path();
    let answer = binary::json(root, &["next", "--from", "2029-12-31T00:00", "--count", "3"]);
    let rows = answer["occurrences"].as_array().unwrap();
    let row = |row: &Value| format!("{} {}", row["flow"].as_str().unwrap(), row["at"].as_str().unwrap());
    assert_eq!(
        rows.iter().map(row).collect::<Vec<_>>(),
        ["work 2029-12-31T08:00:00.000Z", "once 2030-01-01T00:00:00.000Z", "work 2030-01-01T08:00:00.000Z"]
    );
    let said = binary::said(root, &["next", "work", "--from", "2026-03-27T12:00", "--count", "2"]);
    assert!(said.contains("Mon 2026-03-30 09:00:00  2026-03-30T07:00:00.000Z  work"), "{said}");
    assert!(binary::said(root, &["next", "off"]).contains("disabled"));
    assert!(binary::said(root, &["next", "work", "--from", "3000-01-01"]).contains("up to the end of 2200"));
    for (from, why) in [("xx", "`xx` is no time; write"), ("9999-12-31", "`9999-12-31` is out of range")] {
        let output = binary::run(root, &["next", "--from", from]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains(why) && said.lines().count() == 1, "{said}");
    }
    assert!(binary::said(root, &["next", "hook"]).contains("no trigger by the clock"));
    assert!(binary::said(root, &["next", "once", "--from", "2031-01-01"]).contains("nothing is due any more"));
    crate::support::write(root, "flows/bad.yaml", "triggers:\n  - cron: \"0 9 30 2 *\"\nrun: 1\n");
    let broken = binary::run(root, &["next", "--count", "1"]);
    assert_eq!(broken.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&broken.stderr).contains("can never be due"));
    assert!(String::from_utf8_lossy(&broken.stdout).contains("work"));
    let wrong = binary::run(root, &["next", "wrok"]);
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("did you mean `work`?"));
    assert_eq!(wrong.status.code(), Some(1));
}
