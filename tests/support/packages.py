"""What an installed package requires, by its metadata."""

from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def required_by(
    root: Distribution, extras: Iterable[str], ignored: tuple[str, ...] = ()
) -> list[Distribution]:
    """All that `root` with `extras` requires, directly or not, sorted by name.

    Packages whose names begin with one of `ignored` are left out, with all that only they require.
    """
    found: dict[str, Distribution] = {}
    seen = {(root.name, extra) for extra in ("", *extras)}
    pending = [(root, extra) for _, extra in seen]
    while pending:
        for name, extra in _requirements(*pending.pop()):
            if (name, extra) not in seen and not name.startswith(ignored):
                seen.add((name, extra))
                if name != canonicalize_name(root.name):
                    found[name] = distribution(name)
                pending.append((found.get(name, root), extra))
    return [found[name] for name in sorted(found)]


def _requirements(of: Distribution, extra: str) -> Iterator[tuple[str, str]]:
    for requirement in map(Requirement, of.requires or ()):
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            for wanted in ("", *requirement.extras):
                yield canonicalize_name(requirement.name), wanted
