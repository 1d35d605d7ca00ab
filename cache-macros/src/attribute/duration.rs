//! Durations such as `"1h30m"`.

use std::time::Duration;

/// The units and their milliseconds, from the largest to the smallest. A duration must list them in this order.
const UNITS: [(&str, u64); 5] = [
    ("d", 24 * 60 * 60 * 1000),
    ("h", 60 * 60 * 1000),
    ("m", 60 * 1000),
    ("s", 1000),
    ("ms", 1),
];

/// Parses a duration such as `"60s"`, `"250ms"` or `"1h30m"`: whole numbers, each with a unit, from the largest unit to
/// the smallest.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let wrong = |why: &str| {
        format!(
            "{why}: a duration is written as \"60s\", \"5m\", \"250ms\" or \"1h30m\", with the units d, h, m, s and ms"
        )
    };
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong("an empty duration"));
    }
    if rest.eq_ignore_ascii_case("none") {
        return Err("`None` is written without quotes".to_owned());
    }
    if rest.contains('.') {
        return Err(wrong(&format!("`{text}` has a fraction, and the numbers are whole")));
    }
    let mut millis = 0_u64;
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, after) = rest.split_at(digits);
        if number.is_empty() {
            return Err(wrong(&format!("`{text}` is not a duration")));
        }
        let letters = after.len() - after.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let (unit, after) = after.split_at(letters);
        if unit.is_empty() {
            return Err(wrong(&format!("`{number}` has no unit")));
        }
        if !UNITS.iter().any(|(name, _)| *name == unit) {
            return Err(wrong(&format!("`{unit}` is not a unit of time")));
        }
        let Some((_, length)) = units.find(|(name, _)| *name == unit) else {
            return Err(wrong(&format!("`{unit}` comes too late, or twice, in `{text}`")));
        };
        millis = number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(*length))
            .and_then(|part| millis.checked_add(part))
            .ok_or_else(|| format!("`{text}` is too long a time"))?;
        rest = after.trim_start();
    }
    Ok(Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        for (text, millis) in [
            ("60s", 60_000),
            ("5m", 300_000),
            ("250ms", 250),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("2d", 172_800_000),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, word) in [
            ("", "empty"),
            ("60", "no unit"),
            ("60 s", "no unit"),
            ("s", "not a duration"),
            ("-1s", "not a duration"),
            ("1.5s", "fraction"),
            ("None", "without quotes"),
            ("5min", "not a unit"),
            ("30m1h", "too late"),
            ("1s1s", "twice"),
            ("99999999999999999999s", "too long"),
            ("9999999999999999d", "too long"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,12}") {
            let _ = parse(&text);
        }

        #[test]
        fn parts_add_up(hours in 0..1000_u64, minutes in 0..1000_u64, millis in 0..1000_u64) {
            let text = format!("{hours}h{minutes}m{millis}ms");
            prop_assert_eq!(parse(&text), Ok(Duration::from_millis((hours * 60 + minutes) * 60_000 + millis)));
        }
    }
}
