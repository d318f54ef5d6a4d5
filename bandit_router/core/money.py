"""Money is an integer number of nano-USD (`_nusd`); token prices are integers, too.

A list price is written by people as decimal USD per million tokens. Held as nano-USD per million tokens it is an
exact integer down to 1e-9 USD per million, and a bill is one exact division, rounded up: whoever rounds a bill down
spends money that was never held.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal, InvalidOperation

NUSD_PER_USD = 1_000_000_000
TOKENS_PER_MTOK = 1_000_000
MAX_LIMIT_NUSD = 2**53
"""Largest window limit (about 9.0 million USD): Lua numbers are doubles, exact for integers up to 2**53."""

MAX_PRICE_NUSD_PER_MTOK = 10**15
"""Largest list price (one million USD per million tokens): the cost of any 32-bit token counts fits in 64 bits."""

_MAX_DIGITS = 16
_EXACT = Context(prec=64, rounding=ROUND_CEILING)
_NANO = Decimal("1e-9")


class MoneyError(ValueError):
    """An amount or price that cannot be represented exactly or is out of range."""


def usd_to_nusd(amount_usd: str | Decimal) -> int:
    """Nano-USD of a decimal USD amount, rounded up. Raises MoneyError when it is not a finite number >= 0."""
    return _nano(_decimal(amount_usd))


def nusd_to_usd(amount_nusd: int) -> float:
    """USD as a float, for formulas and displays only; never to be turned back into money."""
    return amount_nusd / NUSD_PER_USD


def format_usd(amount_nusd: int) -> str:
    """Exact decimal USD without trailing zeros, for people: 1_500_000_000 is '1.5'."""
    text = f"{_EXACT.scaleb(Decimal(amount_nusd), -9):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def parse_price(usd_per_mtok: str) -> int:
    """Nano-USD per million tokens of a decimal string such as '0.15'.

    Raises MoneyError for a negative, non-finite, too high or too fine price (more than nine decimals).
    """
    value = _decimal(usd_per_mtok)
    price = _nano(value)
    if price > MAX_PRICE_NUSD_PER_MTOK:
        raise MoneyError(f"price {usd_per_mtok!r} is above {format_price(MAX_PRICE_NUSD_PER_MTOK)}")
    if _EXACT.scaleb(Decimal(price), -9) != value:
        raise MoneyError(f"price {usd_per_mtok!r} has more than nine decimals")
    return price


def format_price(price_nusd_per_mtok: int) -> str:
    """The decimal string that `parse_price` reads back to the same integer."""
    return format_usd(price_nusd_per_mtok)


def _decimal(amount: str | Decimal) -> Decimal:
    try:
        value = Decimal(amount)
    except InvalidOperation:
        raise MoneyError(f"{amount!r} is not a decimal number") from None
    if not value.is_finite() or value < 0:
        raise MoneyError(f"{amount!r} is not a finite number >= 0")
    if value and value.adjusted() >= _MAX_DIGITS:
        raise MoneyError(f"{amount!r} is out of range")
    return value


def _nano(value: Decimal) -> int:
    """Whole billionths, rounded up; exact for any number of decimals."""
    return int(_EXACT.scaleb(_EXACT.quantize(value, _NANO), 9))


def billed_nusd(tokens_at_price: int) -> int:
    """A bill, rounded up to a whole nano-USD: tokens times their prices in nano-USD per million, summed."""
    return -(-tokens_at_price // TOKENS_PER_MTOK)


@dataclass(frozen=True, slots=True)
class TokenPrices:
    """List prices of one arm, in nano-USD per million tokens."""

    input_nusd_per_mtok: int
    output_nusd_per_mtok: int
    cached_input_nusd_per_mtok: int

    def cost_nusd(self, *, input_tokens: int, output_tokens: int, cached_input_tokens: int = 0) -> int:
        """Exact price of a call, rounded up to a whole nano-USD.

        `cached_input_tokens` is the part of `input_tokens` served from the provider's prompt cache.
        """
        fresh_tokens = max(0, input_tokens - cached_input_tokens)
        total = (
            fresh_tokens * self.input_nusd_per_mtok
            + cached_input_tokens * self.cached_input_nusd_per_mtok
            + output_tokens * self.output_nusd_per_mtok
        )
        return billed_nusd(total)

    @property
    def dearest_input_nusd_per_mtok(self) -> int:
        """The higher price of a prompt's token, cached or not."""
        return max(self.input_nusd_per_mtok, self.cached_input_nusd_per_mtok)

    def dearest_nusd(self, *, input_tokens: int, output_tokens: int) -> int:
        """The highest bill of such a call, whatever part is cached: a cached token may cost more than a fresh one."""
        return billed_nusd(input_tokens * self.dearest_input_nusd_per_mtok + output_tokens * self.output_nusd_per_mtok)

    def output_tokens_of(self, cost_nusd: int, *, input_tokens: int, cached_input_tokens: int = 0) -> float | None:
        """Output tokens that an exact bill implies, or None when output is free of charge.

        Lets the output-token model learn from a caller who reports money only.
        """
        if self.output_nusd_per_mtok == 0:
            return None
        input_cost_nusd = self.cost_nusd(
            input_tokens=input_tokens, output_tokens=0, cached_input_tokens=cached_input_tokens
        )
        rest_nusd = max(0, cost_nusd - input_cost_nusd)
        return rest_nusd * TOKENS_PER_MTOK / self.output_nusd_per_mtok
