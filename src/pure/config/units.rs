//! Amounts as people write them: sizes and durations.

/// Bytes of `512MiB`: a whole number and one of B, KiB, MiB, GiB, TiB.
pub fn parse_size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// Milliseconds of `1h30m`: whole numbers with d, h, m, s, ms, from the largest to the smallest, each at most once.
pub fn parse_duration(text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 5] = [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
        ("ms", 1),
    ];
    let mut rest = text;
    let mut total: u64 = 0;
    let mut next_unit = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let position = UNITS.iter().position(|(name, _)| *name == unit)?;
        if position < next_unit {
            return None;
        }
        next_unit = position + 1;
        let amount = number.parse::<u64>().ok()?.checked_mul(UNITS[position].1)?;
        total = total.checked_add(amount)?;
        rest = tail;
    }
    (!text.is_empty()).then_some(total)
}

/// A size as a person would write it: in the largest unit that divides it.
pub fn show_size(bytes: i64) -> String {
    for (unit, shift) in [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if bytes != 0 && bytes % (1 << shift) == 0 {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    format!("{bytes}B")
}

/// A duration as a person would write it: in the largest unit that divides it.
pub fn show_duration(millis: i64) -> String {
    for (unit, factor) in [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
    ] {
        if millis != 0 && millis % factor == 0 {
            return format!("{}{unit}", millis / factor);
        }
    }
    format!("{millis}ms")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_what_it_reads() {
        for text in ["0B", "3B", "64MiB", "1536MiB", "2GiB", "1TiB"] {
            let bytes = i64::try_from(parse_size(text).unwrap()).unwrap();
            assert_eq!(show_size(bytes), text);
        }
        for text in ["0ms", "250ms", "1s", "90s", "5m", "36h", "30d"] {
            let millis = i64::try_from(parse_duration(text).unwrap()).unwrap();
            assert_eq!(show_duration(millis), text);
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(parse_size("512MiB"), Some(512 << 20));
        assert_eq!(parse_size("0B"), Some(0));
        for bad in [
            "",
            "1",
            "1GB",
            "1.5GiB",
            "-1GiB",
            "GiB",
            "1 GiB",
            "99999999999TiB",
        ] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }

    #[test]
    fn durations() {
        assert_eq!(parse_duration("1h30m"), Some(5_400_000));
        assert_eq!(parse_duration("30d"), Some(2_592_000_000));
        assert_eq!(parse_duration("250ms"), Some(250));
        for bad in ["", "5", "m5", "5m1h", "5s5s", "1.5h", "-1s", "1y"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }
}
