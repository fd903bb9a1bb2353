//! The console, built as it is shipped, in a real browser.

mod browser;
mod serving;

use std::path::Path;
use std::sync::OnceLock;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tollgate_host::build::{console, module};
use tollgate_host::server::console::Console;
use tollgate_host::tools;

use browser::{Browser, chromium};
use serving::{Choices, Client, Serving, rest, soon, whole};

/// The people of the tests: the id, the role in the organization `acme`, and the role in its team `search`.
const PEOPLE: [(&str, &str, &str); 8] = [
    ("owner", "org_owner", ""),
    ("orga", "org_admin", ""),
    ("billing", "org_billing", ""),
    ("auditor", "org_auditor", ""),
    ("member", "org_member", ""),
    ("admin", "org_member", "team_admin"),
    ("dev", "org_member", "team_developer"),
    ("viewer", "org_member", "team_viewer"),
];
/// The name of a record that is not text to a careless page.
const HOSTILE: &str = "<img src=x onerror=\"document.title='owned'\">";

/// A gateway with the console, and a browser.
struct World {
    serving: Serving,
    browser: Browser,
}

fn token(user: &str) -> String {
    format!("tg-test-{user}-0123456789abcdefghijklmnop")
}

fn policy() -> Value {
    let text = std::fs::read_to_string(module::workspace().unwrap().join("policies/demo.json")).unwrap();
    let mut policy: Value = serde_json::from_str(&text).unwrap();
    let digest = |user: &str| {
        let digest = Sha256::digest(token(user).as_bytes());
        format!("sha256:{}", digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    };
    for (user, organization, team) in PEOPLE {
        policy["users"][user] = json!({"name": user, "tokens": [digest(user)]});
        policy["organizations"]["acme"]["members"][user] = json!(organization);
        if !team.is_empty() {
            policy["teams"]["search"]["members"][user] = json!(team);
        }
    }
    policy["users"]["platform"] =
        json!({"name": "Platform", "role": "platform_admin", "tokens": [digest("platform")]});
    policy["teams"]["hostile"] = json!({"organization": "acme", "name": HOSTILE});
    policy
}

fn configuration(policy: &Value) -> Value {
    json!({"policy": policy, "volatile_keys": true})
}

/// Starts a gateway and a browser; `None` after a message that the test is skipped.
fn start(name: &str) -> Option<World> {
    static FILES: OnceLock<std::path::PathBuf> = OnceLock::new();
    let chromium = chromium()?;
    let files = Console::building();
    let folder = FILES.get_or_init(|| console::build(true).unwrap_or_else(|error| panic!("{error}")));
    files.load(folder).unwrap();
    let module = module::load(&[]).unwrap_or_else(|error| panic!("{error}"));
    let choices = Choices { console: Some(files), ..Choices::default() };
    let serving = Serving::with(&module, &configuration(&policy()).to_string(), choices);
    Some(World { serving, browser: Browser::start(&chromium, name) })
}

impl World {
    fn url(&self, path: &str) -> String {
        format!("http://{}/tollgate/console{path}", self.serving.addr())
    }

    /// Signs a person in on a page, after forgetting the one before.
    fn enter(&self, user: &str, path: &str) {
        // A page of the same origin, without the console.
        self.browser.open(&self.url("/app-none"));
        self.browser.run("sessionStorage.clear()", &[]);
        self.browser.open(&self.url(&format!("{path}#token={}", token(user))));
        self.browser.sees("Sign out");
    }

    /// Sends a request as a person and returns the status and the body.
    fn api(&self, user: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let mut client = Client::http1(self.serving.addr()).await;
            let request = client
                .request(method, &format!("/tollgate/v1{path}"))
                .header("authorization", format!("Bearer {}", token(user)))
                .header("content-type", kind)
                .body(whole(if body.is_null() { String::new() } else { body.to_string() }))
                .unwrap();
            let response = client.send(request).await.unwrap();
            let status = response.status().as_u16();
            let body = rest(response.into_body()).await;
            (status, serde_json::from_slice(&body).unwrap_or_default())
        })
    }

    /// Fails if the browser reported a breach of the page's policy, or a panic.
    fn assert_no_report(&self) {
        let log = self.browser.log();
        let bad = ["Content Security Policy", "Trusted", "panicked", "RuntimeError", "unreachable"];
        let found: Vec<_> = log.iter().filter(|line| bad.iter().any(|bad| line.contains(bad))).collect();
        assert!(found.is_empty(), "{found:#?}");
    }
}

#[test]
fn a_team_is_created_with_self_service_limits_people_and_then_restricted() {
    let Some(world) = start("workflow") else { return };
    let browser = &world.browser;
    world.enter("platform", "/teams");
    browser.choose("Organization", "Acme");
    browser.click("Create team");
    browser.sees("Identity");
    assert_eq!(browser.value("Allow developers to create personal API keys"), "true", "on without a click");
    browser.fill("Name", "Voice & Video");
    assert_eq!(browser.value("Id"), "voice-video", "proposed");
    browser.click("Tighter rules");
    browser.fill("Keys per person", "2");
    browser.fill("Budget ceiling of a key, US$", "5");
    browser.fill("Longest lifetime in days", "30");
    browser.sees("Each developer may hold 2 keys, each with a budget of up to $5.00, for at most 30 days.");
    // More than the organization has: the API's answer stands at the field.
    browser.fill("Requests per minute", "6000");
    for (label, number) in [
        ("Tokens per minute", "100k"),
        ("Requests per hour", "1 000"),
        ("Requests per day", "5,000"),
        ("Tokens per day", "1.5M"),
    ] {
        browser.fill(label, number);
    }
    browser.fill("Budget, US$", "50");
    browser.fill("Person", "dev");
    browser.click("Add another person");
    browser.fill_at("//*[@id='person-1']", "admin");
    browser.choose("Role", "Developer");
    browser.click_at("//*[@id='person-1-role']/option[.='Admin']");
    browser.click_at("//button[@type='submit']");
    browser.sees("Not saved:");
    browser.wait("the summary has the focus", "return document.activeElement.id === 'team-faults'", &[]);
    let error = browser.run("return document.getElementById('team-limits-rpm-error').innerText", &[]);
    assert!(error.as_str().unwrap().contains("600"), "{error}");
    assert_eq!(world.api("platform", "GET", "/teams/voice-video", &Value::Null).0, 404, "all or nothing");
    browser.fill("Requests per minute", "60");
    browser.click_at("//button[@type='submit']");
    browser.sees("Created. Self-service is on.");

    let (_, team) = world.api("platform", "GET", "/teams/voice-video", &Value::Null);
    assert_eq!(
        team["limits"],
        json!({"rpm": 60, "tpm": 100_000, "rph": 1_000, "rpd": 5_000, "tpd": 1_500_000})
    );
    assert_eq!(team["budget"], json!({"max": "50.00", "period": "month"}));
    assert_eq!(team["members"], json!({"dev": "team_developer", "admin": "team_admin"}));
    assert_eq!(
        team["self_service"],
        json!({"enabled": true, "max_keys_per_user": 2, "budget_ceiling": "5.00", "max_expiry_days": 30})
    );

    // A limit is removed, and the removal taken back.
    browser.click("Edit: Limits and use");
    browser.fill("Tokens per day", "");
    browser.click("Save");
    browser.sees("Saved. In force from the next request.");
    assert_eq!(
        world.api("platform", "GET", "/teams/voice-video", &Value::Null).1["limits"]["tpd"],
        Value::Null
    );
    browser.click("Undo");
    browser.sees("Undone: it is as before.");
    assert_eq!(
        world.api("platform", "GET", "/teams/voice-video", &Value::Null).1["limits"]["tpd"],
        1_500_000
    );

    // Its admin restricts the access, sees what that does, and what a developer may still call.
    world.enter("admin", "/teams/voice-video/access");
    browser.sees("6 of 6 targets can be called.");
    browser.click("Edit access");
    browser.check("Restrict");
    browser.check("embeddings");
    browser.click("Save");
    browser.sees("Saved. 5 targets can no longer be called.");
    browser.sees("− no longer callable");
    let (_, preview) = world.api("admin", "GET", "/teams/voice-video/access", &Value::Null);
    assert_eq!(preview["access_groups"], json!(["embeddings"]));
    world.assert_no_report();

    // The developer makes a key within the rules, and no other.
    world.enter("dev", "/teams/voice-video/keys/new");
    browser.fill("Name", "Laptop");
    browser.click("Create key");
    browser.sees("requires one of at most $5");
    browser.fill("Budget, US$", "6");
    browser.click("Create key");
    browser.sees("above this team's ceiling of $5");
    browser.fill("Budget, US$", "5");
    browser.fill("Expires after, in days", "30");
    browser.click("Create key");
    browser.sees("This is the only time that the secret is shown.");
    browser.click("Test it now");
    browser.sees("It works: this key may call 1 model.");
    browser.click("I have stored it");
    browser.sees("made by self-service");
    world.assert_no_report();
}

#[test]
fn the_self_service_card_is_there_for_admins_and_not_for_roles_below() {
    let Some(world) = start("card") else { return };
    let roles =
        [("platform", true, true), ("owner", true, true), ("orga", true, true), ("admin", true, true)];
    let others = [("auditor", true, false), ("billing", false, false), ("member", false, false)];
    let more = [("dev", false, false), ("viewer", false, false)];
    for (user, card, edits) in roles.into_iter().chain(others).chain(more) {
        world.enter(user, "/teams/search");
        world.browser.sees("Access and reasons");
        if card {
            world.browser.sees("Each developer may hold 3 keys");
        }
        assert_eq!(world.browser.has("Self-Service Keys"), card, "{user}: the card");
        assert_eq!(world.browser.has("Edit: Self-Service Keys"), edits, "{user}: its button");
        // The page offers what the API allows, and nothing else.
        let etag = json!({"name": "Search"});
        let (status, _) = world.api(user, "PATCH", "/teams/search", &etag);
        assert_eq!(world.browser.has("Edit: Budget"), status == 200, "{user}: the budget ({status})");
        let (status, _) = world.api(user, "PATCH", "/teams/search", &json!({"state": "active"}));
        assert_eq!(world.browser.has("Delete team"), status == 200, "{user}: deleting ({status})");
        let (status, _) = world.api(user, "GET", "/teams/search/usage", &Value::Null);
        assert_eq!(
            world.browser.text().contains("in the last 60 s"),
            status == 200,
            "{user}: use ({status})"
        );
    }
    // Tightening the rules changes what the API allows.
    world.enter("admin", "/teams/search");
    world.browser.click("Edit: Self-Service Keys");
    world.browser.check("Allow developers to create personal API keys");
    world.browser.click("Save");
    world.browser.sees("Developers cannot create keys of their own here.");
    world.enter("dev", "/teams/search/keys/new");
    world.browser.fill("Name", "Laptop");
    world.browser.click("Create key");
    world.browser.sees("Self-service is disabled in this team.");
    world.assert_no_report();
}

/// A script that returns every place of the page in which a text could stay.
const PLACES: &str = "return JSON.stringify([location.href, document.documentElement.outerHTML, {...localStorage}, {...sessionStorage}, \
    document.cookie, history.state, [...document.querySelectorAll('input, textarea')].map(it => it.value), \
    performance.getEntries().map(it => it.name)])";

#[test]
fn the_secret_is_in_its_dialog_and_nowhere_else() {
    let Some(world) = start("secret") else { return };
    let browser = &world.browser;
    world.enter("owner", "/teams/trial/keys/new");
    browser.fill("Name", HOSTILE);
    browser.click("Create key");
    browser.sees("I have stored it");
    let secret = browser.run("return document.querySelector('.secret').innerText", &[]);
    let secret = secret.as_str().unwrap().to_owned();
    assert!(secret.starts_with("sk-tg-"), "{}", secret.len());
    // Esc does not end it.
    browser.press("\u{e00c}\u{e00c}");
    browser.click("Ready to paste");
    browser.sees("OpenAI(base_url=");
    let url = browser.url();
    assert!(
        !url.contains(&secret)
            && !browser.run(PLACES, &[]).as_str().unwrap().split("<dialog").next().unwrap().contains(&secret)
    );
    browser.click("I have stored it");
    browser.sees("Details");
    let places = browser.run(PLACES, &[]);
    assert!(!places.as_str().unwrap().contains(&secret), "it stays on the page");
    browser.back();
    browser.sees("New key");
    assert!(!browser.run(PLACES, &[]).as_str().unwrap().contains(&secret), "it comes back");
    assert!(browser.log().iter().all(|line| !line.contains(&secret)));

    // Rotation shows the new one the same way; then the key is revoked.
    world.enter("owner", "/teams/trial/keys");
    browser.click_at("//a[contains(., 'onerror')]");
    browser.click("Rotate");
    browser.choose("The old secret works", "for 1 hour");
    browser.click("Rotate");
    browser.sees("The old secret works until");
    let fresh = browser.run("return document.querySelector('.secret').innerText", &[]);
    assert_ne!(fresh, json!(secret));
    browser.click("I have stored it");
    browser.sees_no("I have stored it");
    browser.click("Rotate");
    browser.click("Rotate");
    browser.sees("An earlier secret is still in its grace period.");
    browser.click("Cancel");
    browser.click("Revoke");
    browser.sees("It is rejected from the next request.");
    browser.click("Revoke");
    browser.sees("The key is revoked.");
    world.assert_no_report();
}

#[test]
fn a_change_by_another_person_meanwhile_is_merged() {
    let Some(world) = start("conflict") else { return };
    let browser = &world.browser;
    world.enter("owner", "/teams/search");
    browser.click("Edit: Limits and use");
    browser.fill("Requests per minute", "50");
    // Elsewhere in the record: nothing to ask.
    world.api("platform", "PATCH", "/teams/search", &json!({"name": "Search 2"}));
    browser.click("Save");
    browser.sees("Saved. In force from the next request.");
    let team = || world.api("platform", "GET", "/teams/search", &Value::Null).1;
    assert_eq!((&team()["name"], &team()["limits"]["rpm"]), (&json!("Search 2"), &json!(50)));

    // In the same part: one field of theirs, one of both.
    browser.click("Edit: Limits and use");
    browser.fill("Requests per minute", "40");
    world.api("platform", "PATCH", "/teams/search", &json!({"limits": {"rpm": 30, "rpd": 4000}}));
    browser.click("Save");
    browser.sees("Someone else changed this meanwhile.");
    browser.sees("Changed by someone else meanwhile, to 30.");
    browser.sees("Changed by someone else meanwhile; it was 5\u{202f}000.");
    assert_eq!(team()["limits"]["rpm"], 30, "nothing is saved yet");
    browser.click("Keep mine");
    browser.click("Save");
    browser.sees("Saved. In force from the next request.");
    assert_eq!((&team()["limits"]["rpm"], &team()["limits"]["rpd"]), (&json!(40), &json!(4000)));
    world.assert_no_report();
}

#[test]
fn sign_in_is_asked_for_again_and_a_link_does_not_replace_a_person_unasked() {
    let Some(world) = start("session") else { return };
    let browser = &world.browser;
    browser.open(&world.url("/teams/search?x=1"));
    browser.sees("Paste your user token.");
    browser.fill("User token", "wrong");
    browser.click("Sign in");
    browser.sees("The user token is unknown.");
    browser.fill("User token", &token("dev"));
    browser.click("Sign in");
    browser.sees("You can read this.");
    assert!(browser.url().ends_with("/teams/search?x=1"), "back to the same page: {}", browser.url());
    browser.reload();
    browser.sees("You can read this.");

    // A link with another token.
    browser.go(&world.url(&format!("/teams#token={}", token("owner"))));
    browser.sees("You are signed in as dev.");
    assert!(!browser.url().contains("token"), "{}", browser.url());
    browser.click("Stay signed in as dev");
    browser.sees("Sign out");
    browser.go(&world.url(&format!("/teams/search#token={}", token("owner"))));
    browser.click("Use the link");
    browser.sees("Delete team");

    // The token ends while a form is open.
    browser.click("Edit: Limits and use");
    browser.fill("Requests per minute", "45");
    let without = |user: &str| {
        let mut policy = policy();
        policy["users"][user]["tokens"] = json!([]);
        world.serving.server.reload(configuration(&policy).to_string().as_bytes()).unwrap();
    };
    without("owner");
    browser.click("Save");
    browser.sees("You are signed out");
    world.serving.server.reload(configuration(&policy()).to_string().as_bytes()).unwrap();
    browser.fill("User token", &token("owner"));
    browser.click("Sign in");
    browser.sees_no("You are signed out");
    assert_eq!(browser.value("Requests per minute"), "45", "what was typed is still there");
    browser.click("Save");
    browser.sees("Saved. In force from the next request.");

    browser.click("Sign out");
    browser.sees("Paste your user token.");
    let places = browser.run(PLACES, &[]);
    assert!(!places.as_str().unwrap().contains(&token("owner")), "the token stays");
    world.assert_no_report();
}

#[test]
fn names_are_text_and_pages_that_do_not_exist_say_so() {
    let Some(world) = start("names") else { return };
    let browser = &world.browser;
    world.enter("platform", "/teams?organization=acme");
    browser.sees(HOSTILE);
    browser.click_at("//a[contains(., 'onerror')]");
    browser.wait("the title is the name", "return document.title.startsWith('<img')", &[]);
    assert_eq!(browser.run("return document.images.length", &[]), json!(0));
    world.enter("dev", "/teams/lab");
    browser.sees("It does not exist, or you may not read it.");
    world.enter("dev", "/nothing/here");
    browser.sees("There is no such page");
    world.assert_no_report();
}

#[test]
fn members_are_added_changed_and_removed() {
    let Some(world) = start("members") else { return };
    let browser = &world.browser;
    world.enter("orga", "/teams/search/members");
    browser.fill("Person", "nina@acme.example");
    browser.click("Add");
    browser.sees("nina@acme.example is a member now.");
    browser.choose("Role of nina@acme.example", "Viewer");
    browser.sees("nina@acme.example is viewer now.");
    browser.click("Undo");
    browser.sees("nina@acme.example is developer now.");
    let members = || world.api("orga", "GET", "/teams/search", &Value::Null).1["members"].clone();
    assert_eq!(members()["nina@acme.example"], "team_developer");
    browser.click("Remove Bob");
    browser.sees("This key of theirs stops working at once");
    browser.click("Cancel");
    browser.click("Remove nina@acme.example");
    browser.sees("No key of theirs in this team ends with it.");
    browser.click("Remove");
    browser.sees_no("nina@acme.example");
    assert_eq!(members()["nina@acme.example"], Value::Null);

    // A team admin may add people of the organization only.
    world.enter("admin", "/teams/search/members");
    browser.fill("Person", "zoe@acme.example");
    browser.click("Add");
    browser.sees("zoe@acme.example");
    browser.wait("an error", "return document.querySelector('[role=alert]') !== null", &[]);
    world.assert_no_report();
}

/// The pages that each person of the list is shown in the tests of all pages.
const PAGES: [(&str, &str, &str); 14] = [
    ("sign-in", "", ""),
    ("teams", "platform", "/teams?organization=acme"),
    ("new-team", "platform", "/teams/new?organization=acme"),
    ("team", "admin", "/teams/search"),
    ("team-blocked", "platform", "/teams/parked"),
    ("team-viewer", "viewer", "/teams/search"),
    ("access", "admin", "/teams/search/access"),
    ("members", "admin", "/teams/search/members"),
    ("keys", "admin", "/teams/search/keys"),
    ("keys-none", "dev", "/teams/search/keys"),
    ("new-key", "admin", "/teams/search/keys/new"),
    ("key", "admin", "/keys/demobob"),
    ("home", "dev", ""),
    ("not-found", "dev", "/teams/nothing"),
];

#[test]
fn every_page_keeps_the_rules_for_accessible_pages_in_both_themes() {
    let Some(world) = start("axe") else { return };
    let Some(axe) = tools::require(tools::axe()) else { return };
    let axe = std::fs::read_to_string(axe).unwrap();
    let pictures = std::env::var_os("TOLLGATE_PICTURES");
    let browser = &world.browser;
    let check = |name: &str| {
        for theme in ["light", "dark"] {
            for width in [1280, 360, 320] {
                browser.look(width, 900, theme);
                let wide = browser.run("return document.documentElement.scrollWidth - innerWidth", &[]);
                assert!(wide.as_i64() <= Some(0), "{name}: scrolls sideways by {wide} at {width}");
                if let Some(folder) = pictures.as_ref().filter(|_| width != 320) {
                    browser.picture(&Path::new(folder).join(format!("{name}-{theme}-{width}.png")));
                }
            }
            browser.look(1280, 900, theme);
            let script = format!(
                "{axe}; return axe.run({{runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']}})\
                 .then(found => found.violations.map(it => it.id + ': ' + it.nodes.map(node => node.html + ' ' + \
                 node.failureSummary).join(' | ')))"
            );
            let violations = browser.run(&script, &[]);
            assert_eq!(violations, json!([]), "{name}, {theme}");
        }
    };
    for (name, user, path) in PAGES {
        if user.is_empty() {
            browser.open(&world.url(path));
            browser.sees("User token");
        } else {
            world.enter(user, path);
            settled(browser);
        }
        check(name);
    }
    // The states of a page that a click leads to.
    world.enter("admin", "/teams/search");
    browser.click("Edit: Limits and use");
    browser.fill("Requests per minute", "many");
    browser.click("Edit: Self-Service Keys");
    browser.click_at("//section[@id='limits']//button[@type='submit']");
    browser.sees("This is not a whole number.");
    check("team-edited");
    world.enter("admin", "/teams/search/access");
    browser.click("Edit access");
    browser.check("Restrict");
    settled(browser);
    check("access-edited");
    world.enter("admin", "/teams/search/keys/new");
    browser.fill("Name", "Laptop");
    browser.click("Create key");
    browser.click("Ready to paste");
    check("secret");
    world.assert_no_report();
}

/// Waits until nothing is being read.
fn settled(browser: &Browser) {
    browser.wait(
        "all is read",
        "return document.querySelector('h1, h2') !== null && !document.querySelector('.waiting')",
        &[],
    );
}

#[test]
fn a_key_is_made_by_keyboard_alone() {
    let Some(world) = start("keyboard") else { return };
    let browser = &world.browser;
    world.enter("dev", "/teams/search/keys");
    settled(browser);
    let tab_to = |what: &str| {
        for _ in 0..40 {
            browser.press("\u{e004}");
            let script = "const it = document.activeElement; return (it.labels?.[0]?.innerText ?? it.innerText).trim()";
            if browser.run(script, &[]) == json!(what) {
                return;
            }
        }
        panic!("{what} cannot be reached:\n{}", browser.text());
    };
    tab_to("Skip to the content");
    browser.press("\u{e007}");
    tab_to("Create key");
    browser.press("\u{e007}");
    browser.sees("New key");
    browser.wait("the heading has the focus", "return document.activeElement.id === 'title'", &[]);
    settled(browser);
    tab_to("Name");
    browser.press("Phone");
    tab_to("Budget, US$");
    browser.press("10");
    tab_to("Expires after, in days");
    browser.press("7");
    tab_to("Create key");
    browser.press(" ");
    browser.sees("This is the only time that the secret is shown.");
    tab_to("I have stored it");
    browser.press(" ");
    browser.sees("made by self-service");
}

#[test]
fn files_carry_strict_headers_and_the_first_load_is_small() {
    let Some(world) = start("files") else { return };
    let get = |path: &str, method: &str, encoding: &str| {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let mut client = Client::http1(world.serving.addr()).await;
            let request =
                client.request(method, path).header("accept-encoding", encoding).body(whole("")).unwrap();
            let response = soon(client.send(request)).await.unwrap();
            let (head, body) = response.into_parts();
            (head, rest(body).await)
        })
    };
    let field = |head: &hyper::http::response::Parts, name: &str| {
        head.headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    };
    let (head, index) = get("/tollgate/console", "GET", "");
    assert_eq!((head.status.as_u16(), field(&head, "cache-control").as_str()), (200, "no-cache"));
    let index = String::from_utf8(index).unwrap();
    assert!(!index.contains("HASH") && !index.contains("style=") && !index.contains("<script>"), "{index}");
    let names: Vec<&str> =
        index.split('"').filter(|part| part.starts_with("/tollgate/console/app-")).collect();
    assert_eq!(names.len(), 4, "{names:?}");
    let mut first_load = get("/tollgate/console", "GET", "br, gzip").1.len();
    for name in &names {
        let (head, plain) = get(name, "GET", "gzip;q=0, br");
        assert_eq!(field(&head, "content-encoding"), "");
        let (head, bytes) = get(name, "GET", "br, gzip");
        assert_eq!(field(&head, "content-encoding"), "gzip");
        assert_eq!(field(&head, "cache-control"), "public, max-age=31536000, immutable");
        assert!(bytes.len() < plain.len());
        first_load += bytes.len();
    }
    println!("first load: {first_load} bytes");
    assert!(first_load <= 300_000, "{first_load} bytes");

    for (path, method, status) in [
        ("/tollgate/console", "GET", 200),
        ("/tollgate/console/", "HEAD", 200),
        ("/tollgate/console/teams/a/b/c?d=e", "GET", 200),
        ("/tollgate/console/app-old.js", "GET", 404),
        ("/tollgate/console", "POST", 405),
        (names[0], "GET", 200),
    ] {
        let (head, _) = get(path, method, "");
        assert_eq!(head.status.as_u16(), status, "{method} {path}");
        let policy = field(&head, "content-security-policy");
        for part in [
            "default-src 'none'",
            "script-src 'self' 'wasm-unsafe-eval'",
            "trusted-types 'none'",
            "frame-ancestors 'none'",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe-inline"), "{policy}");
        assert_eq!(field(&head, "x-content-type-options"), "nosniff");
        assert_eq!(field(&head, "referrer-policy"), "no-referrer");
        assert_eq!(field(&head, "cross-origin-opener-policy"), "same-origin");
        assert_eq!(field(&head, "permissions-policy"), "clipboard-write=(self)");
    }
    // Other addresses are the filter's.
    for path in ["/tollgate/consoles", "/tollgate/v1/me", "/v1/models"] {
        let (head, _) = get(path, "GET", "");
        assert_ne!(head.status.as_u16(), 200, "{path}");
        assert_eq!(field(&head, "content-security-policy"), "", "{path}");
    }
}

#[test]
fn a_console_that_is_not_there_yet_says_so() {
    let module = module::load(&[]).unwrap_or_else(|error| panic!("{error}"));
    let console = Console::building();
    let choices = Choices { console: Some(std::sync::Arc::clone(&console)), ..Choices::default() };
    let serving = Serving::with(&module, &configuration(&policy()).to_string(), choices);
    let get = || {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let mut client = Client::http1(serving.addr()).await;
            let request = client.request("GET", "/tollgate/console/teams").body(whole("")).unwrap();
            let response = client.send(request).await.unwrap();
            let refresh = response.headers().contains_key("refresh");
            assert!(response.headers().contains_key("content-security-policy"));
            (
                response.status().as_u16(),
                refresh,
                String::from_utf8(rest(response.into_body()).await).unwrap(),
            )
        })
    };
    let (status, refresh, text) = get();
    assert_eq!((status, refresh), (503, true));
    assert!(text.contains("is being built"), "{text}");
    console.failed();
    let (status, refresh, text) = get();
    assert_eq!((status, refresh), (503, false));
    assert!(text.contains("could not be built"), "{text}");
    let line = serving.lines.all();
    assert_eq!((&line[0]["status"], line.len()), (&json!(503), 2), "{line:?}");
}
