//! Reports about mistakes name place and remedy, and never a value that may be a secret.

use std::process::Output;

use super::assert_plain;
use crate::support::binary;
use crate::support::folder;

/// Stands wherever a secret may stand.
const SECRET: &str = "hunter2hunter2";

/// What every way of looking at the files says, in one text.
fn everything(files: &[(&str, &str)]) -> String {
    let folder = folder(files);
    let said = |output: &Output| {
        let (out, err) = (assert_plain("output", &output.stdout), assert_plain("errors", &output.stderr));
        format!("{out}\n{err}")
    };
    let checked = binary::run(folder.path(), &["check"]);
    let mut all = said(&checked);
    assert_eq!(checked.status.code(), Some(1), "{files:?}: {all}");
    all.push_str(&said(&binary::run(folder.path(), &["check", "--json"])));
    // With wrong settings nothing starts; with wrong flows it would.
    let wrong = if files.iter().any(|(path, _)| path.starts_with("flows/")) { "next" } else { "run" };
    all.push_str(&said(&binary::run(folder.path(), &[wrong])));
    all
}

#[test]
fn mistakes_in_env_show_no_line_of_it() {
    for text in [
        "A=hunter2hunter2\nnonsense hunter2hunter2\nB=hunter2hunter2\n",
        "A=hunter2hunter2\nB=\"hunter2hunter2\n",
        "export hunter2hunter2\n",
        "A-B=hunter2hunter2\n",
    ] {
        let said = everything(&[(".env", text)]);
        assert!(!said.contains(SECRET), "{text}: {said}");
        assert!(said.contains(".env:") && said.contains("NAME=value") || said.contains("not closed"), "{said}");
    }
}

#[test]
fn mistakes_in_settings_show_no_secret() {
    for wrong in [
        // A mistake beside secrets.
        "    token: hunter2hunter2\n    transprt: wapim\n    basic_auth: user:hunter2hunter2\n",
        "    transport: wapim\n    token: hunter2hunter2\n  transport: x\n   token: hunter2hunter2\n",
        // In their own lines.
        "    transport: wapim\n    tokn: hunter2hunter2\n",
        "    transport: wapim\n    token: \"hunter2hunter2\n",
        "    transport: wapim\n    token: 'hunter2hunter2\n    url: x\n",
        "    transport: wapim\n    token: hunter2hunter2: x\n",
        "    transport: wapim\n    token: %hunter2hunter2\n",
        "    transport: wapim\n    token: @hunter2hunter2\n",
        "    transport: wapim\n    token: *hunter2hunter2\n",
        "    transport: wapim\n    token: !hunter2hunter2 [x]\n",
        "    transport: wapim\n    token: &hunter2hunter2\n",
        "    transport: wapim\n    token: `hunter2hunter2\n",
        "    transport: wapim\n    token: [hunter2hunter2\n",
        "    transport: wapim\n    token: [hunter2hunter2]\n",
        "    transport: wapim\n    token: { hunter2hunter2: 1 }\n",
        "    transport: wapim\n    token: |hunter2hunter2\n",
        "    transport: wapim\n    token: |\n      name: hunter2hunter2\n     timezone: hunter2hunter2\n",
        "    transport: wapim\n    token:hunter2hunter2\n",
        "    transport: wapim\n\ttoken: hunter2hunter2\n",
        "    transport: wapim\n    token hunter2hunter2\n    url: x\n",
        "    transport: wapim\n    hunter2hunter2\n",
        "    transport: wapim\n    token: \"hunter2hunter2\\q\"\n",
        "    transport: wapim\n    token: \"hunter2hunter2\" hunter2hunter2\n",
        "    transport: wapim\n    token: hunter2hunter2\n    token: hunter2hunter2\n",
        "    transport: wapim\n    # token: hunter2hunter2\n    # }: hunter2hunter2\n   x: 1\n",
        "    { transport: wapim, token:hunter2hunter2 }\n",
        "    { transport: wapim, token=hunter2hunter2 }\n",
        "    { transport: wapim, token: hunter2hunter2\n",
        "    { transport: wapim, token: hunter2hunter2, bad: 1 }\n",
        "    transport: gowa\n    basic_auth: hunter2hunter2\n",
        "    transport: gowa\n    inbound_token: hunter2hunter2 with blanks\n",
        "    transport: gowa\n    url: http://user:hunter2hunter2@127.0.0.1\n",
        "    transport: gowa\n    url: ftp://user:hunter2hunter2@127.0.0.1\n",
        "    transport: gowa\n    url: user:hunter2hunter2@127.0.0.1\n",
        "    transport: gowa\n    url: \"http://user:hunter2hunter2@:x\"\n",
        "    transport: gowa\n    url: http://127.0.0.1?token=hunter2hunter2\n",
        "    transport: gowa\n    url: 'nonsense?token=hunter2hunter2'\n",
        "    transport: twilio\n    account_sid: hunter2hunter2\n    auth_token: AC01\n    from: \"+14155238886\"\n",
        "    transport: meta\n    phone_number_id: hunter2hunter2-x\n    access_token: \"1\"\n",
    ] {
        let settings = format!("accounts:\n  main:\n{wrong}");
        let said = everything(&[("postrider.yaml", &settings)]);
        assert!(said.contains("postrider.yaml:"), "{wrong}: {said}");
        assert!(!said.contains(SECRET), "{wrong}: {said}");
    }
    // What cannot be a secret is shown, as it helps.
    let said = everything(&[("postrider.yaml", "timezone: Europe/Berln\naccounts: {}\n")]);
    assert!(said.contains("timezone: Europe/Berln"), "{said}");
}

#[test]
fn mistakes_in_flows_show_neither_proofs_nor_constants() {
    for wrong in [
        "params:\n  key: hunter2hunter2\n  bad: [1\nrun: 1\n",
        "params:\n  name: hunter2hunter2\n   path: hunter2hunter2\nrun: 1\n",
        "params: hunter2hunter2\nrun: 1\n",
        "params:\n  key: %hunter2hunter2\nrun: 1\n",
        "params:\n  key: hunter2hunter2\n  url: ${UNSET}\nrun: 1\n",
        "triggers:\n  - webhook: { path: x, verify: { token: hunter2hunter2 } }\nrun: 1\n",
        "triggers:\n  - webhook: { path: /x, verify: { token:hunter2hunter2 } }\nrun: 1\n",
        "triggers:\n  - webhook: { path: /x, verify: hunter2hunter2 }\nrun: 1\n",
        "triggers:\n  - webhook:\n      path: /x\n      verify:\n        tokn: hunter2hunter2\nrun: 1\n",
        "triggers:\n  - webhook:\n      path: /x\n      verify:\n        token: @hunter2hunter2\nrun: 1\n",
        "triggers:\n  - webhook:\n      path: /x\n      verify:\n        hmac: { header: X, secrt: hunter2hunter2 }\nrun: 1\n",
        "triggers:\n  - webhook:\n      path: /x\n      verify:\n        hmac: { header: \"hunter2hunter2!\", secret: X }\nrun: 1\n",
        "triggers:\n  - webhook:\n      path: /x\n      verify:\n        token: [a, b, hunter2hunter2]\nrun: 1\n",
        // The script is wrong, and above and below it stand others' lines.
        "triggers:\n  - webhook:\n      path: /x\n      verify:\n        token: hunter2hunter2\nrun: |\n  send_txt(1);\n",
        "run: |\n  send_txt(1);\nparams:\n  key: hunter2hunter2\n",
        "run: |\n  send_txt(1);\nparams: { key: hunter2hunter2 }\n",
        "params: { key: hunter2hunter2 }\nrun: send_txt(1)\n",
    ] {
        let said = everything(&[("flows/a.yaml", wrong)]);
        assert!(said.contains("flows/a.yaml"), "{wrong}: {said}");
        assert!(!said.contains(SECRET), "{wrong}: {said}");
    }
    // The lines of a script are shown with those around them.
    let said = everything(&[("flows/a.yaml", "run: |\n  let before = 1;\n  send_txt(before);\n  let after = 2;\n")]);
    assert!(
        ["let before = 1;", "send_txt(before);", "let after = 2;"].iter().all(|line| said.contains(line)),
        "{said}"
    );
    let said = everything(&[("flows/a.yaml", "triggers:\n  - webhook: no-slash\nrun: 1\n")]);
    assert!(said.contains("- webhook: no-slash"), "{said}");
    // Place and caret agree, also where something is hidden.
    for (trigger, place, line) in [
        ("cron: \"0 9 * * FRI#6\"", ":2:11]", "- cron: \"0 9 * * FRI#6\""),
        ("cron: { schedule: \"0 9 * * *\", missed: nevr }", ":2:44]", "missed: nevr }"),
        ("webhook: { path: /x, verify: { token: hunter2hunter2 }, mx: 1 }", ":2:61]", "verify: ***, mx: ***"),
    ] {
        let said = everything(&[("flows/a.yaml", &format!("triggers:\n  - {trigger}\nrun: 1\n"))]);
        assert!(said.contains(place) && said.contains(&place.replace(']', ": ")) && said.contains(line), "{said}");
        assert!(!said.contains(SECRET), "{said}");
    }
}

#[test]
fn values_that_were_filled_in_are_named_as_they_are_written() {
    let env = "S=Hunter2hunter2\nU=ftp://user:Hunter2hunter2@host\nW=http://Hunter2hunter2 x\nN=-Hunter2hunter2\n";
    for (setting, name) in [
        ("timezone: \"${S}\"", "${S}"),
        ("listen: \"${S}\"", "${S}"),
        ("admin: \"${S}\"", "${S}"),
        ("admin: \"0.0.0.0:${P:-8701}\"", "admin"),
        ("public_url: \"${U}\"", "${U}"),
        ("public_url: \"${W}\"", "${W}"),
        ("default_account: \"${S}\"", "${S}"),
        ("http: { allow: [\"${U}\"] }", "${U}"),
        ("http: { allow: [\"${W}\"] }", "${W}"),
        ("limits: { body: \"${S}\" }", "${S}"),
        ("limits: { cpu_turn: \"${S}\" }", "${S}"),
        ("accounts: { a: { transport: \"${S}\" } }", "${S}"),
        ("accounts: { a: { transport: gowa, url: \"${U}\" } }", "${U}"),
        ("accounts: { a: { transport: gowa, url: \"x-${U}\" } }", "x-${U}"),
        ("accounts: { a: { transport: sandbox, fallback: \"${S}\" } }", "${S}"),
        ("accounts: { a: { transport: sandbox, pace: \"${S}\" } }", "${S}"),
        ("accounts: { a: { transport: sandbox, pace: { rate: \"${S}\" } } }", "${S}"),
        ("accounts: { a: { transport: sandbox, pace: { daily: \"${S}\" } } }", "${S}"),
        ("accounts: { a: { transport: sandbox, pace: { quiet: \"22:00-${S}\" } } }", "${S}"),
        ("accounts: { a: { transport: sandbox, on_unknown: \"${S}\" } }", "${S}"),
        ("accounts: { a: { transport: sandbox, unknown_after: \"${S}\" } }", "${S}"),
        ("accounts: { a: { transport: sandbox, on_unsupported: \"${S}\" } }", "${S}"),
        ("accounts: { a: { transport: sandbox, retry: { first: \"${S}\" } } }", "${S}"),
        ("accounts: { a: { transport: waha, engine: \"${S}\" } }", "${S}"),
        ("accounts: { a: { transport: gowa, timeout: \"${S}\" } }", "${S}"),
        ("accounts: { a: { transport: twilio, account_sid: \"${S}\", auth_token: x, from: \"+14155238886\" } }", "AC"),
        ("accounts: { a: { transport: twilio, account_sid: AC1, auth_token: x, from: \"${N}\" } }", "${N}"),
        ("accounts: { a: { transport: meta, phone_number_id: \"${N}\", access_token: x } }", "phone_number_id"),
        ("accounts: { a: { transport: meta, phone_number_id: \"1\", access_token: x, version: \"${S}\" } }", "${S}"),
    ] {
        let said = everything(&[("postrider.yaml", &format!("{setting}\n")), (".env", env)]);
        assert!(said.contains("postrider.yaml:"), "{setting}: {said}");
        assert!(!said.to_lowercase().contains(SECRET), "{setting}: {said}");
        assert!(said.contains(name), "{setting}: {said}");
    }
}
