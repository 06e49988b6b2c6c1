//! Whom a message goes to: what people write for a phone, and which spellings are one person.

use postrider::model::phone::Country;
use postrider::model::recipient::Recipient;
use serde_json::{Value, json};

use crate::support::engine::House;
use crate::support::until;

/// One line in both of its spellings, in four countries.
const LINES: [(&str, &str); 4] = [
    ("+5541987654321", "+554187654321"),
    ("+525512345678", "+5215512345678"),
    ("+5491123456789", "+541123456789"),
    ("+2290197979797", "+22997979797"),
];

/// `\u{202A}` in the table stands for the letter.
fn unescaped(text: &str) -> String {
    let mut parts = text.split("\\u{");
    let mut all = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (code, rest) = part.split_once('}').unwrap();
        all.push(char::from_u32(u32::from_str_radix(code, 16).unwrap()).unwrap());
        all.push_str(rest);
    }
    all
}

/// The values are from the numbering plan, as another program reads it; `!` is refused.
#[test]
fn each_writing_of_the_table_means_what_the_numbering_plan_says() {
    let (mut wrong, mut rows) = (Vec::new(), 0);
    for row in include_str!("../corpus/phones.tsv").lines().filter(|row| !row.starts_with('#')) {
        let [country, written, wanted] = row.split('\t').collect::<Vec<_>>()[..] else { panic!("{row}") };
        let country = (country != "-").then(|| Country::parse(country).unwrap());
        let given = Recipient::read(&unescaped(written), country);
        let right = match wanted.starts_with('!') {
            true => given.is_err(),
            false => given.as_ref().is_ok_and(|given| given.to_string() == wanted),
        };
        rows += 1;
        if !right {
            wrong.push(format!("{row}\n    {given:?}"));
        }
    }
    assert!(rows > 600, "{rows}");
    assert!(wrong.is_empty(), "{} of {rows}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn what_is_wrong_with_a_phone_is_said() {
    for (text, part) in [
        ("abc", "`a` does not belong"),
        ("0541754", "country code"),
        ("123", "3 digits"),
        ("15417543010.5", "fraction"),
        ("+41 44 123 45 67 / 68", "more than one"),
        ("+1 541 754 3010 - 3011", "more than one"),
        ("+1 (541) 754-3010 (2)", "more than one"),
        ("+15417543010, +15417543011", "more than one"),
        ("+1 541 754 3010 x5", "extension"),
        ("1-541-754-3010-5", "+1 has 11 digits"),
        ("+1 541\u{7}7543010", "U+0007"),
        ("+1+541754301", "beginning only"),
    ] {
        let error = Recipient::parse(text).unwrap_err();
        assert!(error.contains(part), "{text}: {error}");
    }
}

/// A flow that sends what its event says, and gives back what a call gives.
const SEND: &str = "triggers:\n  - webhook: { path: /send, respond: result }\nrun: |\n  \
    let m = send_text(event.body.to, event.body.text ?? \"Hi\", event.body.options ?? #{});\n  \
    if type_of(m) == \"map\" { #{ sent: m.messages.map(|m| m.to), bad: m.bad } }\n  \
    else if type_of(m) == \"array\" { m.map(|m| m.to) } else { m.to }\n";

/// What the flow gives back, or the error that its run ended with.
async fn sent(house: &House, body: Value) -> Result<Value, String> {
    let (status, said) = house.hook("/send", &body).await;
    if status == 200 {
        return Ok(said);
    }
    let run = house.get(&format!("/runs/{}", said["run"].as_str().unwrap_or_else(|| panic!("{said}")))).await;
    Err(run["error"]["message"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_country_makes_local_phones_readable_for_a_workspace_and_for_a_flow() {
    let swiss = SEND.replace("/send", "/swiss").replacen("triggers:", "country: CH\ntriggers:", 1);
    let house =
        House::open(&[("postrider.yaml", "country: DE\n"), ("flows/send.yaml", SEND), ("flows/swiss.yaml", &swiss)])
            .await;
    for (to, wanted) in
        [("0151 23456789", "+4915123456789"), ("151 23456789", "+4915123456789"), ("+1 541 754 3010", "+15417543010")]
    {
        assert_eq!(sent(&house, json!({ "to": to })).await, Ok(json!(wanted)), "{to}");
    }
    assert_eq!(house.hook("/swiss", &json!({ "to": "044 668 18 00" })).await, (200, json!("+41446681800")));
    // By hand, and where people are looked for, it counts too.
    let answer = house.post("/messages", json!({ "to": "0151 23456789", "text": "Hi" })).await;
    let message = house.get(&format!("/messages/{}", answer["message"].as_str().unwrap())).await;
    assert_eq!(message["to"], "+4915123456789");
    let found = house.get("/messages?to=0151%2023456789").await;
    assert_eq!(found["messages"].as_array().unwrap().len(), 3);
    let error = sent(&house, json!({ "to": "0000 1" })).await.unwrap_err();
    assert!(error.contains("none of the `country`"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_ones_among_many_are_named_and_can_be_left_out() {
    let house = House::open(&[("flows/send.yaml", SEND)]).await;
    let to = json!(["+15417543010", "15417543011.5", "+1 (541) 754-3012", "Ada", "1 541 754 3010"]);
    let error = sent(&house, json!({ "to": to })).await.unwrap_err();
    assert!(error.contains("2 of 5 recipients are wrong: [1] `15417543011.5`"), "{error}");
    assert!(error.contains("[3] `Ada`"), "{error}");
    let said = sent(&house, json!({ "to": to, "options": { "on_bad": "skip" } })).await.unwrap();
    assert_eq!(said["sent"], json!(["+15417543010", "+15417543012"]), "{said}");
    let bad: Vec<_> = said["bad"].as_array().unwrap().iter().map(|bad| (&bad["to"], &bad["place"])).collect();
    assert_eq!(bad, [(&json!("15417543011.5"), &json!(1)), (&json!("Ada"), &json!(3))]);
    assert!(said["bad"][1]["error"].as_str().unwrap().contains("does not belong"), "{said}");
    assert_eq!(house.messages_are(2, "delivered").await.len(), 2);
    for (to, option, part) in
        [(json!("Ada"), "skip", "for an array"), (json!(["Ada"]), "leave", "neither `throw` nor `skip`")]
    {
        let error = sent(&house, json!({ "to": to, "options": { "on_bad": option } })).await.unwrap_err();
        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_of_tables_are_phones_and_an_empty_table_is_nobody() {
    let house = House::open(&[("flows/send.yaml", SEND)]).await;
    let said = sent(&house, json!({ "to": 15417543010.0 })).await;
    assert!(said.is_ok(), "{said:?}");
    assert_eq!(house.messages_are(1, "delivered").await[0]["to"], "+15417543010");
    for wrong in [json!(15417543010.5), json!(1e300), json!(-15417543010.0)] {
        assert!(sent(&house, json!({ "to": wrong })).await.is_err(), "{wrong}");
    }
    let said = sent(&house, json!({ "to": [], "options": { "on_bad": "skip" } })).await.unwrap();
    assert_eq!((&said["sent"], &said["bad"]), (&json!([]), &json!([])), "{said}");
    assert!(sent(&house, json!({ "to": [] })).await.unwrap_err().contains("1 to 1000"));
}

#[test]
fn norway_is_a_country() {
    let (flow, settings) = ("country: NO\nrun: send_text(\"22 86 44 00\", \"x\")\n", "country: NO\n");
    for (settings, flow) in [("timezone: UTC\n", flow), (settings, "run: send_text(\"22 86 44 00\", \"x\")\n")] {
        let folder = crate::support::folder(&[("postrider.yaml", settings), ("flows/x.yaml", flow)]);
        let output = crate::support::binary::run(folder.path(), &["check"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("nothing to complain about"), "{text}{}", String::from_utf8_lossy(&output.stderr));
    }
}

async fn says(house: &House, from: &str, text: &str) {
    house.post("/sandbox/messages", json!({ "from": from, "text": text })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_is_one_person_in_both_of_its_spellings() {
    const ASK: &str = "triggers:\n  - webhook: /ask\nrun: |\n  \
        let a = ask(event.body.to, \"Well?\"); if a == () { \"nothing\" } else { a.text }\n";
    const ONCE: &str = "triggers:\n  - webhook: { path: /once, respond: result }\nrun: |\n  \
        send_text(event.body.to, \"Hi\", #{ key: \"k\" }).id\n";
    const FROM: &str = "triggers:\n  - message: { from: \"+5541987654321\" }\nrun: 1\n";
    let settings = "accounts:\n  sandbox: { transport: sandbox, opt_out: { words: [stop] } }\n";
    let house = House::open(&[
        ("postrider.yaml", settings),
        ("flows/send.yaml", SEND),
        ("flows/ask.yaml", ASK),
        ("flows/once.yaml", ONCE),
        ("flows/from.yaml", FROM),
    ])
    .await;
    for (new, old) in LINES {
        for (one, other) in [(new, old), (old, new)] {
            // Two in one call are one.
            assert_eq!(sent(&house, json!({ "to": [one, other] })).await, Ok(json!([one])), "{one}");
            // The answer from the other spelling is one.
            let (_, run) = house.hook("/ask", &json!({ "to": one })).await;
            let run = run["run"].as_str().unwrap().to_owned();
            until("the question to be open", async || {
                let sent = house.get(&format!("/messages?run={run}&state=delivered")).await;
                (!sent["messages"].as_array()?.is_empty()).then_some(())
            })
            .await;
            says(&house, other, "Yes").await;
            assert_eq!(house.run_is(&run, "succeeded").await["result"], "Yes", "{one} {other}");
        }
        // One message under a key.
        let (_, first) = house.hook("/once", &json!({ "to": new })).await;
        assert_eq!(house.hook("/once", &json!({ "to": old })).await, (200, first), "{new}");
        // Whoever wants no more from one of them wants no more from both.
        says(&house, old, "STOP").await;
        assert_eq!(sent(&house, json!({ "to": new, "text": "after" })).await, Ok(json!(new)));
        let rejected = until("a refusal", async || {
            let found = house.get(&format!("/messages?to={}&state=rejected", new.replace('+', "%2B"))).await;
            found["messages"].as_array().unwrap().first().cloned()
        })
        .await;
        assert_eq!(rejected["attempts"][0]["outcome"], "opted_out", "{rejected}");
        // Both are found by either, and forgotten together.
        let by = async |phone: &str| {
            let found = house.get(&format!("/messages?to={}", phone.replace('+', "%2B"))).await;
            found["messages"].as_array().unwrap().len()
        };
        assert_eq!(by(new).await, by(old).await);
        house.post("/forget", json!({ "recipient": old })).await;
        assert_eq!((by(new).await, by(old).await), (0, 0), "{new}");
    }
    assert_eq!(house.runs_of("from").await.len(), 0, "what was answered, or was a STOP, starts nothing");
    says(&house, "+554187654321", "start").await;
    says(&house, "+554187654321", "Hello").await;
    until("the trigger to hear the other spelling", async || {
        let runs = house.runs_of("from").await;
        (!runs.is_empty()).then_some(())
    })
    .await;
}
