//! Files that change while the engine runs.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::engine::{House, flow_in};
use crate::support::until;

fn said(text: &str) -> String {
    format!("triggers:\n  - webhook: {{ path: /in, respond: result }}\nrun: |\n  \"{text}\"\n")
}

async fn says(house: &House, path: &str, text: &str) {
    until(&format!("{path} to say {text}"), async || {
        let (status, answer) = house.hook(path, &json!({})).await;
        (status == 200 && answer == text).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_changed_broken_and_removed_files_are_taken_over() {
    let flow = "triggers:\n  - webhook: { path: /a, respond: result }\nscript: a.rhai\n";
    let script = "import \"lib/words\" as words;\n`one ${words::word()}`";
    let house = House::open(&[
        ("flows/a.yaml", flow),
        ("scripts/a.rhai", script),
        ("scripts/lib/words.rhai", "fn word() { \"red\" }"),
    ])
    .await;
    let a = async |text: &str| says(&house, "/a", text).await;
    a("one red").await;
    let first = house.get("/flows").await["hash"].clone();
    // A new flow, a changed script, a changed module.
    house.write("flows/in.yaml", &said("hello"));
    says(&house, "/in", "hello").await;
    house.write("scripts/a.rhai", &script.replace("one", "two"));
    a("two red").await;
    house.write("scripts/lib/words.rhai", "fn word() { \"green\" }");
    a("two green").await;
    assert_ne!(house.get("/flows").await["hash"], first);

    // A broken module, a broken script, a broken flow: each stays as it was, and says so.
    let broken = async |file: &str, text: &str| {
        house.write(file, text);
        let flows = house.flows_are("a to be stale", |flows| flow_in(flows, "a")["stale"] == true).await;
        let diagnostics = &flow_in(&flows, "a")["diagnostics"];
        assert_eq!(diagnostics[0]["file"], file, "{diagnostics}");
        assert!(flows["diagnostics"].as_array().unwrap().contains(&diagnostics[0]));
        assert_eq!(flow_in(&flows, "in")["stale"], false);
        a("two green").await;
    };
    broken("scripts/lib/words.rhai", "fn word( {").await;
    house.write("scripts/lib/words.rhai", "fn word() { \"blue\" }");
    a("two blue").await;
    house.write("scripts/lib/words.rhai", "fn word() { \"green\" }");
    a("two green").await;
    broken("scripts/a.rhai", "send_txt(1)").await;
    house.write("scripts/a.rhai", &script.replace("one", "two"));
    house.flows_are("a to be well", |flows| flow_in(flows, "a")["stale"] == false).await;
    broken("flows/a.yaml", "triggers: [").await;
    // Half a file is a broken file; whole again, it is live.
    house.write("flows/a.yaml", "");
    a("two green").await;
    house.write("flows/a.yaml", &flow.replace("/a", "/b"));
    says(&house, "/b", "two green").await;
    assert_eq!(house.hook("/a", &json!({})).await.0, 404);

    // A removed file is let go only after it stayed away.
    house.remove("flows/in.yaml");
    let gone = |flows: &Value| flows["diagnostics"].to_string().contains("the file is gone");
    house.flows_are("the file to be missed", gone).await;
    says(&house, "/in", "hello").await;
    house.pass(Duration::from_secs(2));
    until("the flow to be let go", async || (house.hook("/in", &json!({})).await.0 == 404).then_some(())).await;
    house.flows_are("no word of it", |flows| flows["diagnostics"].as_array().unwrap().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_comes_back_or_has_another_name_was_never_away() {
    let house = House::open(&[("flows/in.yaml", &said("one")), ("flows/named.yaml", "name: it\nrun: 1\n")]).await;
    let gone = |flows: &Value| flows["diagnostics"].to_string().contains("the file is gone");
    house.remove("flows/in.yaml");
    house.flows_are("the file to be missed", gone).await;
    house.write("flows/in.yaml", &said("one"));
    house.flows_are("the file to be back", |flows| !gone(flows)).await;
    house.pass(Duration::from_secs(3));
    says(&house, "/in", "one").await;

    // Under another file name, with its webhook: nothing is in its way.
    house.rename("flows/in.yaml", "flows/other.yaml");
    let flows = house.flows_are("the new name", |flows| !flow_in(flows, "other").is_null()).await;
    assert!(flow_in(&flows, "in").is_null() && !gone(&flows), "{flows}");
    says(&house, "/in", "one").await;
    house.rename("flows/named.yaml", "flows/sub.yaml");
    house.pass(Duration::from_secs(3));
    house.write("flows/third.yaml", "run: 1\n");
    let flows = house.flows_are("the third", |flows| !flow_in(flows, "third").is_null()).await;
    assert_eq!(flow_in(&flows, "it")["stale"], false, "{flows}");

    // Without a name of its own it is another flow, at once: never both of them.
    house.write("flows/plain.yaml", "triggers:\n  - every: 1h\nrun: 1\n");
    house.flows_are("plain", |flows| !flow_in(flows, "plain").is_null()).await;
    house.rename("flows/plain.yaml", "flows/simple.yaml");
    let flows = house.flows_are("simple", |flows| !flow_in(flows, "simple").is_null()).await;
    assert!(flow_in(&flows, "plain").is_null(), "{flows}");

    // Saved by writing beside it and renaming over it, as many editors do.
    house.write("flows/.other.yaml.swp", &said("two"));
    house.rename("flows/.other.yaml.swp", "flows/other.yaml");
    says(&house, "/in", "two").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_keeps_its_last_good_version_across_a_restart() {
    let house = House::open(&[
        ("flows/in.yaml", &said("good")),
        ("flows/other.yaml", "triggers:\n  - webhook: { path: /other, respond: result }\nscript: o.rhai\n"),
        ("scripts/o.rhai", "\"other\""),
    ])
    .await;
    house.write("flows/in.yaml", "triggers: [");
    house.flows_are("in to be stale", |flows| flow_in(flows, "in")["stale"] == true).await;
    let house = house.crash().await;
    says(&house, "/in", "good").await;
    // Broken while the engine is down, by a script, and twice in a row.
    house.write("scripts/o.rhai", "oh no(");
    let house = house.crash().await.crash().await;
    says(&house, "/in", "good").await;
    says(&house, "/other", "other").await;
    let flows = house.get("/flows").await;
    assert_eq!((&flow_in(&flows, "in")["stale"], &flow_in(&flows, "other")["stale"]), (&json!(true), &json!(true)));
    // A flow that goes while the engine is down is gone.
    house.remove("flows/in.yaml");
    house.write("scripts/o.rhai", "\"better\"");
    let house = house.crash().await;
    assert_eq!(house.hook("/in", &json!({})).await.0, 404);
    says(&house, "/other", "better").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_live_is_not_pushed_out_by_what_is_new() {
    let hook = |text: &str| said(text);
    let house = House::open(&[("flows/middle.yaml", &hook("middle"))]).await;
    // Earlier in the alphabet, same webhook; same name; both are refused, and the old one stays.
    house.write("flows/a.yaml", &hook("a"));
    let refused = |part: &'static str| move |flows: &Value| flows["diagnostics"].to_string().contains(part);
    house.flows_are("the collision", refused("flows/middle.yaml has the webhook POST /in already")).await;
    says(&house, "/in", "middle").await;
    house.write("flows/a.yaml", "name: middle\nrun: 1\n");
    house.flows_are("the name", refused("flows/middle.yaml has the name `middle` already")).await;
    says(&house, "/in", "middle").await;
    // One that is live and changes into a collision keeps its last good version.
    house.write("flows/a.yaml", "triggers:\n  - webhook: { path: /a, respond: result }\nrun: '\"a\"'\n");
    says(&house, "/a", "a").await;
    house.write("flows/a.yaml", &hook("a"));
    let flows = house.flows_are("a to be stale", |flows| flow_in(flows, "a")["stale"] == true).await;
    assert!(flow_in(&flows, "a")["diagnostics"][0]["message"].as_str().unwrap().contains("/in already"));
    says(&house, "/a", "a").await;
    let house = house.crash().await;
    says(&house, "/a", "a").await;
    says(&house, "/in", "middle").await;
    // When the other one goes, there is room.
    house.write("flows/middle.yaml", "run: 1\n");
    says(&house, "/in", "a").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_calls_itself_by_anothers_place_does_not_keep_it_out() {
    let squatter = format!("name: crm/alerts\n{}", said("squatter").replace("/in", "/squatter"));
    let house = House::open(&[("flows/a.yaml", &squatter), ("flows/crm/alerts.yaml", &said("rightful"))]).await;
    says(&house, "/in", "rightful").await;
    assert_eq!(house.hook("/squatter", &json!({})).await.0, 404);
    let findings = house.get("/flows").await["diagnostics"].to_string();
    assert!(findings.contains("flows/crm/alerts.yaml has the name `crm/alerts` already"), "{findings}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_sleeps_goes_on_as_it_began_whatever_becomes_of_its_flow() {
    let flow = |text: &str, more: &str| {
        format!(
            "name: sleeper\ndescription: {text}\n{more}triggers:\n  - webhook: /sleep\nscript: s.rhai\nparams: {{ word: {text} }}\n"
        )
    };
    let script = |text: &str| {
        format!(
            "import \"m\" as m;\nsleep(\"1h\");\nsend_text(\"+15417543010\", `{text} ${{params.word}} ${{m::w()}}`);"
        )
    };
    let house = House::open(&[
        ("flows/s.yaml", &flow("old", "retry: { attempts: 2 }\n")),
        ("scripts/s.rhai", &script("old")),
        ("scripts/m.rhai", "fn w() { \"old\" }"),
    ])
    .await;
    let mut runs = Vec::new();
    for round in 0..4 {
        let (_, answer) = house.hook("/sleep", &json!({})).await;
        let id = answer["run"].as_str().unwrap().to_owned();
        house.run_is(&id, "waiting").await;
        runs.push(id);
        let before = house.get("/flows").await["hash"].clone();
        match round {
            0 => {
                house.write("scripts/m.rhai", "fn w() { \"new\" }");
                house.write("scripts/s.rhai", &script("new"));
                house.write("flows/s.yaml", &flow("new", ""));
            }
            1 => house.rename("flows/s.yaml", "flows/renamed.yaml"),
            2 => house.write("flows/renamed.yaml", &flow("new", "enabled: false\n")),
            _ => house.remove("flows/renamed.yaml"),
        }
        if round == 3 {
            house
                .flows_are("the file to be missed", |flows| flows["diagnostics"].to_string().contains("is gone"))
                .await;
            house.pass(Duration::from_secs(2));
        }
        // The flow's file is written last: with it the set is whole.
        house
            .flows_are("the change", |flows| {
                let flow = flow_in(flows, "sleeper");
                flows["hash"] != before && (flow.is_null() || flow["description"] == "new")
            })
            .await;
        if round == 2 {
            assert_eq!(house.hook("/sleep", &json!({})).await.0, 404, "disabled");
            house.write("flows/renamed.yaml", &flow("new", ""));
            house.flows_are("enabled", |flows| flow_in(flows, "sleeper")["enabled"] == true).await;
        }
    }
    assert!(house.get("/flows").await["flows"].as_array().unwrap().is_empty());
    let house = house.crash().await;
    house.pass(Duration::from_secs(3600));
    for id in &runs {
        house.run_is(id, "succeeded").await;
    }
    let messages = house.messages_are(4, "delivered").await;
    let mut texts: Vec<&str> = messages.iter().map(|message| message["body"]["text"].as_str().unwrap()).collect();
    texts.sort_unstable();
    assert_eq!(texts, ["new new new", "new new new", "new new new", "old old old"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn links_that_are_swapped_as_a_mounted_configuration_is() {
    let house = House::open(&[("flows/..one/in.yaml", &said("one")), ("flows/..two/in.yaml", &said("two"))]).await;
    let flows = house.folder.path().join("flows");
    symlink("..one", flows.join("..data")).unwrap();
    symlink("..data/in.yaml", flows.join("in.yaml")).unwrap();
    says(&house, "/in", "one").await;
    symlink("..two", flows.join("..data_tmp")).unwrap();
    std::fs::rename(flows.join("..data_tmp"), flows.join("..data")).unwrap();
    says(&house, "/in", "two").await;
    std::fs::remove_dir_all(flows.join("..one")).unwrap();
    says(&house, "/in", "two").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_that_come_go_and_come_back_are_still_listened_to() {
    let house = House::open(&[("postrider.yaml", "timezone: UTC\n")]).await;
    // No flows/ at first. The hand-set clock stands still, so nothing but a hint leads here.
    house.write("flows/in.yaml", &said("one"));
    says(&house, "/in", "one").await;
    house.write("flows/deep/er/in.yaml", "run: 1\n");
    house.flows_are("the deep one", |flows| !flow_in(flows, "deep/er/in").is_null()).await;
    for (round, text) in ["two", "three"].into_iter().enumerate() {
        house.rename("flows", "away");
        house.flows_are("the folder to be missed", |flows| flows["diagnostics"].to_string().contains("is away")).await;
        house.rename("away", "flows");
        house.flows_are("the files to be back", |flows| flows["diagnostics"].as_array().unwrap().is_empty()).await;
        house.write("flows/in.yaml", &said(text));
        says(&house, "/in", text).await;
        house.write("flows/deep/er/in.yaml", &format!("description: round {round}\nrun: 1\n"));
        let seen = |flows: &Value| flow_in(flows, "deep/er/in")["description"] == format!("round {round}");
        house.flows_are(&format!("the deep one, round {round}"), seen).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_tells_of_is_found_by_looking() {
    let house = House::open(&[("real/in.yaml", &said("one")), ("flows/.keep", "")]).await;
    let root = house.folder.path();
    std::fs::hard_link(root.join("real/in.yaml"), root.join("flows/in.yaml")).unwrap();
    says(&house, "/in", "one").await;
    // Nobody listens to the folder where its other name is.
    house.write("real/in.yaml", &said("two"));
    until("the change", async || {
        house.pass(Duration::from_secs(1));
        (house.hook("/in", &json!({})).await.1 == "two").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_read_while_git_works() {
    let house = House::open(&[("flows/in.yaml", &said("one"))]).await;
    house.write(".git/index.lock", "");
    house.write("flows/in.yaml", &said("two"));
    house.write("flows/more.yaml", "run: 1\n");
    for _ in 0..40 {
        let flows = house.get("/flows").await;
        assert_eq!(flows["flows"].as_array().unwrap().len(), 1);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    house.remove(".git/index.lock");
    says(&house, "/in", "two").await;
}

fn git(root: &Path, args: &[&str]) {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=T", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"]);
    let output = command.args(args).current_dir(root).env("GIT_CONFIG_NOSYSTEM", "1").output().unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn checkouts_of_twenty_flows_under_load_harm_no_request_and_nobody_sees_half_a_set() {
    let flow = |number: usize, side: &str| {
        format!(
            "description: {side}\ntriggers:\n  - webhook: {{ path: /f{number}, respond: result }}\nscript: f{number}.rhai\n"
        )
    };
    let house = House::open(&[(".gitignore", ".postrider/\n")]).await;
    let root = house.folder.path();
    git(root, &["init", "-q"]);
    for side in ["left", "right"] {
        for number in 0..20 {
            house.write(&format!("flows/f{number}.yaml"), &flow(number, side));
            house.write(
                &format!("scripts/f{number}.rhai"),
                &format!("import \"lib/side\" as s;\n`{side} ${{s::side()}}`"),
            );
        }
        house.write("scripts/lib/side.rhai", &format!("fn side() {{ \"{side}\" }}"));
        git(root, &["add", "-A"]);
        git(root, &["commit", "-q", "-m", side]);
        git(root, &["branch", side]);
    }
    let all = |side: &'static str| {
        move |flows: &Value| {
            let flows = flows["flows"].as_array().unwrap();
            flows.len() == 20 && flows.iter().all(|flow| flow["description"] == side && flow["stale"] == false)
        }
    };
    house.flows_are("the right side", all("right")).await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let done = std::cell::Cell::new(0);
    let load = async |worker: usize| {
        let mut count = 0;
        while !*stopped.borrow() {
            let (status, answer) = house.hook(&format!("/f{}", (worker + count) % 20), &json!({})).await;
            assert_eq!(status, 200, "{answer}");
            assert!(answer == "left left" || answer == "right right", "half a set: {answer}");
            count += 1;
            done.set(done.get() + 1);
        }
        count
    };
    let look = async {
        while !*stopped.borrow() {
            let flows = house.get("/flows").await;
            assert!(all("left")(&flows) || all("right")(&flows), "half a set: {flows}");
        }
    };
    let change = async {
        for (round, side) in ["left", "right"].into_iter().cycle().enumerate() {
            if round >= 10 && done.get() > 40 {
                break;
            }
            git(root, &["checkout", "-q", side]);
            house.flows_are(side, all(side)).await;
        }
        stop.send_replace(true);
    };
    let (one, two, (), ()) = tokio::join!(load(0), load(7), look, change);
    assert!(one > 0 && two > 0, "there was no load: {one} {two}");
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_schedules_and_files_notice_nothing_while_the_flows_are_away() {
    let flow = "triggers:\n  - webhook: /in\n  - watch: \"inbox/*.csv\"\n  - cron: { schedule: \"* * * * * *\", missed: all }\nrun: event.trigger\n";
    let house = House::open(&[("flows/in.yaml", flow), ("inbox/.gitkeep", "")]).await;
    let (mut hooks, mut files) = (0, 0);
    let mut a_second = async |house: &House| {
        for _ in 0..5 {
            let (status, answer) = house.hook("/in", &json!({})).await;
            assert_eq!(status, 200, "{answer}");
            hooks += 1;
        }
        house.write(&format!("inbox/{files}.csv"), &format!("file {files}"));
        files += 1;
        house.pass(Duration::from_secs(1));
    };
    let begun: jiff::Timestamp = house.clock_text().parse().unwrap();
    for _ in 0..5 {
        a_second(&house).await;
    }
    house.rename("flows", "away");
    // As under a mount point.
    std::fs::create_dir(house.folder.path().join("flows")).unwrap();
    for _ in 0..60 {
        a_second(&house).await;
    }
    house.flows_are("the folder to be missed", |flows| flow_in(flows, "in")["stale"] == true).await;
    std::fs::remove_dir(house.folder.path().join("flows")).unwrap();
    house.rename("away", "flows");
    house.flows_are("the folder to be back", |flows| flow_in(flows, "in")["stale"] == false).await;
    for _ in 0..5 {
        a_second(&house).await;
    }
    let of = |runs: &[Value], trigger: &str| runs.iter().filter(|run| run["trigger"] == trigger).count();
    until("every file to have its run", async || {
        house.pass(Duration::from_secs(1));
        (of(&house.runs_of("in").await, "watch") >= files).then_some(())
    })
    .await;
    let runs = house.runs_of("in").await;
    assert_eq!((of(&runs, "webhook"), of(&runs, "watch")), (hooks, files));
    let due = house.get("/occurrences?flow=in&limit=1000").await;
    let mut seconds: Vec<i64> = Vec::new();
    for row in due["occurrences"].as_array().unwrap() {
        let at = |name: &str| row[name].as_str().map(|text| text.parse::<jiff::Timestamp>().unwrap().as_second());
        seconds.extend(at("at").unwrap()..=at("until").or(at("at")).unwrap());
    }
    seconds.sort_unstable();
    assert!(seconds.windows(2).all(|pair| pair[1] - pair[0] == 1), "{seconds:?}");
    assert!(seconds[0] <= begun.as_second() + 1 && seconds.len() >= 70, "{seconds:?}");
}

/// A share that is unmounted, and one that is mounted late.
#[tokio::test(flavor = "multi_thread")]
async fn flows_stay_live_while_their_folder_is_away_or_another_one_lies_there() {
    let timed = "triggers: [{ every: 10s }]\nrun: event.missed\n";
    let mut house = House::open(&[("flows/in.yaml", &said("one")), ("flows/timed.yaml", timed)]).await;
    says(&house, "/in", "one").await;
    let stays = async |house: &House, why: &str| {
        house
            .flows_are(why, |flows| {
                // Once, and not for each flow.
                flow_in(flows, "in")["stale"] == true && flows["diagnostics"].to_string().matches(why).count() == 1
            })
            .await;
        for _ in 0..6 {
            house.pass(Duration::from_secs(10));
            assert_eq!(house.hook("/in", &json!({})).await.1, "one");
        }
        assert_eq!(house.get("/flows").await["flows"].as_array().unwrap().len(), 2, "{why}");
    };
    house.rename("flows", "away");
    stays(&house, "the folder is away").await;
    // Also over a restart, and under an empty folder, as a mount point is.
    let (folder, clock) = house.stop().await;
    house = House::again(folder, clock).await;
    stays(&house, "the folder is away").await;
    house.write("flows", "");
    stays(&house, "it is no folder; those that were live stay as they were").await;
    std::fs::remove_file(house.folder.path().join("flows")).unwrap();
    std::fs::create_dir(house.folder.path().join("flows")).unwrap();
    stays(&house, "another folder lies here").await;
    let (folder, clock) = house.stop().await;
    house = House::again(folder, clock).await;
    stays(&house, "another folder lies here").await;
    std::fs::remove_dir(house.folder.path().join("flows")).unwrap();
    house.rename("away", "flows");
    house.flows_are("the folder to be back", |flows| flows["diagnostics"].as_array().unwrap().is_empty()).await;
    // No time passed without a fate.
    let due = house.get("/occurrences?flow=timed&limit=1000").await;
    let mut times: Vec<i64> = Vec::new();
    for row in due["occurrences"].as_array().unwrap() {
        let at = |name: &str| row[name].as_str().map(|text| text.parse::<jiff::Timestamp>().unwrap().as_second());
        let (first, last) = (at("at").unwrap(), at("until").or(at("at")).unwrap());
        times.extend((first..=last).step_by(10));
    }
    times.sort_unstable();
    assert!(times.len() >= 24 && times.windows(2).all(|pair| pair[1] - pair[0] == 10), "{times:?}");
    // Files that are deleted from the folder itself are meant to go, all of them too.
    for name in ["in", "timed"] {
        std::fs::remove_file(house.folder.path().join(format!("flows/{name}.yaml"))).unwrap();
    }
    until("the flows to go", async || {
        house.pass(Duration::from_secs(1));
        house.get("/flows").await["flows"].as_array().unwrap().is_empty().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_flows_are_read_as_few_are() {
    // So many that they are shared out among the cores: each has its own script, one has none, one is no YAML.
    let flow = |number: usize| match number {
        1_717 => "triggers: [".to_owned(),
        _ => format!("triggers:\n  - webhook: {{ path: /f/{number}, respond: result }}\nscript: s{number}.rhai\n"),
    };
    let mut files = Vec::new();
    for number in 0..4_000 {
        files.push((format!("flows/f{number}.yaml"), flow(number)));
        if number != 2_929 {
            files.push((format!("scripts/s{number}.rhai"), format!("\"it is {number}\"")));
        }
    }
    let files: Vec<_> = files.iter().map(|(path, text)| (&**path, &**text)).collect();
    let house = House::open(&files).await;
    for number in [0, 1, 1_716, 1_718, 1_999, 2_000, 2_001, 2_928, 3_999] {
        says(&house, &format!("/f/{number}"), &format!("it is {number}")).await;
    }
    let flows = house.get("/flows").await;
    assert_eq!(flows["flows"].as_array().unwrap().len(), 3_998);
    let found = flows["diagnostics"].as_array().unwrap().iter().map(|finding| finding["file"].as_str().unwrap());
    assert_eq!(found.collect::<Vec<_>>(), ["flows/f1717.yaml", "flows/f2929.yaml"]);
}
