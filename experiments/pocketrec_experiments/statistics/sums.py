"""Sufficient statistics of an arm: counts, sums and sums of products over its users."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pocketrec_bundle.errors import InputError

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Sums over the users of an arm; sums of two groups of users add up.

    Attributes:
        names: the k quantities of a user, such as "clicks".
        n: users, including those whose quantities are all 0.
        totals: float64 [k], the sum of each quantity.
        products: float64 [k, k], the sum of the product of each pair of quantities.

    >>> from pocketrec_experiments.statistics import Sums
    >>> arm = Sums.of_rows(("clicks", "views"), [[1, 10], [3, 20]])
    >>> arm.mean("clicks"), arm.covariance("clicks", "views")
    (2.0, 10.0)
    """

    names: tuple[str, ...]
    n: int
    totals: Array
    products: Array

    @classmethod
    def of_rows(cls, names: Sequence[str], rows: npt.ArrayLike) -> "Sums":
        """Sum up one row a user. rows: [n, k]."""
        table = np.asarray(rows, dtype=np.float64).reshape(-1, len(names))
        return cls(
            names=tuple(names), n=len(table), totals=table.sum(axis=0), products=table.T @ table
        )

    @classmethod
    def from_plain(cls, value: Mapping[str, Any]) -> "Sums":
        """Read what `plain` returned.

        Raises:
            InputError: a part is missing, of another shape, or not finite.
        """
        try:
            names = tuple(str(name) for name in value["names"])
            n = int(value["n"])
            totals = np.asarray(value["totals"], dtype=np.float64)
            products = np.asarray(value["products"], dtype=np.float64)
        except (KeyError, TypeError, ValueError) as err:
            raise InputError(
                f"sums: {err!r} in {sorted(value)}; expected a result of plain()."
            ) from err
        k = len(names)
        if totals.shape != (k,) or products.shape != (k, k) or n < 0:
            raise InputError(
                f"sums: n {n}, totals {totals.shape}, products {products.shape};"
                f" expected n >= 0, ({k},) and ({k}, {k})."
            )
        if not (np.isfinite(totals).all() and np.isfinite(products).all()):
            raise InputError("sums: a total or product is not a finite number.")
        return cls(names=names, n=n, totals=totals, products=products)

    def plain(self) -> dict[str, Any]:
        """Return a JSON object that `from_plain` reads."""
        return {
            "names": list(self.names),
            "n": self.n,
            "totals": self.totals.tolist(),
            "products": self.products.tolist(),
        }

    def __add__(self, other: "Sums") -> "Sums":
        if self.names != other.names:
            raise InputError(f"sums of {self.names} and of {other.names} cannot be added.")
        return Sums(
            names=self.names,
            n=self.n + other.n,
            totals=self.totals + other.totals,
            products=self.products + other.products,
        )

    def mean(self, name: str | None) -> float:
        """Return the mean of a quantity; 1 for None, which is the constant 1."""
        if name is None:
            return 1.0
        return float(self.totals[self.names.index(name)]) / self.n if self.n else float("nan")

    def covariance(self, left: str | None, right: str | None) -> float:
        """Return the sample covariance of two quantities; 0 with a constant, NaN below 2 users."""
        if left is None or right is None:
            return 0.0
        if self.n < 2:
            return float("nan")
        i, j = self.names.index(left), self.names.index(right)
        centred = self.products[i, j] - self.totals[i] * self.totals[j] / self.n
        return float(centred) / (self.n - 1)
