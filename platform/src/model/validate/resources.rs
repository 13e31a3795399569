//! Whether amounts of resources make sense, and compare.

use super::limits::{QUANTITY_CHARS, RUNTIME_CLASS_CHARS};
use super::{Faults, INVALID, TOO_BIG};
use crate::model::{ResourceAmounts, Resources};

/// What a sandbox asks for and may use; a request above its limit can never be scheduled.
pub(super) fn resources(faults: &mut Faults, resources: &Resources) {
    amounts(faults, "requests", &resources.requests);
    amounts(faults, "limits", &resources.limits);
    for (name, request, limit) in [
        ("cpu", &resources.requests.cpu, &resources.limits.cpu),
        ("memory", &resources.requests.memory, &resources.limits.memory),
        ("ephemeral_storage", &resources.requests.ephemeral_storage, &resources.limits.ephemeral_storage),
    ] {
        let both = (request.as_deref().and_then(quantity), limit.as_deref().and_then(quantity));
        if let (Some(request), Some(limit)) = both
            && request > limit
        {
            faults.add(TOO_BIG, &["resources", "requests", name], "asks for more than its limit");
        }
    }
    if let Some(class) = &resources.runtime_class
        && !is_dns_label(class)
    {
        faults.add(
            INVALID,
            &["resources", "runtime_class"],
            "is no runtime class: lower-case letters, digits and -, at most 63",
        );
    }
}

fn amounts(faults: &mut Faults, side: &str, amounts: &ResourceAmounts) {
    for (name, amount) in [
        ("cpu", &amounts.cpu),
        ("memory", &amounts.memory),
        ("ephemeral_storage", &amounts.ephemeral_storage),
    ] {
        if let Some(amount) = amount
            && quantity(amount).is_none()
        {
            faults.add(
                INVALID,
                &["resources", side, name],
                "is no amount above 0 in Kubernetes' notation, like 500m, 2, 512Mi or 4Gi",
            );
        }
    }
}

/// A Kubernetes quantity in thousandths of its unit. `None`: it is none, or zero, or beyond any machine.
pub(crate) fn quantity(text: &str) -> Option<u128> {
    if text.len() > QUANTITY_CHARS {
        return None;
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let thousandths: u128 = match suffix {
        "m" => 1,
        "" => 1000,
        "k" => 1000 * 1000,
        "M" => 1000 * 1000_u128.pow(2),
        "G" => 1000 * 1000_u128.pow(3),
        "T" => 1000 * 1000_u128.pow(4),
        "P" => 1000 * 1000_u128.pow(5),
        "Ki" => 1000 << 10,
        "Mi" => 1000 << 20,
        "Gi" => 1000 << 30,
        "Ti" => 1000 << 40,
        "Pi" => 1000 << 50,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.len() > 3 || (number.contains('.') && fraction.is_empty()) {
        return None;
    }
    // Kubernetes knows nothing finer than a thousandth.
    if suffix == "m" && !fraction.is_empty() {
        return None;
    }
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let value = digits.checked_mul(thousandths)? / scale;
    (value > 0).then_some(value)
}

fn is_dns_label(name: &str) -> bool {
    (1..=RUNTIME_CLASS_CHARS).contains(&name.len())
        && !name.starts_with('-')
        && !name.ends_with('-')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_compare_across_units() {
        assert_eq!(quantity("500m"), Some(500));
        assert_eq!(quantity("0.5"), Some(500));
        assert_eq!(quantity("1Gi"), quantity("1024Mi"));
        assert!(quantity("1G") < quantity("1Gi"));
        for none in
            ["", "m", "0", "-1", "1.", ".5", "1e3", "1 Gi", "1Xi", "1.2.3", "0.0001", "0.1m", "1.5m", "９"]
        {
            assert_eq!(quantity(none), None, "{none}");
        }
    }
}
