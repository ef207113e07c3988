//! Scopes of tokens, and the audit of acts.

use insta::assert_snapshot;
use rusqlite::Connection as Database;
use serde_json::{Value, json};
use tocsin_tests::{
    Site, TestHost,
    http::{Answer, Request},
    libraries::library,
    wait,
};

const MONITOR: &str = "token-of-monitor";
const ON_CALL: &str = "token-of-on-call";
const OPS: &str = "token-of-the-ops";

const TOKENS: &str = "[admin]\ntokens = [\n\
    { name = 'monitor', token = 'token-of-monitor', scopes = ['read'] },\n\
    { name = 'on-call', token = 'token-of-on-call', scopes = ['read', 'act'] },\n\
    { name = 'ops', token = 'token-of-the-ops', scopes = ['admin'] },\n\
    ]\n[integrations.good]\nplugin = 'well-behaved'\n";

fn host(config: &str) -> TestHost {
    serve(Site::new(), config)
}

fn serve(site: Site, config: &str) -> TestHost {
    let site = site.plugin(&library("well-behaved"));
    site.config(&format!("{config}\n{TOKENS}")).serve()
}

fn as_owner<'r>(token: &str, request: Request<'r>) -> Request<'r> {
    request.header("authorization", format!("Bearer {token}"))
}

fn post(host: &TestHost, token: &str, path: &str, body: &str) -> Answer {
    let request = Request::post(path, body).header("content-type", "application/json");
    host.ask_admin(&as_owner(token, request))
}

/// Returns the entries of the audit with a query, oldest first.
fn audit(host: &TestHost, query: &str) -> Vec<Value> {
    let path = format!("/api/v1/audit?limit=500{query}");
    let list = wait::until("the API is not busy", || {
        let answer = host.ask_admin(&as_owner(OPS, Request::new("GET", &path)));
        (answer.status == 200).then(|| answer.json())
    });
    assert_eq!(list["next_cursor"], Value::Null);
    let mut entries = list["entries"].as_array().expect("a list").clone();
    entries.reverse();
    entries
}

/// Waits until the log has that many acts, and returns them.
fn logged_acts(host: &TestHost, count: usize) -> Vec<Value> {
    wait::until("the acts are in the log", || {
        let lines = host.logged("audit");
        (lines.len() >= count).then_some(lines)
    })
}

/// Returns the parts of an entry that a test can know: number, actor, action, object, result and detail.
fn outline(entry: &Value) -> Value {
    let parts = ["number", "actor", "action", "object", "result", "detail"];
    parts.iter().map(|part| entry[*part].clone()).collect()
}

/// Method, path, operation id and scope of each route that needs a token, as the description of the API has
/// them.
fn operations(host: &TestHost) -> Vec<[String; 4]> {
    let mut all = Vec::new();
    for (path, item) in host.api("/openapi.json")["paths"].as_object().expect("routes") {
        for (method, operation) in item.as_object().expect("methods") {
            let Some(scope) = operation["security"][0]["token"][0].as_str() else { continue };
            let id = operation["operationId"].as_str().expect("an id");
            all.push([method.to_uppercase(), path.clone(), id.into(), scope.into()]);
        }
    }
    all
}

#[test]
fn a_route_opens_to_its_scope_and_the_wider_ones_and_every_act_is_in_the_audit() {
    // A reload that finds changed files would be an act, too.
    let host = host("[watch]\nenabled = false");
    let (mut tried, mut acts) = (0, Vec::new());
    for [method, path, id, scope] in operations(&host) {
        let target = path.replace("{id}", "999").replace("{name}", "nobody");
        let openers: &[&str] = match scope.as_str() {
            "read" => &[MONITOR, ON_CALL, OPS],
            "act" => &[ON_CALL, OPS],
            "admin" => &[OPS],
            other => panic!("{path}: scope {other}"),
        };
        for (token, actor) in
            [(MONITOR, "token monitor"), (ON_CALL, "token on-call"), (OPS, "token ops")]
        {
            tried += 1;
            let answer = if method == "GET" {
                host.ask_admin(&as_owner(token, Request::new("GET", &target)))
            } else {
                post(&host, token, &target, "{}")
            };
            let is_open = openers.contains(&token);
            assert_ne!(answer.status, 401, "{method} {path}");
            assert_eq!(answer.status != 403, is_open, "{method} {path} with {actor}: {answer:?}");
            if !is_open {
                assert_eq!(answer.error_code(), "forbidden");
            }
            if method == "GET" || scope == "read" {
                continue;
            }
            let object = ["alert", "request", "delivery", "destination", "silence", "plugin"]
                .into_iter()
                .find_map(|kind| {
                    let plural =
                        if kind == "delivery" { "deliveries" } else { &format!("{kind}s") };
                    let name = target.strip_prefix(&format!("/api/v1/{plural}/"))?;
                    Some(format!("{kind} {}", name.split('/').next()?))
                });
            let result = if answer.status == 200 { "done".into() } else { answer.error_code() };
            acts.push(json!({
                "actor": format!("api {actor}"),
                "action": id,
                "object": object,
                "result": result,
                "status": answer.status,
                "request": answer.request_id(),
                "address": "127.0.0.1",
            }));
        }
    }
    assert!(tried >= 3 * 29 && acts.len() >= 3 * 14, "{tried} requests, {} acts", acts.len());
    let results = |result: &str| acts.iter().filter(|act| act["result"] == result).count();
    assert!(results("done") >= 2 && results("not_found") >= 10 && results("forbidden") >= 14);

    let mut entries = audit(&host, "");
    for (place, entry) in entries.iter_mut().enumerate() {
        let entry = entry.as_object_mut().expect("an entry");
        assert_eq!(entry.remove("number"), Some((place + 1).into()), "no number is left out");
        entry.remove("at").expect("a time");
        entry.remove("detail").expect("a detail, or null");
    }
    assert_eq!(entries, acts, "each act once, in the order of the acts");
}

#[test]
fn a_refusal_names_the_scope_that_is_needed_and_those_of_the_token() {
    let host = host("");
    let answer = post(&host, MONITOR, "/api/v1/alerts/1/acknowledge", "");
    assert_eq!(answer.status, 403);
    assert_snapshot!(answer.body, @r#"{"error":{"code":"forbidden","message":"the route needs the scope `act`, and the token has `read`; hint: use a token with the scope `act`, or add it to the `scopes` of this one in `admin.tokens`"}}"#);
    let audit = as_owner(ON_CALL, Request::new("GET", "/api/v1/audit"));
    assert_snapshot!(host.ask_admin(&audit).json()["error"]["message"].as_str().expect("a text"), @"the route needs the scope `admin`, and the token has `read`, `act`; hint: use a token with the scope `admin`, or add it to the `scopes` of this one in `admin.tokens`");
    let wrong = post(&host, "some-wrong-token", "/api/v1/alerts/1/acknowledge", "");
    assert_eq!((wrong.status, wrong.error_code().as_str()), (401, "unauthorized"));
}

#[test]
fn acts_are_in_the_audit_and_in_the_log_with_actor_object_and_result_and_survive_a_restart() {
    let host = host("[watch]\nenabled = false");
    assert_eq!(host.post("good", "disk full").status, 200);
    let alert = host.ask_admin(&as_owner(MONITOR, Request::new("GET", "/api/v1/alerts/1"))).json();
    let by_id = format!("/api/v1/alerts/{}/acknowledge", alert["id"].as_str().expect("an id"));
    let named = Request::post(&by_id, "").header("x-tocsin-user", "steve");
    assert_eq!(host.ask_admin(&as_owner(ON_CALL, named)).status, 200);
    let statuses = [
        ("/api/v1/alerts/1/resolve", ""),
        ("/api/v1/alerts/1/acknowledge", ""),
        ("/api/v1/alerts/%1b%5b31m/resolve", ""),
        ("/api/v1/silences", "{\"ends_at\": \"2100-01-01T00:00:00Z\", \"reason\": \"a move\"}"),
        ("/api/v1/silences/1/end", ""),
        ("/api/v1/alerts/1/notes", "no JSON"),
    ]
    .map(|(path, body)| post(&host, ON_CALL, path, body).status);
    assert_eq!(statuses, [200, 409, 404, 200, 200, 400]);
    assert_eq!(post(&host, OPS, "/api/v1/reload?dry_run=true", "").status, 200);
    host.hang_up();

    let entries = audit(&host, "");
    let outlines: Vec<_> = entries.iter().map(|entry| outline(entry).to_string()).collect();
    assert_snapshot!(outlines.join("\n"), @r#"
    [1,"command line, steve, api token on-call","acknowledge_alert","alert 1","done",null]
    [2,"api token on-call","resolve_alert","alert 1","done",null]
    [3,"api token on-call","acknowledge_alert","alert 1","conflict",null]
    [4,"api token on-call","resolve_alert","alert %1b%5b31m","not_found",null]
    [5,"api token on-call","add_silence","silence 1","done",null]
    [6,"api token on-call","end_silence","silence 1","done",null]
    [7,"api token on-call","note_alert","alert 1","bad_request",null]
    [8,"api token ops","reload",null,"done","dry run"]
    [9,"signal","reload",null,"done","0 changes"]
    "#);
    let fields = |entry: &Value| {
        ["actor", "action", "object", "result", "detail", "status", "address", "request"]
            .map(|field| entry[field].clone())
    };
    let lines = logged_acts(&host, entries.len());
    assert!(lines.iter().all(|line| line["level"] == "INFO"));
    let logged: Vec<_> = lines.iter().map(fields).collect();
    let stored: Vec<_> = entries.iter().map(fields).collect();
    assert_eq!(logged, stored, "the log has the same fields");

    for (query, numbers) in [
        ("&actor=STEVE", &[1][..]),
        ("&action=acknowledge_alert", &[1, 3]),
        ("&object=alert%201", &[1, 2, 3, 7]),
        ("&object=silence", &[5, 6]),
        ("&since=2100-01-01T00:00:00Z", &[]),
        ("&until=2100-01-01T00:00:00Z&actor=signal", &[9]),
    ] {
        let found: Vec<_> = audit(&host, query).iter().map(|it| it["number"].clone()).collect();
        assert_eq!(found, numbers, "{query}");
    }
    let host = host.restart();
    assert_eq!(audit(&host, ""), entries);
    let page = |cursor: &str| {
        let path = format!("/api/v1/audit?limit=4{cursor}");
        let page = host.ask_admin(&as_owner(OPS, Request::new("GET", &path))).json();
        let numbers = page["entries"].as_array().expect("a list").iter();
        let numbers: Vec<_> = numbers.filter_map(|entry| entry["number"].as_u64()).collect();
        (numbers, page["next_cursor"].as_str().map(|cursor| format!("&cursor={cursor}")))
    };
    let (first, next) = page("");
    assert_eq!(first, [9, 8, 7, 6]);
    // Later entries do not shift the pages.
    assert_eq!(post(&host, ON_CALL, "/api/v1/silences/7/end", "").status, 404);
    let (second, next) = page(&next.expect("a next page"));
    assert_eq!(second, [5, 4, 3, 2]);
    assert_eq!(page(&next.expect("a next page")), (vec![1], None));
    let refused = Request::new("GET", "/api/v1/audit?cursor=x");
    assert_eq!(host.ask_admin(&as_owner(OPS, refused)).status, 400);
}

#[test]
fn other_scopes_count_from_the_next_request_on_and_the_reload_is_in_the_audit() {
    let host = host("[watch]\nsettle = '50ms'");
    let path = "/api/v1/alerts/1/acknowledge";
    assert_eq!(post(&host, MONITOR, path, "").status, 403);
    let wider = TOKENS.replace("['read']", "['act']").replace("['read', 'act']", "['read']");
    host.site().configure(&format!("[watch]\nsettle = '50ms'\n{wider}"));
    // A file that is read while it is written is refused, which is an act, too.
    let reload = wait::until("the change is applied", || {
        let reloads = audit(&host, "&actor=file%20watch");
        reloads.into_iter().find(|reload| reload["result"] == "done")
    });
    assert_eq!(post(&host, MONITOR, path, "").status, 404);
    assert_eq!(post(&host, ON_CALL, path, "").status, 403);
    let parts = ["action", "result", "detail", "status", "request", "address"];
    let reload: Vec<_> = parts.iter().map(|part| &reload[*part]).collect();
    assert_eq!(json!(reload), json!(["reload", "done", "1 change", null, null, null]));
    assert_eq!(host.wait_for_event("change_applied")["change"], "`admin.tokens` changed");
}

#[test]
fn an_address_whose_token_allows_too_little_fills_neither_the_audit_nor_the_log() {
    let host = host("[server]\nmax_wrong_tokens_per_minute = 5");
    let path = "/api/v1/alerts/1/acknowledge";
    let refused = wait::until("the limit is reached", || {
        let answer = post(&host, MONITOR, path, "");
        (answer.status != 403).then_some(answer)
    });
    assert_eq!((refused.status, refused.error_code().as_str()), (429, "too_many_forbidden"));
    assert!(refused.retry_after() >= 1);
    let before = audit(&host, "").len();
    assert!(before >= 5, "{before} entries");
    assert_eq!(logged_acts(&host, before).len(), before);
    assert_eq!(post(&host, ON_CALL, path, "").status, 404, "others share the address");
    assert_eq!(
        audit(&host, "").last().map(|entry| entry["result"].clone()),
        Some("not_found".into())
    );
}

#[test]
fn an_act_that_cannot_be_written_to_the_audit_is_done_and_in_the_log() {
    let host = serve(Site::on_sqlite(), "");
    assert_eq!(host.post("good", "disk full").status, 200);
    let database = Database::open(host.site().path("tocsin.db")).expect("a database");
    let refuse = "CREATE TRIGGER no BEFORE INSERT ON audit BEGIN SELECT raise(ABORT, 'no'); END";
    database.execute_batch(refuse).expect("a trigger");
    assert_eq!(post(&host, ON_CALL, "/api/v1/alerts/1/acknowledge", "").status, 200);
    let missing = host.wait_for_event("audit_not_stored");
    assert_eq!((&missing["level"], &missing["object"]), (&"ERROR".into(), &"alert 1".into()));
    assert_eq!(missing["actor"], "api token on-call");
    assert_eq!(logged_acts(&host, 1).len(), 1);
    database.execute_batch("DROP TRIGGER no").expect("the trigger is there");
    assert_eq!(post(&host, ON_CALL, "/api/v1/alerts/1/resolve", "").status, 200);
    assert_eq!(audit(&host, "").len(), 1);
}

#[test]
fn old_entries_of_the_audit_are_deleted() {
    let host = host("[retention]\naudit = '1s'");
    assert_eq!(post(&host, ON_CALL, "/api/v1/silences/7/end", "").status, 404);
    wait::until("the entry is deleted", || audit(&host, "").is_empty().then_some(()));
    let deleted = host.wait_for_event("retention_deleted");
    assert_eq!((&deleted["what"], &deleted["count"]), (&"audit".into(), &1.into()));
}

#[test]
fn the_command_line_uses_the_widest_token_lists_the_audit_and_shows_what_is_missing() {
    let host = host("[watch]\nenabled = false");
    assert_eq!(host.post("good", "disk full").status, 200);
    // Commands find the address and the tokens in the file.
    let listen = format!("[admin]\nlisten = '{}'", host.admin());
    host.site().configure(&TOKENS.replace("[admin]", &listen));
    let run = |args: &[&str]| host.site().run(args);
    assert_eq!(run(&["alerts", "ack", "1"]).code, Some(0));
    let narrow = |args: &[&str]| {
        let mut command = host.site().command(args);
        command.args(["--url", &host.admin().to_string()]).env("TOCSIN_ADMIN_TOKEN", MONITOR);
        command.output().expect("it runs")
    };
    let refused = narrow(&["alerts", "resolve", "1"]);
    assert_eq!(refused.status.code(), Some(1));
    assert_snapshot!(String::from_utf8_lossy(&refused.stderr), @"
    error: the route needs the scope `act`, and the token has `read`
    hint: use a token with the scope `act`, or add it to the `scopes` of this one in `admin.tokens`
    ");
    assert!(narrow(&["alerts"]).status.success());

    let listed = run(&["audit"]);
    let times = regex::Regex::new(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ").expect("a pattern");
    assert_snapshot!(times.replace_all(&listed.stdout, "[time]              "), @"
    ACT  TIME                  ACTOR                                   ACTION             OBJECT   RESULT     ADDRESS    DETAIL
    2    [time]                command line, steve, api token monitor  resolve_alert      alert 1  forbidden  127.0.0.1
    1    [time]                command line, steve, api token ops      acknowledge_alert  alert 1  done       127.0.0.1
    ");
    let listed = run(&[
        "audit",
        "--json",
        "--actor",
        "steve",
        "--action",
        "acknowledge_alert",
        "--object",
        "alert",
        "--since",
        "1h",
        "--limit",
        "1",
    ]);
    let list: Value = serde_json::from_str(&listed.stdout).expect("JSON");
    assert_eq!(list["entries"][0]["actor"], "command line, steve, api token ops");
    assert_eq!(run(&["audit", "--until", "1h"]).stdout, "no acts\n");
}
