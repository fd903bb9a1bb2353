//! Reservations of which the object hears nothing, or too late.

use std::time::{Duration, Instant};

use serde_json::json;
use tollgate_envoy::client::Connection;
use tollgate_envoy::workerd::{Setting, Workerd};
use tollgate_envoy::world::secret;

use crate::{DAY, LONG, ask, code, comes_to, configuration, free, fresh, left, metered, stream};

/// For what has no promised time.
const PATIENCE: Duration = Duration::from_secs(20);

/// Lines that the object's alarm logs without a request.
const ONE_STANDS: &str = "1 reservations were never settled and stand as their estimates";

fn begin(workerd: &Workerd, simulate: &str) -> Connection {
    let mut connection = Connection::open(workerd.address());
    connection.send(&stream(simulate).bearer(&secret("laptop")).bytes()).unwrap();
    assert_eq!(connection.response_head().unwrap().0, 200);
    connection
}

#[test]
fn a_reservation_whose_worker_died_stands_as_its_estimate() {
    let setting = Setting { reservation_seconds: Some(3), ..Setting::default() };
    let Some(mut workerd) = Workerd::with(&metered(), setting) else { return };
    let fresh = fresh(&workerd);
    begin(&workerd, "tokens=2000, chunk-ms=20");
    workerd.crash();
    let (_, first) = left(&ask(&workerd, free()));
    assert!(
        (fresh - 2 * LONG..fresh - LONG).contains(&first),
        "{first} of {fresh} are left while it is unknown"
    );
    workerd.wait_for_log(ONE_STANDS);
    comes_to(&workerd, |left| left == first);

    // That was its end: at the next alarm the next one is alone.
    begin(&workerd, "tokens=2000, chunk-ms=20");
    workerd.crash();
    assert_eq!(ask(&workerd, free()).status, 200);
    workerd.wait_for_log(ONE_STANDS);
    comes_to(&workerd, |left| left == first - (fresh - first));
}

#[test]
fn a_stream_that_outlives_its_reservation_stands_as_its_estimate() {
    let setting = Setting { reservation_seconds: Some(1), ..Setting::default() };
    let Some(workerd) = Workerd::with(&metered(), setting) else { return };
    let fresh = fresh(&workerd);
    let mut connection = begin(&workerd, "tokens=250, chunk-ms=20");
    workerd.wait_for_log(ONE_STANDS);
    while !connection.some().unwrap().ends_with(b"0\r\n\r\n") {}
    workerd.wait_for_log(r#""output_tokens":"250""#);
    // The settlement is on its way by now, and finds nothing to correct.
    let stands = |left| (fresh - 2 * LONG..fresh - LONG).contains(&left);
    comes_to(&workerd, stands);
    let (_, after) = left(&ask(&workerd, free()));
    assert!(stands(after), "{after} of {fresh} are left");
}

const LOSES_THE_SECOND_ANSWER: &str = r#"
    import { Organization as Sound } from "./sound.js";
    let admissions = 0;
    export class Organization extends Sound {
      async admit(...asked) {
        const outcome = await super.admit(...asked);
        admissions += 1;
        if (admissions === 2) throw new Error("the answer is lost");
        return outcome;
      }
    }"#;

#[test]
fn an_unacknowledged_admission_is_released_even_if_nothing_else_is_counted() {
    let setting = Setting { object: Some(LOSES_THE_SECOND_ANSWER), ..Setting::default() };
    let requests = configuration(&json!({"limits": {"rpd": DAY}}));
    let Some(workerd) = Workerd::with(&requests, setting) else { return };
    let remaining = || {
        let answer = ask(&workerd, free());
        let remaining =
            answer.headers.get("x-ratelimit-remaining-requests").and_then(|it| it.parse::<u64>().ok());
        (answer.status, remaining)
    };
    assert_eq!(remaining(), (200, Some(DAY - 1)));
    assert_eq!(remaining().0, 503);
    // It is taken back once the worker has given up on it.
    let end = Instant::now() + PATIENCE;
    for passed in 2.. {
        let (status, left) = remaining();
        assert_eq!(status, 200);
        if left == Some(DAY - passed) {
            return;
        }
        assert!(Instant::now() < end, "{left:?} are left after {passed} requests that passed");
    }
}

#[test]
fn an_unacknowledged_reservation_is_released() {
    let setting = Setting { object: Some(LOSES_THE_SECOND_ANSWER), ..Setting::default() };
    let Some(workerd) = Workerd::with(&metered(), setting) else { return };
    let before = left(&ask(&workerd, free()));
    let refused = ask(&workerd, stream(""));
    assert_eq!((refused.status, code(&refused)), (503, "limits_unavailable".into()));
    assert!(workerd.log().contains("limits cannot be checked: the answer is lost"), "{}", workerd.log());
    let sent = workerd.upstream.recording().requests().len();
    assert_eq!(sent, 1, "it did not go upstream");

    comes_to(&workerd, |left| left == before.1);
    // The requests of before, of `comes_to`, and this one: none was counted that was refused.
    let asked = workerd.upstream.recording().requests().len() as u64;
    assert_eq!(left(&ask(&workerd, free())).0, before.0 - asked);
}

#[test]
fn a_reservation_of_an_unknown_format_stands_and_the_log_says_why() {
    const KEEPS_ANOTHER_FORMAT: &str = r#"
        import { Organization as Sound } from "./sound.js";
        let admissions = 0;
        export class Organization extends Sound {
          async admit(...asked) {
            const outcome = await super.admit(...asked);
            admissions += 1;
            if (admissions === 3) {
              const [row] = this.sql.exec("SELECT reserved FROM reservations WHERE id = ?", asked[0]).toArray();
              const reserved = new Uint8Array(row.reserved);
              reserved[0] = 2;
              this.sql.exec("UPDATE reservations SET reserved = ? WHERE id = ?", reserved, asked[0]);
            }
            return outcome;
          }
        }"#;
    const WHY: &str = "a message of format 2, and this build reads 1";
    let setting =
        Setting { object: Some(KEEPS_ANOTHER_FORMAT), reservation_seconds: Some(2), ..Setting::default() };
    let Some(workerd) = Workerd::with(&metered(), setting) else { return };
    let fresh = left(&ask(&workerd, free())).1;
    assert_eq!(ask(&workerd, free()).status, 200);
    assert_eq!(ask(&workerd, stream("usage=1:1")).status, 200);
    workerd.wait_for_log(&format!("a reservation is not settled yet: {WHY}"));
    workerd.wait_for_log(&format!("a reservation stands as it is: {WHY}"));
    comes_to(&workerd, |left| (fresh - 2 * LONG..fresh - LONG).contains(&left));
    assert_eq!(workerd.log().matches("stands as it is").count(), 1, "once: {}", workerd.log());
}
