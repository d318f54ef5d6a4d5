"""How numbers are written on the page. Money is shown per 1,000 requests: amounts of single calls are unreadable."""

from __future__ import annotations

import math

PER_REQUESTS = 1000
_DIGITS = 3
MINUS = "−"
NBSP = "\u00a0"
_LEAST_PERCENT = 0.0005


def usd(amount_usd: float) -> str:
    """Three significant digits, never in powers of ten: $0.0312, $1.44, $1,230."""
    if amount_usd == 0.0 or not math.isfinite(amount_usd):
        return "$0" if amount_usd == 0.0 else "–"
    decimals = max(0, _DIGITS - 1 - math.floor(math.log10(abs(amount_usd))))
    return f"${amount_usd:,.{decimals}f}"


def tick(amount_usd: float) -> str:
    """An amount at a tick of an axis, as short as it can be: $0.05, $2, $1,000."""
    return "$" + (f"{amount_usd:,.9f}".rstrip("0").rstrip("."))


def usd_per_thousand(usd_per_request: float) -> str:
    """Of an amount per request, that of 1,000 requests."""
    return usd(usd_per_request * PER_REQUESTS)


def reward(value: float) -> str:
    """Four decimals."""
    return f"{value:.4f}"


def signed(value: float) -> str:
    """Four decimals and the sign, a real minus; no sign for what rounds to zero."""
    text = f"{value:+.4f}".replace("-", MINUS)
    return text[1:] if float(f"{value:.4f}") == 0.0 else text


def percent(share: float) -> str:
    """Without decimals from 10 % on, with one below; "<0.1 %" for what would vanish."""
    if 0.0 < share < _LEAST_PERCENT:
        return f"<0.1{NBSP}%"
    is_round = share >= 0.0995 or share == 0.0
    return (f"{share:.0%}" if is_round else f"{share:.1%}").replace("%", f"{NBSP}%")


def interval(low: float, high: float) -> str:
    """A pair of signed values."""
    return f"[{signed(low)}, {signed(high)}]"
