//! What real gateways were seen to do: one message under two ids, acks under another form of the id, votes in
//! the polls of others, failures that pass, events of others' devices, answers that are no words.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::said::{self, GROUP, NOW, PERSON, PHONE, evolution, gowa, gowa_message, meta, meta_status, waha, with};
use super::{ECHO, Ear, call, text_of};
use crate::gateways::fake::{self, Dialect, Mood};
use crate::support::until;

const WEBJS: Dialect =
    Dialect { settings: "api_key: \"k3y/+waha=one\"\nsession: shop\nengine: webjs", ..fake::waha::DIALECT };

/// A question to the person; gives the run, once it is open, and the gateway's id of the question.
async fn asked(ear: &Ear, flow: &str) -> (String, String) {
    let run = ear.house.trigger(flow, Value::Null).await;
    let id = until("the question to be out", async || {
        let messages = ear.house.get(&format!("/messages?run={run}")).await;
        messages["messages"][0]["provider_id"].as_str().map(str::to_owned)
    })
    .await;
    (run, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_message_under_two_ids_answers_one_question() {
    let flow = "run: |\n  let d = ask(\"+15417543010\", \"Which day?\");\n  let n = ask(\"+15417543010\", \"How many?\");\n  d.text + \"/\" + n.text\n";
    let ear = Ear::with(fake::waha::DIALECT, &[("flows/table.yaml", flow), ECHO]).await;
    let (run, first) = asked(&ear, "table").await;
    let by = |chat: &str, bare: &str, text: &str| {
        let id = format!("false_{chat}_{bare}");
        let info = json!({ "Info": { "Sender": chat, "SenderAlt": "15417543010@s.whatsapp.net" } });
        let message =
            json!({ "id": id, "from": chat, "timestamp": NOW, "body": text, "hasMedia": false, "_data": info });
        waha("waha", "message", message)
    };
    assert_eq!(ear.tell(&by("15417543010@c.us", "T2", "Friday")).await, 200);
    until("the second question", async || {
        let messages = ear.house.get(&format!("/messages?run={run}")).await["messages"].as_array().unwrap().clone();
        messages.iter().any(|m| m["provider_id"].is_string() && m["provider_id"] != first.as_str()).then_some(())
    })
    .await;
    assert_eq!(ear.tell(&by("244455566677788@lid", "T2", "Friday")).await, 200);
    ear.house.pass(Duration::from_secs(2));
    assert_eq!(ear.tell(&by("244455566677788@lid", "T3", "Four")).await, 200);
    assert_eq!(ear.house.run_is(&run, "succeeded").await["result"], "Friday/Four");
    assert_eq!(ear.runs().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn acks_are_matched_under_another_form_of_the_id() {
    let ear = Ear::open(WEBJS).await;
    let ack = |id: String, step: i64| {
        waha("waha", "message.ack", json!({ "id": id, "fromMe": true, "ack": step, "ackName": "DEVICE" }))
    };
    let group = ear.send(json!({ "to": GROUP, "text": "Hi all" })).await;
    let id = text_of(&group, "provider_id").to_owned();
    assert_eq!(ear.tell(&ack(format!("{id}_628111000001@c.us"), 2)).await, 200);
    ear.becomes(&group, "delivered").await;
    let alone = ear.write("Hi").await;
    let bare = text_of(&alone, "provider_id").rsplit('_').next().unwrap().to_owned();
    assert_eq!(ear.tell(&ack(format!("true_244455566677788@lid_{bare}"), 3)).await, 200);
    ear.becomes(&alone, "read").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn votes_in_the_polls_of_others_are_no_answers() {
    let flow = "run: |\n  ask(\"+15417543010\", \"Pay?\", #{ choices: [\"Yes\", \"No\"] }).choice\n";
    for dialect in [fake::waha::DIALECT, WEBJS] {
        let ear = Ear::with(dialect, &[("flows/pay.yaml", flow), ECHO]).await;
        let (run, id) = asked(&ear, "pay").await;
        let vote = |bare: &str, poll: &str, own: bool| {
            let vote = json!({ "id": format!("false_15417543010@c.us_{bare}"), "to": "me", "from": "15417543010@c.us",
                "fromMe": false, "selectedOptions": ["Yes"], "timestamp": NOW * 1000 });
            waha("waha", "poll.vote", json!({ "vote": vote, "poll": { "id": poll, "fromMe": own } }))
        };
        for (bare, poll, own) in
            [("V1", "false_15417543010@c.us_OTHER", false), ("V2", "true_15417543010@c.us_BYHAND", true)]
        {
            assert_eq!(ear.tell(&vote(bare, poll, own)).await, 200);
            // It is an event like others, and the question waits on.
            ear.event(&format!("false_15417543010@c.us_{bare}")).await;
            assert_eq!(ear.house.get(&format!("/runs/{run}")).await["state"], "waiting");
        }
        // In its own one it is, also under the hidden address.
        let bare = id.rsplit('_').next().unwrap();
        assert_eq!(ear.tell(&vote("V3", &format!("true_244455566677788@lid_{bare}"), true)).await, 200);
        assert_eq!(ear.house.run_is(&run, "succeeded").await["result"], "Yes");
        // One that WAHA could not read is told of.
        assert_eq!(ear.tell(&waha("waha", "poll.vote.failed", json!({ "poll": { "id": id } }))).await, 200);
        let account = ear.house.get("/accounts").await["accounts"][0].clone();
        assert!(text_of(&account["unheard"], "reason").contains("could not read the vote"), "{account}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_are_refused_are_shown_at_the_account() {
    let ear = Ear::open(fake::gowa::DIALECT).await;
    let event = said::text("gowa", "A1", "hello").to_string().into_bytes();
    for count in 1..=3 {
        let (status, _) = call(&ear.client, &ear.house, Method::POST, "/gateways/main", &[], event.clone()).await;
        assert_eq!(status, 401);
        let account = ear.house.get("/accounts").await["accounts"][0].clone();
        assert_eq!(account["unheard"]["count"], count, "{account}");
        assert!(text_of(&account["unheard"], "reason").contains("`inbound_token` is not in its address"), "{account}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arrives_after_a_failure_has_arrived() {
    for dialect in [fake::meta::DIALECT, fake::waha::DIALECT, fake::twilio::DIALECT] {
        let ear = Ear::open(dialect).await;
        let message = ear.write("Hi").await;
        let id = text_of(&message, "provider_id").to_owned();
        for (step, state) in
            [("failed", "rejected"), ("sent", "rejected"), ("delivered", "delivered"), ("failed", "delivered")]
        {
            assert_eq!(ear.tell(&said::ack(dialect.name, &id, step).unwrap()).await, 200);
            ear.stays(&message, state).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn late_failures_that_pass_are_tried_again() {
    let failed = |id: &str, code: i64| {
        let error = json!({ "code": code, "title": "later", "message": "later" });
        meta(json!({ "statuses": [with(meta_status(id, "failed"), json!({ "errors": [error] }))] }))
    };
    for (code, wait) in [(131_049, 86_400), (131_000, 2), (131_016, 2)] {
        let ear = Ear::open(fake::meta::DIALECT).await;
        // A day later only a template may go out.
        let wish = json!({ "to": PHONE, "kind": "template", "name": "hello_world", "language": "en_US" });
        let message = ear.send(wish).await;
        let id = text_of(&message, "provider_id").to_owned();
        assert_eq!(ear.tell(&failed(&id, code)).await, 200);
        let queued = ear.becomes(&message, "queued").await;
        assert!(queued.to_string().contains(&code.to_string()), "{queued}");
        ear.fake.take();
        ear.house.pass(Duration::from_secs(wait - 1));
        ear.stays(&message, "queued").await;
        assert!(ear.fake.take().is_empty());
        ear.house.pass(Duration::from_secs(1));
        ear.becomes(&message, "accepted").await;
        assert_eq!(ear.fake.take().len(), 1);
    }
    // What has arrived meanwhile is not sent once more.
    let ear = Ear::open(fake::meta::DIALECT).await;
    let message = ear.write("Hi").await;
    let id = text_of(&message, "provider_id").to_owned();
    assert_eq!(ear.tell(&failed(&id, 131_049)).await, 200);
    ear.becomes(&message, "queued").await;
    assert_eq!(ear.tell(&meta(json!({ "statuses": [meta_status(&id, "delivered")] }))).await, 200);
    ear.becomes(&message, "delivered").await;
    ear.fake.take();
    ear.house.pass(Duration::from_secs(2 * 86_400));
    ear.stays(&message, "delivered").await;
    assert!(ear.fake.take().is_empty());
    // And not for ever: the tries are counted.
    let settings = format!("{}\nretry: {{ attempts: 2, first: 1s }}", fake::meta::DIALECT.settings);
    let ear = Ear::open(Dialect { settings: Box::leak(settings.into_boxed_str()), ..fake::meta::DIALECT }).await;
    let message = ear.write("Twice").await;
    for state in ["queued", "rejected"] {
        let out = ear.becomes(&message, "accepted").await;
        assert_eq!(ear.tell(&failed(text_of(&out, "provider_id"), 131_000)).await, 200);
        ear.becomes(&message, state).await;
        ear.house.pass(Duration::from_secs(60));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn evolutions_channel_of_the_cloud_api_tells_in_words_of_its_own() {
    let ear = Ear::open(fake::evolution::DIALECT).await;
    let update = |id: &str, status: &str| {
        evolution("messages.update", json!({ "keyId": id, "remoteJid": PERSON, "fromMe": false, "status": status }))
    };
    let message = ear.write("Hi").await;
    let id = text_of(&message, "provider_id").to_owned();
    for (word, state) in [("SENT", "sent"), ("DELIVERED", "delivered"), ("READ", "read")] {
        assert_eq!(ear.tell(&update(&id, word)).await, 200);
        ear.becomes(&message, state).await;
    }
    let message = ear.write("To nobody").await;
    assert_eq!(ear.tell(&update(text_of(&message, "provider_id"), "FAILED")).await, 200);
    ear.becomes(&message, "rejected").await;
    // A list of people is no chat.
    let key = json!({ "remoteJid": "1234567890@broadcast", "participant": "15417543010@s.whatsapp.net",
        "fromMe": false, "id": "LIST" });
    let event = said::evolution_message("LIST", json!({ "key": key, "message": { "conversation": "To you all" } }));
    ear.hears(&event, "LIST", json!({ "text": "To you all" })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_other_devices_are_left_out_and_what_cannot_be_told_apart_is_said() {
    let own = |device: &str| Dialect {
        settings: Box::leak(format!("device: \"{device}\"\nbasic_auth: \"user:p4ss/+gowa one\"").into_boxed_str()),
        ..fake::gowa::DIALECT
    };
    let event = |bare: &str, address: &str, name: Option<&str>| {
        let mut event = gowa("message", gowa_message(bare, json!({ "body": "Hi" }))["payload"].clone());
        event["device_id"] = address.into();
        event["session_id"] = name.map_or(Value::Null, Value::from);
        event
    };
    let (mine, other) = ("628111000001@s.whatsapp.net", "628111000002@s.whatsapp.net");
    // By its name: without one in the event nobody can tell.
    let ear = Ear::open(own("my-phone")).await;
    for (number, (address, name, heard)) in
        [(mine, Some("my-phone"), 1), (other, Some("another"), 1), (other, None, 1)].into_iter().enumerate()
    {
        assert_eq!(ear.tell(&event(&format!("N{number}"), address, name)).await, 200);
        until("what is heard", async || (ear.house.runs_of("echo").await.len() == heard).then_some(())).await;
    }
    let account = ear.house.get("/accounts").await["accounts"][0].clone();
    assert!(text_of(&account["unheard"], "reason").contains("write the phone's address as `device`"), "{account}");
    // By its address, in full or in digits.
    for device in ["628111000001@s.whatsapp.net", "628111000001", "+628111000001"] {
        let ear = Ear::open(own(device)).await;
        for (bare, address, name) in
            [("A", other, None), ("B", other, Some("my-phone")), ("C", mine, Some("my-phone")), ("D", mine, None)]
        {
            assert_eq!(ear.tell(&event(bare, address, name)).await, 200);
        }
        until(device, async || (ear.house.runs_of("echo").await.len() == 2).then_some(())).await;
        ear.event("C").await;
        ear.event("D").await;
    }
    // Servers before version 8, and messages that show nothing.
    let ear = Ear::open(Dialect { settings: "basic_auth: \"user:p4ss/+gowa one\"", ..fake::gowa::DIALECT }).await;
    for (event, said) in [
        (json!({ "sender_id": PERSON, "message": { "text": "hi", "id": "A" } }), "older than version 8"),
        (gowa_message("EMPTY", json!({ "body": null })), "could not load"),
    ] {
        assert_eq!(ear.tell(&event).await, 200);
        let account = ear.house.get("/accounts").await["accounts"][0].clone();
        assert!(text_of(&account["unheard"], "reason").contains(said), "{account}");
    }
    assert!(ear.house.runs_of("echo").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_no_words_are_answers_with_what_they_hold() {
    let flow =
        "run: |\n  let a = ask(\"+15417543010\", \"Where?\"); #{ kind: a.kind, fields: a.fields, text: a.text }\n";
    let form = json!({ "type": "interactive", "interactive": { "type": "nfm_reply", "nfm_reply": {
        "name": "flow", "body": "Sent", "response_json": "{\"flow_token\":\"T\",\"day\":\"Friday\"}" } } });
    let place = json!({ "latitude": 47.5, "longitude": 8.25, "name": "Home", "address": null });
    let card = json!({ "contacts": [{ "name": "Bob", "phone": "+15417543011" }] });
    let vcard = "BEGIN:VCARD\nFN:Bob\nTEL;waid=15417543011:+1 541 754 3011\nEND:VCARD";
    let cases: Vec<(Dialect, Value, &str, Value)> = vec![
        (
            fake::meta::DIALECT,
            said::meta_message("wamid.F", form),
            "form",
            json!({ "flow_token": "T", "day": "Friday" }),
        ),
        (
            fake::meta::DIALECT,
            said::meta_message(
                "wamid.L",
                json!({ "type": "location", "location": { "latitude": 47.5, "longitude": 8.25, "name": "Home" } }),
            ),
            "location",
            place.clone(),
        ),
        (
            fake::meta::DIALECT,
            said::meta_message(
                "wamid.C",
                json!({ "type": "contacts", "contacts": [{ "name": { "formatted_name": "Bob" },
                "phones": [{ "phone": "+1 541 754 3011", "wa_id": "15417543011" }] }] }),
            ),
            "contact",
            card.clone(),
        ),
        (
            fake::waha::DIALECT,
            waha(
                "waha",
                "message",
                said::waha_message(
                    "L",
                    json!({ "body": "", "location": { "latitude": "47.5", "longitude": "8.25", "description": "Home" } }),
                ),
            ),
            "location",
            place.clone(),
        ),
        (
            fake::waha::DIALECT,
            waha("waha", "message", said::waha_message("C", json!({ "body": "", "vCards": [vcard] }))),
            "contact",
            card.clone(),
        ),
        (
            fake::evolution::DIALECT,
            said::evolution_message(
                "L",
                json!({ "message": { "locationMessage": { "degreesLatitude": 47.5, "degreesLongitude": 8.25, "name": "Home" } } }),
            ),
            "location",
            place.clone(),
        ),
        (
            fake::evolution::DIALECT,
            said::evolution_message(
                "C",
                json!({ "message": { "contactMessage": { "displayName": "Bob", "vcard": vcard } } }),
            ),
            "contact",
            card.clone(),
        ),
        (
            fake::gowa::DIALECT,
            gowa_message(
                "L",
                json!({ "location": { "degreesLatitude": 47.5, "degreesLongitude": 8.25, "name": "Home" } }),
            ),
            "location",
            place,
        ),
        (
            fake::gowa::DIALECT,
            gowa_message("C", json!({ "contact": { "displayName": "Bob", "vcard": vcard } })),
            "contact",
            card,
        ),
    ];
    for (dialect, event, kind, fields) in cases {
        let ear = Ear::with(dialect, &[("flows/where.yaml", flow)]).await;
        let (run, _) = asked(&ear, "where").await;
        assert_eq!(ear.tell(&event).await, 200);
        let result = ear.house.run_is(&run, "succeeded").await["result"].clone();
        assert_eq!((&result["kind"], &result["fields"]), (&json!(kind), &fields), "{} {event}", dialect.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_follow_a_person_to_another_number() {
    let flow = "run: |\n  ask(\"+15417543010\", \"Well?\").text\n";
    let ear = Ear::with(fake::meta::DIALECT, &[("flows/well.yaml", flow), ECHO]).await;
    let (run, _) = asked(&ear, "well").await;
    let system = json!({ "from": PERSON, "id": "wamid.S", "timestamp": NOW.to_string(), "type": "system",
        "system": { "type": "user_changed_number", "body": "changed", "wa_id": "15417543019" } });
    assert_eq!(ear.tell(&meta(json!({ "messages": [system] }))).await, 200);
    let message = json!({ "from": "15417543019", "id": "wamid.N", "timestamp": NOW.to_string(), "type": "text",
        "text": { "body": "Yes" } });
    assert_eq!(ear.tell(&meta(json!({ "messages": [message] }))).await, 200);
    assert_eq!(ear.house.run_is(&run, "succeeded").await["result"], "Yes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_that_the_numbering_plan_does_not_know_is_heard() {
    let ear = Ear::open(fake::gowa::DIALECT).await;
    let jid = "1999555000@s.whatsapp.net";
    ear.fake.is(Mood::Strict);
    assert_eq!(ear.tell(&gowa_message("ODD", json!({ "body": "Hi", "from": jid, "chat_id": jid }))).await, 200);
    assert_eq!(ear.event("ODD").await["from"], "+1999555000");
}
