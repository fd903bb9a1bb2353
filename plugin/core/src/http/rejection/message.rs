//! The messages of rejections: the cause, and the next step for the client.

use alloc::format;
use alloc::string::String;

use super::Rejection;
use crate::money::{Period, Pico, dollars};
use crate::quota::{PrincipalKind, QuotaExceeded, QuotaReason, QuotaScope, Window, WindowSpan};
use crate::secret::redact;

impl Rejection {
    /// Returns the cause and the next step for the client, without secrets and without text of a body.
    pub fn message(&self) -> String {
        match self {
            Rejection::MissingKey => "No API key was sent. Send one as `Authorization: Bearer KEY` or in the header your API's SDK uses.".into(),
            Rejection::AmbiguousKey => "Two different API keys were sent. Send one key, in one place.".into(),
            Rejection::InvalidKey => "This API key is not valid here. Check that it is complete, or ask your team for a new one.".into(),
            Rejection::MistypedKey => "This API key is mistyped: its checksum does not match. Copy it again.".into(),
            Rejection::ExpiredKey => "This API key has expired. Make a new one, or ask your team for one.".into(),
            Rejection::Blocked(code) => format!("Refused: {}. Ask an administrator of the organization.", blocked(code)),
            Rejection::AmbiguousQuery { name } => format!("Servers may read the query of this request differently. Send `{}` once, in this case, without `;`, `+` and control characters in the query.", shown(name)),
            Rejection::StoredObjectsNotServed => "This gateway does not serve files, batches, stored responses, conversations and other objects that the provider keeps: all teams share one account there, so that one team could read another's. Send the content inline. If every team has an upstream account of its own, an operator can add a route for this path under `routes` in the gateway's configuration.".into(),
            Rejection::DirectSessionsNotServed => "This call hands out a credential of the provider or opens a connection past this gateway, which could not check it. Connect through the gateway instead, such as with a WebSocket to /v1/realtime. An operator can add a route for this path under `routes` in the gateway's configuration.".into(),
            Rejection::UnknownRoute => "This gateway has no route for this method and path. Check both against the documentation of your API.".into(),
            Rejection::AmbiguousPath => "This path is ambiguous. Send it without empty, `.` or `..` segments, `\\`, `;`, `#` and control characters, in the upper and lower case of your API's documentation, and percent-encode only characters that need it: no slash, letter, digit or one of `-._~:`.".into(),
            Rejection::ModelRequired => "The request names no model. Set `model` in the body, or in the query of a WebSocket.".into(),
            Rejection::TargetNotAllowed { target, shorter: Some(shorter) } => format!("`{0}` is not available to this key. Each name is a target of its own: `{1}` is available, and does not include `{0}`. Send `{1}`, or ask an administrator to grant `{0}`.", shown(target), shown(shorter)),
            Rejection::TargetNotAllowed { target, shorter: None } => format!("`{}` is not available to this key. Choose one that GET /v1/models lists, or ask an administrator to grant it.", shown(target)),
            Rejection::InvalidBody(what) => format!("The request body cannot be read: {what}. Correct it, and send the request again."),
            Rejection::ModelMismatch { target, place, other } => format!("This request is one for `{}`, but {place} names `{}`. Name the same model in both, or leave the second out.", shown(target), shown(other)),
            Rejection::UnknownMember { name } => format!("The member `{}` is in no table of this API's requests, and this gateway is configured to refuse such members (`unknown_members`). Remove it, or ask an administrator.", redact::redact(name, super::MAX_SHOWN)),
            Rejection::UnknownParameter { name } => format!("The parameter `{}` of the query is in no table of this API's requests, or has another value than the table, and this gateway is configured to refuse such parameters (`unknown_query`). Remove it, or ask an administrator.", shown(name)),
            Rejection::UnsupportedType(what) => format!("The media type of the request body cannot be read: {what}. Correct it, and send the request again."),
            Rejection::UnsupportedEncoding => "Send the request body without content-encoding.".into(),
            Rejection::BodyTooLarge { max } => format!("The request body is larger than the {max} bytes that this gateway accepts. Send a smaller one."),
            Rejection::UpgradeNotMetered => "A token limit or budget applies to this key, and an upgraded connection cannot be metered. Send the request without `Upgrade`, or ask an administrator for a route with `unmetered: allow`.".into(),
            Rejection::PartialAnswer => "A token limit or budget applies to this key, and a part of the answer may lack its usage. Send the request without `fields`, `$fields` and `X-Goog-FieldMask`.".into(),
            Rejection::UnpricedTarget { target } => format!("`{}` has no price, and a budget applies to this key. Ask an administrator to set one.", shown(target)),
            Rejection::UnboundedCost { target } => format!("The request refers to content it does not contain, or lets the upstream run tools that fetch content, so its cost has no bound, and a budget applies. Send the content inline, or ask an administrator to set `max_input_tokens` of `{}`.", shown(target)),
            Rejection::Busy => "This gateway holds as many request bodies as it has room for. Try again shortly.".into(),
            Rejection::KeysUnavailable => "This gateway has not read its fleet's keys yet. Try again shortly.".into(),
            Rejection::LimitsUnavailable => "Limits cannot be checked right now. Try again shortly.".into(),
            Rejection::NoSuchModel { target } => format!("There is no model `{}` available to this key. Choose one that GET /v1/models lists.", shown(target)),
            Rejection::Denied(exceeded) => denial_message(exceeded),
        }
    }
}

/// Returns `service_account_blocked` in words.
fn blocked(code: &str) -> String {
    format!("the {} is blocked", code.strip_suffix("_blocked").unwrap_or(code).replace('_', " "))
}

fn denial_message(exceeded: &QuotaExceeded) -> String {
    let whose = whose(exceeded.scope);
    let wait = |text: &str| match exceeded.wait {
        Some(wait) => format!("{text} Try again in {}.", crate::text::format::duration(wait)),
        None => format!("{text} Waiting does not help: ask an administrator to raise it."),
    };
    let limit_text = |window: Window, limit, used, requested| {
        let what = if window.counts_tokens() { "tokens" } else { "requests" };
        let of = format!("{whose} limit of {limit} {what} per {}", per(window));
        format!("The {of} is reached: {used} are counted and this request needs {requested}.")
    };
    let budget_text = |max, left, cost, period| {
        let (max, period, left, cost) = (dollars(max), period_name(period), dollars(left), dollars(cost));
        format!(
            "The {whose} budget of ${max} {period} has ${left} left, and this request could cost ${cost}."
        )
    };
    match exceeded.reason {
        QuotaReason::LimitReached { window, limit, used, requested } => {
            wait(&limit_text(window, limit, used, requested))
        }
        QuotaReason::LimitHeld { window, limit, used, requested } => {
            wait(&(limit_text(window, limit, used, requested) + IN_FLIGHT))
        }
        QuotaReason::InputAboveLimit { window, limit, input } => format!(
            "The input of about {input} tokens is larger than the {whose} whole limit of {limit} tokens per {}. Send a shorter input, or fewer and smaller files.",
            per(window)
        ),
        QuotaReason::BudgetSpent { max: Pico(0), .. } | QuotaReason::BudgetHeld { max: Pico(0), .. } => {
            format!("The {whose} budget is $0: every request is refused until an administrator raises it.")
        }
        QuotaReason::BudgetSpent { max, left, cost, period } => {
            let advice = if left == Pico(0) { "" } else { cheaper(exceeded.input_cost, cost, left) };
            wait(&(budget_text(max, left, cost, period) + advice))
        }
        QuotaReason::BudgetHeld { max, left, cost, period } => {
            wait(&(budget_text(max, left, cost, period) + IN_FLIGHT))
        }
        QuotaReason::CostAboveBudget { max, cost } => format!(
            "This request could cost ${}, more than the {whose} whole budget of ${}.{}",
            dollars(cost),
            dollars(max),
            cheaper(exceeded.input_cost, cost, max)
        ),
    }
}

/// The reason of a short wait.
const IN_FLIGHT: &str =
    " Calls that have not ended reserve what is missing, and return the part that they do not use.";

/// The advice for a request of which the input alone costs this much, and which must not cost more than `available`.
fn cheaper(input_cost: Pico, cost: Pico, available: Pico) -> &'static str {
    if input_cost <= available {
        " A lower `max_tokens` makes it cheaper."
    } else if input_cost == cost {
        " A shorter input, or fewer files or images, makes it cheaper; so may `max_input_tokens` of the target, which an administrator sets."
    } else {
        " Its input alone could cost more than that: a shorter input, or fewer files or images, makes it cheaper; so may `max_input_tokens` of the target, which an administrator sets."
    }
}

fn whose(scope: QuotaScope) -> &'static str {
    match (scope.principal, scope.target) {
        (PrincipalKind::Key, _) => "key's",
        (PrincipalKind::Member, _) => "team member's",
        (PrincipalKind::User, _) => "user's",
        (PrincipalKind::Team, false) => "team's",
        (PrincipalKind::Team, true) => "team's own (for this target)",
        (PrincipalKind::Organization, false) => "organization's",
        (PrincipalKind::Organization, true) => "organization's own (for this target)",
    }
}

fn per(window: Window) -> &'static str {
    match window.span() {
        WindowSpan::Minute => "minute",
        WindowSpan::Hour => "hour",
        WindowSpan::Day => "day (UTC)",
    }
}

fn period_name(period: Period) -> &'static str {
    match period {
        Period::Hour => "per hour",
        Period::Day => "per day",
        Period::Week => "per week",
        Period::Month => "per month",
        Period::Lifetime => "in all",
    }
}

fn shown(text: &str) -> String {
    redact::redact(text, 64)
}

#[cfg(test)]
mod tests {
    use alloc::borrow::Cow;
    use alloc::boxed::Box;
    use alloc::vec::Vec;

    use super::*;
    use crate::llm::request::BodyError;

    fn every_rejection() -> Vec<Rejection> {
        let name = || Box::from("gpt-5-mini");
        let scope = QuotaScope::whole(PrincipalKind::Team);
        let (max, cost, left, period) = (Pico(5), Pico(7), Pico(1), Period::Month);
        let reasons = [
            QuotaReason::LimitReached { window: Window::Rpm, limit: 3, used: 3, requested: 1 },
            QuotaReason::InputAboveLimit { window: Window::Tpm, limit: 3, input: 4 },
            QuotaReason::BudgetSpent { max: Pico(0), left: Pico(0), cost, period },
            QuotaReason::BudgetSpent { max, left, cost, period },
            QuotaReason::CostAboveBudget { max, cost },
        ];
        let held = reasons.map(QuotaReason::held);
        let denied = reasons.into_iter().chain(held).flat_map(|reason| {
            [None, Some(1_000_000)].map(|wait| {
                Rejection::Denied(Box::new(QuotaExceeded { scope, reason, wait, input_cost: Pico(0) }))
            })
        });
        let body = [BodyError::NotAnObject, BodyError::Boundary].map(Rejection::from);
        let others = [
            Rejection::MissingKey,
            Rejection::AmbiguousKey,
            Rejection::InvalidKey,
            Rejection::MistypedKey,
            Rejection::ExpiredKey,
            Rejection::Blocked("team_blocked"),
            Rejection::UnknownRoute,
            Rejection::AmbiguousPath,
            Rejection::AmbiguousQuery { name: name() },
            Rejection::StoredObjectsNotServed,
            Rejection::DirectSessionsNotServed,
            Rejection::ModelRequired,
            Rejection::TargetNotAllowed { target: name(), shorter: None },
            Rejection::TargetNotAllowed { target: name(), shorter: Some("gpt-5".into()) },
            Rejection::InvalidBody(Cow::Borrowed("there is none, and this API needs one")),
            Rejection::UnknownParameter { name: name() },
            Rejection::UnsupportedType(Cow::Borrowed("it is a list")),
            Rejection::UnsupportedEncoding,
            Rejection::BodyTooLarge { max: 1 },
            Rejection::UpgradeNotMetered,
            Rejection::PartialAnswer,
            Rejection::UnpricedTarget { target: name() },
            Rejection::UnboundedCost { target: name() },
            Rejection::Busy,
            Rejection::KeysUnavailable,
            Rejection::LimitsUnavailable,
            Rejection::NoSuchModel { target: name() },
        ];
        others.into_iter().chain(body).chain(denied).collect()
    }

    /// The verbs with which a step begins.
    const STEPS: [&str; 14] = [
        "Ask",
        "ask",
        "Check",
        "Choose",
        "Connect",
        "Copy",
        "Correct",
        "Make",
        "Remove",
        "Send",
        "Set",
        "Try",
        "A lower",
        "An operator",
    ];

    #[test]
    fn every_message_is_sentences_that_name_the_next_step() {
        for rejection in every_rejection() {
            let message = rejection.message();
            let sentences = message.split_inclusive(". ").skip(1);
            let has_step =
                sentences.into_iter().any(|sentence| STEPS.iter().any(|step| sentence.starts_with(step)));
            let ask = message.contains(": ask an administrator")
                || message.contains("until an administrator raises it");
            assert!(has_step || ask || message.starts_with("Send "), "{message}");
            assert!(message.ends_with('.') && !message.ends_with(".."), "{message}");
        }
    }
}
