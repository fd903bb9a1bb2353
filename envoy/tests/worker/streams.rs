//! Event streams through the worker.

use tollgate_envoy::live::{CHAT_STEPS, Live, Lockstep};
use tollgate_envoy::workerd::Workerd;
use tollgate_envoy::world::secret;

use crate::{ask, comes_to, fresh, metered, stream};

#[test]
fn no_byte_of_a_stream_waits_for_the_next() {
    let Some(mut workerd) = Workerd::start(&metered()) else { return };
    let steps = Lockstep::start("text/event-stream", CHAT_STEPS);
    workerd.restart_before(Some(steps.address()));
    steps.follow(workerd.address(), &stream("").bearer(&secret("laptop")));
    workerd.wait_for_log(r#""input_tokens":"9","output_tokens":"2""#);
}

#[test]
fn a_failure_in_a_200_is_charged_no_tokens() {
    let Some(mut workerd) = Workerd::start(&metered()) else { return };
    let fresh = fresh(&workerd);
    let failing = Live::start(|_, to| to.whole("application/json", r#"{"error":{"code":502}}"#));
    workerd.restart_before(Some(failing.address()));
    assert_eq!(ask(&workerd, stream("")).text(), r#"{"error":{"code":502}}"#);
    workerd.wait_for_log(r#""status":200"#);
    workerd.restart_before(None);
    comes_to(&workerd, |left| left == fresh);
}
