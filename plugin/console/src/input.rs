//! The values of form fields: from the text that a person types to JSON, and back.

use serde_json::Value;

/// The kind of a field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A line of text.
    Text,
    /// A whole number; empty: none.
    Number,
    /// US dollars as a decimal; empty: none.
    Money,
    /// `true` or `false`.
    Check,
    /// One of these values, each with its words.
    Choice(&'static [(&'static str, &'static str)]),
}

impl Kind {
    /// Reads what a person typed. `None` if it is empty.
    ///
    /// # Errors
    /// A sentence that says what would be right.
    pub fn read(self, typed: &str) -> Result<Option<Value>, &'static str> {
        let typed = typed.trim();
        match self {
            Kind::Check => Ok(Some(Value::Bool(typed == "true"))),
            _ if typed.is_empty() => Ok(None),
            Kind::Text | Kind::Choice(_) => Ok(Some(typed.into())),
            Kind::Number => number(typed).map(|number| Some(number.into())).ok_or(crate::words::NOT_A_NUMBER),
            Kind::Money => money(typed).map(|money| Some(money.into())).ok_or(crate::words::NOT_MONEY),
        }
    }

    /// Returns a stored value as the text of the field.
    pub fn show(self, value: Option<&Value>) -> String {
        match (self, value) {
            (Kind::Check, value) => (value == Some(&Value::Bool(true))).to_string(),
            (_, None | Some(Value::Null)) => String::new(),
            (_, Some(Value::String(text))) => text.clone(),
            (Kind::Number, Some(value)) => value.as_u64().map_or_else(String::new, grouped),
            (_, Some(value)) => value.to_string(),
        }
    }
}

/// Reads a whole number: `200000`, `200 000`, `200,000`, `200k` and `1.5M` are understood.
pub fn number(typed: &str) -> Option<u64> {
    let mut text: String = typed.chars().filter(|c| !c.is_whitespace() && *c != '\u{202f}').collect();
    let factor = match text.chars().last()? {
        'k' | 'K' => 1_000,
        'm' | 'M' => 1_000_000,
        'g' | 'G' => 1_000_000_000,
        _ => 1,
    };
    if factor == 1 {
        let groups: Vec<&str> = text.split(',').collect();
        let well_grouped = groups.iter().skip(1).all(|group| group.len() == 3);
        let digits = groups.concat();
        return (well_grouped && digits.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| digits.parse().ok())?;
    }
    text.pop();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    if whole.is_empty() || fraction.len() > 9 {
        return None;
    }
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let scale = 10_u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let fraction = if fraction.is_empty() { 0 } else { fraction.parse::<u64>().ok()?.checked_mul(factor)? };
    if fraction % scale != 0 {
        return None;
    }
    whole.parse::<u64>().ok()?.checked_mul(factor)?.checked_add(fraction / scale)
}

/// Reads an amount of dollars: a dollar sign, spaces and commas between thousands are left out.
pub fn money(typed: &str) -> Option<String> {
    let text: String =
        typed.trim_start_matches('$').chars().filter(|c| !c.is_whitespace() && *c != ',').collect();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (digits(whole) && digits(fraction)).then_some(text.clone())
}

/// Returns a number with a narrow space between groups of three digits.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_people_write_them() {
        for (typed, number_) in [
            ("0", Some(0)),
            ("200000", Some(200_000)),
            ("200 000", Some(200_000)),
            ("200,000", Some(200_000)),
            ("200\u{202f}000", Some(200_000)),
            ("200k", Some(200_000)),
            ("1M", Some(1_000_000)),
            ("1.5M", Some(1_500_000)),
            ("1.5", None),
            ("1,5", None),
            ("1.0005k", None),
            ("-1", None),
            ("ten", None),
            ("", None),
            ("M", None),
            ("99999999999999999999", None),
            ("99999999999999999G", None),
        ] {
            assert_eq!(number(typed), number_, "{typed}");
        }
        for value in [0, 9, 999, 1_000, 12_345, u64::MAX] {
            assert_eq!(number(&grouped(value)), Some(value));
        }
    }

    #[test]
    fn money_keeps_its_decimals() {
        for (typed, read) in [
            ("20", Some("20")),
            ("$1,000.50", Some("1000.50")),
            ("0.000001", Some("0.000001")),
            ("1.", None),
            ("-1", None),
            (".5", None),
        ] {
            assert_eq!(money(typed).as_deref(), read, "{typed}");
        }
    }

    #[test]
    fn an_empty_field_has_no_value_and_shows_none() {
        for kind in [Kind::Text, Kind::Number, Kind::Money, Kind::Choice(&[])] {
            assert_eq!(kind.read("  "), Ok(None));
            assert_eq!(kind.show(None), "");
        }
        assert_eq!(Kind::Check.read(""), Ok(Some(Value::Bool(false))));
        assert_eq!(Kind::Number.show(Some(&200_000.into())), "200\u{202f}000");
    }
}
