//! Decimal numbers as text, never as floats: a price in one unit, written in another one.

/// A number that is no price of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("not a decimal number")]
    NoNumber,
    #[error("finer than a policy can have it")]
    TooFine,
    #[error("larger than a policy can have it")]
    TooLarge,
}

/// Returns a decimal number times a power of ten in plain notation, with at least two decimals and at most `most`, as a
/// policy has it. The number may have an exponent.
pub fn scaled(text: &str, places: i64, most: usize) -> Result<String, Unfit> {
    let (number, exponent) = match text.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, exponent.parse::<i64>().map_err(|_| Unfit::NoNumber)?),
        None => (text, 0),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{fraction}");
    if whole.is_empty() || number.ends_with('.') || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Unfit::NoNumber);
    }
    let significant = digits.trim_matches('0');
    if significant.is_empty() {
        return Ok("0.00".to_owned());
    }
    // The digits before the point, once it is where it belongs; negative: zeros stand between it and the digits.
    let leading = (digits.len() - digits.trim_start_matches('0').len()) as i64;
    let wholes = (whole.len() as i64).saturating_add(exponent).saturating_add(places).saturating_sub(leading);
    if wholes > 15 {
        return Err(Unfit::TooLarge);
    }
    if (significant.len() as i64).saturating_sub(wholes) > most as i64 {
        return Err(Unfit::TooFine);
    }
    let zeros = |count: i64| "0".repeat(usize::try_from(count).unwrap_or(0));
    let (whole, fraction) = if wholes <= 0 {
        ("0".to_owned(), format!("{}{significant}", zeros(-wholes)))
    } else {
        let padded = format!("{significant}{}", zeros(wholes - significant.len() as i64));
        let (whole, fraction) = padded.split_at(wholes as usize);
        (whole.to_owned(), fraction.to_owned())
    };
    Ok(format!("{whole}.{fraction:0<2}"))
}

/// Returns true for the text of zero that [`scaled`] returns.
pub fn is_zero(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_scaled_exactly_in_every_notation() {
        for (text, places, most, scaled_to) in [
            ("1.5e-07", 6, 6, Ok("0.15")),
            ("1.25E-06", 6, 6, Ok("1.25")),
            ("0.00000125", 6, 6, Ok("1.25")),
            ("2e-6", 6, 6, Ok("2.00")),
            ("0.000015", 0, 12, Ok("0.000015")),
            ("8.39233e-07", 0, 12, Ok("0.000000839233")),
            ("8.39233e-08", 0, 12, Err(Unfit::TooFine)),
            ("1.500", 0, 6, Ok("1.50")),
            ("3", 6, 6, Ok("3000000.00")),
            ("0010.20", 0, 6, Ok("10.20")),
            ("0", 6, 6, Ok("0.00")),
            ("0.0e-99", 6, 6, Ok("0.00")),
            ("1e-12", 6, 6, Ok("0.000001")),
            ("1e-13", 6, 6, Err(Unfit::TooFine)),
            ("1e-12", 0, 12, Ok("0.000000000001")),
            ("0.0002833333333333333", 0, 12, Err(Unfit::TooFine)),
            ("1e15", 0, 6, Err(Unfit::TooLarge)),
            ("9e14", 0, 6, Ok("900000000000000.00")),
            ("1e999999999999", 0, 6, Err(Unfit::TooLarge)),
            ("1e-999999999999", 0, 6, Err(Unfit::TooFine)),
            ("-1", 0, 6, Err(Unfit::NoNumber)),
            ("+1", 0, 6, Err(Unfit::NoNumber)),
            (".5", 0, 6, Err(Unfit::NoNumber)),
            ("5.", 0, 6, Err(Unfit::NoNumber)),
            ("1e", 0, 6, Err(Unfit::NoNumber)),
            ("", 0, 6, Err(Unfit::NoNumber)),
            ("free", 0, 6, Err(Unfit::NoNumber)),
        ] {
            assert_eq!(scaled(text, places, most), scaled_to.map(str::to_owned), "{text}");
        }
    }
}
