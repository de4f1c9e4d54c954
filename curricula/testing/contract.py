"""What every contract is: promises as test methods, which pytest collects and which can be called without it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn
from unittest import SkipTest


class Contract:
    """Promises of a kind of object. A subclass says how to make one; pytest collects it where its name begins so.

    Its own numbers come from :attr:`seed`: a test that passes does so always. A promise that does not hold for your
    object on purpose is best overridden, with the reason.
    """

    seed: int = 0
    """Of all random numbers of the tests; any other does as well."""

    @classmethod
    def promises(cls) -> list[str]:
        """Return the names of the tests."""
        names = [name for base in cls.__mro__ for name in vars(base) if name.startswith("test_")]
        return [name for name in dict.fromkeys(names) if callable(getattr(cls, name))]

    def failures(self, *names: str) -> dict[str, Exception]:
        """Run tests without pytest and return what failed, by name; tests that do not apply pass.

        Args:
            names: of tests; none for all of them.
        """
        failed: dict[str, Exception] = {}
        for name in names or self.promises():
            error = _error_of(getattr(self, name))
            if error is not None:
                failed[name] = error
        return failed


def _error_of(test: Callable[[], None]) -> Exception | None:
    try:
        test()
    except SkipTest:
        return None
    except Exception as error:  # noqa: BLE001 - whatever it is, the promise is not kept
        return error
    return None


def does_not_apply(reason: str) -> NoReturn:
    """Leave a test out; pytest shows it as skipped, with the reason."""
    raise SkipTest(reason)


@contextmanager
def refused(what: str, *errors: type[Exception]) -> Iterator[None]:
    """Fail unless the block raises one of these errors."""
    kinds = " or ".join(error.__name__ for error in errors)
    try:
        yield
    except errors:
        return
    except Exception as error:
        raise AssertionError(f"{what} must be refused with {kinds}, got {type(error).__name__}: {error}") from error
    raise AssertionError(f"{what} must be refused with {kinds}, but it was taken")
