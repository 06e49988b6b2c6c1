//! Settings that protect: empty ones and weak ones are told.

use super::check;

#[test]
fn a_key_that_stands_empty_is_an_error() {
    let account = |key: &str| format!("accounts:\n  main:\n    transport: gowa\n    {key}:\n");
    for key in
        ["inbound_token", "webhook_secret", "basic_auth", "opt_out", "flows", "pace", "fallback", "url", "on_unknown"]
    {
        let said = check(&[("postrider.yaml", &account(key))]);
        let wanted = format!("error postrider.yaml:4 `{key}` has no value (write its value, or remove the key)");
        assert_eq!(said, [wanted], "{key}");
    }
    for (transport, key) in [
        ("meta", "app_secret"),
        ("meta", "verify_token"),
        ("meta", "access_token"),
        ("wawp", "webhook_header"),
        ("evolution", "api_key"),
        ("twilio", "auth_token"),
    ] {
        let settings = format!("accounts:\n  main:\n    transport: {transport}\n    {key}: ~\n");
        let said = check(&[("postrider.yaml", &settings)]);
        assert!(said.iter().any(|said| said.contains(&format!(":4 `{key}` has no value"))), "{key}: {said:?}");
    }
    for key in ["admin_hosts", "secrets", "http", "limits", "listen", "public_url", "timezone", "default_account"] {
        for empty in ["", " ~", " null", "\n  # nothing"] {
            let said = check(&[("postrider.yaml", &format!("{key}:{empty}\n"))]);
            assert!(said.len() == 1 && said[0].contains(&format!(":1 `{key}` has no value")), "{key}{empty}: {said:?}");
        }
    }
    for (settings, part) in [
        ("store: postgres://user@host/db\n", "`store` is the path of a file"),
        ("store: \":memory:\"\n", "`store` is the path of a file"),
        ("http: { allow: }\n", "`allow` has no value"),
        ("limits: { body: }\n", "`body` has no value"),
        ("secrets: { CRM_TOKEN: }\n", "`flows` takes a list, not nothing"),
        ("secrets: [CRM_TOKEN]\n", "write `secrets: { CRM_TOKEN: [crm/*] }`"),
        ("secrets: { \"CRM TOKEN\": [a] }\n", "`CRM TOKEN` is no name"),
        ("secrets: { CRM_TOKEN: [crm/] }\n", "`crm/` is no pattern of flow names"),
        ("secrets: { CRM_TOKEN: [\"!crm\"] }\n", "no pattern of flow names"),
        ("accounts: { main: { transport: sandbox, flows: crm }}\n", "`flows` takes a list"),
        ("accounts: { main: { transport: sandbox, flows: [\"\"] }}\n", "no pattern of flow names"),
        ("accounts: { main: { transport: gowa, webhook_secret: \"   \" }}\n", "`webhook_secret` is empty"),
    ] {
        let said = check(&[("postrider.yaml", settings)]);
        assert!(said.iter().any(|said| said.starts_with("error") && said.contains(part)), "{settings}: {said:?}");
    }
    for (flow, part) in [
        ("secrets:\nrun: 1\n", "`secrets` has no value"),
        ("secrets: ~\nrun: 1\n", "`secrets` has no value"),
        ("enabled:\nrun: 1\n", "`enabled` has no value"),
        ("account:\nrun: 1\n", "`account` has no value"),
        ("triggers:\n  - message: { from: }\nrun: 1\n", "`from` has no value"),
        ("triggers:\n  - webhook: { path: /in, from: [] }\nrun: 1\n", "`from` is empty"),
        ("triggers:\n  - webhook: { path: /in, from: }\nrun: 1\n", "`from`"),
    ] {
        let said = check(&[("flows/a.yaml", flow)]);
        assert!(said.len() == 1 && said[0].starts_with("error") && said[0].contains(part), "{flow}: {said:?}");
    }
    // Here nothing means nothing.
    let empty = "description:\ntriggers:\n  # - webhook: /a\nparams:\nrun: 1\n";
    assert_eq!(check(&[("postrider.yaml", "accounts:\n"), ("flows/a.yaml", empty)]), [] as [&str; 0]);
    assert_eq!(check(&[("postrider.yaml", "secrets: {}\nadmin_hosts: []\n")]), [] as [&str; 0]);
}

#[test]
fn hosts_are_names() {
    for wrong in [
        "",
        " ",
        "*",
        "*.example.com",
        "a.example:8701",
        "https://a.example",
        "a.example/",
        "a b",
        "a..b",
        ".",
        "8701",
        "[::1]:80",
    ] {
        let said = check(&[("postrider.yaml", &format!("admin: 0.0.0.0:8701\nadmin_hosts: [\"{wrong}\"]\n"))]);
        assert!(said.len() == 1 && said[0].starts_with("error postrider.yaml:2 `admin_hosts`: "), "{wrong}: {said:?}");
        assert!(said[0].contains("write one such as `postrider.example.com`"), "{said:?}");
    }
    let good = "admin: 0.0.0.0:8701\nadmin_hosts: [Box, a.example, 192.0.2.1, \"2001:db8::1\", \"[2001:db8::1]\", bücher.example]\n";
    assert_eq!(check(&[("postrider.yaml", good)]), [] as [&str; 0]);
    let said = check(&[("postrider.yaml", "admin: 0.0.0.0:8701\nadmin_hosts: []\n")]);
    assert!(said.len() == 1 && said[0].contains("is open to others"), "{said:?}");
}

#[test]
fn the_two_sides_need_two_addresses() {
    for (both, at) in [
        ("listen: 127.0.0.1:8700\nadmin: 127.0.0.1:8700\n", 2),
        ("admin: 127.0.0.1:9000\nlisten: 0.0.0.0:9000\n", 1),
        ("admin: 127.0.0.1:8700\n", 1),
    ] {
        let said = check(&[("postrider.yaml", both)]);
        let place = format!("error postrider.yaml:{at} `admin` and `listen` are the same address");
        assert!(said.len() == 1 && said[0].starts_with(&place), "{both}: {said:?}");
    }
    let good = "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\n";
    assert_eq!(check(&[("postrider.yaml", good)]), [] as [&str; 0]);
}

#[test]
fn short_secrets_of_gateways_are_told() {
    for (account, warns) in [
        ("transport: gowa, webhook_secret: fifteen-letters", true),
        ("transport: gowa, webhook_secret: sixteen-letters.", false),
        ("transport: gowa, inbound_token: abcdefgh", true),
        ("transport: gowa, inbound_token: \"${INBOUND}\"", true),
        ("transport: waha, webhook_secret: a", true),
        ("transport: evolution, url: \"http://127.0.0.1:1\", api_key: k, instance: i, webhook_secret: short", true),
        ("transport: meta, phone_number_id: \"1\", access_token: t, app_secret: short", true),
    ] {
        let settings = format!("accounts:\n  main: {{ {account} }}\n");
        let said = check(&[("postrider.yaml", &settings), (".env", "INBOUND=fifteen-letters\n")]);
        assert_eq!(said.len(), usize::from(warns), "{account}: {said:?}");
        let told =
            |said: &String| said.starts_with("warning postrider.yaml:2 ") && said.contains("fewer than 16 letters");
        assert!(said.iter().all(|said| told(said) && !said.contains("fifteen")), "{account}: {said:?}");
    }
    // What is listed for flows and used by the settings too is for no flow.
    let both =
        "accounts: { main: { transport: gowa, basic_auth: \"${AUTH}\" } }\nsecrets: { AUTH: [a], POSTRIDER_X: [a] }\n";
    let said = check(&[("postrider.yaml", both), (".env", "AUTH=u:p\n")]);
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said.iter().all(|said| said.starts_with("warning") && said.contains("is for no flow")), "{said:?}");
}
