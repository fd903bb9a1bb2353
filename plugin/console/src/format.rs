//! Numbers, times and rules as words.

use crate::input::grouped;
use crate::types::{Budget, Limits, Role, SelfService, UsedBudget, UsedLimit};
use crate::words;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Returns a time span in its two largest units: `3 h 12 min`.
pub fn span(seconds: u64) -> String {
    let two = |large: u64, unit: &str, small: u64, part: &str| match small {
        0 => format!("{large} {unit}"),
        _ => format!("{large} {unit} {small} {part}"),
    };
    match seconds {
        0..MINUTE => format!("{seconds} s"),
        MINUTE..HOUR => two(seconds / MINUTE, "min", seconds % MINUTE, "s"),
        HOUR..DAY => two(seconds / HOUR, "h", seconds % HOUR / MINUTE, "min"),
        _ => two(seconds / DAY, "d", seconds % DAY / HOUR, "h"),
    }
}

/// Returns a count with its noun: `1 key`, `3 keys`.
pub fn count(number: usize, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number as u64), if number == 1 { one } else { many })
}

/// Returns an amount of dollars with at least two decimals: `$20.00`.
pub fn dollars(amount: &str) -> String {
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
    let whole = whole.parse().map_or_else(|_| whole.to_owned(), grouped);
    format!("${whole}.{fraction:0<2}")
}

/// Returns a budget as words: `$100.00 a month`.
pub fn budget(budget: &Budget) -> String {
    format!("{} {}", dollars(&budget.max), words::per(budget.period.as_deref().unwrap_or("lifetime")))
}

/// Returns limits as words: `60 requests per minute`; none: an empty list.
pub fn limits(limits: &Limits) -> Vec<String> {
    let windows = words::WINDOWS.iter();
    windows
        .filter_map(|window| {
            let number = limits.get(window.name)?;
            Some(format!("{} {}", grouped(number), window.unit))
        })
        .collect()
}

/// The share of a limit that is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Below 80 %.
    Under,
    /// From 80 %.
    Near,
    /// All of it.
    Full,
}

impl Level {
    /// Returns the level of a share in percent.
    pub fn of(percent: u64) -> Level {
        match percent {
            0..80 => Level::Under,
            80..100 => Level::Near,
            _ => Level::Full,
        }
    }
}

/// A limit with its use, for a bar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meter {
    /// The name of the limit.
    pub name: String,
    /// The use in percent, at most 100.
    pub percent: u64,
    /// The whole sentence.
    pub words: String,
}

impl Meter {
    /// Describes a limit.
    pub fn of_limit(limit: &UsedLimit) -> Meter {
        let UsedLimit { window, limit: most, used, resets_in_seconds, target } = limit;
        let known = words::WINDOWS.iter().find(|known| known.name == window);
        let (title, span_words, calendar) =
            known.map_or((window.as_str(), "", false), |known| (known.title, known.span, known.calendar));
        let name = match target {
            Some(target) => format!("{title}, {target}"),
            None => title.to_owned(),
        };
        let mut text = format!("{} of {} {span_words}", grouped(*used), grouped(*most));
        let span = span(*resets_in_seconds);
        if *resets_in_seconds == 0 {
            // Nothing is counted yet.
        } else if calendar {
            text += &format!(", resets in {span}");
        } else if *used > 0 {
            text += &format!(", all free in {span}");
        }
        Meter { name, percent: percent(*used, *most), words: text }
    }

    /// Describes a budget.
    pub fn of_budget(budget: &UsedBudget) -> Meter {
        let UsedBudget { max, spent, estimated, left, period, resets_in_seconds, .. } = budget;
        let mut text = format!("{} of {} spent, {} left", dollars(spent), dollars(max), dollars(left));
        if estimated.parse() != Ok(0.0) {
            text += &format!(", {} of it estimated", dollars(estimated));
        }
        text += &match resets_in_seconds {
            Some(seconds) => format!(", resets in {}", span(*seconds)),
            None => ", never resets".to_owned(),
        };
        let part = |text: &str| text.parse::<f64>().unwrap_or_default();
        let share = if part(max) > 0.0 { part(spent) / part(max) * 100.0 } else { 100.0 };
        // A share is neither negative nor above 100 after `clamp`.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let percent = share.clamp(0.0, 100.0) as u64;
        Meter { name: words::budget_title(period), percent, words: text }
    }
}

fn percent(used: u64, most: u64) -> u64 {
    (u128::from(used) * 100).checked_div(u128::from(most)).unwrap_or(100).min(100) as u64
}

/// Returns a self-service policy as one sentence.
pub fn self_service(policy: &SelfService) -> String {
    if !policy.enabled {
        return words::SELF_SERVICE_OFF.to_owned();
    }
    let keys = match policy.max_keys_per_user {
        Some(most) => format!("hold {}", count(usize::try_from(most).unwrap_or(usize::MAX), "key", "keys")),
        None => "hold any number of keys".to_owned(),
    };
    let mut sentence = format!("Each developer may {keys}");
    if let Some(ceiling) = &policy.budget_ceiling {
        sentence += &format!(", each with a budget of up to {}", dollars(ceiling));
    }
    sentence += &match (policy.max_expiry_days, policy.require_expiry) {
        (Some(days), _) => {
            format!(", for at most {}", count(usize::try_from(days).unwrap_or(usize::MAX), "day", "days"))
        }
        (None, true) => ", with an expiry date".to_owned(),
        (None, false) => ", with or without an expiry date".to_owned(),
    };
    sentence + "."
}

/// Returns the members of a team by role: `1 admin, 2 developers`.
pub fn people(roles: impl Iterator<Item = Role>) -> String {
    let mut counts = [0_usize; 3];
    for role in roles {
        let [admins, developers, viewers] = &mut counts;
        match role {
            Role::TeamAdmin => *admins += 1,
            Role::TeamDeveloper => *developers += 1,
            Role::TeamViewer => *viewers += 1,
        }
    }
    let names = [("admin", "admins"), ("developer", "developers"), ("viewer", "viewers")];
    let parts: Vec<String> = counts
        .iter()
        .zip(names)
        .filter(|(number, _)| **number > 0)
        .map(|(number, (one, many))| count(*number, one, many))
        .collect();
    if parts.is_empty() { words::NO_PEOPLE.to_owned() } else { parts.join(", ") }
}

/// Returns an id made from a name: `Search & Ads` gives `search-ads`.
pub fn id_of(name: &str) -> String {
    let mut id = String::new();
    for c in name.chars() {
        if c.is_ascii_alphanumeric() {
            id.push(c.to_ascii_lowercase());
        } else if !id.is_empty() && !id.ends_with('-') {
            id.push('-');
        }
    }
    id.truncate(64);
    id.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_two_units() {
        for (seconds, words) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (61, "1 min 1 s"),
            (11_520, "3 h 12 min"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(span(seconds), words);
        }
    }

    #[test]
    fn dollars_keep_every_decimal() {
        assert_eq!(dollars("20"), "$20.00");
        assert_eq!(dollars("1234.5"), "$1\u{202f}234.50");
        assert_eq!(dollars("0.000001"), "$0.000001");
    }

    #[test]
    fn a_policy_is_one_sentence() {
        let policy = SelfService {
            enabled: true,
            max_keys_per_user: Some(3),
            budget_ceiling: Some("20.00".into()),
            max_expiry_days: Some(90),
            require_expiry: false,
        };
        assert_eq!(
            self_service(&policy),
            "Each developer may hold 3 keys, each with a budget of up to $20.00, for at most 90 days."
        );
        let open = SelfService { enabled: true, ..SelfService::default() };
        assert_eq!(
            self_service(&open),
            "Each developer may hold any number of keys, with or without an expiry date."
        );
        assert_eq!(self_service(&SelfService::default()), words::SELF_SERVICE_OFF);
    }

    #[test]
    fn a_limit_is_a_sentence_with_its_reset() {
        let limit = |window: &str, used| UsedLimit {
            window: window.into(),
            limit: 60,
            used,
            resets_in_seconds: 18,
            target: None,
        };
        let meter = Meter::of_limit(&limit("rpm", 42));
        assert_eq!(
            (meter.percent, meter.words.as_str()),
            (70, "42 of 60 in the last 60 s, all free in 18 s")
        );
        assert_eq!(Meter::of_limit(&limit("rpd", 0)).words, "0 of 60 today (UTC), resets in 18 s");
        assert_eq!(Meter::of_limit(&limit("rpm", 99)).percent, 100);
        assert_eq!(Level::of(80), Level::Near);
    }

    #[test]
    fn an_id_is_proposed_from_a_name() {
        for (name, id) in [("Search & Ads", "search-ads"), ("  Ünï ", "n"), ("R2-D2!", "r2-d2"), ("", "")] {
            assert_eq!(id_of(name), id);
        }
    }
}
