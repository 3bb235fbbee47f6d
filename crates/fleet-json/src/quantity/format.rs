//! The canonical form of a quantity.

use super::{Format, UNIT};

pub(super) fn canonical(nanos: i128, format: Format) -> String {
    if nanos == 0 {
        return "0".to_owned();
    }
    let is_small = nanos.abs() < 1024 * UNIT;
    match format {
        // A binary form would lose digits, or look odd: 512 is written 512.
        Format::BinarySi if !is_small && nanos % UNIT == 0 => binary(nanos / UNIT),
        Format::BinarySi | Format::DecimalSi => decimal(nanos, false),
        Format::DecimalExponent => decimal(nanos, true),
    }
}

fn binary(mut units: i128) -> String {
    for suffix in ["", "Ki", "Mi", "Gi", "Ti", "Pi"] {
        if units % 1024 != 0 {
            return format!("{units}{suffix}");
        }
        units /= 1024;
    }
    format!("{units}Ei")
}

fn decimal(nanos: i128, exponent: bool) -> String {
    const SUFFIXES: [(&str, &str); 9] = [
        ("n", "e-9"),
        ("u", "e-6"),
        ("m", "e-3"),
        ("", ""),
        ("k", "e3"),
        ("M", "e6"),
        ("G", "e9"),
        ("T", "e12"),
        ("P", "e15"),
    ];
    let mut mantissa = nanos;
    for (si, power) in SUFFIXES {
        if mantissa % 1000 != 0 {
            return format!("{mantissa}{}", if exponent { power } else { si });
        }
        mantissa /= 1000;
    }
    format!("{mantissa}{}", if exponent { "e18" } else { "E" })
}
